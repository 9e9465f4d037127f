"""`vmap`: a function of one sample becomes a function of a batch of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.batching import Level, enter, leave, opened, own_of, random_error
from clgrad.errors import AutogradError, ClgradValueError
from clgrad.func.tree import Rebuild, flatten
from clgrad.generator import default_generator
from clgrad.tensor import Tensor


def vmap(
    func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
    chunk_size: int | None = None,
) -> Any:  # fmt: skip
    """Return a function that maps `func` over a dim of its arguments and stacks the results.

    `func` is called once, on tensors that have the shape of a sample; see `batching` for how ops
    are recorded for all samples together.

    Args:
        in_dims: the dim of each positional argument, or None for what every sample shares; a
            nested argument may have a nested answer.
        out_dims: where the batch dim stands in each result.
        randomness: whether what draws random numbers in `func` is an "error", or draws
            "different" ones for each sample, or the "same".
        chunk_size: of how many samples to take care at once, to save memory; default: of all.

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
        chunks = []
        for start in range(0, size, chunk_size or size) if size else (0,):
            if randomness == "same":
                default_generator.set_state(state)
            length = min(chunk_size or size, size - start)
            parts = leaves
            if length < size:
                parts = [
                    x if d is None else x.narrow(d, start, length)
                    for x, d in zip(leaves, dims, strict=True)
                ]
            chunks.append(_together(func, parts, dims, rebuild, kwargs, out_dims, randomness))
        return chunks[0] if len(chunks) == 1 else _rejoined(chunks, out_dims)

    return batched


def _together(
    func: Callable[..., Any], leaves: list[Any], dims: list[int | None], rebuild: Rebuild,
    kwargs: dict[str, Any], out_dims: Any, randomness: str,
) -> Any:  # fmt: skip
    """Call `func` once, on tensors that stand for all samples."""
    size = next(x.shape[d] for x, d in zip(leaves, dims, strict=True) if d is not None)
    with opened(size, randomness) as level:
        inside = [x if d is None else enter(x, d, level) for x, d in zip(leaves, dims, strict=True)]
        before = [t._storage.value if isinstance(t, Tensor) else None for t in inside]
        state = default_generator.get_state()
        made, put = flatten(func(*rebuild(inside), **kwargs))
        if randomness == "error" and default_generator.get_state() != state:
            raise random_error()
        wanted = _out_dims(out_dims, made)
        # The same tensor comes out once, and an argument as what was passed for it.
        left = {(id(t), 0): x for x, d, t in zip(leaves, dims, inside, strict=True) if d == 0}
        results = []
        for one, d in zip(made, wanted, strict=True):
            if d is not None and (id(one), d) not in left:
                left[id(one), d] = _left(one, d, level)
            results.append(one if d is None else left[id(one), d])
        for x, d, t, value in zip(leaves, dims, inside, before, strict=True):
            if d is not None and t._storage.value is not value:  # an in-place op wrote
                counter = x._family()
                version, counter.pin = counter.version, None  # the op that wrote has counted
                x.copy_(leave(t, level).movedim(0, d))
                counter.version = version
    return put(results)


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


def _out_dims(out_dims: Any, made: list[Any]) -> list[int | None]:
    """Return the batch dim of each result."""
    if not isinstance(out_dims, tuple | list):
        return [out_dims] * len(made)
    answers, _ = flatten(out_dims)
    if len(answers) != len(made):
        raise ClgradValueError(
            f"vmap: out_dims is not compatible with the structure of `outputs`: {len(answers)} "
            f"dims for {len(made)} results. Expected one dim, or one for each."
        )
    return answers


def _left(one: Any, where: int, level: Level) -> Tensor:
    if not isinstance(one, Tensor):
        raise ClgradValueError(
            f"vmap: the function must only return Tensors, got type {type(one)}. Did you mean "
            "to set out_dims= to None for output?"
        )
    made: Tensor = leave(one, level)
    return made.movedim(0, where) if where else made


def _rejoined(chunks: list[Any], out_dims: Any) -> Any:
    """Return the results of chunks one after the other."""
    taken = [flatten(chunk) for chunk in chunks]
    first, rebuild = taken[0]
    joined = []
    for k, d in enumerate(_out_dims(out_dims, first)):
        one = first[k]
        joined.append(one if d is None else one._cat([leaves[k] for leaves, _ in taken], d))
    return rebuild(joined)


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """Return all samples of what is one sample inside a `vmap`, along dim 0, to look at them.

    Args:
        tensor: any tensor; one without samples is returned itself.
        recurse: leave all levels, not the innermost alone.
    """
    levels = own_of(tensor._storage.value)
    if not levels:
        return tensor
    outside = leave(tensor, levels[-1])
    return debug_unwrap(outside) if recurse else outside
