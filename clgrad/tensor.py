"""The tensor: a storage seen through a layout, and its place in the graph of derivatives.

Only state and what reads or changes it is here. What computes is installed from the floors above:
ops and operators by `methods`, indexing by `indexing`, reading on the host by `host`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clgrad.dtypes import DType
from clgrad.errors import AutogradError, ClgradTypeError, DTypeError
from clgrad.formats import lies_in
from clgrad.graph.storage import Storage
from clgrad.layout import wrap_dim
from clgrad.ops.meta import Meta
from clgrad.tape import assigned, noting, saved, tangents
from clgrad.tape.assigned import check_grad, retainer, undeletable
from clgrad.tape.grad_mode import mode
from clgrad.tape.handed import handed
from clgrad.tape.hooks import NodeHooks, RemovableHandle, Table
from clgrad.tape.inplace import ViewInfo, accumulator, grad_fn_of, requires_grad_of
from clgrad.tape.node import AccumulateGrad, Node
from clgrad.tape.version import VersionCounter

_new = object.__new__


class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple that prints and counts as PyTorch's does."""

    __slots__ = ()

    def numel(self) -> int:
        """Return the product of the sizes."""
        count = 1
        for size in self:
            count *= size
        return count

    def __repr__(self) -> str:
        return f"clgrad.Size({list(self)})"

    def __getitem__(self, key: Any) -> Any:
        found = tuple.__getitem__(self, key)
        return Size(found) if type(found) is tuple else found

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))


class Tensor:
    """Numbers on a device, of one dtype, with as many dimensions as needed.

    `Tensor(2, 3)` has whatever its memory holds, `Tensor([2, 3])` copies a sequence in the default
    dtype; `clgrad.tensor` is the usual way.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_accumulate", "_counter", "_grad", "_hooks", "_inference",
        "_meta", "_node", "_output_nr", "_requires_grad", "_storage", "_view",
    )  # fmt: skip

    _storage: Storage
    _meta: Meta
    _counter: VersionCounter | None  # made when first shared or saved
    _requires_grad: bool  # own flag of a leaf, or has a grad_fn; a view's base may add to it
    _node: Node | None  # of a view perhaps stale: read `grad_fn`
    _output_nr: int
    _grad: Tensor | None
    _view: ViewInfo | None
    _accumulate: Any  # weak reference to the AccumulateGrad of a leaf
    _hooks: NodeHooks | None  # of a leaf; others keep them in their node
    _inference: bool

    _construct: Callable[..., Tensor]  # `clgrad.tensor`; installed by `creation`
    _make: Callable[..., Tensor]  # what `Tensor(…)` does; likewise

    def __new__(cls, *args: Any, **options: Any) -> Any:
        made: Tensor = cls._make_subclass(cls, Tensor._make(*args, **options))
        return made

    @staticmethod
    def _make_subclass(kind: type[Tensor], data: Tensor, requires_grad: bool = False) -> Any:
        """Return a `kind` over the memory of `data`, detached; how `Parameter` is made."""
        made = wrap(data._storage, data._meta, kind)
        made._counter = data._family()
        made._inference = data._inference
        if requires_grad:
            made.requires_grad = True
        return made

    def as_subclass(self, cls: type[Tensor]) -> Any:
        """Return this tensor's data as another class, detached."""
        return Tensor._make_subclass(cls, self)

    if TYPE_CHECKING:  # what `methods`, `indexing` and `host` install

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __len__(self) -> int: ...

    # ---- what it is -----------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return Size(self._meta.shape)

    @property
    def dtype(self) -> DType:
        return self._meta.dtype

    @property
    def device(self) -> Any:
        return self._meta.device

    @property
    def ndim(self) -> int:
        return self._meta.ndim

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self._meta.ndim

    ndimension = dim

    def numel(self) -> int:
        """Return the number of elements."""
        return self._meta.numel

    nelement = numel

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the size of one dimension."""
        return self.shape if dim is None else self._meta.shape[_wrapped(dim, self, "size")]

    def stride(self, dim: int | None = None) -> Any:
        """Return the strides in elements, or that of one dimension."""
        strides = self._meta.layout.strides
        return strides if dim is None else strides[_wrapped(dim, self, "stride")]

    def storage_offset(self) -> int:
        """Return the element of the storage at which this tensor begins."""
        return self._meta.layout.offset

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether elements lie without gaps in row-major order, or in that of a format."""
        return lies_in(self._meta.layout, memory_format)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a float."""
        return self._meta.dtype.kind == "f"

    def is_complex(self) -> bool:
        """Return False: there are no complex dtypes."""
        return False

    def is_inference(self) -> bool:
        """Whether this was made in inference mode."""
        return self._inference

    def is_signed(self) -> bool:
        """Whether the dtype has negative numbers."""
        return self._meta.dtype.is_signed

    def element_size(self) -> int:
        """Return the bytes of one element."""
        return self._meta.dtype.itemsize

    @property
    def itemsize(self) -> int:
        return self._meta.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self._meta.numel * self._meta.dtype.itemsize

    def __hash__(self) -> int:
        return id(self)

    # ---- its place in the graph -----------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return requires_grad_of(self)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise AutogradError(f"requires_grad must be a bool, but got {value!r}.")
        if not self.is_leaf:
            raise assigned.not_a_leaf(self, value)
        if value and self._meta.dtype.kind != "f":
            raise DTypeError(
                "only Tensors of floating point dtype can require gradients, this one has dtype "
                f"{self._meta.dtype.name}. Hint: cast with .float() first."
            )
        if value and self._inference and not mode.inference:
            raise AutogradError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not "
                "allowed. Hint: clone() it outside of inference_mode."
            )
        self._requires_grad = value

    @requires_grad.deleter
    def requires_grad(self) -> None:
        raise AutogradError("requires_grad cannot be deleted. Hint: set it to False.")

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return the tensor."""
        if not isinstance(requires_grad, bool):
            raise ClgradTypeError(
                "requires_grad_(): argument 'requires_grad' must be bool, not "
                f"{type(requires_grad).__name__}."
            )
        if not requires_grad or self.is_leaf:
            self.requires_grad = requires_grad
        return self

    @property
    def grad_fn(self) -> Node | None:
        return self._node if self._view is None else grad_fn_of(self)

    _grad_fn = property(
        lambda self: self._node, fdel=undeletable("_grad_fn", "detach() the tensor instead")
    )

    @property
    def is_leaf(self) -> bool:
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        return self._output_nr

    @property
    def grad(self) -> Tensor | None:
        if self._grad is None and self._node is not None and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
                ".grad is not filled by backward(). Hint: call retain_grad() on it before.",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            check_grad(self, value)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    grad_dtype = property(assigned.grad_dtype, assigned.set_grad_dtype, assigned.reset_grad_dtype)

    def retain_grad(self) -> None:
        """Fill `.grad` of this tensor although it is no leaf."""
        node = self.grad_fn
        if not self.requires_grad:
            raise AutogradError("can't retain_grad on Tensor that has requires_grad=False.")
        if node is None:
            return
        retain = node._own_hooks().retain
        if self._output_nr not in retain:
            retain[self._output_nr] = retainer(self)

    @property
    def retains_grad(self) -> bool:
        node = self._node
        return (
            node is not None and node._hooks is not None and self._output_nr in node._hooks.retain
        )

    def register_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Call `hook(grad)` when this tensor's gradient is complete; it may return another."""
        if not self.requires_grad:
            raise AutogradError(
                "cannot register a hook on a tensor that doesn't require gradient. "
                "Hint: requires_grad_() first."
            )
        node = self.grad_fn
        if node is not None:
            return node._register_tensor_hook(self._output_nr, hook)
        table = self._leaf_hooks().tensor.setdefault(0, Table())
        return RemovableHandle(table, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Call `hook(tensor)` after a backward pass has added to this leaf's `.grad`."""
        if not self.requires_grad:
            raise AutogradError(
                "cannot register a hook on a tensor that doesn't require gradient. "
                "Hint: requires_grad_() first."
            )
        if self.grad_fn is not None:
            raise AutogradError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors. "
                "Hint: use register_hook()."
            )
        return RemovableHandle(self._leaf_hooks().accumulated, hook)

    @property
    def _backward_hooks(self) -> Table | None:
        """The hooks that `register_hook` entered for this tensor as it is now."""
        hooks = self._hooks if self.grad_fn is None else self.grad_fn._hooks
        return None if hooks is None else hooks.tensor.get(self._output_nr)

    @_backward_hooks.setter
    def _backward_hooks(self, hooks: dict[int, Any] | None) -> None:
        own = self._leaf_hooks() if self.grad_fn is None else self.grad_fn._own_hooks()
        own.tensor[self._output_nr] = Table(hooks or {})

    @_backward_hooks.deleter
    def _backward_hooks(self) -> None:
        raise AutogradError("_backward_hooks cannot be deleted. Hint: remove() of the handles.")

    def _leaf_hooks(self) -> NodeHooks:
        if self._hooks is None:
            self._hooks = NodeHooks()
        return self._hooks

    def _grad_accumulator(self) -> AccumulateGrad:
        return accumulator(self)

    # ---- families: views, detached twins, versions ----------------------------------------------

    def _family(self) -> VersionCounter:
        counter = self._counter
        if counter is None:
            counter = self._counter = VersionCounter()
        return counter

    @property
    def _version(self) -> int:
        if self._inference:
            raise AutogradError("Inference tensors do not track version counter.")
        return 0 if self._counter is None else self._counter.version

    @property
    def _base(self) -> Tensor | None:
        return None if self._view is None else self._view.base

    def _is_view(self) -> bool:
        return self._view is not None

    def detach(self) -> Tensor:
        """Return a tensor over the same memory that requires no gradient."""
        made = wrap(self._storage, self._meta)
        made._counter = self._family()
        made._inference = self._inference
        if noting.Switch.open:
            noting.event("detach", self)
        return made

    def detach_(self) -> Tensor:
        """Make this tensor a leaf that requires no gradient.

        Raises:
            AutogradError: it is a view.
        """
        if self._view is not None:
            raise AutogradError(
                "Can't detach views in-place. Use detach() instead. Hint: the base would still "
                "have its history."
            )
        if noting.Switch.open:
            noting.event("detach", self)
        if self._node is not None:
            saved.Switch.detached = True
        if tangents.forward.open:
            tangents.forget(self)
        self._node = None
        self._requires_grad = False
        self._output_nr = 0
        return self

    @property
    def data(self) -> Tensor:
        made = wrap(self._storage, self._meta)
        made._inference = self._inference
        if noting.Switch.open:
            noting.event("data", self)
        return made

    @data.setter
    def data(self, other: Tensor) -> None:
        if not isinstance(other, Tensor):
            raise ClgradTypeError(
                f"data: got {type(other).__name__}. Expected a tensor. "
                "Hint: clgrad.tensor(...) makes one."
            )
        if self._requires_grad and other._meta.dtype.kind != "f":
            raise DTypeError(
                "data set to a tensor that requires gradients must be floating point or complex "
                f"dtype, got {other._meta.dtype.name}."
            )
        self._become(other._storage, other._meta)

    @data.deleter
    def data(self) -> None:
        raise AutogradError("data cannot be deleted. Hint: set it to an empty tensor.")

    def _become(self, storage: Storage, meta: Meta) -> None:
        """Show other memory; what accumulates for a tensor of another kind is not this one's."""
        mine = self._meta
        if mine.shape != meta.shape or mine.dtype is not meta.dtype or mine.device != meta.device:
            self._accumulate = None
        self._storage, self._meta = storage, meta

    def set_(
        self, source: Tensor, storage_offset: int = 0, size: Any = None, stride: Any = None
    ) -> Tensor:
        """Make this tensor share the memory of `source`, and its layout if no other is given.

        Raises:
            AutogradError: it requires grad, and grad mode is on; or it is a view.
        """
        if not isinstance(source, Tensor):
            raise ClgradTypeError(f"set_: got {type(source).__name__}. Expected a tensor.")
        if self._view is not None:
            raise AutogradError(
                "set_: the tensor is a view. Expected a tensor of its own. Hint: detach() it first."
            )
        if mode.grad and self.requires_grad:
            raise AutogradError(
                "set_: a leaf Variable that requires grad is being used in an in-place operation, "
                "or a tensor with history. Hint: set_ it under no_grad(), or assign to .data."
            )
        if source._meta.dtype is not self._meta.dtype:
            raise DTypeError(
                f"set_: Could not set tensor of type {source._meta.dtype.name} to a tensor of type "
                f"{self._meta.dtype.name}. Expected equal dtypes."
            )
        meta = source._meta
        if size is not None:
            meta = source.as_strided(size, stride, storage_offset)._meta
        self._accumulate = None
        self._storage, self._meta = source._storage, meta
        self._family().bump("set_")
        return self

    def is_set_to(self, other: Tensor) -> bool:
        """Whether both show the same memory through the same layout."""
        return self._storage is other._storage and self._meta is other._meta


def _wrapped(dim: int, tensor: Tensor, op: str) -> int:
    return wrap_dim(dim, tensor._meta.ndim, op)


def wrap(storage: Storage, meta: Meta, cls: type[Tensor] = Tensor) -> Tensor:
    """Return a tensor without autograd state over `storage`; about 0.15 µs."""
    made = _new(cls)
    made._storage = storage
    made._meta = meta
    made._counter = None
    made._requires_grad = False
    made._node = None
    made._output_nr = 0
    made._grad = None
    made._view = None
    made._accumulate = None
    made._hooks = None
    made._inference = False
    return made


handed.tensor = Tensor
handed.size = Size
handed.wrap = wrap
