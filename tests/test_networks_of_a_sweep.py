"""Any network of a sweep is a run: what takes a folder takes `--member` and `--seed`, too."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from mnist_jax.files import file_name
from mnist_jax.members import Planned
from mnist_jax.training import checkpoint, checkpoints, network, sweepdir
from tests.commands import SMALL, bits, fingerprint, read, refused, rows, run, table

# Two widths of several seeds, one of a single seed and a name of many signs, and one that diverges
# for every seed. The best epoch is not the last one.
SWEEP = """
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for name, hidden, rate in (
        ("8 units", (8,), 0.1), ("relu/16", (16,), 0.1), ("lost", (8,), 1e30)
    ):
        members[name] = config = default()
        config.num_epochs = 2
        config.data.train_split = "train[:1000]"
        config.data.val_split = "train[1000:1500]"
        config.model = dict(name="mlp", hidden=hidden)
        config.optimizer = dict(name="sgd", learning_rate=rate)
        config.ema_decay = 0.5
    return Sweep(members, seeds=2)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The current folder of a finished sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "some.py").write_text(SWEEP)
    run("sweep", "--config=some.py", "--workdir=swept", cwd=folder)
    return folder


def row_of(folder: Path, architecture: str, seed: int) -> dict[str, str]:
    rows = table(folder / "swept" / "sweep.csv")
    return next(r for r in rows if (r["architecture"], r["seed"]) == (architecture, str(seed)))


def last_row(folder: Path, architecture: str, seed: int) -> dict:
    its = [
        row
        for row in rows(folder / "swept", "sweep.jsonl")
        if (row["architecture"], row["seed"]) == (architecture, seed)
    ]
    return its[-1]


@pytest.mark.parametrize(
    ("architecture", "seed", "name"), [("8 units", 1, "8 units-1"), ("relu/16", 0, "relu-16-*-0")]
)
def test_a_network_is_evaluated_as_a_run_is(folder, architecture, seed, name):
    which = (f"--member={architecture}", f"--seed={seed}")
    said = run("evaluate", "--workdir=swept", *which, cwd=folder, drawn=True).stdout
    (its,) = (folder / "swept" / "members").glob(name)
    assert str(its.relative_to(folder) / "report.html") in said
    evaluation, row = read(its / "evaluation.json"), row_of(folder, architecture, seed)
    assert evaluation["count"] == 10_000
    assert evaluation["accuracy"] == pytest.approx(float(row["test_accuracy"]), abs=1.5e-4)
    assert evaluation["loss"] == pytest.approx(float(row["test_loss"]), rel=1e-4)
    report = (its / "report.html").read_text()
    assert f"{architecture}, seed {seed}" in report
    assert {"loss.png", "confusion.png", "network.png", "saliency.png", "map.png"} <= {
        path.name for path in (its / "plots").iterdir()
    }


@pytest.mark.slow
def test_another_split_leaves_the_networks_own_report_alone(folder):
    which = ("--member=8 units", "--seed=0")
    run("evaluate", "--workdir=swept", *which, cwd=folder)
    before = fingerprint(folder / "swept")
    run("evaluate", "--workdir=swept", *which, "--split=train[1000:1500]", cwd=folder)
    its = folder / "swept" / "members" / "8 units-0" / "evaluations" / "train[1000:1500]"
    row = last_row(folder, "8 units", 0)
    evaluation = read(its / "evaluation.json")
    assert evaluation["accuracy"] == pytest.approx(row["val_accuracy"], abs=2.1e-3)
    assert evaluation["loss"] == pytest.approx(row["val_loss"], rel=1e-4)
    after = fingerprint(folder / "swept")
    assert {name: after[name] for name in before} == before


def test_the_best_network_is_the_best_of_those_that_did_not_diverge(folder):
    sound = [row for row in table(folder / "swept" / "sweep.csv") if row["status"] == "finished"]
    best = max(sound, key=lambda row: float(row["val_accuracy"]))
    run("evaluate", "--workdir=swept", "--member=best", "--checkpoint=best", cwd=folder)
    found = network.find(folder / "swept", "best")
    assert found.title == f"{best['architecture']}, seed {best['seed']}"
    assert (found.output / "evaluation.json").exists()


def test_the_best_network_is_none_of_an_architecture_with_an_unfinished_seed(
    folder, tmp_path, capsys
):
    swept = Path(shutil.copytree(folder / "swept", tmp_path / "swept"))
    best = network.find(swept, "best")
    name, _, _ = best.title.partition(", seed ")
    config = dataclasses.replace(best.config, seed=2)
    sweepdir.population_dir(swept, [Planned(name, config)]).begin()  # of a sweep that was extended
    other = {"8 units": "relu/16", "relu/16": "8 units"}[name]
    assert network.find(swept, "best").title.startswith(f"{other}, seed ")
    said = "1 network is not finished; its architecture is left out"
    assert capsys.readouterr().err == f"warning: {swept}: {said}\n"
    for population in sweepdir.populations(swept):
        if other in {member.architecture for member in population.members}:
            (population.path / "results.json").unlink()
    with pytest.raises(ValueError, match="there is no best member"):
        network.find(swept, "best")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "choose a network of it; --member= is one of"),
        (["--member=9 units"], "has no member '9 units'; --member= is one of"),
        (["--member=8 units"], "has several seeds; --seed= is one of 0, 1"),
        (["--member=8 units", "--seed=7"], "has no seed 7; --seed= is one of 0, 1"),
        (["--member=lost", "--seed=1"], "lost, seed 1"),
        (["--member=8 units", "--seed=1", "--checkpoint=3"], "there is no checkpoint 3"),
    ],
    ids=["nothing", "unknown", "seeds", "seed", "diverged", "checkpoint"],
)
def test_what_is_not_clear_is_answered_by_what_there_is(folder, arguments, message):
    before = fingerprint(folder / "swept")
    said = refused("evaluate", "--workdir=swept", *arguments, cwd=folder)
    assert message in said
    if "is one of" in message and "--member" in message:
        assert all(name in said for name in ("'8 units'", "'relu/16'", "'lost'", "or best"))
    assert fingerprint(folder / "swept") == before


@pytest.mark.slow
def test_the_seed_may_be_left_out_where_there_is_one(tmp_path):
    arguments = (*SMALL, "--config.num_epochs=1", "--config.seed=4", "--seeds=1")
    run("sweep", *arguments, f"--workdir={tmp_path}")
    for which in ([], ["--member=mlp"], ["--member=best"], ["--member=mlp", "--seed=4"]):
        run("evaluate", f"--workdir={tmp_path}", *which)
        assert [path.name for path in (tmp_path / "members").iterdir()] == ["mlp-4"]
        shutil.rmtree(tmp_path / "members")


@pytest.mark.slow
def test_a_single_run_has_no_members(tmp_path):
    run(
        "main", *SMALL, "--config.num_epochs=1", "--config.data.val_split=", f"--workdir={tmp_path}"
    )
    for which in ("--member=mlp", "--seed=0", "--member=best"):
        for name in ("evaluate", "verify"):
            assert "holds a single run" in refused(name, f"--workdir={tmp_path}", which)


@pytest.mark.slow
def test_without_a_validation_split_there_is_no_best_network(tmp_path):
    arguments = (*SMALL, "--config.num_epochs=1", "--config.data.val_split=")
    run("sweep", *arguments, "--seeds=2", f"--workdir={tmp_path}")
    message = refused("evaluate", f"--workdir={tmp_path}", "--member=best")
    assert "validation split" in message


@pytest.mark.slow
def test_a_network_is_verified_by_itself(folder, tmp_path):
    shutil.copytree(folder / "swept", tmp_path / "swept")
    workdir = f"--workdir={tmp_path / 'swept'}"
    assert run("verify", workdir).stdout.count("sound") == 4  # two populations that have any
    which = ("--member=8 units", "--seed=1")
    assert run("verify", workdir, *which).stdout.count("sound") == 2
    found = network.find(tmp_path / "swept", "8 units", 1)
    newest = found.checkpoints / str(checkpoints.steps(found.checkpoints)[-1])
    (newest / "commit_success.txt").unlink()
    said = run("verify", workdir, status=1).stdout
    assert said.count("DAMAGED") == 1
    assert said.count("sound") == 3
    assert run("verify", workdir, "--member=relu/16", "--seed=0").stdout.count("sound") == 2
    message = refused("evaluate", workdir, *which, f"--checkpoint={newest.name}")
    assert "is damaged" in message


@pytest.mark.slow
def test_a_run_starts_from_a_network_of_a_sweep(folder, tmp_path):
    """Without a step that changes anything, the weights are those that the network had."""
    arguments = [
        "--config=configs/mlp.py",
        "--config.num_epochs=1",
        "--config.data.train_split=train[:1000]",
        "--config.data.val_split=train[1000:1500]",
        "--config.model.hidden=8",
        "--config.model.dropout=0",
        "--config.schedule.init_value=0.0",
        f"--config.init_from={folder / 'swept'}",
    ]
    its = ["--config.init.member=8 units", "--config.init.seed=1"]
    run("main", *arguments, *its, f"--workdir={tmp_path / 'run'}")
    started, row = rows(tmp_path / "run")[0], last_row(folder, "8 units", 1)
    assert started["val_loss"] == pytest.approx(row["val_loss"], rel=1e-4)
    found = network.find(folder / "swept", "8 units", 1)
    step = checkpoints.steps(found.checkpoints)[-1]
    digests = checkpoint._read_seal(found.checkpoints / str(step))["digests"]
    new = bits(tmp_path / "run")
    for layer in ("dense_1", "output"):  # of the average, which the network is evaluated with
        (its_own,) = new[f"params/layers/{layer}/kernel"]
        name = f"average/params/layers/{layer}/kernel"
        assert its_own == digests[name][found.position]
    for more, message in (
        ([], "--member= is one of"),
        (["--config.init.member=8 units"], "--seed= is one of 0, 1"),
        (["--config.init.member=lost", "--config.init.seed=0"], "lost, seed 0"),
        (["--config.init.member=relu/16", "--config.init.seed=0"], "does not fit this network"),
    ):
        said = refused("main", *arguments, *more, f"--workdir={tmp_path / 'other'}")
        assert message in said
        assert "config.init_from" in said


@pytest.mark.slow
def test_a_sweep_starts_from_a_network_of_a_sweep(folder, tmp_path):
    arguments = [
        "--config=configs/mlp.py",
        "--config.num_epochs=1",
        "--config.data.train_split=train[:1000]",
        "--config.data.val_split=train[1000:1500]",
        "--config.model.hidden=8",
        "--config.model.dropout=0",
        "--config.schedule.init_value=0.0",
        f"--config.init_from={folder / 'swept'}",
        "--config.init.member=8 units",
        "--config.init.seed=0",
    ]
    run("sweep", *arguments, "--seeds=2", f"--workdir={tmp_path}")
    losses = [float(row["val_loss"]) for row in table(tmp_path / "sweep.csv")]
    assert losses == pytest.approx([last_row(folder, "8 units", 0)["val_loss"]] * 2, rel=1e-4)


def test_names_that_look_alike_have_folders_of_their_own():
    names = ["a b", "a/b", "a-b", "x" * 300, "x" * 301]
    folders = [file_name(name) for name in names]
    assert folders[0] == "a b"
    assert len(set(folders)) == len(names)
    assert not any("/" in folder or len(folder) > 200 for folder in folders)
