"""The safetensors format: eight bytes of length, a JSON header, then the elements of all tensors.

Source: the format's public description, https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import io
import json
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from clgrad import dtypes
from clgrad.creation import resolve_device, upload_stored
from clgrad.dtypes import DType
from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.host import stored_array
from clgrad.ops.signature import fresh_numel
from clgrad.tensor import Tensor

File = str | os.PathLike[str] | IO[bytes]

NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "int32": "I32",
    "uint32": "U32", "int64": "I64", "uint64": "U64", "float16": "F16", "bfloat16": "BF16",
    "float32": "F32", "float64": "F64",
}  # fmt: skip
_DTYPES = {name: dtypes.by_name(dtype) for dtype, name in NAMES.items()}
_MOST = 100_000_000
"""Bytes that a header may have."""


# ---- bytes ---------------------------------------------------------------------------------------


def write(tensors: Mapping[Any, Any], metadata: Mapping[str, str] | None, out: IO[bytes]) -> None:
    """Write tensors, in the order of the mapping; elements of longer dtypes lie first.

    Raises:
        ClgradTypeError: a name is no string, or a value no tensor.
    """
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ClgradTypeError(
                f"save_file: got {type(name).__name__} {name!r} and {type(value).__name__}. "
                "Expected names and tensors. Hint: clgrad.save() takes nested values."
            )
    order = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)
    places: dict[str, list[int]] = {}
    end = 0
    for name in order:
        places[name] = [end, end + tensors[name].nbytes]
        end += tensors[name].nbytes
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    for name, value in tensors.items():
        header[name] = {
            "dtype": NAMES[value.dtype.name], "shape": list(value.shape),
            "data_offsets": places[name],
        }  # fmt: skip
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    out.write(struct.pack("<Q", len(text)) + text)
    for name in order:
        array = stored_array(tensors[name])
        out.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def read(data: Any, device: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, on `device`, and the metadata of a file that was read.

    Raises:
        ClgradValueError: it is no file of this format, or a damaged one.
    """
    view = memoryview(data)
    if len(view) < 8:
        raise _damaged("it has fewer than 8 bytes")
    (length,) = struct.unpack("<Q", view[:8])
    if length > _MOST or length + 8 > len(view):
        raise _damaged(f"its header would have {length} bytes")
    try:
        header = json.loads(bytes(view[8 : 8 + length]), object_pairs_hook=_once)
    except ValueError as error:
        raise _damaged(f"its header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise _damaged("its header is no dictionary")
    metadata = header.pop("__metadata__", None) or {}
    body = view[8 + length :]
    made = {name: _tensor(name, entry, body, device) for name, entry in header.items()}
    spans = sorted(tuple(e["data_offsets"]) for e in header.values())
    end = 0
    for first, last in spans:
        if first != end:
            raise _damaged(f"its tensors overlap, or leave a hole, at byte {end}")
        end = last
    if end != len(body):
        raise _damaged(f"{len(body) - end} bytes follow the last tensor")
    return made, {str(k): str(v) for k, v in metadata.items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _tensor(name: str, entry: Any, body: memoryview, device: Any) -> Tensor:
    try:
        dtype: DType = _DTYPES[entry["dtype"]]
        shape = tuple(int(n) for n in entry["shape"])
        first, last = (int(n) for n in entry["data_offsets"])
    except (KeyError, TypeError, ValueError):
        raise _damaged(f"its entry {name!r} reads {entry!r}") from None
    size = fresh_numel(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or not 0 <= first <= last <= len(body) or last - first != size:
        raise _damaged(f"tensor {name!r} has bytes {first} to {last}, and shape {list(shape)}")
    stored = np.frombuffer(body[first:last], dtype.numpy.newbyteorder("<"))
    return upload_stored(np.array(stored, dtype.numpy), dtype, shape, device)


def _damaged(what: str) -> ClgradValueError:
    return ClgradValueError(
        f"load: this is no safetensors file, or a damaged one: {what}. "
        "Hint: clgrad.save() and save_file() write such files."
    )


# ---- files ---------------------------------------------------------------------------------------


def write_file(file: File, write_to: Any) -> None:
    """Let `write_to` write a file; one with a name appears whole or not at all."""
    if not isinstance(file, str | os.PathLike):
        if not hasattr(file, "write"):
            raise ClgradTypeError(
                f"save: got {type(file).__name__}. Expected a path, or an open binary file."
            )
        write_to(file)
        return
    path = Path(file)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            write_to(out)
        mode = path.stat().st_mode if path.exists() else 0o666 & ~_umask()
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    former = os.umask(0)
    os.umask(former)
    return former


def read_file(file: File) -> bytes:
    """Return the bytes of a file, which may be open already."""
    if isinstance(file, str | os.PathLike):
        return Path(file).read_bytes()
    if not hasattr(file, "read"):
        raise ClgradTypeError(
            f"load: got {type(file).__name__}. Expected a path, or an open binary file."
        )
    return file.read()


def save_file(
    tensors: Mapping[str, Tensor], filename: File, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors by name, as `safetensors.torch.save_file` does.

    Args:
        tensors: names and tensors; views are written as what they show.
        filename: a path, or an open binary file.
        metadata: strings by name.

    Raises:
        ClgradTypeError: a name is no string, or a value no tensor.
    """
    write_file(filename, lambda out: write(tensors, metadata, out))


def load_file(filename: File, device: Any = None) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, in the order of its header.

    Args:
        filename: a path, or an open binary file.
        device: where they are made; default: the current one.

    Raises:
        ClgradValueError: it is no such file, or a damaged one.
    """
    return read(read_file(filename), resolve_device(device))[0]


def save_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return what `save_file` would write."""
    out = io.BytesIO()
    write(tensors, metadata, out)
    return out.getvalue()
