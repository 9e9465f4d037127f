"""What PyTorch has and this library does not: a word of help for each kind of name."""

from __future__ import annotations

import re

_KINDS = (
    ("cuda|xpu|mps|hip", "Devices are OpenCL's: clgrad.accelerator, or 'gpu' as a device."),
    ("backends", "There is no vendor's library to set up."),
    ("compile|jit|fx|export|onnx|_dynamo", "Kernels are fused as they are recorded: leave it out."),
    ("GradScaler", "It is clgrad.amp.GradScaler."),
    (
        "complex.*|cfloat|cdouble|chalf|polar|fft|stft|istft|view_as_(real|complex).*",
        "There are no complex numbers: keep real and imaginary parts in two tensors.",
    ),
    (".*sparse.*|.*coalesce.*|.*_indices_copy", "There are no sparse tensors: use dense ones."),
    (".*quant.*|q_.*|qu?int.*|ao", "There are no quantized tensors."),
    ("distributed|multiprocessing|.*Parallel", "A model is on one device."),
    ("[gs]et_num_(interop_)?threads", "OpenCL's runtime decides: see its environment variables."),
    (".*dlpack", "Arrays come and go by NumPy: clgrad.from_numpy(), Tensor.numpy()."),
    ("hub|_C|ops|library", "It belongs to PyTorch's own extensions."),
)


def missing(module: str, name: str) -> AttributeError:
    """Return the error for an attribute that a module does not have."""
    said = f"module {module!r} has no attribute {name!r}"
    hint = next((h for pattern, h in _KINDS if re.fullmatch(pattern, name)), None)
    return AttributeError(said if hint is None else f"{said}. {hint}")
