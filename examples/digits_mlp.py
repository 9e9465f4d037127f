"""Train a multilayer perceptron on real handwritten digits, on any OpenCL device.

The data are the 1,797 scans of 8 x 8 pixels that come with scikit-learn: nothing is downloaded.
A fifth of them is held out and seen only at the end. The last line is the accuracy on it.

    clgrad demo
    python examples/digits_mlp.py --device gpu --epochs 20
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import clgrad
from clgrad import nn
from clgrad.nn import functional as F


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images as float32, shape (1797, 64), and their digits as int64, shape (1797)."""
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        sys.exit("The digits come with scikit-learn, which is missing: pip install scikit-learn")
    images, digits = load(return_X_y=True)
    return images.astype(np.float32), digits.astype(np.int64)


def split(images: np.ndarray, digits: np.ndarray, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return ((images, digits) to train on, (images, digits) held out), standardised.

    Mean and deviation are those of the training images alone.
    """
    order = rng.permutation(len(images))
    held_out, train = np.split(order, [len(images) // 5])
    mean, deviation = images[train].mean(axis=0), images[train].std()
    images = (images - mean) / deviation
    return (images[train], digits[train]), (images[held_out], digits[held_out])


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the numbers below `count` in random order, `size` at a time."""
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def progress(steps: Iterator[Any], total: int, title: str) -> Any:
    """Show a bar while going through `steps`, where tqdm is there and someone looks."""
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    return tqdm(steps, title, total, leave=False, disable=not sys.stderr.isatty())


def build() -> nn.Module:
    """Return the model: 64 pixels, two hidden layers, 10 logits."""
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def accuracy(model: nn.Module, images: np.ndarray, digits: np.ndarray) -> float:
    """Return the share of images whose largest logit is that of their digit."""
    model.eval()
    with clgrad.no_grad():
        found = model(clgrad.tensor(images)).argmax(dim=1).numpy()
    model.train()
    return float((found == digits).mean())


def main(argv: list[str] | None = None) -> int:
    """Train, and print the accuracy on the held-out digits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="as in `clgrad devices`; the first one if not given")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=64, help="images per step")
    parser.add_argument("--lr", type=float, default=0.05, help="step size at the beginning")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)

    images, digits = load_digits()
    if options.device is not None:
        clgrad.set_default_device(options.device)
    device = clgrad.get_default_device()
    print(f"device: {device.id} {device.name} ({device.platform_name})")
    clgrad.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    (images, digits), held_out = split(images, digits, rng)

    model = build()
    optimizer = clgrad.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9, weight_decay=1e-4)
    steps = -(-len(images) // options.batch)
    times = []
    for epoch in range(options.epochs):
        start = time.perf_counter()
        # half a cosine, from the full step size to almost none; no kernel depends on it
        optimizer.param_groups[0]["lr"] = (
            options.lr * (1 + np.cos(np.pi * epoch / options.epochs)).item() / 2
        )
        total = clgrad.zeros(())
        title = f"epoch {epoch + 1}"
        for chosen in progress(batches(len(images), options.batch, rng), steps, title):
            loss = F.cross_entropy(
                model(clgrad.tensor(images[chosen])), clgrad.tensor(digits[chosen])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()  # stays on the device: nothing here waits for it
        mean = total.item() / steps
        times.append(time.perf_counter() - start)
        print(f"epoch {epoch + 1:2}  loss {mean:.4f}  {times[-1]:.2f} s", flush=True)
    print(
        f"time per epoch: {np.median(times):.3f} s (the first, with compilation, {times[0]:.2f} s)"
    )
    print(f"accuracy: {100 * accuracy(model, *held_out):.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
