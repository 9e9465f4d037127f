"""What the peers of `spine.py` do: the same programs in PyTorch and in clgrad, and their memory."""

from __future__ import annotations

import gc
import math
import os
from typing import Any

import numpy as np
from _pairs import Job, nothing

_SLOPE, _CUBIC = math.sqrt(2 / math.pi), 0.044715


class Torch:
    """PyTorch eager on the CPU.

    Its peak memory is the largest sum of live storages, looked at after every op of forward and
    backward: each op's result is entered with a weak reference to its storage, and what has
    expired no longer counts. What an op holds inside while it runs is not seen, in its favour.
    """

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        self.m: Any = torch

    wait = staticmethod(nothing)

    def peak(self, call: Any, leaves: list[Any]) -> int:
        from torch.multiprocessing.reductions import StorageWeakRef
        from torch.utils._python_dispatch import TorchDispatchMode
        from torch.utils._pytree import tree_leaves

        torch = self.m
        live: dict[int, tuple[Any, int]] = {}
        before: set[int] = set()
        peak = 0

        class Watch(TorchDispatchMode):
            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                nonlocal peak
                for leaf in tree_leaves((args, kwargs)):  # what is there without our seeing it made
                    if isinstance(leaf, torch.Tensor) and _key(leaf) not in live:
                        before.add(_key(leaf))
                result = func(*args, **(kwargs or {}))
                for key in [k for k, (ref, _) in live.items() if ref.expired()]:
                    del live[key]
                for leaf in tree_leaves(result):
                    if isinstance(leaf, torch.Tensor) and _key(leaf) not in before:
                        storage = leaf.untyped_storage()
                        live[_key(leaf)] = (StorageWeakRef(storage), storage.nbytes())
                peak = max(peak, sum(n for _, n in live.values()))
                return result

        def _key(tensor: Any) -> int:
            return int(tensor.untyped_storage()._cdata)

        _clear(leaves)
        with Watch():
            call()
        return peak


class Clgrad:
    """clgrad on one device; its pool knows the peak."""

    def __init__(self, device: str) -> None:
        import clgrad

        clgrad.set_default_device(device)
        self.m: Any = clgrad

    def wait(self) -> None:
        self.m.synchronize()

    def peak(self, call: Any, leaves: list[Any]) -> int:
        pool = self.m.get_default_device().pool
        call()  # compiles, and fills caches that stay
        _clear(leaves)
        self.wait()
        pool.reset_peak()
        before = pool.stats()["allocated.current"]
        call()
        self.wait()
        return int(pool.stats()["allocated.peak"] - before)


Peer = Torch | Clgrad


def _data(peer: Peer, *shape: int, seed: int, grad: bool = True, scale: float = 1.0) -> Any:
    values = np.random.default_rng(seed).standard_normal(shape, np.float32) * np.float32(scale)
    return peer.m.tensor(values, requires_grad=grad)


def _gradients(leaves: list[Any]) -> list[Any]:
    return [x.grad.numpy() for x in leaves]


def _clear(leaves: list[Any]) -> None:
    for x in leaves:
        x.grad = None


def gelu(peer: Peer, rows: int, columns: int, item: bool = False) -> Job:
    """tanh-GELU of x + bias, plus a residual, in primitive ops; forward and backward.

    Args:
        peer: who computes.
        rows, columns: shape of x and the residual; the bias has `columns` elements.
        item: read the loss between forward and backward.
    """
    x, residual = (_data(peer, rows, columns, seed=k) for k in (0, 1))
    bias = _data(peer, columns, seed=2)
    leaves = [x, bias, residual]

    def forward() -> Any:
        h = x + bias
        inner = (h + h * h * h * _CUBIC) * _SLOPE
        y = h * 0.5 * (inner.tanh() + 1.0) + residual
        return (y * y).mean()

    def call() -> Any:
        _clear(leaves)
        loss = forward()  # its names are gone in backward, as a module's are
        if item:
            loss.item()
        loss.backward()
        return loss

    def values() -> list[Any]:
        loss = call()
        # sums of many elements are added up in different orders; scale them to their size
        grads = [g * rows * (columns if g.ndim == 2 else 1) for g in _gradients(leaves)]
        return [loss.detach().numpy(), *(g.ravel()[:: max(1, g.size // 10000)] for g in grads)]

    return Job(call, peer.wait, values, lambda: peer.peak(call, leaves))


def chain(peer: Peer, elements: int, ops: int) -> Job:
    """A chain of `ops` ops on few elements, forward and backward: what the host costs."""
    x, w = _data(peer, elements, seed=3), _data(peer, elements, seed=4, scale=0.1)
    leaves = [x, w]

    def call() -> Any:
        _clear(leaves)
        y = x
        for k in range(ops - 1):
            kind = k % 4
            y = y * w if kind == 0 else y + x if kind == 1 else y.tanh() if kind == 2 else y - w
        loss = y.sum()
        loss.backward()
        return loss

    def values() -> list[Any]:
        return [call().detach().numpy(), *_gradients(leaves)]

    return Job(call, peer.wait, values)


def square(peer: Peer, elements: int) -> Job:
    """`(c * c).sum().backward()`."""
    c = _data(peer, elements, seed=5)

    def call() -> None:
        c.grad = None
        (c * c).sum().backward()

    def values() -> list[Any]:
        call()
        return _gradients([c])

    return Job(call, peer.wait, values)


def matmul(peer: Peer, size: int) -> Job:
    """The product of two square matrices, written to new memory."""
    a, b = (_data(peer, size, size, seed=k, grad=False, scale=size**-0.25) for k in (6, 7))
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
