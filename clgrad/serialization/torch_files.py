"""PyTorch's checkpoint files, read without PyTorch: a zip archive of a pickle and the storages.

The pickle is run by an unpickler that knows the few names which tensors and plain values need, and
refuses all others.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from clgrad import dtypes
from clgrad.creation import upload_stored
from clgrad.dtypes import DType
from clgrad.errors import ClgradTypeError, ClgradValueError, DTypeError
from clgrad.layout import Layout
from clgrad.ops.meta import meta_of
from clgrad.tensor import Size, Tensor, wrap

_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "UInt16Storage": "uint16", "UInt32Storage": "uint32", "UInt64Storage": "uint64",
}  # fmt: skip


class _Bytes:
    """A storage of the file: its bytes, and for each dtype the tensor made of all of them."""

    def __init__(self, data: bytes, order: str, device: Any) -> None:
        self._data = data
        self._order = order
        self._device = device
        self._made: dict[DType, Tensor] = {}

    def whole(self, dtype: DType) -> Tensor:
        made = self._made.get(dtype)
        if made is None:
            flat = np.frombuffer(self._data, dtype.numpy.newbyteorder(self._order))
            made = upload_stored(np.array(flat, dtype.numpy), dtype, flat.shape, self._device)
            self._made[dtype] = made
        return made


Typed = tuple[_Bytes, DType]


def _tensor(
    storage: Typed, offset: int, size: Any, stride: Any, requires_grad: bool, *rest: Any
) -> Tensor:
    """Make what `torch._utils._rebuild_tensor_v2` makes."""
    data, dtype = storage
    whole = data.whole(dtype)
    layout = Layout(tuple(size), tuple(stride), offset)
    if layout.span[1] > whole.numel() or offset < 0:
        raise ClgradValueError("load: a tensor of the file reaches beyond its storage.")
    made = wrap(whole._storage, meta_of(dtype, layout, whole.device))
    return made.requires_grad_() if requires_grad else made


def _typed_tensor(
    storage: Typed, offset: int, size: Any, stride: Any, requires_grad: bool, hooks: Any,
    dtype: DType, *rest: Any,
) -> Tensor:  # fmt: skip
    """Make what `torch._utils._rebuild_tensor_v3` makes."""
    return _tensor((storage[0], dtype), offset, size, stride, requires_grad)


def _parameter(data: Tensor, requires_grad: bool, *rest: Any) -> Tensor:
    from clgrad.serialization.objects import classes

    make = classes.get("Parameter")
    if make is None:
        return data.requires_grad_(requires_grad)
    return make(data, requires_grad)


_NAMES: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): Size,
    ("torch.storage", "UntypedStorage"): "untyped",
    ("torch", "device"): lambda *args: ":".join(map(str, args)),
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
}
for _storage_name, _dtype_name in _STORAGES.items():
    _NAMES["torch", _storage_name] = dtypes.by_name(_dtype_name)
for _known in dtypes.ALL:
    _NAMES["torch", _known.name] = _known


class _Unpickler(pickle.Unpickler):
    """Knows `_NAMES` and nothing else."""

    def __init__(self, data: bytes, storage: Callable[[str], _Bytes]) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        found = _NAMES.get((module, name))
        if found is None:
            if module == "torch" and name.startswith("Complex"):
                raise DTypeError("load: the file has complex numbers, which are not supported.")
            raise ClgradTypeError(
                f"load: the file needs {module}.{name}. Expected tensors and plain values. "
                "Hint: in PyTorch, save a state_dict()."
            )
        return found

    def persistent_load(self, pid: Any) -> Typed:
        kind, dtype, key, _location, _numel = pid
        if kind != "storage":
            raise ClgradValueError(f"load: the file refers to a {kind!r}. Expected a storage.")
        return self._storage(key), dtypes.uint8 if dtype == "untyped" else dtype


def read(data: bytes, device: Any) -> Any:
    """Return the object of a file of `torch.save`, its tensors on `device`.

    Raises:
        ClgradValueError: it is no such file. ClgradTypeError: it needs other types.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = archive.namelist()
        (pickled,) = [n for n in names if n.endswith("/data.pkl") or n == "data.pkl"]
    except (zipfile.BadZipFile, ValueError) as error:
        raise ClgradValueError(
            f"load: this zip archive is no file of torch.save ({error})."
        ) from None
    base = pickled.removesuffix("data.pkl")
    order = "<"
    if f"{base}byteorder" in names and archive.read(f"{base}byteorder") == b"big":
        order = ">"
    storages: dict[str, _Bytes] = {}

    def storage(key: str) -> _Bytes:
        if key not in storages:
            storages[key] = _Bytes(archive.read(f"{base}data/{key}"), order, device)
        return storages[key]

    try:
        return _Unpickler(archive.read(pickled), storage).load()
    except (pickle.UnpicklingError, KeyError, EOFError, AttributeError) as error:
        raise ClgradValueError(f"load: the file is damaged ({error}).") from None
