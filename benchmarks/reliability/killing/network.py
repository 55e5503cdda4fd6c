"""Small networks that use everything that a restart could lose."""

from pathlib import Path

from benchmarks.reliability import made_up

# Dropout, batch statistics, distortion, an average, a schedule, and chunks that do not divide the
# epoch; `keep_latest` is 2, so that old checkpoints are removed.
MAIN = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs = 3
    config.chunk_steps = 3
    config.data.train_split = "train[:1000]"
    config.data.val_split = "train[1000:1300]"
    config.model = dict(name="mlp", hidden=(8,), dropout=0.2, normalisation="batch")
    config.augment.rotation = 10.0
    config.optimizer = dict(name="adam")
    config.schedule = dict(
        name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=4e-3
    )
    config.label_smoothing = 0.05
    config.weight_decay = 1e-3
    config.clip_norm = 1.0
    config.ema_decay = 0.9
    return config
"""

# Two populations of two networks each.
SWEEP = """
import some
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for width in (4, 8):
        members[f"{width} units"] = config = some.get_config()
        config.num_epochs, config.keep_latest = 2, 1
        config.model = dict(name="mlp", hidden=(width,), dropout=0.2, normalisation="batch")
    return Sweep(members, seeds=2)
"""

# A user's own data set, which is prepared in a fraction of a second.
PATTERNS = made_up.module("Patterns", side=12, classes=3)
FIRST = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs = 1
    config.data.name = "patterns:Patterns"
    config.data.train_split = "train[:400]"
    config.data.val_split = "train[400:]"
    config.model = dict(name="mlp", hidden=(4,))
    return config
"""
# A sweep of that data set, whose networks one process trains together, and two in two populations.
FEW = """
import first
from mnist_jax.members import Sweep

def get_sweep():
    return Sweep({"only": first.get_config()}, seeds=4)
"""
# Of several processes, whose number changes no bit.
TOGETHER = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs = 3
    config.chunk_steps = 3
    config.reduction = "elastic"
    config.batch_size = 32
    config.data.name = "patterns:Patterns"
    config.data.train_split = "train[:400]"
    config.data.val_split = "train[400:]"
    config.model = dict(name="mlp", hidden=(8,), dropout=0.2, normalisation="batch")
    config.ema_decay = 0.9
    return config
"""


def write(folder: Path) -> None:
    """Writes `some.py`, `first.py`, `together.py`, and the sweeps `several.py` and `few.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"some": MAIN, "several": SWEEP, "patterns": PATTERNS, "first": FIRST}
    texts |= {"few": FEW, "together": TOGETHER}
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
