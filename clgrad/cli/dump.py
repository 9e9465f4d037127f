"""`clgrad dump`: the kernels of an op, an expression or a script, and where they came from.

    clgrad dump sigmoid --derivative --traits gpu-32
    clgrad dump "softmax(x @ w + b, dim=1)" --shape 64x128,128x10,10 --derivative
    clgrad dump mul --shape 64x128,128 --dtype float16 --device gpu
    clgrad dump --script train.py --out kernels -- --epochs 1

A program dumps itself when `CLGRAD_DUMP` names a folder.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

from clgrad.cli.highlight import highlight
from clgrad.cli.terminal import heading, style
from clgrad.errors import ClgradValueError
from clgrad.traits import PRESETS


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "dump",
        help="show the kernels of an op or of a script",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("op", nargs="?", help="name of an op or a function, or an expression")
    add("args", nargs="*", help="with --script: its arguments, after -- if they begin with -")
    add("--list", action="store_true", help="name the ops and functions with a sample call")
    add("--script", metavar="FILE", help="run FILE and dump what it launches")
    add("--out", metavar="DIR", type=Path, help="write a file per kernel and index.md to DIR")
    add("--derivative", nargs="?", const=1, default=0, type=int, metavar="N",
        help="also the kernels of the derivatives, N times (default 1)")  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--device", metavar="NAME", help="for this device, as clgrad.device takes it"
    )
    where.add_argument("--traits", metavar="PRESET", choices=sorted(PRESETS),
                       help=f"for an absent device: {', '.join(PRESETS)}")  # fmt: skip
    add("--dtype", metavar="D[,D]", help="dtype of the operands, float32 by default")
    add("--shape", metavar="S[,S]", help="shape of each operand, as in 64x128,128; () for 0-d")
    add("--strided", action="store_true", help="operands whose dimensions lie in reverse order")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the op")
    add("--helpers", action="store_true", help="show the functions that kernels call, too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Dump what is asked for."""
    if args.list:
        from clgrad.cli.dump_case import names

        print("\n".join(names()))
        return 0
    if args.script is not None:
        return _script(args)
    if args.op is None or args.args:
        raise ClgradValueError(
            f"dump: got {[args.op, *args.args] if args.op else 'no op'}. Expected one op, one "
            "expression, or --script FILE. Hint: `clgrad dump sigmoid --derivative`; --list names "
            "the ops."
        )
    return _op(args)


# ---- one op -------------------------------------------------------------------------------------


def _op(args: argparse.Namespace) -> int:
    from clgrad.cli.dump_case import Wanted, make_case
    from clgrad.cli.dump_op import sections
    from clgrad.graph.dump import Folder, kernel_text
    from clgrad.graph.trace import KernelTrace

    wanted = Wanted(
        shapes=None if args.shape is None else parse_shapes(args.shape),
        dtypes=None if args.dtype is None else _dtypes(args.dtype),
        strided=args.strided,
        params=tuple(_setting(text) for text in args.set),
    )
    device = _device(args)
    shown: dict[str, str] = {}
    kernels: list[KernelTrace] = []
    for section in sections(make_case(args.op, wanted, device), args.derivative, device):
        heading(section.title)
        for line in section.lines:
            print(f"  {line}".rstrip())
        print()
        for kernel in section.kernels:
            if kernel.name in shown:
                print(style(f"// {kernel.name}, as above for {shown[kernel.name]}\n", "dim"))
                continue
            shown[kernel.name] = section.title.partition("(")[0]
            kernel.number = len(shown)
            kernels.append(kernel)
            print(highlight(kernel_text(kernel, args.helpers)))
    if args.out is not None:
        folder = Folder(args.out)
        folder.write(kernels)
        return _written(folder, len(kernels))
    return 0


def _device(args: argparse.Namespace) -> Any:
    """Return a device that computes nothing, with the traits that are asked for."""
    from clgrad.graph.rehearsal import RehearsalDevice

    if args.traits is not None:
        return RehearsalDevice.of_preset(args.traits)
    from clgrad.errors import DeviceError
    from clgrad.runtime import discovery

    try:
        found = discovery.device(args.device)
    except DeviceError as error:
        raise DeviceError(
            f"{error} Or dump for a device that is absent: --traits {next(iter(PRESETS))}."
        ) from None
    return RehearsalDevice(found.name, found.traits)


def parse_shapes(text: str) -> tuple[tuple[int, ...], ...]:
    """Return the shapes that `64x128,128` or `()` stands for.

    Raises:
        ClgradValueError: it stands for none.
    """
    shapes = []
    for part in text.split(","):
        sizes = [] if part.strip() == "()" else part.strip().split("x")
        if not all(size.isdigit() for size in sizes):
            raise ClgradValueError(
                f"dump: {part!r} is no shape. Expected sizes as in 64x128, or () for 0-d."
            )
        shapes.append(tuple(int(size) for size in sizes))
    return tuple(shapes)


def _dtypes(text: str) -> tuple[Any, ...]:
    from clgrad.dtypes import by_name

    return tuple(by_name(name.strip()) for name in text.split(","))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ClgradValueError(f"dump: {text!r} sets nothing. Expected --set NAME=VALUE.")
    return name, value


# ---- a script -----------------------------------------------------------------------------------


def _script(args: argparse.Namespace) -> int:
    from clgrad import creation
    from clgrad.graph.dump import Folder, file_name, kernel_text
    from clgrad.graph.trace import Trace

    if not Path(args.script).is_file():
        raise ClgradValueError(f"dump: {args.script} is no file. Expected a Python script.")
    chosen = args.device if args.traits is None else _device(args)
    folder = None if args.out is None else Folder(args.out)
    trace = Trace(None if folder is None else folder.add)
    if chosen is not None:
        creation.set_default_device(chosen)
    try:
        with closing(trace.open()):
            status = execute(args.script, [*filter(None, [args.op]), *args.args])
    finally:
        if chosen is not None:
            creation.set_default_device(None)
    if folder is not None:
        folder.finish(trace)
        return status or _written(folder, len(trace.kernels))
    for kernel in trace.kernels:
        heading(file_name(kernel))
        print(highlight(kernel_text(kernel, args.helpers)))
    return status


def execute(script: str, arguments: list[str]) -> int:
    """Run a script to its end, and what it left pending; return its exit status."""
    from clgrad import dispatch

    before = sys.argv, sys.path[:]
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        # what the script made stays alive until everything that is pending has run
        made = runpy.run_path(script, run_name="__main__")
        dispatch.backend.flush()
        del made
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
            return 1
        return leaving.code or 0
    except Exception as error:
        _report(error, script)
        return 1
    finally:
        sys.argv, sys.path[:] = before
    return 0


def _report(error: Exception, script: str) -> None:
    """Print an error of a script without what lies between it and this command."""
    position = error.__traceback__
    while position is not None and position.tb_frame.f_code.co_filename != script:
        position = position.tb_next
    traceback.print_exception(type(error), error, position or error.__traceback__)


def _written(folder: Any, count: int) -> int:
    """Say what was written, apart from what a script prints; return the exit status."""
    if not folder.failed:
        print(f"{count} kernels were written to {folder.path}.", file=sys.stderr)
    return int(folder.failed)
