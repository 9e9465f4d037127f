"""`clgrad devices`: every OpenCL device, what it can do, and why some are left out."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from clgrad.bringup import quirks
from clgrad.cli.terminal import heading, style, table
from clgrad.runtime import discovery
from clgrad.runtime.memory import format_bytes
from clgrad.traits import DeviceTraits

_BYTES = {"local_bytes", "max_allocation", "max_parameter_bytes", "vector_bytes"}


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "devices", help="list devices, what they can do, and why some are left out"
    )
    parser.add_argument("--json", action="store_true", help="print it for programs to read")
    parser.add_argument(
        "--short", action="store_true", help="one line per device, and nothing is probed"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the devices; the status is 1 if there is none."""
    found, left_out = discovery.devices(), discovery.excluded()
    if args.json:
        records = [_record(device) for device in found]
        reasons = [asdict(entry) for entry in left_out]
        print(json.dumps({"devices": records, "excluded": reasons}, indent=2))
        return 0 if found else 1
    for device in found:
        heading(f"{device.id}  {device.name}")
        if args.short:
            continue
        traits = device.traits
        rows = [
            ("platform", f"{device.platform_name}, {device.platform_version}"),
            ("driver", device.driver),
            ("kind", device.kind),
            *_rows(traits),
        ]
        rows += [("quirk", f"{quirk.reason} ({quirk.source})") for quirk in quirks.of(device)]
        table(rows)
    if left_out:
        heading("left out")
        for entry in left_out:
            print(f"  {entry.name} {style(f'of {entry.platform}', 'dim')}: {entry.reason}")
    if not found:
        print("There is no usable OpenCL device. `clgrad doctor` says what to type.")
        return 1
    return 0


def _record(device: Any) -> dict[str, Any]:
    return {
        "id": device.id,
        "name": device.name,
        "kind": device.kind,
        "platform": device.platform_name,
        "platform_version": device.platform_version,
        "driver": device.driver,
        "traits": asdict(device.traits),
        "quirks": [asdict(quirk) for quirk in quirks.of(device)],
    }


def _rows(traits: DeviceTraits) -> list[tuple[str, str]]:
    rows = []
    for name, value in asdict(traits).items():
        if name == "disabled":
            text = ", ".join(value) or "nothing"
        elif name == "tuned":
            text = f"{len(value)} choices"
        elif isinstance(value, bool):
            text = "yes" if value else "no"
        elif name in _BYTES:
            text = format_bytes(value)
        else:
            text = str(value)
        rows.append((name.replace("_", " "), text))
    return rows
