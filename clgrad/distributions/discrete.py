"""Distributions of whole numbers and classes; samples have no gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from clgrad.creation import arange
from clgrad.dispatch import apply
from clgrad.distributions import constraints
from clgrad.distributions.constraints import Constraint
from clgrad.distributions.distribution import Distribution, together
from clgrad.errors import ClgradValueError
from clgrad.functional.events import poisson
from clgrad.functional.making import eye
from clgrad.functional.sampling import bernoulli, multinomial, rand
from clgrad.functional.softmax import log_softmax, logsumexp, softmax
from clgrad.functional.special import logit
from clgrad.nn.functional import binary_cross_entropy_with_logits, one_hot
from clgrad.ops.registry import OPS
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor


class _ByProbability(Distribution):
    """Of one probability, which is given itself or as its logit."""

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if (probs is None) == (logits is None):
            raise ClgradValueError("Either `probs` or `logits` must be specified, but not both.")
        name, value = ("probs", probs) if logits is None else ("logits", logits)
        (self.__dict__[name],) = together(value)
        super().__init__(self.__dict__[name].shape, validate_args=validate_args)

    def __getattr__(self, name: str) -> Any:
        if name == "probs" and "logits" in self.__dict__:
            return self.__dict__["logits"].sigmoid()
        if name == "logits" and "probs" in self.__dict__:
            return logit(_inside(self.__dict__["probs"]))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _inside(probs: Tensor) -> Any:
    """Return probabilities that have a finite logarithm."""
    eps = 1.1920928955078125e-07 if probs.dtype.name == "float32" else 2.220446049250313e-16
    return probs.clamp(min=eps, max=1 - eps)


class Bernoulli(_ByProbability):
    """1 with a probability, else 0.

    Args:
        probs: the probability, a number or a tensor.
        logits: its logit, instead.
        validate_args: see `Distribution`.
    """

    has_enumerate_support = True
    arg_constraints: ClassVar[dict[str, Constraint]] = {
        "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip

    @property
    def support(self) -> Constraint:
        return constraints.boolean

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        return (self.probs >= 0.5).to(self.probs.dtype).masked_fill(self.probs == 0.5, float("nan"))

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = together(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Any:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Any:
        like = self.probs
        values = arange(2, dtype=like.dtype, device=like.device)
        values = values.view(-1, *[1] * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


class Geometric(_ByProbability):
    """Failures before the first success.

    Args:
        probs: the probability of a success, above 0.
        logits: its logit, instead.
        validate_args: see `Distribution`.
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {
        "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative_integer

    @property
    def mean(self) -> Any:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Any:
        return self.probs * 0

    @property
    def variance(self) -> Any:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            probs = self.probs
            drawn = rand(self._extended_shape(sample_shape), dtype=probs.dtype, device=probs.device)
            return ((1 - drawn).log() / (-probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        probs = self.probs
        return apply(OPS["xlogy"], (value, 1 - probs)) + probs.log()

    def entropy(self) -> Any:
        return (
            binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
        )


class Poisson(Distribution):
    """Numbers of events that come at a rate.

    Args:
        rate: 0 or more, a number or a tensor.
        validate_args: see `Distribution`.
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {"rate": constraints.nonnegative}
    rate: Tensor

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = together(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative_integer

    @property
    def mean(self) -> Any:
        return self.rate

    @property
    def mode(self) -> Any:
        return self.rate.floor()

    @property
    def variance(self) -> Any:
        return self.rate

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return apply(OPS["xlogy"], (value, self.rate)) - self.rate - (value + 1).lgamma()


class Categorical(Distribution):
    """One of several classes.

    Args:
        probs: weights of the classes along the last dim, which need not add up to 1.
        logits: their logarithms, instead.
        validate_args: see `Distribution`.

    Raises:
        ClgradValueError: both or none are given, or a tensor without dims.
    """

    has_enumerate_support = True
    arg_constraints: ClassVar[dict[str, Constraint]] = {
        "probs": constraints.simplex, "logits": constraints.real_vector,
    }  # fmt: skip

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if (probs is None) == (logits is None):
            raise ClgradValueError("Either `probs` or `logits` must be specified, but not both.")
        given = logits if probs is None else probs
        assert given is not None
        if given.ndim < 1:
            name = "logits" if probs is None else "probs"
            raise ClgradValueError(f"`{name}` parameter must be at least one-dimensional.")
        if probs is not None:
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = given - logsumexp(given, -1, True)
        self._num_events = given.shape[-1]
        super().__init__(given.shape[:-1], self._event(), validate_args)

    def _event(self) -> tuple[int, ...]:
        return ()

    def __getattr__(self, name: str) -> Any:
        if name == "probs" and "logits" in self.__dict__:
            return softmax(self.__dict__["logits"], -1)
        if name == "logits" and "probs" in self.__dict__:
            return _inside(self.__dict__["probs"]).log()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Any:
        return self._number() * float("nan")

    @property
    def variance(self) -> Any:
        return self._number() * float("nan")

    @property
    def mode(self) -> Any:
        return self.probs.argmax(-1)

    def _number(self) -> Any:
        return self.probs.sum(-1)

    def _drawn(self, sample_shape: Sequence[int]) -> Any:
        with no_grad():
            flat = self.probs.reshape(-1, self._num_events)
            count = 1
            for n in sample_shape:
                count *= n
            drawn = multinomial(flat, max(count, 1), True).t()
            return drawn[:count].reshape((*sample_shape, *self._batch_shape))

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self._drawn(sample_shape)

    def log_prob(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        value = value.long().unsqueeze(-1)
        shape = (value + self.logits[..., :1].long() * 0).shape[:-1]
        logits = self.logits.expand((*shape, self._num_events))
        return logits.gather(-1, value.expand((*shape, 1))).squeeze(-1)

    def entropy(self) -> Any:
        logits = log_softmax(self.logits, -1)
        smallest = -3.4028234663852886e38 if logits.dtype.name == "float32" else -1.7e308
        return -(logits.clamp(min=smallest) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Any:
        values = arange(self._num_events, device=self.probs.device)
        values = values.view(-1, *[1] * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


class OneHotCategorical(Categorical):
    """One of several classes, as a vector with a 1 at its place."""

    def _event(self) -> tuple[int, ...]:
        return (self._num_events,)

    @property
    def support(self) -> Constraint:
        return constraints.one_hot

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        return one_hot(self.probs.argmax(-1), self._num_events).to(self.probs.dtype)

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        return one_hot(self._drawn(sample_shape), self._num_events).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return (value * self.logits).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Any:
        n = self._num_events
        values = eye(n, dtype=self.probs.dtype, device=self.probs.device)
        values = values.view(n, *[1] * len(self._batch_shape), n)
        return values.expand((n, *self._batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """As `OneHotCategorical`; gradients of samples go to the probabilities."""

    has_rsample = True

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        probs = self.probs
        return self.sample(sample_shape) + (probs - probs.detach())
