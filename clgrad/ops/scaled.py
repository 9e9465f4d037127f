"""Sums with one side scaled: what `add`, `sub` and `rsub` become where `alpha` is given.

They are ops of their own so that the plain sum keeps its shorter kernel, and `alpha` is a kernel
argument: an optimizer's changing step compiles nothing.
"""

from __future__ import annotations

from clgrad.ops.pointwise import sub
from clgrad.ops.registry import pointwise

add_scaled = pointwise(
    "_add_scaled", "a, b, *, alpha=1", "a + alpha * b", da="g", db="alpha * g",
    node_name="AddBackward0", doc="`a + alpha * b`.",
)  # fmt: skip
sub_scaled = pointwise(
    "_sub_scaled", "a, b, *, alpha=1", "a - alpha * b", da="g", db="-alpha * g",
    takes="uif", refusal=sub.refusal,
    node_name="SubBackward0", doc="`a - alpha * b`.",
)  # fmt: skip
rsub_scaled = pointwise(
    "_rsub_scaled", "a, b, *, alpha=1", "b - alpha * a", da="-alpha * g", db="g",
    takes="uif", refusal=sub.refusal,
    node_name="RsubBackward0", node_names={"tn": "RsubBackward1"}, doc="`b - alpha * a`.",
)  # fmt: skip
