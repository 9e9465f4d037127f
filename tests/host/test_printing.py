"""Tensors as text, character by character as PyTorch writes them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad.testing.interpreter import HostDevice, interpreted

LINES = """
repr(m.tensor(3.))
repr(m.tensor(3))
repr(m.tensor(True))
repr(m.tensor(3.14159265))
repr(m.tensor([1.,2.,3.]))
repr(m.tensor([1.5,2.,3.]))
repr(m.tensor([1e-8,1.]))
repr(m.tensor([1e8,1.]))
repr(m.tensor([1e10,1.5]))
repr(m.tensor([12345.678,1.5]))
repr(m.tensor([123456789.,1.]))
repr(m.tensor([0.0001,0.1]))
repr(m.tensor([0.00001,0.1]))
repr(m.tensor([float('nan'),1.]))
repr(m.tensor([float('inf'),1.5]))
repr(m.tensor([float('inf'),-float('inf'),float('nan')]))
repr(m.tensor([-1.5,2.]))
repr(m.tensor([-0.,0.]))
repr(m.tensor([1,-20,300]))
repr(m.tensor([True,False]))
repr(m.tensor([]))
repr(m.zeros(0,3))
repr(m.zeros(2,0,dtype=m.int64))
repr(m.tensor([],dtype=m.int64))
repr(m.tensor([],dtype=m.float64))
repr(m.zeros(0,dtype=m.bool))
repr(m.arange(12.).reshape(3,4))
repr(m.arange(24).reshape(2,3,4))
repr(m.arange(2000))
repr(m.arange(2000.).reshape(2,1000))
repr(m.arange(10000.).reshape(10,10,100))
repr(m.arange(40)*100000)
repr(m.arange(30.)*1.1)
repr(m.tensor([1.,2.],dtype=m.float64))
repr(m.tensor([1.,2.5],dtype=m.float16))
repr(m.tensor([1.,2.5],dtype=m.bfloat16))
repr(m.tensor([1,2],dtype=m.int8))
repr(m.tensor([1,2],dtype=m.uint8))
repr(m.ones(2,requires_grad=True))
repr(m.ones(2,requires_grad=True)*2)
repr(m.ones(2,requires_grad=True).view(1,2))
repr((m.ones(30,requires_grad=True)*1.234567).exp())
repr(m.zeros(3,3)==0)
repr(m.zeros(200,200))
repr(m.zeros(5,5,5,60))
repr(m.ones(2,3)[0])
str(m.ones(2))
f"{m.tensor(3.14159):.2f}"
f"{m.tensor(3)}"
f"{m.ones(2)}"
"{}".format(m.tensor(1.5))
format(m.tensor(2.5),'e')
format(m.ones(2),'.2f')
repr(m.tensor([1e-10,1e10]))
repr(m.tensor([1.23456789e-5]))
repr(m.tensor([100000.]))
repr(m.tensor([99999.5]))
repr(m.tensor([0.1,1000.]))
repr(m.tensor([0.1,1001.]))
repr(m.tensor([[1.,float('nan')],[1e6,2]]))
repr(m.tensor(1e-20))
repr(m.tensor(1e20))
repr(m.tensor(float('nan')))
repr(m.tensor(-2.5e-5))
repr(m.tensor(123456.))
repr(m.tensor(1234567.8))
repr(m.nn.Parameter(m.ones(2)))
repr(m.ones(2,3).t())
repr(m.randn(3,0).T)
repr(m.ones(1001))
repr(m.ones(1000))
repr(m.arange(1001.)/7)
repr(m.eye(7)*1e-3)
repr(m.tensor([[[]]]))
repr(m.tensor([5],dtype=m.int16))
repr(m.full((3,),1/3,dtype=m.float64))
repr(m.tensor([2**62]))
repr(m.tensor([-2**62,1]))
repr(m.tensor([1.0,2.0,1e-3]))
repr(m.ones(2,requires_grad=True).clone().detach().requires_grad_())
repr(m.ones(20)*1234.5678)
repr(m.ones(2,20)*-1234.5678)
repr(m.tensor([65504.],dtype=m.float16))
repr(m.ones(3,1000)[:, ::250])
repr(m.Size([2,3]))
repr(m.float32)
repr(m.strided)
repr(m.ones(2).stride())
repr(m.finfo(m.float32))
repr(m.iinfo(m.int32))
"""


def text(line: str, m: Any) -> str:
    try:
        return str(eval(line, {"m": m})).replace("torch.", "clgrad.")
    except TypeError as error:
        return f"TypeError: {str(error)[:40]}"


@pytest.mark.parametrize("line", LINES.split("\n")[1:-1])
def test_as_torch(line: str) -> None:
    with interpreted():
        assert text(line, clgrad) == text(line, torch)


OPTIONS: list[dict[str, Any]] = [
    {}, {"precision": 2}, {"precision": 8, "linewidth": 60}, {"edgeitems": 1, "threshold": 5},
    {"sci_mode": True}, {"sci_mode": False}, {"profile": "short"}, {"profile": "full"},
    {"linewidth": 200, "threshold": 10, "edgeitems": 4},
]  # fmt: skip
SHAPES = [(), (1,), (7,), (30,), (3, 4), (2, 3, 2), (12, 9), (1, 1, 1, 5), (40, 30)]


def arrays() -> list[Any]:
    """Return arrays of many magnitudes, with special values now and then."""
    made = []
    rng = np.random.default_rng(0)
    for shape, scale in itertools.product(SHAPES, (1e-6, 1.0, 300.0, 1e9)):
        array = rng.standard_normal(shape) * scale
        if rng.random() < 0.3:
            array = np.round(array)
        if array.size > 3 and rng.random() < 0.4:
            array.reshape(-1)[rng.integers(array.size, size=2)] = [np.nan, -np.inf]
        if rng.random() < 0.3:
            array = np.abs(array)
        made.append(array.astype(rng.choice(["float32", "float64"])))
        made.append(rng.integers(-int(scale) - 2, int(scale) + 3, shape))
        made.append(rng.random(shape) < 0.5)
    return made


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_random_arrays(options: dict[str, Any]) -> None:
    torch.set_printoptions(profile="default")
    torch.set_printoptions(**options)
    try:
        with interpreted(), clgrad.printoptions(**options):
            for array in arrays():
                theirs = repr(torch.tensor(array)).replace("torch.", "clgrad.")
                assert repr(clgrad.tensor(array)) == theirs
    finally:
        torch.set_printoptions(profile="default")


def test_options() -> None:
    before = clgrad.get_printoptions()
    with clgrad.printoptions(precision=1):
        assert clgrad.get_printoptions()["precision"] == 1
    assert clgrad.get_printoptions() == before
    with pytest.raises(clgrad.ClgradValueError, match="no profile"):
        clgrad.set_printoptions(profile="long")


def test_what_large_tensors_show_is_the_same_however_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with interpreted():
        x = clgrad.arange(60000.0).reshape(20, 30, 100).transpose(0, 2)
        whole = repr(x)
        monkeypatch.setattr("clgrad.printing._READ", 100)
        assert repr(x) == whole
        assert repr(x.requires_grad_()).endswith("requires_grad=True)")


def test_devices_are_shown_where_they_are_not_the_default() -> None:
    with interpreted():
        other = clgrad.ones(2, device=HostDevice("elsewhere"))
        assert repr(other) == "tensor([1., 1.], device='elsewhere')"
        assert repr(clgrad.ones(2)) == "tensor([1., 1.])"


def test_histories_that_cannot_be_told() -> None:
    with interpreted():
        base = clgrad.ones(4, requires_grad=True) * 1
        part, _ = base.split(2)
        with clgrad.no_grad():
            base.mul_(2)
        assert repr(part) == "tensor([2., 2.], grad_fn=<Invalid>)"


def test_subclasses_show_their_name() -> None:
    class Kept(clgrad.Tensor):
        pass

    with interpreted():
        assert repr(Kept([1.0])) == "Kept([1.])"
