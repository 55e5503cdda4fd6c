"""Results whose figures have changed."""

import json

import pytest

from mnist_jax.files import DamagedFileError
from mnist_jax.training import workdir
from mnist_jax.training.sealed import sealed, unsealed

VALUES = {"config": {"hidden": (3,), "rate": 0.1}, "test_loss": 0.25, "val_loss": None}


def test_a_seal_is_that_of_the_values(tmp_path):
    written = json.loads(json.dumps(sealed(VALUES)))
    assert unsealed(tmp_path, written) == json.loads(json.dumps(VALUES))
    for changed in ({"test_loss": 0.26}, {"more": 1}, {"sha256": "0"}, {"config": {}}):
        with pytest.raises(DamagedFileError, match="not those of its sha256"):
            unsealed(tmp_path, written | changed)


def test_a_result_of_an_earlier_version_has_no_seal(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(VALUES))
    assert workdir.read_result(tmp_path, "config", dict) == json.loads(json.dumps(VALUES))


def test_files_that_are_read_back_with_a_result_are_watched(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    path.write_text("1\n")
    workdir.write_result(tmp_path, VALUES)
    result = workdir.read_result(tmp_path, "config", dict)
    assert result is not None
    assert workdir.is_whole(tmp_path, result)
    path.write_text("2\n")
    assert not workdir.is_whole(tmp_path, result, warn=False)
    assert capsys.readouterr().err == ""
    path.unlink()
    assert not workdir.is_whole(tmp_path, result)
    assert f"warning: {path} is not as it was written" in capsys.readouterr().err
