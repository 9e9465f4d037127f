"""How many operations an op is: what a profile divides by the time that they took."""

from __future__ import annotations

from clgrad.expr import count_ops
from clgrad.ops.signature import Signature, fresh_numel


def operations(sig: Signature) -> int:
    """Return the arithmetic operations of an op.

    A sum or product counts 1, a transcendental function 8; a product of matrices and a convolution
    count 2 for each pair that they multiply, other kernel families 1 for each element they make.
    """
    result = sig.meta.numel
    if sig.kind == "kernel":
        return sig.work or result
    if sig.fold is None:
        return sig.cost * fresh_numel(sig.space)
    fold = sig.fold
    each = sum(map(count_ops, (*fold.element, *fold.combine)))
    return each * fresh_numel(sig.space) + count_ops(fold.finish) * result
