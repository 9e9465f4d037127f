"""Embeddings: rows of a table by their indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clgrad.creation import empty
from clgrad.nn import functional, init
from clgrad.nn.modules.module import Module
from clgrad.nn.parameter import Parameter
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self


class _Table(Module):
    weight: Parameter
    padding_idx: int | None

    def _make(
        self, rows: int, columns: int, padding_idx: int | None, weight: Tensor | None,
        freeze: bool, device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        if padding_idx is not None:
            if not -rows <= padding_idx < rows:
                raise AssertionError(
                    f"padding_idx must be within num_embeddings, got {padding_idx} for {rows}"
                )
            padding_idx %= rows
        self.num_embeddings = rows
        self.embedding_dim = columns
        self.padding_idx = padding_idx
        if weight is None:
            weight = empty(rows, columns, device=device, dtype=dtype)
            self.weight = Parameter(weight, not freeze)
            self.reset_parameters()
        elif tuple(weight.shape) == (rows, columns):
            self.weight = Parameter(weight, not freeze)
        else:
            raise AssertionError(
                "Shape of weight does not match num_embeddings and embedding_dim: got "
                f"{list(weight.shape)} for {[rows, columns]}"
            )

    def reset_parameters(self) -> None:
        """Draw normal rows; that of `padding_idx` is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)


def _check_table(embeddings: Tensor) -> None:
    if embeddings.ndim != 2:
        raise AssertionError(
            f"Embeddings parameter is expected to be 2-dimensional, got {embeddings.ndim}"
        )


class Embedding(_Table):
    """Rows of a table, found by integers.

    Args:
        num_embeddings: number of rows.
        embedding_dim: their length.
        padding_idx: a row that starts as zero and gets no gradient.
        max_norm: rows that are longer are shortened to it, in place, as they are read.
        norm_type: p of that norm.
        scale_grad_by_freq: divide gradients by how often a row was read in a batch.
        sparse: False; gradients are dense.
        device, dtype: of the table.

    Attributes:
        weight: shape (num_embeddings, embedding_dim), normal.

    Raises:
        AssertionError: a `padding_idx` that is no row.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False, _weight: Tensor | None = None, _freeze: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        self._make(num_embeddings, embedding_dim, padding_idx, _weight, _freeze, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Return rows, shape (*, embedding_dim), for integers of shape (*)."""
        return functional.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type,
            self.scale_grad_by_freq, self.sparse,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return sizes and what differs from the defaults."""
        shown = [f"{self.num_embeddings}, {self.embedding_dim}"]
        for name, plain in (
            ("padding_idx", None), ("max_norm", None), ("norm_type", 2),
            ("scale_grad_by_freq", False), ("sparse", False),
        ):  # fmt: skip
            value = getattr(self, name)
            if value != plain:
                shown.append(f"{name}={value}")
        return ", ".join(shown)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:  # fmt: skip
        """Return a layer over a given table, shape (rows, columns), not trained if `freeze`."""
        _check_table(embeddings)
        rows, columns = embeddings.shape
        return cls(
            rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse,
            embeddings, freeze,
        )  # fmt: skip


class EmbeddingBag(_Table):
    """Sums, means or maxima of rows of a table, over bags of integers.

    Args:
        num_embeddings: number of rows.
        embedding_dim: their length.
        max_norm: rows that are longer are shortened to it, in place, as they are read.
        norm_type: p of that norm.
        scale_grad_by_freq: divide gradients by how often a row was read in a batch.
        mode: `sum`, `mean` or `max`.
        sparse: False.
        include_last_offset: the last offset is the end of the last bag.
        padding_idx: a row that starts as zero, counts for nothing and gets no gradient.
        device, dtype: of the table.

    Attributes:
        weight: shape (num_embeddings, embedding_dim), normal.

    Raises:
        AssertionError: a `padding_idx` that is no row.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, mode: str = "mean",
        sparse: bool = False, _weight: Tensor | None = None, include_last_offset: bool = False,
        padding_idx: int | None = None, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset
        self._make(num_embeddings, embedding_dim, padding_idx, _weight, False, device, dtype)

    def forward(
        self, input: Tensor, offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Return (bags, embedding_dim).

        Args:
            input: integers, shape (bags, N), or (N) with `offsets`.
            offsets: where in `input` each bag begins, shape (bags).
            per_sample_weights: factor of each row, the shape of `input`; for `sum` alone.
        """
        return functional.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq,
            self.mode, self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return sizes, the mode, and what differs from the defaults."""
        shown = [f"{self.num_embeddings}, {self.embedding_dim}"]
        for name, plain in (
            ("max_norm", None), ("norm_type", 2), ("scale_grad_by_freq", False), ("mode", ""),
            ("padding_idx", None),
        ):  # fmt: skip
            value = getattr(self, name)
            if value != plain:
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, mode: str = "mean",
        sparse: bool = False, include_last_offset: bool = False, padding_idx: int | None = None,
    ) -> Self:  # fmt: skip
        """Return a layer over a given table, shape (rows, columns), not trained if `freeze`."""
        _check_table(embeddings)
        rows, columns = embeddings.shape
        made = cls(
            rows, columns, max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings,
            include_last_offset, padding_idx,
        )  # fmt: skip
        made.weight.requires_grad = not freeze
        return made
