"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.nn import Module
from clgrad.nn.modules.batchnorm import _BatchNorm
from clgrad.nn.utils.stateless import functional_call as _call
from clgrad.tensor import Tensor


def functional_call(
    module: Module, parameter_and_buffer_dicts: Any, args: Any = None,
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """Return what a module computes with other parameters and buffers in place of its own.

    Args:
        parameter_and_buffer_dicts: tensors by dotted names, or a sequence of such dicts.
        args, kwargs, tie_weights, strict: see `nn.utils.stateless.functional_call`.
    """
    given = parameter_and_buffer_dicts
    if not isinstance(given, dict | list | tuple):
        raise ClgradValueError(
            "functional_call: Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of "
            f"dicts, but got {type(given)}."
        )
    if not isinstance(given, dict):
        merged: dict[str, Tensor] = {}
        for part in given:
            twice = merged.keys() & part.keys()
            if twice:
                raise ClgradValueError(
                    f"functional_call: {sorted(twice)} appeared in multiple dictionaries. Expected "
                    "each name once."
                )
            merged |= part
        given = merged
    return _call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the parameters and the buffers of several equal modules, stacked along dim 0."""
    if not models:
        raise ClgradRuntimeError("stack_module_state: Expected at least one model, got 0.")
    first = models[0]
    for what, same in (
        ("have the same training/eval mode", {m.training for m in models}),
        ("be of the same class", {type(m) for m in models}),
    ):
        if len(same) > 1:
            raise ClgradRuntimeError(f"stack_module_state: Expected all models to {what}.")
    params = {
        name: p._stack([dict(m.named_parameters())[name] for m in models])
        .detach()
        .requires_grad_(p.requires_grad)
        for name, p in first.named_parameters()
    }
    buffers = {
        name: b._stack([dict(m.named_buffers())[name] for m in models])
        for name, b in first.named_buffers()
    }
    return params, buffers


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Let all batch norms within a module use the statistics of each batch alone; returns it.

    Running statistics are written in place, which samples of a `vmap` cannot do together.
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
