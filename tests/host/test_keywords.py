"""Names of arguments, `out=` and NumPy's names, against PyTorch."""

from __future__ import annotations

import pytest
from torch_cases import check, lines

from clgrad.testing.interpreter import interpreted

CASES = lines("""
    t=M.zeros(2,4); M.gather(x.detach(),0,I,out=t); t
    t=M.zeros(0); M.gather(x.detach(),0,I,out=t); t
    t=M.zeros(3,4); M.index_select(x.detach(),0,i,out=t); t
    t=M.zeros(2,3); M.take(x.detach(),K,out=t); t
    t=M.zeros(0); M.masked_select(x.detach(),m,out=t); t
    t=T([],'int64'); M.nonzero(n,out=t); t
    t=M.zeros(6,4); M.cat([x.detach(),x.detach()],out=t); t
    t=M.zeros(2,4); M.stack([v.detach(),v.detach()],out=t); t
    t=M.zeros(3,4); M.tril(x.detach(),out=t); t
    t=M.zeros(4,4); M.diag(v.detach(),out=t); t
    t=M.zeros(3,4); M.addmm(x.detach(),s.detach(),x.detach(),out=t); t
    t=M.zeros(3,4); M.mm(s.detach(),x.detach(),out=t); t
    t=M.zeros(3); M.mv(x.detach(),v.detach(),out=t); t
    t=M.tensor(0.); M.dot(v.detach(),v.detach(),out=t); t
    t=M.zeros(4,3); M.outer(v.detach(),u.detach(),out=t); t
    t=M.zeros(3,4); M.where(m,x.detach(),x.detach(),out=t); t
    t=M.zeros(3,4); M.scatter_add(x.detach(),0,I,x.detach()[:2],out=t); t
    t=M.zeros(3,4); M.index_add(x.detach(),0,i,x.detach(),out=t); t
    t=M.zeros(3,4); M.gather(x,0,I,out=t)
    t=M.zeros(8); M.hstack([v.detach(),v.detach()],out=t); t
    t=M.zeros(2,3,3); M.bmm(b.detach(),b.detach().transpose(1,2),out=t); t
    t=M.zeros(3,3); M.matmul(x.detach(),x.detach().t(),out=t); t
    t=M.zeros(3,3); M.linalg.cross(s.detach(),s.detach(),out=t); t
    t=M.zeros(3,4); M.scatter(x.detach(),0,I,1.,out=t); t
    t=M.zeros(3,4); M.scatter_reduce(x.detach(),0,I,x.detach()[:2],'sum',out=t); t
    t=M.zeros(3,4); M.index_copy(x.detach(),0,T([0,1]),x.detach()[:2],out=t); t
    M.gather(input=x,dim=0,index=I)
    M.scatter(input=x,dim=0,index=I,src=x[:2])
    M.scatter(input=x,dim=0,index=I,value=1.)
    x.index_add(dim=0,index=i,source=x)
    x.index_add(dim=0,index=i,source=x,alpha=2)
    M.index_add(input=x,dim=0,index=i,source=x)
    x.masked_fill(mask=m,value=1)
    x.masked_fill(m,value=z)
    x.index_fill(dim=0,index=i,value=1)
    x.index_copy(dim=0,index=T([0,1]),source=x[:2])
    M.index_select(input=x,dim=0,index=i)
    x.take(index=K)
    x.masked_select(mask=m)
    M.masked_select(input=x,mask=m)
    x.masked_scatter(mask=m,source=x)
    x.scatter_reduce(dim=0,index=I,src=x[:2],reduce='sum')
    x.put(index=K,source=w.reshape(2,3),accumulate=False)
    M.take_along_dim(input=x,indices=I,dim=0)
    M.roll(input=x,shifts=1,dims=0)
    M.flip(input=x,dims=(0,))
    M.rot90(input=x,k=1,dims=(0,1))
    M.tile(input=x,dims=(2,))
    M.repeat_interleave(input=x,repeats=2,dim=0)
    M.tril(input=x,diagonal=1)
    M.diag_embed(input=x,offset=1,dim1=0,dim2=1)
    M.diagonal(input=x,offset=1)
    M.select_scatter(input=x,src=v,dim=0,index=1)
    M.slice_scatter(input=x,src=x[:2],dim=0,start=0,end=2,step=1)
    M.diagonal_scatter(input=x,src=u,offset=0)
    F.pad(input=x,pad=(1,1),mode='constant',value=1)
    M.cat(tensors=[x,x],dim=0)
    M.stack(tensors=[x,x],dim=0)
    M.split(tensor=x,split_size_or_sections=2)
    M.split(x,split_size_or_sections=[1,2],dim=0)
    x.split(split_size=2)
    M.chunk(input=x,chunks=2,dim=0)
    M.unbind(input=x,dim=0)
    M.movedim(input=x,source=0,destination=1)
    M.flatten(input=x,start_dim=0,end_dim=1)
    M.unflatten(input=x,dim=1,sizes=(2,2))
    M.reshape(input=x,shape=(4,3))
    M.squeeze(input=o,dim=0)
    M.unsqueeze(input=x,dim=0)
    M.transpose(input=x,dim0=0,dim1=1)
    M.permute(input=x,dims=(1,0))
    M.broadcast_to(input=x,size=(2,3,4))
    M.narrow(input=x,dim=0,start=0,length=1)
    M.select(input=x,dim=0,index=1)
    M.addmm(input=x,mat1=s,mat2=x,beta=1,alpha=1)
    M.baddbmm(input=s,batch1=b,batch2=b.transpose(1,2))
    M.mm(input=s,mat2=x)
    M.bmm(input=b,mat2=b.transpose(1,2))
    M.mv(input=x,vec=v)
    M.dot(input=v,tensor=v)
    M.inner(input=v,other=v)
    M.kron(input=x,other=s)
    M.tensordot(a=x,b=x,dims=2)
    M.cross(input=s,other=s,dim=0)
    M.matmul(input=s,other=x)
    M.where(condition=m,input=x,other=x)
    M.nonzero(input=n,as_tuple=True)
    M.trace(input=s)
    M.masked_fill(input=x,mask=m,value=1)
    M.as_strided(input=x,size=(2,2),stride=(1,1),storage_offset=0)
    x.expand(2,3,4,implicit=False)
    x.sum_to_size(size=(1,4))
    M.index_put(input=x,indices=(i,),values=v,accumulate=True)
    M.scatter_add(input=x,dim=0,index=I,src=x[:2])
    F.embedding(input=i,weight=x)
    F.linear(input=x,weight=x,bias=u)
    M.squeeze(x,axis=0)
    M.unsqueeze(x,axis=0)
    M.index_select(x,axis=0,index=i)
    M.unbind(x,axis=0)
    M.gather(x,axis=0,index=I)
    M.select(x,axis=0,index=1)
    M.narrow(x,axis=0,start=0,length=1)
    M.chunk(x,2,axis=1)
""")


@pytest.mark.parametrize("case", CASES)
def test_as_in_pytorch(case: str) -> None:
    with interpreted():
        check(case, views=False)
