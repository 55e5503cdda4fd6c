"""Says which keywords the model, loss, optimizer or schedule of a name takes."""

from mnist_jax import binding, imports


def keywords(section: str, name: str) -> set[str] | None:
    """Returns the keywords that a name takes in a configuration; None if it takes any.

    Args:
      section: `model`, `loss`, `optimizer` or `schedule`.
      name: one of the names that this section knows, or the user's own `package.module:Name`.

    Raises:
      UserError: there is no such name.
    """
    with imports.without("IPython"):  # as in commands/cli.py
        # Late: these import JAX, and the configuration, which imports this module.
        from mnist_jax import models
        from mnist_jax.training import loss, optimizer, schedule
    known = {
        "model": models.MODELS,
        "loss": loss.LOSSES,
        "optimizer": optimizer.optimizers(),
        "schedule": schedule.schedules(),
    }
    where = f"config.{section}.name"
    found = binding.parameters(binding.find(name, known[section], where), where)
    if any(its.kind is its.VAR_KEYWORD for its in found.values()):
        return None
    return set(found)
