"""Fine-tune a frozen ResNet-18: a new last layer, SGD with momentum.

    python examples/finetune.py                             random weights, random images
    python examples/finetune.py --weights resnet18.safetensors --classes 100

Weights are a state dictionary with torchvision's key names as safetensors; its last layer is left
out, whatever its number of classes. Put your own batches in `batches`.

Frozen parameters cost nothing: no value is saved and no kernel is launched for their derivatives.
The script prints that for the frozen and for the whole network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import clgrad
from clgrad import nn
from clgrad.models import resnet18
from clgrad.nn import functional as F


def network(classes: int, weights: str | None) -> Any:
    """Return a ResNet-18 with a new head, and everything below it frozen."""
    model = resnet18()
    if weights is not None:
        state = clgrad.load(weights)
        model.load_state_dict({k: v for k, v in state.items() if k[:3] != "fc."}, strict=False)
    model.requires_grad_(False)
    model.fc = nn.Linear(512, classes)  # new parameters require a gradient
    return model


def batches(count: int, size: int, pixels: int, classes: int) -> Iterator[tuple[Any, Any]]:
    """Yield images, shape (size, 3, pixels, pixels), and their classes."""
    for _ in range(count):
        yield clgrad.randn(size, 3, pixels, pixels), clgrad.randint(0, classes, (size,))


def train(model: Any, data: Iterator[tuple[Any, Any]]) -> list[float]:
    """Take a step per batch; return the losses."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = clgrad.optim.SGD(trained, lr=1e-2, momentum=0.9)
    losses = []
    for images, labels in data:
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())  # a number is read when training is over
    return clgrad.stack(losses).tolist()  # type: ignore[no-any-return]


def cost(model: Any, batch: tuple[Any, Any]) -> str:
    """Say what a step saves for backward, how many kernels it launches, and how long it takes."""
    images, labels = batch
    loss = F.cross_entropy(model(images), labels)
    held = {s.storage: s.nbytes for s in clgrad.autograd.graph.saved_tensors(loss)}
    loss.backward()
    train(model, iter([batch]))  # builds what is missing
    clgrad.synchronize()
    launched, began = clgrad.launch_count(), time.perf_counter()
    train(model, iter([batch]))
    milliseconds = 1e3 * (time.perf_counter() - began)
    launched = clgrad.launch_count() - launched
    saved = sum(held.values())
    return f"saves {saved:>11,} bytes, {launched:>4} kernels, {milliseconds:7.1f} ms a step"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", metavar="FILE", help="a state dictionary as safetensors")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--steps", type=int, default=5)
    given = parser.parse_args(arguments)
    model = network(given.classes, given.weights)
    data = list(batches(given.steps, given.batch, given.pixels, given.classes))
    losses = train(model, iter(data))
    print("loss", *(f"{loss:.3f}" for loss in losses))
    print("frozen base  ", cost(model, data[0]))
    model.requires_grad_(True)
    print("whole network", cost(model, data[0]))


if __name__ == "__main__":
    main()
