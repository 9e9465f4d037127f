"""The exception tree; the lowest floor but `config`.

    ClgradError
    ├── ShapeError         (RuntimeError)   shapes that do not fit together
    ├── DTypeError         (RuntimeError)   a dtype an op or a device does not take
    ├── DeviceError        (RuntimeError)   no device, mixed devices, a device that fails
    │   └── OutOfMemoryError                device memory exhausted
    ├── CompileError       (RuntimeError)   a generated kernel that does not build
    ├── ExecutionError     (RuntimeError)   a pending value whose kernel failed
    ├── AutogradError      (RuntimeError)   backward, leaves, views
    │   ├── VersionError                    a saved value was overwritten in place
    │   ├── GraphFreedError                 a second backward through a freed graph
    │   └── NoDerivativeError               (NotImplementedError) an op without a derivative
    ├── StateDictError     (RuntimeError)   names or shapes of a checkpoint that do not fit
    ├── ClgradRuntimeError (RuntimeError)   a value that PyTorch refuses with a RuntimeError
    ├── ClgradIndexError   (IndexError)     dims, indices, targets out of range
    ├── ClgradTypeError    (TypeError)      an argument of the wrong Python type
    ├── ClgradValueError   (ValueError)     an argument with a value that has no meaning
    ├── ClgradNotImplementedError (NotImplementedError)  a mode that there is not
    │   └── UnsupportedDTypeError           … for a dtype; a DTypeError too
    └── FormulaError       (ValueError)     a scalar formula that cannot be read
    ClgradWarning          (UserWarning)    what clgrad goes on from, but its user should know

Each class is also the class that PyTorch raises in the same situation, so `except RuntimeError`
written for PyTorch works. Texts read `op: fact with the values. What was expected. Hint: …`.
"""

from __future__ import annotations


class ClgradError(Exception):
    """Base of every error that clgrad raises on purpose."""


class ShapeError(ClgradError, RuntimeError):
    """Shapes that an op cannot combine."""


class DTypeError(ClgradError, RuntimeError):
    """A dtype that an op, or the device at hand, does not take."""


class DeviceError(ClgradError, RuntimeError):
    """No usable device, tensors on different devices, or a device that failed."""


class OutOfMemoryError(DeviceError):
    """Device memory is exhausted, also after the pool gave back what it cached."""


class CompileError(ClgradError, RuntimeError):
    """A generated kernel did not build; the text shows device, kernel and numbered source."""


class ExecutionError(ClgradError, RuntimeError):
    """A pending value cannot be had because a kernel that it depends on failed."""


class AutogradError(ClgradError, RuntimeError):
    """Misuse of the graph of derivatives."""


class VersionError(AutogradError):
    """A value saved for backward was modified by an in-place operation."""


class GraphFreedError(AutogradError):
    """Backward went a second time through a graph whose saved values are gone."""


class NoDerivativeError(AutogradError, NotImplementedError):
    """An op on the way to a leaf has no derivative."""


class StateDictError(ClgradError, RuntimeError):
    """Names or shapes of saved state do not fit the module."""


class ClgradRuntimeError(ClgradError, RuntimeError):
    """An argument whose value a function cannot use, where PyTorch raises a RuntimeError."""


class LinAlgError(ClgradError, RuntimeError):
    """A matrix that has no such factors, or no inverse."""


class ClgradIndexError(ClgradError, IndexError):
    """A dimension, index or target out of range."""


class ClgradTypeError(ClgradError, TypeError):
    """An argument of a Python type that the function does not take."""


class ClgradValueError(ClgradError, ValueError):
    """An argument whose value has no meaning for the function."""


class ClgradNotImplementedError(ClgradError, NotImplementedError):
    """A mode that a function does not have, for this input or at all."""


class UnsupportedDTypeError(DTypeError, ClgradNotImplementedError):
    """A function that there is not for a dtype, where PyTorch raises a NotImplementedError."""


class FormulaError(ClgradError, ValueError):
    """A scalar formula that cannot be parsed or differentiated."""


class ClgradWarning(UserWarning):
    """Something that clgrad can go on from, but that its user should know."""
