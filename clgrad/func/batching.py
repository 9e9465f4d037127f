"""`vmap`: a function of one sample becomes a function of a batch of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.errors import ClgradValueError
from clgrad.func.tree import flatten
from clgrad.tensor import Tensor


def vmap(
    func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
    chunk_size: int | None = None,
) -> Any:  # fmt: skip
    """Return a function that maps `func` over a dim of its arguments and stacks the results.

    The samples are recorded one after the other: what is small is fused, but a large batch is
    better written with a batch dim.

    Args:
        in_dims: the dim of each positional argument, or None for what every sample shares; a
            nested argument may have a nested answer.
        out_dims: where the batch dim stands in each result.
        randomness, chunk_size: taken for PyTorch's sake; samples draw different numbers.

    Raises:
        ClgradValueError: no argument has a batch dim, batch sizes differ, or in_dims does not fit
            the arguments.
    """

    def batched(*args: Any, **kwargs: Any) -> Any:
        dims = _answers(in_dims, args)
        leaves, rebuild = flatten(args)
        sizes = {
            x.shape[d] for x, d in zip(leaves, dims, strict=True)
            if d is not None and isinstance(x, Tensor)
        }  # fmt: skip
        if len(sizes) > 1:
            raise ClgradValueError(
                f"vmap: Expected all tensors to have the same size in the mapped dimension, got "
                f"sizes {sorted(sizes)} for the mapped dimension."
            )
        if not sizes:
            raise ClgradValueError(
                "vmap: no argument is mapped. Expected a tensor with an in_dim that is not None."
            )
        results = []
        for k in range(sizes.pop()):
            parts = [x if d is None else x.select(d, k) for x, d in zip(leaves, dims, strict=True)]
            results.append(flatten(func(*rebuild(parts), **kwargs)))
        return _joined(results, out_dims)

    return batched


def _answers(in_dims: Any, args: tuple[Any, ...]) -> list[int | None]:
    """Return the batch dim of each leaf of the arguments."""

    def spread(answer: Any, tree: Any) -> list[int | None]:
        answers: Any
        if isinstance(tree, dict):
            answers = answer.values() if isinstance(answer, dict) else [answer] * len(tree)
            pairs = zip(answers, tree.values(), strict=False)
        elif isinstance(tree, list | tuple):
            answers = answer if isinstance(answer, list | tuple) else [answer] * len(tree)
            if len(answers) != len(tree):
                raise ClgradValueError(
                    f"vmap: in_dims answers for {len(answers)} of {len(tree)} arguments. Expected "
                    "one dim, or one for each."
                )
            pairs = zip(answers, tree, strict=True)
        else:
            return [answer if isinstance(tree, Tensor) else None]
        return [d for a, t in pairs for d in spread(a, t)]

    return spread(in_dims, args)


def _joined(results: list[tuple[list[Any], Any]], out_dims: Any) -> Any:
    first, rebuild = results[0]
    many = isinstance(out_dims, tuple | list)
    made = []
    for k in range(len(first)):
        parts = [leaves[k] for leaves, _ in results]
        where = out_dims[k] if many else out_dims
        if where is None:
            made.append(parts[0])
        else:
            made.append(parts[0]._stack(parts).movedim(0, where))
    return rebuild(made)
