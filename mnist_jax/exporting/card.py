"""Writes a model card: what a network was trained on, how good it is, and where its limits are.

See Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

import shlex
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_jax import data
from mnist_jax.analysis.network.summary import summary
from mnist_jax.exporting.trained import Trained
from mnist_jax.files import read_json, write_text
from mnist_jax.members import FINISHED
from mnist_jax.presence import is_file
from mnist_jax.training import sweepdir
from mnist_jax.training.network import BEST, Network

FILE = "MODEL_CARD.md"
# Where an evaluation writes its figures, and the option that asks for it.
FIGURES = {
    "": "evaluation.json",
    "--outside": "evaluations/outside/evaluation.json",
    "--robustness": "evaluations/robustness/robustness.json",
}
ALWAYS = (
    "It gives one of its classes to whatever picture it sees, also to one that shows none of them."
)


def write(folder: Path, network: Network, trained: Trained, which: str) -> Path:
    """Writes the card into a folder and returns its path.

    Figures come from the files of earlier evaluations; what was not measured is named with the
    command that measures it.

    Args:
      folder: where the exported files are.
      network: the network, as it was found.
      trained: the same network, restored.
      which: its checkpoint, as it was asked for: `latest`, `best` or a step.

    Raises:
      UserError: a file cannot be read or written.
    """
    its = trained.restored
    config = its.config
    ink = data.ink(config.data.name) is not None
    measured = {option: _figures(network, its.step, option) for option in FIGURES}
    checkpoint = BEST if which == BEST else str(its.step)
    asked = {option: _command(network, checkpoint, option) for option in FIGURES}
    sections = {
        "Network": f"```\n{summary(its.model)}\n```\n\nCheckpoint {its.step}, after "
        f"{_epochs(len(its.rows))}; trained with {config.optimizer.name}, batches of "
        f"{config.batch_size} and the loss {config.loss.name}, from seed {config.seed}.",
        "Input and output": f"Images `[n, {', '.join(map(str, its.spec.image_shape))}]`, "
        f"{_pixels(ink)}, to probabilities of the classes {', '.join(its.spec.class_names)}.",
        "Data": f"`{config.data.name}`: training `{config.data.train_split}`, validation "
        f"`{config.data.val_split or 'none'}`. Nothing was chosen on the test split.",
        "Accuracy": f"{_accuracy(measured[''], asked[''])}\n\n{_seeds(network)}",
        "Outside test": _outside(measured["--outside"], asked["--outside"])
        if data.ink_of_digits(config.data.name, its.spec.class_names)
        else "Does not apply: the outside test has handwritten digits, and this network was "
        "trained on something else.",
        "Robustness": _robustness(measured["--robustness"], asked["--robustness"]),
        "Calibration": _calibration(measured, asked[""]),
        "Limits": _limits(ink),
    }
    body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    write_text(folder / FILE, f"# {network.title}\n\n{body}\n")
    return folder / FILE


def _epochs(count: int) -> str:
    return f"{count} epoch" if count == 1 else f"{count} epochs"


def _pixels(ink: bool) -> str:
    if ink:
        return "floats from 0 (background) to 1 (ink)"
    return "floats from 0 to 1: the data set's values, which go up to 255, divided by 255"


def _limits(ink: bool) -> str:
    if ink:
        return (
            f"{ALWAYS} It knows handwriting that was prepared as that of its data set, light on "
            "black and in the middle, as `python -m mnist_jax.predict` prepares pictures. Other "
            "writers, scanners and styles are harder: measure them before you rely on it."
        )
    return (
        f"{ALWAYS} It knows pictures that were made as those of its data set. Others, of another "
        "source, cut or light, are harder: measure them before you rely on it."
    )


def _figures(network: Network, step: int, option: str) -> dict[str, Any]:
    """Returns what an evaluation of this checkpoint has written; empty if there was none."""
    path = network.output / FIGURES[option]
    found = read_json(path, dict) if is_file(path) else {}
    return found if found.get("checkpoint") == step else {}


def _command(network: Network, checkpoint: str, option: str) -> str:
    """Returns a sentence with the command of an evaluation."""
    words = ["python", "-m", "mnist_jax.evaluate", f"--workdir={network.workdir}"]
    if network.seed is not None:
        words += [f"--member={network.architecture}", f"--seed={network.seed}"]
    words += [f"--checkpoint={checkpoint}", *filter(None, [option])]
    return f"Not measured; run `{shlex.join(words)}`."


def _accuracy(found: Mapping[str, Any], command: str) -> str:
    if not found:
        return command
    return (
        f"Test split: accuracy {found['accuracy']:.2%} of {found['count']:,} images, loss "
        f"{found['loss']:.4f}."
    )


def _outside(found: Mapping[str, Any], command: str) -> str:
    what = "Digits of other writers and another scanner (scikit-learn's `load_digits`)"
    if not found:
        return f"{what}. {command}"
    return f"{what}: accuracy {found['accuracy']:.2%} of {found['count']:,} images."


def _robustness(found: Mapping[str, Any], command: str) -> str:
    if not found:
        return f"Corrupted test images. {command}"
    worst = min(found["cells"], key=lambda cell: cell["accuracy"])
    strongest = max(cell["level"] for cell in found["cells"])
    return (
        f"Corrupted test images, mean over corruptions and strengths: accuracy "
        f"{found['accuracy']:.2%} of {found['count']:,} images, where without corruption it is "
        f"{found['clean']:.2%}. The lowest is {worst['accuracy']:.2%}, with {worst['corruption']} "
        f"of strength {worst['level']} of {strongest}."
    )


def _calibration(measured: Mapping[str, Mapping[str, Any]], command: str) -> str:
    """Returns how well its probabilities match how often it is right."""
    if not measured[""]:
        return command
    texts = [f"Expected calibration error {_error(measured[''])} on the test split"]
    if measured["--outside"]:
        texts.append(f"{_error(measured['--outside'])} in the outside test")
    return f"{', '.join(texts)}. On pictures unlike these, its probabilities mean less."


def _error(found: Mapping[str, Any]) -> str:
    return f"{found['calibration']['expected_calibration_error']:.2%}"


def _seeds(network: Network) -> str:
    """Returns a line with the spread over seeds, if there are several trainings of this network."""
    its = _same_architecture(network)
    accuracies = [one["test"]["accuracy"] for one in its if one["status"] == FINISHED]
    if len(accuracies) < 2:
        return (
            "This is one seed, so the spread over seeds is not known; `python -m mnist_jax.sweep "
            "--config=FILE --seeds=10` trains more."
        )
    mean, deviation = statistics.fmean(accuracies), statistics.stdev(accuracies)
    lost = len(its) - len(accuracies)
    return (
        f"Over {len(accuracies)} seeds of this architecture, with their last weights: test "
        f"accuracy {100 * mean:.2f} ± {100 * deviation:.2f} % (mean ± standard deviation)."
        + (f" {lost} more diverged." if lost else "")
    )


def _same_architecture(network: Network) -> list[dict[str, Any]]:
    """Returns the results of all trainings of this architecture in the same sweep that ended."""
    if network.result is None:
        return []
    name = network.result["architecture"]
    results = sweepdir.finished(sweepdir.populations(network.workdir))
    return [result for (architecture, _), result in results.items() if architecture == name]
