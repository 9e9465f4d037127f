"""A small network with the same values in both libraries, for tests of modules."""

from __future__ import annotations

from typing import Any

import numpy as np


def fill(m: Any, module: Any) -> Any:
    """Give every parameter the same values in both libraries."""
    rng = np.random.default_rng(3)
    values = {
        name: m.tensor(rng.standard_normal(tuple(p.shape)).astype(np.float32))
        for name, p in module.state_dict().items()
    }
    module.load_state_dict(values)
    return module


def net(m: Any) -> Any:
    nn = m.nn
    return fill(
        m,
        nn.Sequential(
            nn.Flatten(), nn.Linear(6, 4), nn.ReLU(),
            nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh()),
        ),
    )  # fmt: skip


def data(m: Any, *shape: int) -> Any:
    return m.tensor(np.random.default_rng(7).standard_normal(shape).astype(np.float32))
