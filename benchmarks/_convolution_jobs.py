"""What the peers of `convolution.py` do: the same passes and models in PyTorch and in clgrad."""

from __future__ import annotations

from typing import Any

import numpy as np
from _pairs import Job, nothing
from _peers import Peer, clear, data, gradients


def sampled(arrays: list[Any]) -> list[Any]:
    """Return as much of each array as is worth comparing."""
    return [a.ravel()[:: max(1, a.size // 20000)] for a in arrays]


def convolution(
    peer: Peer, x: list[int], w: list[int], which: str,
    stride: int = 1, padding: int = 0, groups: int = 1,
) -> Job:  # fmt: skip
    """One pass of a convolution.

    Args:
        peer: who computes.
        x, w: shapes.
        which: `forward`, or `input` or `weight`: the gradient for it.
        stride, padding, groups: of the convolution.
    """
    m = peer.m
    scale = float(np.prod(w[1:])) ** -0.5
    image = data(peer, *x, seed=0, grad=which == "input")
    weight = data(peer, *w, seed=1, grad=which == "weight", scale=scale)
    y = m.nn.functional.conv2d(image, weight, None, stride, padding, 1, groups)
    flush = getattr(m, "flush", nothing)
    if which == "forward":

        def call() -> Any:
            made = m.nn.functional.conv2d(image, weight, None, stride, padding, 1, groups)
            flush()
            return made

    else:
        down = 1.0 if which == "input" else float(x[0] * y.shape[2] * y.shape[3]) ** -0.5
        up = data(peer, *y.shape, seed=2, grad=False, scale=down)
        leaf = image if which == "input" else weight

        def call() -> Any:
            (made,) = m.autograd.grad(y, [leaf], up, retain_graph=True)
            flush()
            return made

    def peak() -> int:
        flush()
        return peer.peak(call, [])

    return Job(call, peer.wait, lambda: sampled([call().detach().numpy()]), peak)


def _block(nn: Any, inputs: int, planes: int, stride: int) -> Any:
    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
            self.bn1, self.relu = nn.BatchNorm2d(planes), nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            changes = stride != 1 or inputs != planes
            self.downsample = (
                nn.Sequential(
                    nn.Conv2d(inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
                )
                if changes
                else nn.Identity()
            )

        def forward(self, x: Any) -> Any:
            y = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(y)) + self.downsample(x))

    return Block()


def _resnet18(nn: Any, classes: int) -> tuple[Any, Any]:
    """Return the network up to its features, and its head."""
    blocks = [
        _block(nn, 64 << max(stage - (not b), 0), 64 << stage, 2 if stage and not b else 1)
        for stage in range(4)
        for b in range(2)
    ]
    base = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1), *blocks, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
    )  # fmt: skip
    return base, nn.Linear(512, classes)


def _lenet(nn: Any, classes: int) -> tuple[Any, Any]:
    base = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
    )  # fmt: skip
    return base, nn.Linear(84, classes)


MODELS = {"lenet": (_lenet, (1, 28, 28), 10), "resnet18": (_resnet18, (3, 224, 224), 100)}


def model(peer: Peer, model: str, batch: int, mode: str) -> Job:
    """A step of a model.

    Args:
        peer: who computes.
        model, batch: which, and how many images.
        mode: `inference`; `training`: forward, cross-entropy, backward, SGD with momentum;
            `head`: the same for the last layer only, the others being frozen.
    """
    m = peer.m
    build, shape, classes = MODELS[model]
    base, head = build(m.nn, classes)
    net = m.nn.Sequential(base, head)
    rng = np.random.default_rng(6)
    with m.no_grad():
        for p in net.parameters():  # the same for both peers
            fan = max(int(np.prod(p.shape[1:])), 1)
            values = rng.standard_normal(tuple(p.shape)) / fan**0.5
            p.copy_(m.tensor((values if len(p.shape) > 1 else 1 + 0.1 * values).astype("f4")))
    x = data(peer, batch, *shape, seed=7, grad=False)
    target = m.tensor(np.random.default_rng(8).integers(0, classes, batch))
    flush = getattr(m, "flush", nothing)
    if mode == "inference":
        net.eval()

        def infer() -> Any:
            with m.no_grad():
                made = net(x)
                flush()
            return made

        return Job(infer, peer.wait, lambda: [infer().numpy()], lambda: peer.peak(infer, []))
    if mode == "head":
        net.eval()
        for p in base.parameters():
            p.requires_grad = False
    leaves = [p for p in net.parameters() if p.requires_grad]
    optimizer = m.optim.SGD(leaves, lr=1e-4, momentum=0.9)

    def step() -> Any:
        optimizer.zero_grad()
        loss = m.nn.functional.cross_entropy(net(x), target)
        loss.backward()
        optimizer.step()
        flush()
        return loss

    def values() -> list[Any]:
        optimizer.zero_grad()
        loss = m.nn.functional.cross_entropy(net(x), target)
        loss.backward()
        found = [loss.detach().numpy(), *sampled(gradients(leaves))]
        return [a / max(float(np.abs(a).max()), 1e-6) for a in found]

    def peak() -> int:
        clear(leaves)
        return peer.peak(step, leaves)

    return Job(step, peer.wait, values, peak)


def fma_peak(peer: Peer) -> Job:
    """What the device reaches in multiplications and additions; no convolution."""
    from clgrad.bringup.peaks import peaks_of

    return Job(facts=lambda: {"operations": peaks_of(peer.m.get_default_device()).operations})


CASES = {"convolution": convolution, "model": model, "fma_peak": fma_peak}
