"""Automatic mixed precision, under the names of `torch.amp`."""

from __future__ import annotations

from clgrad.amp.custom import custom_bwd, custom_fwd
from clgrad.amp.grad_scaler import GradScaler
from clgrad.autocasting import autocast, is_autocast_available

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
