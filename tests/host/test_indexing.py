"""Reading and writing at indices against PyTorch: values, kinds of results, gradients, errors."""

from __future__ import annotations

import pytest
from torch_cases import check, lines

from clgrad.testing.interpreter import interpreted

READS = lines("""
    x[0]
    x[-1]
    x[1,2]
    x[1:3]
    x[:,1]
    x[:,::2]
    x[...,0]
    x[None]
    x[:,None]
    x[...,None,1]
    x[i]
    x[:,j]
    x[i,j]
    x[i[:,None],j]
    x[[0,2]]
    x[:,[0,1]]
    x[[0,1],[1,2]]
    x[T([[0,1],[2,0]])]
    x[m]
    x[mu]
    x[:,mv]
    x[mu,:2]
    x[mu,1]
    x[mu][:,mv]
    b[:,i,j]
    b[T([0,1]),:,T([1,2])]
    b[0,:,j]
    b[0,i]
    b[:,i][:,:,j]
    b[T([0,1]),None,T([1,2])]
    b[T([0,1]),...,0]
    b[None,T([1]),:,j]
    b[b>0]
    b[:,m]
    b[T([True,False])]
    q[:,T([0,2]),:,T([1,3])]
    q[T([[0],[1]]),T([0,2])]
    q[:,T([[0],[1]]),T([0,1])]
    x[i0]
    x[i0,j]
    x[True]
    x[False]
    x[0,True]
    x[T(True)]
    x[T(False)]
    z[True]
    z[...]
    z[None]
    z[()]
    x[()]
    x[...]
    x[:]
    x[[]]
    x[ie]
    e[ie]
    x[ie,ie]
    e[T([0])]
    x[range(2)]
    x[np.array([0,1])]
    x[np.array([True,False,True])]
    x[np.int64(1)]
    x[np.int64(1),np.array([0,1])]
    x.t()[j]
    x.t()[:,i]
    x[:,1:][i,i]
    x.expand(2,3,4)[:,i]
    n[i]
    h[i]
    d[i]
    p[i]
    p[p]
    x[k]
    x[i.int()]
    x[T([-1,-2])]
    x[T([5])]
    x[T([-4])]
    x[i,i,i]
    x[0,0,0]
    x[::-1]
    x[::0]
    x[1.0]
    x['a']
    z[0]
    z[T([0])]
    x[T([0.5])]
    x[T([True,False])]
    x[T([1],'int16')]
    x[T([0,1]),T([0,1,2])]
    x[[[0,1],[1,2]]]
    x[[slice(0,2),1]]
    x[(0,(0,1))]
    x[...,...]
    x[5]
    x[1:2.0]
    x.__setitem__(0,1)
    len(x)
    len(z)
    [r for r in x]
    x.index_put((i,),v)
    x.index_put((i,j),u)
    x.index_put((m,),T(1.))
    x.index_put((i,i,i),u)
    x.index_put((i,),d[0])
""")
WRITES = lines("""
    y=x.clone(); y[0]=v; y
    y=x.clone(); y[0]=1; y
    y=x.clone(); y[:,1]=u; y
    y=x.clone(); y[1:]=v; y
    y=x.clone(); y[i]=v; y
    y=x.clone(); y[i]=5.; y
    y=x.clone(); y[i,j]=u; y
    y=x.clone(); y[m]=1.; y
    y=x.clone(); y[m]=z; y
    y=x.clone(); y[m]=x[m]*2; y
    y=x.clone(); y[mu]=v; y
    y=x.clone(); y[mu]=0; y
    y=x.clone(); y[:,mv]=1.; y
    y=x.clone(); y[:,mv]=x[:,:3]; y
    y=x.clone(); y[mu,1]=5; y
    y=x.clone(); y[:,j]=u[:,None]; y
    y=x.clone(); y[:,T([0,1,2])]=s; y
    y=b.clone(); y[:,i,j]=T([[1.,2.,3.]]); y
    y=b.clone(); y[T([0,1]),:,T([1,2])]=T([[1.,2.,3.],[4,5,6]]); y
    y=b.clone(); y[0,:,j]=s; y
    y=b.clone(); y[:,m]=1; y
    y=b.clone(); y[...,0]=s[:2]; y
    y=x.clone(); y[i]+=1; y
    y=x.clone(); y[0]+=v; y
    y=x.clone(); y[m]*=2; y
    y=x.clone(); y[1:,::2]*=v[:2]; y
    y=x.clone(); y[i]=x; y
    y=x.clone().t(); y[j]=u; y
    y=x.clone(); y[::2][T([0,1])]=v; y
    y=x.clone(); y[T([0,0,0])]=x; y
    y=x.clone(); y[None,:,1]=u; y
    y=x.clone(); y[i0]=v; y
    y=z.clone(); y[...]=3; y
    y=z.clone(); y[()]=3; y
    y=z.clone(); y[None]=3; y
    y=z.clone(); y[True]=3.; y
    y=x.clone(); y[True]=v; y
    y=x.clone(); y[False]=v; y
    y=x.clone(); y[T([0,1])]=T([1,2,3,4]); y
    y=x.clone(); y[0]=T([1,2,3,4]); y
    y=x.clone(); y[m]=T(1); y
    y=x.clone(); y[T([0,1])]=T(1); y
    y=x.clone(); y[T([0,1])]=T([1.,2.,3.]); y
    y=x.clone(); y[T([0,1])]=m; y
    y=x.clone(); y[T([0,1])]=x[None,:2]; y
    y=x.clone(); y[0]=x[None,None,0]; y
    y=x.clone(); y[0]=[1,2,3,4]; y
    y=x.clone(); y[0]='a'; y
    y=x.clone(); y[0]=None; y
    y=x.clone(); y[7]=1; y
    y=x.clone(); y[T([7])]=1; y
    y=n.clone(); y[i]=1.7; y
    y=n.clone(); y[0]=1.7; y
    y=n.clone(); y[n>0]=2.5; y
    y=p.clone(); y[i]=1; y
    y=p.clone(); y[0]=5; y
    y=h.clone(); y[i]=T(2.,'float16'); y
    y=x.clone(); y[m]=T([1.,2.]); y
    y=x.clone(); y[ie]=1; y
    y=x.clone(); y[ie]=v; y
    y=x.clone(); y[x>100]=1; y
    y=x.clone(); y[x>100]=T([],'float32'); y
    y=x.clone(); y[i]=v; y[i]=y[j-1]*2; y
    y=x.clone(); y[:]=x[0]; y
    y=x.clone(); y[[0,2]]=7.; y
    y=x.clone(); y[[0,2],[1,1]]=7.; y
    y=x.clone(); y[:,[0,2]]=7.; y
    y=x.clone(); a=y[0]; y[i]=0.; a
    y=x.clone(); a=y[1:]; a[T([0])]=v; y
    y=x.clone(); a=y*y; y[i]=0.; a
    x.index_put((i,),v,accumulate=True)
    y=x.clone(); y.index_put_((i,j),u,True); y
    y=x.clone(); y.index_put_((i,),v); y
""")
PICKS = lines("""
    x.gather(0,I)
    x.gather(1,J)
    x.gather(-1,J)
    M.gather(x,0,I)
    M.gather(input=x,dim=0,index=I)
    x.t().gather(1,I.t())
    x.gather(0,I.int())
    x.gather(0,T([[9,0,0,0]]))
    x.gather(0,T([[-1,0,0,0]]))
    x.gather(0,T([0]))
    x.gather(0,ie)
    x.gather(0,T([[0,0,0,0,0]]))
    x.gather(0,x)
    x.gather(5,I)
    z.gather(0,T([0]))
    z.gather(0,T(0))
    z.gather(0,T([0,0]))
    b.gather(2,T([[[0,1],[2,3],[3,3]],[[1,1],[0,0],[2,1]]]))
    n.gather(0,I)
    p.gather(0,I)
    h.gather(0,I)
    e.gather(0,T([[0,0]]))
    e.gather(1,T([],'int64').reshape(0,2))
    x.index_select(0,i)
    x.index_select(1,j)
    x.index_select(-1,j)
    M.index_select(x,0,i)
    b.index_select(1,i)
    x.index_select(0,i.int())
    x.index_select(0,T([5]))
    x.index_select(0,T([-1]))
    x.index_select(0,T([[0,1]]))
    x.index_select(0,T([0],'int16'))
    x.index_select(0,i0)
    z.index_select(0,T([0]))
    z.index_select(0,T([0,0]))
    x.index_select(0,ie)
    e.index_select(1,j)
    e.index_select(0,T([0]))
    x.t().index_select(1,i)
    x.index_select(2,i)
    x.take(K)
    x.take(T([-1]))
    x.take(T([50]))
    x.take(K.int())
    x.t().take(K)
    z.take(T([0,0]))
    M.take(x,K)
    x.take_along_dim(I,0)
    x.take_along_dim(T([[1]]),0)
    x.take_along_dim(T([[-1]]),1)
    x.take_along_dim(K)
    x.take_along_dim(T([1]),0)
    x.take_along_dim(x.argmax(1,keepdim=True),1)
    M.take_along_dim(x,I,dim=0)
    x.masked_select(m)
    x.masked_select(mv)
    x.masked_select(x>100)
    M.masked_select(x,m)
    v.masked_select(m)
    x.masked_select(x)
    z.masked_select(T(True))
    b.masked_select(m)
    x.t().masked_select(m.t())
    M.nonzero(x>0)
    (x>0).nonzero(as_tuple=True)
    n.nonzero()
    z.nonzero()
    z.nonzero(as_tuple=True)
    x.argwhere()
    M.argwhere(n)
    e.nonzero()
    e.nonzero(as_tuple=True)
    T(0.).nonzero()
    T([float('nan'),0.,-0.,1.]).nonzero()
    b.nonzero()
    b.permute(2,0,1).nonzero()
    M.where(x>0)
    M.where(x>0,x,v)
    M.where(x>0,x,1.)
    M.where(x>0,1,0)
    M.where(x>0,x,d)
    M.where(n>0,n,x)
    x.where(x>0,z)
    x.where(x>0,0.)
    M.where(x,x,x)
    M.where(x>0,x)
    M.where(x>0,T([1.,2.]),x)
""")
PLACES = lines("""
    x.scatter(0,I,x[:2])
    x.scatter(1,J,x[:,:3])
    x.scatter(0,I,2.)
    x.scatter(0,I,value=2.)
    x.scatter(dim=0,index=I,src=x[:2])
    M.scatter(x,0,I,x[:2])
    M.scatter(x,0,I,value=3)
    x.scatter(0,I,x[:2],reduce='add').detach()
    x.scatter(0,I,2.,reduce='multiply').detach()
    x.scatter(0,I,2.,reduce='add').detach()
    x.scatter(0,I,x[:2],reduce='multiply').detach()
    x.scatter(0,I,x[:2],reduce='max')
    x.scatter(0,T([[9,0,0,0]]),x)
    x.scatter(0,T([[-1,0,0,0]]),x)
    x.scatter(0,T([[0,0,0,0]]),d)
    x.scatter(0,I.int(),x[:2])
    x.scatter(0,T([[0,0,0,0,0]]),T([[1.,1,1,1,1]]))
    x.scatter(0,T([[0]*4]*4),x)
    x.scatter(0,T([0]),x)
    z.scatter(0,T([0]),T([3.]))
    z.scatter(0,T(0),T(3.))
    y=x.clone(); y.scatter_(0,I,x[:2]); y
    y=x.clone(); y.scatter_(0,I,2.); y
    y=x.clone(); y.scatter_(1,J,value=1.); y
    y=x.clone(); y.scatter_(0,I,x[:2].detach(),reduce='add'); y.detach()
    y=x.clone().t(); y.scatter_(1,I.t(),x.t()[:,:2]); y
    n.scatter(0,I,2)
    n.scatter(0,I,2.5)
    p.scatter(0,I,True)
    h.scatter(0,I,h[:2])
    M.zeros(3,5).scatter_(1,T([[0],[4],[2]]),1)
    x.scatter_add(0,I,x[:2])
    x.scatter_add(1,J,x[:,:3])
    M.scatter_add(x,0,I,x[:2])
    M.zeros(4).scatter_add(0,T([0,1,1,3,1]),T([1.,2,3,4,5]))
    y=x.clone(); y.scatter_add_(0,I,x[:2]); y
    n.scatter_add(0,I,n[:2])
    h.scatter_add(0,I,h[:2])
    x.scatter_add(0,I,d)
    x.scatter_add(0,T([[7,0,0,0]]),x)
    z.scatter_add(0,T([0]),T([3.]))
    b.scatter_add(1,T([[[0,1,2,2],[0,0,0,0]]]),b[:1,:2])
    x.scatter_reduce(0,I,x[:2],'sum')
    x.scatter_reduce(0,I,x[:2],'mean')
    x.scatter_reduce(0,I,x[:2],'prod')
    x.scatter_reduce(0,I,x[:2],'amax')
    x.scatter_reduce(0,I,x[:2],'amin')
    x.scatter_reduce(0,I,x[:2],reduce='sum',include_self=False)
    x.scatter_reduce(0,I,x[:2],reduce='mean',include_self=False)
    x.scatter_reduce(0,I,x[:2],reduce='prod',include_self=False)
    x.scatter_reduce(0,I,x[:2],reduce='amax',include_self=False)
    x.scatter_reduce(0,I,x[:2],reduce='amin',include_self=False)
    x.scatter_reduce(1,J,x[:,:3],reduce='prod')
    x.scatter_reduce(1,J,x[:,:3]-1,reduce='prod')
    x.scatter_reduce(0,I,x[:2],'foo')
    x.scatter_reduce(0,I,d,'sum')
    M.scatter_reduce(x,0,I,x[:2],'amax')
    n.scatter_reduce(0,I,n[:2],'amax')
    n.scatter_reduce(0,I,n[:2],'prod')
    n.scatter_reduce(0,I,n[:2],'mean')
    n.scatter_reduce(0,I,n[:2],'mean',include_self=False)
    n.scatter_reduce(0,I,n[:2],'amin',include_self=False)
    h.scatter_reduce(0,I,h[:2],'amax')
    h.scatter_reduce(0,I,h[:2],'mean')
    y=x.clone(); y.scatter_reduce_(0,I,x[:2],'amax'); y
    y=x.clone(); y.scatter_reduce_(0,I,x[:2],'mean'); y
    y=x.clone(); y.scatter_reduce_(0,I,x[:2],'prod',include_self=False); y
    T([1.,float('nan'),3.]).scatter_reduce(0,T([0,1,2,2]),T([float('nan'),1.,4.,float('nan')]),'amax')
    x.index_add(0,T([0,0]),x[:2])
    x.index_add(0,i,x)
    x.index_add(0,i,x,alpha=2)
    x.index_add(1,j,x[:,:3])
    M.index_add(x,0,i,x,alpha=-1.5)
    x.index_add(0,T([0,1]),x)
    x.index_add(0,T([0,9]),x[:2])
    x.index_add(0,T([0,-1]),x[:2])
    x.index_add(0,T([0,1]),d[:2])
    x.index_add(0,T([0,1]),x[:2,:2])
    y=x.clone(); y.index_add_(0,i,x); y
    y=x.clone(); y.index_add_(0,i,x,alpha=.5); y
    n.index_add(0,i,n)
    h.index_add(0,i,h)
    p.index_add(0,i,p)
    z.index_add(0,T([0]),T(2.))
    z.index_add(0,T([0]),T([2.]))
    x.index_add(0,ie,x[:0])
    x.index_copy(0,T([2,0]),x[:2])
    x.index_copy(1,T([2,0]),x[:,:2])
    x.index_copy(0,T([1,1]),x[:2])
    x.index_copy(0,T([0,9]),x[:2])
    x.index_copy(0,T([0,-1]),x[:2])
    x.index_copy(0,T([0,1]),x)
    x.index_copy(0,T([0,1]),d[:2])
    y=x.clone(); y.index_copy_(0,T([2,0]),x[:2]); y
    x.index_fill(0,T([0,2]),1)
    x.index_fill(1,T([0,-1]),1.5)
    x.index_fill(0,T([0,2]),z)
    x.index_fill(0,T([0,9]),1)
    x.index_fill(0,T([1]),v[:2])
    y=x.clone(); y.index_fill_(0,T([0,2]),1); y
    y=x.clone(); y.index_fill_(0,T([0,0]),z); y
    n.index_fill(0,T([0]),1.5)
    x.index_fill(0,ie,1)
    z.index_fill(0,T([0]),1)
    x.put(K,T([[1.,2,3],[4,5,6]]))
    x.put(T([3,3]),w[:2])
    x.put(K,w.reshape(2,3),accumulate=True)
    x.put(T([50]),w[:1])
    x.put(T([5]),w[:2])
    y=x.clone(); y.put_(K,w.reshape(2,3)); y
    y=x.clone().t(); y.put_(K,w.reshape(2,3)); y
    y=x.clone(); y.put_(T([1,1]),w[:2],accumulate=True); y
    x.masked_fill(m,1)
    x.masked_fill(mv,1.5)
    x.masked_fill(m,z)
    x.masked_fill(x,1)
    x.masked_fill(m,v)
    v.masked_fill(m,1)
    y=v.clone(); y.masked_fill_(m,1); y
    y=x.clone(); y.masked_fill_(m,1); y
    y=x.clone(); y.masked_fill_(mv,z); y
    n.masked_fill(m,1.5)
    p.masked_fill(m,2)
    h.masked_fill(m,-inf)
    M.masked_fill(x,m,value=2)
    x.masked_scatter(m,x)
    x.masked_scatter(mv,d.float())
    x.masked_scatter(m,v[:2])
    x.masked_scatter(m,d)
    y=x.clone(); y.masked_scatter_(m,x); y
    v.masked_scatter(m,x)
    x.index_reduce(0,i,x,'prod')
    x.index_reduce(0,i,x,'mean')
    x.index_reduce(0,i,x,'amax')
    x.index_reduce(0,i,x,'amin')
    x.index_reduce(0,i,x,'amax',include_self=False)
    x.index_reduce(0,i,x,'mean',include_self=False)
    x.index_reduce(0,i,x,'sum')
    y=x.clone(); y.index_reduce_(0,i,x,'amax'); y
    y=x.clone(); y[1:].scatter_(1,J[:2],x[1:,:3]); y
    x.detach().scatter(0,ie,x.detach())
""")


@pytest.mark.parametrize("case", READS + WRITES + PICKS + PLACES)
def test_as_in_pytorch(case: str) -> None:
    with interpreted():
        check(case)
