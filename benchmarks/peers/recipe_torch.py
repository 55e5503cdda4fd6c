"""A published recipe: MNIST to 99 % in one epoch (https://github.com/tuomaso/train_mnist_fast).

The network, batch size, optimizer and one-cycle schedule are ported to plain PyTorch. An epoch has
235 steps of 256 images and covers all 60,000 images in the order of the files, normalised but not
augmented.
"""

from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from benchmarks.peers.digits import load
from benchmarks.peers.in_torch import accuracy, initial_device, place, synchronize
from benchmarks.peers.networks import RECIPE

EXAMPLES, BATCH = 60_000, 256
MEAN, DEVIATION = 0.1307, 0.3081  # mean and standard deviation of the training images' pixels


class Recipe:
    """Trains the recipe's network, with all images on the device."""

    def __init__(self) -> None:
        self._device = initial_device()
        digits = load(EXAMPLES)
        images, test_images = (
            (x - MEAN) / DEVIATION for x in (digits.train_images, digits.test_images)
        )
        images, labels = place(images, digits.train_labels, self._device)
        self._batches = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
        self._test = place(test_images, digits.test_labels, self._device)
        self.reset(0)
        self.facts: dict[str, Any] = {
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "epochs": 1,
            "flops": EXAMPLES * RECIPE.flops,
        }

    def reset(self, seed: int) -> None:
        """Returns to the state before the first step, with another seed."""
        torch.manual_seed(seed)
        self._model = network().to(self._device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.Adam(self._model.parameters(), betas=(0.7, 0.9), fused=True)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, max_lr=0.01, total_steps=len(self._batches), cycle_momentum=False
        )

    def epoch(self) -> None:
        """Trains the one epoch of which the recipe consists."""
        self._model.train()
        for images, labels in self._batches:
            self._optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(self._model(images), labels).backward()
            self._optimizer.step()
            self._schedule.step()
        synchronize(self._device)

    def accuracy(self) -> float:
        """Returns the accuracy on the test images."""
        return accuracy(self._model, *self._test)


def network() -> Any:
    """Builds the published network, with PyTorch's default initialisation."""
    layers: list[Any] = []
    channels = 1
    for block in RECIPE.blocks:
        layers += [nn.Conv2d(channels, block.features, block.kernel), nn.MaxPool2d(2), nn.ReLU()]
        channels = block.features
    (width,) = RECIPE.dense
    head = [nn.Flatten(), nn.Linear(RECIPE.features, width), nn.ReLU(), nn.Linear(width, 10)]
    return nn.Sequential(*layers, *head)


def build() -> Recipe:
    """Builds the trainer."""
    return Recipe()
