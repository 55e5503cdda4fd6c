"""The contestants of one network, alive side by side, an epoch of each in turn."""

import contextlib
import functools
import time
from collections.abc import Sequence

from benchmarks.peers.contestants import Contestant
from benchmarks.peers.networks import BATCH, Network
from benchmarks.peers.process import FailedError, Process
from benchmarks.peers.racer import Racer, each, say
from benchmarks.peers.record import Found

TRIAL_EXAMPLES, TRIAL_EPOCHS = 12_800, 3  # of each variant


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
    """An epoch to warm up, then rounds of one epoch of each contestant and of the limit.

    Args:
      network: what to train.
      contestants: one that is missing or fails is found with a `reason`.
      platform: cpu, gpu or tpu; who computes on another has failed.
      examples: of the training split, in an epoch.
      rounds: how many.
      trial: of a contestant's variants take the fastest, else the first.
      deadline: of `time.perf_counter`; past it no further round is begun, once there is one.
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
    """Builds and trains an epoch, which compiles."""
    say(f"{network.name}: {racer.contestant.title}: warming up")
    variant, *others = racer.contestant.variants
    if trial and others:
        seconds = {name: _try(racer, network, name) for name in racer.contestant.variants}
        racer.found["trial_seconds"] = seconds
        variant = min(seconds, key=seconds.__getitem__)
    facts = racer.ask("build", network=network.name, examples=examples, variant=variant)
    if facts["device"] != platform:
        raise FailedError(f"it computes on the {facts['device']}, and not on the {platform}")
    racer.found |= {"variant": variant, "parameters": facts["parameters"]}
    racer.found["warm_up_seconds"] = racer.epoch()


def _try(racer: Racer, network: Network, variant: str) -> float:
    racer.ask("build", network=network.name, examples=TRIAL_EXAMPLES, variant=variant)
    return min(racer.epoch() for _ in range(TRIAL_EPOCHS))
