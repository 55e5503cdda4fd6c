"""The commands of README, run in their order in one folder; long ones are shortened."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from mnist_jax import data
from tests.commands import ROOT, run

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
LINES = [line.split("  #")[0] for block in BLOCKS for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("python -m mnist_jax.")]
ELSEWHERE = {"python -m mnist_jax.main --config=residual.py"}  # test_readme.py runs it
TABLE = re.findall(r"^\| `(python -m mnist_jax\.\w+ .*?)` \|", README, flags=re.M)
FILLED = {"FILE": "configs/mlp.py", "DIR": "runs/mlp", "PICTURE...": "digit.jpg", "FORMAT": "html"}
SHORT = ("num_epochs=1", "data.train_split=train[:1280]", "data.val_split=train[1280:1480]")
OVERRIDES = [f"--config.{text}" for text in SHORT]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What README takes for granted: configurations, pictures, and the runs `cnn` and `mlp`."""
    found = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "configs", found / "configs")
    with (found / "configs/sweeps/looped.py").open("a") as file:
        file.write("\nARCHITECTURES = dict([*ARCHITECTURES.items()][:2])\n")
    digit = 255 - data.load("mnist", "test").images[0, ..., 0]
    for name in ("digit.jpg", "scans/a.png", "scans/b.png", "more/c.png"):
        (found / name).parent.mkdir(exist_ok=True)
        Image.fromarray(digit).resize((112, 112)).save(found / name)
    for name in ("cnn", "mlp"):
        run("main", f"--config=configs/{name}.py", *OVERRIDES, cwd=found)
    return found


def shortened(command: str) -> tuple[str, list[str]]:
    """The name and the arguments of a command that takes seconds and opens no browser."""
    _, _, name, *arguments = shlex.split(command)
    name = name.removeprefix("mnist_jax.")
    if name in ("main", "sweep") and "--compare" not in arguments:
        arguments += OVERRIDES
    if name == "demo" and "--no_open" not in arguments:
        arguments.append("--no_open")
    return name, arguments


@pytest.mark.slow
def test_the_commands_of_readme_run(folder):
    for command in COMMANDS:
        if command not in ELSEWHERE:
            name, arguments = shortened(command)
            run(name, *arguments, cwd=folder)
    for path in (
        "runs/mlp-wider/report.html",
        "runs/looped-sweep/report.html",
        "runs/cnn/demo.html",
    ):
        assert (folder / path).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("command", TABLE)
def test_the_commands_of_the_table_run(folder, command):
    for word, text in FILLED.items():
        command = command.replace(word, text)
    name, arguments = shortened(command)
    run(name, *arguments, cwd=folder)


def test_every_command_has_a_row_and_a_script():
    named = {re.search(r"mnist_jax\.(\w+)", row)[1] for row in TABLE}
    assert named == {path.stem for path in (ROOT / "mnist_jax/commands").glob("[a-z]*.py")} - {
        "cli"
    }
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    names = {name: "train" if name == "main" else name for name in named}
    assert scripts == {
        f"mnist-{names[name]}": f"mnist_jax.commands.{name}:command" for name in named
    }


@pytest.mark.parametrize("name", ["train", "predict"])
def test_the_scripts_are_installed(name):
    script = Path(sys.executable).with_name(f"mnist-{name}")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "usage: " in done.stdout
