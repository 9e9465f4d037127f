"""Pointwise functions and operators against PyTorch: arguments, kinds, gradients, errors.

What the records give by themselves is tested over dtypes and layouts in `tests/device`; here are
the functions that choose among ops, PyTorch's names for arguments, and promotion.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from torch_cases import check, lines

import clgrad
from clgrad.testing.interpreter import interpreted

torch = pytest.importorskip("torch")

CASES = lines("""
    M.add(x,v)
    M.add(input=x,other=v,alpha=2.5)
    x.add(v,alpha=-1)
    x.add(2,3)
    M.add(1,2)
    M.add(1.5,2,alpha=2)
    n.add(n,alpha=1.5)
    n.add(n,alpha=True)
    p.add(m,alpha=True)
    x.subtract(v,alpha=2)
    M.sub(3,x)
    M.rsub(x,2)
    M.rsub(x,v,alpha=2)
    p-m
    p-1
    1-p
    x-True
    -p
    p+m
    p*m
    ~p
    ~n
    ~x
    +x
    +p
    abs(x)
    M.multiply(x,v)
    x.negative()
    M.absolute(x)
    x/v
    2/(x+9)
    n/2
    M.div(x,v,rounding_mode=None)
    M.div(x,1.5,rounding_mode='trunc')
    M.div(x,1.5,rounding_mode='floor')
    n.div(3,rounding_mode='floor')
    n.div(3,rounding_mode='trunc')
    n.div(3.0,rounding_mode='trunc')
    M.div(x,2,rounding_mode='up')
    M.divide(x,v+9)
    M.true_divide(n,4)
    n//3
    n//-3
    7//(n+9)
    x//0.5
    x//0
    n//0
    n%0
    n.fmod(0)
    n.div(0,rounding_mode='floor')
    n%3
    n%-3
    n.fmod(-3)
    x%0.75
    5%(x.detach()+9)
    x.remainder(v+9)
    x.fmod(v+9)
    M.fmod(5,x)
    p%m
    x**2
    x**3
    x**-1
    (x+9)**0.5
    (x+9)**-0.5
    x**-2
    x**0
    x**1
    x**2.5
    2**x
    0**x
    (x.abs()+1)**v
    M.pow(x,2)
    M.pow(2,x)
    M.pow(input=x,exponent=3)
    M.pow(2,3)
    n**2
    n**0
    n**-1
    n**2.0
    n.abs()**n.abs()
    p**2
    p**p
    x.square()
    n.square()
    p.square()
    M.float_power(n,2)
    M.float_power(2,x)
    x.round()
    x.round(decimals=1)
    M.round(x*10,decimals=-1)
    M.round(x,decimals=0)
    n.round()
    n.round(decimals=1)
    n.floor()
    p.floor()
    x.fix()
    x.frac()
    n.frac()
    p.sign()
    x.clamp(-1,0.5)
    x.clamp(min=0)
    x.clamp(max=0)
    x.clamp()
    x.clip(-1,0.5)
    M.clamp(x,min=v)
    M.clamp(x,v,v+1)
    M.clamp(x,max=v)
    M.clamp(x,1,-1)
    n.clamp(0.5)
    n.clamp(0,2)
    x.clamp_min(0)
    x.clamp_min(v)
    M.clamp_max(x,max=0)
    M.clamp_max(x,v)
    T([1,2],'uint8').clamp_max(300)
    T([1,2],'uint8').clamp(-1)
    M.maximum(x,v)
    M.maximum(x,2)
    M.fmin(x,v)
    M.atan2(x,v)
    x.arctan2(v)
    M.atan2(x,1)
    M.hypot(x,v)
    M.hypot(n,n)
    M.logaddexp(x,v)
    M.logaddexp2(x,v)
    M.xlogy(x,v+9)
    M.xlogy(2,x+9)
    x.xlogy(2)
    M.copysign(x,v)
    x.copysign(-1)
    M.copysign(1,x)
    n.copysign(-1)
    M.heaviside(x,v)
    M.heaviside(n,x)
    M.nextafter(x,v)
    M.nextafter(n,n)
    M.lerp(x,v,0.3)
    M.lerp(x,v,0.7)
    M.lerp(x,end=v,weight=v)
    M.lerp(x,d,0.5)
    M.lerp(n,n,0.5)
    M.addcmul(x,x,v)
    M.addcmul(x,tensor1=x,tensor2=v,value=0.5)
    n.addcmul(n,n,value=2)
    M.addcdiv(x,x,v+9,value=0.5)
    M.addcdiv(n,n,n)
    M.ldexp(x,i0)
    M.ldexp(x,v)
    M.where(p,x,v)
    M.where(p,x,0)
    M.where(p,0.5,x)
    M.where(p,1,2)
    M.where(condition=p,input=x,other=0)
    x.where(p,v)
    M.where(n,x,v)
    M.nan_to_num(T([float('nan'),inf,-inf,1.]))
    M.nan_to_num(T([float('nan'),inf,-inf,1.]),2,3,4)
    M.nan_to_num(T([float('nan'),inf,-inf,1.]),posinf=3)
    n.nan_to_num()
    x.nan_to_num()
    x.logit(0.1)
    x.sigmoid().logit()
    M.isclose(x,x+1e-6)
    M.isclose(x,x+1e-6,rtol=0)
    M.isclose(n,n+1,rtol=0.5)
    M.isclose(T([float('nan'),inf]),T([float('nan'),inf]),equal_nan=True)
    M.isclose(x,d)
    M.isclose(x,x,rtol=-1)
    M.allclose(x,x)
    M.allclose(x,x+1)
    M.equal(x,x)
    M.equal(x,v)
    M.equal(n,n+1)
    M.isreal(x)
    M.isposinf(T([inf,-inf,1.]))
    M.isneginf(T([inf,-inf,1.]))
    M.signbit(T([-0.,0.,-1.]))
    M.gt(x,v)
    x.greater(0)
    M.less_equal(x,other=0)
    M.eq(2,x)
    x==None
    x.ne(n)
    M.logical_and(x,n)
    M.logical_xor(p,n)
    M.logical_not(x)
    M.logical_or(p,2)
    n&6
    6|n
    n^n.t().t()
    p&m
    p|1
    n<<2
    1<<n.abs()
    n>>1
    p<<m
    n&1.5
    x&1
    M.bitwise_and(5,n)
    M.gcd(n,n+4)
    M.lcm(n,n+4)
    M.gcd(x,x)
    M.deg2rad(x*90)
    n.rad2deg()
    x.sinc()
    x.erf()
    (x/9).erfinv()
    M.angle(x)
    list(M.frexp(x))
    M.frexp(n)
    M.real(x)
    M.imag(x)
    M.polygamma(2,x+9)
    (x+9).polygamma(1)
    M.polygamma(0,x+9)
    M.polygamma(-1,x)
    M.mvlgamma(x+9,3)
    M.mvlgamma(x,0)
    M.fill(x,3)
    M.special.expit(x)
    M.special.ndtr(x)
    M.special.log_ndtr(x*4)
    M.special.entr(x)
    M.special.erfcx(x)
    M.special.i0e(x*9)
    M.special.i1(x)
    M.special.zeta(x.abs()+2,v.abs()+1)
    M.special.xlog1py(x,v.abs())
    M.special.ndtri(x.sigmoid())
    M.special.round(x,decimals=1)
    M.sin('a')
    M.sin(2.0)
    M.sin(x,y=1)
    M.sin()
    M.add(x,'a')
    F.relu(x)
    F.relu(n)
    F.relu(p)
    F.relu6(x*4)
    F.leaky_relu(x)
    F.leaky_relu(x,negative_slope=0.2)
    F.leaky_relu(n)
    F.prelu(x,T([0.25]))
    F.prelu(x,v)
    F.prelu(x,u)
    F.prelu(b,u)
    F.prelu(z,T([0.25]))
    F.prelu(z,u)
    F.prelu(d,T([0.25]))
    F.rrelu(x)
    F.rrelu(x,0.5,0.25)
    F.elu(x,1.5)
    F.selu(x)
    F.celu(x,1.5)
    F.celu(x,0)
    F.gelu(x)
    F.gelu(x,approximate='tanh')
    F.gelu(x,approximate='erf')
    F.gelu(n)
    F.silu(x)
    F.mish(x)
    F.softplus(x)
    F.softplus(x,2,0.5)
    F.softsign(x)
    F.logsigmoid(x)
    F.tanhshrink(x)
    F.hardshrink(x,0.75)
    F.softshrink(x)
    F.softshrink(x,-1)
    F.hardtanh(x)
    F.hardtanh(x,0.5,0.75)
    F.hardtanh(n)
    F.hardtanh(x,2,1)
    F.hardsigmoid(x*2)
    F.hardswish(x*2)
    F.threshold(x,0.5,-2)
    F.threshold(n,1,7)
    F.glu(x)
    F.glu(b,1)
    F.glu(b,0)
    F.glu(z)
    F.glu(e,1)
    M.selu(x)
    M.rrelu(x)
    M.hardshrink(x)
    x.prelu(v)
    y=x*1; y.add_(v,alpha=2)
    y=x*1; y-=v; y
    y=x*1; y*=y; y
    y=x*1; y/=2; y
    y=x*1; y//=2; y
    y=x*1; y%=2; y
    y=x*1; y**=2; y
    y=n*1; y&=3; y
    y=n*1; y<<=1; y
    y=n*1; y|=p; y
    y=n*1; y+=0.5; y
    y=n*1; y/=2; y
    y=x*1; y.clamp_(-1,0.5)
    y=x*1; y.clamp_(v,v+1)
    y=x*1; y.round_(decimals=1)
    y=x*1; y.pow_(3)
    y=x*1; y.square_()
    y=x*1; y.lerp_(v,0.5)
    y=x*1; y.addcmul_(x,v,value=2)
    y=x*1; y.eq_(v)
    y=x.detach()*1; y.logical_and_(n)
    y=x*1; y.div_(2,rounding_mode='floor')
    y=x*1; y.nan_to_num_()
    y=x*1; y.sinh_()
    y=x*1; M.sin_(y)
    y=x*1; y.copysign_(-1)
    y=x*1; y.float_power_(2)
    y=d*1; y.float_power_(2)
    y=v*1; y.add_(x)
    y=x*1; y[0].mul_(v)
    y=x*1; y[:,1].sigmoid_().add_(1)
    y=x*1; y.mvlgamma_(1)
    y=x*1; F.elu(y,inplace=True)
    y=x*1; F.relu_(y)
    y=x*1; F.leaky_relu(y,0.1,True)
    y=x*1; F.silu(y,inplace=True)
    y=x*1; F.hardtanh_(y)
    y=x*1; F.threshold(y,0,1,inplace=True)
    x.add_(1)
    y=M.empty(0); M.sin(x.detach(),out=y); y
    y=M.zeros(3,4); M.clamp(x.detach(),0,1,out=y); y
    y=M.zeros(3,4,dtype=M.float64); M.pow(x.detach(),2,out=y); y
    y=M.zeros(3,4,dtype=M.int64); M.pow(x.detach(),2,out=y); y
    y=M.zeros(2); M.add(x.detach(),1,out=y); y
    y=M.zeros(3,4); M.add(x,1,out=y)
    y=M.zeros(6); M.add(y[1:],1,out=y[:-1])
    y=M.zeros(6); M.sin(y,out=y)
    M.sin(x.detach(),out=3)
""")


@pytest.mark.parametrize("case", CASES)
def test_as_in_pytorch(case: str) -> None:
    with interpreted():
        check(case, views=False)


# ---- promotion ----------------------------------------------------------------------------------

DTYPES = ("bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64")
BINARY = (
    "add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "pow", "maximum", "atan2",
    "copysign", "lt", "eq", "logical_and", "bitwise_and", "bitwise_left_shift",
    "clamp_min", "rsub", "gcd", "add_", "div_", "pow_", "bitwise_or_", "logical_xor_", "gt_",
    "__radd__", "__rsub__", "__rtruediv__", "__rfloordiv__", "__rmod__", "__rpow__", "__rand__",
)  # fmt: skip
NUMBERS = {"bool": True, "int64": 3, "float32": 2.5}


def _operand(module: Any, dtype: str, rank: str) -> Any:
    if rank == "number":
        return NUMBERS[dtype]
    return module.tensor([3, 2, 1] if rank == "dim" else 2).to(getattr(module, dtype))


def _outcome(module: Any, name: str, first: Any, second: Any) -> Any:
    home = module.Tensor if hasattr(module.Tensor, name) else module
    try:
        result = getattr(home, name)(first, second)
    except Exception as error:
        return next(k for k in (TypeError, NotImplementedError, RuntimeError)
                    if isinstance(error, k))  # fmt: skip
    values = np.asarray(result.tolist(), np.float64)
    return str(result.dtype).rpartition(".")[2], values.round(1).tolist()


@pytest.mark.parametrize("name", BINARY)
def test_promotion(name: str) -> None:
    ranks = (("dim", "dim"), ("dim", "zero"), ("zero", "dim"), ("dim", "number"))
    wrong = []
    with interpreted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for a, b, (rank_a, rank_b) in itertools.product(DTYPES, DTYPES, ranks):
            if rank_b == "number" and b not in NUMBERS:
                continue
            theirs, ours = (
                _outcome(m, name, _operand(m, a, rank_a), _operand(m, b, rank_b))
                for m in (torch, clgrad)
            )
            # PyTorch does not clamp bools between numbers
            both = isinstance(theirs, type) and isinstance(ours, type)
            agree = issubclass(ours, theirs) if both else theirs == ours
            if not agree and (name, a, b, rank_b) != ("clamp_min", "bool", "bool", "number"):
                wrong.append(f"{a} {rank_a}, {b} {rank_b}: {ours}, PyTorch {theirs}")
    assert not wrong, "\n".join(wrong)


def test_names_and_aliases() -> None:
    """Every pointwise function and method of PyTorch's is there, under each of its names."""
    names = [n for n in dir(torch) if n.rstrip("_") in ALIASED or n in ALIASED]
    assert len(names) > 60
    assert [n for n in names if not hasattr(clgrad, n)] == []
    methods = [n for n in dir(torch.Tensor) if n.rstrip("_") in ALIASED or n in ALIASED]
    assert [n for n in methods if not hasattr(clgrad.Tensor, n)] == []


ALIASED = frozenset(
    (
        "abs", "absolute", "acos", "arccos", "acosh", "arccosh", "asin", "arcsin", "asinh",
        "arcsinh", "atan", "arctan", "atanh", "arctanh", "arctan2", "div", "divide",
        "true_divide", "mul", "multiply", "sub", "subtract", "neg", "negative", "trunc", "fix",
        "clamp", "clip", "gt", "greater", "ge", "greater_equal", "lt", "less", "le",
        "less_equal", "ne", "not_equal", "exp2", "expm1", "log1p", "log2", "log10", "rsqrt",
        "square", "reciprocal", "sgn", "erfinv", "digamma", "lgamma", "logit", "sinc",
        "heaviside", "hypot", "ldexp",
    )
)  # fmt: skip
