"""`einsum` and `tensordot`: products of tensors whose dims have names, by matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradTypeError, ShapeError
from clgrad.functional._given import integers
from clgrad.functional._out import with_out
from clgrad.functional.products import bmm, mm
from clgrad.functional.shaping import alias, diagonal, movedim, permute, reshape, squeeze, unsqueeze
from clgrad.layout import wrap_dim
from clgrad.tensor import Tensor

__all__ = ["einsum", "inner", "tensordot"]
METHODS = ("inner",)

Label = int
"""A named dim: 0 and up; those of `...` are below 0, the last one -1."""


def _fail(text: str) -> ClgradRuntimeError:
    return ClgradRuntimeError(f"einsum(): {text}")


def _letter(character: str) -> Label:
    if not (character.isascii() and character.isalpha()):
        raise _fail(
            f"invalid subscript given: {character!r}. Expected letters [a-zA-Z], `...`, `,`, `->`."
        )
    return ord(character)


def _labels(text: str, what: str) -> list[Any]:
    """Return a term as labels, with `...` for an ellipsis."""
    found: list[Any] = []
    k = 0
    while k < len(text):
        if text[k] == ".":
            if text[k : k + 3] != "..." or ... in found:
                raise _fail(
                    f"found '.' for {what} that is not part of any ellipsis, or a second ellipsis: "
                    f"{text!r}."
                )
            found.append(...)
            k += 3
        else:
            found.append(_letter(text[k]))
            k += 1
    return found


def _parse(equation: Any, operands: Sequence[Any]) -> tuple[list[list[Any]], Any, list[Tensor]]:
    """Return the labels of each operand, those of the result or None, and the operands."""
    if isinstance(equation, str):
        if len(operands) == 1 and isinstance(operands[0], list | tuple):
            operands = operands[0]
        left, arrow, right = equation.replace(" ", "").partition("->")
        terms = [_labels(term, f"operand {k}") for k, term in enumerate(left.split(","))]
        return terms, _labels(right, "the output") if arrow else None, list(operands)
    given = [equation, *operands]  # tensor, list of numbers, tensor, list of numbers, …
    terms, tensors, result = [], [], None
    for k in range(0, len(given) - 1, 2):
        tensors.append(given[k])
        terms.append(_sublist(given[k + 1]))
    if len(given) % 2:
        result = _sublist(given[-1])
    return terms, result, tensors


def _sublist(labels: Any) -> list[Any]:
    if not isinstance(labels, list | tuple):
        raise ClgradTypeError(
            f"einsum(): got {type(labels).__name__}. Expected an equation, or a list of numbers "
            "after each operand."
        )
    for label in labels:
        if label is not ... and not (isinstance(label, int) and 0 <= label < 52):
            raise _fail(f"subscript must be in range [0, 52), got {label!r}.")
    return list(labels)


class _Term:
    """An operand: a tensor and the label of each of its dims, which all differ."""

    def __init__(self, tensor: Tensor, labels: Sequence[Label]) -> None:
        self.tensor = tensor
        self.labels = list(labels)

    def size(self, label: Label) -> int:
        return self.tensor._meta.shape[self.labels.index(label)]

    def summed(self, labels: Sequence[Label]) -> _Term:
        """Return the term without `labels`."""
        dims = [self.labels.index(label) for label in labels]
        if not dims:
            return self
        kept = [label for label in self.labels if label not in labels]
        return _Term(self.tensor.sum(dim=dims), kept)

    def arranged(self, labels: Sequence[Label]) -> Tensor:
        """Return the tensor with a dim for each label, in that order; size 1 where it has none."""
        x = self.tensor
        have = [label for label in labels if label in self.labels]
        if have != self.labels:
            x = permute(x, [self.labels.index(label) for label in have])
        for d, label in enumerate(labels):
            if label not in self.labels:
                x = unsqueeze(x, d)
        return x


def _term(tensor: Tensor, labels: list[Any], number: int) -> _Term:
    """Spell out `...`, and take the diagonal where a label stands twice."""
    ndim = tensor._meta.ndim
    named = len(labels) - (... in labels)
    if named > ndim or (named < ndim and ... not in labels):
        raise _fail(
            f"the number of subscripts in the equation ({named}) does not match the number of "
            f"dimensions ({ndim}) for operand {number}"
            f"{' and no ellipsis was given' if ... not in labels else ''}."
        )
    spelled: list[Label] = []
    for label in labels:
        spelled += range(named - ndim, 0) if label is ... else [label]
    made: list[Label] = []
    for label in spelled:
        if label not in made:
            made.append(label)
            continue
        first, second = made.index(label), len(made)
        sizes = tensor._meta.shape[first], tensor._meta.shape[second]
        if sizes[0] != sizes[1]:
            raise _fail(
                f"subscript {_name(label)} is repeated for operand {number} but the sizes don't "
                f"match, {sizes[1]} != {sizes[0]}."
            )
        tensor = movedim(diagonal(tensor, 0, first, second), -1, first)
    return _Term(tensor, made)


def _name(label: Label) -> str:
    return chr(label) if label >= 65 else "..." if label < 0 else str(label)


def _result_labels(
    result: Any, terms: Sequence[_Term], spelled: Sequence[Sequence[Any]]
) -> list[Label]:
    """Return the labels of the result; without `->` those that stand once, in order."""
    dots = sorted({label for term in terms for label in term.labels if label < 0})
    if result is None:
        count: dict[Label, int] = {}
        for labels in spelled:
            for label in labels:
                if label is not ...:
                    count[label] = count.get(label, 0) + 1
        return [*dots, *sorted(label for label, n in count.items() if n == 1)]
    made: list[Label] = []
    known = {label for term in terms for label in term.labels}
    for label in result:
        if label is ...:
            made += dots
            continue
        if label in made:
            raise _fail(f"output subscript {_name(label)} appears more than once in the output.")
        if label not in known:
            raise _fail(
                f"output subscript {_name(label)} does not appear in the equation for any input "
                "operand."
            )
        made.append(label)
    return made


def _contract(a: _Term, b: _Term, keep: set[Label]) -> _Term:
    """Return the product of two terms, summed over the labels that nothing else wants."""
    shared = [label for label in a.labels if label in b.labels]
    for label in shared:  # a dim of size 1 is broadcast
        for one, other in ((a, b), (b, a)):
            if label in one.labels and one.size(label) == 1 and other.size(label) != 1:
                d = one.labels.index(label)
                smaller = _Term(squeeze(one.tensor, d), [n for n in one.labels if n != label])
                a, b = (smaller, b) if one is a else (a, smaller)
                break
    a = a.summed([n for n in a.labels if n not in keep and n not in b.labels])
    b = b.summed([n for n in b.labels if n not in keep and n not in a.labels])
    shared = [n for n in a.labels if n in b.labels]
    batch = [n for n in shared if n in keep]
    inner = [n for n in shared if n not in keep]
    rows = [n for n in a.labels if n not in shared]
    columns = [n for n in b.labels if n not in shared]
    if not inner:
        labels = [*batch, *rows, *columns]
        return _Term(a.arranged(labels) * b.arranged(labels), labels)
    sizes = {n: t.size(n) for t in (a, b) for n in t.labels}

    def total(labels: Sequence[Label]) -> int:
        count = 1
        for n in labels:
            count *= sizes[n]
        return count

    left = a.arranged([*batch, *rows, *inner])
    right = b.arranged([*batch, *inner, *columns])
    m, k, n = total(rows), total(inner), total(columns)
    if batch:
        product = bmm(reshape(left, (total(batch), m, k)), reshape(right, (total(batch), k, n)))
    else:
        product = mm(reshape(left, (m, k)), reshape(right, (k, n)))
    labels = [*batch, *rows, *columns]
    return _Term(reshape(product, [sizes[label] for label in labels]), labels)


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Return the sum of products that an equation names, contracting operands left to right.

    Args:
        equation: such as `"bij,bjk->bik"`: a letter per dim of each operand; a letter that the
            result lacks is summed over, one that stands twice in an operand is its diagonal, `...`
            are dims that are broadcast. Without `->` the result has the letters that stand once,
            in the order of the alphabet.
        operands: tensors; or the form `einsum(a, [0, 1], b, [1, 2], [0, 2])`.

    Raises:
        ClgradRuntimeError: an equation that does not fit the operands.
    """
    spelled, result, tensors = _parse(equation, operands)
    if not tensors:
        raise _fail("must provide at least one operand.")
    if len(tensors) != len(spelled):
        more = "more" if len(tensors) > len(spelled) else "fewer"
        raise _fail(f"{more} operands were provided than specified in the equation.")
    for one in tensors:
        if not isinstance(one, Tensor):
            raise ClgradTypeError(f"einsum(): got {type(one).__name__}. Expected tensors.")
    terms = [
        _term(x, labels, k) for k, (x, labels) in enumerate(zip(tensors, spelled, strict=True))
    ]
    sizes: dict[Label, int] = {}
    for k, term in enumerate(terms):
        for label in term.labels:
            size = term.size(label)
            known = sizes.get(label, 1)
            if size != 1 and known not in (1, size):
                raise _fail(
                    f"subscript {_name(label)} has size {size} for operand {k} which does not "
                    f"broadcast with previously seen size {known}."
                )
            sizes[label] = size if known == 1 else known
    out = _result_labels(result, terms, spelled)
    made, *rest = terms
    for k, term in enumerate(rest, 1):
        later = {label for other in rest[k:] for label in other.labels}
        made = _contract(made, term, set(out) | later)
    made = made.summed([label for label in made.labels if label not in out])
    result_tensor = made.arranged(out)
    return alias(result_tensor) if result_tensor is tensors[0] else result_tensor


@with_out
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Return the product of two tensors, summed over pairs of dims.

    Args:
        dims: a number n, for the last n dims of `a` with the first n of `b`, or two lists of dims.

    Raises:
        ShapeError: sizes of a pair that differ, other numbers of dims, a dim named twice.
        ClgradRuntimeError: a number below 0 or beyond the dims of an operand.
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise ClgradRuntimeError(f"tensordot expects dims >= 0, but got dims={dims}.")
        if dims > min(a._meta.ndim, b._meta.ndim):
            raise ClgradRuntimeError(
                f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}."
            )
        first = list(range(a._meta.ndim - dims, a._meta.ndim))
        second = list(range(dims))
    else:
        pair = [integers("tensordot", (d,)) for d in dims]
        first = [wrap_dim(d, a._meta.ndim, "tensordot") for d in pair[0]]
        second = [wrap_dim(d, b._meta.ndim, "tensordot") for d in pair[1]]
    if len(first) != len(second):
        raise ShapeError("tensordot: both dimension lists should have same length.")
    if len(set(first)) != len(first) or len(set(second)) != len(second):
        raise ShapeError("tensordot: a dim appears multiple times in the list of dims.")
    for d, e in zip(first, second, strict=True):
        n, m = a._meta.shape[d], b._meta.shape[e]
        if n != m and 1 not in (n, m):
            raise ShapeError(
                f"tensordot: contracted dimensions need to match, but first has size {n} in dim "
                f"{d} and second has size {m} in dim {e}."
            )
        if n != m:
            if n == 1:
                b = b.sum(dim=e, keepdim=True, dtype=b.dtype)
            else:
                a = a.sum(dim=d, keepdim=True, dtype=a.dtype)
    rows = [d for d in range(a._meta.ndim) if d not in first]
    columns = [d for d in range(b._meta.ndim) if d not in second]
    shape = [*[a._meta.shape[d] for d in rows], *[b._meta.shape[d] for d in columns]]
    inner = 1
    for d in first:
        inner *= a._meta.shape[d]
    left = reshape(permute(a, [*rows, *first]), (_count(a, rows), inner))
    right = reshape(permute(b, [*second, *columns]), (inner, _count(b, columns)))
    return reshape(mm(left, right), shape)


def _count(x: Tensor, dims: Sequence[int]) -> int:
    count = 1
    for d in dims:
        count *= x._meta.shape[d]
    return count


@with_out
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Return the sums of products along the last dims of both: shape (*input, *other) without them.

    Raises:
        ShapeError: the last sizes differ.
    """
    a, b = input._meta.shape, other._meta.shape
    if not a or not b:
        return input * other
    if a[-1] != b[-1]:
        raise ShapeError(
            f"inner: the last dimension must match on both input tensors but got shapes {list(a)} "
            f"and {list(b)}."
        )
    return tensordot(input, other, [[-1], [-1]])
