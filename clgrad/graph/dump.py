"""Kernels as text for people: one file each with where it came from, and an index of them.

`CLGRAD_DUMP=<folder>` dumps a whole program: a kernel's file is written when it was first launched
and again, with its final counts, when the program ends. A folder that cannot be written is reported
once and the program goes on. What is dumped is decided in `trace`.
"""

from __future__ import annotations

import atexit
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clgrad import config
from clgrad.codegen.source import program_text
from clgrad.errors import ClgradWarning
from clgrad.graph.position import source_of
from clgrad.graph.trace import KernelTrace, Origin, Origins, Size, Trace

USES = 8
"""Different origins of one kernel that its header lists; the index lists all places."""


# ---- text ---------------------------------------------------------------------------------------


def kernel_text(kernel: KernelTrace, helpers: bool = True) -> str:
    """Return a kernel with a header comment; with `helpers` the text can be compiled as it is."""
    source, traits = kernel.source, kernel.traits
    if helpers:
        body = program_text([source], traits.fp64, traits.fp16)
    else:
        lines = sum(text.count("\n") for text in source.helpers)
        body = f"// + {lines} lines of helpers\n" * bool(lines) + source.source
    return "".join(f"// {line}".rstrip() + "\n" for line in header(kernel)) + "\n" + body


def header(kernel: KernelTrace) -> list[str]:
    """Return the lines of the comment before a kernel."""
    lines = [f"{kernel.name}: family {kernel.family}, {_times(kernel.launches)}", ""]
    uses = list(kernel.uses.items())
    for k, (origins, count) in enumerate(uses[:USES]):
        lines.append(f"computes ({_times(count)})" if k == 0 else f"and ({_times(count)})")
        lines += _table([(o.op, o.formula, o.result, shown(o.place)) for o in origins])
    if len(uses) > USES:
        lines.append(f"and {len(uses) - USES} more origins")
    places = dict.fromkeys(o.place for origins, _ in uses[:USES] for o in origins if o.place)
    if places:
        lines += ["from", *_table([(shown(place), source_of(*place)) for place in places])]
    lines += ["", f"options  {' '.join(kernel.options)}"]
    traits = ", ".join(f"{name}={value}" for name, value in kernel.traits_read().items())
    lines.append(f"traits   {traits}")
    sizes = [f"{_size(size)} {_times(count)}" for size, count in kernel.sizes.items()]
    more = f" and {len(sizes) - USES} more" if len(sizes) > USES else ""
    lines.append(f"sizes    {'; '.join(sizes[:USES])}{more}")
    # a line that ends in a backslash would continue the comment
    return [line.rstrip("\\") for line in lines]


def _times(count: int) -> str:
    return f"launched {count} time{'s' * (count != 1)}"


def _size(size: Size) -> str:
    whole, local = size
    return f"global {list(whole)}" + ("" if local is None else f" local {list(local)}")


def shown(place: tuple[str, int] | None) -> str:
    """Return `file.py:12` for a place in the user's program, seen from the current folder."""
    if place is None:
        return ""
    file, line = place
    return f"{file.removeprefix(f'{Path.cwd()}{os.sep}')}:{line}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def index_text(kernels: Sequence[KernelTrace]) -> str:
    """Return a table of the kernels in Markdown."""
    titles = ("file", "family", "ops", "lines", "launches")
    rows = [
        (
            f"[{file_name(k)}]({file_name(k)})", k.family, _cell(map(_names, k.uses)),
            _cell(map(_places, k.uses)), str(k.launches),
        )
        for k in kernels
    ]  # fmt: skip
    lines = ["| " + " | ".join(row) + " |" for row in (titles, *rows)]
    lines.insert(1, "|" + " --- |" * len(titles))
    total = sum(kernel.launches for kernel in kernels)
    title = f"# {len(kernels)} kernels, {_times(total)}"
    return "\n".join([title, "", *lines, ""])


def _cell(texts: Iterable[str]) -> str:
    return "<br>".join(dict.fromkeys(t for t in texts if t)).replace("|", "\\|")


def _names(origins: Origins) -> str:
    return ", ".join(o.op for o in origins)


def _places(origins: Sequence[Origin]) -> str:
    return ", ".join(dict.fromkeys(shown(o.place) for o in origins if o.place is not None))


def file_name(kernel: KernelTrace) -> str:
    """Return the name of a kernel's file."""
    return f"{kernel.number:03d}_{kernel.name}.cl"


# ---- folders ------------------------------------------------------------------------------------


class Folder:
    """A folder of dumped kernels.

    Attributes:
        path: created with its parents.
        failed: it could not be written, and nothing more is tried.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = False

    def add(self, kernel: KernelTrace) -> None:
        """Write one kernel."""
        self._write(file_name(kernel), kernel_text(kernel))

    def finish(self, trace: Trace) -> None:
        """Write all kernels of a trace with their final counts, and the index."""
        self.write(list(trace.kernels))

    def write(self, kernels: Sequence[KernelTrace]) -> None:
        """Write some kernels and their index."""
        for kernel in kernels:
            self.add(kernel)
        self._write("index.md", index_text(kernels))

    def _write(self, name: str, text: str) -> None:
        if self.failed:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text, encoding="utf-8")
        except OSError as error:
            self.failed = True
            warnings.warn(
                f"dump: {self.path / name} cannot be written ({error.strerror or error}). "
                "Expected a folder that can be written to; nothing is dumped. "
                "Hint: set CLGRAD_DUMP or --out to another one.",
                ClgradWarning,
                stacklevel=2,
            )


@contextmanager
def dump_kernels(path: str | Path) -> Iterator[Path]:
    """Write every kernel that is launched in a `with` block to a folder, with an index.

    Args:
        path: the folder; made if it is not there.

    Warns:
        ClgradWarning: it cannot be written.
    """
    from clgrad.graph import recorder

    recorder.flush()  # what was recorded before the block is not part of it
    folder = Folder(Path(path).expanduser().absolute())
    trace = Trace(folder.add).open()
    try:
        yield folder.path
        recorder.flush()
    finally:
        trace.close()
        folder.finish(trace)


_running: Trace | None = None


def start_from_config() -> Trace | None:
    """Dump this process into the folder that `CLGRAD_DUMP` names, if it names one."""
    global _running
    wanted = config.get().dump
    if wanted and _running is None:
        folder = Folder(Path(wanted).expanduser().absolute())
        _running = Trace(folder.add).open()
        atexit.register(folder.finish, _running)
    return _running
