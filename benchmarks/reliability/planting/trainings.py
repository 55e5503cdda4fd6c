"""Small trainings, with and without doses, in one folder."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.reliability import forked
from benchmarks.reliability.planting import poison
from benchmarks.reliability.planting.poison import Dose

EPOCHS, STEPS, CHUNK = 3, 10, 4
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
# Of a further metric, NaN is a result: the row says null.
HARMLESS = "sum of a further metric"


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
        start = ["-c", poison.CODE, place, its, name] if place else ["-m", f"mnist_jax.{name}"]
        return forked.run([*start, *words], cwd=self.folder, devices=devices)

    def clean(self, name: str, *options: str, setting: str = "") -> Path:
        """Returns the folder of the same command without doses.

        Raises:
          RuntimeError: it did not end with status 0.
        """
        known = (name, *options, setting)
        if known not in self._clean:
            folder = self.folder / f"clean-{len(self._clean)}"
            done = self.run(name, folder, *options, setting=setting)
            if done.returncode:
                raise RuntimeError(f"{known}: status {done.returncode}\n{done.stderr}")
            self._clean[known] = folder
        return self._clean[known]
