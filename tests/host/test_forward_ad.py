"""Forward-mode derivatives: tangents of ops, views, in-place writes and custom functions."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch.autograd.forward_ad  # what PyTorch does not import by itself
from twin import same

import clgrad
from clgrad.autograd import Function, gradcheck
from clgrad.autograd.forward_ad import dual_level, make_dual, unpack_dual
from clgrad.testing.interpreter import interpreted

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own

RNG = np.random.default_rng(3)
POINT = RNG.uniform(0.3, 1.2, (3, 4))
OTHER = RNG.uniform(0.3, 1.2, (3, 4))
ALONG, ASIDE = RNG.standard_normal((2, 3, 4))


def part_written(m: Any, x: Any, w: Any) -> Any:
    h = x * w
    h[0].mul_(w[1])
    h.t()[1:].copy_(x.t()[:3])
    h[:, 3] = 2.0
    return h


def written_over(m: Any, x: Any, w: Any) -> Any:
    h = w.clone()
    h.mul_(x)
    g = h.exp()
    h.sin_()
    return g * h


def without_grad(m: Any, x: Any, w: Any) -> Any:
    with m.no_grad():
        h = x.sin() * w
    return h * x


def shown_otherwise(m: Any, x: Any, w: Any) -> Any:
    h = (x * w).t()
    return h.reshape(-1).view(2, 6) * h.contiguous().view(2, 6), h.unsqueeze(0).squeeze_(0).t_()


PROGRAMS: dict[str, Any] = {
    "formulas": lambda m, x, w: (x * w).tanh() / (w.exp() + x) ** 2 - x.where(x > w, w),
    "of_constants": lambda m, x, w: x.floor() * 2 + w.sign() * x,
    "broadcast": lambda m, x, w: x + w[0] * x[:, :1],
    "reductions": lambda m, x, w: (x * w).sum(0) + x.mean() + w.amax(0) + (x * w).var(0),
    "rows": lambda m, x, w: x.softmax(1) * w.log_softmax(0) + x.logsumexp(1, keepdim=True),
    "scans": lambda m, x, w: x.cumsum(0) * w.cumprod(1),
    "joined": lambda m, x, w: m.cat([x, m.stack([w[0], x[1]])], 0) * 2,
    "picked": lambda m, x, w: (x[[0, 2, 0]], w[w > 0.5], x.flip(0) * w.roll(1, 0)),
    "several": lambda m, x, w: [p * q for p, q in zip(x.unbind(1), w.split(1, 1), strict=True)],
    "cast": lambda m, x, w: x.to(m.float32).to(m.float64) * w,
    "detached": lambda m, x, w: x * x.detach() + w.clone().detach_() * x,
    "part_written": part_written,
    "written_over": written_over,
    "by_itself": lambda m, x, w: [x.clone().mul_(x), w.clone().add_(w), x.clone().fill_(3.0)],
    "without_grad": without_grad,
    "shown_otherwise": shown_otherwise,
    "compared": lambda m, x, w: [x.clone().gt_(w), (x > w).to(m.float64) * x],
}


def flat(made: Any) -> list[Any]:
    return list(made) if isinstance(made, tuple | list) else [made]


def squared(parts: Any) -> Any:
    return sum((p * p).sum() for p in parts)


def filled(found: Any, like: Any) -> Any:
    """Return zeros for nothing: which of them it is depends on what PyTorch has optimised."""
    zeros = like.detach() * 0
    return zeros if found is None else zeros + found.detach()


def tensors(m: Any, *requires: bool) -> list[Any]:
    arrays = (POINT, OTHER, ALONG, ASIDE)
    return [
        m.tensor(a, dtype=m.float64).requires_grad_(r)
        for a, r in zip(arrays, (*requires, False, False, False, False), strict=False)
    ]


@pytest.mark.parametrize("name", PROGRAMS)
def test_tangents(name: str) -> None:
    def case(m: Any, both: bool) -> Any:
        fwd = m.autograd.forward_ad
        x, w, tx, tw = tensors(m)
        with fwd.dual_level():
            made = PROGRAMS[name](m, fwd.make_dual(x, tx), fwd.make_dual(w, tw) if both else w)
            found = [fwd.unpack_dual(p).tangent for p in flat(made)]
            return [m.zeros(()) if t is None else t + 0 for t in found]

    same(lambda m: case(m, both=True))
    same(lambda m: case(m, both=False))


SOFTMAX = {"rows"}  # PyTorch's overwrites in forward mode what it has saved


@pytest.mark.parametrize("name", sorted(PROGRAMS.keys() - SOFTMAX - {"written_over"}))
def test_gradients_of_tangents(name: str) -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        sources = tensors(m, True, True, True, True)
        with fwd.dual_level():
            duals = [fwd.make_dual(a, b) for a, b in zip(sources[:2], sources[2:], strict=True)]
            found = [fwd.unpack_dual(p).tangent for p in flat(PROGRAMS[name](m, *duals))]
            total = squared([t for t in found if t is not None and t.requires_grad])
            grads = m.autograd.grad(total, sources, allow_unused=True)
        return [filled(g, x) for g, x in zip(grads, sources, strict=True)]

    same(case)


@pytest.mark.parametrize("name", sorted(PROGRAMS.keys() - SOFTMAX))
def test_tangents_of_gradients(name: str) -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        x, w, tx, tw = tensors(m, True, True)
        with fwd.dual_level():
            duals = [fwd.make_dual(x, tx), fwd.make_dual(w, tw)]
            total = squared(p for p in flat(PROGRAMS[name](m, *duals)) if p.requires_grad)
            grads = m.autograd.grad(total, duals, allow_unused=True)
            found = [None if g is None else fwd.unpack_dual(g).tangent for g in grads]
            return [filled(t, x) for t, x in zip(found, duals, strict=True)]

    same(case)


# ---- dual tensors --------------------------------------------------------------------------------


def test_a_dual_is_a_view_with_a_tangent() -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        x, t = m.ones(3), m.tensor([1.0, 2.0, 3.0])
        with fwd.dual_level() as level:
            dual = fwd.make_dual(x, t)
            first, second = fwd.unpack_dual(dual), fwd.unpack_dual(dual)
            facts = [level, dual.requires_grad, dual._is_view(), first.tangent is t]
            facts += [first.primal is second.primal, second.tangent is t]
            x.add_(1)
            facts += [dual._version, first.primal._version, fwd.unpack_dual(x).tangent]
            dual *= 3
            facts += [first.tangent is t, t._version, fwd.unpack_dual(first.primal).tangent]
            before = t + 0
            first.primal.mul_(2)
            t.mul_(2)
            facts += ["tangent=" in str(dual), "tangent=" in str(first.primal)]
            after = [dual + 0, before, fwd.unpack_dual(dual).tangent + 0]
        return facts, after, fwd.unpack_dual(dual).tangent

    same(case)


def test_writes_through_views_reach_the_tangent_of_the_base() -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        x, t = m.tensor([1.0, 2.0, 3.0]), m.tensor([0.5, 1.0, -1.0])
        made = []
        with fwd.dual_level():
            dual = fwd.make_dual(x, t)
            dual[:2].mul_(10)
            made += [fwd.unpack_dual(dual).tangent + 0, fwd.unpack_dual(x).tangent]
            plain = m.zeros(2, 3)
            early = plain[1]
            plain.t()[:, 0].copy_(dual)
            made += [fwd.unpack_dual(plain).tangent + 0, fwd.unpack_dual(early).tangent + 0]
            early += dual
            made += [fwd.unpack_dual(plain).tangent + 0]
            view = plain.detach()
            view.mul_(dual)
            made += [fwd.unpack_dual(plain).tangent + 0, fwd.unpack_dual(view).tangent + 0]
            target = m.zeros(3)
            target.copy_(dual)
            made += [fwd.unpack_dual(target).tangent is t]
            made += [fwd.unpack_dual(dual.clone()).tangent is t]
        return made

    same(case)


def test_tangents_lie_in_memory_as_their_tensors() -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        narrow, t = m.arange(5.0)[:4], m.tensor([1.0, 2.0, 3.0, 4.0])
        with fwd.dual_level():
            dual = fwd.make_dual(narrow.detach(), t)
            found = fwd.unpack_dual(dual).tangent
            found *= 2
            whole = dual.as_strided((5,), (1,), 0)
            turned = fwd.make_dual(m.zeros(2, 3).t(), m.ones(3, 2))
            strides = fwd.unpack_dual(turned).tangent.stride()
            empty = m.ones(0, 1)
            kept = fwd.unpack_dual(fwd.make_dual(empty.as_strided((0, 1), (1, 0), 0), empty))
        return t, whole.shape[0], list(strides), kept.tangent is empty

    same(case)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("already has a forward gradient at the", lambda f, a, b: f.make_dual(a, b)),
        ("has a forward gradient at the same level", lambda f, a, b: f.make_dual(b, a)),
        ("primal to be floating point", lambda f, a, b: f.make_dual(b.long(), b)),
        ("tangent to be floating point", lambda f, a, b: f.make_dual(b, b.long())),
        ("out= function", lambda f, a, b: _out(a, b)),
        ("no level exists", lambda f, a, b: f.make_dual(b, b, level=-1)),
        ("exit a forward AD level that was not", lambda f, a, b: f.exit_dual_level(level=3)),
    ],
)  # fmt: skip
def test_wrong_use(words: str, wrong: Any) -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        with fwd.dual_level():
            return wrong(fwd, fwd.make_dual(m.ones(2), m.ones(2)), m.ones(2))

    same(case, words)


def _out(a: Any, b: Any) -> Any:
    library = clgrad if isinstance(a, clgrad.Tensor) else torch
    return library.add(a, b, out=library.ones(2))


def test_switching_tangents_off() -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        x = m.ones(2)
        with fwd.dual_level():
            dual = fwd.make_dual(x, x)
            with fwd._set_fwd_grad_enabled(False):
                inside = fwd._is_fwd_grad_enabled(), fwd.unpack_dual(dual * 2).tangent
            with m.inference_mode():
                inferred = fwd._is_fwd_grad_enabled()
            return inside, inferred, fwd._is_fwd_grad_enabled(), fwd.unpack_dual(dual * 2).tangent

    same(case)


def test_a_level_holds_nothing() -> None:
    with interpreted(), dual_level():
        tangent = clgrad.rand(2, requires_grad=True)
        dual = make_dual(clgrad.rand(2), tangent)
        made = dual.exp() * tangent
        refs = [weakref.ref(t) for t in (tangent, dual, made)]
        del tangent, dual, made
        gc.collect()
        assert [r() for r in refs] == [None, None, None]


# ---- custom functions ----------------------------------------------------------------------------


def test_jvp_of_a_custom_function() -> None:
    def case(m: Any) -> Any:
        fwd = m.autograd.forward_ad
        seen = []

        class Product(m.autograd.Function):
            @staticmethod
            def forward(ctx: Any, k: int, x: Any, y: Any, n: Any) -> Any:
                seen.append(fwd._is_fwd_grad_enabled())
                ctx.save_for_forward(x, y)
                ctx.k = k
                return x * y * k, n + 1

            @staticmethod
            def jvp(ctx: Any, k: Any, tx: Any, ty: Any, tn: Any) -> Any:
                x, y = ctx.saved_tensors
                seen.extend([k, tn, ty])
                return ctx.k * (tx * y + x * ty), None

        x, y = m.tensor([1.0, 2.0]), m.tensor([3.0, 5.0])
        with fwd.dual_level():
            made, count = Product.apply(4, fwd.make_dual(x, m.ones(2)), y, m.tensor([1, 2]))
            found = [fwd.unpack_dual(t).tangent for t in (made, count)]
        return seen, found

    same(case)


def _with_jvp(m: Any, forward: Any, jvp: Any, dirty: bool = False) -> Any:
    def run(ctx: Any, x: Any) -> Any:
        if dirty:
            ctx.mark_dirty(x)
        return forward(x)

    members = {"forward": staticmethod(run), "backward": staticmethod(lambda ctx, g: g)}
    if jvp is not None:
        members["jvp"] = staticmethod(lambda ctx, t: jvp(t))
    fwd = m.autograd.forward_ad
    with fwd.dual_level():
        dual = fwd.make_dual(m.arange(4.0), m.ones(4))
        made = type("Made", (m.autograd.Function,), members).apply(dual.clone() if dirty else dual)
        return [fwd.unpack_dual(t).tangent + 0 for t in flat(made)]


@pytest.mark.parametrize(
    ("forward", "jvp", "dirty", "words"),
    [
        (lambda x: x[:2], lambda t: t[:2], False, ""),
        (lambda x: x, lambda t: t.view_as(t), False, ""),
        (lambda x: x.mul_(2), lambda t: t.mul_(2), True, ""),
        (lambda x: x * 2, None, False, "must implement the jvp function"),
        (lambda x: x * 2, lambda t: (t, t), False, "invalid number of forward gradients"),
        (lambda x: x.long(), lambda t: t, False, "should return None at that position"),
        (lambda x: x[:2], lambda t: t[:2].clone(), False, "jvp is not returning a view"),
        (lambda x: x, lambda t: t * 1, False, "jvp is not returning a view"),
        (lambda x: x[:2], lambda t: t.clone()[:2], False, "not returning a view of the given"),
        (lambda x: x.mul_(2), lambda t: t * 2, True, "not modifying the forward mode gradients"),
    ],
)  # fmt: skip
def test_what_a_jvp_may_return(forward: Any, jvp: Any, dirty: bool, words: str) -> None:
    same(lambda m: _with_jvp(m, forward, jvp, dirty), words)


def test_gradcheck_in_forward_mode() -> None:
    calls = []

    class Twice(Function):
        wrong = False

        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x * 2, y.clone()

        @staticmethod
        def jvp(ctx: Any, tx: Any, ty: Any) -> Any:
            calls.append(1)
            return tx * (3 if Twice.wrong else 2), ty * ty if Twice.wrong is None else ty

    def count(**options: Any) -> int:
        calls.clear()
        x, y = (clgrad.tensor([v], dtype=clgrad.float64, requires_grad=True) for v in (0.5, 2.0))
        gradcheck(Twice.apply, (x, y), check_forward_ad=True, check_backward_ad=False, **options)
        return len(calls)

    with interpreted():
        assert count(check_undefined_grad=False) == 2  # per element
        assert count() == 6  # and, per input, tangents of zeros and none
        assert count(check_batched_forward_grad=True) == 12
        Twice.wrong = True
        for fast in (True, False):
            with pytest.raises(RuntimeError, match="computed with forward mode mismatch for out"):
                count(fast_mode=fast)
        Twice.wrong = None
        with pytest.raises(RuntimeError):
            count(check_undefined_grad=False, check_batched_forward_grad=True)
        with pytest.raises(AssertionError, match="Expected at least one of"):
            gradcheck(
                Twice.apply, (clgrad.ones(1),), check_forward_ad=False, check_backward_ad=False
            )


def test_tangents_of_a_module() -> None:
    with interpreted(), dual_level():
        layer = clgrad.nn.LayerNorm(4)
        weight = make_dual(clgrad.ones(4), clgrad.arange(4.0))
        del layer.weight
        layer.weight = weight
        x = clgrad.rand(2, 4)
        tangent = unpack_dual(layer(x)).tangent
        expected = clgrad.nn.functional.layer_norm(x, (4,)) * clgrad.arange(4.0)
        assert tangent is not None
        np.testing.assert_allclose(tangent.detach().numpy(), expected.numpy(), rtol=1e-5)


def test_tangents_of_samples_are_taken_as_they_are() -> None:
    with interpreted():
        primal, batch = clgrad.zeros(5)[:4].detach(), clgrad.ones(3, 4)
        base = clgrad.zeros(2, 2)
        view = base.view_as(base)

        def alone(tangent: Any) -> Any:
            with dual_level():
                dual = make_dual(primal, tangent)
                with pytest.raises(RuntimeError, match="can access memory outside of `tensor`"):
                    dual.as_strided((5,), (1,), 0)
                return unpack_dual(dual).tangent

        def written(tangent: Any) -> Any:
            with dual_level():
                view.copy_(make_dual(clgrad.zeros(2, 2), tangent))
                return unpack_dual(view).tangent, unpack_dual(base).tangent

        assert clgrad.func.vmap(alone)(batch) is batch
        of_view, of_base = clgrad.func.vmap(written)(clgrad.ones(3, 2, 2))
        assert of_view is of_base
