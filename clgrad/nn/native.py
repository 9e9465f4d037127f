"""What PyTorch has under `torch` itself of `torch.nn`: losses, cells, recurrent layers.

A reduction is a number here: 0 none, 1 the mean, 2 the sum; that none is the default is how
PyTorch reads these calls, whatever its schemas say. `clgrad` shows these names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradValueError, ShapeError
from clgrad.functional.convolution import conv1d
from clgrad.functional.linear import bilinear
from clgrad.functional.norms import matrix_norm, vector_norm
from clgrad.nn import functional as F
from clgrad.nn.loss_common import reduced
from clgrad.nn.modules._recurrent_steps import STEPS, State, run_layers
from clgrad.tensor import Tensor

REDUCTIONS = ("none", "mean", "sum")


def _reduction(number: int) -> str:
    if number not in (0, 1, 2):
        raise ClgradValueError(f"reduction is {number!r}. Expected 0 (none), 1 (mean) or 2 (sum).")
    return REDUCTIONS[number]


# ---- losses --------------------------------------------------------------------------------------


def kl_div(
    input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False
) -> Tensor:
    """Do `nn.functional.kl_div` without its warning about the mean."""
    loss = F.kl_div(input, target, reduction="none", log_target=log_target)
    return reduced(loss, _reduction(reduction))  # type: ignore[no-any-return]  # a Tensor


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """Do `nn.functional.cosine_embedding_loss`."""
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0
) -> Tensor:
    """Do `nn.functional.hinge_embedding_loss`."""
    return F.hinge_embedding_loss(input, target, margin, reduction=_reduction(reduction))


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """Do `nn.functional.margin_ranking_loss`."""
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """Do `nn.functional.poisson_nll_loss`."""
    return F.poisson_nll_loss(
        input, target, log_input, full, eps=eps, reduction=_reduction(reduction)
    )


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0,
    eps: float = 1e-6, swap: bool = False, reduction: int = 0,
) -> Tensor:  # fmt: skip
    """Do `nn.functional.triplet_margin_loss`."""
    return F.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=_reduction(reduction)
    )


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None,
    reduction: int = 0,
) -> Tensor:  # fmt: skip
    """Do `nn.functional.binary_cross_entropy_with_logits`."""
    return F.binary_cross_entropy_with_logits(
        input, target, weight, pos_weight=pos_weight, reduction=_reduction(reduction)
    )


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: int = 0, zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """Do `nn.functional.ctc_loss`."""
    return F.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, _reduction(reduction),
        zero_infinity,
    )  # fmt: skip


# ---- recurrent layers ----------------------------------------------------------------------------


def _cell(
    mode: str, input: Tensor, state: State, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None,
    b_hh: Tensor | None,
) -> State:  # fmt: skip
    return STEPS[mode][0](F.linear(input, w_ih, b_ih), state, w_hh, b_hh)


def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the next state of `nn.RNNCell`."""
    return _cell("RNN_TANH", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the next state of `nn.RNNCell` with `relu`."""
    return _cell("RNN_RELU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the next state of `nn.GRUCell`."""
    return _cell("GRU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def lstm_cell(
    input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> State:  # fmt: skip
    """Return the next state (h, c) of `nn.LSTMCell`."""
    if len(hx) != 2:
        raise ClgradRuntimeError(f"lstm_cell expects two hidden states, got {len(hx)}.")
    return _cell("LSTM", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)


def _run(
    mode: str, input: Tensor, begin: State, params: Sequence[Tensor], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool, *,
    batch_first: bool = False, counts: list[int] | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    count = num_layers * (1 + bidirectional)
    projected = len(params) == count * (3 + 2 * has_biases) and mode == "LSTM"
    each = 2 + 2 * has_biases + projected
    if len(params) != count * each:
        raise ClgradRuntimeError(
            f"{mode.lower()}: got {len(params)} parameters. Expected {each} for each of {count} "
            "layers and directions."
        )
    weights = [params[k : k + each] for k in range(0, len(params), each)]
    if batch_first:
        input = input.transpose(0, 1)
    result, state = run_layers(
        mode, input, begin, weights, bias=has_biases, dropout=dropout, training=train,
        bidirectional=bidirectional, projected=projected, counts=counts,
    )  # fmt: skip
    return (result.transpose(0, 1) if batch_first else result), *state


def _layers(mode: str, input: Tensor, second: Any, *args: Any, **named: Any) -> tuple[Tensor, ...]:
    """Tell PyTorch's two forms apart: sequences of one length, or packed ones with their sizes."""
    order = ("params", "has_biases", "num_layers", "dropout", "train", "bidirectional")
    packed = "batch_sizes" in named or (
        isinstance(second, Tensor) and second.ndim == 1 and not second.is_floating_point()
    )
    if not packed:
        given = dict(zip((*order, "batch_first"), args, strict=False)) | named
        return _run(mode, input, as_state(second), **given)
    given = dict(zip(("hx", *order), args, strict=False)) | named
    sizes = given.pop("batch_sizes", second)
    begin = as_state(given.pop("hx"))
    return _run(mode, input, begin, **given, counts=[int(n) for n in sizes.tolist()])


def as_state(hx: Any) -> State:
    """Return the states that a layer begins with as a tuple."""
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


def lstm(input: Tensor, hx: Any, *args: Any, **named: Any) -> tuple[Tensor, ...]:
    """Return results, h and c of the layers of `nn.LSTM`.

    Takes `(input, hx, params, has_biases, num_layers, dropout, train, bidirectional,
    batch_first)`, or of packed sequences `(data, batch_sizes, hx, params, …, bidirectional)`.
    """
    return _layers("LSTM", input, hx, *args, **named)


def gru(input: Tensor, hx: Any, *args: Any, **named: Any) -> tuple[Tensor, ...]:
    """Return results and last states of the layers of `nn.GRU`; see `lstm`."""
    return _layers("GRU", input, hx, *args, **named)


def rnn_tanh(input: Tensor, hx: Any, *args: Any, **named: Any) -> tuple[Tensor, ...]:
    """Return results and last states of the layers of `nn.RNN`; see `lstm`."""
    return _layers("RNN_TANH", input, hx, *args, **named)


def rnn_relu(input: Tensor, hx: Any, *args: Any, **named: Any) -> tuple[Tensor, ...]:
    """Return results and last states of the layers of `nn.RNN` with `relu`; see `lstm`."""
    return _layers("RNN_RELU", input, hx, *args, **named)


# ---- others --------------------------------------------------------------------------------------


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Return the convolution of sequences (time, batch, channels).

    Args:
        weight: shape (width, input channels, output channels). bias: shape (output channels).
        pad: zeros at both ends.

    Raises:
        ShapeError: an operand of another number of dimensions.
    """
    for name, x, ndim in (("input", input, 3), ("weight", weight, 3), ("bias", bias, 1)):
        if x.ndim != ndim:
            raise ShapeError(
                f"conv_tbc: {name} has {x.ndim} dimensions. Expected {ndim}: input (time, batch, "
                "channels), weight (width, in, out), bias (out)."
            )
    made: Any = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    found: Tensor = made.permute(2, 0, 1)
    return found


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """Return norms over all dims but `dim`, which are kept with size 1; -1 keeps none."""
    others = None if dim == -1 else [d for d in range(v.ndim) if d != dim % v.ndim]
    made: Tensor = vector_norm(v, pow, others, others is not None)
    return made


def nuclear_norm(input: Tensor, dim: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    """Return sums of singular values of matrices."""
    if isinstance(dim, bool):
        dim, keepdim = (-2, -1), dim
    made: Tensor = matrix_norm(input, "nuc", dim, keepdim)
    return made


def frobenius_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return roots of sums of squares along dims."""
    made: Tensor = vector_norm(input, 2, dim, keepdim)
    return made


__all__ = [
    "bilinear", "binary_cross_entropy_with_logits", "conv_tbc", "cosine_embedding_loss",
    "ctc_loss", "frobenius_norm", "gru", "gru_cell", "hinge_embedding_loss", "kl_div", "lstm",
    "lstm_cell", "margin_ranking_loss", "norm_except_dim", "nuclear_norm", "poisson_nll_loss",
    "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell", "triplet_margin_loss",
]  # fmt: skip
