"""The contestants by name: their packages, their variants and how they are started."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

OURS = "mnist_jax"


class Trainer(Protocol):
    """The interface of a network with its optimizer and its data, ready to be trained.

    The trainer of a recipe also has `reset(seed)`, which returns to the state before the first
    step, with another seed.
    """

    facts: dict[str, Any]  # recorded with the measurements, e.g. the number of parameters

    def epoch(self) -> None:
        """Trains one epoch, and returns when the device is done."""
        ...

    def accuracy(self) -> float:
        """Returns the fraction of the test images that are classified correctly."""
        ...


@dataclass(frozen=True)
class Contestant:
    """A framework, or a way of using one, that takes part in the comparison."""

    name: str
    title: str
    # MODULE.FUNCTION in this package, which returns the Trainer for (network, examples, variant).
    build: str
    # Variants differ only in speed: the fastest takes part, or the first if there is no trial.
    variants: tuple[str, ...] = ("as it is",)
    needs: tuple[str, ...] = ()  # packages that must be installed
    environment: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""  # "cpu" or "accelerator" if it makes sense on only one of them

    def missing(self) -> str:
        """Returns which packages are not installed and what to do, or an empty string."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if not absent:
            return ""
        return f"not installed: {', '.join(absent)}; run pip install -e '.[peers]'"


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
            "Keras, 33 steps per call",
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
        Contestant("flax", "plain Flax", "in_flax.build", variants=("resident", "arrays")),
    )
}
