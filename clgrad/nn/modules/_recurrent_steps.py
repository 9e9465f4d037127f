"""One step of each kind of recurrent layer, as a function of tensors."""

from __future__ import annotations

from collections.abc import Callable

from clgrad.nn import functional
from clgrad.tensor import Tensor

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State, Tensor, "Tensor | None"], State]
"""Returns the next state of: a step's share of the input, the state, weight and bias for it."""


def _rnn_tanh(x: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    return (functional.tanh(x + functional.linear(state[0], weight, bias)),)


def _rnn_relu(x: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    return (functional.relu(x + functional.linear(state[0], weight, bias)),)


def _lstm(x: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """Math: c' = σ(f) c + σ(i) tanh(g); h' = σ(o) tanh(c'). Source: Hochreiter et al. 1997."""
    i, f, g, o = (x + functional.linear(state[0], weight, bias)).chunk(4, -1)
    c = functional.sigmoid(f) * state[1] + functional.sigmoid(i) * functional.tanh(g)
    return functional.sigmoid(o) * functional.tanh(c), c


def _gru(x: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """Math: n = tanh(xn + σ(r) hn); h' = n + σ(z) (h - n). Source: Cho et al. 2014."""
    xr, xz, xn = x.chunk(3, -1)
    hr, hz, hn = functional.linear(state[0], weight, bias).chunk(3, -1)
    n = functional.tanh(xn + functional.sigmoid(xr + hr) * hn)
    return (n + functional.sigmoid(xz + hz) * (state[0] - n),)


STEPS: dict[str, tuple[Step, int]] = {
    "RNN_TANH": (_rnn_tanh, 1), "RNN_RELU": (_rnn_relu, 1), "LSTM": (_lstm, 4), "GRU": (_gru, 3),
}  # fmt: skip
"""For each mode what a step does, and how many gates it has."""
