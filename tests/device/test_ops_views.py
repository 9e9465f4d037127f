"""Random chains of views against PyTorch: what they show, and how gradients come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from clgrad.graph import recorder
from tests.device.program_check import differing_steps, differing_values
from tests.device.program_generator import Generator, TorchEngine
from tests.device.program_language import ClgradEngine, Run, Step, V, listing


class Chains(Generator):
    """Programs of one leaf, views of views of it, and a gradient through the last."""

    KINDS = (("view", 1),)

    def leaf(self) -> None:
        if not self.run.leaves:
            super().leaf()
            self.emit(Step("method", (self.fresh(),), (V("v1"), "tanh")), None)

    def make(self) -> list[Step]:
        super().make()
        names = [n for n in self.env if self.env[n].requires_grad and n not in self.run.leaves]
        if names:
            self.emit(Step("backward", (), (V(names[-1]), 7, True)))
            self.emit(Step("backward", (), (V(names[len(names) // 2]), 8, False)))
        return self.program


@pytest.mark.parametrize("first", range(0, 60, 20))
@pytest.mark.filterwarnings("ignore")  # of the gradients of views
def test_chains(device: Any, first: int) -> None:
    """All chains are recorded before anything is read: few programs to build."""
    runs = []
    for seed in range(first, first + 20):
        program = Chains(seed, 8).make()
        ours, theirs = Run(ClgradEngine(device, "float32")), Run(TorchEngine(np.float64))
        for going in (ours, theirs):
            for step in program:
                going.step(step)
        runs.append((program, ours, theirs))
    recorder.flush()
    for program, ours, theirs in runs:
        mine, other = ours.finish(), theirs.finish()
        wrong = differing_steps(mine, other, program)
        wrong = wrong or differing_values(mine, other, other, "float32")
        assert wrong is None, f"{wrong}\n{listing(program)}"


def test_chains_have_every_view() -> None:
    seen = set()
    for seed in range(60):
        seen |= {s.args[1] if s.do == "method" else s.do for s in Chains(seed, 8).make()}
    assert {
        "unsqueeze", "expand", "squeeze", "select", "index", "narrow", "unfold", "view",
        "transpose", "permute", "diagonal", "split", "unbind", "chunk",
    } <= seen  # fmt: skip
