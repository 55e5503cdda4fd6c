"""Small trainings, with and without doses, in one folder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.reliability import forked
from benchmarks.reliability.planting import poison
from benchmarks.reliability.planting.poison import Dose

EPOCHS, STEPS, CHUNK = 3, 10, 4
NEVER = 1 << 30  # a step that no training reaches
CONFIG = f"""
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs, config.batch_size, config.chunk_steps = {EPOCHS}, 64, {CHUNK}
    config.keep_latest = {EPOCHS}
    config.data.train_split, config.data.val_split = "train[:640]", "train[640:900]"
    config.model = dict(name="mlp", hidden=(8,), normalisation="batch")
    config.optimizer = dict(name="adam")
    config.schedule = dict(name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=1e-2)
    config.ema_decay, config.metrics = 0.9, ("brier",)
    return config
"""
SETTINGS = {  # options and number of devices
    "2 devices, jit": (["parallel=jit"], 2),
    "2 devices, pmap": (["parallel=pmap"], 2),
    "2 devices, shard_map": (["parallel=shard_map"], 2),
    "2 devices, elastic": (["reduction=elastic"], 2),
    "elastic": (["reduction=elastic"], 1),
    "batches from the host": (["data.placement=host"], 1),
    "bfloat16": (["dtype=bfloat16"], 1),
    "no chunks": (["chunk_steps=0"], 1),
}


class Trainings:
    """Runs commands with and without doses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "small.py").write_text(CONFIG)
        self._clean: dict[tuple[str, ...], Path] = {}

    def run(
        self, name: str, workdir: Path, *options: str, setting: str = "", place: str = "",
        doses: Sequence[Dose] = (),
    ) -> Any:  # fmt: skip
        """Runs a command to its end, with doses if a place is given."""
        overrides, devices = SETTINGS.get(setting, ([], 1))
        words = [f"--config={self.folder / 'small.py'}", f"--workdir={workdir}", *options]
        words += [f"--config.{override}" for override in overrides]
        its = json.dumps([asdict(dose) for dose in doses])
        start = ["-m", "benchmarks.undrawn", f"mnist_jax.{name}"]
        if place:
            start = ["-c", poison.CODE, place, its, name]
        return forked.run([*start, *words], cwd=self.folder, devices=devices)

    def clean(
        self, name: str, *options: str, setting: str = "", place: str = "",
        doses: Sequence[Dose] = (),
    ) -> Path:  # fmt: skip
        """Returns the folder of the same command without doses.

        A program that has a place for a dose may round otherwise than one that has none. With a
        place, the folder is that of a command whose doses never come.

        Raises:
          RuntimeError: it did not end with status 0.
        """
        known = (name, *options, setting, place)
        if known not in self._clean:
            folder = self.folder / f"clean-{len(self._clean)}"
            never = [replace(dose, step=NEVER) for dose in doses]
            done = self.run(name, folder, *options, setting=setting, place=place, doses=never)
            if done.returncode:
                raise RuntimeError(f"{known}: status {done.returncode}\n{done.stderr}")
            self._clean[known] = folder
        return self._clean[known]

    def unlike(
        self, differences: Callable[[Path], list[str]], name: str, *options: str,
        place: str, doses: Sequence[Dose], setting: str = "",
    ) -> list[str]:  # fmt: skip
        """Returns how a command differs from the same one without doses; see `clean`."""
        if not differences(self.clean(name, *options, setting=setting)):
            return []
        return differences(self.clean(name, *options, setting=setting, place=place, doses=doses))
