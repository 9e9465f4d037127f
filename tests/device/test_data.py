"""Loading batches on devices: one gather for each tensor, gradients included."""

from __future__ import annotations

from typing import Any

import numpy as np

import clgrad
from clgrad.creation import current
from clgrad.graph import recorder, watch
from clgrad.utils.data import DataLoader, TensorDataset, default_collate


def test_batches_are_gathered(device: Any) -> None:
    former, current.device = current.device, device
    try:
        x = clgrad.randn(40, 3, requires_grad=True)
        y = clgrad.arange(40)
        dataset = TensorDataset(x, y)
        clgrad.manual_seed(2)
        orders = []
        for images, classes in DataLoader(dataset, 16, shuffle=True, drop_last=True):
            recorder.flush()
            watch.reset()
            numbers = classes.tolist()
            again = default_collate([dataset[k] for k in numbers])
            assert np.array_equal(images.numpy(force=True), again[0].numpy(force=True))
            assert images.requires_grad
            images.sum().backward()
            orders += numbers
        assert len({*orders}) == 32
        assert x.grad.sum(dim=1).tolist() == [3.0 if k in orders else 0.0 for k in range(40)]
        recorder.flush()
        watch.reset()
        batch = dataset.batch([3, 1, 2])
        recorder.flush()
        assert watch.reset().launches == 2
        assert batch[1].tolist() == [3, 1, 2]
    finally:
        current.device = former
