"""Nested plain values with tensors among them: as JSON beside the tensors of a safetensors file.

A dictionary of nothing but tensors by name is a plain safetensors file. Anything else has its shape
written as JSON into the file's metadata, in which tensors are named:

    numbers, strings, booleans, None, lists     as JSON has them
    everything else                             {"kind": …}, one of `_KINDS`
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clgrad import dtypes
from clgrad.creation import resolve_device, tensor
from clgrad.dtypes import DType
from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.host import array_of
from clgrad.serialization import safetensors, torch_files
from clgrad.serialization.safetensors import File, read_file, write_file
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Size, Tensor

_OBJECT = "clgrad.object"
_FORMAT = "clgrad.format"
_VERSIONS = "clgrad.state_dict"
"""What `_metadata` of a module's state dictionary says, in a plain file."""

classes: dict[str, Callable[[Tensor, bool], Tensor]] = {}
"""Subclasses of `Tensor` that come back as such, by name: what makes one of a tensor and its flag.
Floors above enter theirs."""


# ---- writing -------------------------------------------------------------------------------------


class _Writer:
    """Turns an object into JSON, and collects its tensors under their paths."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[Any, str] = {}
        self._open: set[int] = set()

    def _name(self, x: Tensor, path: str) -> str:
        key = (id(x._storage), x._meta)
        name = self._names.get(key)
        if name is None:
            name, count = path or "value", 1
            while name in self.tensors or name == "__metadata__":
                count += 1
                name = f"{path or 'value'}#{count}"
            self._names[key] = name
            self.tensors[name] = x
        return name

    def write(self, value: Any, path: str) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, Tensor):
            made = {"tensor": self._name(value, path)}
            if requires_grad_of(value):
                made["grad"] = True  # type: ignore[assignment]  # JSON
            if type(value).__name__ in classes:
                made["class"] = type(value).__name__
            return made
        if isinstance(value, np.ndarray | np.generic):
            name = self._name(tensor(value), path)
            return {"array": name, "scalar": isinstance(value, np.generic)}
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, complex):
            return {"complex": [repr(value.real), repr(value.imag)]}
        if isinstance(value, DType):
            return {"dtype": value.name}
        if isinstance(value, bytes | bytearray):
            return {"bytes": base64.b64encode(value).decode()}
        return self._nested(value, path)

    def _nested(self, value: Any, path: str) -> Any:
        if id(value) in self._open:
            raise ClgradValueError(f"save: {path or 'the object'} contains itself.")
        self._open.add(id(value))
        try:
            if isinstance(value, Mapping):
                kind = "counter" if isinstance(value, Counter) else "dict"
                kind = "ordered" if isinstance(value, OrderedDict) else kind
                pairs = [
                    [self.write(k, f"{path}.key"), self.write(v, _joined(path, k))]
                    for k, v in value.items()
                ]
                made = {kind: pairs}
                if hasattr(value, "_metadata"):
                    made["versions"] = self.write(value._metadata, path)
                return made
            if isinstance(value, list | tuple | set | frozenset):
                parts = [self.write(v, _joined(path, k)) for k, v in enumerate(value)]
                kind = type(value).__name__.lower()
                if type(value) is list:
                    return parts
                if kind in ("tuple", "size", "set", "frozenset"):
                    return {kind: parts}
        finally:
            self._open.discard(id(value))
        raise ClgradTypeError(
            f"save: got {type(value).__name__} at {path or 'the top'}. Expected tensors, arrays, "
            "numbers, strings, bytes, dtypes, None, and dictionaries, lists, tuples and sets of "
            "these. Hint: save state_dict() of modules and optimizers."
        )


def _joined(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _is_plain(obj: Any) -> bool:
    """Whether an object is a dictionary of tensors by name that a plain file gives back."""
    return (
        type(obj) in (dict, OrderedDict) and bool(obj) and "__metadata__" not in obj
        and all(
            isinstance(k, str) and type(v) is Tensor and not requires_grad_of(v)
            for k, v in obj.items()
        )
        and len({id(v._storage) for v in obj.values()}) == len(obj)
    )  # fmt: skip


def save(obj: Any, f: File) -> None:
    """Write a tensor, a state dictionary, or nested plain values with tensors among them.

    Tensors that are one tensor, or share memory through one layout, are written once and come back
    as tensors that share memory; other views are written as what they show. Histories are not
    written.

    Args:
        obj: what to write.
        f: a path, whose file appears whole or not at all, or an open binary file.

    Raises:
        ClgradTypeError: something of another type, which is told with its place.
        ClgradValueError: an object that contains itself.
    """
    if _is_plain(obj):
        said = getattr(obj, "_metadata", None)
        versions = {} if said is None else {_VERSIONS: json.dumps(_Writer().write(said, ""))}
        write_file(f, lambda out: safetensors.write(obj, versions, out))
        return
    writer = _Writer()
    shape = writer.write(obj, "")
    metadata = {_FORMAT: "1", _OBJECT: json.dumps(shape, separators=(",", ":"))}
    write_file(f, lambda out: safetensors.write(writer.tensors, metadata, out))


# ---- reading -------------------------------------------------------------------------------------


class _Reader:
    """Makes an object of its JSON."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self._used: set[str] = set()

    def read(self, shape: Any) -> Any:
        if isinstance(shape, list):
            return [self.read(v) for v in shape]
        if not isinstance(shape, dict):
            return shape
        kind = next(iter(shape), "")
        make = _KINDS.get(kind)
        if make is None:
            raise ClgradValueError(f"load: the file has an object of an unknown kind {kind!r}.")
        return make(self, shape[kind], shape)

    def tensor(self, name: str, shape: dict[str, Any]) -> Tensor:
        found = self.tensors[name]
        if name in self._used:  # another tensor over the same memory
            found = found.detach()
        self._used.add(name)
        grad = bool(shape.get("grad"))
        make = classes.get(shape.get("class", ""))
        if make is not None:
            return make(found, grad)
        return found.requires_grad_() if grad else found

    def array(self, name: str, shape: dict[str, Any]) -> Any:
        array = array_of(self.tensors[name]).reshape(self.tensors[name].shape)
        return array[()] if shape.get("scalar") else array

    def pairs(self, pairs: list[Any]) -> list[tuple[Any, Any]]:
        return [(self.read(k), self.read(v)) for k, v in pairs]


def _ordered(pairs: Any, versions: Any) -> Any:
    made: Any = OrderedDict(pairs)
    if versions is not None:
        made._metadata = versions  # as the state dictionary of a module has it
    return made


_KINDS: dict[str, Callable[[_Reader, Any, dict[str, Any]], Any]] = {
    "tensor": lambda r, v, shape: r.tensor(v, shape),
    "array": lambda r, v, shape: r.array(v, shape),
    "float": lambda r, v, _: float(v),
    "complex": lambda r, v, _: complex(float(v[0]), float(v[1])),
    "dtype": lambda r, v, _: dtypes.by_name(v),
    "bytes": lambda r, v, _: base64.b64decode(v),
    "dict": lambda r, v, _: dict(r.pairs(v)),
    "ordered": lambda r, v, shape: _ordered(r.pairs(v), r.read(shape.get("versions"))),
    "counter": lambda r, v, _: Counter(dict(r.pairs(v))),
    "tuple": lambda r, v, _: tuple(r.read(v)),
    "size": lambda r, v, _: Size(r.read(v)),
    "set": lambda r, v, _: set(r.read(v)),
    "frozenset": lambda r, v, _: frozenset(r.read(v)),
}


def load(f: File, map_location: Any = None, *, weights_only: bool = True, mmap: Any = None) -> Any:
    """Return what `save` wrote; also the tensors of any safetensors file, or a PyTorch checkpoint.

    Nothing in a file is executed. Of PyTorch's files those are read that hold tensors and plain
    values, which is what `torch.load(weights_only=True)` reads.

    Args:
        f: a path, or an open binary file.
        map_location: the device on which tensors are made; default: the current one.
        weights_only, mmap: taken for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: no such file, or a damaged one.
        ClgradTypeError: a PyTorch file with objects of other types.
    """
    data = read_file(f)
    device = resolve_device(map_location)
    if data[:4] == b"PK\x03\x04":
        return torch_files.read(data, device)
    tensors, metadata = safetensors.read(data, device)
    if _VERSIONS in metadata:
        return _ordered(tensors.items(), _Reader({}).read(json.loads(metadata[_VERSIONS])))
    if _OBJECT not in metadata:
        return tensors
    if metadata.get(_FORMAT) != "1":
        raise ClgradValueError(
            f"load: the file is of format {metadata.get(_FORMAT)!r}. Expected 1. "
            "Hint: a newer clgrad wrote it."
        )
    return _Reader(tensors).read(json.loads(metadata[_OBJECT]))
