"""`gradcheck` and `gradgradcheck`: what they take, what they find, and how they say it."""

from __future__ import annotations

from typing import Any

import pytest

import clgrad
from clgrad.autograd import GradcheckError, gradcheck, gradgradcheck
from clgrad.testing.interpreter import interpreted

FAST = pytest.mark.parametrize("fast_mode", [False, True])


@pytest.fixture(autouse=True)
def host() -> Any:
    with interpreted() as made:
        clgrad.manual_seed(0)
        yield made


def doubles(*shape: int) -> Any:
    return clgrad.rand(*shape, dtype=clgrad.float64).add(0.5).requires_grad_()


def hooked(hook: Any) -> Any:
    """Return the identity with a wrong backward."""

    def function(x: Any) -> Any:
        y = x.clone()
        y.register_hook(hook)
        return y

    return function


@FAST
def test_right_gradients_pass(fast_mode: bool) -> None:
    x, y = doubles(2, 3), doubles(3)
    options = {"check_batched_grad": True, "check_grad_dtypes": True, "fast_mode": fast_mode}
    function = lambda a, b, k: ((a * b).sin(), b.exp() * k, a.argmax())  # noqa: E731
    assert gradcheck(function, (x, y, 2.0), check_forward_ad=True, **options)
    assert gradgradcheck(
        function, (x, y, 2.0), gen_non_contig_grad_outputs=True, check_fwd_over_rev=True, **options
    )
    assert gradgradcheck(lambda a: a**3, (x,), clgrad.ones(2, 3, dtype=clgrad.float64))
    assert gradcheck(lambda a: a[:0], (x,), fast_mode=fast_mode)
    assert gradcheck(lambda a: (), (x,), fast_mode=fast_mode)
    assert gradcheck(lambda a: a.detach().mul(0), (x,), fast_mode=fast_mode)


@FAST
def test_a_wrong_gradient_is_shown(fast_mode: bool) -> None:
    function = hooked(lambda g: None if g is None else g * 1.5)
    with pytest.raises(GradcheckError) as caught:
        gradcheck(function, (doubles(2),), fast_mode=fast_mode)
    text = str(caught.value)
    assert "Jacobian mismatch for output 0 with respect to input 0: 2 of 4 elements, worst" in text
    assert "numerical 1, analytical 1.5, off by 0.5. Expected atol=1e-05, rtol=0.001." in text
    assert "numerical:\n[[1. 0.]\n [0. 1.]]" in text
    assert "analytical:\n[[1.5 0. ]\n [0.  1.5]]" in text
    assert not gradcheck(function, (doubles(2),), fast_mode=fast_mode, raise_exception=False)
    assert gradcheck(function, (doubles(2),), atol=1.0, fast_mode=fast_mode)


def _undefined(g: Any) -> Any:
    if g is None:
        raise RuntimeError("no gradient")


@FAST
def test_backward_is_linear_and_takes_what_is_missing(fast_mode: bool) -> None:
    options = {"atol": 1.0, "fast_mode": fast_mode}
    offset = hooked(lambda g: None if g is None else g + 1e-2)
    with pytest.raises(GradcheckError, match="backward not multiplied by grad_output"):
        gradcheck(offset, (doubles(2),), **options)
    missing = hooked(_undefined)
    with (
        pytest.warns(UserWarning, match="undefined gradient support"),
        pytest.raises(GradcheckError, match="Expected backward function to handle undefined"),
    ):
        gradcheck(missing, (doubles(2),), **options)
    assert gradcheck(missing, (doubles(2),), check_undefined_grad=False, **options)


@FAST
def test_what_is_cut_off_must_not_depend(fast_mode: bool) -> None:
    with pytest.raises(GradcheckError, match="Numerical gradient for function expected to be zero"):
        gradcheck(lambda x: clgrad.tensor(x.tolist()), (doubles(2),), fast_mode=fast_mode)


def test_randomness_is_told_from_a_mistake() -> None:
    noisy = hooked(lambda g: None if g is None else g * (1 + 1e-7 * clgrad.rand_like(g)))
    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(noisy, (doubles(2),))
    assert gradcheck(noisy, (doubles(2),), nondet_tol=1e-5)


@FAST
def test_inputs_that_cannot_be_checked(fast_mode: bool) -> None:
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(clgrad.exp, (clgrad.ones(2),), raise_exception=False, fast_mode=fast_mode)
    wide, single = doubles(1).expand(2, 2), clgrad.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(clgrad.exp, (wide,), raise_exception=False, fast_mode=fast_mode)
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double"):
        assert gradcheck(lambda t: t * 2, (single,), eps=1e-2, atol=1e-2, fast_mode=fast_mode)
    with pytest.raises(ValueError, match="at least one of"):
        gradcheck(clgrad.exp, (doubles(1),), check_backward_ad=False)
    with pytest.raises(ZeroDivisionError):
        gradcheck(lambda t: t * (1 / 0), (doubles(1),), raise_exception=False)


@pytest.mark.parametrize(
    ("other", "what"),
    [(lambda x: clgrad.cat([x, x]), "shape"), (lambda x: x.to(clgrad.float32), "dtype")],
)
def test_outputs_keep_their_kind(other: Any, what: str) -> None:
    x = clgrad.ones(1, dtype=clgrad.float64, requires_grad=True)
    with pytest.raises(AssertionError, match=f"same {what} when inputs are perturbed"):
        gradcheck(lambda t: other(t) if t.detach().item() >= 1 else t, (x,))


def test_inputs_are_perturbed_where_they_are() -> None:
    x, y = doubles(2), doubles(2)
    before = x.tolist()
    version = x._version
    assert gradcheck(lambda _, b: x * b, (x, y))  # what a closure refers to changes, too
    assert gradcheck(lambda a, b: a * b, (x[:1] * 2, y))
    assert (x.tolist(), x._version) == (before, version)


def test_gradients_within_the_function() -> None:
    def function(a: Any, b: Any) -> Any:
        (g,) = clgrad.autograd.grad((a**3 * b).sum(), a, create_graph=True)
        return g

    assert gradcheck(function, (doubles(2), doubles(2)))


class Drawing(clgrad.autograd.Function):
    """Twice its input, by derivatives that also draw random numbers."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def vjp(ctx: Any, grad: Any) -> Any:
        clgrad.rand_like(grad)
        return grad * 2

    @staticmethod
    def jvp(ctx: Any, tangent: Any) -> Any:
        clgrad.rand_like(tangent)
        return tangent * 2


@pytest.mark.parametrize("forward", [False, True])
def test_what_a_batch_cannot_do_is_a_mismatch(forward: bool) -> None:
    options = {"check_forward_ad": True, "check_batched_forward_grad": True}
    options = options if forward else {"check_batched_grad": True}
    x = doubles(2)
    assert gradcheck(Drawing.apply, x)
    words = "vmap: We do not yet support calling random operations inside of vmap(.|\n)*gradcheck"
    with pytest.raises(GradcheckError, match=words):
        gradcheck(Drawing.apply, x, **options)
    assert not gradcheck(Drawing.apply, x, raise_exception=False, **options)


@pytest.mark.filterwarnings("ignore:.*private API:FutureWarning")
def test_jacobians_by_their_older_names() -> None:
    from clgrad.autograd.gradcheck import (
        get_analytical_jacobian,
        get_numerical_jacobian,
        get_numerical_jacobian_wrt_specific_input,
    )

    a, b, c = doubles(2, 2), doubles(2, 2), clgrad.rand(2, dtype=clgrad.float64)

    def function(x: Any, y: Any, z: Any) -> Any:
        return (x + y.sin()) @ z

    output = function(a, b, c)
    wanted = [
        j.reshape(2, 4).t() for j in clgrad.autograd.functional.jacobian(function, (a, b, c))[:2]
    ]
    found, reentrant, sizes, types = get_analytical_jacobian((a, b, c), output)
    assert (reentrant, sizes, types) == (True, True, True)
    moved = get_numerical_jacobian(lambda inputs: function(*inputs), (a, b, c), eps=1e-6)
    (second,) = get_numerical_jacobian_wrt_specific_input(function, 1, (a, b, c), (output,), 1e-6)
    (target,) = get_numerical_jacobian(lambda _: function(a, b, c), (a,), target=b, eps=1e-6)
    for pair in (*zip(found, wanted, strict=True), *zip(moved, wanted, strict=True)):
        assert clgrad.allclose(*pair, rtol=1e-5, atol=1e-8)
    assert second.equal(moved[1]) and target.equal(moved[1])

    with pytest.raises(ValueError, match=r"Expected grad_out to be 1\.0"):
        get_numerical_jacobian(lambda inputs: function(*inputs), (a, b, c), grad_out=2.0)
    with pytest.raises(ValueError, match=r"Expected grad_out to be 1\.0"):
        get_analytical_jacobian((a, b, c), output, grad_out=2.0)
    with pytest.raises(AssertionError, match="requires_grad=True"):
        get_numerical_jacobian_wrt_specific_input(function, 2, (a, b, c), (output,), 1e-6)


@pytest.mark.filterwarnings("ignore:.*private API:FutureWarning")
def test_an_analytical_jacobian_that_is_not_the_same_twice() -> None:
    from clgrad.autograd.gradcheck import get_analytical_jacobian

    a = doubles(2)
    factors = iter(range(1, 9))
    wrong = hooked(lambda g: g * next(factors))
    assert get_analytical_jacobian(a, wrong(a))[1:] == (False, True, True)
