"""Made-up trainings for the tests of comparisons."""

from typing import Any

from mnist_jax.analysis.comparison import Member


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
    **fields: Any,
) -> Member:
    """A training whose accuracy rises to `val` and `test`; `fields` go to its optimizer."""
    model = {"name": "mlp"} if hidden is None else {"name": "mlp", "hidden": list(hidden)}
    done = status == "finished"
    return Member(
        architecture=name,
        seed=seed,
        config={
            "seed": seed,
            "num_epochs": epochs,
            "model": model,
            "optimizer": {"name": "adam", **fields},
        },
        parameters=parameters,
        history=[_row(epoch, epochs, val) for epoch in range(1, (rows or epochs * done) + 1)],
        seconds=2.0,
        test_loss=1 - test if done else None,
        test_accuracy=test if done else None,
        status=status,
    )


def _row(epoch: int, epochs: int, val: float | None) -> dict:
    error = None if val is None else (1 - val) * epochs / epoch
    return {
        "epoch": epoch,
        "step": epoch * 10,
        "train_loss": 0.5 / epoch,
        "train_accuracy": 1 - 0.1 / epoch,
        "val_loss": error,
        "val_accuracy": None if error is None else 1 - error,
        "learning_rate": 1e-3,
        "seconds": 1.0,
        "images_per_second": 1e5,
    }
