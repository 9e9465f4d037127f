"""`clgrad tune`: measure which kernels are best on a device, and keep that for later programs.

    clgrad tune                                     common problems, for a minute
    clgrad tune --model train.py --budget 5m -- --epochs 1
    clgrad tune --ops "matmul 128x784x512 NT float32" "conv input 8x64x56x56 64x64x3x3 float32"
    clgrad tune --merge other.json                  what somebody measured on the same device

A product is written `matmul MxKxN LAYOUT DTYPE`, several at once with `BATCH*` before M. The layout
says for A and B whether they are stored as they are (N) or transposed (T). A convolution is
`conv PASS IMAGES WEIGHT SETTINGS DTYPE`, PASS being forward, input or weight. Nothing depends on
it: results are right without, and kernels are chosen by a cost model.
"""

from __future__ import annotations

import argparse
import re
import sys
from math import exp, log
from pathlib import Path
from typing import Any

from clgrad.cli.terminal import heading, is_coloured, note, style, table
from clgrad.errors import ClgradValueError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_COMMON = [
    *(f"matmul {s}x{s}x{s} {x} float32" for s in (256, 512, 1024) for x in ("NN", "NT", "TN")),
    "matmul 8x784x512 NT float32", "matmul 128x784x512 NT float32",
    "matmul 784x128x512 TN float32", "matmul 128x512x10 NT float32",
    "matmul 64*128x64x128 NN float32", "matmul 64*128x64x128 NT float32",
    "matmul 1x1024x1024 NT float32",
    *(f"conv {which} 8x{n}x{size}x{size} {n}x{n}x3x3 padding=1 float32"
      for n, size in ((64, 56), (256, 14)) for which in ("forward", "input", "weight")),
]  # fmt: skip


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "tune",
        help="measure which kernels are best on a device",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    add = what.add_argument
    add("--model", metavar="FILE", help="run FILE and tune what it computes")
    add("--ops", nargs="+", metavar="TEXT", help="tune these problems")
    add("--merge", nargs="+", metavar="FILE", type=Path, help="take over others' measurements")
    add("--show", action="store_true", help="list what is known, and where it is kept")
    add("--forget", action="store_true", help="drop what is known about the device")
    parser.add_argument("args", nargs="*", help="with --model: its arguments, after --")
    parser.add_argument("--budget", default="60s", help="time for all, as in 90s or 5m (60s)")
    parser.add_argument("--device", metavar="NAME", help="as clgrad.device takes it")
    parser.set_defaults(run=run)


def seconds(text: str) -> float:
    """Return the seconds of `90`, `90s`, `5m`; raises `ClgradValueError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip().lower())
    if found is None:
        raise ClgradValueError(f"tune: --budget is {text!r}. Expected a time such as 90s or 5m.")
    return float(found[1]) * _UNITS[found[2]]


def run(args: argparse.Namespace) -> int:
    """Tune, or look after what is known."""
    from clgrad import creation
    from clgrad.bringup import tuned

    if args.args and args.model is None:
        raise ClgradValueError(f"tune: got {args.args}. Expected --ops before problems.")
    device = creation.resolve_device(args.device)
    if args.merge:
        for path in args.merge:
            print(f"{tuned.merge(device, path)} choices were taken over from {path}.")
        return 0
    if args.forget:
        tuned.path_of(device).unlink(missing_ok=True)
        return 0
    if args.show:
        _show(device)
        return 0
    budget = seconds(args.budget)
    problems = args.ops or _COMMON
    if args.model is not None:
        problems = recorded(args.model, args.args, args.device)
    return _tune(device, problems, budget)


def _show(device: Any) -> None:
    from clgrad.bringup import tuned

    heading(f"{device.name} ({device.driver})")
    known = tuned.load(device)
    table((key, f"{x.gain:5.2f} times  {x.choice}") for key, x in known.items())
    print(f"{len(known)} choices in {tuned.path_of(device)}")


def recorded(script: str, arguments: list[str], device: str | None) -> list[str]:
    """Run a script and return the problems that it had, those with most work first."""
    from clgrad import creation
    from clgrad.cli.dump import execute
    from clgrad.codegen import choice

    if not Path(script).is_file():
        raise ClgradValueError(f"tune: {script} is no file. Expected a Python script.")
    noted = choice.note()
    if device is not None:
        creation.set_default_device(device)
    try:
        status = execute(script, arguments)
    finally:
        choice.forget()
        if device is not None:
            creation.set_default_device(None)
    if status:
        raise ClgradValueError(f"tune: {script} ended with status {status}.")
    if not noted:
        raise ClgradValueError(f"tune: {script} has nothing that can be tuned.")

    def weight(text: str) -> float:
        family = choice.family_of(text)
        return 0.0 if family is None else -noted[text] * family.work(family.parse(text))

    return sorted(noted, key=weight)


def _tune(device: Any, problems: list[str], budget: float) -> int:
    from clgrad.bringup import tune, tuned

    wanted = tune.classes(problems)
    heading(f"{device.name} ({device.driver}): {len(wanted)} classes of problems, {budget:.0f} s")
    known = tuned.load(device)
    gains: list[float] = []
    reached = 0
    for report in tune.tune(device, wanted, budget, _progress):
        reached += 1
        print(_line(report))
        for error in report.errors:
            print(f"    {style('passed over', 'yellow')} {error}")
        if report.measured is None:
            continue
        gains.append(report.measured.gain)
        known.pop(report.key, None)
        if report.measured.gain > 1:
            known[report.key] = report.measured
        tuned.store(device, known)
    if reached < len(wanted):
        note(f"{len(wanted) - reached} classes were left out. Hint: a larger --budget.")
    if not gains:
        print("Nothing could be measured.")
        return 1
    mean = exp(sum(map(log, gains)) / len(gains))
    won = sum(gain > 1 for gain in gains)
    print(f"{won} of {len(gains)} are faster than before, all together {mean:.3f} times as fast.")
    print(f"{len(known)} choices are kept in {tuned.path_of(device)}")
    return 0


def _progress(text: str, tried: int, offered: int) -> None:
    if is_coloured():
        sys.stdout.write(f"\r\x1b[2K  {text}  {tried} of {offered} tried")
        sys.stdout.flush()


def _line(report: Any) -> str:
    begin = "\r\x1b[2K" if is_coloured() else ""
    tried = f"{report.tried} of {report.offered}"
    best = report.measured
    if best is None:
        return f"{begin}  {report.problem:60} {tried:>10} tried, none measured"
    before, after = (report.work / t / 1e9 for t in (best.before, best.seconds))
    gain = f"{best.gain:.2f} times  {best.choice}" if best.gain > 1 else "stays as it was"
    return (
        f"{begin}  {report.problem:60} {tried:>10} tried {before:8.1f} -> {after:8.1f} G/s  {gain}"
    )
