"""The contestant in PyTorch: data on the device, batches selected by index, fused Adam."""

from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from benchmarks.peers.digits import Digits, load
from benchmarks.peers.networks import BATCH, CLASSES, LEARNING_RATE, NETWORKS, Network

EVALUATED_AT_A_TIME = 1000


class InTorch:
    """Trains a network with Adam in PyTorch.

    Args:
      network: the network to train.
      digits: the images and labels.
      channels_last: use PyTorch's memory format of that name.
      how: which part of a step is compiled, a value of `HOW`.
    """

    def __init__(self, network: Network, digits: Digits, *, channels_last: bool, how: str) -> None:
        torch.manual_seed(0)
        self._device = initial_device()
        self._images, self._labels = place(digits.train_images, digits.train_labels, self._device)
        self._test = place(digits.test_images, digits.test_labels, self._device)
        self._model = module(network).to(self._device)
        if channels_last:
            self._model = self._model.to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=LEARNING_RATE, fused=True)
        self._step = self._compile(how)
        self.facts: dict[str, Any] = {
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "device": "gpu" if self._device.type == "cuda" else "cpu",
        }

    def _compile(self, how: str) -> Callable[[Any, Any], None]:
        self._loss = _loss_of(self._model)
        if how == "model":
            self._loss = torch.compile(self._loss)
        if how == "graphs":
            self._loss = torch.compile(self._loss, mode="reduce-overhead")
        return torch.compile(self._train_step) if how == "step" else self._train_step

    def _train_step(self, images: Any, labels: Any) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self._loss(images, labels).backward()
        self._optimizer.step()

    def epoch(self) -> None:
        """Trains one epoch of complete batches in a new random order."""
        self._model.train()
        order = torch.randperm(len(self._images), device=self._device)
        for index in order[: len(order) // BATCH * BATCH].view(-1, BATCH):
            self._step(self._images[index], self._labels[index])
        synchronize(self._device)

    def accuracy(self) -> float:
        """Returns the accuracy on the test images."""
        return accuracy(self._model, *self._test)


def initial_device() -> Any:
    """Returns the GPU if there is one, set to JAX's precision of products, or else the CPU."""
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(images: Any, labels: Any, device: Any) -> tuple[Any, Any]:
    """Moves images and labels `[n]` to the device.

    Args:
      images: `[n, 28, 28, 1]` float32.
      labels: `[n]` int32.
      device: a PyTorch device.

    Returns:
      Images `[n, 1, 28, 28]` float32 and labels `[n]` int64.
    """
    channels_first = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return channels_first.to(device), torch.from_numpy(labels).long().to(device)


def synchronize(device: Any) -> None:
    """Waits until the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def accuracy(model: Any, images: Any, labels: Any) -> float:
    """Returns the fraction of `images` `[n, 1, 28, 28]` that are classified as `labels` `[n]`."""
    model.eval()
    parts = zip(images.split(EVALUATED_AT_A_TIME), labels.split(EVALUATED_AT_A_TIME), strict=True)
    with torch.no_grad():
        correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in parts)
    return correct / len(labels)


def module(network: Network) -> Any:
    """Builds the network in PyTorch, initialised as in Keras and in this project."""
    layers, channels = [], 1
    for block in network.blocks:
        layers += [
            nn.Conv2d(channels, block.features, block.kernel, padding=block.padding.lower()),
            nn.ReLU(),
            nn.MaxPool2d(2) if block.pooling == "max" else nn.AvgPool2d(2),
        ]
        channels = block.features
    layers.append(nn.Flatten())
    if network.dropout:
        layers.append(nn.Dropout(network.dropout))
    inputs = network.features
    for outputs in network.dense:
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        inputs = outputs
    return initialised(nn.Sequential(*layers, nn.Linear(inputs, CLASSES)))


def initialised(model: Any) -> Any:
    """Initialises kernels as Glorot and Bengio do and biases with zero, and returns `model`."""
    for layer in model:
        if hasattr(layer, "weight"):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def _loss_of(model: Any) -> Callable[[Any, Any], Any]:
    return lambda images, labels: nn.functional.cross_entropy(model(images), labels)


HOW = {
    "contiguous": "",
    "channels_last": "",
    "compiled": "model",
    "compiled channels_last": "model",
    "compiled step": "step",
    "graphs": "graphs",
}


def build(network: str, examples: int, variant: str) -> InTorch:
    """Builds the trainer of a network, with the first `examples` training images."""
    return InTorch(
        NETWORKS[network],
        load(examples),
        channels_last="channels_last" in variant,
        how=HOW[variant],
    )
