"""A fresh process up to its first gradient, kernels being on disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from records import Job, Workload

_TORCH = """
import {module} as m
{device}x = m.ones(4, requires_grad=True)
(x * x).sum().backward()
print(x.grad.tolist())
"""
_JAX = """
import jax
print(jax.grad(lambda x: (x * x).sum())(jax.numpy.ones(4)).tolist())
"""
_TINYGRAD = """
from tinygrad import Tensor
x = Tensor.ones(4)
print((x * x).sum().gradient(x)[0].tolist())
"""


def _job(text: Callable[[Any], str]) -> Callable[[Any], Job]:
    def make(peer: Any) -> Job:
        def call() -> list[float]:
            command = [sys.executable, "-c", text(peer)]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            return [float(x) for x in run.stdout.strip(" []\n").split(",")]

        return Job(call, values=lambda: [np.array(call())])

    return make


def _torch(peer: Any) -> str:
    name, device = peer.m.__name__, ""
    if name == "clgrad":
        device = f"m.set_default_device('{peer.m.get_default_device().id}')\n"
    return _TORCH.format(module=name, device=device)


WORKLOADS = [
    Workload(
        "a fresh process to its first gradient", "start",
        {"torch": _job(_torch), "jax": _job(lambda peer: _JAX),
         "tinygrad": _job(lambda peer: _TINYGRAD)},
    )
]  # fmt: skip
