"""What nodes and tensors show of the graph by PyTorch's names, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from twin import Case, cases, close, plain, same

import clgrad
from clgrad.testing.interpreter import interpreted

FLOATS = {
    "a": (3, 4), "b": (3, 4), "s": (3, 3), "u": (3,), "v": (4,), "c": (2, 3, 3),
}  # fmt: skip
ATTRIBUTES = {
    "a + b": "alpha", "a - b": "alpha", "a * 2": "other self", "2 / a": "other",
    "a * b": "self other",
    "a ** 2": "self exponent", "a.clamp(min=0)": "min max", "a.sum(1)": "dim self_sym_sizes",
    "a.mean()": "self_sym_numel self_sym_sizes", "a.mean(1, keepdim=True)": "dim keepdim",
    "a.var(1)": "dim correction", "a.amax()": "dim", "a.amax(1)": "dim result", "a.prod(1)": "dim",
    "a.logsumexp(1)": "dim", "a.max(1)[0]": "indices dim", "a.sort(1)[0]": "indices dim",
    "a.topk(2, 1)[0]": "indices dim", "a[:, i]": "indices self_sym_sizes", "a[i]": "indices",
    "a.gather(1, g)": "index dim sparse_grad", "a.index_select(0, i)": "index dim self_sym_sizes",
    "a.scatter(1, g, b[:, :2])": "index dim", "a.index_add(0, i, b[:2])": "index dim",
    "a.index_put((i,), b[:2])": "indices accumulate", "a.narrow(0, 1, 1)": "dim start end step",
    "a.split(2)[0]": "dim self_sym_sizes", "a.unbind()[0]": "dim", "m.stack([a, b], 1)": "dim",
    "a.as_strided((3,), (1,), 1)": "storage_offset size",
    "a.as_strided((3,), (1,))": "storage_offset",
    "a.mv(v)": "self vec", "v.dot(v)": "self tensor", "a.mm(b.t())": "self mat2 mat2_sym_strides",
    "m.addmm(s, a, b.t())": "mat1 mat1_sym_sizes mat2 alpha beta", "m.addr(a, u, v)": "vec1 vec2",
    "m.addbmm(s, c, c)": "batch1 batch2 batch1_sym_argsize_0 batch2_sym_argsize_2",
    "m.cdist(a, b)": "x1 x2 p", "f.pdist(a, 1)": "self p result", "m.logit(a)": "eps",
    "m.logit(a.sigmoid(), 0.1)": "eps", "m.div(a, 2.0, rounding_mode='trunc')": "rounding_mode",
    "f.nll_loss(a, t)": "weight reduction target", "f.nll_loss(a, t, k)": "weight",
    "f.mse_loss(a, b, reduction='sum')": "reduction", "f.threshold(a, 1, 1)": "threshold",
    "f.embedding(i, a)": "indices weight_sym_argsize_0",
    "f.layer_norm(a, (4,))": "weight bias", "f.gelu(a)": "approximate", "a.exp()": "result",
}  # fmt: skip


def names_of(m: Any) -> dict[str, Any]:
    """Return the names that the expressions above use, of one library."""
    rng = np.random.default_rng(3)
    made: dict[str, Any] = {
        name: m.tensor(rng.random(shape, np.float32) - 0.3, requires_grad=True)
        for name, shape in FLOATS.items()
    }
    integers = {"i": [0, 2], "g": [[0, 1], [1, 2], [3, 0]], "t": [0, 3, 1]}
    made |= {name: m.tensor(values) for name, values in integers.items()}
    return made | {"m": m, "f": m.nn.functional, "k": m.tensor([1.0, 2.0, 0.5, 1.0])}


@pytest.mark.parametrize("text", ATTRIBUTES)
def test_saved_attributes(text: str) -> None:
    def shown(m: Any) -> list[Any]:
        node = eval(text, names_of(m)).grad_fn
        values = [getattr(node, f"_saved_{name}") for name in ATTRIBUTES[text].split()]
        return [
            node.name(), [type(other).__name__ for other, _ in node.next_functions], plain(values),
            [type(v).__name__ for v in values if isinstance(v, bool | str)],
        ]  # fmt: skip

    theirs = shown(torch)
    with interpreted():
        assert close(shown(clgrad), theirs)


CASES, case = cases()


@case()
def names_with_a_namespace(m: Any) -> Any:
    leaf = m.ones(2, requires_grad=True)
    copied, written = leaf.clone(), leaf.clone()
    copied.copy_(leaf * 2)
    written[:1] = 3.0
    nodes = [copied.grad_fn, written.grad_fn, leaf.clone().grad_fn.next_functions[0][0]]
    return [
        [[n.name(), type(n).__name__, repr(n).split()[0]] for n in nodes], repr(copied),
        repr(written),
    ]  # fmt: skip


@case()
def nodes_are_instances_of_node_which_is_no_base_of_theirs(m: Any) -> Any:
    Node = m.autograd.graph.Node

    class Twice(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            seen.append(isinstance(ctx, Node))
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    seen: list[bool] = []
    y = Twice.apply(m.ones(2, requires_grad=True).exp())
    nodes = [y.grad_fn, y.grad_fn.next_functions[0][0], y.sum().grad_fn]
    return [
        seen, [isinstance(n, Node) and issubclass(type(n), Node) for n in nodes],
        [Node in type(n).mro() for n in nodes],
        [isinstance(other, Node) for other in (None, 1, Node)], issubclass(Node, Node),
        issubclass(m.autograd.function.BackwardCFunction, Node),
    ]  # fmt: skip


@case()
def a_multi_grad_hook_waits_for_what_the_pass_comes_to(m: Any) -> Any:
    seen: list[Any] = []
    leaves = [m.tensor([k + 1.0], requires_grad=True) for k in range(3)]
    parts = [leaf * 2 for leaf in leaves]
    m.autograd.graph.register_multi_grad_hook(parts, lambda grads: seen.append(list(grads)))
    (parts[0] * parts[1]).sum().backward(inputs=[leaves[0], parts[1]], retain_graph=True)
    return seen


@case()
def ops_without_a_derivative_still_require_grad(m: Any) -> Any:
    x = m.tensor([2.0, 1.0, 2.0], requires_grad=True)
    made = [
        m.unique(x), *m.unique(x, return_inverse=True, return_counts=True), m.unique(x, dim=0),
        m.unique_consecutive(x), m.unique_consecutive(x, dim=0), m.heaviside(x, x),
        m.bincount(m.tensor([0, 1, 1]), x), m.unique(x.detach()),
    ]  # fmt: skip
    return [[y.detach(), y.requires_grad, y.grad_fn is not None] for y in made]


@case("is not implemented")
def the_gradient_of_unique(m: Any) -> Any:
    m.unique(m.ones(2, requires_grad=True)).sum().backward()


@case()
def versions_may_be_set(m: Any) -> Any:
    x = m.ones(2)
    x.add_(1)
    setter = (m._C._autograd if m is torch else m.autograd)._unsafe_set_version_counter
    setter((x,), (7,))
    return x._version


@case("requires_grad must be a bool")
def requires_grad_of_a_number(m: Any) -> Any:
    m.ones(2).requires_grad = 1


@case("must be bool")
def requires_grad_by_a_word(m: Any) -> Any:
    m.ones(2).requires_grad_("yes")


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)


@pytest.mark.parametrize("name", ["data", "requires_grad", "_grad_fn", "_backward_hooks"])
def test_what_cannot_be_deleted(name: str) -> None:
    with interpreted():
        x = clgrad.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError, match="cannot be deleted"):
            delattr(x, name)
        del x.grad
        assert x.grad is None and x.requires_grad


def test_hooks_of_a_tensor_can_be_looked_at() -> None:
    with interpreted():
        x = clgrad.ones(2, requires_grad=True)
        assert x._backward_hooks is None
        hook = x.register_hook(lambda g: None)
        assert len(x._backward_hooks) == 1
        hook.remove()
        assert not x._backward_hooks
        x._backward_hooks = {1: lambda g: g * 3}
        x.sum().backward()
        assert x.grad.tolist() == [3.0, 3.0]
        with pytest.warns(UserWarning, match="volatile was removed"):
            assert x.volatile is False
