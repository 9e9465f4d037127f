"""Transformers: layers of attention and of maps of each position, encoders and decoders."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from clgrad.calls import function
from clgrad.creation import arange, zeros
from clgrad.errors import ClgradRuntimeError
from clgrad.functional.attention import canonical_mask
from clgrad.nn import functional, init
from clgrad.nn.modules.attention import MultiheadAttention
from clgrad.nn.modules.container import ModuleList
from clgrad.nn.modules.dropout import Dropout
from clgrad.nn.modules.linear import Linear
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.normalization import LayerNorm
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

Activation = str | Callable[[Tensor], Tensor]

_where = function(OPS["where"])


def _activation(given: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(given, str):
        return given
    if given not in ("relu", "gelu"):
        raise ClgradRuntimeError(f"activation should be relu/gelu, not {given}")
    call: Callable[[Tensor], Tensor] = getattr(functional, given)
    return call


def _causal(size: int, device: Any, dtype: Any) -> Tensor:
    """Return a mask to add: -inf above the diagonal."""
    position = arange(size, device=device)
    made: Tensor = _where(
        position > position.unsqueeze(1), -math.inf, zeros((), device=device, dtype=dtype)
    )
    return made


def _is_causal(mask: Tensor | None, said: bool | None, size: int) -> bool:
    """Return whether a mask is causal: as was said, or by looking, which waits for the device."""
    if said is not None or mask is None:
        return bool(said)
    if tuple(mask.shape) != (size, size) or not mask.is_floating_point():
        return False
    differs: Any = mask != _causal(size, mask.device, mask.dtype)
    return not differs.sum().item()


class _Layer(Module):
    """What layers of encoders and decoders have in common.

    Args:
        d_model: E, features of a position.
        nhead: heads of attention.
        dim_feedforward: features between the two maps of each position.
        dropout: probability of zeros while training.
        activation: between the two maps; `relu`, `gelu` or a function.
        layer_norm_eps: added to variances.
        batch_first: inputs and results have shape (N, L, E) rather than (L, N, E).
        norm_first: normalise before attention and maps rather than after.
        bias: whether maps and normalisations have biases.
        device, dtype: of the parameters.

    Source: Vaswani et al. 2017; `norm_first`: Xiong et al. 2020.
    """

    _crosses: bool

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = functional.relu, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        names = ("self_attn", "multihead_attn") if self._crosses else ("self_attn",)
        for name in names:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, **made
            )
            self.add_module(name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **made)
        self.norm_first = norm_first
        blocks = range(1, len(names) + 2)
        for k in blocks:
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made)
            self.add_module(f"norm{k}", norm)
        for k in blocks:
            self.add_module(f"dropout{k}", Dropout(dropout))
        self.activation = _activation(activation)

    def _block(self, x: Tensor, k: int, call: Callable[[Tensor], Tensor]) -> Tensor:
        """Return x plus what `call` makes of it, normalised before or after."""
        norm, dropout = getattr(self, f"norm{k}"), getattr(self, f"dropout{k}")
        if self.norm_first:
            made: Tensor = x + dropout(call(norm(x)))
        else:
            made = norm(x + dropout(call(x)))
        return made

    def _attend(
        self, attention: Any, mask: Tensor | None, padding: Tensor | None, causal: bool,
        memory: Tensor | None = None,
    ) -> Callable[[Tensor], Tensor]:  # fmt: skip
        def call(x: Tensor) -> Tensor:
            other = x if memory is None else memory
            made: Tensor = attention(
                x, other, other, attn_mask=mask, key_padding_mask=padding, need_weights=False,
                is_causal=causal,
            )[0]  # fmt: skip
            return made

        return call

    def _maps(self, x: Tensor) -> Tensor:
        made: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return made


class TransformerEncoderLayer(_Layer):
    __doc__ = _Layer.__doc__

    _crosses = False

    def forward(
        self, src: Tensor, src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None, is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Return positions that have attended to one another.

        Args:
            src: shape (L, N, E), or (L, E); (N, L, E) with `batch_first`.
            src_mask: shape (L, L) or (N * nhead, L, L); see `MultiheadAttention`.
            src_key_padding_mask: shape (N, L).
            is_causal: says that `src_mask` is causal.
        """
        attend = self._attend(self.self_attn, src_mask, src_key_padding_mask, is_causal)
        return self._block(self._block(src, 1, attend), 2, self._maps)


class TransformerDecoderLayer(_Layer):
    __doc__ = _Layer.__doc__

    _crosses = True

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Return positions that have attended to one another and to those of an encoder.

        Args:
            tgt: shape (T, N, E), or (T, E); (N, T, E) with `batch_first`.
            memory: what the encoder returned, (S, N, E) likewise.
            tgt_mask, memory_mask: shapes (T, T) and (T, S), or with N * nhead before them.
            tgt_key_padding_mask, memory_key_padding_mask: shapes (N, T) and (N, S).
            tgt_is_causal, memory_is_causal: say that the masks are causal.
        """
        attend = self._attend(self.self_attn, tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        cross = self._attend(
            self.multihead_attn, memory_mask, memory_key_padding_mask, memory_is_causal, memory
        )
        x = self._block(self._block(tgt, 1, attend), 2, cross)
        return self._block(x, 3, self._maps)


class _Stack(Module):
    """Copies of a layer, one after the other.

    Args:
        layer: what is copied.
        num_layers: how often.
        norm: applied at the end, if any.
    """

    def __init__(self, layer: Any, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def _length(self, x: Tensor) -> int:
        """Return how many positions there are."""
        first: Any = self.layers[0]
        length: int = x.shape[int(x.ndim == 3 and first.self_attn.batch_first)]
        return length

    def _end(self, x: Tensor) -> Tensor:
        made: Tensor = x if self.norm is None else self.norm(x)
        return made


class TransformerEncoder(_Stack):
    """Copies of an encoder layer.

    Args:
        encoder_layer: what is copied.
        num_layers: how often.
        norm: applied at the end, if any.
        enable_nested_tensor, mask_check: there are no nested tensors; ignored.
    """

    def __init__(
        self, encoder_layer: Any, num_layers: int, norm: Module | None = None,
        enable_nested_tensor: bool = True, mask_check: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(encoder_layer, num_layers, norm)
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self, src: Tensor, mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None, is_causal: bool | None = None,
    ) -> Tensor:  # fmt: skip
        """Return what the last layer returns; see `TransformerEncoderLayer.forward`.

        Args:
            src: positions.
            mask: between positions.
            src_key_padding_mask: of positions.
            is_causal: says that `mask` is causal; None to look.
        """
        padding = canonical_mask(
            src_key_padding_mask, "src_key_padding_mask", mask, "mask", src.dtype
        )
        mask = canonical_mask(mask, "mask", None, "", src.dtype)
        causal = _is_causal(mask, is_causal, self._length(src))
        for layer in self.layers:
            src = layer(src, src_mask=mask, is_causal=causal, src_key_padding_mask=padding)
        return self._end(src)


class TransformerDecoder(_Stack):
    """Copies of a decoder layer.

    Args:
        decoder_layer: what is copied.
        num_layers: how often.
        norm: applied at the end, if any.
    """

    def __init__(self, decoder_layer: Any, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Return what the last layer returns; see `TransformerDecoderLayer.forward`."""
        causal = _is_causal(tgt_mask, tgt_is_causal, self._length(tgt))
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )  # fmt: skip
        return self._end(tgt)


class Transformer(Module):
    """An encoder and a decoder.

    Args:
        d_model: E, features of a position.
        nhead: heads of attention.
        num_encoder_layers, num_decoder_layers: how many layers.
        dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device,
            dtype: of the layers; see `TransformerEncoderLayer`.
        custom_encoder, custom_decoder: modules to take instead.

    Source: Vaswani et al. 2017.
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6,
        num_decoder_layers: int = 6, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = functional.relu, custom_encoder: Any = None,
        custom_decoder: Any = None, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        settings = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*settings), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*settings), num_decoder_layers, norm()
        )
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None, src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Return the decoder's result, of the shape of `tgt`.

        Args:
            src: shape (S, N, E), or (S, E); (N, S, E) with `batch_first`.
            tgt: shape (T, N, E) likewise.
            src_mask, tgt_mask, memory_mask: shapes (S, S), (T, T) and (T, S).
            src_key_padding_mask, tgt_key_padding_mask, memory_key_padding_mask: shapes (N, S),
                (N, T) and (N, S).
            src_is_causal, tgt_is_causal, memory_is_causal: say that masks are causal.

        Raises:
            ClgradRuntimeError: batch sizes that differ, or features that are not `d_model`.
        """
        batch = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[batch] != tgt.shape[batch]:
            raise ClgradRuntimeError(
                "the batch number of src and tgt must be equal, got shapes "
                f"{list(src.shape)} and {list(tgt.shape)}"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise ClgradRuntimeError(
                f"the feature number of src and tgt must be equal to d_model={self.d_model}, got "
                f"shapes {list(src.shape)} and {list(tgt.shape)}"
            )
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        made: Tensor = self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )  # fmt: skip
        return made

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """Return a causal mask, shape (sz, sz): -inf above the diagonal, 0 elsewhere."""
        return _causal(sz, device, dtype)
