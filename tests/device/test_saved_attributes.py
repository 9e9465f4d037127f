"""The `_saved_…` attributes of ops with kernels of their own, against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad

ATTRIBUTES = {
    "f.conv2d(img, w, bias)": "bias_sym_sizes_opt stride",
    "f.conv2d(img, w)": "bias_sym_sizes_opt padding",
    "f.interpolate(x, 4, mode='linear')": "output_size align_corners scales",
    "f.interpolate(x, scale_factor=0.5, mode='linear')": "output_size scales",
    "f.interpolate(img, scale_factor=2)": "output_size scales_h scales_w",
    "f.unfold(img, 2)": "kernel_size stride self_sym_argsize_minus_2",
    "f.max_pool2d(img, 2)": "kernel_size padding result1",
    "f.avg_pool2d(img, 2)": "kernel_size",
}


@pytest.mark.parametrize("text", ATTRIBUTES)
def test_like_torch(device: Any, text: str) -> None:
    rng = np.random.default_rng(1)
    shapes = {"x": (2, 3, 4), "img": (2, 3, 4, 4), "w": (2, 3, 3, 3), "bias": (2,)}
    arrays = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}

    def shown(m: Any, **where: Any) -> Any:
        made = {n: m.tensor(a, requires_grad=True, **where) for n, a in arrays.items()}
        node = eval(text, {**made, "f": m.nn.functional}).grad_fn
        values = [getattr(node, f"_saved_{name}") for name in ATTRIBUTES[text].split()]
        return node.name(), [v.tolist() if isinstance(v, m.Tensor) else v for v in values]

    name, values = shown(clgrad, device=device)
    assert name == shown(torch)[0]
    assert [tuple(v) if isinstance(v, tuple) else v for v in values] == shown(torch)[1]
