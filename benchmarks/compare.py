"""Compare two commits of clgrad on this machine: `clgrad bench --compare A B`, or

    python benchmarks/compare.py A B [--only heat] [--device cl:1]

A and B are commits of the repository or folders that hold the package. Both run the workloads of
this checkout. Only differences beyond the noise are told; the status is 1 if something is slower.

Noise has two parts. Calls of one process vary; pairs of turns, A B A B, tell how much. Processes of
the very same code differ too, by where their memory happens to lie; so everything is started
several times, and a second process of A takes part, whose difference to the first is pure noise.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from records import Workload
from turns import HERE, PeerError, Start, Workers, agree, library_root

STARTS = 3
FLOOR = 0.02
"""Differences that are never told: less than 2 %."""
DEVIATIONS = 3.0
CONTROL = 1.5
"""By how much a difference must exceed the largest between two processes of one commit."""


@dataclass(frozen=True)
class Verdict:
    """Whether B differs from A.

    Attributes:
        ratio: B's time over A's, the median.
        noise: a difference, relative, that is not exceeded by chance.
    """

    ratio: float
    noise: float

    @property
    def differs(self) -> bool:
        return abs(math.log(self.ratio)) > self.noise

    def __str__(self) -> str:
        word = "slower" if self.ratio > 1 else "faster"
        return f"{word}: {self.ratio:.3f} × the time (noise {self.noise:.1%})"


def judge(
    pairs: Sequence[Sequence[tuple[float, float]]],
    controls: Sequence[Sequence[tuple[float, float]]],
) -> Verdict:
    """Judge times that were measured in turns.

    Args:
        pairs: per start, (A, B) of each round.
        controls: per start, (A, another process of A) of each round.

    A difference counts if the medians of all starts agree on its direction, and if it exceeds each
    of 2 %, three standard errors (of the median, by the median absolute deviation), and one and a
    half times the largest difference between processes of one commit.
    """
    logs = [[math.log(b / a) for a, b in start] for start in pairs]
    every = [x for start in logs for x in start]
    middle = median(every)
    deviation = 1.4826 * median(abs(x - middle) for x in every)
    error = 1.2533 * deviation / math.sqrt(len(every))
    between = max(abs(median(math.log(b / a) for a, b in start)) for start in controls)
    noise = max(FLOOR, DEVIATIONS * error, CONTROL * between)
    if len({median(start) > 0 for start in logs}) > 1:
        noise = max(noise, abs(middle))
    return Verdict(math.exp(middle), noise)


@contextmanager
def checkout(which: str) -> Iterator[Path]:
    """Give a folder that holds the package of a commit, or the folder that was named."""
    if (Path(which) / "clgrad" / "__init__.py").is_file():
        yield Path(which).resolve()
        return
    git = ["git", "-C", str(HERE)]
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "checkout"
        made = subprocess.run(
            [*git, "worktree", "add", "--detach", "--quiet", str(folder), which],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if made.returncode:
            raise PeerError(f"{which} is no folder and no commit: {made.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(folder)], check=True)


def run(
    a: str, b: str, chosen: Sequence[Workload], device: str | None, rounds: int
) -> int:  # fmt: skip
    """Compare two commits; return 1 if B is slower somewhere, or wrong, or fails."""
    from suite import find_device

    name, _ = find_device(library_root(), device)
    bad = False
    with checkout(a) as first, checkout(b) as second:
        roots = {"A": first, "B": second, "again": first}
        pairs: dict[str, list[list[tuple[float, float]]]] = {one.name: [] for one in chosen}
        controls: dict[str, list[list[tuple[float, float]]]] = {one.name: [] for one in chosen}
        broken: dict[str, str] = {}
        for _ in range(STARTS):
            starts = {peer: Start.peer(name, root) for peer, root in roots.items()}
            with Workers(starts) as workers:
                for one in chosen:
                    if one.name in broken:
                        continue
                    try:
                        values = {p: workers.values(p, one.name) for p in ("A", "B")}
                        agree(one.name, "A", values["A"], "B", values["B"], one.rtol)
                        times = workers.turns(("A", "B", "again"), one.name, rounds)
                    except PeerError as error:
                        broken[one.name] = str(error)
                        continue
                    pairs[one.name].append(list(zip(times["A"], times["B"], strict=True)))
                    controls[one.name].append(list(zip(times["A"], times["again"], strict=True)))
    for one in chosen:
        if one.name in broken:
            print(f"{one.name}: FAILED: {broken[one.name]}")
            bad = True
            continue
        verdict = judge(pairs[one.name], controls[one.name])
        if verdict.differs:
            print(f"{one.name}: {verdict}")
            bad = bad or verdict.ratio > 1
    same = len(chosen) - len(broken)
    print(f"{same} workloads compared, {STARTS} starts of {rounds} rounds each; no others differ.")
    return int(bad)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and compare."""
    import suite

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--only", default="", help="groups or parts of names, by commas")
    parser.add_argument("--device")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="no large workloads")
    args = parser.parse_args(argv)
    chosen = suite.select(args.only, args.quick)
    try:
        return run(args.a, args.b, chosen, args.device, args.rounds)
    except PeerError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
