"""Containers of modules and parameters; each program PyTorch runs too."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

CASES, case = cases()


@case()
def containers_behave_like_lists(m: Any) -> Any:
    nn = m.nn
    x = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    x.append(nn.Tanh())
    del x[1]
    x[0] = nn.Identity()
    last = nn.ModuleList([nn.Linear(1, k + 1) for k in range(4)])
    last.insert(1, nn.ReLU())
    last.extend([nn.Sigmoid()])
    popped = last.pop(-1)
    return [
        repr(x), len(x), repr(x[-1]), repr(x[1:]), repr(last), repr(last[1:3]), repr(popped),
        list(nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)}).state_dict()),
        [tuple(p.shape) for p in nn.ParameterList([m.ones(2), m.ones(3, 1)])],
        list(nn.ParameterList([m.ones(2), m.ones(3)]).state_dict()),
    ]  # fmt: skip


@case()
def sequences_are_added_and_repeated(m: Any) -> Any:
    nn = m.nn
    x = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    y = x + nn.Sequential(nn.Tanh())
    y += x
    y.insert(-1, nn.Sigmoid())
    y *= 2
    named = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh(), c=nn.Sigmoid()))
    part = repr(named[1:])
    gone = named.pop(slice(0, 2))
    both = nn.ModuleList([nn.ReLU()]) + nn.ModuleList([nn.Tanh()])
    both += [nn.ReLU()]
    del both[:1]
    return [
        repr(y), repr(2 * x), part, repr(gone), list(named._modules), repr(named.c)
        if hasattr(named, "c") else None, repr(both), repr(nn.ModuleList([x, x, nn.ReLU()])),
        y[0] is x[0],
    ]  # fmt: skip


@case()
def dictionaries_of_modules_and_parameters(m: Any) -> Any:
    nn = m.nn
    x = nn.ModuleDict({"a": nn.ReLU()})
    x.update([("b", nn.Linear(1, 1))])
    x["c"] = x.pop("a")
    p = nn.ParameterDict({"z": m.ones(2), "b": nn.Parameter(m.zeros(1))})
    p["number"] = 3
    p.update(OrderedDict(second=m.ones(1), first=m.ones(1)))
    q = p.copy()
    del q["z"]
    q |= {"new": m.ones(3)}
    last = q.popitem()
    seen = [list(p), list(reversed(p)), p.get("none", 5), p.setdefault("number", 4), len(q), last]
    seen += [list(p.state_dict()), "z" in q, [n for n, _ in p.named_parameters()]]
    seen += [list(p.fromkeys(["u", "v"], 1).items()), list((p | q).keys()), list(x.keys())]
    p.clear()
    return [*seen, len(p), repr(x), repr(p)]


@case("should not be called")
def parameter_lists_are_not_called(m: Any) -> Any:
    return m.nn.ParameterList([m.ones(1)])(1)


@case("should be called with an iterable")
def parameter_lists_take_no_tensor(m: Any) -> Any:
    return m.nn.ParameterList(m.ones(1))


@case("has length 3; 2 is required")
def module_dicts_take_pairs(m: Any) -> Any:
    return m.nn.ModuleDict([("a", "b", "c")])


@case("is not a Module subclass")
def sequences_take_modules(m: Any) -> Any:
    return m.nn.Sequential({"a": m.nn.ReLU()})


@case("out of range")
def index_beyond_a_container(m: Any) -> Any:
    return m.nn.Sequential(m.nn.ReLU())[1]


@pytest.mark.parametrize(("program", "words"), CASES)
def test_as_torch(program: Case, words: str) -> None:
    same(program, words)
