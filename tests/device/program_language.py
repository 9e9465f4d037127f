"""Random programs as data: steps that run alike on clgrad and on PyTorch, and what came out.

Both libraries have the same names, so one interpreter runs a program on either. A program can be
printed as the Python code that it stands for, and steps can be left out of it, which is how a
failing one is made small. How programs are made is in `program_generator`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import clgrad
from clgrad.creation import current
from clgrad.graph import recorder


class V(str):
    """The name of a tensor of a program."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Step:
    """One instruction: what to do, the names of its results, its arguments, and the grad mode."""

    do: str
    out: tuple[V, ...] = ()
    args: tuple[Any, ...] = ()
    grad: bool = True

    def __str__(self) -> str:
        text = _TEXT.get(self.do, _called)(self)
        if self.out:
            text = f"{', '.join(self.out)} = {text}"
        return text if self.grad else f"with no_grad(): {text}"


def _called(step: Step) -> str:
    return f"{step.do}({', '.join(map(repr, step.args))})"


def _method(step: Step) -> str:
    target, name, *args = step.args
    return f"{target!r}.{name}({', '.join(map(repr, args))})"


_TEXT = {"method": _method}


ERRORS = (
    ("version", "modified by an inplace operation"),
    ("freed", "backward through the graph a second time"),
    ("view of a leaf", "a view of a leaf Variable that requires grad"),
    ("leaf", "a leaf Variable that requires grad"),
    ("view", r"is a view (and|of a view)|A view was created in"),
    ("no grad", "does not require grad"),
    ("overlap", "refers? to a single memory location"),
    ("dtype", "can't be cast to the desired output"),
    ("shape", "doesn't match the broadcast shape|must match the size of tensor"),
    ("not a leaf", "you can only change requires_grad flags of leaf"),
    ("detach view", "Can't detach views in-place"),
)
"""What an error is about, by PyTorch's words, which clgrad's texts begin with."""


def error_class(error: Exception) -> str:
    """Return what an error is about; the built-in class where no known words are in it."""
    for name, pattern in ERRORS:
        if re.search(pattern, str(error)):
            return name
    base = next(b.__name__ for b in type(error).__mro__ if b.__module__ == "builtins")
    return f"{base}: {error}"


@dataclass
class Outcome:
    """What a program did: `ok` or the class of the error per step, and the values read."""

    steps: list[str] = field(default_factory=list)
    values: list[tuple[str, Any]] = field(default_factory=list)


class Engine:
    """A library that programs run on.

    Args:
        lib: the module.
        dtype: NumPy dtype of all tensors.
        noise: relative perturbation of the leaves, by which ill-conditioned results are told.
    """

    lib: Any

    def __init__(self, dtype: Any, noise: float = 0.0) -> None:
        self.dtype = np.dtype(dtype)
        self.noise = noise

    def numbers(self, shape: tuple[int, ...], seed: int, low: float, high: float) -> Any:
        rng = np.random.default_rng(seed)
        made = rng.uniform(low, high, shape).astype(np.float32).astype(np.float64)
        if self.noise:
            made = made * (1 + self.noise * rng.uniform(-1, 1, shape))
        return made.astype(self.dtype)

    def make(self, array: Any) -> Any:
        raise NotImplementedError

    def read(self, tensor: Any) -> Any:
        raise NotImplementedError

    def flush(self) -> None:
        """Run what is pending, where something can be."""

    def look(self, tensor: Any) -> None:
        """See `TorchEngine`: called before a recorded write."""


class ClgradEngine(Engine):
    lib = clgrad

    def __init__(self, device: Any, dtype: Any) -> None:
        super().__init__(dtype)
        self.device = device

    def make(self, array: Any) -> Any:
        return clgrad.tensor(np.asarray(array), device=self.device)

    def read(self, tensor: Any) -> Any:
        return tensor.detach().numpy()

    def flush(self) -> None:
        recorder.flush()


class Run:
    """One run of a program on one engine, step by step."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.lib = engine.lib
        self.env: dict[str, Any] = {}
        self.leaves: list[str] = []
        self.outcome = Outcome()
        self.over = False

    def step(self, step: Step) -> str:
        """Run one step and return `ok`, `missing` (an operand is not there) or what went wrong."""
        if any(isinstance(a, V) and a not in self.env for a in _flat(step.args)):
            result = "missing"
        else:
            try:
                if step.grad:
                    self._do(step)
                else:
                    with self.lib.no_grad():
                        self._do(step)
                result = "ok"
            except (RuntimeError, ValueError, IndexError, TypeError) as error:
                result = error_class(error)
                # which gradients were added before a backward pass failed is nobody's business
                self.over = step.do in ("backward", "grad")
        self.outcome.steps.append(result)
        return result

    def _do(self, step: Step) -> None:
        made = getattr(self, f"_{step.do}")(*step.args)
        if len(step.out) == 1 and not isinstance(made, tuple | list):
            made = (made,)
        for name, value in zip(step.out, made, strict=False) if step.out else ():
            if value is not None:
                self.env[name] = value
        if step.do == "leaf":
            self.leaves.append(step.out[0])

    def _value(self, arg: Any) -> Any:
        if isinstance(arg, V):
            return self.env[arg]
        return [self._value(a) for a in arg] if isinstance(arg, list) else arg

    # ---- what steps do ------------------------------------------------------------------------

    def _leaf(self, shape: Any, seed: int, low: float, high: float, grad: bool) -> Any:
        made = self.engine.make(self.engine.numbers(shape, seed, low, high))
        if grad:
            made.requires_grad_()
        return made

    def _method(self, target: V, name: str, *args: Any) -> Any:
        if name.endswith("_") and self.lib.is_grad_enabled():
            self.engine.look(self.env[target])
        return getattr(self.env[target], name)(*[self._value(a) for a in args])

    def _function(self, name: str, *args: Any) -> Any:
        return getattr(self.lib, name)(*[self._value(a) for a in args])

    def _where(self, condition: V, limit: float, a: V, b: V) -> Any:
        return self.lib.where(self.env[condition] > limit, self.env[a], self.env[b])

    def _index(self, target: V, index: Any) -> Any:
        return self.env[target][index]

    def _setindex(self, target: V, index: Any, value: Any) -> None:
        self.env[target][index] = self._value(value)

    def _backward(self, root: V, seed: int, retain: bool) -> None:
        tensor = self.env[root]
        weights = self.engine.make(self.engine.numbers(tuple(tensor.shape), seed, -1, 1))
        tensor.backward(weights, retain_graph=retain)

    def _grad(self, root: V, inputs: list[V], seed: int, retain: bool, create: bool) -> Any:
        tensor = self.env[root]
        weights = self.engine.make(self.engine.numbers(tuple(tensor.shape), seed, -1, 1))
        found = self.lib.autograd.grad(
            tensor, self._value(inputs), weights, retain_graph=retain, create_graph=create,
            allow_unused=True,
        )  # fmt: skip
        # gradients of two inputs may be one tensor, and whether they are is not promised
        return [None if g is None else g.clone() for g in found]

    def _update(self, leaf: V, rate: float) -> None:
        tensor = self.env[leaf]
        if tensor.is_leaf and tensor.grad is not None:
            with self.lib.no_grad():
                tensor.sub_(tensor.grad * rate)

    def _clear(self, leaf: V) -> None:
        self.env[leaf].grad = None

    def _drop(self, name: V) -> None:
        del self.env[name]
        if name in self.leaves:
            self.leaves.remove(name)

    def _flush(self) -> None:
        self.engine.flush()

    def _read(self, name: V) -> None:
        self.outcome.values.append((str(name), self.engine.read(self.env[name])))

    def finish(self) -> Outcome:
        """Read everything that is left, and the gradients of the leaves."""
        for name in self.env:
            self._read(V(name))
        for name in self.leaves:
            tensor = self.env.get(name)
            if tensor is not None and tensor.is_leaf and tensor.grad is not None:
                value = self.engine.read(tensor.grad)
                self.outcome.values.append((f"{name}.grad", value))
        return self.outcome


def _flat(args: Any) -> Any:
    for arg in args:
        if isinstance(arg, list):
            yield from _flat(arg)
        else:
            yield arg


def run(program: list[Step], engine: Engine) -> Outcome:
    """Run a program and return what came out; it ends where a backward pass fails."""
    current.device, former = getattr(engine, "device", None), current.device
    try:
        going = Run(engine)
        for step in program:
            going.step(step)
            if going.over:
                break
        return going.finish()
    finally:
        current.device = former


def listing(program: list[Step]) -> str:
    """Return a program as text, one step a line."""
    return "\n".join(f"    {k:3}  {step}" for k, step in enumerate(program))
