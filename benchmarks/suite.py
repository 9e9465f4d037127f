"""Measure clgrad against its device's limits and against peers: `clgrad bench`, or

    python benchmarks/suite.py [--only products,transformer] [--device cl:1] [--out FOLDER]

First the limits of the device are measured. Then the peers that are installed run every workload,
each in a process of its own, taking turns; what they compute is compared first. Speeds are a
peer's time over clgrad's, within a round: above 1 clgrad is faster.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from peers import PEERS
from records import Workload
from report import Limits, Row, Table
from turns import PeerError, Ratio, Start, Workers, agree, environment, library_root
from work import WORKLOADS

OWN = "clgrad"
PACKAGES = {"torch": "torch", "jax": "jax", "tinygrad": "tinygrad", "numpy": "numpy"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the suite to a parser."""
    parser.add_argument("--device", help="as `clgrad devices` lists them; the first if not given")
    parser.add_argument(
        "--only", default="", help="groups or parts of names of workloads, by commas"
    )
    parser.add_argument("--peers", help=f"of {', '.join(PEERS)}, by commas; all that are installed")
    parser.add_argument("--rounds", type=int, help="in which each has a turn; 5 if not given")
    parser.add_argument("--quick", action="store_true", help="2 rounds, no large workloads")
    parser.add_argument("--kernels", action="store_true", help="also a row for each kernel")
    parser.add_argument("--list", action="store_true", help="list the workloads and do nothing")
    parser.add_argument("--out", type=Path, help="folder for JSON, Markdown and plots")
    parser.add_argument(
        "--compare", nargs=2, metavar=("A", "B"),
        help="compare two commits or checkouts of clgrad, and say only what exceeds the noise",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run what the options ask for; return 1 if a peer failed or disagreed."""
    try:
        return _run(args)
    except PeerError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    chosen = select(args.only, args.quick)
    if args.list:
        for one in chosen:
            print(f"{one.group:14} {one.name}")
        return 0
    if args.compare:
        import compare

        return compare.run(*args.compare, chosen, args.device, args.rounds or 5)
    root = library_root()
    device, platform_name = find_device(root, args.device)
    names = [p for p in (args.peers.split(",") if args.peers else installed()) if p]
    with tinygrad_icd(root, platform_name) as icd:
        starts = {OWN: Start.peer(device, root)}
        for name in names:
            more = {"OCL_ICD_VENDORS": icd} if name == "tinygrad" and icd else {}
            starts[name] = Start.peer(name, root, **more)
        with Workers(starts) as workers:
            limits = Limits(**workers.ask(OWN, "limits"))
            table = Table(limits, about(names), names)
            print(table.head(), flush=True)
            for one in chosen:
                row = measure(workers, one, names, args.rounds or (2 if args.quick else 5))
                if args.kernels and row.seconds:
                    row.kernels = workers.ask(OWN, "kernels", one.name)
                print(table.add(row), flush=True)
                for text in row.errors.values():
                    print(f"FAILED: {text}", file=sys.stderr, flush=True)
    print(table.summary(), table.faults())
    if args.out is not None:
        table.write(args.out)
        plot(args.out, table)
    return bool(table.failed)


def select(only: str, quick: bool) -> list[Workload]:
    """Return the workloads whose group is named, or whose name contains a part that is."""
    parts = [p.strip().lower() for p in only.split(",") if p.strip()]
    return [
        one for one in WORKLOADS.values()
        if not (quick and one.large)
        and (not parts or any(p == one.group or p in one.name.lower() for p in parts))
    ]  # fmt: skip


def installed() -> list[str]:
    """Return the peers whose library is installed."""
    return [name for name, (_, module) in PEERS.items() if importlib.util.find_spec(module)]


def about(names: Sequence[str]) -> dict[str, str]:
    """Return versions of what takes part, and what it runs on."""
    found = {"python": platform.python_version(), "cores": str(os.cpu_count())}
    for name in names:
        package = PACKAGES.get(name)
        if package:
            found[package] = metadata.version(package)
    return found


def measure(workers: Workers, one: Workload, names: Sequence[str], rounds: int) -> Row:
    """Check that all peers agree with clgrad, then let them take turns."""
    row = Row(one.name, one.group, one.flops, one.nbytes)
    try:
        expected = workers.values(OWN, one.name)
    except PeerError as error:
        row.errors[OWN] = str(error)
        return row
    taking = [OWN]
    for name in names:
        kind = PEERS[name][0].kind
        if kind not in one.jobs or name in one.without:
            continue
        try:
            agree(one.name, OWN, expected, name, workers.values(name, one.name), one.rtol)
            taking.append(name)
        except PeerError as error:
            row.errors[name] = str(error)
    times = workers.turns(taking, one.name, rounds)
    row.seconds = sorted(times[OWN])[len(times[OWN]) // 2]
    for name in taking:
        row.peaks[name] = workers.ask(name, "peak", one.name)
        if name != OWN:
            row.ratios[name] = Ratio.of(times[name], times[OWN])
    row.times = times
    return row


def ask_clgrad(root: Path, program: str, **more: str) -> Any:
    """Return the JSON that a program prints in a fresh process with clgrad from `root`."""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(root, **more), check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


DEVICES = """
import json
from clgrad.runtime import discovery
print(json.dumps([[d.id, d.name, d.platform_name] for d in discovery.devices()]))
"""
ICD_FILES = """
import json
from clgrad.runtime import icd
print(json.dumps([file.library for file in icd.prepare().files]))
"""


def find_device(root: Path, wanted: str | None) -> tuple[str, str]:
    """Return the id of a device and its platform; raises `PeerError` if there is none such."""
    found = ask_clgrad(root, DEVICES)
    for name, shown, platform_name in found:
        if wanted in (None, name) or wanted.lower() in f"{shown} {platform_name}".lower():
            return name, platform_name
    raise PeerError(f"no device {wanted}; there are {', '.join(f[0] for f in found) or 'none'}")


@contextmanager
def tinygrad_icd(root: Path, platform_name: str) -> Iterator[str]:
    """Give a folder from which an OpenCL loader finds one platform alone, or ''.

    tinygrad takes the first platform; so it is shown that of clgrad's device and no other.
    """
    with tempfile.TemporaryDirectory() as folder:
        for library in ask_clgrad(root, ICD_FILES):
            (Path(folder) / "one.icd").write_text(f"{library}\n")
            try:
                found = ask_clgrad(root, DEVICES, OCL_ICD_VENDORS=folder)
            except subprocess.CalledProcessError:
                continue
            if found and all(platform_name == entry[2] for entry in found):
                yield folder
                return
        yield ""


def plot(folder: Path, table: Table) -> None:
    """Draw what there is to draw, if matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        print("No plots: matplotlib is not installed. Hint: pip install clgrad[bench]")
        return
    import plots

    plots.roofline(folder / "roofline.png", table)
    plots.bars(folder / "peers.png", table)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
