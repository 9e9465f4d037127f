"""Every layer with settings and inputs, for tests of whole layers against PyTorch's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Input = Any
"""A shape of floats that require grad, or (kind, shape, …): see `array`."""


@dataclass(frozen=True)
class Layer:
    """One call of one layer.

    Attributes:
        name: in `nn`.
        args, kwargs: of the constructor.
        inputs: of the call.
        call: keyword arguments of the call, arrays by `array`.
        device: it has kernels of its own, which the interpreter does not know.
        training: in which mode.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ((3, 4),)
    call: dict[str, Any] = field(default_factory=dict)
    device: bool = False
    training: bool = True

    def __str__(self) -> str:
        shown = [*map(str, self.args), *[f"{k}={v}" for k, v in self.kwargs.items()]]
        return f"{self.name}({','.join(shown)})".replace(" ", "") + "eval" * (not self.training)


def array(given: Input, rng: Any) -> Any:
    """Return (NumPy array, whether it requires grad)."""
    kind, *rest = given if given and isinstance(given[0], str) else ("normal", given)
    shape = rest[0]
    if kind == "normal":
        return rng.standard_normal(shape).astype(np.float32), True
    if kind == "unit":
        return rng.uniform(0.05, 0.95, shape).astype(np.float32), True
    if kind == "chances":  # that sum to 1
        raw = rng.uniform(0.1, 1, shape)
        return (raw / raw.sum(1, keepdims=True)).astype(np.float32), False
    if kind == "classes":
        return rng.integers(0, rest[1], shape), False
    if kind == "counts":
        return rng.integers(0, 5, shape).astype(np.float32), False
    if kind == "bits":
        return rng.integers(0, 2, shape).astype(np.float32), False
    if kind == "signs":
        return (2 * rng.integers(0, 2, shape) - 1).astype(np.float32), False
    if kind == "bool":
        return rng.integers(0, 2, shape).astype(bool), False
    if kind == "exact":
        return np.asarray(shape), False
    raise AssertionError(kind)


def L(name: str, *args: Any, inputs: Any = None, call: Any = None, device: bool = False,
      training: bool = True, **kwargs: Any) -> Layer:  # fmt: skip
    """Return a `Layer`; `inputs` is a list."""
    given = [(3, 4)] if inputs is None else inputs
    return Layer(name, args, kwargs, tuple(given), call or {}, device, training)


IMAGES = [(2, 4, 5, 6)]
SEQUENCES = [(2, 4, 7)]
VOLUMES = [(2, 4, 3, 5, 4)]

ACTIVATIONS = [
    *[L(name) for name in ("ReLU", "SiLU", "Mish", "SELU", "Hardsigmoid", "Hardswish", "Sigmoid",
                           "Tanh", "LogSigmoid", "Softsign", "Tanhshrink", "ReLU6", "Hardtanh",
                           "ELU", "CELU", "LeakyReLU", "Softplus", "Hardshrink", "Softshrink",
                           "GELU", "GLU", "PReLU")],
    L("Threshold", 0.1, 20), L("Hardtanh", -0.5, 0.25), L("ELU", 0.5), L("CELU", 0.75),
    L("LeakyReLU", 0.25), L("Softplus", 2.0, 1.0), L("Hardshrink", 0.25),
    L("GLU", 0, inputs=[(4, 3)]),
    L("GELU", approximate="tanh"), L("PReLU", 4, 0.5), L("Softshrink", 0.1),
    L("RReLU", training=False), L("Softmax", 1), L("Softmin", dim=0), L("LogSoftmax", -1),
    L("Softmax2d", inputs=IMAGES),
]  # fmt: skip

PLAIN = [
    L("Identity", 3), L("Linear", 4, 5), L("Linear", 4, 2, bias=False),
    L("Linear", 4, 5, inputs=[(2, 3, 4)]), L("Linear", 4, 5, inputs=[(4,)]),
    L("Flatten", inputs=IMAGES), L("Flatten", 0, 1, inputs=IMAGES),
    L("Unflatten", 1, (2, 2)), L("Bilinear", 4, 3, 2, inputs=[(5, 4), (5, 3)]),
    L("Bilinear", 4, 3, 2, bias=False, inputs=[(2, 5, 4), (2, 5, 3)]),
    L("CosineSimilarity", inputs=[(3, 4), (3, 4)]),
    L("CosineSimilarity", dim=0, eps=0.1, inputs=[(3, 4), (3, 4)]),
    L("PairwiseDistance", inputs=[(3, 4), (3, 4)]),
    L("PairwiseDistance", 1.0, keepdim=True, inputs=[(3, 4), (3, 4)]),
    L("PixelShuffle", 2, inputs=IMAGES), L("PixelUnshuffle", 2, inputs=[(2, 3, 4, 6)]),
    L("ChannelShuffle", 2, inputs=IMAGES),
]  # fmt: skip

NORMS = [
    L("LayerNorm", 4), L("LayerNorm", (3, 4), eps=0.1), L("LayerNorm", [4], bias=False),
    L("LayerNorm", 4, elementwise_affine=False), L("RMSNorm", 4), L("RMSNorm", (3, 4), eps=0.1),
    L("RMSNorm", 4, elementwise_affine=False), L("GroupNorm", 2, 4, inputs=IMAGES),
    L("GroupNorm", 4, 4, affine=False, inputs=SEQUENCES), L("BatchNorm1d", 4, inputs=[(5, 4)]),
    L("BatchNorm1d", 4, inputs=[(0, 4)]), L("BatchNorm1d", 4, inputs=SEQUENCES),
    L("BatchNorm2d", 4, inputs=IMAGES),
    L("BatchNorm2d", 4, 0.1, None, inputs=IMAGES),
    L("BatchNorm2d", 4, affine=False, momentum=0.3, inputs=IMAGES),
    L("BatchNorm2d", 4, track_running_stats=False, inputs=IMAGES),
    L("BatchNorm2d", 4, inputs=IMAGES, training=False),
    L("BatchNorm2d", 4, bias=False, track_running_stats=False, inputs=IMAGES, training=False),
    L("BatchNorm3d", 4, inputs=VOLUMES), L("InstanceNorm1d", 4, inputs=SEQUENCES),
    L("InstanceNorm1d", 4, inputs=[(4, 7)]), L("InstanceNorm2d", 4, affine=True, inputs=IMAGES),
    L("InstanceNorm2d", 4, track_running_stats=True, inputs=IMAGES),
    L("InstanceNorm2d", 4, track_running_stats=True, inputs=IMAGES, training=False),
    L("InstanceNorm3d", 4, inputs=VOLUMES),
    L("LocalResponseNorm", 3, 0.5, 0.75, 2.0, inputs=IMAGES, device=True),
    L("LocalResponseNorm", 2, inputs=SEQUENCES, device=True),
]  # fmt: skip

CONVOLUTIONS = [
    L("Conv1d", 4, 6, 3, inputs=SEQUENCES, device=True),
    L("Conv1d", 4, 6, 3, 2, "valid", 2, 2, False, inputs=SEQUENCES, device=True),
    L("Conv1d", 4, 6, 4, padding="same", inputs=SEQUENCES, device=True),
    L("Conv1d", 4, 6, 4, padding="same", padding_mode="circular", inputs=SEQUENCES, device=True),
    L("Conv2d", 4, 6, 3, inputs=IMAGES, device=True),
    L("Conv2d", 4, 4, (3, 2), stride=2, padding=(1, 0), groups=4, inputs=IMAGES, device=True),
    L("Conv2d", 4, 2, 3, padding=(1, 2), padding_mode="reflect", inputs=IMAGES, device=True),
    L("Conv2d", 4, 2, 3, padding=1, padding_mode="replicate", inputs=IMAGES, device=True),
    L("Conv3d", 4, 2, 2, padding=1, dilation=(1, 2, 1), inputs=VOLUMES, device=True),
    L("ConvTranspose1d", 4, 6, 3, 2, inputs=SEQUENCES, device=True),
    L("ConvTranspose1d", 4, 6, 3, 2, 1, 1, 2, inputs=SEQUENCES, device=True),
    L("ConvTranspose2d", 4, 3, (3, 2), stride=2, bias=False, dilation=2, inputs=IMAGES,
      device=True),
    L("ConvTranspose2d", 4, 3, 3, stride=3, inputs=IMAGES, call={"output_size": (16, 20)},
      device=True),
    L("ConvTranspose3d", 4, 2, 2, inputs=VOLUMES, device=True),
]  # fmt: skip

POOLS = [
    L("MaxPool1d", 3, inputs=SEQUENCES, device=True),
    L("MaxPool1d", 3, 2, 1, return_indices=True, inputs=SEQUENCES, device=True),
    L("MaxPool2d", 2, inputs=IMAGES, device=True),
    L("MaxPool2d", (3, 2), stride=(2, 1), padding=(1, 0), ceil_mode=True, inputs=IMAGES,
      device=True),
    L("MaxPool3d", 2, dilation=2, stride=1, inputs=[(2, 4, 4, 5, 4)], device=True),
    L("AvgPool1d", 3, 2, 1, inputs=SEQUENCES, device=True),
    L("AvgPool2d", 2, inputs=IMAGES, device=True),
    L("AvgPool2d", (3, 2), 2, (1, 0), True, False, inputs=IMAGES, device=True),
    L("AvgPool2d", 2, divisor_override=3, inputs=IMAGES, device=True),
    L("AvgPool3d", 2, inputs=VOLUMES, device=True),
    L("LPPool1d", 2.0, 3, inputs=[("unit", (2, 4, 7))], device=True),
    L("LPPool2d", 1.5, 2, stride=1, inputs=[("unit", (2, 4, 5, 6))], device=True),
    L("LPPool3d", 2, 2, inputs=[("unit", (2, 4, 3, 5, 4))], device=True),
    L("AdaptiveAvgPool1d", 3, inputs=SEQUENCES, device=True),
    L("AdaptiveAvgPool2d", (2, None), inputs=IMAGES, device=True),
    L("AdaptiveAvgPool2d", 1, inputs=IMAGES, device=True),
    L("AdaptiveAvgPool3d", 2, inputs=VOLUMES, device=True),
    L("AdaptiveMaxPool1d", 3, inputs=SEQUENCES, device=True),
    L("AdaptiveMaxPool2d", (2, 3), return_indices=True, inputs=IMAGES, device=True),
    L("AdaptiveMaxPool3d", 2, inputs=VOLUMES, device=True),
]  # fmt: skip

_PLACES = ("exact", np.array([[[0, 5, 3], [2, 1, 6]]]))
_PLACES2 = ("exact", np.array([[[[0, 3, 5], [8, 17, 23]]]]))
_PLACES3 = ("exact", np.array([[[[[3]], [[12]]]]]))
UNPOOLS = [
    L("MaxUnpool1d", 2, inputs=[(1, 2, 3), _PLACES], call={"output_size": (7,)}, device=True),
    L("MaxUnpool2d", 2, inputs=[(1, 1, 2, 3), _PLACES2], device=True),
    L("MaxUnpool2d", (2, 3), 2, (0, 1), inputs=[(1, 1, 2, 3), _PLACES2],
      call={"output_size": (1, 1, 5, 6)}, device=True),
    L("MaxUnpool3d", 2, inputs=[(1, 1, 2, 1, 1), _PLACES3], device=True),
]  # fmt: skip

PADS = [
    L("ZeroPad1d", 2, inputs=SEQUENCES, device=True),
    L("ZeroPad2d", (1, 0, 2, -1), inputs=IMAGES, device=True),
    L("ZeroPad3d", 1, inputs=VOLUMES, device=True),
    L("ConstantPad1d", (1, 2), 0.5, inputs=SEQUENCES, device=True),
    L("ConstantPad2d", 1, -2, inputs=IMAGES, device=True),
    L("ConstantPad3d", 1, 3.5, inputs=VOLUMES, device=True),
    L("ReflectionPad1d", (1, 2), inputs=SEQUENCES, device=True),
    L("ReflectionPad2d", (1, 2, 0, 3), inputs=IMAGES, device=True),
    L("ReflectionPad3d", 1, inputs=VOLUMES, device=True),
    L("ReplicationPad1d", (1, 2), inputs=SEQUENCES, device=True),
    L("ReplicationPad2d", 2, inputs=IMAGES, device=True),
    L("ReplicationPad3d", (1, 0, 2, 1, 0, 3), inputs=VOLUMES, device=True),
    L("CircularPad1d", (1, 2), inputs=SEQUENCES, device=True),
    L("CircularPad2d", (1, 2, 0, 3), inputs=IMAGES, device=True),
    L("CircularPad3d", 1, inputs=VOLUMES, device=True),
]  # fmt: skip

IMAGE_LAYERS = [
    L("Upsample", (7, 8), inputs=IMAGES, device=True),
    L("Upsample", scale_factor=2, mode="bilinear", inputs=IMAGES, device=True),
    L("Upsample", scale_factor=(1.5, 2.5), mode="bicubic", inputs=IMAGES, device=True),
    L("Upsample", scale_factor=2, mode="linear", align_corners=True, inputs=SEQUENCES, device=True),
    L("UpsamplingNearest2d", scale_factor=2, inputs=IMAGES, device=True),
    L("UpsamplingBilinear2d", (4, 9), inputs=IMAGES, device=True),
    L("Unfold", (2, 3), padding=1, stride=2, inputs=IMAGES, device=True),
    L("Fold", (4, 5), (2, 2), inputs=[(2, 8, 12)], device=True),
]  # fmt: skip

INDICES = [
    L("Embedding", 6, 4, inputs=[("classes", (3, 5), 6)], device=True),
    L("Embedding", 6, 4, padding_idx=2, inputs=[("classes", (3, 5), 6)], device=True),
    L("Embedding", 6, 4, padding_idx=-1, scale_grad_by_freq=True,
      inputs=[("classes", (3, 5), 6)], device=True),
    L("Embedding", 6, 4, max_norm=1.0, norm_type=1.5, inputs=[("classes", (3, 5), 6)], device=True),
    L("EmbeddingBag", 6, 4, inputs=[("classes", (3, 5), 6)], device=True),
    L("EmbeddingBag", 6, 4, mode="max", padding_idx=1,
      inputs=[("classes", (9,), 6), ("exact", [0, 4, 6])], device=True),
    L("EmbeddingBag", 6, 4, mode="sum", include_last_offset=True,
      inputs=[("classes", (9,), 6), ("exact", [0, 4, 6, 9]), (9,)], device=True),
]  # fmt: skip

SAME = [(3, 4), (3, 4)]
WEIGHTS = ("exact", [0.5, 1.0, 2.0, 0.25])
LOSSES = [
    L("L1Loss", inputs=SAME), L("L1Loss", reduction="none", inputs=SAME),
    L("MSELoss", inputs=SAME), L("MSELoss", reduction="sum", inputs=SAME),
    L("SmoothL1Loss", inputs=SAME), L("SmoothL1Loss", beta=0.5, reduction="sum", inputs=SAME),
    L("HuberLoss", inputs=SAME), L("HuberLoss", "none", 0.5, inputs=SAME),
    L("PoissonNLLLoss", inputs=[(3, 4), ("counts", (3, 4))]),
    L("PoissonNLLLoss", False, True, inputs=[("unit", (3, 4)), ("counts", (3, 4))]),
    L("GaussianNLLLoss", inputs=[(3, 4), (3, 4), ("unit", (3, 4))]),
    L("GaussianNLLLoss", full=True, inputs=[(3, 4), (3, 4), ("unit", (3, 1))]),
    L("KLDivLoss", reduction="batchmean", inputs=[(3, 4), ("chances", (3, 4))]),
    L("KLDivLoss", reduction="sum", log_target=True, inputs=SAME),
    L("NLLLoss", inputs=[(3, 4), ("classes", (3,), 4)]),
    L("NLLLoss", ignore_index=1, reduction="sum", inputs=[(2, 4, 5), ("classes", (2, 5), 4)]),
    L("CrossEntropyLoss", inputs=[(3, 4), ("classes", (3,), 4)]),
    L("CrossEntropyLoss", label_smoothing=0.2, inputs=[(2, 4, 5), ("classes", (2, 5), 4)]),
    L("CrossEntropyLoss", inputs=[(3, 4), ("chances", (3, 4))]),
    L("CrossEntropyLoss", ("array", WEIGHTS), inputs=[(3, 4), ("classes", (3,), 4)]),
    L("LinearCrossEntropyLoss", 5, 4, inputs=[(3, 5), ("classes", (3,), 4)]),
    L("LinearCrossEntropyLoss", 5, 4, bias=True, inputs=[(5,), ("classes", (), 4)]),
    L(
        "LinearCrossEntropyLoss", 5, 4, out_features=(2, 3), bias=True, ignore_index=1,
        reduction="sum", inputs=[(3, 5), ("classes", (3, 2, 3), 4)],
    ),
    L("LinearCrossEntropyLoss", 5, 4, label_smoothing=0.3, inputs=[(3, 5), ("chances", (3, 4))]),
    L("BCELoss", inputs=[("unit", (3, 4)), ("bits", (3, 4))]),
    L("BCELoss", reduction="none", inputs=[("unit", (3, 4)), ("chances", (3, 4))]),
    L("BCEWithLogitsLoss", inputs=[(3, 4), ("bits", (3, 4))]),
    L("BCEWithLogitsLoss", pos_weight=("array", WEIGHTS), inputs=[(3, 4), ("bits", (3, 4))]),
    L("MultiLabelSoftMarginLoss", inputs=[(3, 4), ("bits", (3, 4))]),
    L("MultiLabelMarginLoss", inputs=[(2, 4), ("exact", [[3, 0, -1, 1], [1, -1, 2, 0]])],
      device=True),
    L("MultiMarginLoss", inputs=[(3, 4), ("classes", (3,), 4)]),
    L("MultiMarginLoss", 2, 0.5, ("array", WEIGHTS), inputs=[(3, 4), ("classes", (3,), 4)]),
    L("SoftMarginLoss", inputs=[(3, 4), ("signs", (3, 4))]),
    L("HingeEmbeddingLoss", 0.5, inputs=[(3, 4), ("signs", (3, 4))]),
    L("CosineEmbeddingLoss", 0.1, inputs=[(3, 4), (3, 4), ("signs", (3,))]),
    L("MarginRankingLoss", 0.2, inputs=[(5,), (5,), ("signs", (5,))]),
    L("TripletMarginLoss", inputs=[(3, 4)] * 3), L("TripletMarginLoss", 2.0, 1.0, swap=True,
                                                   inputs=[(3, 4)] * 3),
    L("TripletMarginWithDistanceLoss", swap=True, inputs=[(3, 4)] * 3),
]  # fmt: skip

RECURRENT = [
    L("RNN", 3, 5, inputs=[(4, 2, 3)]), L("RNN", 3, 5, inputs=[(4, 3)]),
    L("RNN", 3, 5, 2, "relu", False, True, inputs=[(2, 4, 3)]),
    L("LSTM", 3, 5, inputs=[(4, 2, 3)]),
    L("LSTM", 3, 5, 2, bidirectional=True, inputs=[(4, 2, 3)]),
    L("LSTM", 3, 5, proj_size=2, batch_first=True, num_layers=2, inputs=[(2, 4, 3)]),
    L("LSTM", 3, 5, bias=False, inputs=[(4, 3)]),
    L("GRU", 3, 5, inputs=[(4, 2, 3), (1, 2, 5)]),
    L("GRU", 3, 5, 2, batch_first=True, bidirectional=True, inputs=[(2, 4, 3), (4, 2, 5)]),
    L("RNNCell", 3, 5, inputs=[(2, 3), (2, 5)]),
    L("RNNCell", 3, 5, False, "relu", inputs=[(2, 3)]),
    L("LSTMCell", 3, 5, inputs=[(2, 3)]), L("LSTMCell", 3, 5, inputs=[(3,)]),
    L("GRUCell", 3, 5, inputs=[(2, 3), (2, 5)]),
    L("GRUCell", 3, 5, bias=False, inputs=[(3,), (5,)]),
]  # fmt: skip

SELF = ("self",)
ATTENTION = [
    L("MultiheadAttention", 8, 2, inputs=[(4, 3, 8), (5, 3, 8), (5, 3, 8)]),
    L("MultiheadAttention", 8, 2, bias=False, inputs=[(4, 8), (5, 8), (5, 8)]),
    L("MultiheadAttention", 8, 4, batch_first=True, add_bias_kv=True, add_zero_attn=True,
      inputs=[(3, 4, 8), (3, 5, 8), (3, 5, 8)], call={"average_attn_weights": False}),
    L("MultiheadAttention", 8, 2, kdim=6, vdim=3, inputs=[(4, 3, 8), (5, 3, 6), (5, 3, 3)],
      call={"need_weights": False}),
    L("MultiheadAttention", 8, 2, inputs=[(4, 3, 8), SELF, SELF],
      call={"attn_mask": ("exact", np.triu(np.ones((4, 4), bool), 1))}),
    L("MultiheadAttention", 8, 2, inputs=[(4, 3, 8), (5, 3, 8), (5, 3, 8)],
      call={"attn_mask": ("normal", (6, 4, 5)), "key_padding_mask": ("normal", (3, 5)),
            "need_weights": False}),
    L("TransformerEncoderLayer", 8, 2, 16, 0.0, inputs=[(4, 3, 8)]),
    L("TransformerEncoderLayer", 8, 2, 16, 0.0, "gelu", 0.1, True, True, False,
      inputs=[(3, 4, 8)]),
    L("TransformerDecoderLayer", 8, 2, 16, 0.0, inputs=[(4, 3, 8), (5, 3, 8)]),
    L("TransformerDecoderLayer", 8, 2, 16, 0.0, norm_first=True, batch_first=True,
      inputs=[(3, 4, 8), (3, 5, 8)]),
    L("Transformer", 8, 2, 2, 1, 16, 0.0, inputs=[(4, 3, 8), (5, 3, 8)]),
]  # fmt: skip

LAYERS = [
    *ACTIVATIONS, *PLAIN, *NORMS, *CONVOLUTIONS, *POOLS, *UNPOOLS, *PADS, *IMAGE_LAYERS,
    *INDICES, *LOSSES,
    *RECURRENT, *ATTENTION,
]  # fmt: skip
