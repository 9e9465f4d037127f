"""Losses of margins: between pairs, triplets and rankings of vectors or numbers. All composed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.calls import function
from clgrad.dispatch import apply
from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.functional.distances import at_least, pairwise_distance
from clgrad.nn.loss_common import check_reduction, chosen, reduced
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

_where = function(OPS["where"])
_minimum = function(OPS["minimum"])


def _positive(x: Any) -> Any:
    return apply(at_least, (x, 0.0))


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return one minus the cosine of pairs that belong together, its excess of those that do not.

    Args:
        input1, input2: shapes (N, D) or (D).
        target: shape (N) or (): 1 where a pair belongs together, -1 where not.
        margin: cosine up to which a pair that does not belong together costs nothing.
    """
    reduction = chosen(reduction, size_average, reduce)
    if target.ndim > 1:
        raise ClgradRuntimeError(
            "cosine_embedding_loss: 0D or 1D target tensor expected, multi-target not supported"
        )
    if input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise ClgradRuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found "
            f"inputs with sizes {list(input1.shape)} and {list(input2.shape)}."
        )
    d = target.ndim
    both = (input1 * input2).sum(dim=d)
    one = (input1 * input1).sum(dim=d) + 1e-12
    other = (input2 * input2).sum(dim=d) + 1e-12
    cosine = both / (one * other).sqrt()
    t: Any = target
    loss = _where(t == 1, 1 - cosine, 0) + _where(t == -1, _positive(cosine - margin), 0)
    return reduced(loss, reduction)  # type: ignore[no-any-return]  # a Tensor


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return distances where the target is 1, what they lack of `margin` where it is -1."""
    reduction = chosen(reduction, size_average, reduce)
    t: Any = target
    loss = _where(t != 1, _positive(margin - input), 0) + _where(t != -1, input, 0)
    return reduced(loss, reduction)  # type: ignore[no-any-return]  # a Tensor


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return what `target * (input1 - input2)` lacks of `margin`; targets are 1 and -1."""
    reduction = chosen(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise ClgradRuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} "
        )
    loss = _positive(-target * (input1 - input2) + float(margin))
    return reduced(loss, reduction)  # type: ignore[no-any-return]  # a Tensor


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2,
    eps: float = 1e-6, swap: bool = False, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return what the negative lacks of being `margin` farther from the anchor than the positive.

    Args:
        anchor, positive, negative: shapes (N, D) or (D).
        p, eps: of the distance, see `pairwise_distance`.
        swap: take the negative's distance to the positive where that is smaller.
    """
    reduction = chosen(reduction, size_average, reduce)
    _check_margin(margin)
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ClgradRuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return _triplet(distance, anchor, positive, negative, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return what `triplet_margin_loss` does, with a distance of your own."""
    check_reduction(reduction)
    _check_margin(margin)
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ClgradRuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(distance, anchor, positive, negative, margin, swap, reduction)


def _check_margin(margin: float) -> None:
    if margin <= 0:
        raise ClgradValueError(f"margin must be greater than 0, got {margin}")


def _triplet(
    distance: Callable[[Tensor, Tensor], Tensor], anchor: Tensor, positive: Tensor,
    negative: Tensor, margin: float, swap: bool, reduction: str,
) -> Tensor:  # fmt: skip
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _minimum(far, distance(positive, negative))
    return reduced(_positive(margin + near - far), reduction)  # type: ignore[no-any-return]  # a Tensor
