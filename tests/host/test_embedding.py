"""Rows of tables, bags of them, and small functions against PyTorch."""

from __future__ import annotations

import pytest
from torch_cases import check, lines

from clgrad.testing.interpreter import interpreted

EMBEDDINGS = lines("""
    F.embedding(i,x)
    F.embedding(I,x)
    F.embedding(i,x,padding_idx=2)
    F.embedding(i,x,padding_idx=-1)
    F.embedding(i,x,padding_idx=0)
    F.embedding(i,x,padding_idx=7)
    F.embedding(i,x,scale_grad_by_freq=True)
    F.embedding(i,x,2,None,2.,True)
    F.embedding(i.int(),x)
    F.embedding(i0,x)
    F.embedding(ie,x)
    F.embedding(T([5]),x)
    F.embedding(T([-1]),x)
    F.embedding(T([0.5]),x)
    F.embedding(T([1],'int16'),x)
    F.embedding(i,v)
    F.embedding(i,x.t())
    F.embedding(i,x*2)
    F.embedding(i,h)
    F.embedding(i,d)
    y=x.detach().clone(); F.embedding(T([0,2]),y,max_norm=1.); y
    y=x.detach().clone(); F.embedding(T([0,2]),y,max_norm=1.,norm_type=1.); y
    M.embedding(x,i)
    M.embedding(x,i,1)
    F.embedding_bag(I,x)
    F.embedding_bag(I,x,mode='sum')
    F.embedding_bag(I,x,mode='max')
    F.embedding_bag(I,x,mode='sum',per_sample_weights=x[:2])
    F.embedding_bag(I,x,mode='mean',padding_idx=1)
    F.embedding_bag(I,x,mode='max',padding_idx=1)
    F.embedding_bag(i,x)
    F.embedding_bag(I,x,T([0]))
    F.embedding_bag(i,x,T([0]),mode='foo')
    F.embedding_bag(i,x,T([0]),mode='mean',per_sample_weights=u)
    F.embedding_bag(i,x,T([0]),mode='sum',per_sample_weights=v)
    F.embedding_bag(T([9]),x,T([0]))
    F.one_hot(i)
    F.one_hot(i,5)
    F.one_hot(I,3)
    F.one_hot(i,2)
    F.one_hot(T([-1]))
    F.one_hot(ie,3)
    F.one_hot(ie)
    F.one_hot(i.int())
    F.one_hot(i0,4)
""")
OTHERS = lines("""
    M.detach(x)
    M.fill(x,2.)
    M.fill(x,z)
    y=x.clone(); M.fill_(y,2.); y
    y=x.clone(); M.zero_(y); y
    y=x.clone(); M.detach_(y); y
    M.index_put_(x.clone(),(i,),v)
    x.sum_to_size(1,4)
    x.sum_to_size(4)
    b.sum_to_size(3,1)
    b.sum_to_size((3,4))
    x.sum_to_size(3,4)
    x.sum_to_size(2,4)
    x.renorm(2,0,1.)
    x.renorm(1,1,1.)
    M.renorm(x,2,0,maxnorm=.5)
    x.renorm(0,0,1.)
    v.renorm(2,0,1.)
    y=x.clone(); y.renorm_(2,0,1.); y
    x.nonzero_static(size=3)
    M.nonzero_static(n,size=20)
    M.nonzero_static(n,size=20,fill_value=7)
    M.unravel_index(T([5,11]),(3,4))
    M.unravel_index(T(5),(2,3))
    M.unravel_index(T([[5,1]]),6)
    M.unravel_index(T([5.]),(2,3))
    x.narrow_copy(0,0,2)
    M.as_strided_(x.clone(),(2,2),(1,2))
    M.addmv_(u.clone(),x,v)
""")


@pytest.mark.parametrize("case", EMBEDDINGS + OTHERS)
def test_as_in_pytorch(case: str) -> None:
    with interpreted():
        check(case, views=False)
