"""The loss of sequences without an alignment: connectionist temporal classification.

The recursion is a loop over steps, each a fused kernel over batch and labels; its gradient is the
same loop backwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from clgrad.calls import function
from clgrad.creation import arange, full, tensor
from clgrad.dtypes import int32, int64
from clgrad.errors import (
    ClgradIndexError,
    ClgradRuntimeError,
    ClgradTypeError,
    ShapeError,
    UnsupportedDTypeError,
)
from clgrad.functional.joining import cat, stack
from clgrad.functional.picking import gather
from clgrad.nn.loss_common import check_reduction
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

Lengths = Tensor | Sequence[int]

_where = function(OPS["where"])


def _lengths(name: str, given: Lengths, count: int, limit: int) -> list[int]:
    """Return lengths as the host knows them, after checking them."""
    if isinstance(given, Tensor):
        if not given.dtype.is_integral:
            raise ClgradRuntimeError(f"ctc_loss: {name} must be integral, got {given.dtype.name}.")
        found = [int(n) for n in given.reshape(-1).tolist()]
    else:
        found = [int(n) for n in ([given] if isinstance(given, int) else given)]
    if len(found) != count:
        raise ShapeError(
            f"ctc_loss: {name} must be of size batch_size, got {len(found)} for {count}."
        )
    for n in found:
        if not 0 <= n <= limit:
            raise ClgradRuntimeError(
                f"ctc_loss: Expected {name} to have value at least 0 and at most {limit}, but got "
                f"value {n}."
            )
    return found


def _padded(targets: Tensor, lengths: list[int]) -> Tensor:
    """Return targets as (N, longest)."""
    longest = max(lengths, default=0)
    if targets.ndim == 2:
        if targets.shape[0] != len(lengths) or targets.shape[1] < longest:
            raise ShapeError(
                f"ctc_loss: targets have shape {list(targets.shape)}. Expected {len(lengths)} "
                f"sequences of at least {longest} labels."
            )
        cut: Tensor = targets.narrow(1, 0, longest)
        return cut
    if targets.ndim != 1 or targets.shape[0] != sum(lengths):
        raise ShapeError(
            f"ctc_loss: targets have shape {list(targets.shape)}. Expected (N, S), or all "
            f"{sum(lengths)} labels one after the other."
        )
    places, start = [], 0
    for n in lengths:
        places.append([start + min(k, max(n - 1, 0)) for k in range(longest)])
        start += n
    if not longest or not start:
        nothing: Tensor = targets.new_zeros((len(lengths), longest))
        return nothing
    index = tensor(places, dtype=int64, device=targets.device).clamp(max=start - 1)
    picked: Tensor = targets.index_select(0, index.reshape(-1)).reshape(index.shape)
    return picked


def _log_sum(parts: Sequence[Any]) -> Any:
    """Return the logarithm of a sum of exponentials; -inf, without a gradient, of nothing."""
    rows = stack(list(parts)).detach().amax(dim=0)
    top = _where(rows == -math.inf, 0, rows)
    total: Any = sum((part - top).exp() for part in parts)
    there = total > 0
    return _where(there, _where(there, total, 1).log() + top, -math.inf)


def _log_likelihoods(
    log_probs: Tensor, targets: Tensor, steps: Tensor, lengths: Tensor, blank: int
) -> Any:
    """Return the logarithm of the probability of each target, shape (N).

    Source: Graves et al. 2006, equations 6 to 8, in logarithms.
    """
    count, longest = targets.shape
    blanks = full((count, longest, 1), blank, dtype=int64, device=targets.device)
    labels = cat([blanks, targets.to(int64).unsqueeze(-1)], -1).flatten(1)
    labels = cat([labels, full((count, 1), blank, dtype=int64, device=targets.device)], 1)
    width = 2 * longest + 1
    emitted = gather(log_probs, 2, labels.unsqueeze(0).expand(log_probs.shape[0], count, width))
    outside = full((count, 2), -math.inf, dtype=log_probs.dtype, device=log_probs.device)
    place = arange(width, device=targets.device)
    before = cat([labels[:, :2], labels[:, :-2]], 1)[:, :width]
    skips = labels.ne(before).mul(labels.ne(blank)).mul(place.ge(2))
    first, *rest = emitted.unbind(0)
    reached = place.lt(1 + lengths.gt(0).to(int64).unsqueeze(1))
    alpha = _where(reached, first, -math.inf)
    for t, now in enumerate(rest, 1):
        wide = cat([outside, alpha], 1)
        skipped = _where(skips, wide[:, :width], -math.inf)
        ahead = _log_sum((alpha, wide[:, 1 : width + 1], skipped)) + now
        alpha = _where(steps.gt(t).unsqueeze(1), ahead, alpha)
    last = (2 * lengths).unsqueeze(1)
    label = _where(lengths.unsqueeze(1) > 0, gather(alpha, 1, (last - 1).clamp(min=0)), -math.inf)
    ends = _log_sum((gather(alpha, 1, last), label)).squeeze(1)
    return _where(steps > 0, ends, _where(lengths > 0, -math.inf, 0.0))


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths,
    blank: int = 0, reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """Return the negative log-likelihood of labels that are emitted at unknown steps.

    As in PyTorch the gradient is that of log-probabilities which a softmax made: it has the term
    exp(log_probs) that the softmax's derivative would cancel.

    Args:
        log_probs: shape (T, N, C) or (T, C), the results of `log_softmax`.
        targets: labels, shape (N, S), or all of them one after the other.
        input_lengths: how many steps of each sequence count, at most T.
        target_lengths: how many labels each target has.
        blank: the class that stands for no label.
        reduction: `mean` of losses divided by target lengths, `sum` or `none`.
        zero_infinity: targets that are too long for their sequence cost nothing.

    Raises:
        ShapeError, ClgradRuntimeError: shapes, lengths or a blank that do not fit.
        ClgradIndexError: a label that is no class.

    Source: Graves et al. 2006.
    """
    check_reduction(reduction)
    for given in (log_probs, targets):
        if not isinstance(given, Tensor):
            raise ClgradTypeError(
                f"ctc_loss: got {type(given).__name__}. Expected tensors as log_probs and targets."
            )
    if not log_probs.is_floating_point():
        raise UnsupportedDTypeError(f"ctc_loss: not implemented for {log_probs.dtype.name}.")
    if log_probs.ndim not in (2, 3):
        raise ShapeError(
            f"ctc_loss: log_probs have shape {list(log_probs.shape)}. Expected (T, N, C) or (T, C)."
        )
    single = log_probs.ndim == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    length, count, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise ClgradRuntimeError(
            f"ctc_loss: blank must be in label range, got {blank} for {classes} classes."
        )
    if targets.dtype not in (int64, int32):
        targets = targets.to(int64)
    steps = _lengths("input_lengths", input_lengths, count, length)
    limit = targets.shape[1] if targets.ndim == 2 else targets.numel()
    labels = _lengths("target_lengths", target_lengths, count, limit)
    bounds = targets._storage.value.bounds
    if bounds is not None and not (bounds[0] >= 0 and bounds[1] < classes):
        raise ClgradIndexError(
            f"ctc_loss: targets are from {bounds[0]} to {bounds[1]}. Expected classes from 0 to "
            f"{classes - 1}."
        )
    device = log_probs.device
    taken, named = (tensor(n, dtype=int64, device=device) for n in (steps, labels))
    loss: Any = -_log_likelihoods(log_probs, _padded(targets, labels), taken, named, blank)
    counted = arange(length, device=device).unsqueeze(1) < taken
    chances: Any = _where(counted.unsqueeze(-1), log_probs.exp(), 0)
    loss = loss + (chances - chances.detach()).sum(dim=(0, 2))  # the value stays, not the gradient
    if zero_infinity:
        loss = _where(loss.detach() == math.inf, 0, loss)
    if reduction == "mean":
        return (loss / named.clamp(min=1)).mean()  # type: ignore[no-any-return]  # a Tensor
    if reduction == "sum":
        return loss.sum()  # type: ignore[no-any-return]  # as above
    return loss.squeeze(0) if single else loss  # type: ignore[no-any-return]  # as above
