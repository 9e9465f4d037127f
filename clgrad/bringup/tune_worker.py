"""A process that checks and measures candidates, so that one that crashes or hangs ends it alone.

    python -m clgrad.bringup.tune_worker DEVICE

reads requests `{"problem": text, "choice": text}`, a line each, and answers `{"seconds": s}` or
`{"error": text}`. Anything else that is printed goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clgrad.bringup.trial import Trial
from clgrad.codegen.choice import Family, candidate_of, family_of
from clgrad.errors import ClgradError
from clgrad.runtime import discovery
from clgrad.runtime.device import Device

_operands: dict[str, list[NDArray[Any]]] = {}


def measure(device: Device, text: str, wanted: str) -> float:
    """Return the time of a candidate that computes awkward problems right.

    Raises:
        ClgradError: it does not build, or computes something else.
    """
    family = family_of(text)
    if family is None:
        raise ClgradError(f"no family of kernels is called {text.partition(' ')[0]!r}")
    problem = family.parse(text)
    choice = candidate_of(family, problem, wanted, device.traits)
    if choice is None:
        raise ClgradError(f"{wanted!r} is no candidate")
    for small in family.awkward(problem, choice):
        arrays = family.operands(small, np.random.default_rng(1))
        excess = _trial(device, family, small, choice, arrays).excess(
            family.expected(small, arrays)
        )
        if excess > 0:
            raise ClgradError(f"wrong by {excess:.2g} at {family.describe(small)}")
    if text not in _operands:
        _operands.clear()
        _operands[text] = family.operands(problem, np.random.default_rng(0))
    return _trial(device, family, problem, choice, _operands[text]).seconds()


def _trial(
    device: Device,
    family: Family[Any, Any],
    problem: Any,
    choice: Any,
    arrays: list[NDArray[Any]],
) -> Trial:
    lowered = family.lower(problem, choice, device.traits)
    return Trial(device, lowered, arrays, *family.result(problem))


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    device = discovery.devices()[int(sys.argv[1])]
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {"seconds": measure(device, request["problem"], request["choice"])}
        except ClgradError as error:
            answer = {"error": str(error).partition("\n")[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
