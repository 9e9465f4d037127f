"""What the peers of `spine.py` do: the same programs in PyTorch and in clgrad."""

from __future__ import annotations

import gc
import math
from typing import Any

import numpy as np
from _pairs import Job, nothing
from _peers import Peer, clear, data, gradients

_SLOPE, _CUBIC = math.sqrt(2 / math.pi), 0.044715


def gelu(peer: Peer, rows: int, columns: int, item: bool = False) -> Job:
    """tanh-GELU of x + bias, plus a residual, in primitive ops; forward and backward.

    Args:
        peer: who computes.
        rows, columns: shape of x and the residual; the bias has `columns` elements.
        item: read the loss between forward and backward.
    """
    x, residual = (data(peer, rows, columns, seed=k) for k in (0, 1))
    bias = data(peer, columns, seed=2)
    leaves = [x, bias, residual]

    def forward() -> Any:
        h = x + bias
        inner = (h + h * h * h * _CUBIC) * _SLOPE
        y = h * 0.5 * (inner.tanh() + 1.0) + residual
        return (y * y).mean()

    def call() -> Any:
        clear(leaves)
        loss = forward()  # its names are gone in backward, as a module's are
        if item:
            loss.item()
        loss.backward()
        return loss

    def values() -> list[Any]:
        loss = call()
        # sums of many elements are added up in different orders; scale them to their size
        grads = [g * rows * (columns if g.ndim == 2 else 1) for g in gradients(leaves)]
        return [loss.detach().numpy(), *(g.ravel()[:: max(1, g.size // 10000)] for g in grads)]

    return Job(call, peer.wait, values, lambda: peer.peak(call, leaves))


def chain(peer: Peer, elements: int, ops: int) -> Job:
    """A chain of `ops` ops on few elements, forward and backward: what the host costs."""
    x, w = data(peer, elements, seed=3), data(peer, elements, seed=4, scale=0.1)
    leaves = [x, w]

    def call() -> Any:
        clear(leaves)
        y = x
        for k in range(ops - 1):
            kind = k % 4
            y = y * w if kind == 0 else y + x if kind == 1 else y.tanh() if kind == 2 else y - w
        loss = y.sum()
        loss.backward()
        return loss

    def values() -> list[Any]:
        return [call().detach().numpy(), *gradients(leaves)]

    return Job(call, peer.wait, values)


def square(peer: Peer, elements: int) -> Job:
    """`(c * c).sum().backward()`."""
    c = data(peer, elements, seed=5)

    def call() -> None:
        c.grad = None
        (c * c).sum().backward()

    def values() -> list[Any]:
        call()
        return gradients([c])

    return Job(call, peer.wait, values)


def matmul(peer: Peer, size: int) -> Job:
    """The product of two square matrices, written to new memory."""
    a, b = (data(peer, size, size, seed=k, grad=False, scale=size**-0.25) for k in (6, 7))
    flush = getattr(peer.m, "flush", nothing)

    def call() -> Any:
        product = a @ b
        flush()  # nobody needs a value that is dropped before this
        return product

    def values() -> list[Any]:
        return [call().numpy()[:: max(1, size // 64)]]

    return Job(call, peer.wait, values)


# ---- clgrad alone --------------------------------------------------------------------------------


def _trainer(peer: Peer) -> Any:
    m = peer.m
    m.manual_seed(0)
    model = m.nn.Sequential(m.nn.Linear(64, 128), m.nn.ReLU(), m.nn.Linear(128, 10))
    optimizer = m.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    rng = np.random.default_rng(0)

    def step(size: int) -> None:
        images = rng.standard_normal((size, 64), np.float32)
        optimizer.zero_grad()
        loss = m.nn.functional.cross_entropy(
            model(m.tensor(images)), m.tensor(rng.integers(0, 10, size))
        )
        loss.backward()
        optimizer.step()

    return step


def batch_sizes(peer: Peer, first: int, others: list[int]) -> Job:
    """How many kernels training steps of other batch sizes build, after some of the first size."""

    def facts() -> dict[str, Any]:
        from clgrad.runtime.profile import counters

        step = _trainer(peer)
        for _ in range(3):
            step(first)
        made = {}
        for size in others:
            before = counters.kernels_built + counters.disk_hits
            step(size)
            made[str(size)] = counters.kernels_built + counters.disk_hits - before
        return made

    return Job(facts=facts)


def steady(peer: Peer, steps: int) -> Job:
    """What training steps leave behind with the collector of reference cycles switched off."""

    def facts() -> dict[str, Any]:
        pool = peer.m.get_default_device().pool
        step = _trainer(peer)
        for _ in range(20):
            step(64)
        peer.wait()
        gc.collect()
        gc.disable()
        try:
            pool.reset_peak()
            before, objects = pool.stats(), len(gc.get_objects())
            for _ in range(steps):
                step(64)
            peer.wait()
            after = pool.stats()
            grown = len(gc.get_objects()) - objects
            unreachable = gc.collect()
        finally:
            gc.enable()
        return {
            "bytes": after["allocated.current"] - before["allocated.current"],
            "buffers": after["live_buffers"] - before["live_buffers"],
            "peak_bytes": after["allocated.peak"] - before["allocated.current"],
            "objects": grown,
            "unreachable": unreachable,
        }

    return Job(facts=facts)


CASES = {
    "gelu": gelu, "chain": chain, "square": square, "matmul": matmul, "batch_sizes": batch_sizes,
    "steady": steady,
}  # fmt: skip
