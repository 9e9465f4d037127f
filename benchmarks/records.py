"""What a workload is: a name, what each peer does, and how much there is to do.

A worker looks a workload up by name and makes the job of its own peer; the parent reads the rest.
`formula` and `training` make the jobs of the two kinds that nearly all are of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SAMPLE = 10000
"""Elements of a result that are compared, evenly spaced."""

Array = np.ndarray[Any, Any]


def nothing() -> None:
    """Do nothing: for peers whose calls have finished when they return."""


@dataclass(frozen=True)
class Job:
    """What a peer does in one workload.

    Attributes:
        call: one repetition.
        wait: returns when everything that was called has finished.
        values: arrays by which peers are compared, computed anew.
        peak: bytes by which one call raises the memory in use above what it was before, at most.
    """

    call: Callable[[], Any]
    wait: Callable[[], Any] = nothing
    values: Callable[[], list[Array]] = list
    peak: Callable[[], int] | None = None


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Attributes:
        name: unique.
        group: heading under which it stands.
        jobs: per kind of peer (`torch` is clgrad's too) what makes its job: `(peer) -> Job`.
        flops, nbytes: floating-point operations, and bytes that no program can avoid to move; 0
            where nobody has counted them.
        rtol: how far results may differ, relative to the largest of them.
        large: left out by `--quick`.
        without: peers that are not asked.
    """

    name: str
    group: str
    jobs: Mapping[str, Callable[[Any], Job]] = field(repr=False)
    flops: float = 0.0
    nbytes: float = 0.0
    rtol: float = 1e-4
    large: bool = False
    without: tuple[str, ...] = ()


def normal(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """Return the same normal numbers for every peer, float32."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32) * np.float32(scale)


def integers(seed: int, high: int, *shape: int) -> Array:
    """Return the same integers below `high` for every peer, int64."""
    return np.random.default_rng(seed).integers(0, high, shape)


def sampled(arrays: Sequence[Array]) -> list[Array]:
    """Return evenly spaced elements of each array."""
    return [a.ravel()[:: max(1, a.size // SAMPLE)] for a in arrays]


def formula(
    code: Callable[..., Any],
    arrays: Callable[[], list[Array]],
    grads: Sequence[int] = (),
    backward_only: bool = False,
    **others: Callable[..., Any],
) -> dict[str, Callable[[Any], Job]]:
    """Return the jobs of a function of arrays.

    Args:
        code: PyTorch's dialect: `code(module, *tensors)`.
        arrays: makes the arguments.
        grads: positions of the arguments to be differentiated; none is a forward pass alone.
        backward_only: the forward pass is made once, and not timed.
        others: the same in `jax`, `numpy` or `tinygrad`: `code(library, *arrays)`.
    """

    def make(code: Callable[..., Any]) -> Callable[[Any], Job]:
        return lambda peer: peer.formula(code, arrays(), tuple(grads), backward_only)

    return {"torch": make(code)} | {kind: make(other) for kind, other in others.items()}


def training(
    module: Callable[[Any], Any],
    arrays: Callable[[], list[Array]],
    optimizer: Callable[[Any, Any], Any] | None = None,
    trained: Callable[[Any], Any] | None = None,
    keeping: bool = False,
) -> dict[str, Callable[[Any], Job]]:
    """Return the jobs of a network: forward, cross-entropy, backward, a step of the optimizer.

    Args:
        module: `(library) -> network`, in PyTorch's dialect.
        arrays: makes the input and the classes.
        optimizer: `(library, parameters) -> optimizer`; None is inference.
        trained: `(network) -> module` whose parameters are trained; all if not given.
        keeping: gradients are dropped when the next step begins, and not when this one ends.
    """
    return {"torch": lambda peer: peer.training(module, arrays(), optimizer, trained, keeping)}


def same_parameters(net: Any, library: Any) -> None:
    """Give a network the same parameters whoever runs it: normal, by the size of a row.

    Biases are 0; weights of one dim, those of normalisations, stay as they are, which is 1.
    """
    rng = np.random.default_rng(6)
    with library.no_grad():
        for name, p in net.named_parameters():
            if p.ndim > 1:
                fan = max(int(np.prod(p.shape[1:])), 1)
                values = rng.standard_normal(tuple(p.shape)) / math.sqrt(fan)
                p.copy_(library.tensor(values.astype("f4")))
            elif name.endswith("bias"):
                p.zero_()


def nbytes(*elements: int) -> float:
    """Return the bytes of float32 arrays of so many elements."""
    return 4.0 * sum(elements)
