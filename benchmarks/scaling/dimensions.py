"""The dimensions that are doubled (such as the batch size), and the networks measured for each."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.scaling import networks
from benchmarks.scaling.process import Process
from benchmarks.scaling.watch import Stopwatch
from mnist_jax.training.program import prepare_many, prepare_one


@dataclass(frozen=True)
class Series:
    """A network that is measured at several sizes of a dimension."""

    network: str
    label: str
    sizes: tuple[int, ...]
    quick: tuple[int, ...] = ()  # sizes in a quick run, which leaves the series out if empty


@dataclass(frozen=True)
class Dimension:
    """A quantity that is doubled repeatedly, with the networks that are measured."""

    title: str
    axis: str  # label of the horizontal axis
    watch: Callable[[str, int, float], Stopwatch | Process]  # of network, size, seconds per repeat
    series: tuple[Series, ...]
    shared: bool = False  # the work stays the same, so proportional scaling halves the time


def _batch(network: str, size: int, at_least: float) -> Stopwatch:
    return Stopwatch(prepare_one(networks.of_batch(network, size)), at_least)


def _width(network: str, size: int, at_least: float) -> Stopwatch:
    return Stopwatch(prepare_one(networks.of_width(network, size)), at_least)


def _population(network: str, size: int, at_least: float) -> Stopwatch:
    config = networks.of_batch(network)
    configs = [dataclasses.replace(config, seed=seed) for seed in range(size)]
    return Stopwatch(prepare_many(configs), at_least)


def _devices(network: str, size: int, at_least: float) -> Process:
    return Process(network, size, 1024 if network == "mlp" else 256, at_least)


def _doubled(first: int, last: int) -> tuple[int, ...]:
    return tuple(first << i for i in range((last // first).bit_length()))


MLP, TINY, CNN = "784-128-32-10", "784-5-10", "CNN 16, 32; 128"
DIMENSIONS = {
    "batch": Dimension(
        "Batch size",
        "images per step",
        _batch,
        (
            Series("mlp", MLP, _doubled(16, 4096), quick=(32, 128, 512)),
            Series("cnn", CNN, _doubled(16, 1024)),
        ),
    ),
    "width": Dimension(
        "Width, batches of 128",
        "width w",
        _width,
        (
            Series("mlp", "784-w-10", _doubled(16, 2048), quick=(64, 256, 1024)),
            Series("cnn", "CNN 16, w", _doubled(8, 128)),
        ),
    ),
    "population": Dimension(
        "Population, batches of 128 each",
        "networks in one program",
        _population,
        (
            Series("mlp", MLP, _doubled(1, 32)),
            Series("mlp_tiny", TINY, _doubled(1, 32), quick=(1, 4)),
        ),
    ),
    "devices": Dimension(
        "Virtual CPU devices, one batch split over all",
        "devices",
        _devices,
        (
            Series("mlp", f"{MLP}, batch 1024", _doubled(1, 4), quick=(1, 2)),
            Series("cnn", f"{CNN}, batch 256", _doubled(1, 4)),
        ),
        shared=True,
    ),
}
