"""Train a convolutional network on real handwritten digits, on any OpenCL device.

The data are the 1,797 scans of 8 x 8 pixels that come with scikit-learn: nothing is downloaded.

Part one trains on four fifths of them and prints the accuracy on the rest. It leaves a learning
curve, a page of the digits that it misread, and the kernels of one training step in a folder.

Part two takes a network that knows the digits 0 to 5 only, freezes it, puts a new last layer on it
and learns 6 to 9. It prints what a step saves for backward and how many kernels it launches,
frozen against unfrozen.

    clgrad demo
    python examples/digits.py --device gpu --epochs 20 --out digits
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import clgrad
from clgrad import nn
from clgrad.nn import functional as F

KNOWN, FEATURES = 6, 128
"""Digits that the base of part two has seen; outputs of the base."""


@dataclass
class Digits:
    """Images, shape (n, 1, 8, 8), float32, and what they show, shape (n), int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, chosen: np.ndarray) -> Digits:
        """Return some of them."""
        return Digits(self.images[chosen], self.labels[chosen])

    def tensors(self) -> tuple[Any, Any]:
        """Return both on the device."""
        return clgrad.tensor(self.images), clgrad.tensor(self.labels)


def load_digits(rng: np.random.Generator) -> tuple[Digits, Digits]:
    """Return what to train on and what is held out, a fifth; standardised by the former."""
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        sys.exit("The digits come with scikit-learn, which is missing: pip install scikit-learn")
    images, labels = load(return_X_y=True)
    data = Digits(images.astype(np.float32).reshape(-1, 1, 8, 8), labels.astype(np.int64))
    order = rng.permutation(len(data))
    held_out, train = (data.where(part) for part in np.split(order, [len(data) // 5]))
    mean, deviation = train.images.mean(), train.images.std()
    for part in (train, held_out):
        part.images = (part.images - mean) / deviation
    return train, held_out


def build_base() -> nn.Module:
    """Return what turns images into features: two convolutions and a layer."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.25), nn.Flatten(), nn.Linear(64 * 4 * 4, FEATURES), nn.ReLU(),
        nn.Dropout(0.25),
    )  # fmt: skip


def progress(steps: Iterator[Any], total: int, title: str) -> Any:
    """Show a bar while going through `steps`, where tqdm is there and someone looks."""
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    return tqdm(steps, title, total, leave=False, disable=not sys.stderr.isatty())


class Trainer:
    """Trains a model by SGD with momentum; the step size falls along half a cosine."""

    def __init__(self, model: nn.Module, lr: float, epochs: int, batch: int, seed: int) -> None:
        self.model = model
        self.batch = batch
        self.rng = np.random.default_rng(seed)
        wanted = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = clgrad.optim.SGD(wanted, lr=lr, momentum=0.9, weight_decay=1e-4)
        self.schedule = clgrad.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs)

    def loss(self, images: Any, labels: Any) -> Any:
        """Return the loss of a batch."""
        return F.cross_entropy(self.model(images), labels)

    def step(self, images: Any, labels: Any) -> Any:
        """Learn from a batch; return its loss, which stays on the device."""
        loss = self.loss(images, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def epoch(self, data: Digits, title: str) -> float:
        """Learn from everything once, in random order; return the mean loss."""
        order = self.rng.permutation(len(data))
        # the last part, smaller than a batch, waits for another order
        parts = [order[k : k + self.batch] for k in range(0, len(data), self.batch)]
        total = clgrad.zeros(())
        for chosen in progress(iter(parts), len(parts), title):
            total += self.step(*data.where(chosen).tensors())  # nothing here waits for the device
        self.schedule.step()
        return float(total.item()) / len(parts)


def predict(model: nn.Module, data: Digits) -> np.ndarray:
    """Return the digit that the model sees in each image."""
    model.eval()
    with clgrad.no_grad():
        found: np.ndarray = model(clgrad.tensor(data.images)).argmax(dim=1).numpy()
    model.train()
    return found


# ---- part one ------------------------------------------------------------------------------------


def part_one(train: Digits, held_out: Digits, options: argparse.Namespace) -> None:
    """Train on all ten digits, and leave pictures and kernels."""
    model = nn.Sequential(build_base(), nn.Linear(FEATURES, 10))
    trainer = Trainer(model, options.lr, options.epochs, options.batch, options.seed)
    times, losses, accuracies = [], [], []
    for epoch in range(1, options.epochs + 1):
        start = time.perf_counter()
        losses.append(trainer.epoch(train, f"epoch {epoch}"))
        times.append(time.perf_counter() - start)
        found = predict(model, held_out)
        accuracies.append(float((found == held_out.labels).mean()))
        print(f"epoch {epoch:2}  loss {losses[-1]:.4f}  {times[-1]:.2f} s", flush=True)
    print(
        f"time per epoch: {np.median(times):.3f} s (the first, with compilation, {times[0]:.2f} s)"
    )
    print(f"accuracy: {100 * accuracies[-1]:.1f} %")
    if options.out is None:
        return
    kernels = options.out / "kernels"
    with clgrad.dump_kernels(kernels):
        trainer.step(*train.where(np.arange(options.batch)).tensors())
    print(f"kernels of one step, forward and derivative: {kernels}/index.md")
    draw(losses, accuracies, held_out, found, options.out)


def draw(
    losses: list[float], accuracies: list[float], data: Digits, found: np.ndarray, folder: Path
) -> None:
    """Save the learning curve, and the digits that were misread."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no pictures: they need matplotlib (pip install matplotlib)")
        return
    figure = Figure((7, 4), layout="constrained")
    left = figure.subplots()
    epochs = range(1, len(losses) + 1)
    left.plot(epochs, losses, "C0")
    left.set(xlabel="epoch", ylabel="mean training loss", yscale="log")
    right = left.twinx()
    right.plot(epochs, [100 * a for a in accuracies], "C1")
    right.set_ylabel("held-out accuracy, %")
    figure.savefig(folder / "learning-curve.png", dpi=120)
    wrong = np.flatnonzero(found != data.labels)
    rows = max(1, -(-len(wrong) // 6))
    figure = Figure((7, 1.4 * rows), layout="constrained")
    axes = figure.subplots(rows, 6, squeeze=False).flat
    for axis, k in zip(axes, wrong, strict=False):
        axis.imshow(data.images[k, 0], cmap="gray_r")
        axis.set_title(f"a {data.labels[k]}, read as {found[k]}", fontsize=8)
    for axis in figure.axes:
        axis.set_axis_off()
    figure.savefig(folder / "misread.png", dpi=120)
    print(f"learning curve: {folder}/learning-curve.png")
    print(f"the {len(wrong)} misread of {len(data)}: {folder}/misread.png")


# ---- part two ------------------------------------------------------------------------------------


def part_two(train: Digits, held_out: Digits, options: argparse.Namespace) -> None:
    """Learn four digits on top of a frozen network that knows six others."""
    old, new = (train.where(part) for part in known_and_new(train))
    base = build_base()
    trainer = Trainer(
        nn.Sequential(base, nn.Linear(FEATURES, KNOWN)), options.lr, options.epochs, options.batch,
        options.seed,
    )  # fmt: skip
    for epoch in range(1, options.epochs // 2 + 1):
        trainer.epoch(old, f"digits below {KNOWN}, epoch {epoch}")
    new.labels = new.labels - KNOWN
    unseen = held_out.where(known_and_new(held_out)[1])
    unseen.labels = unseen.labels - KNOWN
    print(f"\nfine-tuning on the digits from {KNOWN} on, which the base has never seen:")
    base.eval()  # normalisation keeps what it has learned, and nothing is dropped
    for frozen in (False, True):
        base.requires_grad_(not frozen)
        model = nn.Sequential(base, nn.Linear(FEATURES, 10 - KNOWN))
        tuner = Trainer(model, options.lr, options.epochs, options.batch, options.seed)
        batch = new.where(np.arange(options.batch)).tensors()
        saved, launches, seconds = cost_of_a_step(tuner, *batch)
        print(
            f"  {'frozen' if frozen else 'unfrozen':8}  saved for backward {saved:>9,} bytes, "
            f"{launches:>3} kernels, {1e3 * seconds:6.1f} ms per step"
        )
    for epoch in range(1, options.epochs // 2 + 1):
        tuner.epoch(new, f"new digits, epoch {epoch}")
    base.eval()
    share = float((predict(model, unseen) == unseen.labels).mean())
    print(f"  accuracy on the new digits, with a new last layer alone: {100 * share:.1f} %")


def known_and_new(data: Digits) -> tuple[np.ndarray, np.ndarray]:
    """Return which show a digit that the base knows, and which do not."""
    return np.flatnonzero(data.labels < KNOWN), np.flatnonzero(data.labels >= KNOWN)


def cost_of_a_step(trainer: Trainer, images: Any, labels: Any) -> tuple[int, int, float]:
    """Return bytes saved for backward, kernels launched, and seconds of one training step."""
    sizes: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        sizes[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with clgrad.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = trainer.loss(images, labels)
    del loss
    for _ in range(3):  # compile; from the second on, gradients are known to be dropped at once
        trainer.step(images, labels)
    clgrad.synchronize()
    before, start = clgrad.launch_count(), time.perf_counter()
    for _ in range(5):
        trainer.step(images, labels)
    clgrad.synchronize()
    return (
        sum(sizes.values()), (clgrad.launch_count() - before) // 5,
        (time.perf_counter() - start) / 5,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="as in `clgrad devices`; the first one if not given")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=64, help="images per step")
    parser.add_argument("--lr", type=float, default=0.05, help="step size at the beginning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("digits-demo"), help="for what is saved")
    parser.add_argument("--no-out", dest="out", action="store_const", const=None)
    options = parser.parse_args(argv)

    rng = np.random.default_rng(options.seed)
    train, held_out = load_digits(rng)
    if options.device is not None:
        clgrad.set_default_device(options.device)
    device = clgrad.get_default_device()
    print(f"device: {device.id} {device.name} ({device.platform_name})")
    clgrad.manual_seed(options.seed)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    part_one(train, held_out, options)
    part_two(train, held_out, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
