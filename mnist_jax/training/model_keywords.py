"""Notices weights of a network that differs in what the names and shapes of arrays do not show.

An activation, for example, or the seed. A checkpoint's record holds the keywords of each network's
model, and its state the seed's key.
"""

from typing import Any

from mnist_jax import config as configuration
from mnist_jax import models
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.training.workdir import plain

FIELD = "models"  # of a record: one dict of keywords per network


def of(config: Config) -> dict[str, Any]:
    """Returns the keywords of a configuration's model, its defaults included."""
    values = plain(models.resolve(config).to_dict()["model"])
    return {name: value for name, value in values.items() if name != "name"}


def refuse_other(what: str, record: dict[str, Any], position: int, config: Config) -> None:
    """Raises UserError if a checkpoint was saved by a model with other keywords than `config` has.

    A keyword that only one of them knows is one of another version of the model.

    Args:
      what: names the checkpoint in the message.
      record: of the checkpoint; an early version has no keywords in it.
      position: of the network in the checkpoint.
      config: the configuration that is there now.
    """
    if FIELD not in record:
        return
    saved, now = record[FIELD][position], of(config)
    both = saved.keys() & now.keys()
    lines = configuration.difference(*({name: its[name] for name in both} for its in (saved, now)))
    if lines:
        raise UserError(
            f"{what} was saved by a network with another configuration (saved -> now): "
            f"model.{', model.'.join(lines)}. Put the right config.json, or the right checkpoint, "
            f"into its folder"
        )


def refuse_other_seed(what: str, key: Any, config: Config) -> None:
    """Raises UserError if a checkpoint was saved by a network with another seed than `config` has.

    Args:
      what: names the checkpoint in the message.
      key: of the network's state, `[2]` uint32, as `randomness.root_key` returns it.
      config: the configuration that is there now.
    """
    saved = int(key[1])
    if saved != config.seed:
        raise UserError(
            f"{what} was saved by a network with another seed (saved -> now): seed: {saved} -> "
            f"{config.seed}. Put the right config.json, or the right checkpoint, into its folder"
        )
