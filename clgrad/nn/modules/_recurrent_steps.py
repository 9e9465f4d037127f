"""One step of each kind of recurrent layer, and layers of them, as functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clgrad.autocasting import Switch, cast_call
from clgrad.functional.joining import cat, stack
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


def run_layers(
    mode: str, input: Tensor, begin: State, weights: Sequence[Sequence[Tensor]], *, bias: bool,
    dropout: float, training: bool, bidirectional: bool, projected: bool = False,
    counts: list[int] | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Return results of the last layer, and the last state of every layer.

    Args:
        input: shape (L, N, features), or of packed sequences (all steps, features).
        begin: states, each of shape (layers * directions, N, hidden).
        weights: of each layer and direction: for input and state, the two biases if there are
            any, and the projection if `projected`.
        dropout: what of the results of a layer is set to zero for the next, in training.
        counts: of packed sequences, how many go on at each step.

    Under `autocast` the whole of an LSTM is in the short dtype, as PyTorch's is.
    """
    settings: dict[str, Any] = {
        "bias": bias, "dropout": dropout, "training": training, "bidirectional": bidirectional,
        "projected": projected, "counts": counts,
    }  # fmt: skip
    if Switch.open and mode == "LSTM":
        made: tuple[Tensor, State] = cast_call(
            "short", _run_layers, (mode, input, begin, weights), settings
        )
        return made
    return _run_layers(mode, input, begin, weights, **settings)


def _run_layers(
    mode: str, input: Tensor, begin: State, weights: Sequence[Sequence[Tensor]], *, bias: bool,
    dropout: float, training: bool, bidirectional: bool, projected: bool,
    counts: list[int] | None,
) -> tuple[Tensor, State]:  # fmt: skip
    state = [part.unbind(0) for part in begin]
    directions = 1 + bidirectional
    ends: list[State] = []
    for layer in range(len(weights) // directions):
        if layer and dropout:
            input = functional.dropout(input, dropout, training)
        results = []
        for direction in range(directions):
            k = len(ends)
            first = tuple([part[k] for part in state])
            made, end = _layer(
                mode, input, first, weights[k], bias, projected, direction == 1, counts
            )
            results.append(made)
            ends.append(end)
        input = cat(results, -1) if bidirectional else results[0]
    return input, tuple([stack(parts) for parts in zip(*ends, strict=True)])


def _layer(
    mode: str, input: Tensor, state: State, weights: Sequence[Tensor], bias: bool,
    projected: bool, backwards: bool, counts: list[int] | None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Return the results of one layer in one direction, and its last state."""
    step, _ = STEPS[mode]
    w_ih, w_hh = weights[:2]
    b_ih, b_hh = weights[2:4] if bias else (None, None)
    shares: Any = functional.linear(input, w_ih, b_ih)
    shares = shares.unbind(0) if counts is None else shares.split(counts)
    results, begin, ended = [], state, []
    if counts is not None and backwards:
        state = tuple([part[: counts[-1]] for part in state])
    for share in reversed(shares) if backwards else shares:
        if counts is not None:
            state, rest = _going_on(state, begin, len(share))
            ended.append(rest)
        state = step(share, state, w_hh, b_hh)
        if projected:
            state = (functional.linear(state[0], weights[-1]), *state[1:])
        results.append(state[0])
    results = results[::-1] if backwards else results
    if counts is None:
        return stack(results), state
    ends = zip(state, *(rest for rest in reversed(ended) if rest), strict=True)
    return cat(results), tuple([cat(parts) for parts in ends])


def _going_on(state: State, begin: State, count: int) -> tuple[State, State]:
    """Return the state of the sequences at a step, and that of those which have ended before it.

    Sequences that join, read backwards, begin as they do anyway.
    """
    have = len(state[0])
    if have < count:
        joined = zip(state, begin, strict=True)
        return tuple([cat([part, first[have:count]]) for part, first in joined]), ()
    if have == count:
        return state, ()
    return tuple([part[:count] for part in state]), tuple([part[count:] for part in state])
