"""Arguments that few programs pass: dtypes of sums, empty and 0-d operands, `out=`; as PyTorch."""

from __future__ import annotations

import pytest
from torch_cases import check, lines

from clgrad.testing.interpreter import interpreted

CASES = lines("""
    M.sum(p,dtype=M.bool)
    M.sum(T([1,-1]),0,dtype=M.bool)
    M.sum(x.detach(),1,dtype=M.bool)
    M.nansum(p,0,dtype=M.bool)
    M.prod(p,1,dtype=M.bool)
    M.prod(p,dtype=M.uint8)
    M.logsumexp(n,1)
    M.logsumexp(p,(0,1))
    M.logsumexp(i0,0)
    M.tensordot(T([[[1]]],'uint8'),T([[[1,2]],[[3,4]]],'uint8'),dims=[[0,1],[2,0]])
    M.linalg.matrix_norm(e.detach().t(),1)
    M.linalg.matrix_norm(e.detach(),1)
    M.linalg.matrix_norm(e.detach(),inf)
    M.linalg.matrix_norm(e,-1)
    M.linalg.matrix_norm(e,-inf)
    M.linalg.matrix_norm(e.detach(),1,keepdim=True)
    M.linalg.vander(z,N=2)
    M.unravel_index(T(0),())
    F.linear(s.detach(),x.detach().t().contiguous(),v.detach(),out=M.empty(0))
    M.slice_scatter(x.detach(),M.zeros(1,4),0,1,2,out=M.empty(0))
    M.conj_physical(x.detach(),out=M.empty(0))
    q.double(memory_format=M.channels_last).stride()
    q.half(memory_format=M.preserve_format)
    F.threshold(n,.5,-9.7)
    F.threshold(n,-1.5,2.9)
    y=n.clone(); F.threshold_(y,.5,-9.7)
    F.threshold(p,.5,1.)
    F.multi_margin_loss(v,T([1]),reduction='none')
    F.multi_margin_loss(v,T(1),reduction='none')
    F.margin_ranking_loss(n,n+1,n.sign(),margin=0)
    F.margin_ranking_loss(n,n*2,n.sign(),margin=1,reduction='none')
    F.fractional_max_pool2d(M.zeros(0,2,4,4),2,output_size=2)
    F.fractional_max_pool2d(M.zeros(2,0,4,4),2,output_size=2)
""")


@pytest.mark.parametrize("case", CASES)
def test_as_in_pytorch(case: str) -> None:
    with interpreted():
        check(case, views=False)
