"""Whose folder it is."""

import dataclasses
import json

import pytest

from mnist_jax import models
from mnist_jax.config import Choice, parse
from mnist_jax.errors import UserError
from mnist_jax.files import local_path
from mnist_jax.training import workdir
from mnist_jax.training.workdir import free_name

CNN = {"model": {"name": "cnn", "features": (4,)}, "num_epochs": 2}
FRACTION = {"optimizer": {"name": "adam"}} | {
    "schedule": {"name": "cosine_decay_schedule", "init_value": 0.1, "decay_steps": 1.0}
}


@pytest.fixture
def asked():
    return models.resolve(parse(CNN))


def write(folder, config, result=True, **changed):
    values = json.loads(json.dumps(config.to_dict() | changed))
    (folder / "config.json").write_text(json.dumps(values))
    if result:
        (folder / "result.json").write_text(json.dumps({"config": values}))
    return values


def longer(config, num_epochs=3):
    return dataclasses.replace(config, num_epochs=num_epochs)


def test_other_loggers_are_no_other_run(tmp_path, asked):
    write(tmp_path, asked)
    changed = dataclasses.replace(asked, loggers=(Choice("mine:track", {"project": "a"}),))
    assert workdir.finished(tmp_path, changed)
    workdir.claim(tmp_path, changed)
    assert workdir.read_config(tmp_path) == changed
    assert workdir.finished(tmp_path, asked)
    assert workdir.result(tmp_path) is not None
    with pytest.raises(UserError) as error:
        workdir.finished(tmp_path, dataclasses.replace(changed, seed=1))
    assert "seed: 0 -> 1" in str(error.value)
    assert "loggers:" not in str(error.value)


def test_an_empty_folder_holds_nothing_and_is_claimed(tmp_path, asked):
    assert not workdir.finished(tmp_path, asked)
    assert not list(tmp_path.iterdir())
    workdir.claim(tmp_path, asked)
    assert workdir.read_config(tmp_path) == asked
    assert not workdir.finished(tmp_path, asked)


def test_a_finished_run_is_told_by_its_result(tmp_path, asked):
    write(tmp_path, asked)
    assert workdir.finished(tmp_path, asked)


def test_a_run_from_before_there_was_a_field_is_the_run_with_its_default(tmp_path, asked):
    values = write(tmp_path, asked)
    del values["model"]["padding"], values["keep_latest"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "result.json").write_text(json.dumps({"config": values}))
    assert workdir.finished(tmp_path, asked)


def test_a_run_with_a_field_that_is_no_more_is_another(tmp_path, asked):
    write(tmp_path, asked, momentum=0.9)
    with pytest.raises(UserError, match=r"momentum: 0.9 -> .\(absent\)"):
        workdir.finished(tmp_path, asked)


def test_a_run_with_another_value_is_another(tmp_path, asked):
    write(tmp_path, asked, batch_size=64)
    for check in (workdir.finished, workdir.claim):
        with pytest.raises(UserError, match=r"batch_size: 64 -> 128\n.*--workdir=\S+-2"):
            check(tmp_path, asked)


@pytest.mark.parametrize("result", [True, False])
def test_a_run_goes_on_to_more_epochs(tmp_path, asked, result):
    write(tmp_path, asked, result)
    assert not workdir.finished(tmp_path, longer(asked))
    workdir.claim(tmp_path, longer(asked))
    assert workdir.read_config(tmp_path).num_epochs == 3
    assert not workdir.finished(tmp_path, longer(asked))  # the result is of the shorter one


def test_a_run_goes_on_to_more_epochs_where_its_schedule_counts_in_epochs(tmp_path):
    words = FRACTION | {"schedule": FRACTION["schedule"] | {"decay_steps": "2 epochs"}}
    config = models.resolve(parse(words))
    write(tmp_path, config)
    assert not workdir.finished(tmp_path, longer(config, 20))


def test_fewer_epochs_are_another_run(tmp_path, asked):
    write(tmp_path, longer(asked))
    with pytest.raises(UserError, match="num_epochs: 3 -> 2"):
        workdir.finished(tmp_path, asked)


def test_more_epochs_and_another_value_are_another_run(tmp_path, asked):
    write(tmp_path, asked, seed=4)
    with pytest.raises(UserError, match=r"num_epochs: 2 -> 3\n  seed: 4 -> 0"):
        workdir.finished(tmp_path, longer(asked))


def test_a_schedule_of_fractions_is_refused_with_what_to_do_instead(tmp_path):
    config = models.resolve(parse(FRACTION))
    write(tmp_path, config)
    assert workdir.finished(tmp_path, config)
    with pytest.raises(UserError) as error:
        workdir.finished(tmp_path, longer(config, 20))
    text = str(error.value)
    assert "num_epochs 10" in text
    assert "config.schedule.decay_steps = 1.0 is a fraction of the run" in text
    assert f"--config.init_from={tmp_path} --workdir={tmp_path}-2" in text
    boundaries = Choice(
        "piecewise_constant_schedule", {"init_value": 0.1, "boundaries_and_scales": {"0.5": 0.1}}
    )
    config = dataclasses.replace(config, schedule=boundaries)
    write(tmp_path, config)
    with pytest.raises(UserError, match=r"boundaries_and_scales at 0\.5 is a fraction"):
        workdir.finished(tmp_path, longer(config, 20))


def test_a_run_and_a_sweep_have_folders_of_their_own(tmp_path, asked):
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds a sweep .*--workdir=\S+-2"):
        workdir.finished(tmp_path, asked)
    write(tmp_path, asked)
    with pytest.raises(UserError, match=r"holds a run .*--workdir=\S+-2"):
        workdir.refuse_kind(tmp_path, workdir.RUN)


def test_the_folder_that_is_offered_is_free(tmp_path):
    (tmp_path / "run-2").mkdir()
    assert workdir.free_name(tmp_path / "run") == tmp_path / "run-3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds no configuration"),
        ("{}", "holds no configuration"),
        ('{"momentum": 0.9}', "cannot be read: .*momentum.*another version of mnist_jax"),
        ("{", "cannot be read"),
    ],
)
def test_a_configuration_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        workdir.read_config(tmp_path)


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(UserError, match=r"holds no run: there is no .*config\.json"):
        workdir.read_config(tmp_path)


def test_the_current_folder_has_a_name_and_a_neighbour(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    for given in (".", "../run"):
        assert free_name(local_path(given, "workdir")).resolve() == tmp_path / "run-2"
