"""Instance normalisation: of each channel of each sample by itself."""

from __future__ import annotations

import warnings
from typing import Any

from clgrad.errors import ClgradValueError
from clgrad.nn import functional
from clgrad.nn.modules.batchnorm import _NormBase, expect_dims
from clgrad.tensor import Tensor


class _InstanceNorm(_NormBase):
    """Normalises each channel of each sample, then scales and shifts it if `affine`.

    Args:
        num_features: number of channels C.
        eps: added to the variance.
        momentum: share of a batch in the running statistics.
        affine: whether there are weights (and biases, if `bias`).
        track_running_stats: keep statistics, and use them in evaluation.
        device, dtype: of all that.
        bias: whether something is added.

    Source: Ulyanov et al. 2016.
    """

    _dims: int

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = False, track_running_stats: bool = False, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def _check_input_dim(self, input: Tensor) -> None:
        expect_dims(input, self._dims + 1, self._dims + 2)

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, shape (N, C, *) or (C, *), normalised.

        Raises:
            ClgradValueError: another number of dims, or of channels if `affine`.
        """
        self._check_input_dim(input)
        d = input.ndim - self._dims - 1
        if input.shape[d] != self.num_features:
            if self.affine:
                raise ClgradValueError(
                    f"expected input's size at dim={d} to match num_features "
                    f"({self.num_features}), but got: {input.shape[d]}."
                )
            warnings.warn(
                f"input's size at dim={d} does not match num_features. You can silence this "
                "warning by not passing in num_features, which is not used because affine=False",
                UserWarning,
                stacklevel=2,
            )
        made = functional.instance_norm(
            input if d else input.unsqueeze(0),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return made if d else made.squeeze(0)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        if local_metadata.get("version") is None and not self.track_running_stats:
            found = [
                prefix + n for n in ("running_mean", "running_var") if prefix + n in state_dict
            ]
            if found:
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {' and '.join(map(repr, found))} for "
                    f"{type(self).__name__} with track_running_stats=False. Hint: remove them, or "
                    "set track_running_stats=True."
                )
                for key in found:
                    state_dict.pop(key)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class InstanceNorm1d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    _dims = 1


class InstanceNorm2d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    _dims = 2


class InstanceNorm3d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    _dims = 3
