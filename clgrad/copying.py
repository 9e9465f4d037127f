"""Copies of tensors by `copy` and `pickle`: class, flag and attributes go with them."""

from __future__ import annotations

import copy
import copyreg
from typing import Any

from clgrad import dispatch
from clgrad.creation import get_default_device
from clgrad.errors import AutogradError
from clgrad.graph.storage import Storage
from clgrad.ops.meta import meta_of
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Tensor, wrap


def shallow_copy(x: Tensor) -> Any:
    """Return another leaf over the same memory."""
    made = wrap(x._storage, x._meta, type(x))
    made._requires_grad = requires_grad_of(x)
    made._inference = x._inference
    made.__dict__.update(x.__dict__)
    return made


def deep_copy(x: Tensor, memo: dict[int, Any]) -> Any:
    """Copy a leaf, with its class, grad and attributes; views keep their layout.

    Raises:
        AutogradError: the tensor has a history.
    """
    if not x.is_leaf:
        raise AutogradError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol at the moment. Hint: detach() first."
        )
    if id(x) in memo:
        return memo[id(x)]
    storage = memo.get(id(x._storage))
    if storage is None:
        storage = memo[id(x._storage)] = Storage(x._storage.value)
    made = wrap(storage, x._meta, type(x))
    memo[id(x)] = made
    made._requires_grad = x._requires_grad
    made._inference = x._inference
    if x._grad is not None:
        made._grad = deep_copy(x._grad.detach(), memo)
    for name, value in x.__dict__.items():
        made.__dict__[name] = copy.deepcopy(value, memo)
    return made


def _storage_from(flat: Any, dtype: Any) -> Storage:
    """Make a storage of its elements, on the default device."""
    return Storage(dispatch.backend.from_host(get_default_device(), flat, dtype))


def _reduced_storage(storage: Storage) -> tuple[Any, ...]:
    return _storage_from, (dispatch.backend.to_host(storage.value), storage.dtype)


copyreg.pickle(Storage, _reduced_storage)


def _tensor_from(cls: type[Tensor], storage: Storage, layout: Any, requires_grad: bool) -> Any:
    made = wrap(storage, meta_of(storage.dtype, layout, storage.device), cls)
    made._requires_grad = requires_grad
    return made


def reduced(x: Tensor, protocol: Any) -> Any:
    """Pickle by a copy on the host, without history; it is loaded onto the default device.

    Tensors that share memory share it again if they are pickled together.
    """
    state = (type(x), x._storage, x._meta.layout, requires_grad_of(x))
    return _tensor_from, state, x.__dict__ or None
