"""`masked` and `signal.windows` against PyTorch: values, dtypes, gradients, errors."""

from __future__ import annotations

import pytest
from torch_cases import check, lines

from clgrad.testing.interpreter import interpreted

FOLDS = "sum prod amax amin mean var std norm logsumexp"
MASKED = [
    *[f"M.masked.{f}(x,dim=1,mask=p)" for f in FOLDS.split()],
    *[f"M.masked.{f}(b,dim=(0,2),keepdim=True,mask=mv)" for f in FOLDS.split()],
    *[f"M.masked.{f}(d,mask=~m)" for f in FOLDS.split()],
    *[f"M.masked.{f}(x,dim=0)" for f in FOLDS.split()],
    *[f"M.masked.{f}(n,dim=0,mask=p)" for f in FOLDS.split()],
    *[f"M.masked.{f}(x,1,mask=p&m)" for f in ["argmax", "argmin", "cumsum", "cumprod", "median"]],
    *[f"M.masked.{f}(n,0,mask=m)" for f in ["argmax", "argmin", "cumsum", "cumprod"]],
    *[f"M.masked.{f}(x,1,mask=p)" for f in ["softmax", "log_softmax", "softmin"]],
    *[f"M.masked.{f}(x,0,dtype=M.float64)" for f in ["softmax", "log_softmax", "softmin"]],
    *lines("""
        M.masked.normalize(x,2.,1,mask=p)
        M.masked.normalize(x,1.,0,eps=100.)
        M.masked.norm(x,-inf,1,mask=m)
        M.masked.norm(x,inf,1,mask=m)
        M.masked.median(n,1)
        M.masked.median(n,1,mask=T([False]))
        M.masked.mean(n,1,dtype=M.float32,mask=p)
        M.masked.var(x,1,False,mask=p)
        M.masked.var(x,1,correction=2,keepdim=True,mask=p)
        M.masked.std(n,0,dtype=M.float64)
        M.masked.logaddexp(x,x*2,input_mask=p,other_mask=m)
        M.masked.logaddexp(x,x*2)
        M.masked.sum(p,0)
        M.masked.prod(p,0,mask=m)
        M.masked.sum(x,(0,0))
        M.masked.amax(x,2)
        M.masked.sum(v,mask=m)
        M.masked.sum(z,mask=T(False))
        M.masked.amax(e,1)
        M.masked.sum(e,0)
    """),
]
NAMES = "bartlett blackman cosine exponential gaussian hamming hann kaiser nuttall"
WINDOWS = [
    *[f"M.signal.windows.{w}(7)" for w in NAMES.split()],
    *[f"M.signal.windows.{w}(8,sym=False,dtype=M.float64)" for w in NAMES.split()],
    *[f"M.signal.windows.{w}(1),M.signal.windows.{w}(0)" for w in NAMES.split()],
    *[f"M.signal.windows.{w}(-1)" for w in NAMES.split()],
    *lines("""
        M.signal.windows.general_cosine(9,a=[.46,.23,.31])
        M.signal.windows.general_cosine(9,a=[])
        M.signal.windows.general_cosine(9,a=3.)
        M.signal.windows.general_hamming(6,alpha=.6,sym=False)
        M.signal.windows.exponential(5,center=1.,tau=.5,sym=False)
        M.signal.windows.exponential(5,center=1.)
        M.signal.windows.exponential(5,tau=0.)
        M.signal.windows.gaussian(5,std=.5)
        M.signal.windows.gaussian(5,std=0.)
        M.signal.windows.kaiser(6,beta=0.)
        M.signal.windows.kaiser(6,beta=-1.)
        M.signal.windows.hann(5,dtype=M.float16)
        M.signal.windows.hann(5,dtype=M.int64)
    """),
]


@pytest.mark.parametrize("case", MASKED + WINDOWS)
def test_as_in_pytorch(case: str) -> None:
    with interpreted():
        check(case, views=False)
