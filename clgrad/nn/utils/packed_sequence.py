"""Sequences of several lengths without the padding: all first steps, then all second ones, …

Sequences stand in descending order of length, so that those which still go on at a step are always
the first ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from clgrad.creation import full, tensor
from clgrad.dtypes import int64
from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.functional.joining import cat
from clgrad.nn.utils.padding import pad_sequence, unpad_sequence
from clgrad.tensor import Tensor


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """What `pack_padded_sequence` makes, and recurrent layers take.

    Attributes:
        data: the steps of all sequences, shape (sum of lengths, *).
        batch_sizes: how many sequences have a first step, a second one, …; int64, on the host.
        sorted_indices: which sequence stands first, second, …; None if they came in order.
        unsorted_indices: where each sequence stands.
    """

    __slots__ = ()

    def __new__(  # noqa: PYI034  # Python 3.10 has no Self
        cls, data: Tensor, batch_sizes: Tensor | None = None, sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:  # fmt: skip
        if batch_sizes is None:
            raise ClgradValueError("PackedSequence: batch_sizes is missing. Hint: pack_sequence().")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Return the same with `data` in another dtype or on another device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        places = (
            None if t is None else t.to(data.device)
            for t in (self.sorted_indices, self.unsorted_indices)
        )  # fmt: skip
        return type(self)(data, self.batch_sizes, *places)

    def cpu(self) -> PackedSequence:
        """Return the same on the first CPU device."""
        return self.to("cpu")

    def double(self) -> PackedSequence:
        """Return the same as float64."""
        return type(self)(self.data.double(), *self[1:])

    def float(self) -> PackedSequence:
        """Return the same as float32."""
        return type(self)(self.data.float(), *self[1:])

    def half(self) -> PackedSequence:
        """Return the same as float16."""
        return type(self)(self.data.half(), *self[1:])

    def long(self) -> PackedSequence:
        """Return the same as int64."""
        return type(self)(self.data.long(), *self[1:])

    def int(self) -> PackedSequence:
        """Return the same as int32."""
        return type(self)(self.data.int(), *self[1:])

    @property
    def is_cuda(self) -> bool:
        """False: there is no CUDA here."""
        return False

    def is_pinned(self) -> bool:
        """Return False."""
        return False


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Return where each number of a permutation stands; None of None."""
    return None if permutation is None else permutation.argsort()


def _lengths(lengths: Any) -> list[int]:
    found = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    return [int(n) for n in found]


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:  # fmt: skip
    """Return sequences without their padding.

    Args:
        input: shape (longest, N, *), or (N, longest, *) with `batch_first`.
        lengths: of each sequence, at least 1.
        enforce_sorted: whether lengths must descend; if not, sequences are sorted.

    Raises:
        ClgradRuntimeError: lengths that do not descend, or do not fit.
    """
    steps = input.transpose(0, 1) if batch_first else input
    wanted = _lengths(lengths)
    if len(wanted) != steps.shape[1]:
        raise ClgradRuntimeError(
            f"pack_padded_sequence: Expected `len(lengths)` to be equal to batch_size, but got "
            f"{len(wanted)} (batch_size={steps.shape[1]})."
        )
    if not wanted or min(wanted) <= 0:
        raise ClgradRuntimeError(
            "pack_padded_sequence: Length of all samples has to be greater than 0, but found an "
            "element in 'lengths' that is <= 0."
        )
    if max(wanted) > steps.shape[0]:
        raise ClgradRuntimeError(
            f"pack_padded_sequence: Expected lengths up to {steps.shape[0]}, got {max(wanted)}."
        )
    order: Tensor | None = None
    if not enforce_sorted:
        places = sorted(range(len(wanted)), key=lambda k: -wanted[k])
        order = tensor(places, dtype=int64, device=input.device)
        wanted = [wanted[k] for k in places]
        steps = steps.index_select(1, order)
    elif any(a < b for a, b in pairwise(wanted)):
        raise ClgradRuntimeError(
            "pack_padded_sequence: `lengths` array must be sorted in decreasing order when "
            "`enforce_sorted` is True. Hint: enforce_sorted=False sorts them."
        )
    count = len(wanted)
    rows = [t * count + k for t in range(wanted[0]) for k in range(count) if t < wanted[k]]
    flat = steps.reshape(-1, *steps.shape[2:])
    data = flat.index_select(0, tensor(rows, dtype=int64, device=input.device))
    sizes = [sum(n > t for n in wanted) for t in range(wanted[0])]
    return PackedSequence(data, tensor(sizes, dtype=int64, device=input.device), order)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the sequences with padding, and their lengths, int64.

    Args:
        batch_first: return (N, longest, *) rather than (longest, N, *).
        padding_value: what fills up. total_length: at least the longest length.

    Raises:
        ClgradValueError: a total length that is too small.
    """
    sizes = sequence.batch_sizes.tolist()
    longest, count = len(sizes), int(sizes[0])
    total = longest if total_length is None else total_length
    if total < longest:
        raise ClgradValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but "
            f"got total_length={total} and max sequence length being {longest}"
        )
    data = sequence.data
    rows, at = [], 0
    for size in sizes:
        rows.append([at + k if k < size else len(data) for k in range(count)])
        at += size
    rows += [[len(data)] * count] * (total - longest)
    filler = full((1, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    place = tensor(rows, dtype=int64, device=data.device)
    padded = cat([data, filler]).index_select(0, place.reshape(-1))
    padded = padded.reshape(total, count, *data.shape[1:])
    lengths = tensor([sum(n > k for n in sizes) for k in range(count)], dtype=int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths.index_select(0, sequence.unsorted_indices.to(lengths.device))
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Return sequences of shapes (L, *) packed; see `pack_padded_sequence`."""
    lengths = [len(one) for one in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, False, enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return the sequences that were packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
