"""Plots of a table: a roofline of workloads and kernels, bars against peers. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from report import Table

mpl.use("Agg")
from matplotlib import pyplot as plt


def roofline(path: Path, table: Table) -> None:
    """Draw operations per second over operations per byte, below what the device allows."""
    at = table.limits
    figure, axes = plt.subplots(figsize=(9, 6), constrained_layout=True)
    intensity = np.logspace(-2, 3, 200)
    roofs = [(max(at.bandwidth, at.triad), "memory"),
             (max(at.cached_bandwidth, at.cached_triad), "cache")]  # fmt: skip
    for (bandwidth, name), style in zip(roofs, ("-", "--"), strict=True):
        roof = np.minimum(at.operations, bandwidth * intensity)
        axes.loglog(intensity, roof / 1e9, f"k{style}", lw=1, label=name)
    groups = list(dict.fromkeys(row.group for row in table.rows))
    colours = dict(zip(groups, plt.get_cmap("tab10").colors * 2, strict=False))
    for row in table.rows:
        if row.seconds and row.flops and row.nbytes:
            x, y = row.flops / row.nbytes, row.flops / row.seconds / 1e9
            axes.plot(x, y, "o", color=colours[row.group], ms=6)
        for kernel in row.kernels:
            if kernel["flops"] and kernel["nbytes"]:
                x, y = kernel["flops"] / kernel["nbytes"], kernel["flops"] / kernel["seconds"] / 1e9
                axes.plot(x, y, ".", color=colours[row.group], ms=4)
    for group in groups:
        axes.plot([], [], "o", color=colours[group], label=group)
    axes.set(xlabel="operations per byte", ylabel="GFLOP/s", title=f"{at.device} ({at.platform})")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def bars(path: Path, table: Table) -> None:
    """Draw speeds against peers, a bar with its spread for each."""
    rows = [row for row in table.rows if row.ratios]
    peers = [peer for peer in table.peers if any(peer in row.ratios for row in rows)]
    if not rows or not peers:
        return
    figure, axes = plt.subplots(figsize=(10, 1.5 + 0.28 * len(rows)), constrained_layout=True)
    height = 0.8 / len(peers)
    for k, peer in enumerate(peers):
        places = [n for n, row in enumerate(rows) if peer in row.ratios]
        ratios = [rows[n].ratios[peer] for n in places]
        middle = np.array([r.middle for r in ratios])
        spread = [middle - [r.least for r in ratios], [r.largest for r in ratios] - middle]
        axes.barh(np.array(places) + (k - len(peers) / 2 + 0.5) * height, middle, height,
                  xerr=spread, label=peer, error_kw={"lw": 0.7})  # fmt: skip
    axes.axvline(1, color="k", lw=0.8)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize="x-small")
    axes.set(xscale="log", xlabel="speed: a peer's time / clgrad's", ylim=(len(rows) - 0.5, -0.5))
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=130)
    plt.close(figure)
