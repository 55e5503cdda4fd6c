"""Reports what the networks of a sweep reach together, beside what each reaches alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_jax.analysis import page
from mnist_jax.analysis.run.evaluation import Predictions, evaluate
from mnist_jax.files import make_folder, write_json

Name = tuple[str, int]  # architecture and seed


def publish(
    folder: Path, together: Predictions, members: Mapping[Name, Predictions], title: str
) -> dict[str, Any]:
    """Writes `ensemble.json` and `report.html`; returns the contents of the former.

    Args:
      folder: created if it does not exist.
      together: predictions by the mean of the members' probabilities.
      members: the predictions of each network.
      title: of the sweep.

    Raises:
      UserError: a file cannot be written.
    """
    make_folder(folder)
    found = evaluate(together)
    rows = [
        {"architecture": name, "seed": seed, "accuracy": float(its.correct.mean())}
        for (name, seed), its in members.items()
    ]
    found["members"] = rows
    mean = sum(row["accuracy"] for row in rows) / len(rows)
    best = max(row["accuracy"] for row in rows)
    page.render(
        folder / "report.html",
        "ensemble.html",
        title=f"{title}: {len(rows)} networks together",
        split=found["split"],
        figures=[
            ("together", page.percent(found["accuracy"]), "accuracy by the mean probabilities"),
            ("alone", page.percent(mean), "mean accuracy of the networks"),
            ("best alone", page.percent(best), "highest accuracy of a network on this split"),
            ("images", f"{found['count']:,}", "in the split"),
        ],
        rows=[
            [row["architecture"], row["seed"], page.percent(row["accuracy"])]
            for row in sorted(rows, key=lambda row: -row["accuracy"])
        ],
    )
    write_json(folder / "ensemble.json", found)
    return found
