"""The op record and the declarators that make one.

One record says everything about an op; kernels, derivative ops, what is saved, names and docs are
derived from it. Nothing here knows tensors, kernels or devices.

    pointwise   scalar formulas as strings
    creation    a formula over parameters and the element's own index `i`
    reduction   element, combine and finish formulas over one or more accumulators
    view        a host function over `Layout`; no kernel at all
    primitive   a kernel family of its own (matmul); host function for the gradients
    composite   a host function over other ops, recorded as one node
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clgrad.errors import ClgradValueError
from clgrad.expr import Expr, call, diff, free_names, parse, simplify, substitute
from clgrad.expr import name as leaf
from clgrad.ops.folds import Reduction, fold_rule

REQUIRED: Any = object()
"""Default of a parameter that has none."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Op:
    """One op, as pure data. Compare by identity.

    Attributes:
        name: what users call it; `kind`: one of the structures above.
        inputs: names of the tensor operands, in order (a Python number may stand for one).
        params: (name, default) of what is not differentiated; numbers among them are kernel
            arguments if `numeric` names them, everything else is static.
        formula: value of one element over inputs, numeric params and `i`.
        promote: `default` common dtype, `float` integers become the default float,
            `none` each operand keeps its own.
        result: `same` as computed, `bool`, a dtype name, or `param:dtype`.
        masks: inputs that must be bool and take no part in promotion.
        number_dtypes: creations: numeric param -> dtype in which it reaches the formula.
        derivatives: input name -> formula over `g`, inputs, numeric params and `y`, the result.
        backward: host function `(ctx, g) -> tuple of gradients`, where formulas do not do.
        saves: input -> names (inputs, `y`) that `backward` reads through `ctx.saved(name)` for its
            gradient; what no wanted gradient reads is not saved.
        layout: views: `(Layout, **params) -> Layout`.
        forward: composites: `(*tensors, **params) -> Tensor`.
        shape: primitives: `(metas, params) -> Signature`; see `signature`.
        inplace: whether `name_` exists.
        aliases: further names of the same function.
        opmath: whether numbers beside 16-bit floats keep their precision (else they are rounded
            to the common dtype first, as PyTorch does but in products and quotients).
        numbers: inputs for which users may pass a Python number; None: all of them.
        takes: kinds of the common dtype that it computes in (`b` bool, `u` and `i` integer, `f`);
            `refusal` begins the error for others.
        domain: input name -> interval from which tests draw it, where not every number will do.
        node_name: what `grad_fn` is called; `node_names` where that depends on which operands are
            Python numbers (`tn` a tensor and a number, and so on), or on whether a reduction has
            been given a `dim` (`dim`).
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    params: tuple[tuple[str, Any], ...] = ()
    numeric: frozenset[str] = frozenset()
    formula: Expr | None = None
    promote: str = "default"
    result: str = "same"
    masks: frozenset[str] = frozenset()
    number_dtypes: Mapping[str, str] = field(default_factory=dict)
    derivatives: Mapping[str, Expr] = field(default_factory=dict)
    backward: Callable[..., Any] | None = None
    saves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    layout: Callable[..., Any] | None = None
    forward: Callable[..., Any] | None = None
    shape: Callable[..., Any] | None = None
    reduction: Reduction | None = None
    inplace: bool = False
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    node_name: str = ""
    node_names: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    numbers: frozenset[str] | None = None
    opmath: bool = True
    takes: str = "buif"
    refusal: str = ""
    doc: str = ""
    source: str = ""

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name.strip("_")

    @property
    def differentiable(self) -> bool:
        return bool(self.derivatives) or self.backward is not None


OPS: dict[str, Op] = {}
"""Every registered op by name."""


def register(op: Op) -> Op:
    """Enter `op` in the table; raises `ClgradValueError` where its name is taken."""
    if op.name in OPS:
        raise ClgradValueError(
            f"{op.name}: an op of this name exists. Hint: choose another name for yours."
        )
    OPS[op.name] = op
    return op


def declared(text: str) -> tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]:
    """Read `"x, *, negative_slope=0.01"` as inputs and parameters."""
    inputs: list[str] = []
    params: list[tuple[str, Any]] = []
    keyword_only = False
    for part in (p.strip() for p in text.split(",")):
        if not part:
            continue
        if part == "*":
            keyword_only = True
        elif keyword_only:
            name, equals, default = part.partition("=")
            params.append((name.strip(), ast.literal_eval(default) if equals else REQUIRED))
        else:
            inputs.append(part)
    return tuple(inputs), tuple(params)


Saves = Sequence[str] | Mapping[str, Sequence[str]]
"""What a host function for gradients reads: names for all gradients alike, or by input."""


def _saves(saves: Saves, inputs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    if isinstance(saves, Mapping):
        return {name: tuple(read) for name, read in saves.items()}
    return {name: tuple(saves) for name in inputs}


def camel(name: str) -> str:
    """Return `log_softmax` as `LogSoftmax`."""
    return "".join(part[:1].upper() + part[1:] for part in name.strip("_").split("_"))


def pointwise(
    name: str,
    inputs: str,
    formula: str,
    *,
    promote: str = "default",
    result: str = "same",
    masks: Sequence[str] = (),
    static: Sequence[tuple[str, Any]] = (),
    inplace: bool = True,
    domain: Mapping[str, tuple[float, float]] | None = None,
    node_name: str = "",
    node_names: Mapping[str, str] | None = None,
    aliases: Sequence[str] = (),
    numbers: Sequence[str] | None = None,
    opmath: bool = False,
    takes: str = "buif",
    refusal: str = "",
    doc: str = "",
    add: bool = True,
    **derivatives: str,
) -> Op:
    """Declare an op that computes each element by itself.

    Args:
        name: its name.
        inputs: operand names, then after `*` numeric parameters with their defaults.
        formula: value of an element, in Python expression syntax.
        masks: operands that must be bool.
        static: further parameters that take no part in the formula (`dtype` of a cast).
        domain: input name -> interval in which value and derivatives are finite and smooth.
        node_names, aliases, numbers, opmath, takes, refusal: see `Op`.
        derivatives: `d<input>="formula over g, the inputs and y"`.

    Raises:
        FormulaError: a formula cannot be read or uses an unknown name.
        ClgradValueError: the name is taken, or a derivative names no input.
    """
    names, params = declared(inputs)
    numeric = tuple(p for p, _ in params)
    known = {f"d{n}": n for n in names}
    for key in derivatives:
        if key not in known:
            raise ClgradValueError(
                f"{name}: {key!r} is no derivative. Expected one of {', '.join(known)}."
            )
    op = Op(
        name=name,
        kind="pointwise",
        inputs=names,
        params=(*params, *static),
        numeric=frozenset(numeric),
        formula=parse(formula, {*names, *numeric, "i"}),
        promote=promote,
        result=result,
        masks=frozenset(masks),
        derivatives={
            known[key]: parse(text, {*names, *numeric, "g", "y", "i"})
            for key, text in derivatives.items()
        },
        inplace=inplace,
        domain=domain or {},
        node_name=node_name or f"{camel(name)}Backward0",
        node_names=node_names or {},
        aliases=tuple(aliases),
        numbers=None if numbers is None else frozenset(numbers),
        opmath=opmath,
        takes=takes,
        refusal=refusal,
        doc=doc,
        source=formula,
    )
    return register(op) if add else op


def creation(name: str, params: str, formula: str, *, doc: str = "") -> Op:
    """Declare an op without tensor operands: a formula over numeric params and the index `i`.

    Its static parameters are always `shape` and `dtype`. A number reaches the formula in the
    result's computing dtype, or in one of its own, as `"seed: uint64"` says.
    """
    parts = [part.partition(":") for part in params.split(",") if part]
    numbers = tuple((label.strip(), REQUIRED) for label, _, _ in parts)
    names = {n for n, _ in numbers}
    return register(
        Op(
            name=name,
            kind="creation",
            inputs=(),
            params=(*numbers, ("shape", REQUIRED), ("dtype", REQUIRED)),
            numeric=frozenset(names),
            number_dtypes={label.strip(): d.strip() for label, _, d in parts if d},
            formula=parse(formula, {*names, "i"}),
            result="param:dtype",
            doc=doc,
            source=formula,
        )
    )


def reduction(
    name: str,
    inputs: str = "x",
    *,
    init: str | Sequence[str],
    combine: str | Sequence[str],
    element: str | Sequence[str] = "x",
    finish: str = "a",
    accumulate: Sequence[str] = ("acc",),
    promote: str = "default",
    result: str = "same",
    empty: bool = True,
    dx: str | None = None,
    backward: Callable[..., Any] | None = None,
    saves: Saves = (),
    params: Sequence[tuple[str, Any]] = (),
    two_names: bool = False,
    doc: str = "",
    add: bool = True,
) -> Op:
    """Declare an op that folds elements along dims.

    With one accumulator the formulas may call it `a` (and the other side `b`). `dx` reads `g` and
    `y` broadcast over the reduced dims, `x`, and `n`, the number of reduced elements. With
    `two_names` its node has another name where a `dim` is given, as in PyTorch.

    Raises:
        FormulaError: a formula cannot be read or uses an unknown name.
        ClgradValueError: the name is taken, or the accumulators do not agree in number.
    """
    (operand,) = declared(inputs)[0]
    rule = fold_rule(name, operand, init, element, combine, finish, accumulate, empty)
    op = Op(
        name=name,
        kind="reduction",
        inputs=(operand,),
        params=(("dim", None), ("keepdim", False), *params),
        promote=promote,
        result=result,
        derivatives={} if dx is None else {operand: parse(dx, {operand, "g", "y", "n"})},
        backward=backward,
        saves=_saves(saves, (operand,)),
        reduction=rule,
        node_name=f"{camel(name)}Backward0",
        node_names={"dim": f"{camel(name)}Backward1"} if two_names else {},
        doc=doc,
        source=combine if isinstance(combine, str) else " ; ".join(combine),
    )
    return register(op) if add else op


def view(
    name: str,
    layout: Callable[..., Any],
    backward: Callable[..., Any],
    *,
    params: Sequence[tuple[str, Any]] = (),
    node_name: str = "",
    doc: str = "",
) -> Op:
    """Declare an op that shares its input's storage under another layout."""
    return register(
        Op(
            name=name,
            kind="view",
            inputs=("x",),
            params=tuple(params),
            layout=layout,
            backward=backward,
            node_name=node_name or f"{camel(name)}Backward0",
            doc=doc,
        )
    )


def primitive(
    name: str,
    inputs: str,
    shape: Callable[..., Any],
    *,
    backward: Callable[..., Any] | None = None,
    saves: Saves = (),
    params: Sequence[tuple[str, Any]] = (),
    numeric: Sequence[str] = (),
    node_name: str = "",
    doc: str = "",
) -> Op:
    """Declare an op with a kernel family of its own; `shape` builds its `Signature`."""
    return register(
        Op(
            name=name,
            kind="primitive",
            inputs=declared(inputs)[0],
            params=tuple(params),
            numeric=frozenset(numeric),
            shape=shape,
            backward=backward,
            saves=_saves(saves, declared(inputs)[0]),
            node_name=node_name or f"{camel(name)}Backward0",
            doc=doc,
        )
    )


def composite(
    name: str,
    inputs: str,
    forward: Callable[..., Any],
    *,
    backward: Callable[..., Any] | None,
    saves: Saves = (),
    params: Sequence[tuple[str, Any]] = (),
    numeric: Sequence[str] = (),
    node_name: str = "",
    inplace: bool = False,
    doc: str = "",
    add: bool = True,
) -> Op:
    """Declare an op made of other ops whose gradient is written here and recorded as one node.

    Args:
        backward: None for an op that has no gradient: to ask for one is an error.
        numeric: parameters that are kernel arguments; `forward` takes them after the inputs.
        add: enter it in the table; not where a plain function sorts its arguments.
    """
    op = Op(
        name=name,
        kind="composite",
        inputs=declared(inputs)[0],
        params=tuple(params),
        numeric=frozenset(numeric),
        forward=forward,
        backward=backward,
        saves=_saves(saves, declared(inputs)[0]),
        inplace=inplace,
        node_name=node_name or f"{camel(name)}Backward0",
        doc=doc,
    )
    return register(op) if add else op


_derived: dict[tuple[Op, str], tuple[Op, tuple[str, ...]]] = {}


def derived(op: Op, operand: str) -> tuple[Op, tuple[str, ...]]:
    """Return the op that computes `op`'s gradient for `operand`, and what its operands are.

    The second result names, operand by operand, what to pass: `g` (the incoming gradient), an
    input, a numeric param, `y` (the result) or `n`. Inside the new op `g` and `y` have fresh
    names, because its own derivatives have an incoming gradient again.
    """
    found = _derived.get((op, operand))
    if found is None:
        formula = op.derivatives[operand]
        order = ("g", *op.inputs, *(p for p, _ in op.params if p in op.numeric), "y", "n")
        used = free_names(formula)
        sources = tuple(n for n in order if n in used)
        depth = next(d for d in range(1, 99) if f"g{d}" not in op.inputs)
        fresh = {"g": f"g{depth}", "y": f"y{depth}"}
        names = tuple(fresh.get(n, n) for n in sources)
        formula = substitute(formula, {old: leaf(new) for old, new in fresh.items()})
        new = Op(
            name=f"{op.name}.d{operand}",
            kind="pointwise",
            inputs=names,
            formula=formula,
            masks=op.masks & frozenset(names),
            derivatives=SymbolicDerivatives(formula, names),
            node_name=f"{camel(op.name)}BackwardBackward0",
            doc=f"Gradient of {op.name} for {operand}.",
        )
        found = _derived.setdefault((op, operand), (new, sources))
    return found


class SymbolicDerivatives(Mapping[str, Expr]):
    """Derivatives of a formula for each of its names, differentiated when first asked for.

    Each is `g` times the partial derivative; the tower of double, triple, … derivatives is thus
    as deep as somebody climbs it.
    """

    def __init__(self, formula: Expr, names: Sequence[str]) -> None:
        self._formula = formula
        self._names = tuple(names)
        self._made: dict[str, Expr] = {}

    def __getitem__(self, key: str) -> Expr:
        made = self._made.get(key)
        if made is None:
            if key not in self._names:
                raise KeyError(key)
            made = simplify(call("mul", leaf("g"), diff(self._formula, key)))
            self._made[key] = made
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
