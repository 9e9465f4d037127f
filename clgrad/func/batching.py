"""`vmap`: a function of one sample becomes a function of a batch of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.errors import AutogradError, ClgradValueError
from clgrad.func.tree import flatten
from clgrad.generator import default_generator
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
        randomness: whether what draws random numbers in `func` is an "error", or draws
            "different" ones for each sample, or the "same".
        chunk_size: taken for PyTorch's sake.

    Raises:
        ClgradValueError: no argument has a batch dim, batch sizes differ, in_dims or out_dims do
            not fit, or something else than tensors is returned.
        AutogradError: random numbers were drawn, or another `randomness` is asked for.
    """
    if randomness not in _RANDOMNESS:
        raise AutogradError(
            "vmap: Only allowed values for randomness are 'error', 'different', or 'same'. Got "
            f"{randomness}."
        )
    if chunk_size is not None and chunk_size < 1:
        raise ClgradValueError(
            f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})"
        )
    if isinstance(in_dims, str | list) or not isinstance(in_dims, int | tuple | dict | None):
        raise ClgradValueError(
            "vmap: expected `in_dims` to be int or a (potentially nested) tuple matching the "
            f"structure of inputs, got: {type(in_dims)}."
        )
    if isinstance(out_dims, str):
        raise ClgradValueError(
            "vmap: `out_dims` must be an int, None or a python collection of ints representing "
            f"where in the outputs the vmapped dimension should appear, got {out_dims!r}."
        )

    def batched(*args: Any, **kwargs: Any) -> Any:
        dims = _answers(in_dims, args)
        leaves, rebuild = flatten(args)
        sizes = {
            _size(x, d) for x, d in zip(leaves, dims, strict=True) if d is not None
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
        (size,) = sizes
        state = default_generator.get_state()
        results = []
        for k in range(size or 1):
            parts = [
                x if d is None else (x.select(d, k) if size else x._zeros(_without(x, d)))
                for x, d in zip(leaves, dims, strict=True)
            ]
            if randomness == "same":
                default_generator.set_state(state)
            results.append(flatten(func(*rebuild(parts), **kwargs)))
            if randomness == "error" and default_generator.get_state() != state:
                raise AutogradError(
                    "vmap: called random operation while in randomness error mode. Please either "
                    "use the 'same' or 'different' randomness flags on vmap or perform the "
                    "randomness operation out of vmap."
                )
        return _joined(results, out_dims, size)

    return batched


_RANDOMNESS = ("error", "different", "same")


def _size(x: Any, dim: int) -> int:
    if not isinstance(x, Tensor):
        raise ClgradValueError(
            f"vmap: Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot "
            "vmap over non-Tensor arguments. Hint: None as its in_dim."
        )
    if not -x.ndim <= dim < x.ndim:
        raise ClgradValueError(
            f"vmap: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality "
            f"{x.ndim} so expected in_dim to satisfy -{x.ndim} <= in_dim < {x.ndim}."
        )
    return int(x.shape[dim])


def _without(x: Tensor, dim: int) -> tuple[int, ...]:
    """Return the shape of a sample: of a batch of none, one of zeros stands for all."""
    dim %= x.ndim
    return tuple(n for d, n in enumerate(x.shape) if d != dim)


def _answers(in_dims: Any, args: tuple[Any, ...]) -> list[int | None]:
    """Return the batch dim of each leaf of the arguments."""

    def spread(answer: Any, tree: Any, chosen: bool) -> list[int | None]:
        answers: Any
        deep = isinstance(answer, dict | list | tuple)
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
            return [answer if chosen or isinstance(tree, Tensor) else None]
        return [d for a, t in pairs for d in spread(a, t, chosen or deep)]

    return spread(in_dims, args, False)


def _joined(results: list[tuple[list[Any], Any]], out_dims: Any, size: int) -> Any:
    first, rebuild = results[0]
    many = isinstance(out_dims, tuple | list)
    if many and len(out_dims) != len(first):
        raise ClgradValueError(
            f"vmap: out_dims is not compatible with the structure of `outputs`: {len(out_dims)} "
            f"dims for {len(first)} results. Expected one dim, or one for each."
        )
    made = []
    for k, one in enumerate(first):
        parts = [leaves[k] for leaves, _ in results]
        where = out_dims[k] if many else out_dims
        if where is None:
            made.append(one)
            continue
        if not isinstance(one, Tensor):
            raise ClgradValueError(
                f"vmap: the function must only return Tensors, got type {type(one)}. Did you mean "
                "to set out_dims= to None for output?"
            )
        stacked = one._stack(parts)
        made.append((stacked if size else stacked[:0]).movedim(0, where))
    return rebuild(made)
