"""The peers of the benchmarks: PyTorch and clgrad, their memory, and data for both."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from _pairs import nothing


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

        clear(leaves)
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
        clear(leaves)
        self.wait()
        pool.reset_peak()
        before = pool.stats()["allocated.current"]
        call()
        self.wait()
        return int(pool.stats()["allocated.peak"] - before)


Peer = Torch | Clgrad


def data(peer: Peer, *shape: int, seed: int, grad: bool = True, scale: float = 1.0) -> Any:
    values = np.random.default_rng(seed).standard_normal(shape, np.float32) * np.float32(scale)
    return peer.m.tensor(values, requires_grad=grad)


def gradients(leaves: list[Any]) -> list[Any]:
    return [x.grad.numpy() for x in leaves]


def clear(leaves: list[Any]) -> None:
    for x in leaves:
        x.grad = None
