"""Lets the contestants train one network in turn, one epoch each, all processes staying alive."""

import contextlib
import functools
import time
from collections.abc import Sequence

from benchmarks.peers.contestants import Contestant
from benchmarks.peers.networks import BATCH, Network
from benchmarks.peers.process import FailedError, Process
from benchmarks.peers.racer import Racer, each, say
from benchmarks.peers.record import Found

TRIAL_EXAMPLES, TRIAL_EPOCHS = 12_800, 3  # examples per epoch, and epochs of each variant


def race(
    network: Network,
    contestants: Sequence[Contestant],
    *,
    platform: str,
    examples: int,
    rounds: int,
    trial: bool,
    deadline: float,
) -> Found:
    """Times epochs of a network in rounds: one epoch of each contestant and the product limit.

    Each contestant first trains an epoch to warm up, which is not counted.

    Args:
      network: the network to train.
      contestants: the contestants; one that is missing or fails gets a `reason` in the result.
      platform: cpu, gpu or tpu; a contestant that computes on another platform fails.
      examples: the number of training examples per epoch.
      rounds: the number of rounds.
      trial: whether to try all variants of a contestant and use the fastest, not the first.
      deadline: a time of `time.perf_counter`, after which no round but the first is started.

    Returns:
      The measurements of the part, with those of each contestant under `contestants`.
    """
    with contextlib.ExitStack() as stack:
        product = stack.enter_context(Process("product.build", {}))
        racers = [Racer(contestant) for contestant in contestants]
        for racer in racers:
            racer.enter(stack)
        flops = product.ask("build")["flops"]
        product.ask("epoch")
        each(racers, functools.partial(_warm_up, network, platform, examples, trial))
        speeds: list[float] = []
        for number in range(1, rounds + 1):
            if speeds and time.perf_counter() > deadline:
                break
            say(f"{network.name}: round {number} of {rounds}")
            speeds.append(flops / product.ask("epoch")["seconds"] / 1e9)
            each(racers, lambda racer: racer.found["seconds"].append(racer.epoch()))
        each(racers, lambda racer: racer.found.update(racer.ask("evaluate")))
    return {
        "examples": examples,
        "steps": examples // BATCH,
        "epochs": 1 + len(speeds),
        "flops_an_image": network.flops,
        "product_gflops": speeds,
        "contestants": {racer.contestant.name: racer.found for racer in racers},
    }


def _warm_up(network: Network, platform: str, examples: int, trial: bool, racer: Racer) -> None:
    """Builds the trainer and trains an epoch, which includes compilation."""
    say(f"{network.name}: {racer.contestant.title}: warming up")
    variant, *others = racer.contestant.variants
    if trial and others:
        seconds = {name: _try(racer, network, name) for name in racer.contestant.variants}
        racer.found["trial_seconds"] = seconds
        variant = min(seconds, key=seconds.__getitem__)
    facts = racer.ask("build", network=network.name, examples=examples, variant=variant)
    if facts["device"] != platform:
        raise FailedError(f"it computes on the {facts['device']} instead of the {platform}")
    racer.found |= {"variant": variant, "parameters": facts["parameters"]}
    racer.found["warm_up_seconds"] = racer.epoch()


def _try(racer: Racer, network: Network, variant: str) -> float:
    racer.ask("build", network=network.name, examples=TRIAL_EXAMPLES, variant=variant)
    return min(racer.epoch() for _ in range(TRIAL_EPOCHS))
