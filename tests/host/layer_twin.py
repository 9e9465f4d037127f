"""Make and run one layer in both libraries, and compare everything that can be seen of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from layers import SELF, Layer, array

import clgrad
from tests.device.family import one_flush


def _argument(m: Any, value: Any) -> Any:
    """Return an argument of a constructor; ("array", …) is a tensor."""
    if isinstance(value, tuple) and value[:1] == ("array",):
        return m.tensor(array(value[1], None)[0].astype(np.float32))
    return value


def make(m: Any, layer: Layer) -> Any:
    """Return the module of a library."""
    args = [_argument(m, a) for a in layer.args]
    kwargs = {key: _argument(m, value) for key, value in layer.kwargs.items()}
    return getattr(m.nn, layer.name)(*args, **kwargs).train(layer.training)


def as_numpy(state: Any) -> dict[str, Any]:
    """Return a state dictionary with arrays."""
    return {key: value.detach().numpy().copy() for key, value in state.items()}


def run(m: Any, module: Any, layer: Layer) -> dict[str, Any]:
    """Return results, gradients, and the state after a call, all as arrays."""
    rng = np.random.default_rng(7)
    given: list[Any] = []
    for one in layer.inputs:
        if one == SELF:
            given.append(given[0])
            continue
        value, grad = array(one, rng)
        tensor = m.tensor(value)
        given.append(tensor.requires_grad_() if grad else tensor)
    call = {
        key: m.tensor(array(v, rng)[0]) if isinstance(v, tuple) and isinstance(v[0], str) else v
        for key, v in layer.call.items()
    }
    found: dict[str, Any] = {}
    with one_flush():
        _both_ways(m, module, given, call, found, rng)
    found = {key: value.detach().numpy() for key, value in found.items()}
    return found | as_numpy(module.state_dict())


def _both_ways(
    m: Any, module: Any, given: list[Any], call: dict[str, Any], found: dict[str, Any], rng: Any
) -> None:
    results, factors = [], []
    for k, result in enumerate(_flat(module(*given, **call))):
        found[f"result {k}"] = result.detach()
        if result.requires_grad:
            results.append(result)
            factors.append(m.tensor(rng.standard_normal(tuple(result.shape)).astype(np.float32)))
    if results:
        m.autograd.backward(results, factors)
    for k, tensor in enumerate(given):
        if tensor.grad is not None:
            found[f"grad of input {k}"] = tensor.grad
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            found[f"grad of {name}"] = parameter.grad


def _flat(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [one for part in result for one in _flat(part)]
    return [] if result is None else [result]


def plain_repr(module: Any) -> str:
    """Return the repr without the library's name."""
    return repr(module).replace("torch.", "").replace("clgrad.", "")


def twins(layer: Layer) -> tuple[Any, Any]:
    """Return clgrad's and PyTorch's module with the same state; checks the names on the way."""
    import torch

    torch.manual_seed(5)
    theirs, ours = make(torch, layer), make(clgrad, layer)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    back = make(torch, layer)
    state = {key: torch.from_numpy(np.array(v)) for key, v in as_numpy(ours.state_dict()).items()}
    assert repr(back.load_state_dict(state)) == "<All keys matched successfully>"
    result = ours.load_state_dict(as_numpy(theirs.state_dict()))
    assert repr(result) == "<All keys matched successfully>"
    return ours, theirs


def compare(layer: Layer) -> None:
    """Assert that a layer does what PyTorch's does."""
    import torch

    ours, theirs = twins(layer)
    assert plain_repr(ours) == plain_repr(theirs)
    want = run(torch, theirs, layer)
    have = run(clgrad, ours, layer)
    assert have.keys() == want.keys()
    for key, value in want.items():
        np.testing.assert_allclose(have[key], value, rtol=2e-4, atol=2e-5, err_msg=key)
