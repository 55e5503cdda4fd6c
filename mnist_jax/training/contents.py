"""Converts the position of networks to the contents of a checkpoint, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mnist_jax.members import DIVERGED, FINISHED
from mnist_jax.training import model_keywords
from mnist_jax.training.checkpoint import Record
from mnist_jax.training.epoch import out_of_patience
from mnist_jax.training.logs import Row
from mnist_jax.training.position import RECORDED, TRAINING, Position
from mnist_jax.training.program import Program
from mnist_jax.training.row_texts import rows_of
from mnist_jax.training.state import TrainState, evaluation_weights
from mnist_jax.training.warm_start import warm_start

PARTS = (*TrainState.__annotations__, "best")


def template(program: Program) -> dict[str, Any]:
    """Returns the shapes `[M, ...]` of the arrays in a checkpoint, by part."""
    count = len(program.configs)

    def of_members(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype)

    state: Any = jax.tree.map(of_members, program.shapes)
    ranked = program.validate is not None
    return {**state, "best": evaluation_weights(state) if ranked else {}}


def arrays(program: Program, at: Position) -> dict[str, Any]:
    """Returns the arrays of a checkpoint, `[M, ...]` on the host, by part."""
    return {**program.layout.members(at.state), "best": at.best}


def first(program: Program, start: TrainState) -> tuple[Position, Any]:
    """Returns the position before the first step, and its state `[M, ...]` on the host.

    Args:
      program: of the networks.
      start: as `program.start` returns it; weights to start from are put in their place.

    Raises:
      UserError: the weights that `config.init_from` names are missing or do not fit.
    """
    count = len(program.configs)
    state = warm_start(program.layout.members(start), program.config)
    ranked = template(program)["best"]
    best = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), ranked)
    rows = [[] for _ in range(count)]
    return Position(program.layout.place(state), best, rows, [TRAINING] * count), state


def position(program: Program, tree: Mapping[str, Any], record: Record, what: str) -> Position:
    """Returns the position that a checkpoint holds.

    A network that is finished goes on if its configuration has more epochs by now.

    Args:
      program: of the networks.
      tree: the arrays of the checkpoint, as `template` describes them.
      record: of the checkpoint.
      what: names the checkpoint in messages.

    Raises:
      UserError: the checkpoint was saved by models with other keywords or seeds.
    """
    for i, config in enumerate(program.configs):
        model_keywords.refuse_other(what, record, i, config)
        if not record["status"][i].startswith(DIVERGED):  # else its state is that of another one
            model_keywords.refuse_other_seed(what, tree["key"][i], config)
    state = {name: part for name, part in tree.items() if name != "best"}
    rows, status = progress(program, record)
    others = {name: record[name] for name in RECORDED}
    return Position(
        program.layout.place(state), tree["best"], **others | {"rows": rows, "status": status}
    )


def progress(program: Program, record: Record) -> tuple[list[list[Row]], list[str]]:
    """Returns the rows and the status of each network, from the record of a checkpoint."""
    rows = [rows_of(text) for text in record["rows"]]
    status = [*record["status"]]
    for i, its in enumerate(rows):
        longer = record["epochs"] < program.config.num_epochs and not out_of_patience(program, its)
        if status[i] == FINISHED and longer:
            status[i] = TRAINING
    return rows, status
