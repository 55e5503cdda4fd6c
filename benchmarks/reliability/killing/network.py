"""Small networks that use everything that a restart could lose."""

from pathlib import Path

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
    config.model = dict(
        name="cnn", features=(4,), kernel=(3,), dense=(8,), dropout=0.2, normalisation="batch"
    )
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
PATTERNS = '''
import numpy as np
import tensorflow_datasets as tfds


class Patterns(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """600 and 200 grey images of 12 x 12: the pattern of their class, of three, and noise."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(12, 12, 1)),
            "label": tfds.features.ClassLabel(num_classes=3),
        })
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 600), "test": self._generate_examples(1, 200)}

    def _generate_examples(self, seed, count):
        patterns = np.random.default_rng(2).integers(0, 156, (3, 12, 12, 1), np.uint8)
        noise = np.random.default_rng(seed)
        for index in range(count):
            image = patterns[index % 3] + noise.integers(0, 100, (12, 12, 1), np.uint8)
            yield index, {"image": image, "label": index % 3}
'''
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
    """Writes `some.py`, `several.py` (a sweep), `first.py` and `together.py` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"some": MAIN, "several": SWEEP, "patterns": PATTERNS, "first": FIRST}
    texts["together"] = TOGETHER
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
