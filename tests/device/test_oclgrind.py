"""GPU products under Oclgrind, which watches every access: none outside of buffers, no race."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OCLGRIND = shutil.which("oclgrind")
PROGRAM = """
import warnings
warnings.simplefilter("ignore")
from dataclasses import replace
import numpy as np
import clgrad.bringup
from clgrad.bringup.trial import Trial
from clgrad.codegen.matmul import FAMILY
from clgrad.codegen.matmul_tuning import Slab
from clgrad.runtime import discovery

(device,) = discovery.devices()
traits = replace(device.traits, is_cpu=False, preferred_work_group=64)
for slab, text in (
    (Slab(4, 4, 4, 4, 8, 8, 8, 4), "matmul 36x20x40 NN float32"),
    (Slab(2, 4, 2, 4, 8, 8, 8, 4), "matmul 2*17x19x33 TT float32"),
):
    problem = FAMILY.parse(text)
    arrays = FAMILY.operands(problem, np.random.default_rng(0))
    trial = Trial(device, FAMILY.lower(problem, slab, traits), arrays, *FAMILY.result(problem))
    assert trial.excess(FAMILY.expected(problem, arrays)) <= 0, text
    print("right", text)
"""


@pytest.mark.skipif(OCLGRIND is None, reason="no oclgrind. Hint: apt install oclgrind")
def test_local_memory_products_touch_nothing_else(tmp_path: Path) -> None:
    assert OCLGRIND is not None
    root = Path(__file__).resolve().parent.parent.parent
    nowhere = tmp_path / "vendors"
    nowhere.mkdir()
    found = subprocess.run(
        [OCLGRIND, "--data-races", "--build-options", "-cl-opt-disable", sys.executable, "-c",
         PROGRAM],
        env=os.environ | {"OCL_ICD_VENDORS": str(nowhere), "PYTHONPATH": str(root),
                          "CLGRAD_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    said = found.stdout + found.stderr
    assert said.count("right matmul") == 2, said[-3000:]
    for fault in ("Invalid read", "Invalid write", "data race", "Data race", "divergence"):
        assert fault not in said, said[-3000:]
