"""Leaves, gradients, `backward` and `grad`: each program is run with PyTorch too."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

CASES, case = cases()


def x3(m: Any) -> Any:
    return m.tensor([0.5, -1.0, 2.0], requires_grad=True)


def x23(m: Any) -> Any:
    return m.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -2.0]], requires_grad=True)


def gradient(m: Any, x: Any, y: Any) -> Any:
    y.sum().backward()
    return x.grad


# ---- gradients of ops --------------------------------------------------------------------------

OPS = {
    "add_number": lambda m, x: x + 2,
    "radd": lambda m, x: 2 + x,
    "sub": lambda m, x: x - x * 2,
    "add_alpha": lambda m, x: m.add(x, x * x, alpha=3) + x.add(x, alpha=1),
    "sub_alpha": lambda m, x: x.sub(x * x, alpha=0.5),
    "rsub": lambda m, x: 1 - x,
    "mul_self": lambda m, x: x * x,
    "div": lambda m, x: x / (x * x + 1),
    "rdiv": lambda m, x: 2 / x,
    "pow_number": lambda m, x: x**3,
    "pow_zero": lambda m, x: x**0,
    "rpow": lambda m, x: 2.0**x,
    "pow_tensor": lambda m, x: x.abs().pow(x),
    "neg": lambda m, x: -x,
    "exp": lambda m, x: x.exp(),
    "log": lambda m, x: x.abs().log(),
    "sqrt": lambda m, x: x.abs().sqrt(),
    "tanh": lambda m, x: x.tanh(),
    "sigmoid": lambda m, x: m.sigmoid(x),
    "relu": lambda m, x: x.relu(),
    "abs": lambda m, x: abs(x),
    "maximum": lambda m, x: m.maximum(x, -x),
    "minimum_tie": lambda m, x: m.minimum(x, x),
    "where": lambda m, x: m.where(x > 0, x * 2, -x),
    "sum_all": lambda m, x: x.sum() * x.sum(),
    "sum_dim": lambda m, x: x.sum(0) * 3,
    "sum_dims": lambda m, x: x.sum([-1]) + x.sum(dim=(-1,)) + x.sum(axis=-1) + x.sum(-1, False),
    "sum_keepdim": lambda m, x: x / x.abs().sum(-1, keepdim=True),
    "mean": lambda m, x: x.mean() * x,
    "amax": lambda m, x: x.amax(),
    "amax_dim": lambda m, x: m.stack([x, x]).amax(0),
    "amin_dim": lambda m, x: x.amin(-1),
    "var": lambda m, x: x.var(),
    "var_zero": lambda m, x: x.var(correction=0),
    "softmax_by_hand": lambda m, x: x.exp() / x.exp().sum(-1, keepdim=True) * x,
    "cat": lambda m, x: m.cat([x, x * 2, x]),
    "cat_dim": lambda m, x: m.cat([x, x * 2], -1).pow(2),
    "stack": lambda m, x: m.stack([x, x * x], 1).sum(0) ** 2,
    "to_double": lambda m, x: x.double() * 3,
    "clone": lambda m, x: x.clone() * x,
    "expand": lambda m, x: x.expand(4, *x.shape) * x,
    "broadcast_scalar": lambda m, x: x * x.sum(),
    "int_operand": lambda m, x: x * m.tensor(3),
    "comparison_mask": lambda m, x: x * (x > 0),
}


@pytest.mark.parametrize("make", [x3, x23], ids=["vector", "matrix"])
@pytest.mark.parametrize("name", OPS)
def test_gradient(name: str, make: Any) -> None:
    def program(m: Any) -> Any:
        x = make(m)
        y = OPS[name](m, x)
        return [y, gradient(m, x, y * y)]

    same(program)


# The gradient of pow at exponent 0 has no history in PyTorch; at ties and kinks it is a convention.
CONVENTIONS = ("minimum_tie", "pow_tensor", "pow_zero")


@pytest.mark.parametrize("name", [n for n in OPS if n not in CONVENTIONS])
def test_double_backward(name: str) -> None:
    def program(m: Any) -> Any:
        x = x3(m)
        y = OPS[name](m, x)
        (g,) = m.autograd.grad((y * y * y).sum(), x, create_graph=True)
        (h,) = m.autograd.grad((g * g).sum(), x, allow_unused=True, materialize_grads=True)
        return [g.detach(), h]

    same(program)


@pytest.mark.parametrize(
    "shapes",
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((2, 2, 3), (3, 4)),
     ((2, 1, 2, 3), (5, 3, 4)), ((2, 2, 3), (3,)), ((3,), (2, 3, 4)), ((2, 3), (2, 3, 4))],
)  # fmt: skip
def test_matmul(shapes: Any) -> None:
    def program(m: Any) -> Any:
        made = []
        for shape in shapes:
            count = 1
            for n in shape:
                count *= n
            flat = m.tensor([((k * 7) % 11 - 5) / 4.0 for k in range(count)])
            made.append(flat.reshape(shape).requires_grad_())
        a, b = made
        y = a @ b
        (y * y).sum().backward()
        return [y, a.grad, b.grad]

    same(program)


# ---- leaves ------------------------------------------------------------------------------------


@case()
def accumulates_over_two_backwards(m: Any) -> Any:
    x = x3(m)
    (x * x).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    return [x.grad, first, first is x.grad]


@case()
def grad_is_new_object_with_create_graph(m: Any) -> Any:
    x = x3(m)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward(create_graph=True)
    return [first, x.grad is first, x.grad.requires_grad]


@case()
def first_grad_does_not_require_grad(m: Any) -> Any:
    x = x3(m)
    (x * x).sum().backward()
    return [x.grad.requires_grad, x.grad.is_leaf, x.grad.grad_fn]


@case()
def gradient_may_alias_no_other(m: Any) -> Any:
    x, w = x3(m), x3(m)
    (x + w).sum().backward()
    x.grad.mul_(5)
    return [x.grad, w.grad]


@case()
def same_tensor_used_twice(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    return gradient(m, x, y * y + y + x)


@case()
def leaf_flags(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    d = y.detach()
    return [x.is_leaf, y.is_leaf, d.is_leaf, d.requires_grad, y.requires_grad, y.grad_fn, x.grad_fn]


@case()
def output_of_no_grad_inputs_has_no_node(m: Any) -> Any:
    return [(m.ones(2) * 3).grad_fn, (m.ones(2) * 3).requires_grad]


@case()
def comparison_does_not_require_grad(m: Any) -> Any:
    return [(x3(m) > 0).requires_grad, (x3(m) == 1).grad_fn, x3(m).argmax().requires_grad]


@case()
def node_names_and_edges(m: Any) -> Any:
    x = x3(m)
    y = (x * 2).tanh()
    product = y.grad_fn.next_functions[0][0]
    leaf = product.next_functions[0][0]
    return [
        y.grad_fn, product, leaf, product.next_functions[1][0], leaf.variable is x,
        y.grad_fn.next_functions[0][1],
    ]  # fmt: skip


@case()
def saved_attributes(m: Any) -> Any:
    x = x3(m)
    y = (x * x.exp()).tanh()
    node = y.grad_fn
    mul = node.next_functions[0][0]
    return [node._saved_result, mul._saved_self, mul._saved_self is x]


@case()
def requires_grad_setter(m: Any) -> Any:
    x = m.ones(2)
    x.requires_grad = True
    return [x.requires_grad, x.requires_grad_(False).requires_grad]


@case()
def later_requires_grad_of_a_saved_leaf_counts(m: Any) -> Any:
    x, w = x3(m), m.tensor([1.0, 2.0, 3.0])
    y = (x * w).sum()
    w.requires_grad_()
    (g,) = m.autograd.grad(y, x, create_graph=True)
    return [g.requires_grad, m.autograd.grad(g.sum(), w, allow_unused=True)[0]]


@case("only Tensors of floating point dtype can require gradients")
def integer_requires_grad(m: Any) -> Any:
    return m.arange(3).requires_grad_()


@case("you can only change requires_grad flags of leaf variables.")
def non_leaf_requires_grad(m: Any) -> Any:
    y = x3(m) * 2
    y.requires_grad = False


@case("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
def numpy_of_what_requires_grad(m: Any) -> Any:
    return (x3(m) * 2).numpy()


# ---- backward and grad -------------------------------------------------------------------------


@case("element 0 of tensors does not require grad and does not have a grad_fn")
def backward_of_a_constant(m: Any) -> Any:
    m.ones(()).backward()


@case("grad can be implicitly created only for scalar outputs")
def backward_of_a_vector(m: Any) -> Any:
    (x3(m) * 2).backward()


@case("Mismatch in shape")
def gradient_of_wrong_shape(m: Any) -> Any:
    (x3(m) * 2).backward(m.ones(2))


@case("Trying to backward through the graph a second time")
def backward_twice(m: Any) -> Any:
    x = x3(m)
    y = x.tanh().sum()
    y.backward()
    y.backward()


@case()
def backward_twice_with_retain_graph(m: Any) -> Any:
    x = x3(m)
    y = x.tanh().sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


@case()
def add_saves_nothing_and_runs_twice(m: Any) -> Any:
    x = x3(m)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    return x.grad


@case("Trying to backward through the graph a second time")
def reading_saved_after_backward(m: Any) -> Any:
    y = x3(m).tanh()
    y.sum().backward()
    return y.grad_fn._saved_result


@case()
def backward_with_gradient(m: Any) -> Any:
    x = x3(m)
    (x * x).backward(m.tensor([1.0, 10.0, 100.0]))
    return x.grad


@case()
def backward_of_several(m: Any) -> Any:
    x = x3(m)
    m.autograd.backward([(x * 2).sum(), x * x], [None, m.ones(3)])
    return x.grad


@case()
def backward_with_inputs(m: Any) -> Any:
    x, w = x3(m), x3(m)
    y = x * w
    (y * y).sum().backward(inputs=[x])
    return [x.grad, w.grad]


@case()
def backward_with_a_non_leaf_input(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    (y * y).sum().backward(inputs=[y])
    return [x.grad, y.grad]


@case("cannot be empty")
def backward_with_no_inputs(m: Any) -> Any:
    x3(m).sum().backward(inputs=[])


@case()
def grad_leaves_grad_alone(m: Any) -> Any:
    x = x3(m)
    return [m.autograd.grad((x * x).sum(), x), x.grad]


@case()
def grad_of_an_intermediate(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    return m.autograd.grad((y * y).sum() + x.sum(), [y, x])


@case()
def grad_of_an_output_itself(m: Any) -> Any:
    x = x3(m)
    y = (x * x).sum()
    return m.autograd.grad(y, [y, x])


@case()
def grad_of_a_leaf_that_is_the_output(m: Any) -> Any:
    x = m.tensor(2.0, requires_grad=True)
    return m.autograd.grad(x, x)


@case("appears to not have been used in the graph")
def grad_of_an_unused_input(m: Any) -> Any:
    return m.autograd.grad(x3(m).sum(), x3(m))


@case()
def grad_of_an_unused_input_allowed(m: Any) -> Any:
    return m.autograd.grad(x3(m).sum(), x3(m), allow_unused=True)


@case()
def grad_materialized(m: Any) -> Any:
    return m.autograd.grad(x3(m).sum(), x3(m), materialize_grads=True)


@case("does not require grad")
def grad_of_what_requires_none(m: Any) -> Any:
    return m.autograd.grad(x3(m).sum(), m.ones(3))


@case()
def grad_with_respect_to_same_input_twice(m: Any) -> Any:
    x = x3(m)
    return m.autograd.grad((x * x).sum(), [x, x])


@case()
def grads_batched(m: Any) -> Any:
    x = x3(m)
    y = x * x
    seeds = m.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return m.autograd.grad(y, x, seeds, is_grads_batched=True)


@case()
def third_derivative(m: Any) -> Any:
    x = x3(m)
    y = (x**4).sum()
    for _ in range(3):
        (g,) = m.autograd.grad(y, x, create_graph=True)
        y = g.sum()
    return g.detach()


@case()
def gradient_is_cast_to_the_dtype_of_its_edge(m: Any) -> Any:
    x = x3(m)
    w = m.tensor([1.0, 2.0, 3.0], dtype=m.float64, requires_grad=True)
    (x * w).sum().backward()
    return [x.grad, w.grad]


@case()
def unused_part_gets_no_gradient(m: Any) -> Any:
    x, w = x3(m), x3(m)
    y = x * 2
    _ = w * 2
    y.sum().backward()
    return [x.grad, w.grad]


@case()
def diamond(m: Any) -> Any:
    x = x3(m)
    a = x * 2
    b, c = a.exp(), a.tanh()
    return gradient(m, x, b * c + a)


# ---- the .grad attribute -----------------------------------------------------------------------


@case()
def grad_assignment(m: Any) -> Any:
    x = x3(m)
    x.grad = m.ones(3)
    (x * 2).sum().backward()
    given = x.grad
    x.grad = None
    return [given, x.grad]


@case("attempting to assign a gradient of size '[2]' to a tensor of size '[3]'")
def grad_of_wrong_shape(m: Any) -> Any:
    x3(m).grad = m.ones(2)


@case("attempting to assign a gradient with dtype")
def grad_of_wrong_dtype(m: Any) -> Any:
    x3(m).grad = m.ones(3, dtype=m.float64)


@case()
def retain_grad(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    return [y.grad, x.grad, y.retains_grad, x.retains_grad]


@case("can't retain_grad on Tensor that has requires_grad=False")
def retain_grad_of_a_constant(m: Any) -> Any:
    m.ones(2).retain_grad()


@case()
def retain_grad_follows_an_inplace_op(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * y).sum().backward()
    return [y.grad, x.grad]


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)


@pytest.mark.filterwarnings("error")
def test_grad_of_a_non_leaf_warns() -> None:
    import clgrad
    from clgrad.testing.interpreter import interpreted

    with interpreted():
        y = clgrad.ones(2, requires_grad=True) * 2
        with pytest.warns(UserWarning, match="not a leaf Tensor"):
            assert y.grad is None
        y.retain_grad()
        assert y.grad is None  # silently: it will be filled
