"""The guide to models, run as it stands."""

import re

import jax
import numpy as np
import pytest
from PIL import Image

from tests.commands import ROOT, run

GUIDE = (ROOT / "docs" / "models.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, flags=re.S)
PYTHON = [text for language, text in BLOCKS if language == "python"]


@pytest.fixture
def files(user_module):
    """The files that the guide writes, in the current folder."""
    names = re.findall(r"^`(\w+)\.py`", GUIDE, flags=re.M)
    assert names == ["value", "listed", "written"]
    for name, text in zip(names, PYTHON, strict=False):
        user_module(name, text)


def trained(model) -> list[tuple[int, ...]]:
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    return sorted(leaf.shape for leaf in jax.tree.leaves(params))


def test_every_block_is_one_that_is_run():
    languages = [language for language, _ in BLOCKS]
    assert languages == ["python"] * 3 + ["bash", "python", "text", "python"]


def test_three_ways_give_the_same_function(files, capsys):
    said: dict = {}
    for snippet in PYTHON[3:]:
        exec(snippet, said)
    ways = [said[name] for name in ("value", "listed", "written")]
    assert len({tuple(trained(way)) for way in ways}) == 1
    # The guide's own comparison has passed; a function that ignored its input would pass it too.
    assert np.unique(said["expected"], axis=0).shape == (5, 10)
    (text,) = (text for language, text in BLOCKS if language == "text")
    assert capsys.readouterr().out == text
    with Image.open("drawing/network.png") as drawing:
        assert drawing.width > 500


def test_a_module_written_out_trains(files, tmp_path):
    (command,) = (text for language, text in BLOCKS if language == "bash")
    assert command.startswith("python -m mnist_jax.main ")
    run("main", *command.split()[3:], cwd=tmp_path)
    assert (tmp_path / "runs" / "written" / "plots" / "network.svg").exists()
