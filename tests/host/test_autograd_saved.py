"""What the graph saves: hooks on it, names of it, what may overwrite it, and a list of all."""

from __future__ import annotations

import gc
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

import clgrad
from clgrad.autograd import graph
from clgrad.testing.interpreter import Interpreter, interpreted

CASES, case = cases()


def x3(m: Any) -> Any:
    return m.tensor([0.5, -1.0, 2.0], requires_grad=True)


# ---- hooks -------------------------------------------------------------------------------------


@case()
def hooks_of_one_saved_tensor(m: Any) -> Any:
    results = []
    for pack, unpack in (
        (lambda t: t * 2, lambda t: t / 2),
        (lambda t: t * 2, lambda t: t),
    ):
        x = x3(m)
        y = x * x
        y.grad_fn._raw_saved_self.register_hooks(pack, unpack)
        read = y.grad_fn._saved_self
        y.sum().backward()
        results.append([read.detach(), x.grad])
    return results


@case()
def hooks_of_a_saved_result(m: Any) -> Any:
    x = x3(m)
    y = x.exp()
    y.grad_fn._raw_saved_result.register_hooks(lambda t: t.tolist(), lambda o: m.tensor(o))
    same_node = y.grad_fn._saved_result.grad_fn is y.grad_fn
    y.sum().backward()
    return same_node, x.grad


@case("whose hooks have already been set")
def one_pair_of_hooks(m: Any) -> Any:
    y = x3(m) * x3(m)
    saved = y.grad_fn._raw_saved_self
    saved.register_hooks(lambda t: t, lambda t: t)
    saved.register_hooks(lambda t: t, lambda t: t)


@case("incompatible function arguments")
def a_pair_of_hooks(m: Any) -> Any:
    y = x3(m) * x3(m)
    y.grad_fn._raw_saved_self.register_hooks(lambda t: t)


@case("after it has been freed")
def hooks_on_what_is_freed(m: Any) -> Any:
    y = x3(m) * x3(m)
    saved = y.grad_fn._raw_saved_self
    y.sum().backward()
    saved.register_hooks(lambda t: t, lambda t: t)


@case("Output of saved tensor unpack_hook expected to be a Tensor but got result of type int")
def unpacking_gives_a_tensor(m: Any) -> Any:
    with m.autograd.graph.saved_tensors_hooks(lambda t: 1, lambda o: o):
        y = x3(m) * x3(m)
    y.sum().backward()


@case("A saved tensor pack hook is modifying its input in place")
def packing_writes_nothing(m: Any) -> Any:
    with m.autograd.graph.saved_tensors_hooks(lambda t: t.add_(1), lambda o: o):
        m.ones(3) * x3(m)


@case("A saved tensor pack hook is modifying its input in place")
def packing_one_writes_nothing(m: Any) -> Any:
    y = m.ones(3) * x3(m)
    y.grad_fn._raw_saved_self.register_hooks(lambda t: t.add_(1), lambda o: o)


@case()
def what_pack_hooks_get(m: Any) -> Any:
    seen: list[Any] = []
    x, c = x3(m), m.ones(3)
    y = x * 2

    def pack(t: Any) -> Any:
        seen.append([t is x, t is y, t is c, m.is_grad_enabled()])
        return t

    with m.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        z = y * c
        w = x * y
    given = z.grad_fn._saved_other is c
    (z + w).sum().backward()
    return sorted(seen), given, x.grad


@case()
def an_operand_that_is_overwritten_is_packed_before(m: Any) -> Any:
    x = x3(m)
    with m.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = x.clone()
        y.sin_()
        y.mul_(2)
    y.sum().backward()
    return x.grad


@case()
def inner_hooks_come_first(m: Any) -> Any:
    x = x3(m)
    hooks = m.autograd.graph.saved_tensors_hooks
    with hooks(lambda t: t * 3, lambda t: t):
        a = x * x
        with hooks(lambda t: t * 5, lambda t: t):
            b = x * x
    (a + b).sum().backward()
    return x.grad


@case()
def hooks_and_second_derivatives(m: Any) -> Any:
    x = x3(m)
    with m.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), lambda o: m.tensor(o)):
        (g,) = m.autograd.grad((x**3).sum(), x, create_graph=True)
        g.sum().backward()
    return x.grad


@case("not here")
def hooks_may_be_forbidden(m: Any) -> Any:
    graph = m.autograd.graph
    with graph.disable_saved_tensors_hooks("not here"), graph.save_on_cpu():
        pass


@case("not here")
def hooks_may_not_be_forbidden_while_in_use(m: Any) -> Any:
    graph = m.autograd.graph
    with graph.save_on_cpu(), graph.disable_saved_tensors_hooks("not here"):
        pass


def test_hooks_that_user_code_leaves_open_end_with_the_pass(host: Interpreter) -> None:
    def unpack(t: Any) -> Any:
        hooks.__enter__()
        return t

    hooks = graph.saved_tensors_hooks(lambda t: t, unpack)
    x = x3(clgrad)
    with hooks:
        (x * x).sum().backward()
    y = x.exp()
    y.grad_fn._raw_saved_result.register_hooks(lambda t: t, lambda t: t)  # there are none yet


def test_saved_tensors_are_not_made_by_hand(host: Interpreter) -> None:
    with pytest.raises(RuntimeError, match="Trying to create a SavedTensor object"):
        clgrad.autograd.SavedTensor()
    node = (x3(clgrad) * x3(clgrad)).grad_fn
    assert isinstance(node._raw_saved_self, clgrad.autograd.SavedTensor)


def test_the_none_among_saved_tensors(host: Interpreter) -> None:
    class Mine(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, None)
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    y = Mine.apply(x3(clgrad))
    saved = y.grad_fn._raw_saved_tensors[1]
    with pytest.raises(RuntimeError, match="None is forbidden"):
        saved.register_hooks(lambda t: t, lambda t: t)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="after they have already been freed"):
        _ = y.grad_fn._raw_saved_tensors


# ---- names -------------------------------------------------------------------------------------


@case()
def names_of_what_is_saved(m: Any) -> Any:
    x, y = x3(m), x3(m)
    t = m.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    return [
        (x * y).grad_fn._saved_other is y, (x**2).grad_fn._saved_exponent,
        x.exp().grad_fn._saved_result, m.stack([x, y], 0).grad_fn._saved_dim,
        t.mean().grad_fn._saved_self_sym_sizes, t.transpose(0, 1).grad_fn._saved_dim1,
        (t @ t).grad_fn._saved_mat2 is t, t[1].grad_fn._saved_index,
        m.nn.functional.leaky_relu(x).grad_fn._saved_negative_slope,
        hasattr(x.exp().grad_fn, "_saved_nonsense"),
    ]  # fmt: skip


@case("after they have already been freed")
def names_of_what_is_freed(m: Any) -> Any:
    x = x3(m)
    y = x * x
    y.sum().backward()
    return y.grad_fn._saved_self


@case()
def operands_are_given_back_as_they_are(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    z = x * y
    e = y.exp()
    return [
        z.grad_fn._saved_self is x, z.grad_fn._saved_other is y, e.grad_fn._saved_result is e,
        e.grad_fn._saved_result.grad_fn is e.grad_fn,
    ]  # fmt: skip


# ---- what may be overwritten -------------------------------------------------------------------


@case()
def mutation_may_be_allowed(m: Any) -> Any:
    x = x3(m)
    with m.autograd.graph.allow_mutation_on_saved_tensors() as kept:
        a = x.clone()
        view = a[:2]
        square = a**2
        counts = [len(kept.cloned)]
        view *= 10
        counts.append(len(kept.cloned))
        a.sin_()
        (square.sum() + a.sum() * 0).backward()
        counts.append(len(kept.cloned))
        del square
    return x.grad, counts[0], counts[2], len(kept.cloned)


@case("Trying to backward outside of the 'allow_mutation_on_saved_tensors' context")
def mutation_is_allowed_within(m: Any) -> Any:
    try:
        with m.autograd.graph.allow_mutation_on_saved_tensors():
            loss = (x3(m) ** 2).sum()
        loss.backward()
    except AssertionError as error:
        raise RuntimeError(str(error)) from None


@case("allow_mutation_on_saved_tensors contexts cannot be nested")
def mutation_is_allowed_once(m: Any) -> Any:
    allow = m.autograd.graph.allow_mutation_on_saved_tensors
    with allow(), allow():
        pass


def test_what_is_overwritten_is_kept_as_long_as_the_graph_needs_it(host: Interpreter) -> None:
    with graph.allow_mutation_on_saved_tensors() as kept:
        a = x3(clgrad).clone()
        b, c = a**2, a**2
        a.sin_()
        d = a**2
        a.sin_()
        assert len(kept.cloned) == 2
        del b, c
        assert len(kept.cloned) == 1
        del d
        assert len(kept.cloned) == 0


# ---- a list of all -----------------------------------------------------------------------------


def test_the_list_of_what_is_held(host: Interpreter) -> None:
    x, w = clgrad.ones(2, 3, requires_grad=True), clgrad.ones(3, 4, requires_grad=True)
    h = (x @ w).tanh()
    loss = (h * h[:1]).sum()
    line = test_the_list_of_what_is_held.__code__.co_firstlineno + 3
    found = graph.saved_tensors(loss)
    named = {(r.node, r.name): r for r in found}
    tanh, left = named["TanhBackward0", "y"], named["MulBackward0", "a"]
    right, mm = named["MulBackward0", "b"], named["MmBackward0", "a"]
    assert (tuple(tanh.shape), tanh.dtype, tanh.nbytes) == ((2, 4), clgrad.float32, 32)
    assert tanh.storage == left.storage == right.storage != mm.storage
    assert (tuple(right.shape), right.nbytes) == ((1, 4), 32)  # a view keeps all of its memory
    assert not tanh.alone and tanh.kind == "memory"
    assert left.place.startswith(f"{__file__}:{line}, in test_the_list")
    del h
    gc.collect()
    assert graph.saved_tensors(loss)[-1].alone
    loss.backward()
    assert graph.saved_tensors(loss) == []


def test_the_list_tells_kinds_apart(host: Interpreter) -> None:
    class Mine(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, None)
            ctx.extra = x.exp()
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    x = x3(clgrad)
    y = x * 2
    with graph.save_on_cpu():
        a = y * y
    b = y * y
    y.add_(1)
    c = Mine.apply(x)
    part = x.clone()
    part[:1].exp_()
    kinds = [(r.node, r.name, r.kind) for r in graph.saved_tensors([a + b, c], part.sum())]
    assert kinds == [
        ("MulBackward0", "a", "packed"), ("MulBackward0", "b", "packed"),
        ("MulBackward0", "a", "overwritten"), ("MulBackward0", "b", "overwritten"),
        ("MineBackward", "saved_tensors[0]", "memory"), ("MineBackward", "ctx.extra", "memory"),
        ("CopySlices", "y", "memory"),
    ]  # fmt: skip
    with pytest.raises(TypeError, match="Expected tensors or edges"):
        graph.saved_tensors(3)


def test_the_report_is_a_table(host: Interpreter) -> None:
    x = clgrad.ones(256, 4, requires_grad=True)
    text = graph.memory_report((x.exp() * x).sum())
    head, titles, *rows = text.splitlines()
    assert head == (
        "saved for backward: 3 tensors in 2 buffers of 8.0 KiB, 4.0 KiB of it held by the graph "
        "alone"
    )
    assert titles.split() == ["node", "tensor", "shape", "dtype", "memory", "buffer", "saved", "at"]
    assert [row.split()[:2] for row in rows] == [
        ["ExpBackward0", "y"], ["MulBackward0", "a"], ["MulBackward0", "b"],
    ]  # fmt: skip
    assert "[256, 4]" in rows[0] and "4.0 KiB" in rows[0] and __file__ in rows[0]
    assert graph.memory_report(clgrad.ones(2)).startswith("saved for backward: 0 tensors")


@pytest.fixture
def host() -> Any:
    with interpreted() as made:
        yield made


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)
