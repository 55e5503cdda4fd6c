"""Records the conditions of a training that decide its bits: hardware, versions and code.

The record of a checkpoint holds a history: one entry for the first step, and one for each step from
which a process went on under other conditions.
"""

import os
from collections.abc import Sequence
from typing import Any

import jax

from mnist_jax import config as configuration
from mnist_jax.training import own_code, provenance
from mnist_jax.training.checkpoint import Record
from mnist_jax.training.program import Program

FIELD = "conditions"  # of a record: a history
VARIABLES = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")  # change what XLA compiles
# Of the conditions: in elastic mode, they change no bit. Else even an idle virtual device can: each
# adds a thread to XLA:CPU, and the number of threads decides how it divides a matrix product.
NUMBERS = ("devices", "devices_per_process", "processes")
UNKNOWN = "an earlier version of mnist_jax, which did not record them, has trained it"

Conditions = dict[str, Any]
History = list[dict[str, Any]]  # `{"step": of the first step, "conditions": Conditions}` each


def now(program: Program) -> Conditions:
    """Returns the conditions under which this process computes the steps of a program."""
    modules = own_code.read(name for its in program.configs for name in own_code.modules(its))
    return {
        "device": provenance.kind(),
        "devices": len(program.layout.devices),
        "devices_per_process": len(jax.local_devices()),
        "processes": len({device.process_index for device in program.layout.devices}),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "environment": {name: os.environ[name] for name in VARIABLES if os.environ.get(name)},
        "code": {name: its["sha256"] for name, its in modules.items()},
    }


def history(record: Record | None) -> History:
    """Returns the history that a checkpoint's record holds; empty if there is none."""
    return [] if record is None else record.get(FIELD, [])


def added(history: History, step: int, conditions: Conditions) -> History:
    """Returns a history to which the conditions of the steps from `step` on are added."""
    if history and history[-1][FIELD] == conditions:
        return history
    return [*(its for its in history if its["step"] < step), {"step": step, FIELD: conditions}]


def during(history: History, start: int, stop: int) -> list[Conditions | None]:
    """Returns the conditions of the steps from `start` to before `stop`; None: not recorded."""
    if not history or start < history[0]["step"]:
        history = [{"step": -1, FIELD: None}, *history]
    ends = [*(its["step"] for its in history[1:]), stop]
    return [
        its[FIELD]
        for its, end in zip(history, ends, strict=True)
        if its["step"] < stop and start < end
    ]


def differences(
    trained: Sequence[Conditions | None], here: Conditions, *, elastic: bool
) -> list[str]:
    """Returns in what the conditions of a training differ from those here, one line each.

    Args:
      trained: the conditions of the training, as `during` returns them.
      here: the conditions that it is compared with.
      elastic: True if the number of devices and processes changes no bit.
    """
    same = dict.fromkeys(NUMBERS) if elastic else {}
    lines = []
    for its in trained:
        if its is None:
            lines.append(UNKNOWN)
        else:
            both = (_without_empty(each | same) for each in (its, here))
            lines += configuration.difference(*both)
    return list(dict.fromkeys(lines))


def _without_empty(conditions: Conditions) -> Conditions:
    """Leaves out empty dicts, of which a difference would be a line of its own."""
    return {name: value for name, value in conditions.items() if value != {}}
