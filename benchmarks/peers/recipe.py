"""Compares the time to 99 % test accuracy of a published recipe and of a configuration."""

import contextlib
import functools
from collections.abc import Collection

from benchmarks.peers.contestants import ONE_DEVICE, OURS, Contestant
from benchmarks.peers.racer import Racer, each, say
from benchmarks.peers.record import Found

CONFIG = "configs/fast.py"
PUBLISHED = Contestant("torch", "train_mnist_fast, PyTorch", "recipe_torch.build", needs=("torch",))


def compare(config: str, *, without: Collection[str], rounds: int) -> Found:
    """Times complete trainings from scratch, in turn, with another seed in each round.

    Each contestant first trains one epoch to warm up, which is not counted.

    Args:
      config: the file of a configuration of this project.
      without: names of contestants to leave out, `torch` or `mnist_jax`.
      rounds: the number of rounds.

    Returns:
      `{"contestants": measurements by name}`.
    """
    ours = Contestant(OURS, config, "ours.recipe", environment=ONE_DEVICE)
    both = (ours, PUBLISHED)
    racers = [Racer(one) for one in both if one.name not in without]
    with contextlib.ExitStack() as stack:
        for racer in racers:
            racer.enter(stack)
        each(racers, functools.partial(_warm_up, config))
        for seed in range(rounds):
            say(f"recipe: round {seed + 1} of {rounds}")
            each(racers, functools.partial(_train, seed))
    return {"contestants": {racer.contestant.name: racer.found for racer in racers}}


def _warm_up(config: str, racer: Racer) -> None:
    arguments = {"config": config} if racer.contestant.name == OURS else {}
    racer.found |= {"facts": racer.ask("build", **arguments), "accuracies": []}
    racer.epoch()
    racer.ask("evaluate")


def _train(seed: int, racer: Racer) -> None:
    racer.ask("reset", seed=seed)
    epochs = racer.found["facts"]["epochs"]
    racer.found["seconds"].append(sum(racer.epoch() for _ in range(epochs)))
    racer.found["accuracies"].append(racer.ask("evaluate")["accuracy"])
