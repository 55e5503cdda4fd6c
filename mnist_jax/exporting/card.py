"""Writes a model card: what a network was trained on, how good it is, and where its limits are.

See Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

import shlex
import statistics
from pathlib import Path
from typing import Any

from mnist_jax.analysis.network.summary import summary
from mnist_jax.exporting.trained import Trained
from mnist_jax.files import read_json, write_text
from mnist_jax.members import FINISHED
from mnist_jax.training import sweepdir
from mnist_jax.training.network import Network
from mnist_jax.training.workdir import SWEEP

FILE = "MODEL_CARD.md"
LIMITS = (
    "It gives one of its classes to whatever picture it sees, also to one that shows none of them. "
    "Its probabilities are calibrated, if at all, on pictures like those of the test split. Other "
    "writers, scanners and styles are harder: measure them before you rely on it."
)


def write(folder: Path, network: Network, trained: Trained) -> Path:
    """Writes the card into a folder and returns its path.

    Figures come from the files of earlier evaluations; what was not measured is named with the
    command that measures it.

    Args:
      folder: where the exported files are.
      network: the network, as it was found.
      trained: the same network, restored.

    Raises:
      UserError: a file cannot be read or written.
    """
    its = trained.restored
    config = its.config
    sections = {
        "Network": f"```\n{summary(its.model)}\n```\n\nCheckpoint {its.step}, after "
        f"{len(its.rows)} epochs; trained with {config.optimizer.name}, batches of "
        f"{config.batch_size} and the loss {config.loss.name}, from seed {config.seed}.",
        "Input and output": f"Images `[n, {', '.join(map(str, its.spec.image_shape))}]`, floats "
        "from 0 (background) to 1 (ink), to probabilities of the classes "
        f"{', '.join(its.spec.class_names)}.",
        "Data": f"`{config.data.name}`: training `{config.data.train_split}`, validation "
        f"`{config.data.val_split or 'none'}`. Nothing was chosen on the test split.",
        "Results": _results(network, its.step),
        "Limits": LIMITS,
    }
    body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    write_text(folder / FILE, f"# {network.title}\n\n{body}\n")
    return folder / FILE


def _results(network: Network, step: int) -> str:
    lines = [
        _measured(network.output / "evaluation.json", "Test split", "", network, step),
        _measured(
            network.output / "evaluations" / "outside" / "evaluation.json",
            "Other writers and another scanner (scikit-learn's `load_digits`)",
            "--outside",
            network,
            step,
        ),
        _measured(
            network.output / "evaluations" / "robustness" / "robustness.json",
            "Corrupted test images (mean over corruptions and strengths)",
            "--robustness",
            network,
            step,
        ),
        _seeds(network),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _measured(path: Path, what: str, option: str, network: Network, step: int) -> str:
    """Returns a line with the figures of an evaluation, or with the command that makes them."""
    found = read_json(path, dict) if path.is_file() else {}
    if found.get("checkpoint") != step:
        words = ["python", "-m", "mnist_jax.evaluate", f"--workdir={network.workdir}"]
        if (network.workdir / SWEEP).is_file():
            architecture, _, seed = network.title.rpartition(", seed ")
            words += [f"--member={architecture}", f"--seed={seed}"]
        words += [f"--checkpoint={step}", *([option] if option else [])]
        return f"{what}: not measured; `{shlex.join(words)}`"
    text = f"{what}: accuracy {found['accuracy']:.2%} of {found['count']:,} images"
    if "loss" in found:
        text += f", loss {found['loss']:.4f}"
    if "calibration" in found:
        error = found["calibration"]["expected_calibration_error"]
        text += f", expected calibration error {error:.2%}"
    return text + "."


def _seeds(network: Network) -> str:
    """Returns a line with the spread over seeds, if there are several trainings of this network."""
    its = _same_architecture(network)
    if len(its) < 2:
        return (
            "Spread over seeds: unknown, as this is one training; `python -m mnist_jax.sweep "
            "--config=FILE --seeds=10` trains more."
        )
    accuracies = [result["test"]["accuracy"] for result in its]
    mean, deviation = statistics.fmean(accuracies), statistics.stdev(accuracies)
    return (
        f"Over {len(its)} seeds of this architecture: test accuracy {100 * mean:.2f} ± "
        f"{100 * deviation:.2f} % (mean ± standard deviation)."
    )


def _same_architecture(network: Network) -> list[dict[str, Any]]:
    """Returns the results of all finished trainings of this architecture in the same sweep."""
    if network.result is None or not (network.workdir / SWEEP).is_file():
        return []
    name = network.result["architecture"]
    results = sweepdir.finished(sweepdir.populations(network.workdir))
    return [
        result
        for (architecture, _), result in results.items()
        if architecture == name and result["status"] == FINISHED
    ]
