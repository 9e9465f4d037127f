"""The `_saved_…` attributes of op nodes: what PyTorch's nodes show, read off an op's record.

Most names are those of the record itself. Where PyTorch calls an operand otherwise, or shows what
the record says in other words, it is written down here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clgrad.tape.derivative import Context
from clgrad.tape.handed import handed
from clgrad.tape.saved import released, save_nothing

if TYPE_CHECKING:
    from clgrad.tape.record import OpNode

MISSING: Any = object()

_OPERANDS: dict[str, dict[str, str]] = {
    "addmm": {"mat1": "a", "mat2": "b"},
    "addmv": {"mat": "m", "vec": "v"},
    "addr": {"vec1": "a", "vec2": "b"},
    "addbmm": {"batch1": "a", "batch2": "b"},
    "baddbmm": {"batch1": "a", "batch2": "b"},
    "mv": {"vec": "v"},
    "cdist": {"x1": "a", "x2": "b"},
}
"""Op -> PyTorch's name of an operand -> the record's."""

_SECOND = frozenset(("other", "exponent", "mat2", "tensor", "weight", "target", "end", "boundary"))
_WORDS = {"none": 0, "mean": 1, "sum": 2}
_SIZE = re.compile(r"(\w+?)_sym_(?:(sizes(?:_opt)?)|(numel)|(strides)|argsize_(minus_)?(\d+))$")

Reader = Callable[["OpNode", Context], Any]


def saved_attribute(node: OpNode, attribute: str) -> Any:
    """Return what PyTorch's node would have as `_saved_<name>` or `_raw_saved_<name>`.

    Names are those of the op's record, `self` and `result`, PyTorch's of other operands,
    `<operand>_sym_sizes` and the like for shapes. A tensor that no derivative reads is None, and
    `MISSING` stands for what there is not.

    Raises:
        GraphFreedError: a backward released it.
    """
    raw = attribute.startswith("_raw")
    name = attribute.removeprefix("_raw").removeprefix("_saved_")
    context = Context(node, (), None)
    reader = _READERS.get((node.plan.op.name, name)) or _COMMON.get(name)
    if reader is not None:
        found = reader(node, context)
        if found is not MISSING:
            return _shown(found, node, raw)
    size = _SIZE.match(name)
    if size is not None:
        return _of_shape(node, context, size)
    operand = _operand(node, name) or name
    if operand in node.rule.names:
        return _shown(_saved(node, operand), node, raw)
    numbers = context.numbers()
    if operand in numbers:
        number = numbers[operand]
        return number if node.plan.op.name not in _WRAPPED else handed.tensor._construct(number)
    params = node.plan.params
    if operand in params:
        return params[operand]
    return None if operand in node.plan.op.derivatives else MISSING


def _shown(found: Any, node: OpNode, raw: bool) -> Any:
    """Return a saved tensor itself or what it unpacks to; a tuple of them likewise."""
    if type(found) is tuple:
        return tuple([_shown(one, node, raw) for one in found])
    return found if raw or not hasattr(found, "unpack") else found.unpack(node)


def _saved(node: OpNode, name: str) -> Any:
    if node.saved is None:
        return released()
    return node.saved[node.rule.names.index(name)]


def _operand(node: OpNode, name: str) -> str | None:
    """Return what the op's record calls an operand or the result."""
    op = node.plan.op
    renamed = _OPERANDS.get(op.name, {}).get(name)
    if renamed is not None or name in op.inputs:
        return renamed or name
    if name in ("result", "result0"):
        return "y"
    if name in ("self", "input"):
        return op.inputs[0]
    return op.inputs[1] if name in _SECOND and len(op.inputs) > 1 else None


def _of_shape(node: OpNode, context: Context, asked: re.Match[str]) -> Any:
    """Return the sizes, their number, strides or one size of an operand."""
    operand = _operand(node, asked[1])
    if node.plan.op.name == "embedding" and asked[1] == "weight":
        operand = "x"
    kind = None if operand is None or operand == "y" else context._kind(operand)
    if kind is None:
        return MISSING
    if isinstance(kind, type):  # an absent bias is the number 0
        return handed.size((0,)) if asked[2] == "sizes_opt" else MISSING
    if asked[3]:
        return kind.numel
    if asked[4]:
        return tuple(kind.layout.strides)
    if asked[2]:
        return handed.size(kind.shape)
    return kind.shape[-int(asked[6]) if asked[5] else int(asked[6])]


def next_functions(node: OpNode) -> tuple[tuple[Any, int], ...]:
    """Return where gradients go, input by input, as PyTorch's node would list it.

    There, indices, masks and most numbers are no inputs; a record has them among its operands.
    """
    op, kinds = node.plan.op, node.plan.kinds
    places: list[tuple[Any, int]] = []
    for k, edge in enumerate(node._edges):
        name, kind = op.inputs[k], kinds[k]
        if isinstance(kind, type):
            counts = (
                op.name in _WRAPPED if op.backward is None else "picking" not in node.plan.params
            )
        elif op.backward is None:
            counts = name in op.derivatives or not op.derivatives
        else:
            counts = kind.dtype.kind == "f" and (op.name, name) != ("nll_loss", "weight")
        if counts:
            places.append((None, 0) if edge is None else edge)
    if op.name in ("add", "mul") and isinstance(kinds[0], type):
        places.reverse()
    if op.name == "sub" and isinstance(kinds[0], type):
        del places[0]
    places.extend([(None, 0)] * (_INPUTS.get(op.name, 0) - len(places)))
    return tuple(places)


_WRAPPED = frozenset(("add", "sub", "mul", "div", "_divide_trunc", "_divide_down"))
"""Ops for which a number is a tensor to PyTorch."""
_INPUTS = {"layer_norm": 3, "batch_norm": 3, "group_norm": 3}
"""Ops that list inputs which they were not given."""


# ---- what a record says in other words -----------------------------------------------------------


def _dims(node: OpNode, context: Context) -> Any:
    """`dim`: of a reduction a tuple; of reads and writes at indices that of the first index."""
    params = node.plan.params
    if "picking" in params:
        return params["picking"].dims[0]
    dim = params.get("dim", MISSING)
    if node.plan.op.name in _MANY_DIMS and dim is not MISSING:
        if dim is None:
            return () if node.plan.op.name in ("amax", "amin") else None
        return (dim,) if isinstance(dim, int) else tuple(dim)
    return dim


_MANY_DIMS = frozenset((
    "sum", "mean", "var", "std", "var_mean", "std_mean", "amax", "amin", "logsumexp", "nansum",
    "norm", "cosine_similarity",
))  # fmt: skip


def _index(node: OpNode, context: Context) -> Any:
    return _saved(node, "i0") if "i0" in node.rule.names else MISSING


def _indices(node: OpNode, context: Context) -> Any:
    """`indices`: of sorted values where they were; of advanced indexing None for whole dims."""
    names = node.rule.names
    if "result1" in names:
        return _saved(node, "result1")
    picking = node.plan.params.get("picking")
    if picking is None or "i0" not in names:
        return MISSING
    if node.plan.op.name == "embedding":
        return _saved(node, "i0")
    found: list[Any] = [save_nothing() for _ in range(max(picking.dims) + 1)]
    for k, d in enumerate(picking.dims):
        found[d] = _saved(node, f"i{k}")
    return tuple(found)


def _reduction(node: OpNode, context: Context) -> Any:
    return _WORDS.get(node.plan.params.get("reduction", ""), MISSING)


def _weight(node: OpNode, context: Context) -> Any:
    """`weight`: None where an op has one but was given none."""
    return MISSING if "weight" in node.plan.op.inputs else save_nothing()


def _window(name: str) -> Reader:
    def read(node: OpNode, context: Context) -> Any:
        windows = node.plan.params.get("windows")
        return MISSING if windows is None else getattr(windows, name)

    return read


def _param(name: str) -> Reader:
    return lambda node, context: node.plan.params.get(name, MISSING)


def _given_scale(place: int) -> Reader:
    def read(node: OpNode, context: Context) -> Any:
        params = node.plan.params
        if "scales" not in params:
            return MISSING
        return None if params["given"] is None else params["given"][place]

    return read


def _constant(value: Any) -> Reader:
    return lambda node, context: value


_COMMON: dict[str, Reader] = {
    "dim": _dims,
    "index": _index,
    "indices": _indices,
    "reduction": _reduction,
    "kernel_size": _window("kernel"),
    "stride": _window("stride"),
    "padding": _window("padding"),
    "dilation": _window("dilation"),
    "output_size": _param("size"),
    "align_corners": _param("align"),
    "scales": _given_scale(0),
    "scales_d": _given_scale(0),
    "scales_h": _given_scale(-2),
    "scales_w": _given_scale(-1),
}

_READERS: dict[tuple[str, str], Reader] = {
    ("add", "alpha"): _constant(1),
    ("sub", "alpha"): _constant(1),
    ("_divide_trunc", "rounding_mode"): _constant("trunc"),
    ("_divide_down", "rounding_mode"): _constant("floor"),
    ("div", "rounding_mode"): _constant(None),
    ("_logit", "eps"): _constant(None),
    ("_gelu", "approximate"): _constant("none"),
    ("_gelu_tanh", "approximate"): _constant("tanh"),
    ("_clamp_from", "max"): _constant(None),
    ("_clamp_to", "min"): _constant(None),
    ("nll_loss", "weight"): _weight,
    ("binary_cross_entropy", "weight"): _weight,
    ("bce_logits", "weight"): _weight,
    ("_max_pool_2d", "result1"): lambda node, context: _saved(node, "indices"),
    ("narrow", "end"): lambda node, context: sum(map(node.plan.params.get, ("start", "length"))),
    ("narrow", "step"): _constant(1),
    ("layer_norm", "weight"): _weight,
    ("layer_norm", "bias"): _weight,
    ("batch_norm", "weight"): _weight,
    ("group_norm", "weight"): _weight,
    ("gather", "sparse_grad"): _constant(False),
    ("index_put", "accumulate"): lambda node, context: node.plan.params["combine"] == "add",
}
"""Op and name -> what PyTorch's node shows."""
