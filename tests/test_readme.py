"""README's examples, run as README says."""

import json
import re

import pytest

import mnist_jax
from tests.commands import ROOT, SMALL, bits, rows, run

README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """The text under a heading, up to the next one of any rank."""
    return re.split(r"\n#{2,3} ", README.split(f"# {title}\n")[1])[0]


@pytest.mark.slow
def test_own_model_trains_resumes_and_is_evaluated(tmp_path):
    text = section("Your own model")
    files = re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", text, flags=re.S)
    assert [name for name, _ in files] == ["mine.py", "residual.py"]
    for name, source in files:
        (tmp_path / name).write_text(source)
    assert "python -m mnist_jax.main --config=residual.py" in text

    output = run("main", "--config=residual.py", cwd=tmp_path, devices=2).stdout
    assert re.search(r"norm +BatchNorm +128", output)
    workdir = tmp_path / "runs" / "residual"
    assert json.loads((workdir / "result.json").read_text())["test_accuracy"] > 0.96
    assert "blocks" not in bits(workdir)
    run("evaluate", "--workdir=runs/residual", cwd=tmp_path)


def test_own_metric_stands_in_every_row(tmp_path):
    text = section("Metrics of your own")
    (source,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    (tmp_path / "mine.py").write_text(source)
    assert "`--config.metrics=mine:top_2`" in text
    arguments = ("--config.metrics=mine:top_2", "--config.best=val_top_2", "--workdir=run")
    run("main", *SMALL, *arguments, cwd=tmp_path)
    for row in rows(tmp_path / "run"):
        assert row["val_accuracy"] < row["val_top_2"] < 1


@pytest.mark.slow
def test_the_python_interface(tmp_path, monkeypatch):
    """All of it but for the long sweep, of which two short networks are trained."""
    (source,) = re.findall(r"```python\n(.*?)```", section("From Python"), flags=re.S)
    whole = 'mnist_jax.sweep("configs/sweeps/looped.py", seeds=3).table'
    assert whole in source
    short = 'table = mnist_jax.sweep("configs/mlp.py", seeds=2, num_epochs=1).table'
    monkeypatch.chdir(tmp_path)
    said: dict = {}
    exec(source.replace(whole, short), said)
    assert isinstance(said["classifier"], mnist_jax.api.Classifier)
    assert said["run"].result["test_accuracy"] > 0.9
    assert list(said["table"]["seed"]) == [0, 1]
