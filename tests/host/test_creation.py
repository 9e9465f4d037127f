"""Making tensors, against PyTorch: each line is run by both libraries."""

from __future__ import annotations

import array
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from twin import close, outcome

import clgrad
from clgrad.testing.interpreter import interpreted

DATA = """
m.tensor(None)
m.tensor("a")
m.tensor(["a"])
m.tensor([None])
m.tensor({1:2})
m.tensor(object())
m.tensor([[1,2],[3]])
m.tensor([[1,2],3])
m.tensor([1,[2,3]])
m.tensor([[],[]])
m.tensor([[[]]])
m.tensor([])
m.tensor(range(3))
m.tensor((i for i in range(3)))
m.tensor({1,2})
m.tensor(2**63)
m.tensor(2**64)
m.tensor([2**63, 1])
m.tensor(-2**63)
m.tensor(2**63, dtype=m.uint64)
m.tensor(2**63, dtype=m.float32)
m.tensor(2**64, dtype=m.float32)
m.tensor(300, dtype=m.uint8)
m.tensor(-1, dtype=m.uint8)
m.tensor([300,-1], dtype=m.int8)
m.tensor(1.7, dtype=m.int32)
m.tensor(float('nan'), dtype=m.int32)
m.tensor(float('inf'), dtype=m.int64)
m.tensor(1e30, dtype=m.int64)
m.tensor(1e30, dtype=m.float16)
m.tensor(0.5, dtype=m.bool)
m.tensor(np.array([300]), dtype=m.uint8)
m.tensor(np.array([1.5,np.nan]), dtype=m.int32)
m.tensor([np.float32(1)])
m.tensor([np.float64(1)])
m.tensor(np.float64(1))
m.tensor(np.float32(1))
m.tensor([np.float32(1), 1.0])
m.tensor([np.int8(1), True])
m.tensor([np.int8(1), 2])
m.tensor([np.bool_(1), 2.5])
m.tensor([np.array([1.,2.])])
m.tensor([np.array([1,2],dtype=np.int16), np.array([1,2],dtype=np.int32)])
m.tensor([np.array([1,2]), [1,2.]])
m.tensor([m.tensor(1.,dtype=m.float64), 2])
m.tensor([m.tensor([1.]), 2])
m.tensor([m.tensor([1.,2.])])
m.tensor([[m.tensor([1.,2.])]])
m.tensor([m.tensor([1.]), m.tensor([2.])])
m.tensor([m.tensor(1., requires_grad=True)])
m.tensor(m.tensor([1.]))
m.tensor(np.array(['a']))
m.tensor(np.array([object()]))
m.from_numpy([1])
m.from_numpy(np.float32(1))
m.tensor(array.array('f',[1,2]))
m.tensor(b"ab")
m.tensor(bytearray(b"ab"))
m.tensor(memoryview(b"ab"))
m.tensor([1,2], requires_grad=True)
m.tensor([True, 2])
m.tensor([True, 2.0])
m.tensor(True)
m.tensor(3, dtype=int)
m.tensor(3, dtype=float)
m.tensor(data=3)
m.tensor()
m.tensor(1,2)
m.as_tensor([1,2])
m.as_tensor(np.array([1.,2.]))
m.as_tensor(np.float32(3))
m.as_tensor("a")
m.asarray([1,2], dtype=m.float32, requires_grad=True)
m.asarray(m.ones(2), copy=True)
m.asarray(b"abcd", dtype=m.uint8)
m.asarray(3.5)
m.asarray([1,2],copy=False)
m.scalar_tensor(3)
m.scalar_tensor(True)
m.scalar_tensor(3, dtype=m.int32)
m.scalar_tensor(m.tensor(3))
m.frombuffer(b"abcd", dtype=m.uint8)
m.Tensor(2,3).shape
m.Tensor([1,2])
m.Tensor(3).shape
m.Tensor()
m.Tensor(m.Size([2,3])).shape
m.Tensor(3.5)
m.Tensor(m.tensor([1,2]))
m.Tensor(np.array([1,2]))
m.FloatTensor([1,2])
m.LongTensor([1,2])
m.LongTensor([1.5,2])
m.ones(2).new([1,2])
m.ones(2).new(3).shape
m.ones(2).new_tensor([1,2])
m.ones(2).new_tensor(np.array([1,2]))
"""
NUMBERS = """
m.kaiser_window(9)
m.kaiser_window(8,False,5.0,dtype=m.float64)
m.kaiser_window(1)
m.range(0,1,.25)
m.range(1,4)
m.range(4,1,-1.5)
m.range(1,4,0)
m.range(1,4,-1)
m.range(1,4,dtype=m.int64)
m.range(1,2,2)
m.hann_window(5)
m.hann_window(5,False)
m.hann_window(1)
m.hann_window(0)
m.hann_window(-1)
m.hann_window(2,periodic=False)
m.hann_window(4,dtype=m.int32)
m.hann_window(6,dtype=m.float64)
m.hamming_window(7)
m.hamming_window(7,True,0.6,0.3)
m.bartlett_window(6)
m.bartlett_window(7,periodic=False)
m.bartlett_window(2)
m.blackman_window(8,periodic=False)[1:-1]
m.full((2,),1e30,dtype=m.float16)
m.full((2,),float("inf"),dtype=m.float16)
m.zeros(2).fill_(1e39)
m.zeros(2,dtype=m.uint8).fill_(256)
m.zeros(2,dtype=m.int16).fill_(2.7)
m.ones(2).new_full((2,),3)
m.ones(2).new_full((2,),True)
m.ones(2,dtype=m.int32).new_full((2,),1.5)
m.full((2,),True)
m.full((2,),1)
m.full((2,),1.5)
m.full((2,),m.tensor(3))
m.full((2,),m.tensor([3]))
m.full(2,3)
m.full([2],3,dtype=m.bool)
m.full((2,),300,dtype=m.uint8)
m.full((2,),-1,dtype=m.uint8)
m.full((2,),1.5,dtype=m.int32)
m.full_like(m.ones(2,dtype=m.int32),1.5)
m.full((-1,),1)
m.zeros(2,-1)
m.zeros()
m.zeros([])
m.zeros(())
m.zeros(2.0)
m.zeros((2.0,))
m.zeros(m.tensor(2),3)
m.zeros((m.tensor(2),3))
m.zeros(np.int64(2),3)
m.zeros(size=(2,))
m.zeros(True)
m.zeros("a")
m.zeros(None)
m.zeros([2],[3])
m.zeros(3,out=m.ones(3))
m.zeros(3,out=m.ones(3,dtype=m.int32))
m.zeros(3,out=m.ones(3),dtype=m.int32)
m.empty(2,3).shape
m.zeros(3, dtype=None)
m.arange(5)
m.arange(5.)
m.arange(1,5)
m.arange(1,5,2)
m.arange(5,1)
m.arange(5,1,-1)
m.arange(1,5,0)
m.arange(1,5,-1)
m.arange(0,1,0.1)
m.arange(0.5,5,1,dtype=m.int64)
m.arange(0,3,0.5,dtype=m.int64)
m.arange(0,2.5,dtype=m.int64)
m.arange(float('nan'))
m.arange(float('inf'))
m.arange(5,dtype=m.bool)
m.arange(2,dtype=m.bool)
m.arange(True)
m.arange(3,dtype=m.float16)
m.arange(m.tensor(3))
m.arange(m.tensor(3.), dtype=m.int64)
m.arange(end=4)
m.arange(start=1,end=4,step=2)
m.arange(0,5,out=m.empty(5))
m.arange(5,requires_grad=True)
m.arange(5.,requires_grad=True)
m.arange(0,10,3.0)
m.arange(-3,3,1.5)
m.arange(2**62, 2**62+3)
m.arange(1,1)
m.linspace(0,1,5)
m.linspace(3,10,4,dtype=m.int64)
m.linspace(-3,10,6,dtype=m.int64)
m.linspace(0,1,1)
m.linspace(0,1,0)
m.linspace(0,1,-1)
m.linspace(0,1)
m.linspace(0,1,2.0)
m.linspace(m.tensor(0.),1,3)
m.linspace(m.tensor([0.]),1,3)
m.linspace(0,1,3,dtype=m.bool)
m.linspace(1,5,9,dtype=m.uint8)
m.linspace(0,1,3,out=m.empty(3))
m.logspace(0,3,4)
m.logspace(0,3,4,base=2)
m.logspace(0,3,4,dtype=m.int64)
m.logspace(0,3,4,base=-2)
m.logspace(0,3,4,base=0)
m.logspace(0,3,1)
m.eye(3)
m.eye(2,3)
m.eye(3,2,dtype=m.int64)
m.eye(0)
m.eye(-1)
m.eye(2,-1)
m.eye(2,dtype=m.bool)
m.tril_indices(3,3)
m.tril_indices(3,4,1)
m.triu_indices(3,4,-1)
m.tril_indices(-1,3)
m.tril_indices(3,3,dtype=m.float32)
m.tril_indices(3,3,dtype=m.int32)
m.tril_indices(0,3)
m.tril_indices(3,3,5)
m.tril_indices(3,3,-5)
m.meshgrid(m.arange(2),m.arange(3),indexing='ij')
m.meshgrid([m.arange(2),m.tensor(3)],indexing='xy')
m.meshgrid(m.ones(2,2),indexing='ij')
m.meshgrid(m.ones(2),m.ones(2).long(),indexing='ij')
m.meshgrid(m.ones(2),indexing='a')
m.meshgrid()
m.cartesian_prod(m.arange(2),m.arange(3))
m.cartesian_prod(m.arange(2))
m.cartesian_prod(m.ones(2,2))
m.vander(m.arange(3))
m.vander(m.arange(3),2,increasing=True)
m.empty_strided((2,3),(1,2)).stride()
m.zeros_like(m.ones(2,3)[:,::2]).stride()
m.zeros_like([1])
m.zeros_like(m.ones(2),dtype=int)
m.empty_permuted((2,3),(1,0)).stride()
m.empty_like(m.ones(2),requires_grad=True).requires_grad
m.zeros(2,dtype=int,requires_grad=True)
m.zeros_like(m.ones(2,requires_grad=True)).requires_grad
m.ones(3).new_zeros(2,3)
m.ones(3).new_zeros((2,3),dtype=m.int8)
m.ones(3).new_empty(2).shape
m.ones(3).new_ones(2,requires_grad=True)
m.ones(3).new_zeros(size=(2,))
"""


@pytest.mark.parametrize("line", [*DATA.split("\n")[1:-1], *NUMBERS.split("\n")[1:-1]])
def test_as_torch(line: str) -> None:
    def case(m: Any) -> Any:
        return eval(line, {"m": m, "np": np, "array": array})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
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


REFUSED = ("m.tensor(1j)", "m.tensor([1, 1j])", "m.tensor(np.ones(2) * 1j)", "m.full((2,), 1j)")


@pytest.mark.parametrize("line", REFUSED)
def test_complex_numbers_are_an_error_with_a_name(line: str) -> None:
    with interpreted(), pytest.raises(clgrad.DTypeError, match="complex numbers are not supported"):
        eval(line, {"m": clgrad, "np": np})


def test_arrays_of_any_layout_and_byte_order_are_taken() -> None:
    base = np.arange(24, dtype=np.int16).reshape(4, 6)
    with interpreted():
        for array_ in (base[::-1], base.T, base[1::2, ::-3], base.astype(">i2"), base[:, :0]):
            for make in (clgrad.tensor, clgrad.from_numpy, clgrad.as_tensor, clgrad.asarray):
                made = make(array_)
                assert made.dtype is clgrad.int16
                assert np.array_equal(made.numpy(), array_)


def test_what_is_made_is_a_copy_with_bounds() -> None:
    source = np.array([3, -7, 5])
    with interpreted():
        made = clgrad.tensor(source)
        source[:] = 0
        assert made.tolist() == [3, -7, 5]
        assert made._storage.value.bounds == (-7, 5)
        assert clgrad.tril_indices(3, 4)._storage.value.bounds == (0, 2)


def test_out_takes_the_result_or_its_shape() -> None:
    with interpreted():
        target = clgrad.empty(0)
        assert clgrad.linspace(0, 1, 3, out=target) is target
        assert target.tolist() == [0.0, 0.5, 1.0]
        with pytest.warns(clgrad.ClgradWarning, match="was resized"):
            assert clgrad.zeros(3, out=clgrad.ones(2)).tolist() == [0.0] * 3
        with pytest.raises(RuntimeError, match="does not match dtype of out"):
            clgrad.zeros(3, out=clgrad.ones(3), dtype=clgrad.int32)


def test_formats_that_are_not_there() -> None:
    with interpreted():
        x = clgrad.ones(2, 3)
        assert clgrad.zeros_like(x, memory_format=clgrad.preserve_format).shape == (2, 3)
        assert clgrad.zeros(2, layout=clgrad.strided, pin_memory=False).shape == (2,)
        with pytest.raises(clgrad.DTypeError, match="memory format"):
            clgrad.zeros_like(x, memory_format=clgrad.channels_last)
        with pytest.raises(clgrad.DTypeError, match="layout"):
            clgrad.zeros(2, layout="sparse")
