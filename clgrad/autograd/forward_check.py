"""What `gradcheck` asks of forward-mode derivatives; differences are its own concern."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad.autograd.differences import like, read, tensors
from clgrad.autograd.forward_ad import dual_level, make_dual, unpack_dual
from clgrad.batching import enter, leave, opened
from clgrad.tensor import Tensor

Array = Any


class ForwardCheck:
    """Derivatives of a function at its inputs in forward mode.

    Attributes:
        args: the inputs; no tensor among them requires grad when the function is called.
        places: of those by which to differentiate.
    """

    def __init__(
        self, func: Callable[..., Any], args: Sequence[Any], places: Sequence[int]
    ) -> None:
        self.func = func
        self.args = args
        self.places = places

    def pushed(self, place: int, directions: Sequence[Array]) -> list[Array]:
        """Return for each float output its derivatives along directions of one input, stacked."""
        with dual_level():
            given = self._duals()
            tangent = unpack_dual(given[place]).tangent
            assert tangent is not None
            rows = []
            for direction in directions:
                tangent.copy_(like(direction, tangent))
                rows.append([read(t).reshape(-1) for t in self._tangents(given)])
        return [np.stack(parts) for parts in zip(*rows, strict=True)]

    def jacobian(self, place: int) -> list[Array]:
        """Return for each float output d(output) / d(input), shape (input numel, output numel)."""
        return self.pushed(place, list(np.eye(self.args[place].numel())))

    def undefined(self, rng: Any) -> str:
        """Say which output takes a missing tangent for something else than zeros, if any does."""
        with dual_level():
            given = self._duals()
            for k in self.places:
                tangent = unpack_dual(given[k]).tangent
                assert tangent is not None
                tangent.copy_(like(rng.random(tangent.numel()), tangent))
            for k in self.places:
                full = given[k]
                plain = self.args[k].detach()
                given[k] = make_dual(plain, plain._zeros(plain.shape))
                zeros = self._tangents(given, missing=False)
                given[k] = plain
                nothing = self._tangents(given, missing=False)
                given[k] = full
                for o, (a, b) in enumerate(zip(zeros, nothing, strict=True)):
                    if a is None or b is None or np.allclose(read(a), read(b), equal_nan=True):
                        continue
                    return f"output {o} where input {k} has no tangent"
        return ""

    def batched(self, rng: Any) -> str:
        """Say for which output and input tangents, or their sum, give something else in a batch.

        Raises:
            RuntimeError: what cannot be done to samples.
        """
        for k in self.places:
            one = self.args[k]
            two = rng.standard_normal((2, *one.shape))
            batch = Tensor._construct(
                np.stack([*two, two.sum(0)]), dtype=one.dtype, device=one.device
            )
            with opened(3, "never") as level:
                together = [read(leave(t, level)) for t in self._along(k, enter(batch, 0, level))]
            alone = [[read(t) for t in self._along(k, batch[b])] for b in range(2)]
            for o, (a, b) in enumerate(zip(*alone, strict=True)):
                if not np.allclose([a, b, a + b], together[o], equal_nan=True):
                    return f"output {o}, input {k}"
        return ""

    def _along(self, place: int, tangent: Tensor) -> list[Any]:
        """Return the derivatives of the outputs along a direction of one input."""
        with dual_level():
            given = [a.detach() if isinstance(a, Tensor) else a for a in self.args]
            given[place] = make_dual(given[place], tangent)
            return self._tangents(given)

    def _duals(self) -> list[Any]:
        """Return the inputs, those by which to differentiate with tangents of zeros."""
        given = [a.detach() if isinstance(a, Tensor) else a for a in self.args]
        for k in self.places:
            given[k] = make_dual(given[k], given[k]._zeros(given[k].shape))
        return given

    def _tangents(self, given: Sequence[Any], missing: bool = True) -> list[Any]:
        made = [(o, unpack_dual(o).tangent) for o in tensors(self.func(*given))]
        return [o._zeros(o.shape) if t is None and missing else t for o, t in made]
