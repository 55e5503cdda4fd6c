"""Time to 99 %: a published recipe beside a configuration of this project, trained in turn."""

import contextlib
import functools
from collections.abc import Collection

from benchmarks.peers.contestants import ONE_DEVICE, OURS, Contestant
from benchmarks.peers.racer import Racer, each, say
from benchmarks.peers.record import Found

CONFIG = "configs/fast.py"
PUBLISHED = Contestant("torch", "train_mnist_fast, PyTorch", "recipe_torch.build", needs=("torch",))


def compare(config: str, *, without: Collection[str], rounds: int) -> Found:
    """Whole trainings from scratch, each round with another seed, after one that warms up.

    Args:
      config: a configuration, by its file.
      without: names that take no part, `torch` or `mnist_jax`.
      rounds: how many.
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
