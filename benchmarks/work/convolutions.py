"""Convolutions in all three passes: ResNet-18's on 224 x 224 images, depthwise ones, LeNet's."""

from __future__ import annotations

from typing import Any

from records import Workload, formula, nbytes, normal

BATCH = 8
LAYERS = [  # channels, maps, kernel, stride, size of the image
    (3, 64, 7, 2, 224), (64, 64, 3, 1, 56), (64, 128, 3, 2, 56), (64, 128, 1, 2, 56),
    (128, 128, 3, 1, 28), (128, 256, 3, 2, 28), (128, 256, 1, 2, 28),
    (256, 256, 3, 1, 14), (256, 512, 3, 2, 14), (256, 512, 1, 2, 14),
    (512, 512, 3, 1, 7), (64, 256, 1, 1, 56), (512, 128, 1, 1, 28),
]  # fmt: skip
DEPTHWISE = [(96, 3, 1, 56), (96, 3, 2, 112), (240, 5, 2, 28), (384, 3, 1, 14), (960, 3, 1, 7)]
LENET = [(1, 6, 5, 1, 28), (6, 16, 5, 1, 14)]
PASSES: dict[str, tuple[int, ...]] = {
    "forward": (),
    "image gradient": (0,),
    "weight gradient": (1,),
}


def _work(
    channels: int, maps: int, kernel: int, stride: int, size: int, which: str,
    groups: int = 1, batch: int = BATCH,
) -> Workload:  # fmt: skip
    padding = kernel // 2
    out = (size + 2 * padding - kernel) // stride + 1
    depth = channels // groups

    def arrays() -> list[Any]:
        scale = (depth * kernel * kernel) ** -0.5
        return [normal(0, batch, channels, size, size),
                normal(1, maps, depth, kernel, kernel, scale=scale)]  # fmt: skip

    def code(m: Any, x: Any, w: Any) -> Any:
        return m.nn.functional.conv2d(x, w, stride=stride, padding=padding, groups=groups)

    def jax(m: Any, x: Any, w: Any) -> Any:
        dims = m.lax.conv_dimension_numbers(x.shape, w.shape, ("NCHW", "OIHW", "NCHW"))
        pads = [(padding, padding)] * 2
        return m.lax.conv_general_dilated(
            x, w, (stride, stride), pads, dimension_numbers=dims, feature_group_count=groups
        )

    def tinygrad(m: Any, x: Any, w: Any) -> Any:
        return x.conv2d(w, stride=stride, padding=padding)

    apart = " depthwise" if groups > 1 else ""
    name = f"{channels}→{maps} {kernel}x{kernel}/{stride}{apart} at {size}: {which}"
    grads = PASSES[which]
    jobs = formula(code, arrays, grads, backward_only=bool(grads), jax=jax, tinygrad=tinygrad)
    flops = 2.0 * batch * maps * out * out * depth * kernel * kernel
    image, weight = batch * channels * size * size, maps * depth * kernel * kernel
    moved = nbytes(image, weight, batch * maps * out * out)
    return Workload(name, "convolutions", jobs, flops, moved, 1e-3)


WORKLOADS = [
    *(_work(*layer, which) for layer in LAYERS for which in PASSES),
    *(
        _work(channels, channels, kernel, stride, size, which, groups=channels)
        for channels, kernel, stride, size in DEPTHWISE
        for which in PASSES
    ),
    *(_work(*layer, which, batch=128) for layer in LENET for which in PASSES),
]
