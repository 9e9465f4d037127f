"""Entry point of the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata

from clgrad.errors import ClgradError

COMMANDS = ("devices", "doctor", "cache", "dump", "demo", "tune", "bench")
"""Subcommands, each a module of this package."""


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser with every subcommand, or with `command` alone if it is one.

    The others are not imported then, so that a dump for an absent device loads no OpenCL.
    """
    parser = argparse.ArgumentParser(
        prog="clgrad", description="PyTorch's autograd mechanics on any OpenCL device."
    )
    parser.add_argument("--version", action="version", version=f"clgrad {version()}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in (command,) if command in COMMANDS else COMMANDS:
        import_module(f"clgrad.cli.{name}").add_parser(subparsers)
    return parser


def version() -> str:
    """Return the version of the installed package, or `source` in a checkout."""
    try:
        return metadata.version("clgrad")
    except metadata.PackageNotFoundError:
        return "source"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        argv: arguments without the program's name; the process's own if None.

    Returns:
        The exit status: 0 when all is well, 1 when something is wrong.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = build_parser(arguments[0] if arguments else None).parse_args(arguments)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except ClgradError as error:
        print(f"clgrad: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has seen enough; keep the interpreter from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
