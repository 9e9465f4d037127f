"""Differentiation: `backward`, `grad`, custom functions, and checks of gradients."""

import importlib
from typing import Any

from clgrad.autograd import forward_ad, function, functional, graph, profiler
from clgrad.autograd.backward import backward, grad
from clgrad.autograd.explain import explain_grad
from clgrad.autograd.function import Function, once_differentiable
from clgrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from clgrad.autograd.origins import explaining
from clgrad.autograd.saving import _make_saved_tensor as _make_saved_tensor
from clgrad.autograd.saving import (
    _unsafe_preserve_version_counter as _unsafe_preserve_version_counter,
)
from clgrad.autograd.saving import _unsafe_set_version_counter as _unsafe_set_version_counter
from clgrad.autograd.variable import Variable
from clgrad.errors import AutogradError
from clgrad.tape import anomaly as anomaly_mode
from clgrad.tape import grad_mode
from clgrad.tape.anomaly import (
    detect_anomaly,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_detect_anomaly,
)
from clgrad.tape.grad_mode import (
    _force_original_view_tracking as _force_original_view_tracking,
)
from clgrad.tape.grad_mode import (
    enable_grad,
    enforce_grad_layout_policy,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    is_multithreading_enabled,
    is_view_replay_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from clgrad.tape.saved import SavedTensor

__all__ = [
    "Function",
    "GradcheckError",
    "SavedTensor",
    "Variable",
    "anomaly_mode",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "enforce_grad_layout_policy",
    "explain_grad",
    "explaining",
    "forward_ad",
    "function",
    "functional",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_multithreading_enabled",
    "is_view_replay_enabled",
    "no_grad",
    "once_differentiable",
    "profiler",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


def _profiler_enabled() -> bool:
    """Return whether a profile is being recorded."""
    return bool(importlib.import_module("clgrad.profiler.ranges").collectors)


def kineto_available() -> bool:
    """Return whether profiles come from PyTorch's Kineto: no, from OpenCL's events."""
    return False


def variable(*args: Any, **kwargs: Any) -> None:
    """Raise `AutogradError`: it is PyTorch's former name of `tensor`."""
    raise AutogradError(
        "clgrad.autograd.variable(...) is deprecated, use clgrad.tensor(...) instead"
    )
