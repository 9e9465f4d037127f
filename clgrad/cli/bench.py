"""`clgrad bench`: clgrad against its device's limits, its peers, or another commit of itself.

The suite is the folder `benchmarks`; this finds it and hands the options over.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Any

from clgrad.cli.beside import find


def add_parser(subparsers: Any) -> None:
    """Register the subcommand; its options are the suite's."""
    parser = subparsers.add_parser("bench", help="measure against limits, peers or another commit")
    _suite().add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the suite; the status is its own."""
    status: int = _suite().run(args)
    return status


def _suite() -> Any:
    folder = str(find("bench", "benchmarks/suite.py").parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # its files import one another by their names
    return import_module("suite")
