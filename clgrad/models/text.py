"""A transformer encoder that classifies sequences of tokens.

Source: Vaswani et al. 2017, with normalisation first (Xiong et al. 2020) and learned positions.
"""

from __future__ import annotations

from typing import Any

from clgrad import nn
from clgrad.creation import empty
from clgrad.errors import ShapeError
from clgrad.tensor import Tensor


class TransformerClassifier(nn.Module):
    """Embeds tokens, lets them attend to one another, and maps their mean to classes.

    Args:
        num_tokens: size of the vocabulary.
        num_classes: features of the result.
        d_model: features of a token.
        nhead: heads of attention.
        num_layers: of the encoder.
        dim_feedforward: features between the two maps of each layer.
        max_length: of sequences.
        dropout: probability of zeros while training.
        padding_idx: the token that fills up shorter sequences; None if there is none.
    """

    def __init__(
        self, num_tokens: int, num_classes: int, d_model: int = 128, nhead: int = 4,
        num_layers: int = 2, dim_feedforward: int = 256, max_length: int = 512,
        dropout: float = 0.1, padding_idx: int | None = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.padding_idx = padding_idx
        self.embedding = nn.Embedding(num_tokens, d_model, padding_idx)
        self.position = nn.Parameter(empty(max_length, d_model))
        nn.init.normal_(self.position, std=0.02)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            d_model, nhead, dim_feedforward, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers, nn.LayerNorm(d_model))
        self.classifier = nn.Linear(d_model, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, shape (N, num_classes), of integers (N, L).

        Raises:
            ShapeError: sequences longer than `max_length`.
        """
        length = tokens.shape[1]
        if length > self.position.shape[0]:
            raise ShapeError(
                f"TransformerClassifier: sequences of length {length}. Expected at most "
                f"{self.position.shape[0]}. Hint: make it with a larger max_length."
            )
        x: Any = self.dropout(self.embedding(tokens) + self.position[:length])
        if self.padding_idx is None:
            mean = self.encoder(x).mean(dim=1)
        else:
            padding = tokens.eq(self.padding_idx)
            x = self.encoder(x, src_key_padding_mask=padding)
            counted = tokens.ne(self.padding_idx).unsqueeze(-1).to(x.dtype)
            mean = (x * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
        logits: Tensor = self.classifier(mean)
        return logits
