"""Transforms of functions and forward-mode derivatives, compared with PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch.autograd.forward_ad  # what PyTorch does not import by itself
import torch.func  # noqa: F401
from twin import same

import clgrad
import clgrad.func

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own


def inputs(m: Any) -> tuple[Any, Any]:
    return m.tensor([0.5, -1.0, 2.0]), m.tensor([[1.5, 0.25, -2.0], [0.1, 0.2, 0.3]])


def vector(x: Any, w: Any) -> Any:
    return (w * x).tanh().sum(1) * x.sum()


def scalar(x: Any, w: Any) -> Any:
    return (w.exp() * x * x * x).sum()


def nested(p: Any, x: Any) -> Any:
    return {"a": (p["w"] * x).sum() * p["b"], "rest": [p["b"] * p["b"], x * x]}


@pytest.mark.parametrize("argnums", [0, 1, (0, 1), -1])
def test_grad(argnums: Any) -> None:
    same(lambda m: m.func.grad(scalar, argnums)(*inputs(m)))
    same(lambda m: m.func.grad_and_value(scalar, argnums)(*inputs(m)))


def test_aux() -> None:
    def with_aux(x: Any, w: Any) -> Any:
        return scalar(x, w), x * 2

    same(lambda m: m.func.grad(with_aux, (0, 1), has_aux=True)(*inputs(m)))
    same(lambda m: m.func.jacrev(lambda x, w: (vector(x, w), w), has_aux=True)(*inputs(m)))


def test_value_and_grad() -> None:
    x, w = inputs(clgrad)
    value, found = clgrad.func.value_and_grad(scalar)(x, w)
    again, same_value = clgrad.func.grad_and_value(scalar)(x, w)
    assert value.item() == same_value.item()
    assert found.tolist() == again.tolist()


def test_transforms_nest() -> None:
    def cube(m: Any) -> Any:
        return m.func.grad(m.func.grad(m.func.grad(lambda x: (x * x * x * x).sum())))

    same(lambda m: cube(m)(m.tensor(1.5)))
    same(lambda m: m.func.grad(lambda x: m.func.grad(lambda y: (x * y * y).sum())(x).sum())(
        inputs(m)[0]))  # fmt: skip
    same(lambda m: m.func.jacrev(m.func.jacrev(vector))(*inputs(m)))
    same(lambda m: m.func.jacfwd(m.func.grad(scalar))(*inputs(m)))


def test_results_have_no_history_but_that_of_closures() -> None:
    def case(m: Any) -> Any:
        x, w = inputs(m)
        plain = m.func.grad(scalar)(x, w)
        w.requires_grad_()
        kept = m.func.grad(scalar)(x, w)
        kept.sum().backward()
        return plain.requires_grad, kept.requires_grad, w.grad

    same(case)


def test_vjp_and_jvp() -> None:
    def pull(m: Any) -> Any:
        output, back = m.func.vjp(vector, *inputs(m))
        return output, back(m.tensor([1.0, -2.0]))

    def push(m: Any) -> Any:
        x, w = inputs(m)
        return m.func.jvp(vector, (x, w), (m.ones(3), w * 0.5))

    same(pull)
    same(push)
    same(lambda m: m.func.jvp(lambda x: m.ones(2), (inputs(m)[0],), (m.ones(3),)))
    x, w = inputs(clgrad)
    output, along = clgrad.func.linearize(vector, x, w)
    for direction in (clgrad.ones(2, 3), w * 3):
        want = clgrad.func.jvp(vector, (x, w), (x, direction))
        assert (output.tolist(), along(x, direction).tolist()) == tuple(t.tolist() for t in want)


def test_nested_structures() -> None:
    def case(m: Any) -> Any:
        p = {"w": m.tensor([1.0, 2.0, 3.0]), "b": m.tensor(0.5)}
        x = m.tensor([0.1, 0.2, 0.3])
        output, back = m.func.vjp(nested, p, x)
        return (
            output, back(output), m.func.jacrev(nested)(p, x), m.func.jacfwd(nested, (0, 1))(p, x)
        )  # fmt: skip

    same(case)


@pytest.mark.parametrize("argnums", [0, (0, 1)])
def test_jacobians_and_hessian(argnums: Any) -> None:
    same(lambda m: m.func.jacrev(vector, argnums)(*inputs(m)))
    same(lambda m: m.func.jacfwd(vector, argnums)(*inputs(m)))
    same(lambda m: m.func.hessian(scalar, argnums)(*inputs(m)))


def test_vmap() -> None:
    def case(m: Any) -> Any:
        x, w = inputs(m)
        return (
            m.func.vmap(lambda a: (a * a).sum())(w),
            m.func.vmap(vector, in_dims=(None, 0))(x, m.ones(4, 2, 3) * w),
            m.func.vmap(lambda a, b: a * b, in_dims=(1, None), out_dims=1)(w, m.ones(2)),
            m.func.vmap(m.func.grad(lambda a: (a * a * a).sum()))(w),
            m.func.vmap(lambda d: d["a"] * 2, in_dims=({"a": 0},))({"a": w}),
        )

    same(case)


def test_functional_call() -> None:
    def case(m: Any) -> Any:
        layer = m.nn.Linear(3, 2)
        x, w = inputs(m)
        values = {"weight": w, "bias": m.ones(2)}
        return (
            m.func.functional_call(layer, values, (x,)),
            m.func.grad(lambda p: m.func.functional_call(layer, p, (x,)).sum())(values),
            m.func.functional_call(layer, ({"weight": w}, {"bias": m.zeros(2)}), (x,)),
        )

    same(case)


def test_wrong_use() -> None:
    same(lambda m: m.func.grad(vector)(*inputs(m)), "to return a scalar ")
    same(lambda m: m.func.grad(scalar, 5)(*inputs(m)), "Got argnum=5, but only 2 positional")
    same(lambda m: m.func.grad(lambda x, w: 1.0)(*inputs(m)), "return a Tensor")
    same(lambda m: m.func.vmap(lambda a, b: a)(m.ones(2), m.ones(3)), "mapped dimension")
    with pytest.raises(clgrad.ShapeError, match=r"tangent has shape \[2\]"):
        clgrad.func.jvp(lambda x: x, (clgrad.ones(3),), (clgrad.ones(2),))
    with pytest.raises(clgrad.AutogradError, match="dtype int64"):
        clgrad.func.grad(lambda x: x.sum())(clgrad.arange(3))


# ---- forward mode --------------------------------------------------------------------------------


def test_dual_tensors() -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        x, w = inputs(m)
        with fwd.dual_level():
            dual = fwd.make_dual(x, m.ones(3))
            made = vector(dual, w)
            primal, tangent = fwd.unpack_dual(made)
            back = fwd.unpack_dual(dual)
            none = fwd.unpack_dual(w).tangent
        return primal, tangent, back.primal, back.tangent, none, fwd.unpack_dual(made).tangent

    same(case)


def test_forward_over_reverse_and_reverse_over_forward() -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        x, w = inputs(m)
        x.requires_grad_()
        with fwd.dual_level():
            dual = fwd.make_dual(x, m.tensor([1.0, 0.5, -1.0]))
            primal, tangent = fwd.unpack_dual(scalar(dual, w))
            tangent.backward()
            (g,) = m.autograd.grad(scalar(dual, w), [dual], create_graph=True)
        return primal, tangent, x.grad, g

    same(case)


def test_wrong_use_of_dual_tensors() -> None:
    same(lambda m: m.autograd.forward_ad.make_dual(m.ones(2), m.ones(2)), "no level exists")

    def shapes(m: Any) -> Any:
        with m.autograd.forward_ad.dual_level():
            m.autograd.forward_ad.make_dual(m.ones(2), m.ones(3))

    def nesting(m: Any) -> Any:
        with m.autograd.forward_ad.dual_level(), m.autograd.forward_ad.dual_level():
            pass

    same(shapes, "forward gradient that has a different size")
    same(nesting, "Nested forward mode AD is not supported")


MISTAKES = [
    (lambda f, x: f.grad(lambda a: a.sum(), argnums=())(x), "argnums must be non-empty"),
    (lambda f, x: f.jacrev(lambda a: a, argnums=(0, 0))(x), "argnums elements must be unique"),
    (lambda f, x: f.grad(lambda a: a.sum(), has_aux=True)(x), "should be a tuple: (output, aux)"),
    (lambda f, x: f.grad(lambda a: (a.sum(), 3), has_aux=True)(x), "got unsupported type"),
    (lambda f, x: f.vjp(lambda a: (a, 3), x), "got unsupported type"),
    (lambda f, x: f.vjp(lambda a: a, x)[1]((x, x)), "structure"),
    (lambda f, x: f.jvp(lambda a: a, x, x), "Expected primals to be a tuple"),
    (lambda f, x: f.jvp(lambda a: a, (), ()), "contain at least one Tensor"),
    (lambda f, x: f.jvp(lambda a: a, (x,), (x, x)), "have the same python structure"),
    (lambda f, x: f.jvp(lambda a: x, (x,), (x,), strict=True), "independent of the inputs"),
    (lambda f, x: f.jacrev(lambda a: a, chunk_size=0)(x), "should be greater than 0"),
    (lambda f, x: f.vmap(lambda a: a, in_dims=1)(x), "input is a Tensor of dimensionality 1"),
    (lambda f, x: f.vmap(lambda a: a)(x.sum()), "input is a Tensor of dimensionality 0"),
    (lambda f, x: f.vmap(lambda a, b: a, in_dims=(0, 0))(x, 3), "vmap over non-Tensor arguments"),
    (lambda f, x: f.vmap(lambda a: a, in_dims=[0])(x), "expected `in_dims` to be int or a"),
    (lambda f, x: f.vmap(lambda a: 2.0)(x), "must only return Tensors, got type"),
    (lambda f, x: f.vmap(lambda a: a, out_dims=(0, 0))(x), "out_dims is not compatible with"),
    (lambda f, x: f.vmap(lambda a: a, out_dims="x")(x), "must be an int, None or a python"),
    (lambda f, x: f.vmap(lambda a: a, randomness="none")(x), "Only allowed values for random"),
    (lambda f, x: f.vmap(lambda a: a.clone().normal_())(x), "andom"),
    (lambda f, x: f.vmap(lambda a: a, chunk_size=0)(x), "greater than 0"),
    (lambda f, x: f.vmap(lambda a: a.as_strided((2,), (1,), 0))(x), "access memory outside of `t"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "words"), MISTAKES)
def test_mistakes(case: Any, words: str) -> None:
    same(lambda m: case(m.func, m.tensor([0.5, -1.0, 2.0])), words)


def test_results_that_are_one_tensor() -> None:
    def case(m: Any) -> Any:
        x = m.ones(3, 4)

        def twice(a: Any) -> Any:
            b = a * 2
            return a, b, b, b.t() if b.ndim > 1 else b[1:]

        a, b, c, d = m.func.vmap(twice)(x)
        return a is x, b is c, b._is_view(), d.stride(), m.func.vmap(lambda a: a, 1)(x) is x

    same(case)


def test_random_numbers_of_samples() -> None:
    def case(m: Any) -> Any:
        def drawn(how: str) -> int:
            made = m.func.vmap(lambda a: m.rand(()), randomness=how)(m.ones(4))
            return len(set(made.tolist()))

        return drawn("same"), drawn("different"), m.func.vmap(lambda a: a * 2)(m.ones(0, 2))

    same(case)


def test_mistakes_with_modules() -> None:
    def stacked(m: Any, other: Any) -> Any:
        return m.func.stack_module_state([m.nn.Linear(3, 1), other(m.nn)])

    same(lambda m: stacked(m, lambda nn: nn.Linear(3, 1).eval()), "same training/eval mode")
    same(lambda m: stacked(m, lambda nn: nn.Identity()), "be of the same class")
    given = {"weight": None}
    same(lambda m: m.func.functional_call(m.nn.Identity(), [given] * 2, ()), "multiple dict")
    same(lambda m: m.func.functional_call(m.nn.Identity(), 5, ()), "to be a dict, or a list/tuple")


def test_names_that_programs_for_torch_import() -> None:
    def write(m: Any) -> Any:
        def function(x: Any) -> Any:
            y = x + 1
            y.view(-1).mul_(2)
            x.add_(1)
            return y

        x = inputs(m)[1]
        made = [m.func.functionalize(function, remove=r)(x) for r in ("mutations_and_views",)]
        return [*made, m.func.functionalize(m.func.grad(lambda t: (t * t).sum()))(x), x]

    same(write)
    same(lambda m: m.func.functionalize(abs, remove="nothing"), "received invalid argument")

    def unwrapped(m: Any) -> Any:
        seen: list[Any] = []

        def inner(x: Any) -> Any:
            seen.append([m.func.debug_unwrap(x), m.func.debug_unwrap(x, recurse=False).shape])
            return x * 2

        x = inputs(m)[1]
        m.func.vmap(m.func.vmap(inner))(x)
        return [seen[0][0], list(seen[0][1]), m.func.debug_unwrap(x) is x]

    same(unwrapped)

    def normed(m: Any) -> Any:
        net = m.nn.Sequential(
            m.nn.BatchNorm1d(3), m.nn.Sequential(m.nn.BatchNorm1d(3, affine=False))
        )
        again = m.func.replace_all_batch_norm_modules_(net)
        x = inputs(m)[1]
        state = [list(net.state_dict()), again is net, net[0].track_running_stats]
        batched = m.func.vmap(lambda t: net.eval()(t))(m.stack([x, x * x]))
        return [net(x), batched, *state]

    same(normed)


def test_jacobians_of_jacobians() -> None:
    def vectors(m: Any) -> Any:
        x, w = inputs(m)
        f = lambda t: (w @ t.sin()).tanh() * t.prod()  # noqa: E731
        rev, fwd = m.func.jacrev, m.func.jacfwd
        made = [outer(inner(f))(x) for outer in (rev, fwd) for inner in (rev, fwd)]
        made += [
            fwd(fwd(rev(f)))(x),
            fwd(rev(fwd(f)))(x),
            rev(fwd(fwd(f)))(x),
            m.func.hessian(f)(x),
        ]
        return [*made, m.func.vmap(m.func.hessian(f))(w), fwd(m.func.vmap(fwd(f)))(w)]

    def mapped(m: Any) -> Any:
        x, w = inputs(m)
        f = lambda t: m.func.vmap(lambda u: (u * t.sin()).cumsum(0), out_dims=1)(w)  # noqa: E731
        g = lambda t: m.func.vmap(lambda u: u * (w @ t).sum() ** 2)(x)  # noqa: E731
        empty = m.func.jacfwd(m.func.jacrev(lambda t: t[:0] * t.sum()))(x).shape
        return [m.func.jacfwd(f)(x), m.func.jacfwd(g)(x), m.func.hessian(g)(x), list(empty)]

    same(vectors)
    same(mapped)


def test_a_strategy_that_there_is_not() -> None:
    for name, option in (("jacobian", "strategy"), ("hessian", "outer_jacobian_strategy")):
        function = getattr(clgrad.autograd.functional, name)
        with pytest.raises(AssertionError, match="Expected strategy to be either"):
            function(lambda t: t.sum(), None, **{option: "sideways"})
