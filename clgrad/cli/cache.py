"""`clgrad cache`: what is kept on disk, and how to get rid of it."""

from __future__ import annotations

import argparse
from typing import Any

from clgrad.cli.terminal import table
from clgrad.runtime import cache
from clgrad.runtime.memory import format_bytes


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser("cache", help="show or clear what is kept on disk")
    parser.add_argument(
        "action",
        nargs="?",
        choices=("info", "clear", "prune"),
        default="info",
        help="info: how full it is (default); clear: drop all; prune: drop what exceeds the limit",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show, clear or prune the cache."""
    disk = cache.disk()
    if disk is None:
        print("Nothing is kept on disk: CLGRAD_NO_CACHE is set.")
        return 0
    if args.action == "clear":
        print(f"{format_bytes(cache.cache_clear())} were dropped from {disk.root}.")
    elif args.action == "prune":
        print(f"{format_bytes(disk.prune())} were dropped from {disk.root}.")
    else:
        table(rows(cache.cache_info()), indent=0)
    return 0


def rows(info: cache.CacheInfo) -> list[tuple[str, str]]:
    """Return what `info` says, for a table."""
    used = sum(info.nbytes.values())
    return [
        ("folder", str(info.path)),
        ("used", f"{format_bytes(used)} of at most {format_bytes(info.limit)}"),
        *(
            (kind, f"{info.entries[kind]} entries, {format_bytes(info.nbytes[kind])}")
            for kind in cache.KINDS
        ),
    ]
