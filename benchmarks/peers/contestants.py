"""Who takes part: by name, with what it needs and how it is started."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

OURS = "mnist_jax"


class Trainer(Protocol):
    """A network, its optimizer and its data, ready to be trained.

    That of a recipe has `reset(seed)`, too: back to before the first step, with another seed.
    """

    facts: dict[str, Any]  # for the record, e.g. the number of parameters

    def epoch(self) -> None:
        """Trains one epoch; returns when the device is done."""
        ...

    def accuracy(self) -> float:
        """The fraction of the test images that are classified correctly."""
        ...


@dataclass(frozen=True)
class Contestant:
    """A way to train a network."""

    name: str
    title: str
    # MODULE.FUNCTION in this package: gives the Trainer, of (network, examples, variant).
    build: str
    # Ways that differ in speed alone: the fastest takes part, the first where there is no trial.
    variants: tuple[str, ...] = ("as it is",)
    needs: tuple[str, ...] = ()  # packages
    environment: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""  # cpu or accelerator, where it makes sense on one of them alone

    def missing(self) -> str:
        """Why it cannot run here, with what to do about it; empty where it can."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if not absent:
            return ""
        return f"no {' and no '.join(absent)} here: pip install -e '.[peers]'"


ONE_DEVICE = {"JAX_NUM_CPU_DEVICES": "1"}
_KERAS = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant(OURS, "mnist_jax", "ours.build", environment=ONE_DEVICE),
        Contestant(
            "mnist_jax_steps",
            "mnist_jax, step by step",
            "ours.build",
            variants=("step by step",),
            environment=ONE_DEVICE,
        ),
        Contestant(
            "mnist_jax_devices",
            "mnist_jax, 2 devices",
            "ours.build",
            environment={"JAX_NUM_CPU_DEVICES": "2"},
            platform="cpu",
        ),
        Contestant(
            "keras",
            "Keras",
            "in_keras.build",
            variants=("arrays", "arrays, XLA", "tf.data", "tf.data, XLA"),
            needs=("keras", "tensorflow"),
            environment=_KERAS,
        ),
        Contestant(
            "keras_steps",
            "Keras, 33 steps a call",
            "in_keras.build",
            variants=(
                "steps, arrays",
                "steps, arrays, XLA",
                "steps, tf.data",
                "steps, tf.data, XLA",
            ),
            needs=("keras", "tensorflow"),
            environment=_KERAS,
        ),
        Contestant(
            "torch",
            "PyTorch eager",
            "in_torch.build",
            variants=("contiguous", "channels_last"),
            needs=("torch",),
        ),
        Contestant(
            "torch_compile",
            "PyTorch torch.compile",
            "in_torch.build",
            variants=("compiled", "compiled channels_last", "compiled step"),
            needs=("torch",),
        ),
        Contestant(
            "torch_graphs",
            "PyTorch CUDA graphs",
            "in_torch.build",
            variants=("graphs",),
            needs=("torch",),
            platform="accelerator",
        ),
        Contestant("flax", "Flax, the plain way", "in_flax.build", variants=("resident", "arrays")),
    )
}
