"""The user's own code changes while a run is not finished."""

import re
import shutil

import pytest

import mnist_jax
from tests.commands import fingerprint, read, refused, rows, run, table

pytestmark = pytest.mark.usefixtures("undrawn")

MINE = '''"""A network of my own, and how it is trained."""

import math

from flax import nnx

from mnist_jax.config import default
from mnist_jax.members import Sweep


class Own(nnx.Module):
    """One layer."""

    def __init__(self, *, image_shape: tuple, num_classes: int, rngs: nnx.Rngs) -> None:
        self.output = nnx.Linear(math.prod(image_shape), num_classes, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        x = images.reshape(len(images), -1)
        return self.output(x) * 1.0


def get_config():
    config = default()
    config.num_epochs = 1
    config.data.train_split = "train[:640]"
    config.data.val_split = "train[640:960]"
    config.model = dict(name="mine:Own")
    return config


def get_sweep():
    theirs = get_config()
    theirs.model = dict(name="mlp", hidden=(4,))
    return Sweep({"own": get_config(), "theirs": theirs})
'''
CHANGED = MINE.replace("* 1.0", "* 2.0")
AS_BEFORE = (
    MINE.replace('"""One layer."""', '"""A layer, and no more."""  # in other words')
    .replace('"""A network of my own, and how it is trained."""\n', "")
    .replace("self.output(x) * 1.0", "(\n            self.output(x) * 1.0\n        )")
    .replace("config.num_epochs = 1", "config.num_epochs = 2")
)
CONFIG = "--config=mine.py"
RUN = "--workdir=run"
LONGER = "--config.num_epochs=2"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a run of one epoch."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "mine.py").write_text(MINE.replace("get_sweep", "later"))
    run("main", CONFIG, RUN, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder with a sweep of two networks, one of the user's own."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "mine.py").write_text(MINE)
    run("sweep", CONFIG, RUN, cwd=folder)
    return folder


@pytest.fixture
def edit(tmp_path):
    """A function that copies a folder and writes another `mine.py` into the copy."""

    def edit(folder, source):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        if folder.name.startswith("finished"):
            source = source.replace("get_sweep", "later")
        (tmp_path / "mine.py").write_text(source)
        return tmp_path

    return edit


def warnings(text):
    return [line for line in text.splitlines() if "its code has changed" in line]


def test_a_run_keeps_the_digest_of_its_code(finished):
    code = read(finished / "run" / "code.json")
    assert list(code) == ["mine"]
    assert code["mine"]["file"] == str(finished / "mine.py")
    assert re.fullmatch("[0-9a-f]{64}", code["mine"]["sha256"])
    assert read(finished / "run" / "result.json")["code"] == {"mine": code["mine"]["sha256"]}


def test_a_run_does_not_go_on_with_other_code(finished, edit):
    folder = edit(finished, CHANGED)
    before = fingerprint(folder / "run")
    message = refused("main", CONFIG, LONGER, RUN, cwd=folder)
    assert f"{folder / 'mine.py'}: its code has changed since the run in run began" in message
    assert "--accept_code" in message
    assert "--workdir=run-2" in message
    assert fingerprint(folder / "run") == before


def test_a_run_goes_on_with_the_same_code_in_other_words(finished, edit):
    """Other docstrings, comments, formatting, and another configuration in the same file."""
    folder = edit(finished, AS_BEFORE)
    code = read(folder / "run" / "code.json")
    done = run("main", CONFIG, RUN, cwd=folder)
    assert not warnings(done.stderr)
    assert len(rows(folder / "run")) == 2
    assert read(folder / "run" / "code.json") == code


@pytest.mark.slow
def test_other_code_is_accepted_where_the_user_says_so(finished, edit):
    folder = edit(finished, CHANGED)
    old = read(folder / "run" / "code.json")["mine"]["sha256"]
    run("main", CONFIG, LONGER, RUN, "--accept_code", cwd=folder)
    assert len(rows(folder / "run")) == 2
    its = read(folder / "run" / "code.json")["mine"]
    assert its["sha256"] != old
    assert its["earlier"] == [old]
    assert read(folder / "run" / "result.json")["code"] == {"mine": its["sha256"]}
    run("main", CONFIG, "--config.num_epochs=3", RUN, cwd=folder)  # it is the run's code from now


@pytest.mark.parametrize(("source", "count"), [(CHANGED, 1), (AS_BEFORE, 0)])
def test_a_finished_run_is_finished_whatever_its_code(finished, edit, source, count):
    """But it is said that the code is another one by now."""
    folder = edit(finished, source.replace("config.num_epochs = 2", "config.num_epochs = 1"))
    before = fingerprint(folder / "run")
    done = run("main", CONFIG, RUN, cwd=folder)
    assert "finished; nothing to do" in done.stdout
    assert len(warnings(done.stderr)) == count
    assert fingerprint(folder / "run") == before


@pytest.mark.slow
def test_code_that_was_never_recorded_is_recorded_when_the_run_goes_on(finished, edit):
    """As in the folder of an earlier version."""
    folder = edit(finished, CHANGED)
    (folder / "run" / "code.json").unlink()
    run("main", CONFIG, LONGER, RUN, cwd=folder)
    assert list(read(folder / "run" / "code.json")) == ["mine"]


@pytest.mark.slow
@pytest.mark.parametrize(("source", "count"), [(CHANGED, 1), (AS_BEFORE, 0)])
def test_evaluate_and_verify_warn_and_go_on(finished, edit, source, count):
    folder = edit(finished, source)
    (folder / "run" / "evaluation.json").unlink()
    done = run("evaluate", RUN, cwd=folder)
    assert len(warnings(done.stderr)) == count
    assert all(f"{folder / 'mine.py'}" in line for line in warnings(done.stderr))
    assert read(folder / "run" / "evaluation.json")["count"] == 10_000
    done = run("verify", RUN, cwd=folder)
    assert len(warnings(done.stderr)) == count
    assert done.stdout == "5: sound\n"


@pytest.mark.slow
def test_a_run_of_the_projects_own_code_keeps_none(tmp_path):
    arguments = ("--config.num_epochs=1", "--config.data.train_split=train[:640]")
    arguments += ("--config.data.val_split=", "--config.model.hidden=4", RUN)
    run("main", "--config=configs/mlp.py", *arguments, cwd=tmp_path)
    assert not (tmp_path / "run" / "code.json").exists()
    assert "code" not in read(tmp_path / "run" / "result.json")


# Sweeps


@pytest.mark.slow
def test_a_sweep_does_not_go_on_with_other_code(swept, edit):
    folder = edit(swept, CHANGED)
    before = fingerprint(folder / "run")
    done = run("sweep", CONFIG, RUN, cwd=folder)
    assert "finished; nothing to do" in done.stdout
    assert len(warnings(done.stderr)) == 1
    message = refused("sweep", CONFIG, RUN, "--seeds=2", cwd=folder)
    assert f"{folder / 'mine.py'}: its code has changed" in message
    assert "--accept_code" in message
    assert "--workdir=run-2" in message
    assert fingerprint(folder / "run") == before
    run("sweep", CONFIG, RUN, "--seeds=2", "--accept_code", cwd=folder)
    assert len(table(folder / "run" / "sweep.csv")) == 4
    its = read(folder / "run" / "code.json")["mine"]
    assert len(its["earlier"]) == 1
    assert read(folder / "run" / "result.json")["code"] == {"mine": its["sha256"]}


@pytest.mark.slow
def test_a_sweep_goes_on_with_the_same_code_in_other_words(swept, edit):
    folder = edit(swept, AS_BEFORE.replace("config.num_epochs = 2", "config.num_epochs = 1"))
    code = read(folder / "run" / "code.json")
    assert list(code) == ["mine"]
    run("sweep", CONFIG, RUN, "--seeds=2", cwd=folder)
    assert len(table(folder / "run" / "sweep.csv")) == 4
    assert read(folder / "run" / "code.json") == code


@pytest.mark.slow
def test_a_sweep_that_trains_nothing_more_writes_its_report_whatever_the_code(swept, edit):
    folder = edit(swept, CHANGED)
    (folder / "run" / "result.json").unlink()  # as if killed before the report
    run("sweep", CONFIG, RUN, cwd=folder)
    assert read(folder / "run" / "result.json")["members"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(("member", "count"), [("own", 1), ("theirs", 0)])
def test_only_networks_of_that_code_are_warned_of(swept, edit, member, count):
    folder = edit(swept, CHANGED)
    done = run("evaluate", RUN, f"--member={member}", cwd=folder)
    assert len(warnings(done.stderr)) == count
    assert (folder / "run" / "members" / f"{member}-0" / "evaluation.json").exists()


# From Python


@pytest.mark.slow
def test_from_python(user_module, tmp_path, capsys):
    user_module("mine", MINE.replace("get_sweep", "later"))
    mnist_jax.train("mine.py", workdir="run")
    user_module("mine", CHANGED.replace("get_sweep", "later"))
    with pytest.raises(ValueError, match=r"mine\.py: its code has changed .*accept_code=True"):
        mnist_jax.train("mine.py", workdir="run", num_epochs=2)
    assert not warnings(capsys.readouterr().err)
    assert mnist_jax.load("run").evaluate("test")["count"] == 10_000
    assert len(warnings(capsys.readouterr().err)) == 1
    found = mnist_jax.train("mine.py", workdir="run", num_epochs=2, accept_code=True)
    assert len(found.history) == 2
    mnist_jax.load("run")
    assert not warnings(capsys.readouterr().err)


@pytest.mark.slow
def test_a_sweep_from_python(user_module, tmp_path):
    user_module("mine", MINE)
    mnist_jax.sweep("mine.py", workdir="run")
    user_module("mine", CHANGED)
    with pytest.raises(ValueError, match=r"mine\.py: its code has changed .*accept_code=True"):
        mnist_jax.sweep("mine.py", workdir="run", seeds=2)
    assert len(mnist_jax.sweep("mine.py", workdir="run", seeds=2, accept_code=True).table) == 4
