"""The errors of reading what a node saved: what happened, who did it, where, and the way out.

Each begins with the words that PyTorch's users search for.
"""

from __future__ import annotations

import re
from typing import Any

from clgrad.errors import AutogradError, GraphFreedError, VersionError
from clgrad.tape.version import VersionCounter, describe

_SUFFIX = re.compile(r"Backward\d*$")


def op_of(node: Any) -> str:
    """Return the name of what a node is the derivative of: `Mul` for `MulBackward0`."""
    name: str = type(node).__name__
    return _SUFFIX.sub("", name) or name


def freed(node: Any) -> GraphFreedError:
    """Return the error for reading what a backward pass has released."""
    who = "a node" if node is None else type(node).__name__
    if node is not None and node._place is not None:
        who += f", made at {describe(node._place)},"
    return GraphFreedError(
        "Trying to backward through the graph a second time (or directly access saved tensors "
        f"after they have already been freed): the saved values of {who} were released by the "
        "first backward or grad. Expected one pass per graph. Hint: Specify retain_graph=True in "
        "the first if you need a second, or compute the forward again."
    )


def overwritten(saved: Any, counter: VersionCounter, node: Any, name: str) -> VersionError:
    """Return the error for a saved tensor whose family was written in place since."""
    text = (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: {_described(saved, node)} is at version {counter.version}; expected version "
        f"{saved.version} instead."
    )
    if node is not None:
        text += f" {_saver(saved, node, name)}"
    writer = counter.writer(saved.version)
    if writer is not None:
        text += f" It was then written by {writer[0]} at {describe(writer[1])}."
    return VersionError(
        f"{text} Hint: write out of place (x = x + 1 instead of x += 1), overwrite a clone(), or "
        "run backward before the write."
    )


def _described(saved: Any, node: Any) -> str:
    meta = saved.meta
    what = f"[{meta.dtype!r} {list(meta.shape)}]"
    producer, number = (node, saved.output) if saved.output >= 0 else (saved.edge or (None, 0))
    if producer is not None and producer._leaf is None:
        what += f", which is output {number} of {op_of(producer)},"
    return what


def _saver(saved: Any, node: Any, name: str) -> str:
    """Return a sentence that says which node had saved it, as what, and where."""
    role = "its result" if saved.output >= 0 else f"its input {name!r}" if name else "an input"
    place = "" if node._place is None else f" at {describe(node._place)}"
    return f"{type(node).__name__} had saved it as {role}{place}."


def detached(saved: Any, node: Any, name: str) -> AutogradError:
    """Return the error for a saved tensor that `detach_` has cut off from its history."""
    who = "" if node is None else f" {_saver(saved, node, name)}"
    return AutogradError(
        "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_(): "
        f"{_described(saved, node).rstrip(',')}.{who} Expected it to keep its history until "
        "backward. Hint: use .detach(), out of place."
    )


def inference_saved() -> AutogradError:
    """Return the error for saving a tensor that was made in inference mode."""
    return AutogradError(
        "Inference tensors cannot be saved for backward. Expected a normal tensor. Hint: clone() "
        "outside of inference_mode makes one, or use no_grad() instead of inference_mode()."
    )
