"""The comparison with the peers: who takes part, what is counted, and what may be printed."""

import contextlib
import json
import subprocess
import sys

import jax
import pytest
from flax import nnx

from benchmarks import measured, readme
from benchmarks.peers import __main__ as command
from benchmarks.peers import in_flax, ours, whole
from benchmarks.peers.contestants import CONTESTANTS, Contestant
from benchmarks.peers.learning import failures
from benchmarks.peers.networks import NETWORKS, RECIPE
from benchmarks.peers.process import FailedError
from benchmarks.peers.race import race as race_of
from benchmarks.peers.racer import Racer, each
from benchmarks.peers.record import PARTS, require_same
from mnist_jax import config, config_file, data, models
from mnist_jax.errors import UserError
from tests.commands import ROOT, environment

pytestmark = pytest.mark.slow

NOT_INSTALLED = "not installed: torch; run pip install -e '.[peers]'"
IMAGE = jax.numpy.zeros((1, 28, 28, 1))
FRAMEWORKS = [one.name for one in CONTESTANTS.values() if one.needs]  # what may not be installed


def measure(folder, *arguments):
    """What the command keeps as JSON, and what it prints."""
    file = folder / "found.json"
    asked = ["--quick", "--json", str(file), *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", *asked],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(file.read_text()), done.stdout


def render(monkeypatch, capsys, folder, found, *arguments):
    """Status and output of the command, given what was measured."""
    file = folder / "given.json"
    file.write_text(json.dumps(found))
    monkeypatch.setattr("sys.argv", ["peers", "--from", str(file), *arguments])
    status = command.main()
    return status, capsys.readouterr()


def cells(text, title):
    """The cells of a table's row."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {title} "))
    return [cell.strip() for cell in row.strip("| ").split("|")]


def contestant(title, seconds, accuracy=0.98):
    return {"title": title, "seconds": seconds, "accuracy": accuracy, "variant": "as it is"}


@pytest.fixture
def found():
    """A finished comparison. In its last round the machine was half as fast."""
    runs = [{"seconds": s, "training_seconds": 2.0, "peak_mib": 400.0, "accuracy": 0.97}
            for s in (4.0, 5.0)]  # fmt: skip
    facts = {"facts": {"flops": 4e11, "epochs": 1}, "accuracies": [0.99, 0.991]}
    conditions = {
        "date": "2026-01-02",
        "device": "CPU",
        "versions": {"python": "3.13", "jax": "0.12", "flax": "0.12", "torch": "2.13"},
        "commit": "abc",
    }
    return {
        "conditions": dict.fromkeys(PARTS, conditions),
        "quick": False,
        "incomplete": [],
        "left_out": [],
        "networks": {
            "mlp": {
                "examples": 55_000,
                "steps": 429,
                "epochs": 4,
                "flops_an_image": 1e6,
                "product_gflops": [100.0, 100.0, 50.0],
                "contestants": {
                    "mnist_jax": contestant("mnist_jax", [1.0, 1.0, 2.0]),
                    "keras": contestant("Keras", [3.0, 4.0, 4.0]),
                    "torch": {"title": "PyTorch eager", "seconds": [], "reason": NOT_INSTALLED},
                    "flax": contestant("Flax", [2.0, 2.0, 4.0]),
                },
            }
        },
        "recipe": {
            "contestants": {
                "mnist_jax": {"title": "configs/fast.py", "seconds": [2.0, 3.0], **facts},
                "torch": {"title": "published", "seconds": [4.0, 9.0], **facts},
            }
        },
        "whole": {
            "mlp": {"epochs": 3, "contestants": {"mnist_jax": {"title": "mnist_jax", "runs": runs}}}
        },
    }


@pytest.mark.parametrize(
    ("name", "megaflops", "parameters"),
    [("mlp", 0.43, 104_938), ("flax_cnn", 27.4, 824_458), ("keras_cnn", 14.25, 34_826)],
)
def test_arithmetic_and_parameters_are_counted_from_the_shapes(name, megaflops, parameters):
    network = NETWORKS[name]
    assert network.flops / 1e6 == pytest.approx(megaflops, rel=0.01)
    assert network.parameters == parameters


def test_the_published_recipe_costs_what_it_is_said_to_cost():
    assert 60_000 * RECIPE.flops == pytest.approx(0.41e12, rel=0.02)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_configuration_and_the_plain_way_are_the_same_network(name):
    network = NETWORKS[name]
    asked = config_file.load(network.config, network.overrides)
    model = models.build(asked.model, data.spec(asked.data.name))
    weights, _ = jax.eval_shape(model.init, jax.random.key(0))
    module = nnx.eval_shape(lambda: in_flax.Module(network, nnx.Rngs(0)))
    plain = nnx.state(module, nnx.Param)
    logits = nnx.eval_shape(lambda: in_flax.Module(network, nnx.Rngs(0))(IMAGE))
    assert logits.shape == (1, 10)
    for params in (weights, plain):
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == network.parameters
    images = asked.num_epochs * (55_000 // asked.batch_size * asked.batch_size)
    assert ours.flops(asked) == images * network.flops
    assert (asked.optimizer.keywords["learning_rate"], asked.schedule.name) == (1e-3, "")
    assert asked.model.keywords.get("dropout", 0) == network.dropout


def test_arithmetic_of_a_network_that_is_not_of_this_project_is_not_guessed():
    strange = config.parse({"model": {"name": "mine:Network"}})
    assert ours.flops(strange) is None


def test_valid_padding_without_dense_layers_drops_the_features():
    keywords = {"padding": "VALID", "dense": (), "features": (8, 4), "dropout": 0.5}
    model = models.build(config.Choice("cnn", keywords), data.spec("mnist"))
    params, variables = model.init(jax.random.key(0))
    layers = params["layers"]
    assert layers["output"]["kernel"].shape == (5 * 5 * 4, 10)
    keys = jax.random.split(jax.random.key(1), 2)
    one = jax.random.uniform(keys[0], (1, 28, 28, 1))
    images = jax.numpy.concatenate([one, one])
    used, _ = model.apply(params, variables, images, train=False)
    trained, _ = model.apply(params, variables, images, train=True, keys=keys)
    assert abs(used[0] - used[1]).max() < 1e-6
    assert abs(trained[0] - trained[1]).max() > 1e-2


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    without = [*FRAMEWORKS, "mnist_jax_devices"]
    folder = tmp_path_factory.mktemp("race")
    return measure(folder, "--only", "mlp", "--rounds", "2", "--without", *without)


def test_every_contestant_trains_each_round_and_learns(race):
    found, printed = race
    mlp = found["networks"]["mlp"]
    assert list(mlp["contestants"]) == ["mnist_jax", "mnist_jax_steps", "flax"]
    assert len(mlp["product_gflops"]) == mlp["epochs"] - 1
    for one in mlp["contestants"].values():
        assert len(one["seconds"]) == mlp["epochs"] - 1
        assert one["parameters"] == NETWORKS["mlp"].parameters
        assert one["accuracy"] > 0.9
        assert len(cells(printed, one["title"])) == 5
    assert "QUICK" in printed


def test_the_tables_can_be_made_again_from_the_json(race, monkeypatch, capsys, tmp_path):
    found, printed = race
    status, again = render(monkeypatch, capsys, tmp_path, found)
    assert (status, again.out) == (0, printed)


def test_a_recipe_is_trained_from_scratch_with_another_seed_each_round(tmp_path):
    asked = ("--only", "recipe", "--recipe", "configs/logistic.py", "--rounds", "2")
    found, printed = measure(tmp_path, *asked, "--without", "torch")
    (one,) = found["recipe"]["contestants"].values()
    assert len(one["seconds"]) == 2
    first, second = one["accuracies"]
    assert first != second
    assert min(one["accuracies"]) > 0.92
    assert one["facts"]["flops"] == 12 * 54_912 * 2 * 2 * 7_840
    assert "0.021" in cells(printed, "configs/logistic.py")


def test_whole_processes_are_timed_with_their_memory(tmp_path):
    asked = ("--only", "whole", "--rounds", "1", "--without", *FRAMEWORKS)
    found, printed = measure(tmp_path, *asked)
    for one in found["whole"]["mlp"]["contestants"].values():
        (run,) = one["runs"]
        assert 0 < run["training_seconds"] < run["seconds"]
        assert 200 < run["peak_mib"] < 2000
        assert run["accuracy"] > 0.95
        assert len(cells(printed, one["title"])) == 6


def test_memory_is_of_the_process_and_not_of_who_started_it():
    held = bytearray(300 * 2**20)  # the peak of this process stays above it

    def peak(program: str) -> float:
        command = [sys.executable, "-S", whole.LAUNCH, sys.executable, "-S", "-c", program]
        done = subprocess.run(command, capture_output=True, check=True)
        return json.loads(done.stdout)["peak_mib"]

    assert len(held) > 0
    assert peak("pass") < 100
    assert 200 < peak("x = b'x' * (200 * 2**20)") < 300


def test_ratios_are_made_round_by_round(found, monkeypatch, capsys, tmp_path):
    status, printed = render(monkeypatch, capsys, tmp_path, found)
    assert status == 0
    keras = cells(printed.out, "Keras")
    assert keras[1:3] == ["4.00 (3.00..4.00)", "3.00 (2.00..4.00)"]
    assert keras[3] == "5.46"  # of 5.46, 7.28 and 3.64 at 100, 100 and 50 GFLOP/s
    assert cells(printed.out, "published")[2] == "2.50 (2.00..3.00)"
    assert all(len(line) <= 100 for line in printed.out.splitlines())


def test_what_is_not_installed_is_said_in_the_table(found, monkeypatch, capsys, tmp_path):
    status, printed = render(monkeypatch, capsys, tmp_path, found)
    assert status == 0
    assert cells(printed.out, "PyTorch eager")[1] == "not measured"
    assert f"Not measured: PyTorch eager: {NOT_INSTALLED}" in printed.out


def test_a_contestant_that_did_not_learn_is_named_and_has_no_ratio(
    found, monkeypatch, capsys, tmp_path
):
    found["networks"]["mlp"]["contestants"]["keras"]["accuracy"] = 0.1
    status, printed = render(monkeypatch, capsys, tmp_path, found, "--write")
    assert status == 1
    assert cells(printed.out, "Keras")[2] == "none"
    assert cells(printed.out, "Flax")[2] == "2.00 (2.00..2.00)"
    assert "FAILED TO TRAIN: Keras: test accuracy 10.00% is below 95%" in printed.out
    assert "Keras" in printed.err


def test_without_this_project_there_is_no_ratio(found, monkeypatch, capsys, tmp_path):
    found["networks"]["mlp"]["contestants"]["mnist_jax"]["reason"] = "it broke"
    status, printed = render(monkeypatch, capsys, tmp_path, found)
    assert status == 1
    assert cells(printed.out, "Keras")[2] == "none"


@pytest.mark.parametrize(
    ("accuracies", "failed"),
    [
        ({"a": 0.98, "b": 0.9765, "c": 0.982}, set()),
        ({"a": 0.98, "b": 0.974, "c": 0.982}, {"b"}),  # more than half a point away
        ({"a": 0.98, "b": 0.98, "c": 0.986}, {"c"}),  # better is not the same, either
        ({"a": 0.96, "b": 0.968, "c": 0.952}, set()),  # within a quarter of 4 points
        ({"a": 0.94, "b": 0.94, "c": 0.94}, {"a", "b", "c"}),
        ({"a": 0.98, "b": float("nan"), "c": 0.98}, {"b"}),
        ({}, set()),
    ],
)
def test_all_have_to_learn_the_same(accuracies, failed):
    assert set(failures(accuracies, floor=0.95)) == failed


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """The two README files, with nothing between their marks."""
    for file in ("README.md", "benchmarks/README.md"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("<!-- peers: start -->\n<!-- peers: end -->\n")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path / "measured")
    return tmp_path


def test_a_full_run_is_written_whole_and_short(found, pages, monkeypatch, capsys):
    status, printed = render(monkeypatch, capsys, pages, found, "--write")
    assert status == 0
    assert printed.out.strip() in (pages / "benchmarks/README.md").read_text()
    short = (pages / "README.md").read_text()
    row = cells(short, "[`mlp`](configs/mlp.py)")
    assert row == ["[`mlp`](configs/mlp.py)", "1.00", "1.82", "none", "3.00", "2.00"]
    assert "configs/fast.py 2.50 s and 0.400 TFLOP for 99.05 ± 0.07 %" in short
    assert "mnist_jax 4.50 s, 400 MiB" in short
    assert "torch 2.13" in short
    assert json.loads((pages / "measured" / "peers.json").read_text()) == found


def test_a_part_of_it_is_not_written(found, pages, monkeypatch, capsys):
    before = (pages / "README.md").read_text()
    found["incomplete"] = ["mlp"]
    status, printed = render(monkeypatch, capsys, pages, found, "--write")
    assert status == 1
    assert "--write" in printed.err
    assert (pages / "README.md").read_text() == before


def test_what_cannot_be_written_is_not_measured_first(pages, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["peers", "--quick", "--write"])
    monkeypatch.setattr(command, "measure", lambda arguments: pytest.fail("it measures"))
    assert command.main() == 1
    assert "without --quick" in capsys.readouterr().err


def test_without_the_peers_nothing_is_measured_to_be_written(pages, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["peers", "--write"])
    monkeypatch.setattr(command, "measure", lambda arguments: pytest.fail("it measures"))
    monkeypatch.setattr(Contestant, "missing", lambda self: NOT_INSTALLED if self.needs else "")
    assert command.main() == 1
    assert NOT_INSTALLED in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["peers", "--from", str(tmp_path / "none.json")])
    assert command.main() == 1
    assert "none.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complete"),
    [
        ([], True),
        (["--rounds", "7"], True),
        (["--rounds", "4"], False),
        (["--quick"], False),
        (["--without", "torch"], False),
        (["--recipe", "configs/mlp.py"], False),
    ],
)
def test_a_part_with_fewer_rounds_or_contestants_is_not_complete(arguments, complete, monkeypatch):
    monkeypatch.setattr("sys.argv", ["peers", *arguments])
    assert command._is_complete(command._parse()) is complete


def test_a_part_measured_again_takes_its_place_beside_the_others(found, pages, monkeypatch, capsys):
    file = pages / "peers.json"
    measured.save(found, file)
    runs = found["whole"]["mlp"]
    newer = found["conditions"]["whole"] | {"commit": "def"}
    monkeypatch.setattr(command, "conditions", lambda: newer)
    monkeypatch.setattr(whole, "compare", lambda job, **_: runs)
    monkeypatch.setattr(Contestant, "missing", lambda self: "")
    asked = ["peers", "--only", "whole", "--json", str(file), "--write"]
    monkeypatch.setattr("sys.argv", asked)
    assert command.main() == 0
    kept = measured.read(file)
    assert kept["networks"] == found["networks"]
    assert [kept["conditions"][part]["commit"] for part in ("mlp", "whole")] == ["abc", "def"]
    assert "commit abc (mlp, recipe); def (whole)." in (pages / "README.md").read_text()
    monkeypatch.setattr("sys.argv", [*asked, "--without", "keras"])
    monkeypatch.setattr(command, "measure", lambda arguments: pytest.fail("it measures"))
    assert command.main() == 1
    assert "all parts and contestants" in capsys.readouterr().err
    elsewhere = newer | {"device": "another"}
    with pytest.raises(UserError, match="mlp was measured with CPU, but this run has another"):
        require_same(kept, elsewhere)


def test_a_quick_run_does_not_go_on_in_the_file_of_a_full_one(found, pages, monkeypatch, capsys):
    measured.save(found, pages / "peers.json")
    asked = ["peers", "--quick", "--only", "mlp", "--json", str(pages / "peers.json")]
    monkeypatch.setattr("sys.argv", asked)
    assert command.main() == 1
    assert "was made without --quick" in capsys.readouterr().err
    assert measured.read(pages / "peers.json") == found


def test_who_computes_on_another_device_has_no_time():
    ours = [CONTESTANTS["mnist_jax"]]
    how = {"examples": 1280, "rounds": 1, "trial": False, "deadline": 0.0}
    found = race_of(NETWORKS["mlp"], ours, platform="gpu", **how)
    (one,) = found["contestants"].values()
    assert one["reason"] == "it computes on the cpu instead of the gpu"
    assert one["seconds"] == []


def test_each_peer_is_missed_by_name():
    absent = Contestant("x", "X", "in_x.build", needs=("json", "no_such_a", "no_such_b"))
    assert absent.missing() == (
        "not installed: no_such_a, no_such_b; run pip install -e '.[peers]'"
    )
    assert CONTESTANTS["flax"].missing() == ""


def test_who_fails_says_why_and_the_others_go_on(capsys):
    broken, sound = (Racer(Contestant(name, name, "product.build")) for name in "ab")
    started = Racer(Contestant("c", "c", "nowhere.build"))
    with contextlib.ExitStack() as stack:
        for racer in (sound, started):
            racer.enter(stack)
        broken.found["reason"] = "earlier"
        racers = [broken, started, sound]
        each(racers, lambda racer: racer.found.update(racer.ask("build")))
        each(racers, lambda racer: racer.found["seconds"].append(racer.epoch()))
        with pytest.raises(FailedError, match="NotImplementedError"):
            sound.ask("evaluate")
    assert broken.found["reason"] == "earlier"
    assert "No module named 'benchmarks.peers.nowhere'" in started.found["reason"]
    assert sound.found["flops"] > 0
    assert len(sound.found["seconds"]) == 1
