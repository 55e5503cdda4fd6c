"""Made-up trainings for the tests of comparisons, and metrics as a user would write them."""

from collections.abc import Mapping
from typing import Any

from mnist_jax.metrics import metric

TOP_2 = "tests.analysis.members:top_2"
ENTROPY = "tests.analysis.members:entropy"


@metric(label="top 2", percent=True)
def top_2(outputs, labels, *, output_activation):
    best_two = outputs.argsort(axis=-1)[:, -2:]
    return (best_two == labels[:, None]).any(axis=-1)


def entropy(outputs, labels, *, output_activation):
    return -(outputs * outputs).sum(axis=-1)


def member(
    name: str = "net",
    seed: int = 0,
    test: float = 0.9,
    *,
    val: float | None = 0.91,
    hidden: tuple[int, ...] | None = (8,),
    epochs: int = 3,
    parameters: int = 1000,
    status: str = "finished",
    rows: int | None = None,
    metrics: Mapping[str, float] | None = None,
    best: str = "val_accuracy",
    **fields: Any,
) -> dict[str, Any]:
    """The result of a training whose accuracy rises to `val` and `test`, as in `results.json`.

    `fields` go to its optimizer. `metrics` are further ones, as the configuration names them, with
    the value that they rise to.
    """
    further = {name.rpartition(":")[2]: value for name, value in (metrics or {}).items()}
    model = {"name": "mlp"} if hidden is None else {"name": "mlp", "hidden": list(hidden)}
    done = status == "finished"
    return {
        "architecture": name,
        "seed": seed,
        "config": {
            "seed": seed,
            "num_epochs": epochs,
            "model": model,
            "optimizer": {"name": "adam", **fields},
            "metrics": list(metrics or {}),
            "best": best,
        },
        "parameters": parameters,
        "history": [
            _row(epoch, epochs, val, further) for epoch in range(1, (rows or epochs * done) + 1)
        ],
        "seconds": 2.0,
        "test": {"loss": 1 - test, "accuracy": test, **further} if done else {},
        "status": status,
    }


def _row(epoch: int, epochs: int, val: float | None, further: Mapping[str, float]) -> dict:
    error = None if val is None else (1 - val) * epochs / epoch
    figures = {name: value * epoch / epochs for name, value in further.items()}
    return {
        "epoch": epoch,
        "step": epoch * 10,
        "train_loss": 0.5 / epoch,
        "train_accuracy": 1 - 0.1 / epoch,
        "val_loss": error,
        "val_accuracy": None if error is None else 1 - error,
        **{f"train_{name}": value for name, value in figures.items()},
        **{f"val_{name}": None if val is None else value for name, value in figures.items()},
        "learning_rate": 1e-3,
        "seconds": 1.0,
        "images_per_second": 1e5,
    }
