"""Cells: one step of a recurrent layer as a module."""

from __future__ import annotations

import math
from typing import Any

from clgrad.creation import empty, zeros
from clgrad.errors import ClgradRuntimeError, ClgradValueError, ShapeError
from clgrad.nn import functional, init
from clgrad.nn.modules._recurrent_steps import STEPS, State
from clgrad.nn.modules.module import Module
from clgrad.nn.parameter import Parameter
from clgrad.tensor import Tensor


class RNNCellBase(Module):
    """One step of a recurrent layer.

    Attributes:
        weight_ih: shape (gates * hidden_size, input_size).
        weight_hh: shape (gates * hidden_size, hidden_size).
        bias_ih, bias_hh: shape (gates * hidden_size), or None.
    """

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        for name, shape in (
            ("weight_ih", (gates, input_size)), ("weight_hh", (gates, hidden_size)),
            ("bias_ih", (gates,)), ("bias_hh", (gates,)),
        ):  # fmt: skip
            wanted = bias or len(shape) == 2
            made = Parameter(empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, uniform within ±1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """Return sizes and what differs from the defaults."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        if self.bias is not True:
            shown.append(f"bias={self.bias}")
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            shown.append(f"nonlinearity={self.__dict__['nonlinearity']}")
        return ", ".join(shown)

    def _run(self, mode: str, input: Tensor, hx: Any, parts: int) -> State:
        """Return the next state, shapes (N, hidden_size) or (hidden_size)."""
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ClgradValueError(
                f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead"
            )
        given: State = () if hx is None else (hx,) if isinstance(hx, Tensor) else tuple(hx)
        for k, part in enumerate(given):
            if part.ndim not in (1, 2):
                which = "hidden" if parts == 1 else f"hx[{k}]"
                raise ClgradValueError(
                    f"{name}: Expected {which} to be 1D or 2D, got {part.ndim}D instead"
                )
        batched = input.ndim == 2
        if not batched:
            input = input.unsqueeze(0)
            given = tuple([part.unsqueeze(0) for part in given])
        if not given:
            nothing = zeros(
                input.shape[0], self.hidden_size, dtype=input.dtype, device=input.device
            )
            given = (nothing,) * parts
        self._check_sizes(input, given, parts)
        share = functional.linear(input, self.weight_ih, self.bias_ih)
        state = STEPS[mode][0](share, given, self.weight_hh, self.bias_hh)
        return state if batched else tuple([part.squeeze(0) for part in state])

    def _check_sizes(self, input: Tensor, state: State, parts: int) -> None:
        name = type(self).__name__
        if input.shape[1] != self.input_size:
            raise ShapeError(
                f"{name}: input has inconsistent input_size: got {input.shape[1]} expected "
                f"{self.input_size}"
            )
        if len(state) != parts:
            raise ClgradRuntimeError(
                f"{name}: expected {parts} tensors as state, got {len(state)}."
            )
        for k, part in enumerate(state):
            if tuple(part.shape) != (input.shape[0], self.hidden_size):
                raise ShapeError(
                    f"{name}: hidden{k} has inconsistent shape: got {list(part.shape)}, expected "
                    f"{[input.shape[0], self.hidden_size]}"
                )


class RNNCell(RNNCellBase):
    """One step of an `RNN` layer; the nonlinearity is `tanh` or `relu`."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state of an input (N, input_size) and a state (N, hidden_size)."""
        mode = f"RNN_{self.nonlinearity.upper()}"
        if mode not in STEPS:
            raise ClgradRuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._run(mode, input, hx, 1)[0]


class LSTMCell(RNNCellBase):
    """One step of an `LSTM` layer."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the next (h, c) of an input (N, input_size) and a state (h, c)."""
        h, c = self._run("LSTM", input, hx, 2)
        return h, c


class GRUCell(RNNCellBase):
    """One step of a `GRU` layer."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state of an input (N, input_size) and a state (N, hidden_size)."""
        return self._run("GRU", input, hx, 1)[0]
