"""`x[index]` and `x[index] = value` against PyTorch: values, kinds, gradients, errors."""

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
MORE = lines("""
    x[T(1,'int16')]
    x[T(1,'int8')]
    x[T(1,'uint8')]
    x[T(1.)]
    b[T([True,False]),True,True,True,True]
    b[T([True,False]),False]
    b[T([True,False]),True,True,False,True]
    b[T([True,False]),T(True)]
    b[T([True,False]),T(False)]
    b[T([True,False]),None]
    b[((True,False),)]
    b[(True,False),]
    b[(True,False),::2]
    b[(True,False),0]
    b[(True,False),T(0)]
    b[True,[0,1],True,True,[1],[[2]]]
    b[T(True),[0,1],T(True),T(True),[1],[[2]]]
    b[False,[0,1],...]
    b[False,True,...]
    x[True,True]
    x[[True,False,True],[True,False,True,False]]
    x[[True,False,False]]
    x[[True,True,False]]
    x[T([True])]
    b[:,T([[True]*4]*4)]
    x[0.0:2.0]
    x[0.0,0.0:2.0]
    x[0.0,:,0.0]
    x["0":"1"]
    x.__getitem__(1<<30)
    x.index_put([],T([1.]),True)
    z.index_put([],T([1.]),True)
    x.index_put((),v)
    b[T([[0],[1]]),[1,2]].shape
    M.zeros(10,0)[[1,2]]
    M.zeros(10,0)[[],[]]
    M.zeros(10,0)[:,[0,1]]
    q[:,M.zeros(0,6).long()]
    b[:,:,1][:,1:1]
    b[:,:,1][:,1:1].stride()
    y=b.clone(); y[True]=b[None,None]*2; y
    y=b.clone(); y[T(True)]=b[None,None]*2; y
    y=b.clone(); y[T(False)]=5; y
    y=b.clone(); y[None]=b[None,None]*2; y
    y=b.clone(); y[...]=b[None,None]*2; y
    y=z.clone(); y[:]=z; y
    y=z.clone(); y[T(0)]=8.8; y
    y=b.clone(); y[True]=b.expand(5,1,2,3,4); y
    y=b.clone(); y[T(True)]=b.expand(5,1,2,3,4); y
    y=x.clone(); y[1:2,[1,2]]=0; y
    y=x.clone(); y[1:2,[1,2]].zero_(); y
    a,k2=T([0,1]).int(); x[a:k2]
    x[...,T([0,2])]
    x[T([0,2]),...]
    y=n.clone(); y[y>-100]=T([],'int64'); y
    y=n.clone(); y[y>-100]=T([1,2,3]); y
    y=n.clone()[:1,:1]; y[y>-100]=T([1,2,3]); y
    x[mv[:3],mv]
    z[T(True,'bool')]
    z[T(1,'uint8')]
    x[[[[0,1],[1,2]]]]
    x[[range(2),range(2)]]
    x[[0,1,2]+[0]*40]
    x[(slice(None),[0,1])]
    x[slice(0)]
    x[slice(0),2]
    x[2,1:1]
    x[None,2,None,None]
    x[x.argmax(0)]
    x[x>0]
    x[(x>0)&(x<2)]
    x[~m]
    x[m,None]
    x[None,m]
    x[:,None,mv]
    b[0,m]
    b[...,mv]
    b[:,:,mv]
    b[T([0,1])][:,i]
    b[T([1,0]),i[:2],j[:2]]
    b[T([1,0])[:,None,None],i[:,None],j]
    M.take(x,K)
    y=x.clone(); y[i,1:3]=u[:,None]; y
    y=x.clone(); y[1:3,i]=2.; y
    y=b.clone(); y[T([0,1]),1:,T([1,2])]=-1.; y
    y=b.clone(); y[:,T([0,2]),T([1,2])]=s[:2,:2]; y
    y=b.clone(); y[1,mu]=v; y
    y=b.clone(); y[:,mu,0]=v[:2]; y
    y=x.clone(); y[m]=x.detach()[m]; y
    y=x.clone(); y[m]+=1; y
    y=x.clone(); y[m.t().t()]=z; y
    y=x.clone().t(); y[m.t()]=z; y
    y=x.clone(); y[mu]=v[None]; y
    y=x.clone(); y[mu]=s[0,0]; y
    y=x.clone(); y[mu]=o; y
    y=x.clone(); y[0,mv]=u; y
    y=x.clone(); y[[0,1],[0,1]]=y[[1,0],[1,0]]; y
    y=x.clone(); y[:2]=y[1:]; y
    y=x.clone(); y[i]=y[i]*2; y
    y=x.clone(); y[i0]=0; y
    y=p.clone(); y[m]=False; y
    y=n.clone(); y[0]=True; y
    y=p.clone(); y[0]=n[0]; y
    y=n.clone(); y[0]=x.detach()[0]; y
    y=h.clone(); y[0]=x.detach()[0]; y
    x[T([0]),T([0])]
    M.index_select(x,0,i)[j-1]
    x[i][0]
    (x[i]*x[i]).sum(1)
    x.t()[T([0,1]),1]
""")


@pytest.mark.parametrize("case", READS + WRITES + MORE)
def test_as_in_pytorch(case: str) -> None:
    with interpreted():
        check(case)
