"""Starting from the weights of another run."""

from pathlib import Path

from mnist_jax.errors import UserError
from mnist_jax.models import Tree
from mnist_jax.training.checkpoint import newest_sound
from mnist_jax.training.state import TrainState
from mnist_jax.training.workdir import read_config


def warm_start(state: TrainState, init_from: str) -> TrainState:
    """`state` with the weights of the run in the workdir `init_from`; as it is where that is empty.

    They are the weights that the other run is evaluated with: its average, where it has one.

    Raises:
      UserError: there is no such run, or its network is another.
    """
    if not init_from:
        return state
    params, variables = _weights(Path(init_from), state)
    average = params if state["average"] else {}
    return {**state, "params": params, "variables": variables, "average": average}


def _weights(workdir: Path, state: TrainState) -> tuple[Tree, Tree]:
    if not (workdir / "config.json").is_file():
        raise UserError(f"config.init_from: {workdir} holds no run")
    name = "average" if read_config(workdir).ema_decay > 0.0 else "params"
    template = {name: state["params"], "variables": state["variables"]}
    found = newest_sound(workdir / "checkpoints", template, set_aside=False)
    if found is None:
        raise UserError(f"config.init_from: {workdir} holds no checkpoint to start from")
    weights = found[0]
    return weights[name], weights["variables"]
