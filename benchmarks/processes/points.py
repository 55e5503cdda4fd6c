"""The networks, batches and modes that are timed in one and in two processes."""

from dataclasses import asdict, dataclass
from typing import Any

from mnist_jax.config import Config, parse

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": (128, 32)},
    "cnn": {"name": "cnn", "features": (16, 32), "kernel": (5, 3), "dense": (128,)},
}
IMAGES = {"mlp": 8192, "cnn": 512}  # per compiled call, process and network


@dataclass(frozen=True)
class Point:
    """What is timed; `held_out` points are predicted by a model that was not fitted to them."""

    network: str  # mlp or cnn
    batch: int  # examples per process
    width: int = 0  # of the only hidden layer of an MLP; 0: the network of the configuration
    reduction: str = "mean"
    held_out: bool = False

    def config(self, processes: int) -> Config:
        """Returns the configuration of its training in so many processes."""
        model = NETWORKS[self.network] | ({"hidden": (self.width,)} if self.width else {})
        return parse(
            {
                "batch_size": self.batch * processes,
                "chunk_steps": max(2, IMAGES[self.network] // self.batch),
                "data": {"val_split": ""},
                "model": model,
                "reduction": self.reduction,
            }
        )

    def record(self) -> dict[str, Any]:
        """Returns its fields, for JSON."""
        return asdict(self)


# A batch or a width between two that are fitted is held out.
POINTS = (
    *(Point("mlp", n, held_out=n in (64, 256)) for n in (32, 64, 128, 256, 512)),
    *(Point("cnn", n, held_out=n == 32) for n in (16, 32, 64)),
    *(Point("mlp", 128, width=n, held_out=n in (128, 512)) for n in (64, 128, 256, 512, 1024)),
    Point("mlp", 128, reduction="elastic"),
    Point("cnn", 64, reduction="elastic"),
)
POPULATIONS = (1, 2, 4, 8, 16, 32)  # networks of 784-128-32-10 on one device
HELD_OUT = (4, 16)  # of these
