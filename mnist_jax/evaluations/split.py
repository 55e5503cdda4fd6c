"""Evaluates a trained network on a split: figures, plots and a report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_jax import data
from mnist_jax.analysis.run.evaluation import Predictions
from mnist_jax.analysis.run.report import publish
from mnist_jax.compilation import keep_programs
from mnist_jax.errors import UserError, print_warning
from mnist_jax.exporting import page
from mnist_jax.files import file_name
from mnist_jax.lock import sole_writer
from mnist_jax.training import provenance, workdir
from mnist_jax.training.checkpoints import steps
from mnist_jax.training.inference import Outputs
from mnist_jax.training.network import Network
from mnist_jax.training.restored import Restored, restore

TEST = "test"
EVALUATING = ".evaluate.lock"  # of its own: `main` holds the folder's while it trains
ADVICE = "Try a lower learning rate, or clip the gradient: --config.clip_norm=1"


def evaluate(network: Network, which: str, split: str) -> tuple[dict[str, Any], Path]:
    """Evaluates a checkpoint on a split, and writes `evaluation.json`, plots and the report.

    Args:
      network: the network, as `network.find` returns it.
      which: the checkpoint: `latest`, `best` or a step.
      split: any split string of TensorFlow Datasets.

    Returns:
      The contents of `evaluation.json`, and the folder of the files: the network's own folder for
      the test split, `evaluations/<split>` in it for another split.

    Raises:
      UserError: the checkpoint or the split does not exist, the split is empty, or an output of the
        network is not finite.
    """
    keep_programs()
    provenance.announce()
    warn_of_repeated(network.config.data.name, split)
    folder = network.output
    if split != TEST:
        folder = folder / "evaluations" / file_name(split)
    return write(network, which, folder, lambda restored: examined(restored, split))


def warn_of_repeated(name: str, split: str) -> None:
    """Prints a warning if a split of the data set `name` has examples more than once."""
    if repeated := data.repeated(name, split):
        print_warning(repeated)


def write(
    network: Network, which: str, folder: Path, examine: Callable[[Restored], Predictions]
) -> tuple[dict[str, Any], Path]:
    """Evaluates a checkpoint by what `examine` returns for it, and writes the files of `evaluate`.

    Returns what `evaluate` returns.
    """
    there = steps(network.checkpoints)
    restored = restore(network, which)
    found = examine(restored)
    with sole_writer(folder, EVALUATING):
        if steps(network.checkpoints) != there:  # the training has gone on
            restored = restore(network, which)
            found = examine(restored)
        figures = publish(
            folder,
            found,
            config=restored.config.to_dict(),
            model=restored.model,
            weights=restored.weights,
            history=restored.rows,
            result=_result(network),
            checkpoint=restored.step,
            title=network.title,
            drawing=page.drawing_of(folder, network.title, restored),
        )
    return figures, folder


def examined(restored: Restored, split: str) -> Predictions:
    """Returns the predictions of a restored network on a split.

    Raises:
      UserError: the split does not exist or is empty, or an output of the network is not finite.
    """
    examples = data.load(restored.config.data.name, split)
    if not len(examples.labels):
        raise UserError(f"split {split!r}: contains no examples; give another split")
    return predictions(examples, restored.examine(examples))


def predictions(split: data.Split, outputs: Outputs) -> Predictions:
    """Returns the predictions of one network on a split, as the analysis takes them.

    Raises:
      UserError: an output of the network is not finite.
    """
    if not outputs.finite.all() or outputs.probabilities is None:
        raise UserError(
            f"split {split.split!r}: an output of the network is not finite, so the network cannot "
            f"be evaluated. {ADVICE}"
        )
    return Predictions(
        split=split.split,
        images=split.stored,
        labels=split.labels,
        probabilities=outputs.probabilities[0],
        values={name: values[0] for name, values in outputs.values.items()},
        class_names=split.class_names,
    )


def _result(network: Network) -> dict[str, Any] | None:
    """Returns the results of a network's finished training for its report; None if unfinished."""
    if network.result is not None:
        its = network.result
        last = its["history"][-1] if its["history"] else {}
        return {
            "parameters": its["parameters"],
            "epochs": len(its["history"]),
            "train_seconds": its["seconds"],
            **{f"test_{name}": value for name, value in its["test"].items()},
            **{name: value for name, value in last.items() if name.startswith("val_")},
        }
    return workdir.result(network.output)
