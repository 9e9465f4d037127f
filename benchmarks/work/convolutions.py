"""The convolutions of ResNet-18 on 224 x 224 images, in all three passes."""

from __future__ import annotations

from typing import Any

from records import Workload, formula, nbytes, normal

BATCH = 8
LAYERS = [  # channels, maps, kernel, stride, size of the image
    (3, 64, 7, 2, 224), (64, 64, 3, 1, 56), (64, 128, 3, 2, 56), (64, 128, 1, 2, 56),
    (128, 128, 3, 1, 28), (128, 256, 3, 2, 28), (128, 256, 1, 2, 28),
    (256, 256, 3, 1, 14), (256, 512, 3, 2, 14), (256, 512, 1, 2, 14),
    (512, 512, 3, 1, 7),
]  # fmt: skip
PASSES: dict[str, tuple[int, ...]] = {
    "forward": (),
    "image gradient": (0,),
    "weight gradient": (1,),
}


def _work(
    channels: int, maps: int, kernel: int, stride: int, size: int, which: str
) -> Workload:  # fmt: skip
    padding = kernel // 2
    out = (size + 2 * padding - kernel) // stride + 1

    def arrays() -> list[Any]:
        scale = (channels * kernel * kernel) ** -0.5
        return [normal(0, BATCH, channels, size, size),
                normal(1, maps, channels, kernel, kernel, scale=scale)]  # fmt: skip

    def code(m: Any, x: Any, w: Any) -> Any:
        return m.nn.functional.conv2d(x, w, stride=stride, padding=padding)

    def jax(m: Any, x: Any, w: Any) -> Any:
        dims = m.lax.conv_dimension_numbers(x.shape, w.shape, ("NCHW", "OIHW", "NCHW"))
        pads = [(padding, padding)] * 2
        return m.lax.conv_general_dilated(x, w, (stride, stride), pads, dimension_numbers=dims)

    def tinygrad(m: Any, x: Any, w: Any) -> Any:
        return x.conv2d(w, stride=stride, padding=padding)

    name = f"{channels}→{maps} {kernel}x{kernel}/{stride} at {size}: {which}"
    grads = PASSES[which]
    jobs = formula(code, arrays, grads, backward_only=bool(grads), jax=jax, tinygrad=tinygrad)
    flops = 2.0 * BATCH * maps * out * out * channels * kernel * kernel
    image, weight = BATCH * channels * size * size, maps * channels * kernel * kernel
    moved = nbytes(image, weight, BATCH * maps * out * out)
    return Workload(name, "convolutions", jobs, flops, moved, 1e-3)


WORKLOADS = [
    _work(channels, maps, kernel, stride, size, which)
    for channels, maps, kernel, stride, size in LAYERS
    for which in PASSES
    if channels > 3 or which != "image gradient"  # nobody needs that of the images themselves
]
