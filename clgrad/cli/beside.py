"""Folders that the wheel carries inside the package and that lie beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from clgrad.errors import ClgradError

_PACKAGE = Path(__file__).resolve().parent.parent


def find(command: str, name: str) -> Path:
    """Return a file by its path below the package or beside it.

    Args:
        command: who looks for it, for the error.

    Raises:
        ClgradError: it is in neither place.
    """
    places = (_PACKAGE / name, _PACKAGE.parent / name)
    for path in places:
        if path.is_file():
            return path
    raise ClgradError(
        f"{command}: there is neither {places[0]} nor {places[1]}. "
        "Expected it in the package or beside it. Hint: install clgrad again."
    )
