"""The guide to models, run as it stands."""

import re

import jax
import numpy as np
import pytest
from PIL import Image

import mnist_jax
from tests.commands import ROOT, run

GUIDE = (ROOT / "docs" / "models.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, flags=re.S)
FILES = dict(re.findall(r"^`(\w+)\.py` .*?^```python\n(.*?)^```", GUIDE, flags=re.M | re.S))
SNIPPETS = [
    text for language, text in BLOCKS if language == "python" and text not in FILES.values()
]
COMMANDS = [text for language, text in BLOCKS if language == "bash"]


@pytest.fixture
def files(user_module):
    """The files that the guide writes, in the current folder."""
    for name, text in FILES.items():
        user_module(name, text)


def trained(model) -> list[tuple[int, ...]]:
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    return sorted(leaf.shape for leaf in jax.tree.leaves(params))


def test_every_block_is_one_that_is_run():
    assert list(FILES) == ["value", "listed", "written", "focal", "salt", "descent"]
    assert len(SNIPPETS) == 2
    found = [text for language, text in BLOCKS if language != "text"]
    assert sorted(found) == sorted([*FILES.values(), *SNIPPETS, *COMMANDS])


def test_three_ways_give_the_same_function(files, capsys):
    said: dict = {}
    for snippet in SNIPPETS:
        exec(snippet, said)
    ways = [said[name] for name in ("value", "listed", "written")]
    assert len({tuple(trained(way)) for way in ways}) == 1
    # The guide's own comparison has passed; a function that ignored its input would pass it too.
    assert np.unique(said["expected"], axis=0).shape == (5, 10)
    (text,) = (text for language, text in BLOCKS if language == "text")
    assert capsys.readouterr().out == text
    with Image.open("drawing/network.png") as drawing:
        assert drawing.width > 500


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=["written", "focal"])
def test_the_commands_train(files, tmp_path, command):
    assert command.startswith("python -m mnist_jax.main --config=")
    run("main", *command.split()[3:], cwd=tmp_path, drawn=True)
    name = command.partition("--config=")[2].partition(".py")[0]
    assert (tmp_path / "runs" / name / "plots" / "network.svg").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["salt", "descent"])
def test_code_of_ones_own_trains(files, name):
    few = {"data.train_split": "train[:2560]", "data.val_split": "train[2560:3560]"}
    trained = mnist_jax.train(f"{name}.py", num_epochs=2, overrides=few)
    assert trained.history[-1]["val_accuracy"] > 0.7
