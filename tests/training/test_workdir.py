"""Whose folder it is."""

import json

import pytest

from mnist_jax import models
from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.training import workdir

CNN = {"model": {"name": "cnn", "features": (4,)}, "num_epochs": 2}


@pytest.fixture
def asked():
    return models.resolve(parse(CNN)).to_dict()


def write(folder, values):
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "result.json").write_text("{}")


def test_a_run_from_before_there_was_a_field_is_the_run_with_its_default(tmp_path, asked):
    before = json.loads(json.dumps(asked))
    del before["model"]["padding"], before["keep_best"]
    write(tmp_path, before)
    assert workdir.finished(tmp_path, asked)


def test_a_run_with_a_field_that_is_no_more_is_another(tmp_path, asked):
    write(tmp_path, asked | {"momentum": 0.9})
    with pytest.raises(UserError, match=r"momentum: 0.9 -> .\(absent\)"):
        workdir.finished(tmp_path, asked)


def test_a_run_with_another_value_is_another(tmp_path, asked):
    write(tmp_path, asked | {"num_epochs": 3})
    with pytest.raises(UserError, match="num_epochs: 3 -> 2"):
        workdir.finished(tmp_path, asked)
