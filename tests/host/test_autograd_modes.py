"""Grad mode and inference mode, as blocks and decorators; detach, data; copies of tensors."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, plain, same

CASES, case = cases()


def x3(m: Any) -> Any:
    return m.tensor([0.5, -1.0, 2.0], requires_grad=True)


@case()
def requires_grad_of_results(m: Any) -> Any:
    y = x3(m) * 2
    return y.requires_grad_()


@case("leaf variables")
def requires_grad_switched_on_for_a_result(m: Any) -> Any:
    y = x3(m) * 2
    y.requires_grad = True


@case("use a computed variable in a subgraph")
def requires_grad_switched_off_for_a_result(m: Any) -> Any:
    (x3(m) * 2).requires_grad_(False)


@case()
def grad_mode_asked_for_in_inference_mode(m: Any) -> Any:
    x, written = x3(m), x3(m)
    with m.inference_mode(), m.enable_grad():
        made = [x * 2, x.view(3), x.clone(), x.detach()[:2], m.ones(2, requires_grad=True) * 3]
        asked = m.is_grad_enabled()
        written.mul_(2)
        with m.set_grad_enabled(False):
            off = m.is_grad_enabled()
        with m.inference_mode(False):
            recorded = (x * 2).requires_grad
    with m.inference_mode():
        m.set_grad_enabled(True)
        late = [m.is_grad_enabled(), (x * 2).requires_grad]
    states = [(t.requires_grad, t.is_inference(), t.is_leaf) for t in made]
    return [states, asked, off, recorded, late, written, m.is_grad_enabled()]


@case("does not require grad")
def backward_of_what_inference_mode_made(m: Any) -> Any:
    x = x3(m)
    with m.inference_mode(), m.enable_grad():
        (x * x).sum().backward()


@case()
def gradients_by_func_in_inference_mode(m: Any) -> Any:
    with m.inference_mode():
        return m.func.grad(lambda t: (t * t).sum())(m.ones(3) * 2)


@case()
def no_grad_block(m: Any) -> Any:
    x = x3(m)
    with m.no_grad():
        inside = [m.is_grad_enabled(), (x * 2).requires_grad]
    return [*inside, m.is_grad_enabled(), (x * 2).requires_grad]


@case()
def nested_blocks(m: Any) -> Any:
    x = x3(m)
    with m.no_grad():
        with m.enable_grad():
            a = (x * 2).requires_grad
        b = (x * 2).requires_grad
    return [a, b]


@case()
def the_mode_is_restored_after_an_error(m: Any) -> Any:
    try:
        with m.no_grad():
            raise KeyError
    except KeyError:
        return m.is_grad_enabled()


@case()
def as_decorators(m: Any) -> Any:
    @m.no_grad()
    def silent(x: Any) -> Any:
        return x * 2

    @m.no_grad
    def bare(x: Any) -> Any:
        return x * 2

    @m.enable_grad()
    def loud(x: Any) -> Any:
        return x * 2

    x = x3(m)
    with m.no_grad():
        a = loud(x).requires_grad
    return [silent(x).requires_grad, bare(x).requires_grad, a, silent.__name__]


@case()
def a_decorated_generator_restores_the_mode_between_steps(m: Any) -> Any:
    @m.no_grad()
    def steps() -> Any:
        got = yield m.is_grad_enabled()
        yield [got, m.is_grad_enabled()]

    generator = steps()
    first = next(generator)
    between = m.is_grad_enabled()
    return [first, between, generator.send(7), m.is_grad_enabled()]


@case()
def set_grad_enabled_acts_at_once(m: Any) -> Any:
    m.set_grad_enabled(False)
    a = m.is_grad_enabled()
    m.set_grad_enabled(True)
    with m.set_grad_enabled(False):
        b = m.is_grad_enabled()

    @m.set_grad_enabled(False)
    def silent() -> Any:
        return m.is_grad_enabled()

    return [a, b, m.is_grad_enabled(), silent(), m.is_grad_enabled()]


@case()
def the_mode_is_of_the_thread(m: Any) -> Any:
    seen: list[bool] = []
    with m.no_grad():
        thread = threading.Thread(target=lambda: seen.append(m.is_grad_enabled()))
        thread.start()
        thread.join()
    return seen


@case()
def leaves_made_under_no_grad(m: Any) -> Any:
    with m.no_grad():
        x = m.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    return x.grad


@case()
def inference_tensors(m: Any) -> Any:
    with m.inference_mode():
        a = m.ones(3)
        b = a * 2
        inside = [m.is_inference_mode_enabled(), m.is_grad_enabled()]
    return [*inside, a.is_inference(), b.is_inference(), b.requires_grad, m.ones(2).is_inference()]


@case()
def inference_tensor_in_a_graph_that_does_not_save_it(m: Any) -> Any:
    with m.inference_mode():
        a = m.ones(3)
    x = x3(m)
    (x + a).sum().backward()
    return x.grad


@case("Inference tensors cannot be saved for backward.")
def saving_an_inference_tensor(m: Any) -> Any:
    with m.inference_mode():
        a = m.ones(3)
    return x3(m) * a


@case("Inplace update to inference tensor outside InferenceMode is not allowed.")
def writing_an_inference_tensor(m: Any) -> Any:
    with m.inference_mode():
        a = m.ones(3)
    a.add_(1)


@case("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
def inference_tensor_requires_grad(m: Any) -> Any:
    with m.inference_mode():
        a = m.ones(3)
    a.requires_grad_()


@case("Inference tensors do not track version counter.")
def version_of_an_inference_tensor(m: Any) -> Any:
    with m.inference_mode():
        a = m.ones(3)
    return a._version


@case()
def a_clone_of_an_inference_tensor_is_normal(m: Any) -> Any:
    with m.inference_mode():
        a = m.ones(3)
    c = a.clone()
    c.add_(1)
    return [c.is_inference(), c, (x3(m) * c).requires_grad]


@case()
def inference_mode_off(m: Any) -> Any:
    with m.inference_mode(), m.inference_mode(False):
        return [m.ones(2).is_inference(), m.is_grad_enabled()]


# ---- detach, data ------------------------------------------------------------------------------


@case()
def detach(m: Any) -> Any:
    x = x3(m)
    d = x.detach()
    return [d, d.requires_grad, d.is_leaf, d._is_view(), d._version]


@case()
def data_get_and_set(m: Any) -> Any:
    x = x3(m)
    before = x.data.requires_grad
    x.data = m.tensor([1.0, 2.0, 3.0])
    (x * x).sum().backward()
    return [before, x.requires_grad, x.is_leaf, x._version, x.grad, x.detach()]


@case()
def data_of_another_shape(m: Any) -> Any:
    x = x3(m)
    x.data = m.ones(2, 2)
    (x * 3).sum().backward()
    return [list(x.shape), x.grad]


# ---- values on the host ------------------------------------------------------------------------


@case()
def item_and_friends(m: Any) -> Any:
    x = m.tensor(2.5)
    n = m.tensor([3])
    return [x.item(), float(x), int(x), bool(x), n.item(), [5, 6, 7, 8][n], n.tolist(),
            m.ones(2, 2).tolist(), len(m.ones(4, 2)), f"{x:.2f}"]  # fmt: skip


@case("converted to Scalar")
def item_of_many(m: Any) -> Any:
    return m.ones(2).item()


@case("Boolean value of Tensor with more than one value is ambiguous")
def bool_of_many(m: Any) -> Any:
    return bool(m.ones(2))


@case("len() of a 0-d tensor")
def len_of_a_scalar(m: Any) -> Any:
    return len(m.ones(()))


@case()
def iteration(m: Any) -> Any:
    a, b = m.tensor([[1.0, 2.0], [3.0, 4.0]])
    return [a, b, [float(v) for v in a]]


@case()
def shapes(m: Any) -> Any:
    x = m.zeros(2, 3, 4)
    return [list(x.shape), x.size(-1), list(x.stride()), x.stride(1), x.numel(), x.dim(), x.ndim,
            x[1].storage_offset(), x.is_contiguous(), x.mT.is_contiguous(), x.element_size(),
            x.nbytes, x.is_floating_point(), x.shape.numel(), x.shape[1:] == (3, 4)]  # fmt: skip


@case()
def deepcopy_keeps_flags_grad_and_sharing(m: Any) -> Any:
    x = x3(m)
    (x * x).sum().backward()
    twin, again = copy.deepcopy([x, x])
    with m.no_grad():
        x.zero_()
    return [twin is again, twin.requires_grad, twin.grad, twin.detach(), twin.is_leaf]


@case("Only Tensors created explicitly by the user")
def deepcopy_of_a_result(m: Any) -> Any:
    return copy.deepcopy(x3(m) * 2)


@case()
def pickle_round_trip(m: Any) -> Any:
    x = x3(m)
    twin = pickle.loads(pickle.dumps(x))
    return [twin.detach(), twin.requires_grad, twin.is_leaf]


@case()
def hashing_is_by_identity(m: Any) -> Any:
    x, y = m.ones(2), m.ones(2)
    return [len({x, y, x}), hash(x) == hash(x)]


@case()
def promotion(m: Any) -> Any:
    i, f, b = m.tensor([1, 2]), m.tensor([1.5, 2.5]), m.tensor([True, False])
    return [i + 1, i * 1.5, i / 2, f + i, b + 1, b * f, i > 1.5, f.double() + f, (b == b),
            i.float() + m.tensor(2.0, dtype=m.float64), i**2, 2 - i]  # fmt: skip


@case()
def the_default_dtype_counts_at_the_call(m: Any) -> Any:
    i = m.tensor([1, 2])
    before = [i / 2, i.exp(), i * 1.5]
    m.set_default_dtype(m.float64)
    try:
        after = [i / 2, i.exp(), i * 1.5, m.ones(2), m.tensor(1.5)]
    finally:
        m.set_default_dtype(m.float32)
    return [*before, *after, i / 2]


@case("must match the size of tensor b")
def shapes_that_do_not_broadcast(m: Any) -> Any:
    return m.ones(2) + m.ones(3)


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)


def test_mixed_devices_raise() -> None:
    import clgrad
    from clgrad.testing.interpreter import HostDevice, interpreted

    with interpreted():
        a = clgrad.ones(2)
        b = clgrad.ones(2, device=HostDevice("other"))
        with pytest.raises(clgrad.DeviceError, match="host and other"):
            a + b
        moved = b.to(a.device)
        assert plain(a + moved)[2] == [2.0, 2.0]
