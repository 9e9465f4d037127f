"""Channels of groups, one after the other in turn."""

from __future__ import annotations

from clgrad.nn import functional
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import described
from clgrad.tensor import Tensor


class ChannelShuffle(Module):
    """Reorders channels so that each group takes turns. Source: Zhang et al. 2018."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, shape (N, C, *), with its channels reordered."""
        return functional.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """Return the number of groups."""
        return described(self, "groups")
