"""The notebook: its two forms, a run from top to bottom, and the outputs that it is kept with."""

import re
from pathlib import Path

import nbformat
import pytest

from launch.execute import NOTEBOOK, execute, read
from mnist_jax.files import read_json, read_rows
from tests.commands import environment

SMALL = """
WORKDIR = Path("small")
TRAIN_SPLIT = "train[:2000]"
VAL_SPLIT = "train[2000:2500]"
SEED = 0
EPOCHS = 2
SWEEP_EPOCHS = 1
SWEEP_SEEDS = 2
"""
MACHINE = r"[A-Z]:\\|(?<![\w.~])/(home|root|Users|tmp|var|private|opt|usr|mnt|work\w*|content)/"


def parameters(notebook):
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    return cell


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell) -> str:
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")


def texts(cell):
    """All that a cell says and shows in words."""
    yield cell.source
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield from (v for k, v in output.get("data", {}).items() if not k.startswith("image/"))


def pictures(cell) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def printed_by(notebook, source: str) -> str:
    """What the cells print whose source has this in it."""
    return "".join(printed(cell) for cell in code(notebook) if source in cell.source)


@pytest.fixture
def kept():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_both_forms_have_the_same_cells(kept):
    source = read()
    for cell in code(kept):
        cell.update(outputs=[], execution_count=None)
    assert kept.cells == source.cells
    assert kept.metadata == source.metadata


def test_small_settings_set_what_the_notebook_does():
    names = re.findall(r"^(\w+) =", parameters(read()).source, flags=re.M)
    assert names == re.findall(r"^(\w+) =", SMALL, flags=re.M)


def test_imports_little_of_the_project_and_keeps_cells_short():
    cells = [cell.source for cell in code(read())]
    lines = [line for source in cells for line in source.splitlines()]
    assert sum(bool(re.match(r"\s*(import|from) mnist_jax\b", line)) for line in lines) <= 8
    assert max(source.count("\n") + 1 for source in cells) <= 32
    assert all(source == source.strip("\n") for source in cells)


@pytest.mark.slow
def test_runs_from_top_to_bottom(tmp_path):
    notebook = read()
    parameters(notebook).source = SMALL
    execute(notebook, tmp_path, environment())

    result = read_json(tmp_path / "small" / "cnn" / "result.json")
    assert result["epochs"] == 2
    assert f"{result['test_accuracy']:.2%}" in printed_by(notebook, "test accuracy")
    assert read_json(tmp_path / "small" / "sweep" / "result.json")["members"] == 8

    (training,) = (cell for cell in code(notebook) if "on_epoch=redraw" in cell.source)
    assert [o.output_type for o in training.outputs] == ["display_data", "stream"]
    assert "image/png" in training.outputs[0].data  # no longer the words that held its place
    assert re.search(r"^ +2/2 ", printed(training), flags=re.M)

    assert "as before   True" in printed_by(notebook, "as before")
    assert "nothing was trained: True" in printed_by(notebook, "nothing was trained")
    *_, last = read_rows(tmp_path / "small" / "cnn" / "metrics.jsonl")
    assert f"latest  step {last['step']}  validation {last['val_accuracy']:.2%}" in printed_by(
        notebook, "checkpoint=name"
    )


def test_kept_outputs_are_of_one_whole_run(kept):
    cells = code(kept)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds == {"stream", "display_data"}  # and no error
    assert all(output.get("name") != "stderr" for cell in cells for output in cell.outputs)
    assert sum(map(pictures, cells)) == 16
    assert NOTEBOOK.stat().st_size < 1_600_000


def test_kept_outputs_are_of_the_kept_parameters(kept):
    values: dict = {"Path": Path}
    exec(parameters(kept).source, values)
    epochs, seeds = values["EPOCHS"], values["SWEEP_SEEDS"]
    training = printed_by(kept, "on_epoch=redraw")
    assert re.findall(rf"^ +(\d+)/{epochs} ", training, flags=re.M) == [
        str(n + 1) for n in range(epochs)
    ]
    (final,) = re.findall(r"^test accuracy (\d\d\.\d\d%) of 10,000", training, flags=re.M)
    assert float(final[:-1]) > 99
    assert f"test accuracy  {final}" in printed_by(kept, "test accuracy")
    assert f"{values['TRAIN_SPLIT']}  {values['VAL_SPLIT']}" in printed_by(kept, "text.tell")
    assert f"{4 * seeds} networks of 4 architectures" in printed_by(kept, "mnist_jax.sweep(")
    assert str(values["WORKDIR"] / "cnn" / "report.html") in training


def test_names_no_machine_and_no_person(kept):
    for cell in kept.cells:
        for text in texts(cell):
            assert not re.search(MACHINE, text), text
    assert not re.search(r"author|user", str(kept.metadata))


@pytest.mark.parametrize("text", ["in /home/me/x", "'/Users/b/.cache'", "C:\\\\Users", "(/tmp/a)"])
def test_machine_is_recognised(text):
    assert re.search(MACHINE, text)
