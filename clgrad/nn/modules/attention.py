"""Attention of several heads as a module; what it computes is in `functional`."""

from __future__ import annotations

from typing import Any

from clgrad.creation import empty
from clgrad.errors import ClgradValueError
from clgrad.nn import functional, init
from clgrad.nn.modules.linear import Linear
from clgrad.nn.modules.module import Module
from clgrad.nn.parameter import Parameter
from clgrad.tensor import Tensor


class NonDynamicallyQuantizableLinear(Linear):
    """A `Linear` under the name that PyTorch gives the last map of attention."""


class MultiheadAttention(Module):
    """Attention of several heads.

    Args:
        embed_dim: E, features of queries and of the result.
        num_heads: into how many parts they are split.
        dropout: probability with which weights are dropped while training.
        bias: whether maps have biases.
        add_bias_kv: add a learned position to keys and values.
        add_zero_attn: add a position of zeros.
        kdim, vdim: features of keys and values; E if None.
        batch_first: inputs and results have shape (N, L, E) rather than (L, N, E).
        device, dtype: of the parameters.

    Attributes:
        in_proj_weight: shape (3 E, E); or `q_proj_weight`, `k_proj_weight`, `v_proj_weight` where
            keys or values have other features. Glorot's uniform distribution.
        in_proj_bias: shape (3 E), zeros.
        out_proj: the last map, with a bias of zeros.
        bias_k, bias_v: shape (1, 1, E), or None.

    Raises:
        ClgradValueError: no features or no heads.
        AssertionError: heads that do not divide the features.

    Source: Vaswani et al. 2017.
    """

    _weights = ("q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_weight")
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
        add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
        vdim: int | None = None, batch_first: bool = False, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        if embed_dim <= 0 or num_heads <= 0:
            raise ClgradValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if embed_dim % num_heads:
            raise AssertionError(
                f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}"
            )

        def parameter(*shape: int) -> Parameter:
            made: Parameter = Parameter(empty(shape, device=device, dtype=dtype))
            return made

        same = self._qkv_same_embed_dim
        sizes = (embed_dim, self.kdim, self.vdim)
        for name, size in zip(self._weights, sizes, strict=False):
            self.register_parameter(name, None if same else parameter(embed_dim, size))
        self.register_parameter(
            "in_proj_weight", parameter(3 * embed_dim, embed_dim) if same else None
        )
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, device, dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, parameter(1, 1, embed_dim) if add_bias_kv else None)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in self._weights:
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None,
        average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Return averages of values, and their weights.

        Args:
            query: shape (L, N, E), or (L, E); (N, L, E) with `batch_first`.
            key, value: shapes (S, N, kdim) and (S, N, vdim) likewise.
            key_padding_mask: shape (N, S), True for keys that do not count, or floats to add.
            need_weights: return the weights.
            attn_mask: shape (L, S) or (N * num_heads, L, S), as before.
            average_attn_weights: over the heads.
            is_causal: says that `attn_mask` is causal.

        Returns:
            Shape of the query, and (N, L, S), (N, num_heads, L, S), or None.
        """
        turned = self.batch_first and query.ndim == 3
        if turned:
            query, key, value = _turned(query, key, value)
        result, weights = functional.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight,
            self.in_proj_bias, self.bias_k, self.bias_v, self.add_zero_attn, self.dropout,
            self.out_proj.weight, self.out_proj.bias, training=self.training,
            key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight, k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight, average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )  # fmt: skip
        return (result.transpose(0, 1) if turned else result), weights


def _turned(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs with their first two dims exchanged; what is one tensor stays one."""
    made: dict[Tensor, Tensor] = {}
    for x in (query, key, value):
        if x not in made:
            made[x] = x.transpose(0, 1)
    return made[query], made[key], made[value]
