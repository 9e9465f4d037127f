"""In-place ops, views and versions: the rules, each as a program that PyTorch runs too."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

CASES, case = cases()


def leaf(m: Any) -> Any:
    return m.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -2.0]], requires_grad=True)


def state(x: Any) -> Any:
    return [x.detach(), x.grad_fn, x._version, x.requires_grad, x.is_leaf]


# ---- versions ------------------------------------------------------------------------------------


@case()
def every_write_counts_once(m: Any) -> Any:
    x = m.ones(3)
    seen = [x._version]
    for write in (
        lambda: x.add_(1), lambda: x.mul_(x), lambda: x.copy_(x), lambda: x.fill_(2),
        lambda: x.zero_(), lambda: x.sigmoid_(), lambda: x.__setitem__(0, 5.0),
    ):  # fmt: skip
        write()
        seen.append(x._version)
    with m.no_grad():
        x.add_(1)
    return [*seen, x._version, x]


@case()
def views_and_detached_twins_share_the_counter(m: Any) -> Any:
    x = m.ones(2, 3)
    v, d = x[0], x.detach()
    v.add_(1)
    d.add_(1)
    return [x._version, v._version, d._version, x, v, d]


@case()
def data_has_a_counter_of_its_own(m: Any) -> Any:
    x = m.ones(3)
    x.data.add_(1)
    x.data.mul_(2)
    return [x._version, x.data._version, x]


@case()
def a_clone_is_another_family(m: Any) -> Any:
    x = m.ones(3)
    c = x.clone()
    c.add_(1)
    x.mul_(5)
    return [x, c, x._version, c._version]


@case()
def contiguous_of_a_contiguous_tensor_is_itself(m: Any) -> Any:
    x = m.ones(3)
    return [x.contiguous() is x, x.reshape(3) is x, x.view(3)._base is x]


@case()
def views_read_the_value_at_the_time_of_use(m: Any) -> Any:
    x = m.ones(3)
    v = x[1:]
    before = v * 1
    x.add_(1)
    return [before, v * 1]


# ---- saved tensors -------------------------------------------------------------------------------


@case("one of the variables needed for gradient computation has been modified by an")
def overwriting_a_saved_result(m: Any) -> Any:
    x = leaf(m)
    y = x.tanh()
    y.add_(1)
    y.sum().backward()


@case("is at version 1; expected version 0 instead")
def overwriting_a_saved_input(m: Any) -> Any:
    x, w = leaf(m), m.ones(3)
    y = x * w
    w.mul_(2)
    y.sum().backward()


@case("is at version 2; expected version 0 instead")
def two_writes_after_a_save(m: Any) -> Any:
    y = leaf(m).tanh()
    z = y * y
    y.add_(1)
    y.add_(1)
    z.sum().backward()


@case("modified by an inplace operation")
def overwriting_through_a_view(m: Any) -> Any:
    x = leaf(m)
    y = x.exp()
    y[0].zero_()
    y.sum().backward()


@case("modified by an inplace operation")
def overwriting_through_a_detached_twin(m: Any) -> Any:
    y = leaf(m).exp()
    y.detach().zero_()
    y.sum().backward()


@case("modified by an inplace operation")
def overwriting_under_no_grad(m: Any) -> Any:
    w = leaf(m)
    y = (w * w).sum()
    with m.no_grad():
        w.mul_(2)
    y.backward()


@case("modified by an inplace operation")
def mul_with_itself_saves_the_new_self(m: Any) -> Any:
    x = leaf(m) * 1
    x.mul_(x)
    x.sum().backward()


@case()
def div_does_not_save_its_result(m: Any) -> Any:
    x = leaf(m)
    y = x / (x * x + 1)
    y.add_(1)
    y.sum().backward()
    return x.grad


@case()
def add_saves_nothing(m: Any) -> Any:
    x, w = leaf(m), m.ones(3)
    y = x + w
    w.mul_(3)
    y.mul_(2)
    y.sum().backward()
    return x.grad


@case()
def only_the_operand_that_the_gradient_reads_is_saved(m: Any) -> Any:
    x, w = leaf(m), m.ones(3)
    y = x * w  # d/dx reads w alone
    x2 = x.detach()
    x2.add_(1)
    y.sum().backward()
    return x.grad


@case()
def an_op_that_overwrites_its_operand_keeps_the_old_one(m: Any) -> Any:
    x = leaf(m)
    w = m.tensor([2.0, 3.0, 4.0], requires_grad=True)
    y = x * 1
    y.mul_(w)
    y.sum().backward()
    return [x.grad, w.grad]


@case()
def saved_result_of_an_inplace_op(m: Any) -> Any:
    x = leaf(m)
    y = (x * 1).sigmoid_()
    (y * 2).sum().backward()
    return [x.grad, y._version]


@case("Trying to backward through the graph a second time")
def released_is_told_before_the_version(m: Any) -> Any:
    y = leaf(m).tanh()
    z = y.sum()
    z.backward()
    y.add_(1)
    z.backward()


@case("one of the variables needed for gradient computation has been modified by an inplace op")
def writing_what_vmap_saved(m: Any) -> Any:
    y = leaf(m) * 1
    z = m.func.vmap(lambda a: a.sin())(y)
    y.add_(1)
    z.sum().backward()


@case("one of the variables needed for gradient computation has been modified by an inplace op")
def writing_the_result_of_vmap(m: Any) -> Any:
    z = m.func.vmap(lambda a: a.exp())(leaf(m) * 1)
    z.add_(1)
    z.sum().backward()


@case("one of the variables needed for gradient computation has been modified by an inplace op")
def writing_what_cummax_saved(m: Any) -> Any:
    y = leaf(m) * 1
    z = m.cummax(y, 0)[0]
    y.add_(1)
    z.sum().backward()


@case()
def writing_in_vmap_what_is_read_there(m: Any) -> Any:
    x = leaf(m)
    y = x * 1
    z = m.func.vmap(lambda a: a.mul_(2).sin())(y)
    z.sum().backward()
    return x.grad, y.detach(), z


@case()
def adding_at_an_index_twice(m: Any) -> Any:
    x = m.ones(3, requires_grad=True)
    index, part = m.tensor([0, 1]), m.ones(2)
    for y in (x.index_add(0, index, part), x.scatter_add(0, index, part)):
        y.sum().backward()
        y.sum().backward()
    return x.grad


@case()
def writing_the_maxima_of_bags(m: Any) -> Any:
    w = m.tensor([[1.0, 5.0], [3.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = m.nn.functional.embedding_bag(m.tensor([[0, 1], [2, 1]]), w, mode="max")
    y.add_(1)
    (y * y).sum().backward()
    return w.grad


@case()
def writing_what_was_shuffled(m: Any) -> Any:
    F = m.nn.functional
    made = []
    for shuffle in (F.pixel_shuffle, F.pixel_unshuffle, F.channel_shuffle):
        x = m.ones(1, 4, 1, 1)
        y = shuffle(x, 1)
        x.add_(1)
        made.append(y)
    return made


# ---- leaves --------------------------------------------------------------------------------------


@case("a leaf Variable that requires grad is being used in an in-place operation.")
def writing_a_leaf(m: Any) -> Any:
    leaf(m).add_(1)


@case("a view of a leaf Variable that requires grad is being used in an in-place operation.")
def writing_a_view_of_a_leaf(m: Any) -> Any:
    leaf(m)[0].add_(1)


@case("a view of a leaf Variable that requires grad is being used in an in-place operation.")
def writing_a_leaf_that_is_a_view(m: Any) -> Any:
    m.ones(3, 2).t().requires_grad_().add_(1)


@case("a view of a leaf Variable that requires grad is being used in an in-place operation.")
def writing_a_part_of_a_leaf_that_is_a_view(m: Any) -> Any:
    m.ones(3, 2).t().requires_grad_()[0].add_(1)


@case()
def a_leaf_that_no_longer_requires_grad(m: Any) -> Any:
    made = []
    for step in range(6):  # from the fourth on, a confirmed graph
        x, w = leaf(m), leaf(m)
        y = x * w
        if step % 2:
            x.requires_grad_(False)
        y.sum().backward()
        made += [x.grad is None, w.grad]
    return made


@case("leaf variable has been moved into the graph interior")
def a_leaf_that_became_a_result(m: Any) -> Any:
    x, w = leaf(m), leaf(m)
    y = x * 2
    x.requires_grad_(False).mul_(w)
    y.sum().backward()


@case("a leaf Variable that requires grad is being used in an in-place operation.")
def filling_a_leaf(m: Any) -> Any:
    leaf(m).zero_()


@case("a view of a leaf Variable that requires grad is being used in an in-place operation.")
def assigning_to_a_leaf(m: Any) -> Any:
    leaf(m)[0] = 3.0


@case()
def writing_a_leaf_under_no_grad(m: Any) -> Any:
    x = leaf(m)
    with m.no_grad():
        x.add_(1)
        x[0] = 0.0
    return state(x)


@case()
def an_error_changes_nothing(m: Any) -> Any:
    x = leaf(m)
    with contextlib.suppress(RuntimeError):
        x.add_(1)
    return state(x)


@case()
def a_plain_leaf_becomes_a_result(m: Any) -> Any:
    x, w = leaf(m), m.zeros(2, 3)
    w.add_(x * 2)
    w.sum().backward()
    return [*state(w), x.grad]


@case()
def detach_in_place(m: Any) -> Any:
    x = leaf(m)
    y = x * 2
    y.detach_()
    return state(y)


@case("Can't detach views in-place. Use detach() instead.")
def detach_a_view_in_place(m: Any) -> Any:
    (leaf(m) * 2)[0].detach_()


# ---- shapes, dtypes, overlap ---------------------------------------------------------------------


@case("output with shape [2] doesn't match the broadcast shape [2, 2]")
def target_too_small(m: Any) -> Any:
    m.ones(2).add_(m.ones(2, 2))


@case("result type Float can't be cast to the desired output type")
def float_into_integer(m: Any) -> Any:
    m.ones(2, dtype=m.int64).add_(m.ones(2))


@case("can't be cast to the desired output type")
def division_of_integers_in_place(m: Any) -> Any:
    m.ones(2, dtype=m.int64).div_(2)


@case()
def wider_dtype_is_cast_down(m: Any) -> Any:
    return m.ones(2).add_(m.ones(2, dtype=m.float64) * 0.5)


@case()
def integer_stays_integer(m: Any) -> Any:
    return [m.ones(2, dtype=m.int64).add_(2), m.ones(2, dtype=m.int32).mul_(m.ones(2).long() * 3)]


@case("unsupported operation: more than one element of the written-to tensor refers to a single")
def expanded_target(m: Any) -> Any:
    m.ones(1).expand(3).add_(1)


@case()
def filling_an_expanded_target(m: Any) -> Any:
    x = m.ones(1)
    x.expand(3).fill_(4)
    return [x, x._version]


@case("unsupported operation: some elements of the input tensor and the written-to tensor refer to")
def partial_overlap(m: Any) -> Any:
    x = m.arange(4.0)
    x[1:].add_(x[:-1])


@case("some elements of the input tensor and the written-to tensor refer to a single memory")
def transposed_overlap(m: Any) -> Any:
    x = m.arange(4.0).reshape(2, 2)
    x.add_(x.t())


@case()
def full_overlap_is_fine(m: Any) -> Any:
    x = m.arange(4.0)
    x[1:].add_(x[1:])
    return x.mul_(x)


@case()
def scaled_sums(m: Any) -> Any:
    x = leaf(m)
    y = x * 1
    y.add_(x, alpha=0.5).sub_(m.ones(3), alpha=2)
    (y * y).sum().backward()
    return [*state(y), x.grad]


@case()
def augmented_operators(m: Any) -> Any:
    x = leaf(m)
    y = x * 1
    same_object = y
    y += 1
    y -= x
    y *= 2
    y /= 4
    y **= 2
    return [y, y is same_object, y._version]


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)


# ---- random programs -----------------------------------------------------------------------------


@pytest.mark.parametrize("block", range(4))
def test_random_programs(block: int) -> None:
    """Views, writes, detached twins and no_grad blocks at random, then one or two backwards."""
    import random_programs

    for seed in range(block * 40, block * 40 + 40):
        random_programs.check(seed)
