"""Asking tensors what they are, reading and copying them: each line is run by PyTorch too."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from twin import close, outcome

import clgrad
from clgrad.testing.interpreter import interpreted

LINES = """
m.arange(3)[2].tolist(), m.arange(6.).reshape(2, 3)[1, 1].numpy().shape
m.ones(2).to(m.float64, memory_format=m.preserve_format)
m.ones(2).float(memory_format=m.preserve_format)
m.ones(2).is_contiguous(memory_format=m.contiguous_format)
m.asarray(x, requires_grad=False).requires_grad, m.as_tensor(x) is x
m.asarray(x * 2, requires_grad=True).is_leaf, m.asarray(m.ones(2), requires_grad=True).is_leaf
m.ones(2).to(float), m.ones(2).to(int), m.ones(2).to(bool)
m.ones(2).to(m.float32, copy=True), m.ones(2).to(m.ones(1).double())
m.e, m.pi, m.inf, m.newaxis
m.real(x) is x, m.conj(x) is x, x.conj() is x, m.resolve_conj(x) is x, x.resolve_neg() is x
m.is_conj(x), m.is_neg(x), x.is_conj(), x.is_neg()
m.imag(x)
m.fill(m.ones(2),3)
m.fill(x,3).grad_fn.name()
m.fill_(m.ones(2),3)
m.detach(x)
m.detach_(x*2)
m.zero_(m.ones(2))
m.ones(2,3).t().dim_order(), m.ones(2,3,4).dim_order()
m.ones(2).apply_(lambda v:v+1)
m.ones(2).map_(m.arange(2.),lambda a,b:a+b)
m.ones(2).map2_(m.arange(2.),m.ones(2),lambda a,b,c:a+b*c)
x.apply_(abs)
m.ones(2).map_(m.arange(3.),lambda a,b:a+b)
m.ones(2).untyped_storage().size(), m.ones(4)[1:].untyped_storage().nbytes()
(lambda y: y.untyped_storage().data_ptr() == y[1:].untyped_storage().data_ptr())(m.ones(3))
m.arange(6.).resize_(2,3)
m.arange(6.).resize_((2,2))
m.arange(6.).resize_(3,4).shape
m.arange(6.).resize_(3,4)[0]
m.arange(6.)[2:].resize_(2)
m.arange(6.)[2:].resize_(7).storage_offset()
m.arange(6.)[2:].resize_(7).untyped_storage().nbytes()
(lambda y: (y[2:].resize_(7), y.tolist())[1])(m.arange(6.))
x.resize_(2)
(x*2).resize_(2)
m.ones(2).resize_as_(m.ones(1,2))
m.ones(2).resize_(-1)
m.ones(2,3).t().resize_(3,2).stride()
m.ones(2,3).t().resize_(2,3).stride()
m.ones(0).resize_(2).shape
m.get_device(m.ones(1).cpu()) <= 0
x.is_xla, x.is_mps, x.is_nested, x.is_sparse_csr
m.is_floating_point(m.ones(2)), m.is_floating_point(m.ones(2).long()), m.is_complex(m.ones(1))
m.is_nonzero(m.tensor(3.0)), m.is_nonzero(m.tensor([0]))
m.is_nonzero(m.ones(2))
m.is_nonzero(m.ones(0))
m.is_floating_point(3)
m.is_signed(m.ones(2)), m.is_signed(m.ones(2).byte())
m.ones(2, 3).is_same_size(m.zeros(2, 3)), m.is_same_size(m.ones(2), m.ones(1))
m.ones(2, 3).type().split(".")[-1], m.ones(2).half().type().split(".")[-1]
m.ones(2).type(m.int32), m.ones(2).type("torch.DoubleTensor"), m.ones(2).type(m.LongTensor)
m.ones(2).type("torch.StrangeTensor")
m.ones(2, 3).dim(), m.ones(2, 3).ndim, m.ones(2, 3).ndimension(), m.ones(2, 3).nelement()
m.ones(2, 3).size(1), m.ones(2, 3).size(-2), list(m.ones(2, 3).size()), m.ones(2, 3).stride(0)
m.ones(2, 3).size(2)
m.ones(2, 3).stride(-3)
m.ones(4, 5)[1:, 2:].storage_offset(), m.ones(4, 5).t().is_contiguous(), m.ones(3).is_contiguous()
m.ones(2).element_size(), m.ones(2).double().itemsize, m.ones(3).half().nbytes
m.ones(2).is_cuda, m.ones(2).is_sparse, m.ones(2).is_quantized, m.ones(2).is_meta
m.ones(2).layout is m.strided, m.ones(2).is_pinned(), m.ones(2).is_inference()
m.ones(4)[1:].data_ptr() - m.ones(4).data_ptr() != 0
(lambda x: (x.data_ptr() == x.view(4).data_ptr(), x[0, 1].data_ptr() - x.data_ptr()))(m.ones(2, 2))
(lambda x: x.data_ptr() == x.clone().data_ptr())(m.ones(3))
m.ones(0).data_ptr()
len(m.ones(3, 2)), [t.tolist() for t in m.ones(2, 2)]
len(m.tensor(1))
list(m.tensor(1))
2.0 in m.arange(3.0), 5 in m.arange(3), m.tensor(1) in m.arange(3), m.ones(2) in m.ones(3, 2)
"a" in m.arange(3)
None in m.arange(3)
bool(m.ones(2))
bool(m.ones(0))
bool(m.tensor([[0.0]])), bool(m.tensor(True)), not m.tensor(2)
float(m.tensor(2)), int(m.tensor([[2.7]])), float(m.tensor(True)), complex(m.tensor(2.0)).real
float(m.ones(2))
int(m.tensor(float("nan")))
m.ones(2).item()
m.tensor(3).item(), m.tensor([[2.5]]).item(), m.tensor(False).item()
[10, 20, 30][m.tensor(1)]
[10, 20, 30][m.tensor(1.0)]
m.arange(6).reshape(2, 3).tolist(), m.tensor(2.5).tolist(), m.ones(2, 0).tolist()
m.ones(2, requires_grad=True).tolist()
m.ones(2, requires_grad=True).numpy()
m.ones(2, requires_grad=True).numpy(force=True)
m.ones(2).bfloat16().numpy()
np.asarray(m.arange(3)).tolist(), np.asarray(m.ones(2), dtype=np.float64).dtype.name
np.asarray(m.ones(2, requires_grad=True))
f"{m.tensor(3.14159):.2f}", f"{m.tensor(3)}", format(m.tensor(2.5), "e")
format(m.ones(2), ".2f")
m.finfo(m.float16).max, m.finfo(m.bfloat16).eps, m.finfo().tiny, m.finfo(m.float64).min
m.finfo(m.float32).bits, m.finfo(m.float32).resolution, m.finfo(m.float32).dtype
m.finfo(m.float32) == m.finfo(), m.finfo(m.float64).smallest_normal
m.iinfo(m.int64).min, m.iinfo(m.uint8).max, m.iinfo(m.int16).bits, m.iinfo(m.int8).dtype
m.finfo(m.int32)
m.iinfo(m.float32)
m.finfo(3)
m.iinfo()
m.can_cast(m.float32, m.int32), m.can_cast(m.int8, m.float16), m.can_cast(m.int64, m.uint8)
m.numel(m.ones(2, 3)), m.is_tensor(3), m.is_tensor(m.ones(1))
m.float32.is_floating_point, m.int8.itemsize, m.uint8.is_signed
copy.copy(m.ones(2, requires_grad=True) * 2).is_leaf
(lambda x: copy.copy(x).data_ptr() == x.data_ptr())(m.ones(2))
copy.deepcopy(m.ones(2, requires_grad=True) * 2)
(lambda x: copy.deepcopy(x).data_ptr() == x.data_ptr())(m.ones(2))
copy.deepcopy(m.nn.Parameter(m.ones(2))).requires_grad
pickle.loads(pickle.dumps(m.ones(2, requires_grad=True) * 2))
pickle.loads(pickle.dumps(m.arange(6).reshape(2, 3).t()))
pickle.loads(pickle.dumps(m.arange(6)[2:4])).storage_offset()
pickle.loads(pickle.dumps(m.float16)) is m.float16
m.tensor([1, 5]) == np.array([1, 2])
np.array([1, 2]) == m.tensor([1, 5])
m.tensor([1.0, 5.0]) == np.array([[1.0], [2.0]])
"""


@pytest.mark.parametrize("line", LINES.split("\n")[1:-1])
def test_as_torch(line: str) -> None:
    def case(m: Any) -> Any:
        names = {"m": m, "np": np, "copy": copy, "pickle": pickle}
        return eval(line, {**names, "x": m.ones(3, requires_grad=True)})

    theirs = outcome(case, torch)
    with interpreted():
        ours = outcome(case, clgrad)
    if theirs[0] == "ok":
        assert ours[0] == "ok", ours
        assert close(ours[1], theirs[1]), f"\nclgrad {ours[1]}\ntorch  {theirs[1]}"
    else:
        kinds = {"NotImplementedError": "RuntimeError"}
        assert ours[0] == "error", f"torch raises {theirs}, clgrad gives {ours[1]}"
        assert ours[1] == kinds.get(theirs[1], theirs[1]), f"torch {theirs}, clgrad {ours}"


def test_numpy_functions_return_tensors() -> None:
    with interpreted():
        made = np.sqrt(clgrad.tensor([4.0, 9.0]))
        assert isinstance(made, clgrad.Tensor)
        assert made.tolist() == [2.0, 3.0]
        with pytest.raises(ValueError, match="cannot be avoided"):
            np.array(clgrad.ones(2), copy=False)


def test_what_shares_memory_shares_it_after_pickling() -> None:
    with interpreted():
        base = clgrad.arange(4.0)
        base.tag = {"kept": True}
        one, two = pickle.loads(pickle.dumps((base, base[1:3])))
        two.zero_()
        assert one.tolist() == [0.0, 0.0, 0.0, 3.0]
        assert one.tag == {"kept": True}
        parameter = pickle.loads(pickle.dumps(clgrad.nn.Parameter(base)))
        assert type(parameter) is clgrad.nn.Parameter
        assert parameter.requires_grad


def test_a_copied_generator_goes_on_by_itself() -> None:
    with interpreted():
        one = clgrad.Generator().manual_seed(5)
        clgrad.rand(3, generator=one)
        for make in (copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))):
            start = one.get_state()
            two = make(one)
            assert (two.initial_seed(), two.get_state()) == (5, start)
            assert (clgrad.rand(4, generator=two) == clgrad.rand(4, generator=one)).all()
            one.manual_seed(5)
            assert two.get_state() != one.get_state()


def test_there_is_no_cuda() -> None:
    with interpreted(), pytest.raises(clgrad.DeviceError, match="no CUDA devices"):
        clgrad.ones(2).cuda()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cuda", "clgrad.accelerator"),
        ("compile", "leave it out"),
        ("GradScaler", "clgrad.amp.GradScaler"),
        ("complex64", "real and imaginary"),
        ("sparse_coo_tensor", "dense"),
        ("set_num_threads", "runtime decides"),
        ("zerosx", "'zerosx'$"),
        ("fft", "complex"),
    ],
)
def test_what_pytorch_has_and_this_has_not_is_said(name, hint):
    with pytest.raises(AttributeError, match=f"has no attribute.*{hint}"):
        getattr(clgrad, name)
    assert not hasattr(clgrad, name)
