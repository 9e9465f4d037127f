"""Convolutions, pass by pass, and models made of them, against PyTorch eager.

    python benchmarks/convolution.py [--device cl:0] [--rounds 5] [--only 56x56] [--json FILE]

prints a Markdown table: GFLOP/s of clgrad and of PyTorch (images per second for models), the share
of the most that the device reaches in multiply-adds, and the speed of clgrad as PyTorch's time /
clgrad's, least / median / largest over rounds in which the two take turns; above 1 clgrad takes
less. Geometric means of groups of rows follow. Read ratios, not figures.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _pairs import Ratio, Side, Workers, as_json, device_names
from _table import work

PASSES = ("forward", "input", "weight")


@dataclass(frozen=True)
class Layer:
    """A convolution of `batch` square images."""

    group: str
    channels: int
    out: int
    size: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    batch: int = 8

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def label(self) -> str:
        how = f" / {self.stride}" if self.stride > 1 else ""
        apart = " depthwise" if self.groups > 1 else ""
        return (
            f"{self.group}: {self.kernel}x{self.kernel}{how} {self.channels} -> {self.out}{apart} "
            f"{self.size}x{self.size}"
        )

    @property
    def flops(self) -> int:
        after = (self.size + 2 * self.padding - self.kernel) // self.stride + 1
        per_point = self.out * self.channels // self.groups * self.kernel**2
        return 2 * self.batch * per_point * after**2

    def params(self, which: str) -> dict[str, Any]:
        return {
            "x": [self.batch, self.channels, self.size, self.size],
            "w": [self.out, self.channels // self.groups, self.kernel, self.kernel],
            "which": which, "stride": self.stride, "padding": self.padding, "groups": self.groups,
        }  # fmt: skip


LAYERS = [
    Layer("ResNet-18", 64, 64, 56), Layer("ResNet-18", 128, 128, 28),
    Layer("ResNet-18", 256, 256, 14), Layer("ResNet-18", 512, 512, 7),
    Layer("ResNet-18", 64, 128, 56, stride=2), Layer("ResNet-18", 128, 256, 28, stride=2),
    Layer("ResNet-18", 256, 512, 14, stride=2),
    Layer("stem", 3, 64, 224, 7, 2),
    Layer("shortcut", 64, 128, 56, 1, 2), Layer("shortcut", 128, 256, 28, 1, 2),
    Layer("shortcut", 256, 512, 14, 1, 2),
    Layer("pointwise", 64, 256, 56, 1), Layer("pointwise", 512, 128, 28, 1),
    Layer("depthwise", 96, 96, 56, groups=96), Layer("depthwise", 96, 96, 112, 3, 2, 96),
    Layer("depthwise", 384, 384, 14, groups=384), Layer("depthwise", 240, 240, 28, 5, 2, 240),
    Layer("LeNet", 1, 6, 28, 5, batch=128), Layer("LeNet", 6, 16, 14, 5, batch=128),
]  # fmt: skip
MODELS = [
    ("lenet", 128, "training"), ("resnet18", 8, "inference"), ("resnet18", 8, "training"),
    ("resnet18", 16, "head"),
]  # fmt: skip


class Table:
    """Measures rows, prints them as they come, and keeps them."""

    def __init__(self, workers: Workers, rounds: int) -> None:
        self.workers, self.rounds = workers, rounds
        self.peak = float(workers.ask("clgrad", "facts", "fma_peak", {})["operations"])
        self.rows: dict[str, Ratio] = {}
        self.means: dict[str, list[float]] = {}

    def _speed(self, case: str, params: dict[str, Any], **near: float) -> Ratio:
        own, other = Side("clgrad", case, params), Side("torch", case, params)
        return self.workers.compare(own, other, self.rounds, **near)

    def _print(self, label: str, ratio: Ratio, done: float, share: str) -> None:
        self.rows[label] = ratio
        speeds = f"{1 / ratio.largest:.2f} / {1 / ratio.middle:.2f} / {1 / ratio.least:.2f}"
        rates = f"{done / ratio.own:.4g} | {done / ratio.other:.4g}"
        print(f"| {label} | {rates} | {share} | {speeds} |", flush=True)

    def layer(self, layer: Layer, which: str) -> None:
        """Measure one pass of a layer."""
        ratio = self._speed("convolution", layer.params(which), rtol=1e-3, atol=2e-4)
        share = f"{layer.flops / ratio.own / self.peak:.0%}"
        self._print(f"{layer.label} {which}", ratio, layer.flops / 1e9, share)
        self.means.setdefault(f"{layer.group}, {which}", []).append(1 / ratio.middle)

    def model(self, name: str, batch: int, mode: str) -> None:
        """Measure a step of a model."""
        params = {"model": name, "batch": batch, "mode": mode}
        ratio = self._speed("model", params, rtol=2e-2, atol=2e-2)
        self._print(f"{name}, batch {batch}: {mode}", ratio, batch, "")

    def summary(self) -> None:
        """Print the geometric mean and the least of each group."""
        print("\n| group | geometric mean | least |\n|---|---|---|")
        for name, speeds in self.means.items():
            mean = math.exp(sum(map(math.log, speeds)) / len(speeds))
            print(f"| {name} | {mean:.2f} | {min(speeds):.2f} |")


def main() -> None:
    """Print the table of one device."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", help="as `clgrad devices` lists them; the first if not given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose label contains one of these words")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(options.worker, "_convolution_jobs")
        return
    device = options.device or device_names(short=True)[0]
    name = next((n for n in device_names() if n.startswith(f"{device} ")), device)
    words = options.only.split(",")
    peers = {
        peer: [__file__, "--worker", at] for peer, at in (("clgrad", device), ("torch", "torch"))
    }
    with Workers(peers) as workers:
        table = Table(workers, options.rounds)
        print(
            f"{name}; {os.cpu_count()} cores, {options.rounds} rounds, float32, multiply-adds at "
            f"most {table.peak / 1e9:.0f} GFLOP/s\n\n"
            "| figure | clgrad | PyTorch eager | of the peak | speed min / median / max |\n"
            "|---|---|---|---|---|"
        )
        for layer in LAYERS:
            for which in PASSES:
                if any(word in f"{layer.label} {which}" for word in words):
                    table.layer(layer, which)
        for model in MODELS:
            if any(word in f"{model[0]}, batch {model[1]}: {model[2]}" for word in words):
                table.model(*model)
        table.summary()
    if options.json is not None:
        options.json.write_text(json.dumps({"device": name, "rows": table.rows}, default=as_json))


if __name__ == "__main__":
    main()
