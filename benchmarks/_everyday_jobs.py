"""What the peers of `everyday.py` do: the same programs in PyTorch and in clgrad."""

from __future__ import annotations

from typing import Any

import numpy as np
from _pairs import Job, nothing
from _peers import Peer, clear, data, gradients


def _integers(peer: Peer, high: int, *shape: int, seed: int) -> Any:
    return peer.m.tensor(np.random.default_rng(seed).integers(0, high, shape))


def _sampled(arrays: list[Any]) -> list[Any]:
    return [a.ravel()[:: max(1, a.size // 10000)] for a in arrays]


def layer_norm(peer: Peer, rows: int, columns: int, named: bool) -> Job:
    """LayerNorm, forward and backward.

    Args:
        peer: who computes.
        rows, columns: shape of what is normalised, along the columns.
        named: call PyTorch's own function; clgrad is always given primitives.
    """
    x, weight = data(peer, rows, columns, seed=0), data(peer, columns, seed=1)
    bias, up = data(peer, columns, seed=2), data(peer, rows, columns, seed=3, grad=False)
    leaves = [x, weight, bias]
    function = peer.m.nn.functional.layer_norm

    def primitives() -> Any:
        centred = x - x.mean(dim=-1, keepdim=True)
        deviation = ((centred * centred).mean(dim=-1, keepdim=True) + 1e-5).sqrt()
        return centred / deviation * weight + bias

    own = hasattr(peer.m, "synchronize")

    def call() -> None:
        clear(leaves)
        y = function(x, (columns,), weight, bias) if named and not own else primitives()
        y.backward(up)

    def values() -> list[Any]:
        call()
        return _sampled(gradients(leaves))

    return Job(call, peer.wait, values, lambda: peer.peak(call, leaves))


def cross_entropy(peer: Peer, rows: int, classes: int) -> Job:
    """Softmax and cross-entropy, forward and backward."""
    x, target = data(peer, rows, classes, seed=4), _integers(peer, classes, rows, seed=5)

    def call() -> None:
        clear([x])
        peer.m.nn.functional.cross_entropy(x, target).backward()

    def values() -> list[Any]:
        call()
        return [g * rows for g in _sampled(gradients([x]))]

    return Job(call, peer.wait, values, lambda: peer.peak(call, [x]))


def _perceptron(nn: Any) -> Any:
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def _lenet(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


MODELS = {"perceptron": (_perceptron, (784,)), "lenet": (_lenet, (1, 28, 28))}


def training(peer: Peer, model: str, batch: int) -> Job:
    """A training step: forward, cross-entropy, backward, SGD with momentum."""
    m = peer.m
    build, shape = MODELS[model]
    net = build(m.nn)
    rng = np.random.default_rng(6)
    with m.no_grad():
        for p in net.parameters():  # the same for both peers
            fan = max(int(np.prod(p.shape[1:])), 1)
            p.copy_(m.tensor((rng.standard_normal(tuple(p.shape)) / fan**0.5).astype("f4")))
    optimizer = m.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    x, target = data(peer, batch, *shape, seed=7, grad=False), _integers(peer, 10, batch, seed=8)
    loss_of = m.nn.functional.cross_entropy
    flush = getattr(m, "flush", nothing)

    def call() -> Any:
        optimizer.zero_grad()
        loss = loss_of(net(x), target)
        loss.backward()
        optimizer.step()
        flush()
        return loss

    def values() -> list[Any]:
        optimizer.zero_grad()
        loss = loss_of(net(x), target)
        loss.backward()
        return [loss.detach().numpy(), *_sampled(gradients(list(net.parameters())))]

    return Job(call, peer.wait, values, lambda: peer.peak(call, list(net.parameters())))


def embedding(peer: Peer, rows: int, columns: int, tokens: int) -> Job:
    """Rows of a table by index, forward and backward."""
    table, index = data(peer, rows, columns, seed=9), _integers(peer, rows, tokens, seed=10)
    up = data(peer, tokens, columns, seed=11, grad=False)

    def call() -> None:
        clear([table])
        peer.m.nn.functional.embedding(index, table).backward(up)

    def values() -> list[Any]:
        call()
        return _sampled(gradients([table]))

    return Job(call, peer.wait, values)


def sort(peer: Peer, elements: int) -> Job:
    """Sort, with indices."""
    x = data(peer, elements, seed=12, grad=False)
    flush = getattr(peer.m, "flush", nothing)

    def call() -> Any:
        made = peer.m.sort(x)
        flush()
        return made

    return Job(call, peer.wait, lambda: _sampled([call()[0].numpy()]))


def total(peer: Peer, rows: int, columns: int, dim: int | None) -> Job:
    """A sum over everything, down the columns (0) or along the rows (1)."""
    x = data(peer, rows, columns, seed=13, grad=False)
    flush = getattr(peer.m, "flush", nothing)

    def call() -> Any:
        made = x.sum() if dim is None else x.sum(dim=dim)
        flush()
        return made

    return Job(call, peer.wait, lambda: [call().numpy() / (rows * columns) ** 0.5])


CASES = {
    "layer_norm": layer_norm, "cross_entropy": cross_entropy, "training": training,
    "embedding": embedding, "sort": sort, "total": total,
}  # fmt: skip
