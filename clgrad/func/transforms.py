"""`grad`, `vjp`, `jvp`, Jacobians and Hessians of functions.

All are made of the backward pass. What a transform differentiates by is a tensor of its own: a view
of the argument where that has a history (so that transforms nest), else a leaf. Results that depend
on such leaves alone come back without history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

from clgrad.autograd.backward import grad as gradients_of
from clgrad.autograd.reach import without_own
from clgrad.autograd.units import for_units
from clgrad.errors import AutogradError, ClgradValueError, ShapeError
from clgrad.func.tree import flatten, same_structure, tensors
from clgrad.tape import grad_mode
from clgrad.tape.inplace import edge_of, requires_grad_of
from clgrad.tensor import Tensor

Argnums = int | tuple[int, ...]


class _Level:
    """The tensors by which one transform differentiates."""

    def __init__(self) -> None:
        self.own: set[Any] = set()

    def enter(self, x: Tensor, what: str) -> Tensor:
        """Return what stands for `x` inside."""
        if not x.dtype.is_floating_point:
            raise AutogradError(
                f"{what}: got a tensor of dtype {x.dtype.name}. Expected a floating-point dtype to "
                "differentiate by. Hint: leave it out of argnums, or cast it."
            )
        if requires_grad_of(x):
            inside: Tensor = x.view_as(x)
            return inside
        leaf = x.detach()
        leaf._inference = False
        leaf.requires_grad_()
        edge = edge_of(leaf)
        assert edge is not None
        self.own.add(edge[0])
        return leaf

    def leave(self, tree: Any) -> Any:
        """Return results without the history that nobody outside can use."""
        leaves, rebuild = flatten(tree)
        return rebuild([without_own(x, self.own) if isinstance(x, Tensor) else x for x in leaves])


def _pull(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor]
) -> list[Tensor]:
    """Return vectors times Jacobian, differentiable; zeros where nothing depends."""
    pairs = [(o, v) for o, v in zip(outputs, vectors, strict=True) if requires_grad_of(o)]
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if pairs:
        found = gradients_of(
            [o for o, _ in pairs], inputs, [v for _, v in pairs], retain_graph=True,
            create_graph=True, allow_unused=True,
        )  # fmt: skip
    return [x._zeros(x.shape) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _push(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor]
) -> list[Tensor]:
    """Return Jacobian times vectors: the pull-back is linear, its own pull-back is the push."""
    duals = [o._zeros(o.shape).requires_grad_() for o in outputs]
    return _pull(_pull(outputs, inputs, duals), duals, vectors)


def _chosen(args: tuple[Any, ...], argnums: Argnums, what: str) -> tuple[int, ...]:
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not wanted:
        raise AutogradError(f"{what}: argnums must be non-empty. Expected an int or a tuple.")
    for k in wanted:
        if not -len(args) <= k < len(args):
            raise AutogradError(
                f"{what}: Got argnum={k}, but only {len(args)} positional inputs. Expected "
                "positions of the arguments."
            )
    chosen = tuple([k % len(args) for k in wanted])
    if len(set(chosen)) < len(chosen):
        raise AutogradError(f"{what}: argnums elements must be unique, got {argnums}.")
    return chosen


class _Call:
    """A call of a function whose chosen arguments are entered at a level."""

    def __init__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
        argnums: Argnums, has_aux: bool, what: str,
    ) -> None:  # fmt: skip
        self.level = _Level()
        self.single = isinstance(argnums, int)
        chosen = _chosen(args, argnums, what)
        given = list(args)
        self.inputs: list[Tensor] = []
        self.parts = []
        for k in chosen:
            leaves, rebuild = tensors(args[k], what)
            entered = [self.level.enter(x, what) for x in leaves]
            given[k] = rebuild(entered)
            self.inputs += entered
            self.parts.append((len(leaves), rebuild))
        made = func(*given, **kwargs)
        self.aux: Any = None
        if has_aux:
            if not isinstance(made, tuple) or len(made) != 2:
                raise AutogradError(
                    f"{what}: output of function f should be a tuple: (output, aux) if has_aux is "
                    f"True, got {type(made).__name__}."
                )
            made, self.aux = made
            tensors(self.aux, what)
        self.output = made

    def nested(self, leaves: Sequence[Any]) -> Any:
        """Return values for all inputs in the structure of the chosen arguments."""
        trees, start = [], 0
        for count, rebuild in self.parts:
            trees.append(rebuild(leaves[start : start + count]))
            start += count
        return trees[0] if self.single else tuple(trees)


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Any:
    """Return a function that computes the gradient of `func`, which returns a 0-d tensor.

    Args:
        argnums: by which argument, or arguments, to differentiate.
        has_aux: `func` returns (output, aux), and the result is (gradient, aux).
    """

    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, value = grad_and_value(func, argnums, has_aux)(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Any:
    """Return a function that computes (gradient, value), or (gradient, (value, aux))."""

    def gradient(*args: Any, **kwargs: Any) -> Any:
        with grad_mode.recording():
            call = _Call(func, args, kwargs, argnums, has_aux, "grad")
            value = call.output
            if not isinstance(value, Tensor):
                raise AutogradError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got "
                    f"{type(value)}."
                )
            if value.ndim:
                raise AutogradError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got "
                    f"tensor with {value.ndim} dims. Hint: reduce it, or use vjp or jacrev."
                )
            found = call.nested(_pull([value], call.inputs, [value._ones(())]))
        leave = call.level.leave
        value = leave(value)
        return leave(found), ((value, leave(call.aux)) if has_aux else value)

    return gradient


def value_and_grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Any:
    """Return a function that computes (value, gradient), or ((value, aux), gradient)."""

    def swapped(*args: Any, **kwargs: Any) -> Any:
        found, value = grad_and_value(func, argnums, has_aux)(*args, **kwargs)
        return value, found

    return swapped


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Return the output of `func`, and a function from cotangents to a tuple of gradients.

    The function takes cotangents in the structure of the output; with `has_aux` a third result is
    what `func` returned beside its output.
    """
    with grad_mode.recording():
        call = _Call(func, primals, {}, tuple(range(len(primals))), has_aux, "vjp")
        outputs, _ = tensors(call.output, "vjp")
    level = call.level

    def pull(*cotangents: Any, **_: Any) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        same_structure(call.output, given, "vjp: output and cotangents")
        vectors, _rebuild = tensors(given, "vjp")
        for o, v in zip(outputs, vectors, strict=True):
            if o.shape != v.shape:
                raise ShapeError(
                    f"vjp: a cotangent has shape {list(v.shape)}. Expected {list(o.shape)}, as the "
                    "output."
                )
        with grad_mode.recording():
            found = call.nested(_pull(outputs, call.inputs, vectors))
        return level.leave(found)

    result = level.leave(call.output)
    return (result, pull, level.leave(call.aux)) if has_aux else (result, pull)


def jvp(
    func: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...], *,
    strict: bool = False, has_aux: bool = False,
) -> Any:  # fmt: skip
    """Return the output of `func` and its derivative along `tangents`.

    Args:
        primals, tangents: tuples of the same structure and shapes.
        strict: raise where the output depends on no primal, instead of returning zeros.
    """
    output, push, aux = _linear(func, primals, has_aux, strict)
    made = push(*tangents)
    return (output, made, aux) if has_aux else (output, made)


def _linear(
    func: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool, strict: bool = False
) -> Any:
    if not isinstance(primals, tuple):
        raise AutogradError(
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to "
            "call f(*primals)."
        )
    if not flatten(primals)[0]:
        raise AutogradError(
            "jvp(f, primals, tangents): Expected primals to contain at least one Tensor."
        )
    with grad_mode.recording():
        call = _Call(func, primals, {}, tuple(range(len(primals))), has_aux, "jvp")
        outputs, rebuild = tensors(call.output, "jvp")
    if strict and not all(requires_grad_of(o) for o in outputs):
        raise AutogradError(
            "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. "
            "This is not allowed with strict=True."
        )
    leave = call.level.leave

    def push(*tangents: Any) -> Any:
        same_structure(primals, tangents, "jvp: primals and tangents")
        vectors, _ = tensors(tangents, "jvp")
        for x, v in zip(call.inputs, vectors, strict=True):
            if x.shape != v.shape:
                raise ShapeError(
                    f"jvp: a tangent has shape {list(v.shape)}. Expected {list(x.shape)}, as the "
                    "primal."
                )
        with grad_mode.recording():
            made = rebuild(_push(outputs, call.inputs, vectors))
        return leave(made)

    return leave(call.output), push, leave(call.aux)


def linearize(func: Callable[..., Any], *primals: Any) -> Any:
    """Return the output of `func`, and the function from tangents to derivatives at `primals`."""
    output, push, _ = _linear(func, primals, False)
    return output, push


def _pull_one(output: Tensor, inputs: Sequence[Tensor], unit: Tensor) -> list[Tensor]:
    return _pull([output], inputs, [unit])


def _push_one(outputs: Sequence[Tensor], x: Tensor, unit: Tensor) -> list[Tensor]:
    return _push(outputs, [x], [unit])


def jacrev(
    func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False,
    chunk_size: int | None = None,
) -> Any:  # fmt: skip
    """Return a function that computes the Jacobian, by one backward pass for each output.

    Its result has the structure of the output, and in each place that of the chosen arguments, with
    shape (*output, *input).

    Args:
        chunk_size: of how many elements of the output the gradients are taken at once, to save
            memory; default: of all.
    """
    if chunk_size is not None and chunk_size < 1:
        raise ClgradValueError(f"jacrev: `chunk_size` should be greater than 0, got {chunk_size}.")

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        with grad_mode.recording():
            call = _Call(func, args, kwargs, argnums, has_aux, "jacrev")
            outputs, rebuild = tensors(call.output, "jacrev")
            blocks = []
            for output in outputs:
                rows = for_units(output, partial(_pull_one, output, call.inputs), chunk_size)
                columns = [
                    row.reshape((*output.shape, *x.shape))
                    for row, x in zip(rows, call.inputs, strict=True)
                ]
                blocks.append(call.nested(columns))
            made = rebuild(blocks)
        leave = call.level.leave
        return (leave(made), leave(call.aux)) if has_aux else leave(made)

    return jacobian


def jacfwd(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, *,
    randomness: str = "error",
) -> Any:  # fmt: skip
    """Return a function that computes the Jacobian, by one pass for each argument.

    Results as for `jacrev`.

    Args:
        randomness: taken for PyTorch's sake; `func` is called once.
    """

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        with grad_mode.recording():
            call = _Call(func, args, kwargs, argnums, has_aux, "jacfwd")
            outputs, rebuild = tensors(call.output, "jacfwd")
            columns: list[list[Tensor]] = []  # by input, then by output
            for x in call.inputs:
                pushed = for_units(x, partial(_push_one, outputs, x), None)
                columns.append(
                    [
                        last.movedim(0, -1).reshape((*output.shape, *x.shape))
                        for last, output in zip(pushed, outputs, strict=True)
                    ]
                )
            blocks = [call.nested([made[k] for made in columns]) for k in range(len(outputs))]
            found = rebuild(blocks)
        leave = call.level.leave
        return (leave(found), leave(call.aux)) if has_aux else leave(found)

    return jacobian


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Any:
    """Return a function that computes the Hessian: the forward Jacobian of the reverse one."""
    return jacfwd(jacrev(func, argnums), argnums)


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """Return `func` in a form without mutations, which here it has already.

    What ops record are values that never change: an in-place op records a new one, and a view is
    an index into one. So the same function is called; writes to its arguments are seen outside.

    Args:
        func: any function of tensors.
        remove: PyTorch's: "mutations" or "mutations_and_views".

    Raises:
        AutogradError: another `remove`.
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise AutogradError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. "
            "Valid options are: remove='mutations' and remove='mutations_and_views'."
        )

    @wraps(func)
    def functional(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return functional
