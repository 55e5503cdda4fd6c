"""Whole trainings on an accelerator, tried on a CPU: the processes and the table."""

import json

import pytest

from benchmarks import measured, readme
from benchmarks.accelerator import __main__ as command
from benchmarks.accelerator import settings
from benchmarks.accelerator.table import table
from mnist_jax.errors import UserError
from tests.commands import benchmark

pytestmark = pytest.mark.slow

SAID = {
    "date": "2030-01-02",
    "device": "1 x Abacus",
    "platform": "gpu",
    "versions": {"python": "3.13.0", "jax": "0.12", "jaxlib": "0.12", "flax": "0.13"},
    "commit": "abc",
}


def row(members: int | None, seconds: float, images: int) -> dict:
    times = {"first": 9.0, "seconds": [seconds] * 5, "ready": 3.0, "compile": 2.0}
    said = {"flags": "", "dtype": "float32", "members": members, "images": images}
    return said | times | {"accuracy": 0.99012}


@pytest.fixture
def found():
    rows = [row(None, 0.05, 50_000), row(16, 0.1, 1_600_000)]
    rows.append({"flags": "--xla_x=1", "dtype": "bfloat16", "failed": "SIGABRT: Unknown flag"})
    asked = {"config": "configs/fast.py", "overrides": [], "members": [1, 16, 64], "repeats": 5}
    command = "python -m benchmarks.accelerator"
    return {"conditions": SAID, "rows": rows, "asked": asked, "command": command}


@pytest.fixture
def page(tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    page = tmp_path / "benchmarks" / "README.md"
    page.write_text("<!-- accelerator: start -->\n<!-- accelerator: end -->\n")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path / "measured")
    return page


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_compares_populations_with_one_network(found):
    text = table(found)
    one, many, failed = (cells(line) for line in text.splitlines()[2:5])
    assert one[3:] == ["50.0 ± 0.0", "9,000.0", "2.0", "1.0", "1,000,000", "1.0", "99.01"]
    assert many[0] == "a population of 16"
    assert many[5:9] == ["2.0", "1.0", "16,000,000", "16.0"]
    assert failed[:4] == ["the process ended", "`--xla_x=1`", "bfloat16", "SIGABRT: Unknown flag"]
    assert "`python -m benchmarks.accelerator` trained configs/fast.py." in text
    assert "1 x Abacus" in text
    assert "2030-01-02" in text


def test_without_an_accelerator_the_table_says_so_and_takes_no_numbers_place(found, page):
    nothing = found | {"rows": [], "conditions": SAID | {"platform": "cpu", "device": "CPU"}}
    command.write(nothing)
    assert "No accelerator was available, so none was measured" in page.read_text()
    command.write(found)
    assert "16,000,000" in page.read_text()
    with pytest.raises(UserError, match="there is no accelerator"):
        command.write(nothing)
    for part in ({"asked": found["asked"] | {"repeats": 2}}, {"rows": found["rows"][1:]}):
        with pytest.raises(UserError, match="full runs"):
            command.write(found | part)
    assert "16,000,000" in page.read_text()


def test_a_flag_that_xla_does_not_know_ends_a_row_and_not_the_run(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    rows, failed = settings.ask("described()", "--xla_no_such_flag=1")
    assert rows == []
    assert "--xla_no_such_flag" in failed


def test_each_setting_has_a_process_of_its_own(monkeypatch):
    def ask(expression: str, flags: str) -> tuple[list[dict], str]:
        return ([], "SIGABRT: no such flag") if flags else ([{"members": None}], "")

    monkeypatch.setattr(settings, "ask", ask)
    found = settings.measure_all({}, "gpu", quick=False)
    said = [(row["flags"], row["dtype"], row.get("failed")) for row in found]
    assert said == [
        ("", "float32", None),
        ("", "bfloat16", None),
        (settings.COMMAND_BUFFERS, "float32", "SIGABRT: no such flag"),
        (settings.COMMAND_BUFFERS, "bfloat16", "SIGABRT: no such flag"),
    ]
    assert len(settings.measure_all({}, "tpu", quick=False)) == 2


def test_the_command_trains_one_network_and_many_on_a_cpu_that_is_asked_for(tmp_path):
    file = tmp_path / "found.json"
    fields = {"num_epochs": "2", "data.train_split": "train[:512]", "data.val_split": ""}
    options = [f"--config.{name}={value}" for name, value in fields.items()]
    asked = [
        "--config=configs/mlp_tiny.py",
        "--on_cpu",
        "--quick",
        "--members",
        "2",
        f"--json={file}",
    ]
    done = benchmark("accelerator", *asked, *options)
    found = json.loads(file.read_text())
    said = [(row["dtype"], row["members"], row["images"]) for row in found["rows"]]
    assert said == [("float32", None, 2 * 512), ("float32", 2, 2 * 2 * 512)]
    for row in found["rows"]:
        assert len(row["seconds"]) == 2
        assert 0.05 < row["accuracy"] < 0.9
    assert benchmark("accelerator", f"--from={file}").stdout == done.stdout
    refused = benchmark("accelerator", f"--from={file}", "--write", status=1)
    assert refused.stderr.startswith("error: --write")


def test_a_cpu_that_is_not_asked_for_is_not_measured():
    done = benchmark("accelerator", "--config=none.py")
    assert done.stdout.startswith("No accelerator was available, so none was measured: JAX found")
    assert (
        "there is no configuration file"
        in benchmark("accelerator", "--on_cpu", "--config=no.py", status=1).stderr
    )
