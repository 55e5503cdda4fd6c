"""Measures the profile of one configuration."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.step_profile.hlo import instructions
from benchmarks.step_profile.layers import Layer, flops, layers
from benchmarks.step_profile.pieces import WHOLE, pieces
from benchmarks.step_profile.setting import set_up
from benchmarks.step_profile.timed import Timed, again_and_again, time_in_turn
from mnist_jax import config_file, models

SECONDS, QUICK_SECONDS = 0.2, 0.02  # the shortest duration of a repeat
PRODUCT = 2048  # rows and columns of the matrices whose product gives the limit


def profile(file: str, overrides: Sequence[tuple[str, str]], quick: bool) -> dict[str, Any]:
    """Measures the pieces, the layers and the instructions of a configuration's training step.

    Args:
      file: the configuration file.
      overrides: fields to set, as pairs of name and value.
      quick: whether to use shorter repeats.

    Returns:
      The keys `config`, `batch_size`, `limit` (FLOP/s of a matrix product), `pieces`, `layers` and
      `program`. All times are lists of seconds per step, one per repeat.

    Raises:
      UserError: the configuration is not valid.
    """
    setting = set_up(models.resolve(config_file.load(file, overrides)))
    stages, alone = pieces(setting), layers(setting)
    timed = list(stages.values())
    for layer in alone:
        for function in (layer.forward, layer.gradient):
            looped = again_and_again(function, setting.steps)
            timed.append(Timed(looped, setting.steps, layer.own, layer.real))
    square = jnp.ones((PRODUCT, PRODUCT), setting.task.model.dtype)
    timed.append(Timed(again_and_again(jnp.matmul, 2), 2, square, square))
    *seconds, limit = time_in_turn(timed, QUICK_SECONDS if quick else SECONDS)
    until, rest = seconds[: len(stages)], seconds[len(stages) :]
    return {
        "config": " ".join([file, *(f"--config.{name}={value}" for name, value in overrides)]),
        "batch_size": setting.config.batch_size,
        "limit": [2 * PRODUCT**3 / s for s in limit],  # FLOP/s
        "pieces": [{"name": n, "until": s} for n, s in zip(stages, until, strict=True)],
        "layers": [_layer(*its) for its in zip(alone, rest[::2], rest[1::2], strict=True)],
        "program": instructions(stages[WHOLE].text()),
    }


def _layer(layer: Layer, forward: list[float], gradient: list[float]) -> dict[str, Any]:
    outputs = jax.tree.leaves(jax.eval_shape(layer.forward, layer.own, layer.real))
    return {
        "name": layer.call.name,
        "shape": list(outputs[0].shape[1:]) if outputs else [],
        "parameters": layer.parameters,
        "forward": forward,
        "gradient": gradient,  # includes the forward pass
        "forward_flops": flops(layer.forward, layer.own, layer.real),
        "gradient_flops": flops(layer.gradient, layer.own, layer.real),
    }
