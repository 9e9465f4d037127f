"""Networks: training steps, inference, fine-tuning of the last layer."""

from __future__ import annotations

from typing import Any

from records import Workload, integers, normal, training


def _perceptron(m: Any) -> Any:
    nn = m.nn
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def _lenet(m: Any) -> Any:
    nn = m.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def _resnet18(m: Any) -> Any:
    """Return the network of He et al. 2015, in either library."""
    nn = m.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, before: int, planes: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, planes, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.relu = nn.ReLU(inplace=True)
            self.shortcut = nn.Identity()
            if stride != 1:
                shortcut = nn.Conv2d(before, planes, 1, stride, bias=False)
                self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(planes))

        def forward(self, x: Any) -> Any:
            made = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(made)) + self.shortcut(x))

    sizes = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    blocks = [
        block
        for before, planes, stride in sizes
        for block in (Block(before, planes, stride), Block(planes, planes, 1))
    ]
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000),
    )  # fmt: skip


def _transformer(m: Any) -> Any:
    """Return a model of language: 4 layers, 256 features, 4 heads, normalised first."""
    nn = m.nn

    class Transformer(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(1000, 256)
            self.position = nn.Parameter(m.zeros(128, 256))
            layer = nn.TransformerEncoderLayer(
                256, 4, 1024, 0.0, "gelu", batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(
                layer, 4, nn.LayerNorm(256), enable_nested_tensor=False
            )
            self.head = nn.Linear(256, 1000)

        def forward(self, tokens: Any) -> Any:
            x = self.encoder(self.embedding(tokens) + self.position)
            return self.head(x).flatten(0, 1)

    return Transformer()


def _sgd(m: Any, parameters: Any) -> Any:
    return m.optim.SGD(parameters, lr=0.01, momentum=0.9)


def _adamw(m: Any, parameters: Any) -> Any:
    return m.optim.AdamW(parameters, lr=1e-3)


def _images(batch: int, classes: int, *shape: int) -> Any:
    return lambda: [normal(7, batch, *shape), integers(8, classes, batch)]


def _sentences() -> list[Any]:
    return [integers(9, 1000, 16, 128), integers(10, 1000, 16 * 128)]


_PERCEPTRON = 784 * 512 + 512 * 512 + 512 * 10
_LENET = 6 * 25 * 784 + 16 * 150 * 100 + 400 * 120 + 120 * 84 + 840
_RESNET = 1.814e9  # multiplications and additions for an image of 224 x 224
# per token: maps of attention, feed-forward and head; scores and their use
_TRANSFORMER = 4 * (4 * 256**2 + 2 * 256 * 1024 + 2 * 128 * 256) + 256 * 1000
_RESNET_SHAPE = (3, 224, 224)
WORKLOADS = [
    *(
        Workload(
            f"perceptron 784-512-512-10, batch {batch}: training step", "models",
            training(_perceptron, _images(batch, 10, 784), _sgd), 6.0 * batch * _PERCEPTRON,
            rtol=1e-3,
        )
        for batch in (128, 8)
    ),
    *(
        Workload(
            f"{name}, batch 128: training step, gradients kept", "models",
            training(module, _images(128, 10, *shape), _sgd, keeping=True), 6.0 * 128 * work,
            rtol=1e-3,
        )
        for name, module, shape, work in (
            ("perceptron 784-512-512-10", _perceptron, (784,), _PERCEPTRON),
            ("LeNet", _lenet, (1, 28, 28), _LENET),
        )
    ),
    Workload(
        "LeNet, batch 128: training step", "models",
        training(_lenet, _images(128, 10, 1, 28, 28), _sgd), 6.0 * 128 * _LENET, rtol=1e-3,
    ),
    Workload(
        "ResNet-18, batch 8, 224 x 224: inference", "models",
        training(_resnet18, _images(8, 1000, *_RESNET_SHAPE)), 2.0 * 8 * _RESNET, rtol=1e-3,
        large=True,
    ),
    # gradients jump where a ReLU's input is about 0: either library is up to 7 % off float64
    Workload(
        "ResNet-18, batch 8, 224 x 224: training step", "models",
        training(_resnet18, _images(8, 1000, *_RESNET_SHAPE), _sgd), 6.0 * 8 * _RESNET, rtol=0.1,
        large=True,
    ),
    Workload(
        "ResNet-18, batch 16, 224 x 224: step of the last layer alone", "models",
        training(_resnet18, _images(16, 1000, *_RESNET_SHAPE), _sgd, lambda net: net[-1]),
        2.0 * 16 * _RESNET, rtol=2e-2, large=True,
    ),
    Workload(
        "transformer, 4 layers of 256, batch 16 x 128: training step", "models",
        training(_transformer, _sentences, _adamw), 6.0 * 16 * 128 * _TRANSFORMER, rtol=1e-3,
        large=True,
    ),
]  # fmt: skip
