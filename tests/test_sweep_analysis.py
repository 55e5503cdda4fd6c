"""An analysis of one's own in a sweep file, from the command to the report."""

import pytest

import mnist_jax
from mnist_jax.analysis.sweep.section import Section
from mnist_jax.members import Sweep
from tests.commands import fingerprint, refused, run, table

pytestmark = pytest.mark.usefixtures("undrawn")

SWEEP = """
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for width in (4, 8):
        members[f"{width} units"] = config = default()
        config.num_epochs = 1
        config.data.train_split = "train[:1000]"
        config.data.val_split = "train[1000:1500]"
        config.model = dict(name="mlp", hidden=(width,))
    return Sweep(members, seeds=2, analysis="widths.py:analyse")
"""
ANALYSIS = """
from mnist_jax.analysis.sweep.contrasts import by_seed, contrast
from mnist_jax.analysis.sweep.section import Section

def analyse(networks):
    cells = by_seed(networks, ["model.hidden"])
    found = contrast(cells[(8,)] - cells[(4,)])
    return [Section("Width", [f"8 units minus 4: {found.points}, {found.count} seeds"])]
"""


def write(folder, analysis: str) -> None:
    (folder / "some.py").write_text(SWEEP)
    (folder / "widths.py").write_text(analysis)


@pytest.mark.slow
def test_the_report_has_its_sections(tmp_path):
    write(tmp_path, ANALYSIS)
    run("sweep", "--config=some.py", cwd=tmp_path)
    workdir = tmp_path / "runs" / "some-sweep"
    accuracy = {
        (row["architecture"], row["seed"]): float(row["test_accuracy"])
        for row in table(workdir / "sweep.csv")
    }
    gains = [accuracy["8 units", seed] - accuracy["4 units", seed] for seed in "01"]
    points = f"{100 * sum(gains) / 2:+.3f}".replace("-", "\u2212")
    report = (workdir / "report.html").read_text()
    assert "<h2>Width</h2>" in report
    assert f"8 units minus 4: {points} ± " in report
    assert "2 seeds" in report

    # The report is written again by a changed analysis, and nothing is trained.
    before = fingerprint(workdir / "populations")
    write(tmp_path, ANALYSIS.replace("Width", "Breadth"))
    (workdir / "result.json").unlink()
    run("sweep", "--config=some.py", cwd=tmp_path)
    assert "<h2>Breadth</h2>" in (workdir / "report.html").read_text()
    assert fingerprint(workdir / "populations") == before


@pytest.mark.slow
def test_one_that_fails_costs_the_sweep_nothing(tmp_path):
    write(tmp_path, "def analyse(networks):\n    return networks['oops']")
    said = run("sweep", "--config=some.py", cwd=tmp_path).stderr
    assert "warning: the analysis of the sweep failed: KeyError: 'oops'" in said
    assert "widths.py, line 2" in said
    workdir = tmp_path / "runs" / "some-sweep"
    assert {"sweep.csv", "summary.csv", "report.html", "result.json"} <= {
        path.name for path in workdir.iterdir()
    }


def test_one_that_cannot_be_called_is_refused_before_anything_is_trained(tmp_path):
    write(tmp_path, "analyse = 3")
    said = refused("sweep", "--config=some.py", cwd=tmp_path)
    assert "Sweep.analysis: 'widths.py:analyse' is not the name of a function" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_function_serves_in_python(tmp_path):
    config = mnist_jax.default()
    config.num_epochs = 1
    config.data.train_split = "train[:1000]"
    config.data.val_split = "train[1000:1500]"
    config.model = dict(name="mlp", hidden=(4,))

    def analyse(networks):
        return [Section("Mine", [f"units: {networks['model.hidden'][0][0]}"])]

    mnist_jax.sweep(Sweep({"four": config}, analysis=analyse), workdir=tmp_path)
    assert "<p>units: 4</p>" in (tmp_path / "report.html").read_text()
