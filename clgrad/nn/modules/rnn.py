"""Recurrent layers and their cells, as loops over steps.

What depends on the input alone is one product for all steps; of a step remain the product with the
state and what is element by element, which fuses into one kernel. In packed sequences
a step is of those that still go on, which are the first ones.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from clgrad.creation import empty, zeros
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, ClgradValueError, ShapeError
from clgrad.nn import init
from clgrad.nn.modules._recurrent_cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from clgrad.nn.modules._recurrent_steps import STEPS, State, run_layers
from clgrad.nn.modules.module import Module
from clgrad.nn.parameter import Parameter
from clgrad.nn.utils.packed_sequence import PackedSequence
from clgrad.tensor import Tensor


class RNNBase(Module):
    """Layers of a recurrent network, perhaps in both directions.

    Args:
        mode: `RNN_TANH`, `RNN_RELU`, `LSTM` or `GRU`.
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: each reads what the one before returns.
        bias: whether gates have biases.
        batch_first: inputs and results have shape (N, L, *) rather than (L, N, *).
        dropout: probability of zeros between layers while training.
        bidirectional: read the sequence backwards too.
        proj_size: features of the state after a projection (LSTM alone), 0 for none.
        device, dtype: of the parameters.

    Attributes:
        weight_ih_l0: shape (gates * hidden_size, input_size); with `_reverse` of the second
            direction; `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, `weight_hr_l0` likewise. All
            uniform within ±1/sqrt(hidden_size).

    Raises:
        ClgradValueError, ClgradTypeError: a setting that cannot be.
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1,
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_settings()
        self.dropout = float(dropout)
        self._all_weights: list[list[str]] = []
        size = input_size
        gates = STEPS[mode][1] * hidden_size
        hidden = proj_size or hidden_size
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (gates, size),
                    "weight_hh": (gates, hidden),
                }
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes |= {"weight_hr": (proj_size, hidden_size)}
                names = [f"{name}_l{layer}{suffix}" for name in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    setattr(self, name, Parameter(empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
            size = hidden * (1 + bidirectional)
        self.reset_parameters()

    def _check_settings(self) -> None:
        p: Any = self.dropout
        if not isinstance(p, int | float) or isinstance(p, bool) or not 0 <= p <= 1:
            raise ClgradValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                f"element being zeroed, got {p!r}"
            )
        if p > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={p} and num_layers=1",
                UserWarning,
                stacklevel=4,
            )
        kinds: dict[str, type] = {
            "bias": bool, "batch_first": bool, "input_size": int, "hidden_size": int,
        }  # fmt: skip
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ClgradTypeError(
                    f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
                )
        for name in ("input_size", "hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ClgradValueError(
                    f"{name} must be greater than zero, got {getattr(self, name)}"
                )
        if self.proj_size < 0:
            raise ClgradValueError(
                "proj_size should be a positive integer or zero to disable projections, got "
                f"{self.proj_size}"
            )
        if self.proj_size >= self.hidden_size:
            raise ClgradValueError(
                f"proj_size has to be smaller than hidden_size, got {self.proj_size} and "
                f"{self.hidden_size}"
            )
        if self.mode not in STEPS:
            raise ClgradValueError(f"Unrecognized RNN mode: {self.mode}")

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: parameters need not lie side by side."""

    def extra_repr(self) -> str:
        """Return sizes and what differs from the defaults."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        for name, plain in (
            ("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False),
            ("dropout", 0), ("bidirectional", False),
        ):  # fmt: skip
            value = getattr(self, name)
            if value != plain:
                shown.append(f"{name}={value}")
        return ", ".join(shown)

    # ---- checks -------------------------------------------------------------------------------

    def _state_sizes(self) -> tuple[int, ...]:
        """Return the features of each part of the state."""
        return (self.hidden_size,)

    def _check_input(self, input: Tensor) -> None:
        name = type(self).__name__
        if input.ndim not in (2, 3):
            raise ClgradValueError(
                f"{name}: Expected input to be 2D or 3D, got {input.ndim}D instead. "
                "Hint: (L, N, input_size), or (N, L, input_size) with batch_first."
            )
        weight = self.all_weights[0][0]
        if input.dtype is not weight.dtype:
            raise ClgradValueError(
                f"RNN input dtype ({input.dtype!r}) does not match weight dtype "
                f"({weight.dtype!r}). Convert input: input.to({weight.dtype!r}), or convert "
                f"model: model.to({input.dtype!r})"
            )
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.shape[-1]}"
            )

    def _state(self, input: Tensor, hx: Any, batched: bool) -> State:
        """Return the state to begin with, shapes (layers, N, features)."""
        count = input.shape[1]
        layers = self.num_layers * (1 + self.bidirectional)
        sizes = self._state_sizes()
        if hx is None:
            return tuple(
                zeros(layers, count, size, dtype=input.dtype, device=input.device) for size in sizes
            )
        state: State = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if len(state) != len(sizes):
            raise ClgradRuntimeError(
                f"{type(self).__name__}: expected {len(sizes)} tensors as state, got {len(state)}."
            )
        dims = 3 if batched else 2
        if any(part.ndim != dims for part in state):
            found = ", ".join(f"{part.ndim}-D" for part in state)
            raise ShapeError(
                f"For {'' if batched else 'un'}batched {dims}-D input, hx should also be "
                f"{dims}-D but got {found} tensor"
            )
        if not batched:
            state = tuple([part.unsqueeze(1) for part in state])
        for k, (part, size) in enumerate(zip(state, sizes, strict=True)):
            if tuple(part.shape) != (layers, count, size):
                which = f"[{k}]" if len(sizes) > 1 else ""
                raise ShapeError(
                    f"{type(self).__name__}: Expected hidden{which} size {(layers, count, size)}, "
                    f"got {list(part.shape)}"
                )
        return state

    # ---- what is computed ---------------------------------------------------------------------

    def _run(self, input: Any, hx: Any) -> tuple[Any, State]:
        """Return results of the last layer, and the last state of every layer."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        self._check_input(input)
        batched = input.ndim == 3
        if not batched:
            input = input.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
        if not input.shape[0]:
            raise ClgradRuntimeError(
                f"{type(self).__name__}: Expected sequence length to be larger than 0 in RNN"
            )
        input, last = self._layers(input, self._state(input, hx, batched))
        if not batched:
            return input.squeeze(1), tuple([part.squeeze(1) for part in last])
        return (input.transpose(0, 1) if self.batch_first else input), last

    def _run_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, State]:
        """Do the same of sequences that are packed."""
        data, sizes, order, places = input
        self._check_input(data)
        counts = [int(n) for n in sizes.tolist()]
        state = self._state(data[: counts[0]].unsqueeze(0), hx, True)
        if hx is not None and order is not None:
            state = tuple([part.index_select(1, order) for part in state])
        made, last = self._layers(data, state, counts)
        if places is not None:
            last = tuple([part.index_select(1, places) for part in last])
        return PackedSequence(made, sizes, order, places), last

    def _layers(
        self, input: Tensor, begin: State, counts: list[int] | None = None
    ) -> tuple[Tensor, State]:
        return run_layers(
            self.mode, input, begin, self.all_weights, bias=self.bias, dropout=self.dropout,
            training=self.training, bidirectional=self.bidirectional,
            projected=bool(self.proj_size), counts=counts,
        )  # fmt: skip


class RNN(RNNBase):
    """A recurrent network: h' = tanh(x W_ih.T + b_ih + h W_hh.T + b_hh).

    Args:
        args, kwargs: (input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True,
            batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None); the
            nonlinearity is `tanh` or `relu`. See `RNNBase`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _no_projection(kwargs)
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ClgradValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """Return results, shape (L, N, D * hidden), and last states (D * layers, N, hidden).

        Args:
            input: shape (L, N, input_size), or (L, input_size); (N, L, …) with `batch_first`; or
                a `PackedSequence`, and then the results are one.
            hx: states to begin with, shape (D * layers, N, hidden); zeros if None.
        """
        result, state = self._run(input, hx)
        return result, state[0]


class GRU(RNNBase):
    """A network of gated recurrent units. Source: Cho et al. 2014.

    Args:
        args, kwargs: (input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
            dropout=0.0, bidirectional=False, device=None, dtype=None); see `RNNBase`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _no_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """Return results and last states; see `RNN.forward`."""
        result, state = self._run(input, hx)
        return result, state[0]


class LSTM(RNNBase):
    """A network of long short-term memory. Source: Hochreiter and Schmidhuber 1997.

    Args:
        args, kwargs: (input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
            dropout=0.0, bidirectional=False, proj_size=0, device=None, dtype=None); see
            `RNNBase`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def _state_sizes(self) -> tuple[int, ...]:
        return self.proj_size or self.hidden_size, self.hidden_size

    def forward(
        self, input: Any, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        """Return results, and last states (h, c); see `RNN.forward`."""
        result, (h, c) = self._run(input, hx)
        return result, (h, c)


def _no_projection(kwargs: dict[str, Any]) -> None:
    if "proj_size" in kwargs:
        raise ClgradValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]
