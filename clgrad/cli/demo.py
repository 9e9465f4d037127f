"""`clgrad demo`: trains a small network on handwritten digits, by `examples/digits.py`.

The example is the program; this finds it and passes the arguments on.
"""

from __future__ import annotations

import argparse
import importlib.util
from typing import Any

from clgrad.cli.beside import find

_EXAMPLE = "digits.py"
_PASSED_ON = ("device", "epochs", "seed", "out")


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser("demo", help="train a network on handwritten digits, to see it")
    parser.add_argument("--device", help="as `clgrad devices` lists them; the first if not given")
    parser.add_argument("--epochs", type=int, help="how often to go through the images")
    parser.add_argument("--seed", type=int, help="of everything random")
    parser.add_argument("--out", help="folder for pictures and kernels; digits-demo if not given")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the example; the status is its own."""
    argv = []
    for name in _PASSED_ON:
        value = getattr(args, name)
        if value is not None:
            argv += [f"--{name}", str(value)]
    status: int = load(_EXAMPLE).main(argv)
    return status


def load(name: str) -> Any:
    """Return an example as a module; raises `ClgradError` if it is nowhere."""
    path = find("demo", f"examples/{name}")
    spec = importlib.util.spec_from_file_location(f"clgrad_example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
