"""Sequences of several lengths in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

from clgrad.creation import full
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, ClgradValueError
from clgrad.functional.joining import cat, stack
from clgrad.tensor import Tensor


def pad_sequence(
    sequences: Sequence[Tensor] | Tensor, batch_first: bool = False, padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:  # fmt: skip
    """Return sequences side by side, the shorter ones padded.

    Args:
        sequences: shapes (L, *), of equal size but for L.
        batch_first: return (N, longest, *) rather than (longest, N, *).
        padding_value: what fills up.
        padding_side: `right` or `left`.

    Raises:
        ClgradRuntimeError: no sequences.
        ClgradTypeError: something else than tensors.
        ClgradValueError: another side.
    """
    if padding_side not in ("left", "right"):
        raise ClgradValueError(
            f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}"
        )
    found = list(sequences.unbind(0) if isinstance(sequences, Tensor) else sequences)
    if not found:
        raise ClgradRuntimeError("pad_sequence: received an empty list of sequences")
    for one in found:
        if not isinstance(one, Tensor):
            raise ClgradTypeError(
                f"pad_sequence: expected tensors in the list, got {type(one).__name__}"
            )
    longest = max(one.shape[0] for one in found)
    padded = []
    for one in found:
        rest = longest - one.shape[0]
        if rest:
            more = full((rest, *one.shape[1:]), padding_value, dtype=one.dtype, device=one.device)
            one = cat([one, more] if padding_side == "right" else [more, one])
        padded.append(one)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """Return the sequences that `pad_sequence` put together.

    Args:
        padded_sequences: shape (longest, N, *), or (N, longest, *) with `batch_first`.
        lengths: shape (N).
        batch_first: see above.
    """
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    each = zip(padded_sequences.unbind(0), lengths.tolist(), strict=True)
    return [one.narrow(0, 0, int(length)) for one, length in each]


__all__ = ["pad_sequence", "unpad_sequence"]
