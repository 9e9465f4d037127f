"""Random tensors against PyTorch where chance has no part: shapes, dtypes, nodes, errors."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from twin import close, outcome

import clgrad
from clgrad.testing.interpreter import interpreted

LINES = """
m.randperm(0)
m.randperm(1)
m.randperm(5).sort()[0]
m.randperm(-1)
m.randperm(5,dtype=m.float32).sort()[0]
m.randperm(300,dtype=m.uint8)
m.randperm(7,dtype=m.int32,generator=m.Generator()).sum()
m.randperm(4,out=m.empty(0,dtype=m.int64)).shape
m.multinomial(m.tensor([1.,2.,0.]),2).sort()[0]
m.multinomial(m.tensor([1.,2.,0.]),3)[2]
m.multinomial(m.tensor([1.,2.,0.]),4)
m.multinomial(m.tensor([1.,2.,0.]),4,replacement=True).shape
m.multinomial(m.tensor([1,2]),1)
m.multinomial(m.tensor(1.),1)
m.multinomial(m.ones(2,2,2),1)
m.multinomial(m.ones(2,3),3).sort()[0]
m.multinomial(m.tensor([0.,0.]),1)
m.multinomial(m.tensor([-1.,2.]),1)
m.multinomial(m.tensor([float('nan'),2.]),1)
m.multinomial(m.tensor([float('inf'),2.]),1)
m.multinomial(m.tensor([1.,2.]),0)
m.multinomial(m.tensor([]),1)
m.multinomial(x,1).requires_grad
m.multinomial(m.tensor([[0.,1.,0.],[0.,0.,2.]]),1)
m.multinomial(m.tensor([[0.,1.,0.],[0.,0.,2.]]),3,True)
m.ones(3).multinomial(2).dtype is m.int64
m.multinomial(m.tensor([0.,1.,0.]).half(),2,True)
m.multinomial(m.ones(0,3),2,True).shape
m.multinomial(m.tensor([0.,1.]),1,out=m.empty(1,dtype=m.int64))
m.dropout(x,0.,True) is x
m.dropout(x,0.5,False) is x
m.dropout(x,1.,True)
m.dropout(x,2.,True)
m.dropout(x,.5,True).grad_fn.name()
m.feature_dropout(x,0.5,True)
m.feature_dropout(m.ones(2,3,4),1.,True)
m.alpha_dropout(x,0.5,True).grad_fn.name()
m.native_dropout(x,0.5,True)[0].grad_fn.name()
m.native_dropout(x,0.5,False)
m.native_dropout(x,1.,True)
m.nn.functional.gumbel_softmax(x,tau=0.)
m.nn.functional.gumbel_softmax(m.ones(2,3),dim=0).sum(0)
m.nn.functional.gumbel_softmax(m.ones(2,3),dim=-1,hard=True).sum(-1)
m.nn.functional.gumbel_softmax(m.ones(2,3,dtype=m.int64))
m.nn.functional.gumbel_softmax(x,dim=3)
m.nn.functional.gumbel_softmax(x).grad_fn.name()
m.nn.functional.gumbel_softmax(x,hard=True).grad_fn.name()
m.nn.functional.gumbel_softmax(m.tensor(1.),hard=True)
m.rand(3,dtype=m.int32)
m.rand_like(m.ones(3,dtype=m.int32))
m.randn(3,dtype=m.int32)
m.rand()
m.rand([]).shape
m.rand(2,3,generator=m.Generator()).shape
m.rand(3,out=m.ones(3)).shape
m.randint(5,(3,)).dtype is m.int64
m.randint(5,3)
m.randint(5,5,(3,))
m.randint(0,300,(3,),dtype=m.uint8)
m.randint(0,256,(3,),dtype=m.uint8).shape
m.randint(-1,3,(3,),dtype=m.uint8)
m.randint(-1,0,(3,),dtype=m.float32)
m.randint(0,2,(3,),dtype=m.bool).shape
m.randint(0,3,(3,),dtype=m.bool)
m.randint(low=2,high=3,size=(2,))
m.randint(high=1,size=(2,))
m.randint(2.5,(3,))
m.randint(m.tensor(1),(3,))
m.randint_like(m.ones(3),1)
m.randint_like(m.ones(3),4,5)
m.randint(0,3,(3,),requires_grad=True)
m.randint(0,1,(3,),dtype=m.float32,requires_grad=True)
m.normal(0.,0.,(3,))
m.normal(2,0,(3,))
m.normal(m.tensor([0.,1.]),0.)
m.normal(m.tensor([0.,1.])).shape
m.normal(0.,m.tensor([0.,0.]))
m.normal(m.tensor([0.,1.]),m.tensor([[0.],[1.]])).shape
m.normal(m.tensor([0.,1.]),-1.)
m.normal(0.,-1.,(2,))
m.normal(m.tensor([0.,1.]),m.tensor([-1.,1.]))
m.normal(0.,1.)
m.normal(m.tensor([0,1]),1.)
m.normal(x,1.).grad_fn.name()
m.normal(0.,x).grad_fn.name()
m.normal(x,x).grad_fn.name()
m.normal(mean=3.,std=0.,size=(2,))
m.autograd.grad(m.normal(x,x).sum(),[x])[0]
m.bernoulli(x.detach())
m.bernoulli(x).grad_fn.name()
m.bernoulli(m.tensor([1,0]))
m.bernoulli(m.ones(3),0.)
m.bernoulli(m.ones(3,dtype=m.int64),1.)
m.bernoulli(m.ones(3),1.5)
m.bernoulli(m.ones(3),m.tensor([.1,.2,.3]))
m.ones(3).bernoulli()
m.ones(3).bernoulli(0.)
m.ones(3).bernoulli_(m.tensor([1.,0,1.]))
m.ones(3).bernoulli_(m.tensor([.1,.2]))
m.ones(3,dtype=m.int32).bernoulli_(1.)
m.ones(3,dtype=m.bool).bernoulli_(0.)
m.ones(3).bernoulli_(2)
(x*1).bernoulli_().grad_fn.name()
(x*1).bernoulli_(x).grad_fn.name()
(x*1).uniform_().grad_fn.name()
(x*1).exponential_().grad_fn.name()
(x*1).geometric_(.5).grad_fn.name()
(x*1).log_normal_().grad_fn.name()
(x*1).cauchy_().grad_fn.name()
(x*1).random_().grad_fn.name()
(x*1).random_(3).grad_fn.name()
(x*1).random_(1,3).grad_fn.name()
(x*1).normal_().grad_fn.name()
m.ones(3,dtype=m.int32).uniform_()
m.ones(3).uniform_(2,1)
m.ones(3).uniform_(1,1)
m.ones(3).uniform_(float('-inf'),1)
m.ones(3,dtype=m.int32).normal_()
m.ones(3).normal_(0,-1)
m.ones(3).normal_(5,0)
m.ones(3,dtype=m.int32).exponential_()
m.ones(3).exponential_(0)
m.ones(3).exponential_(-1)
m.ones(3).geometric_(0)
m.ones(3).geometric_(1)
m.ones(3,dtype=m.int32).geometric_(.5).dtype is m.int32
m.ones(3).log_normal_(0,0)
m.ones(3).log_normal_(0,-1)
m.ones(3,dtype=m.int32).log_normal_()
m.ones(3).cauchy_(0,0)
m.ones(3).cauchy_(0,-1)
m.ones(3,dtype=m.int32).cauchy_()
m.ones(3,dtype=m.int32).random_(1)
m.ones(3).random_().shape
m.ones(3,dtype=m.bool).random_().dtype is m.bool
m.ones(3,dtype=m.uint8).random_().shape
m.ones(3,dtype=m.int8).random_(-5,-4)
m.ones(3,dtype=m.int8).random_(0,500)
m.ones(3).random_(5,5)
m.ones(3,dtype=m.int64).random_(5,None).shape
m.Generator().initial_seed()
m.Generator().manual_seed(-1).initial_seed()
m.get_rng_state().dtype is m.uint8
m.rand_like(x).requires_grad
m.rand_like(m.ones(2),requires_grad=True).requires_grad
m.rand_like(m.ones(2),generator=m.Generator()).shape
x.uniform_()
x.detach().clone().random_(0,1)
m.ones(2,3).t().normal_(3,0)
m.ones(4)[::2].uniform_(2,2)
m.ones(3).uniform_(to=1,**{'from':1})
m.ones(2,3)[:,1].bernoulli_(0.)
"""


@pytest.mark.parametrize("line", LINES.split("\n")[1:-1])
def test_as_torch(line: str) -> None:
    def case(m: Any) -> Any:
        return eval(line, {"m": m, "x": m.ones(3, requires_grad=True)})

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


def test_streams_can_be_taken_up_again() -> None:
    with interpreted():
        clgrad.manual_seed(5)
        clgrad.rand(10)
        state = clgrad.get_rng_state()
        assert (state.dtype, state.shape) == (clgrad.uint8, (16,))
        first = clgrad.randn(4).tolist()
        with clgrad.random.fork_rng():
            clgrad.manual_seed(77)
            clgrad.rand(3)
        second = clgrad.randn(4).tolist()
        clgrad.set_rng_state(state)
        assert clgrad.randn(8).tolist() == first + second
        own = clgrad.Generator().manual_seed(5)
        assert clgrad.rand(10, generator=own).shape == (10,)
        assert clgrad.randn(4, generator=own.clone_state()).tolist() == first
        assert clgrad.randn(4, generator=own).tolist() == first
        other = clgrad.Generator()
        other.set_state(own.get_state())
        assert clgrad.randn(4, generator=other).tolist() == second
        with pytest.raises(clgrad.ClgradValueError, match="set_state"):
            other.set_state("nonsense")


def test_a_stream_does_not_depend_on_how_it_is_cut() -> None:
    with interpreted():
        clgrad.manual_seed(9)
        whole = clgrad.rand(100).tolist()
        clgrad.manual_seed(9)
        parts = [clgrad.rand(n).tolist() for n in (1, 9, 40, 50)]
        assert [v for part in parts for v in part] == whole


def test_gradients_of_what_is_drawn_are_zero() -> None:
    with interpreted():
        mean = clgrad.zeros(3, 1, requires_grad=True)
        std = clgrad.ones(4, requires_grad=True)
        clgrad.normal(mean, std).sum().backward()
        assert mean.grad.tolist() == [[0.0]] * 3
        assert std.grad.tolist() == [0.0] * 4
        p = clgrad.full((3,), 0.5, requires_grad=True)
        p.bernoulli().sum().backward()
        assert p.grad.tolist() == [0.0] * 3
        x = clgrad.ones(3, requires_grad=True)
        y = x * 2
        y.exponential_()
        (y * 3).sum().backward()
        assert x.grad.tolist() == [0.0] * 3
