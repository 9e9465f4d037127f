"""`Distribution`: what all have, checks of parameters and samples, broadcasting of parameters."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from typing_extensions import Self

from clgrad.creation import as_tensor
from clgrad.distributions.constraints import Constraint
from clgrad.errors import ClgradNotImplementedError, ClgradValueError
from clgrad.layout import broadcast_shapes
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Size, Tensor

D = TypeVar("D", bound="Distribution")


def together(*values: Any) -> tuple[Tensor, ...]:
    """Return numbers and tensors as tensors of one shape.

    Raises:
        ClgradValueError: something else is among them. ShapeError: the shapes do not broadcast.
    """
    for value in values:
        if not isinstance(value, Tensor | int | float):
            raise ClgradValueError(
                "Input arguments must all be instances of Number, torch.Tensor or objects "
                f"implementing __torch_function__: got {type(value).__name__}. Expected numbers "
                "and tensors."
            )
    like = next((v for v in values if isinstance(v, Tensor)), None)
    found = [
        v if isinstance(v, Tensor)
        else as_tensor(float(v)) if like is None
        else as_tensor(float(v), dtype=like.dtype, device=like.device)
        for v in values
    ]  # fmt: skip
    shape: tuple[int, ...] = ()
    for one in found:
        shape = broadcast_shapes(shape, tuple(one.shape), op="distribution")
    return tuple([one.expand(shape) for one in found])


class Distribution:
    """Random variables of one kind: `batch_shape` independent ones of shape `event_shape`.

    Args:
        batch_shape: shape of the parameters' common part.
        event_shape: shape of one variable.
        validate_args: check parameters, and what `log_prob` is asked for; that waits for the
            device. Default: yes, unless `set_default_validate_args(False)` was called.

    Raises:
        ClgradValueError: a parameter has a value that it must not have.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    _validate_args = __debug__

    def __init__(
        self, batch_shape: Sequence[int] = (), event_shape: Sequence[int] = (),
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args:
            return
        for name, constraint in self.arg_constraints.items():
            value = self.__dict__.get(name)
            if value is not None and not constraint.check(value).all().item():
                raise ClgradValueError(
                    f"Expected parameter {name} (Tensor of shape {tuple(value.shape)}) of "
                    f"distribution {self} to satisfy the constraint {constraint}, but found "
                    f"invalid values:\n{value}"
                )

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Set whether parameters and samples are checked where nothing is said."""
        if value not in (True, False):
            raise ClgradValueError(f"set_default_validate_args: got {value!r}. Expected a bool.")
        Distribution._validate_args = value

    @property
    def batch_shape(self) -> Size:
        """The shape of independent variables."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one variable."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """The values that a variable takes."""
        raise _absent(self, "support")

    @property
    def mean(self) -> Any:
        """The mean, shape `batch_shape + event_shape`."""
        raise _absent(self, "mean")

    @property
    def mode(self) -> Any:
        """The likeliest value, shape `batch_shape + event_shape`."""
        raise _absent(self, "mode")

    @property
    def variance(self) -> Any:
        """The variance, shape `batch_shape + event_shape`."""
        raise _absent(self, "variance")

    @property
    def stddev(self) -> Any:
        """The standard deviation, shape `batch_shape + event_shape`."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Return samples without history, shape `sample_shape + batch_shape + event_shape`."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Return samples that are differentiable by the parameters."""
        raise _absent(self, "rsample")

    def log_prob(self, value: Tensor) -> Any:
        """Return the logarithm of the density or probability at `value`, shape `batch_shape`."""
        raise _absent(self, "log_prob")

    def cdf(self, value: Tensor) -> Any:
        """Return the probability of a value that is not larger."""
        raise _absent(self, "cdf")

    def icdf(self, value: Tensor) -> Any:
        """Return the value whose `cdf` is given."""
        raise _absent(self, "icdf")

    def entropy(self) -> Any:
        """Return the entropy in nats, shape `batch_shape`."""
        raise _absent(self, "entropy")

    def perplexity(self) -> Any:
        """Return the exponential of the entropy."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Any:
        """Return all values of a variable that has few, along a new first dim."""
        raise _absent(self, "enumerate_support")

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        """Return the same distribution for a larger batch; memory is shared."""
        made = copy.copy(self)
        made._batch_shape = Size(batch_shape)
        for name, constraint in self.arg_constraints.items():
            value = self.__dict__.get(name)
            if value is not None:
                rest = tuple(value.shape[value.ndim - constraint.event_dim :])
                setattr(made, name, value.expand((*batch_shape, *rest)))
        return made

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> tuple[int, ...]:
        return (*sample_shape, *self._batch_shape, *self._event_shape)

    def _validate_sample(self, value: Any) -> None:
        """Raise `ClgradValueError` where `log_prob` has nothing to say about `value`."""
        if not isinstance(value, Tensor):
            raise ClgradValueError("The value argument to log_prob must be a Tensor")
        if not self._validate_args:
            return
        broadcast_shapes(
            tuple(value.shape), (*self._batch_shape, *self._event_shape), op="log_prob"
        )
        if not self.support.check(value).all().item():
            raise ClgradValueError(
                f"Expected value argument (Tensor of shape {tuple(value.shape)}) to be within the "
                f"support ({self.support}) of the distribution {self}, but found invalid values:\n"
                f"{value}"
            )

    def __repr__(self) -> str:
        found = {k: self.__dict__[k] for k in self.arg_constraints if k in self.__dict__}
        shown = [f"{k}: {v if v.numel() == 1 else v.size()}" for k, v in found.items()]
        return f"{type(self).__name__}({', '.join(shown)})"


def _absent(distribution: Distribution, name: str) -> ClgradNotImplementedError:
    return ClgradNotImplementedError(f"{type(distribution).__name__} has no {name}.")
