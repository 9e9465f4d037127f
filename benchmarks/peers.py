"""The peers: how each runs a function of arrays or trains a network, and what memory that takes.

Every class has a `kind`, by which workloads name what it runs, and makes a `Job` of it. Importing
this module imports none of the libraries.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from memory import live_peak
from records import Array, Job, nothing, same_parameters, sampled


def _one(made: Any) -> Any:
    """Return the result, or the first of several."""
    return made[0] if isinstance(made, tuple | list) else made


class Torch:
    """PyTorch on the CPU, eager; also the dialect of `Compiled` and of `Clgrad`."""

    kind = "torch"
    flush: Callable[[], Any] = staticmethod(nothing)
    wait: Callable[[], Any] = staticmethod(nothing)

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        self.m: Any = torch

    def compiled(self, function: Any) -> Any:
        return function

    def peak(self, call: Callable[[], Any], leaves: Sequence[Any], kept: list[Any]) -> int:
        for leaf in leaves:
            leaf.grad = None
        kept[:] = [None]
        return live_peak(self.m, call)

    def formula(
        self, code: Any, arrays: list[Array], grads: tuple[int, ...], backward_only: bool
    ) -> Job:
        m = self.m
        tensors = [m.tensor(a, requires_grad=k in grads) for k, a in enumerate(arrays)]
        leaves = [tensors[k] for k in grads]
        run = self.compiled(lambda *args: _one(code(m, *args)))
        out = run(*tensors)
        up = m.tensor(cotangent(tuple(out.shape))) if grads else None
        kept: list[Any] = [out]

        def both() -> None:
            for leaf in leaves:
                leaf.grad = None
            kept[0] = None  # its memory is free for the next
            kept[0] = run(*tensors)
            if grads:
                kept[0].backward(up)
            self.flush()

        def back() -> None:
            kept[1:] = m.autograd.grad(out, leaves, up, retain_graph=True)
            self.flush()

        def values() -> list[Array]:
            call()
            made = kept[1:] if backward_only else [kept[0].detach(), *(x.grad for x in leaves)]
            return sampled([t.numpy() for t in made])

        call = back if backward_only else both
        return Job(call, self.wait, values, lambda: self.peak(call, leaves, kept))

    def training(
        self, module: Any, arrays: list[Array], optimizer: Any, trained: Any, keeping: bool
    ) -> Job:
        m = self.m
        net = module(m)
        same_parameters(net, m)
        x, target = (m.tensor(a) for a in arrays)
        parameters = list((trained(net) if trained else net).parameters())
        net.train(optimizer is not None)
        run = self.compiled(net)
        kept: list[Any] = [None]
        if optimizer is None:

            def infer() -> None:
                with m.no_grad():
                    kept[0] = run(x)
                    self.flush()

            def results() -> list[Array]:
                infer()
                return sampled([kept[0].numpy()])

            return Job(infer, self.wait, results, lambda: self.peak(infer, (), kept))
        if trained is not None:
            for p in net.parameters():
                p.requires_grad = any(p is q for q in parameters)
        rule = optimizer(m, parameters)

        def gradients() -> None:
            if keeping:
                rule.zero_grad()
            kept[0] = m.nn.functional.cross_entropy(run(x), target)
            kept[0].backward()

        def step() -> None:
            gradients()
            rule.step()
            if not keeping:
                rule.zero_grad()
            self.flush()

        def values() -> list[Array]:
            rule.zero_grad()
            gradients()
            made = sampled([kept[0].detach().numpy(), *(p.grad.numpy() for p in parameters)])
            rule.zero_grad()
            return made

        return Job(step, self.wait, values, lambda: self.peak(step, parameters, kept))


class Compiled(Torch):
    """PyTorch with `torch.compile`."""

    def compiled(self, function: Any) -> Any:
        warnings.filterwarnings("ignore")
        return self.m.compile(function)


class Clgrad(Torch):
    """clgrad on one device; its pool knows the peak."""

    def __init__(self, device: str) -> None:
        import clgrad

        clgrad.set_default_device(device)
        self.m = clgrad
        self.wait, self.flush = clgrad.synchronize, clgrad.flush

    def peak(self, call: Callable[[], Any], leaves: Sequence[Any], kept: list[Any]) -> int:
        pool = self.m.get_default_device().pool
        call()  # compiles, and fills caches that stay
        for leaf in leaves:
            leaf.grad = None
        kept[:] = [None]  # else the result would only take the place of the last one
        self.wait()
        pool.reset_peak()
        before = pool.stats()["allocated.current"]
        call()
        self.wait()
        return int(pool.stats()["allocated.peak"] - before)


class Jax:
    """JAX on the CPU; each workload is one compiled function."""

    kind = "jax"

    def __init__(self) -> None:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax

        self.m: Any = jax

    def formula(
        self, code: Any, arrays: list[Array], grads: tuple[int, ...], backward_only: bool
    ) -> Job:
        jax = self.m
        given = [jax.numpy.asarray(a) for a in arrays]

        def run(up: Any, *args: Any) -> Any:
            def part(*leaves: Any) -> Any:
                every = list(args)
                for k, leaf in zip(grads, leaves, strict=True):
                    every[k] = leaf
                return _one(code(jax, *every))

            if not grads:
                return (part(),)
            out, pull = jax.vjp(part, *(args[k] for k in grads))
            return pull(up) if backward_only else (out, *pull(up))

        shape = jax.eval_shape(lambda *args: _one(code(jax, *args)), *given).shape
        up = jax.numpy.asarray(cotangent(shape)) if grads else None
        compiled = jax.jit(run).lower(up, *given).compile()
        kept: list[Any] = []

        def call() -> None:
            kept[:] = compiled(up, *given)

        def peak() -> int:
            facts = compiled.memory_analysis()
            return int(facts.temp_size_in_bytes + facts.output_size_in_bytes)

        def values() -> list[Array]:
            call()
            return sampled([np.asarray(a) for a in kept])

        return Job(call, lambda: jax.block_until_ready(kept), values, peak)


class Tinygrad:
    """tinygrad on the OpenCL device that it is started with; replayed by its JIT."""

    kind = "tinygrad"

    def __init__(self) -> None:
        os.environ.setdefault("DEV", "CL")
        import tinygrad

        self.m: Any = tinygrad

    def formula(
        self, code: Any, arrays: list[Array], grads: tuple[int, ...], backward_only: bool
    ) -> Job:
        m = self.m
        given = [m.Tensor(a.astype("i4") if a.dtype == np.int64 else a).realize() for a in arrays]
        shape = _one(code(m, *given)).shape
        up = m.Tensor(cotangent(shape)).realize() if grads else None

        def run() -> list[Any]:
            out = _one(code(m, *given))
            made = list(out.gradient(*(given[k] for k in grads), gradient=up)) if grads else []
            wanted = made if backward_only else [out.contiguous(), *made]
            m.Tensor.realize(*wanted)
            return wanted

        jit = m.TinyJit(run)
        kept: list[Any] = []

        def call() -> None:
            kept[:] = jit()

        def values() -> list[Array]:
            call()
            return sampled([t.numpy() for t in kept])

        return Job(call, m.Device[m.Device.DEFAULT].synchronize, values)


class NumPy:
    """NumPy; it has no gradients, so only forward passes."""

    kind = "numpy"

    def __init__(self) -> None:
        self.m: Any = np

    def formula(
        self, code: Any, arrays: list[Array], grads: tuple[int, ...], backward_only: bool
    ) -> Job:
        assert not grads, "NumPy has no gradients"

        def values() -> list[Array]:
            return sampled([np.asarray(_one(code(np, *arrays)))])

        return Job(lambda: code(np, *arrays), values=values)


def cotangent(shape: tuple[int, ...]) -> Array:
    """Return what a result's gradient is: 1 for a number, else normal numbers."""
    if not shape:
        return np.ones((), np.float32)
    return np.random.default_rng(99).standard_normal(shape, np.float32)


PEERS: dict[str, tuple[type, str]] = {
    "torch": (Torch, "torch"), "compile": (Compiled, "torch"), "jax": (Jax, "jax"),
    "tinygrad": (Tinygrad, "tinygrad"), "numpy": (NumPy, "numpy"),
}  # fmt: skip
"""By name: the class, and the module that must be installed."""


def make(name: str) -> Any:
    """Return a peer by name, or clgrad on a device by the device's id."""
    return PEERS[name][0]() if name in PEERS else Clgrad(name)
