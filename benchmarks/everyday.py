"""Everyday work: normalisation, losses, small models, lookups, sums, against PyTorch eager.

    python benchmarks/everyday.py [--quick] [--device cl:0] [--rounds 5] [--json FILE]

prints a Markdown table. Ratios are clgrad / PyTorch, least / median / largest over rounds in which
the two take turns; below 1 clgrad takes less.
"""

from __future__ import annotations

from collections.abc import Iterator

from _table import Figures, Row, main


class Everyday(Figures):
    """The groups of figures."""

    groups = ("rows", "models", "lookups", "sums")

    def rows(self) -> Iterator[Row]:
        """Row kernels from primitives, and by name."""
        shape = {"rows": 4096, "columns": 1024}
        name = "LayerNorm (4096, 1024) of primitives"
        yield self.timed(
            f"{name}, against primitives", "layer_norm", atol=1e-3, **shape, named=False
        )
        yield self.timed(
            f"{name}, against `F.layer_norm`", "layer_norm", atol=1e-3, **shape, named=True
        )
        yield self.timed("cross-entropy (4096, 1000)", "cross_entropy", rows=4096, classes=1000)

    def models(self) -> Iterator[Row]:
        """Training steps, and the memory that they take beyond what was there."""
        for model, batch in (("lenet", 128), ("perceptron", 128), ("perceptron", 8)):
            params = {"model": model, "batch": batch}
            name = f"{model}, batch {batch}"
            yield self.timed(f"{name}: training step", "training", rtol=1e-3, **params)
            yield self.peaks(f"{name}: peak extra memory", "training", **params)

    def lookups(self) -> Iterator[Row]:
        """Embedding and sort."""
        name = "embedding 30,000 x 256, 4,096 tokens"
        yield self.timed(name, "embedding", rows=30000, columns=256, tokens=4096)
        yield self.timed("sort of 1M", "sort", elements=1_000_000)

    def sums(self) -> Iterator[Row]:
        """Sums of a square."""
        for name, dim in (("everything", None), ("columns", 0), ("rows", 1)):
            yield self.timed(f"sum (4096, 4096): {name}", "total", rows=4096, columns=4096, dim=dim)


if __name__ == "__main__":
    main(__file__, __doc__, Everyday, "_everyday_jobs")
