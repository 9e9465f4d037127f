"""Makes random programs for `program_language`, hazards on purpose, by running them in PyTorch.

A generator that draws everything evenly seldom meets a hazard, so this one prefers what hurts:
writes through views that overlap, updates between forward and backward, flushes in between, saved
values that are overwritten, tensors that are dropped while something still needs them. Values are
kept small, because a program that overflows compares nothing.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any

import numpy as np
import torch

from tests.device.program_language import Engine, Run, Step, V

SHAPES = ((4, 6), (6,), (4, 1), (1, 6), (24,), (2, 3, 4), (), (3, 4))
UNARY = ("neg", "tanh", "sigmoid", "relu", "abs", "exp")
BINARY = ("add", "sub", "mul", "maximum", "minimum")
LARGE = 30.0
"""Tensors with larger values are given up: gradients through them would lose all bits."""


class TorchEngine(Engine):
    """PyTorch on the CPU, in float64 the reference of all comparisons."""

    lib = torch

    def make(self, array: Any) -> Any:
        return torch.from_numpy(np.array(array))

    def read(self, tensor: Any) -> Any:
        return tensor.detach().numpy(force=True).copy()

    def look(self, tensor: Any) -> None:
        """Let PyTorch renew the history of a stale view.

        A view that was never looked at since its base was written counts as a leaf there, and a
        write to it is an error that goes away once `grad_fn` has been read.
        """
        with contextlib.suppress(RuntimeError):
            _ = tensor.grad_fn


def meets_itself(tensor: Any) -> bool:
    """Whether elements of a window view coincide: clgrad refuses to write there, PyTorch does not.

    Dimensions of stride 0 do not count; both refuse those.
    """
    if 0 in tensor.stride():
        return False
    span = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1
    places = torch.arange(span).as_strided(tensor.shape, tensor.stride())
    return places.unique().numel() < tensor.numel()


def places(tensor: Any, shape: tuple[int, ...]) -> Any:
    """Return which element of its storage a tensor, broadcast to `shape`, shows where."""
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    numbered = torch.arange(count)
    shown = numbered.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
    return shown.expand(shape)


def read_as_written(target: Any, source: Any) -> bool:
    """Whether PyTorch's result of writing `source` over `target` does not depend on the order.

    Where they overlap partly and are not both dense, PyTorch reads what it has just written;
    clgrad reads old values throughout. And PyTorch takes two views of the same elements for
    overlapping if their strides differ along a dimension of size 1.
    """
    if target.untyped_storage().data_ptr() != source.untyped_storage().data_ptr():
        return True
    written, read = places(target, tuple(target.shape)), places(source, tuple(target.shape))
    if torch.equal(written, read):
        return target.stride() == source.stride()
    if not np.intersect1d(written.numpy(), read.numpy()).size:
        return True
    dense = [int(x.max() - x.min()) + 1 == t.numel()
             for x, t in ((written, target), (read, source))]  # fmt: skip
    return all(dense)


class Generator:
    """Makes one program.

    Args:
        seed: every program is a function of its seed.
        length: steps to make.
        numbers: whether tensors are multiplied by Python numbers. PyTorch saves such a number like
            a tensor, and so refuses a second backward pass where clgrad does not need to.
    """

    def __init__(self, seed: int, length: int, numbers: bool = False) -> None:
        self.random = random.Random(seed)
        self.length = length
        self.numbers = numbers
        self.run = Run(TorchEngine(np.float64))
        self.program: list[Step] = []
        self.count = 0
        # names whose memory is laid out alike in both libraries: PyTorch keeps the order of
        # dimensions of operands in memory, clgrad's new tensors are row-major
        self.alike: set[str] = set()
        self.constants: dict[float, V] = {}
        # PyTorch's first gradients of maximum and minimum do not require grad; clgrad's do, with
        # derivatives that are zero: a program has either these ops or second derivatives
        self.twice = self.random.random() < 0.5

    # ---- helpers ------------------------------------------------------------------------------

    @property
    def env(self) -> dict[str, Any]:
        return self.run.env

    def fresh(self) -> V:
        self.count += 1
        return V(f"v{self.count}")

    def emit(self, step: Step, shares: V | None = None) -> bool:
        """Run a step in PyTorch and keep it; `shares` names whose memory its results share."""
        result = self.run.step(step)
        self.program.append(step)
        for name in step.out:
            tensor = self.env.get(name)
            if tensor is None:
                continue
            if shares in self.alike if shares is not None else tensor.is_contiguous():
                self.alike.add(name)
        return result == "ok"

    def some(self, test: Any = None) -> V | None:
        """Return a random tensor, of the newest with preference."""
        names = [V(n) for n, t in self.env.items() if test is None or test(t)]
        if not names:
            return None
        if self.random.random() < 0.5:
            names = names[-4:]
        return self.random.choice(names)

    def fitting(self, shape: tuple[int, ...], exactly: bool) -> V | None:
        """Return a tensor that broadcasts with `shape` (`exactly`: to it)."""

        def fits(tensor: Any) -> bool:
            try:
                joint = torch.broadcast_shapes(tuple(tensor.shape), shape)
            except RuntimeError:
                return False
            return tuple(joint) == shape if exactly else True

        return self.some(fits)

    def constant(self, value: float) -> V:
        """Return a 0-d tensor without gradient."""
        found = self.constants.get(value)
        if found is None or found not in self.env:
            found = self.constants[value] = self.fresh()
            self.emit(Step("leaf", (found,), ((), 0, value, value, False)))
        return found

    # ---- kinds of steps -----------------------------------------------------------------------

    def leaf(self) -> None:
        name = self.fresh()
        shape = self.random.choice(SHAPES)
        seed, grad = self.random.randrange(1 << 30), self.random.random() < 0.7
        self.emit(Step("leaf", (name,), (shape, seed, -1.0, 1.0, grad)))

    def unary(self) -> None:
        x = self.some()
        if x is not None:
            self.emit(Step("method", (self.fresh(),), (x, self.random.choice(UNARY))))

    def binary(self) -> None:
        x = self.some()
        if x is None:
            return
        y = self.fitting(tuple(self.env[x].shape), False)
        kind = self.random.random()
        if kind < 0.15 or y is None:
            self.emit(Step("method", (self.fresh(),), (x, "add", 0.25)))
        elif kind < 0.25:
            scale: Any = -0.5 if self.numbers else self.constant(-0.5)
            self.emit(Step("method", (self.fresh(),), (x, "mul", scale)))
        elif kind < 0.35:
            safe = self.fresh()  # away from zero
            self.emit(Step("method", (safe,), (y, "sigmoid")))
            shifted = self.fresh()
            self.emit(Step("method", (shifted,), (safe, "add", 0.5)))
            self.emit(Step("method", (self.fresh(),), (x, "div", shifted)))
        elif kind < 0.45:
            z = self.fitting(tuple(self.env[x].shape), True) or x
            self.emit(Step("where", (self.fresh(),), (z, 0.125, x, y)))
        else:
            name = self.random.choice(BINARY[:3] if self.twice else BINARY)
            self.emit(Step("method", (self.fresh(),), (x, name, y)))

    def reduction(self) -> None:
        x = self.some(lambda t: t.ndim > 0)
        if x is None:
            return
        ndim = self.env[x].ndim
        dims = tuple(sorted(self.random.sample(range(ndim), self.random.randint(1, ndim))))
        name = self.random.choice(("sum", "mean", "amax"))
        self.emit(Step("method", (self.fresh(),), (x, name, dims, self.random.random() < 0.5)))

    def product(self) -> None:
        x = self.some(lambda t: t.ndim > 0)
        if x is None:
            return
        inner = self.env[x].shape[-1]
        y = self.some(lambda t: t.ndim > 0 and t.shape[-1 if t.ndim == 1 else -2] == inner)
        if y is None:
            return
        if self.env[x].ndim > 2 and self.env[y].ndim > 2:
            return
        self.emit(Step("method", (self.fresh(),), (x, "matmul", y)))

    def join(self) -> None:
        x = self.some(lambda t: t.ndim > 0)
        if x is None:
            return
        shape = self.env[x].shape
        y = self.some(lambda t: t.shape == shape) or x
        dim = self.random.randrange(len(shape))
        self.emit(
            Step("function", (self.fresh(),), (self.random.choice(("cat", "stack")), [x, y], dim))
        )

    def view(self) -> None:
        x = self.some()
        if x is None:
            return
        tensor, rnd = self.env[x], self.random
        ndim, shape = tensor.ndim, tuple(tensor.shape)
        out: tuple[V, ...] = (self.fresh(),)
        kinds = ["unsqueeze", "expand", "detach", "squeeze"]
        if ndim:
            kinds += ["select", "select", "slice", "slice", "slice", "narrow", "unfold"]
            if x in self.alike and tensor.is_contiguous():
                kinds += ["view", "view", "reshape"]
        if ndim >= 2:
            kinds += ["transpose", "transpose", "permute", "diagonal"]
        if ndim and rnd.random() < 0.15:
            kinds = ["split", "unbind", "chunk"]
        kind = rnd.choice(kinds)
        dim = rnd.randrange(ndim) if ndim else 0
        size = shape[dim] if ndim else 1
        args: tuple[Any, ...] = ()
        if kind == "unsqueeze":
            args = (rnd.randint(0, ndim),)
        elif kind == "expand":
            wider = not ndim or rnd.random() < 0.5
            args = (2, *shape) if wider else tuple(3 if n == 1 else n for n in shape)
        elif kind == "select":
            args = (dim, rnd.randrange(size))
        elif kind == "narrow":
            start = rnd.randrange(size)
            args = (dim, start, rnd.randint(1, size - start))
        elif kind == "slice":
            start, step = rnd.randrange(size), rnd.choice((1, 1, 2))
            index = (slice(None),) * dim + (slice(start, rnd.randint(start + 1, size), step),)
            self.emit(Step("index", out, (x, index)), x)
            return
        elif kind == "unfold":
            window = rnd.randint(1, min(size, 3))
            args = (dim, window, rnd.randint(1, 2))
        elif kind in ("view", "reshape"):
            count = tensor.numel()
            choices = [(count,), (1, count), (count, 1)]
            choices += [(n, count // n) for n in (2, 3, 4) if count % n == 0]
            args = rnd.choice(choices)
        elif kind == "transpose":
            args = (dim, rnd.randrange(ndim))
        elif kind == "permute":
            args = tuple(rnd.sample(range(ndim), ndim))
        elif kind == "diagonal":
            args = (rnd.choice((0, 0, 1)), *rnd.sample(range(ndim), 2))
        elif kind in ("split", "chunk"):
            args = (2, dim)
            out = (out[0], self.fresh())
        elif kind == "unbind":
            args = (dim,)
            out = (out[0], self.fresh())
        # a no_grad view of what requires grad claims to require it too, and what is then saved
        # for gradients that go nowhere is not quite the same
        grad = tensor.requires_grad or rnd.random() > 0.16
        self.emit(Step("method", out, (x, kind, *args), grad), x)

    def write(self) -> None:
        """Write in place, mostly through a view if there is one."""
        views = self.some(lambda t: t._base is not None) if self.random.random() < 0.6 else None
        x = views or self.some()
        if x is None or not self.env[x].numel() or meets_itself(self.env[x]):
            return
        tensor, rnd = self.env[x], self.random
        # writing to a leaf is an error, which one in ten shall be
        grad = rnd.random() > (0.9 if x in self.run.leaves else 0.15)
        y = self.fitting(tuple(tensor.shape), True)
        kind = rnd.random()
        if kind < 0.2:
            name = rnd.choice(("tanh_", "sigmoid_", "neg_", "relu_", "abs_"))
            self.emit(Step("method", (), (x, name), grad))
        elif kind < 0.3:
            self.emit(Step("method", (), (x, "add_", -0.25), grad))
        elif kind < 0.4:
            scale: Any = 0.5 if self.numbers else self.constant(0.5)
            self.emit(Step("method", (), (x, "mul_", scale), grad))
        elif kind < 0.45:
            args = rnd.choice((("zero_",), ("fill_", 0.375)))
            self.emit(Step("method", (), (x, *args), grad))
        elif kind < 0.55 and tensor.ndim:
            index = rnd.randrange(tensor.shape[0])
            part = self.fitting(tuple(tensor.shape[1:]), True)
            if part is not None and not read_as_written(
                tensor.detach()[index], self.env[part].detach().expand(tensor.shape[1:])
            ):
                part = None
            value: Any = part if part is not None and rnd.random() < 0.7 else 0.125
            if value == 0.125 and 0 in tensor.stride():
                return  # as fill_, which takes this in both; PyTorch's indexing does not
            self.emit(Step("setindex", (), (x, index, value), grad))
        elif y is not None and read_as_written(tensor, self.env[y]):
            name = rnd.choice(("add_", "sub_", "mul_", "copy_", "copy_"))
            self.emit(Step("method", (), (x, name, y), grad))
        if float(self.env[x].detach().abs().max()) > LARGE:
            self.emit(Step("method", (), (x, "tanh_"), False))

    def backward(self) -> None:
        x = self.some(lambda t: t.requires_grad and t.is_floating_point())
        if x is None:
            return
        seed, rnd = self.random.randrange(1 << 30), self.random
        if rnd.random() < 0.6:
            self.emit(Step("backward", (), (x, seed, rnd.random() < 0.4)))
            return
        inputs = [V(n) for n, t in self.env.items() if t.requires_grad and n != x]
        if not inputs:
            return
        chosen = rnd.sample(inputs, min(len(inputs), rnd.randint(1, 2)))
        create = self.twice and rnd.random() < 0.85
        out = tuple(self.fresh() for _ in chosen)
        retain = create or rnd.random() < 0.3
        self.emit(Step("grad", out, (x, chosen, seed, retain, create)))

    def train(self) -> None:
        """Update a leaf, or forget its gradient."""
        names = [V(n) for n in self.run.leaves if n in self.env and self.env[n].requires_grad]
        if names:
            name = self.random.choice(names)
            if self.random.random() < 0.7:
                self.emit(Step("update", (), (name, 0.125)))
            else:
                self.emit(Step("clear", (), (name,)))

    def other(self) -> None:
        rnd = self.random
        x = self.some()
        if x is None:
            return
        kind = rnd.random()
        if kind < 0.35:
            self.emit(Step("flush"))
        elif kind < 0.5 and len(self.env) > 4:
            self.emit(Step("drop", (), (x,)))
        elif kind < 0.6:
            self.emit(Step("method", (self.fresh(),), (x, "clone")))
        elif kind < 0.75:
            self.emit(Step("method", (self.fresh(),), (x, "detach")), x)
        elif kind < 0.85:
            self.emit(Step("read", (), (x,)))
        else:
            self.emit(Step("method", (self.fresh(),), (x, rnd.choice(UNARY)), False))

    KINDS = (
        ("leaf", 4), ("unary", 14), ("binary", 18), ("reduction", 6), ("product", 3), ("join", 3),
        ("view", 18), ("write", 22), ("backward", 6), ("train", 4), ("other", 14),
    )  # fmt: skip

    def make(self) -> list[Step]:
        """Return the program."""
        for _ in range(3):
            self.leaf()
        names, weights = zip(*self.KINDS, strict=True)
        tries = 0
        while len(self.program) < self.length and not self.run.over and tries < 4 * self.length:
            tries += 1
            getattr(self, self.random.choices(names, weights)[0])()
            self.give_up_large()
        return self.program

    def give_up_large(self) -> None:
        for name in list(self.env):
            values = self.env[name].detach()
            if not values.numel() or not float(values.abs().max()) <= LARGE:
                self.emit(Step("drop", (), (V(name),)))


def generate(seed: int, length: int, numbers: bool = False) -> list[Step]:
    """Return the program of a seed."""
    return Generator(seed, length, numbers).make()
