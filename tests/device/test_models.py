"""Whole networks on every device: names, results and gradients as PyTorch's."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import clgrad


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    clgrad.manual_seed(2)
    yield
    clgrad.set_default_device(None)


class Block(nn.Module):
    """torchvision's `BasicBlock`."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Any) -> Any:
        short = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + short)


class ResNet(nn.Module):
    """torchvision's `resnet18`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        for k, (a, b) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512))):
            stage = nn.Sequential(Block(a, b, 1 if a == b else 2), Block(b, b, 1))
            self.add_module(f"layer{k + 1}", stage)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Any) -> Any:
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def arrays(state: Any) -> dict[str, Any]:
    return {key: value.numpy() for key, value in state.items()}


def compare(ours: Any, theirs: Any, inputs: Any, classes: int, limit: float) -> None:
    """Compare loss, gradients and buffers after one step of training."""
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(arrays(theirs.state_dict()))
    target = np.arange(len(inputs)) % classes
    for m, model in ((torch, theirs), (clgrad, ours)):
        loss = m.nn.functional.cross_entropy(model(m.tensor(inputs)), m.tensor(target))
        loss.backward()
        model.loss = loss.item()
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        a, b = mine.grad.numpy(), other.grad.numpy()
        assert np.linalg.norm(a - b) <= limit * np.linalg.norm(b) + 1e-6, name
    for (name, mine), other in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), 1e-3, 1e-4, err_msg=name)


def images(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_resnet18() -> None:
    torch.manual_seed(3)
    ours = clgrad.models.resnet18(num_classes=7)
    compare(ours, ResNet(7), images(4, 3, 64, 64), 7, 5e-3)
    ours.eval()
    with clgrad.no_grad():
        one = ours(clgrad.tensor(images(1, 3, 64, 64)))
    assert one.shape == (1, 7)


def test_resnets_of_torchvision() -> None:
    x = clgrad.models.resnet18()
    assert sum(p.numel() for p in x.parameters()) == 11_689_512
    assert len(x.state_dict()) == 122
    assert [n for n, _ in x.layer2[0].named_children()] == [
        "conv1", "bn1", "relu", "conv2", "bn2", "downsample",
    ]  # fmt: skip
    assert sum(p.numel() for p in clgrad.models.resnet34().parameters()) == 21_797_672
    weight = x.layer3[0].conv1.weight.detach().numpy()
    assert weight.std() == pytest.approx(np.sqrt(2 / (256 * 9)), rel=0.01)
    still = clgrad.models.resnet18(zero_init_residual=True).layer1[0].bn2.weight
    assert not still.abs().sum().item()


def test_lenet() -> None:
    torch.manual_seed(3)
    theirs = nn.ModuleDict(
        {
            "features": nn.Sequential(
                nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5),
                nn.ReLU(), nn.MaxPool2d(2),
            ),
            "classifier": nn.Sequential(
                nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                nn.Linear(84, 10),
            ),
        }
    )  # fmt: skip
    theirs.forward = lambda x: theirs["classifier"](theirs["features"](x))
    compare(clgrad.models.LeNet(), theirs, images(6, 1, 28, 28), 10, 1e-3)
    assert clgrad.models.LeNet(3, 2, 20)(clgrad.zeros(1, 2, 20, 20)).shape == (1, 3)


def test_mlp() -> None:
    torch.manual_seed(3)
    layers = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 5))
    theirs = nn.ModuleDict({"layers": layers})
    theirs.forward = layers.forward
    compare(clgrad.models.MLP([8, 16, 5], clgrad.nn.Tanh), theirs, images(6, 8), 5, 1e-4)
    assert repr(clgrad.models.MLP([2, 2, 2], dropout=0.1).layers[2]).startswith("Dropout")


class Classifier(nn.Module):
    """`TransformerClassifier` of PyTorch's layers."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(9, 8) * 0.1)
        self.embedding = nn.Embedding(11, 8, 0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)
        self.classifier = nn.Linear(8, 3)

    def forward(self, tokens: Any) -> Any:
        x = self.embedding(tokens) + self.position[: tokens.shape[1]]
        x = self.encoder(x, src_key_padding_mask=tokens == 0)
        counted = (tokens != 0)[..., None].float()
        return self.classifier((x * counted).sum(1) / counted.sum(1))


def test_transformer_classifier() -> None:
    torch.manual_seed(3)
    tokens = np.random.default_rng(1).integers(1, 11, (5, 7))
    tokens[1, 4:] = tokens[3, 1:] = 0
    ours = clgrad.models.TransformerClassifier(11, 3, 8, 2, 2, 16, 9, 0.0)
    compare(ours, Classifier(), tokens, 3, 1e-3)
    with pytest.raises(RuntimeError, match="at most 9"):
        ours(clgrad.tensor(np.ones((1, 10), np.int64)))
    plain = clgrad.models.TransformerClassifier(11, 3, 8, 2, 1, 16, padding_idx=None)
    assert plain(clgrad.tensor(tokens)).shape == (5, 3)


def test_the_example_fine_tunes_a_frozen_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained = clgrad.models.resnet18(num_classes=7)
    weights = tmp_path / "weights.safetensors"
    clgrad.save(pretrained.state_dict(), weights)
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "finetune.py"))
    example["main"](
        [
            "--weights",
            str(weights),
            "--classes",
            "5",
            "--batch",
            "2",
            "--pixels",
            "32",
            "--steps",
            "2",
        ]
    )
    printed = capsys.readouterr().out
    assert len(re.findall(r"\d\.\d{3}", printed.splitlines()[0])) == 2
    costs = re.findall(r"saves +([\d,]+) bytes, +(\d+) kernels", printed)
    (frozen, few), (whole, many) = ((int(b.replace(",", "")), int(k)) for b, k in costs)
    assert frozen < whole / 100  # the operands of the head and of the loss
    assert few < many / 2
    model = example["network"](5, str(weights))
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    assert model.conv1.weight.tolist() == pretrained.conv1.weight.tolist()
