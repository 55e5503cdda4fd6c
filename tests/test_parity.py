"""What two machines trained, side by side."""

import json

import pytest

from benchmarks import measured, parity, readme
from mnist_jax.errors import UserError
from tests.commands import benchmark


def run(folder, device: str, accuracy: float, seconds: float, seed: int = 0) -> None:
    """What a finished run of `main` leaves behind."""
    folder.mkdir(parents=True)
    said = {"device": device, "versions": {"python": "3.13.0", "jax": "0.12"}, "commit": "abc"}
    times = {"train_seconds": seconds, "compile_seconds": 1.0, "total_seconds": seconds + 5}
    result = said | times | {"test_accuracy": accuracy, "config": {"seed": seed}}
    (folder / "result.json").write_text(json.dumps(result))


def sweep(folder, device: str, accuracies: list[float | None]) -> None:
    """What a finished sweep leaves behind; `None`: the network diverged."""
    run(folder, device, 0.0, 7.0)
    lines = [f"net,{i},{'' if a is None else a}" for i, a in enumerate(accuracies)]
    (folder / "sweep.csv").write_text("\n".join(["architecture,seed,test_accuracy", *lines]))


@pytest.fixture
def folders(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    run(one / "cnn-0", "CPU Abacus, 2 cores", 0.9950, 60.0)
    run(other / "cnn-0", "1 x Loom", 0.9940, 1.5)
    sweep(one / "mlp-sweep", "CPU Abacus, 2 cores", [0.97, 0.98, None, 0.5])
    sweep(other / "mlp-sweep", "1 x Loom", [0.98, 0.98, 0.97])
    run(one / "alone-0", "CPU Abacus, 2 cores", 0.5, 1.0)
    return one, other


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_networks_that_both_machines_finished_are_compared(folders):
    lines = parity.table(parity.compare(*folders)).splitlines()
    one, many = map(cells, lines[2:4])
    assert one == ["`cnn-0`", "1", "99.50", "99.40", "-0.10", "60.0", "1.5", "65.0", "6.5"]
    assert many[:5] == ["`mlp-sweep`", "2", "97.50", "98.00", "+0.50 ± 0.50"]
    assert "alone-0" not in "\n".join(lines)
    assert lines[-2] == "CPU: CPU Abacus, 2 cores. Python 3.13.0, jax 0.12, commit abc."
    assert lines[-1].startswith("accelerator: 1 x Loom")


def test_folders_without_a_common_run_are_refused(folders, tmp_path):
    run(tmp_path / "third" / "fast-0", "CPU", 0.5, 1.0)
    with pytest.raises(UserError, match="no finished run in common"):
        parity.compare(folders[0], tmp_path / "third")


def test_runs_of_other_configurations_are_refused(folders):
    run(folders[0] / "mine", "CPU", 0.5, 1.0, seed=0)
    run(folders[1] / "mine", "1 x Loom", 0.5, 1.0, seed=1)
    with pytest.raises(UserError, match="differ in their configurations"):
        parity.compare(*folders)


def test_sweeps_without_a_common_network_have_no_difference(folders):
    sweep(folders[0] / "lost", "CPU", [0.5])
    sweep(folders[1] / "lost", "1 x Loom", [None])
    assert "| `lost` | 0 | none | none | none in common |" in parity.table(parity.compare(*folders))


def test_write_keeps_the_figures_and_the_table(folders, tmp_path, monkeypatch):
    page = tmp_path / "benchmarks" / "README.md"
    page.parent.mkdir()
    page.write_text("<!-- parity: start -->\n<!-- parity: end -->\n")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path / "measured")
    found = parity.compare(*folders)
    parity.write(found)
    assert "`mlp-sweep`" in page.read_text()
    assert measured.load("parity") == found


def test_the_command_prints_the_table(folders):
    assert benchmark("parity", *map(str, folders)).stdout.startswith("| trained | networks |")
    refused = benchmark("parity", str(folders[0]), status=2)
    assert "FOLDER" in refused.stderr
