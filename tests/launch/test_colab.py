"""The notebook on Colab: what its set-up chooses, and a rehearsal with what Colab installs."""

import glob
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import nbformat
import pytest

from launch import execute
from mnist_jax.files import read_json
from tests.commands import BASE
from tests.launch.stand_ins import ROOT
from tests.test_notebook import SMALL, code, parameters, printed

LISTS = Path(__file__).parent / "colab"  # what Colab installs beforehand, by kind of runtime
JAX = {"absl-py", "flax", "jax", "jaxlib", "libtpu", "jax-cuda12-plugin", "jax-cuda12-pjrt"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCE = f"git+file://{ROOT}"


def set_up() -> list[str]:
    """The cells that install the project, the last of which does so."""
    sources = [cell.source for cell in code(execute.read())]
    last = next(n for n, source in enumerate(sources) if "install(find_source())" in source)
    return sources[: last + 1]


class Machine:
    """A machine of some accelerator, some packages and a pip that does as it is told."""

    def __init__(self, driver="", devices=(), packages=()) -> None:
        self.driver = driver
        self.devices = devices
        self.packages = {"numpy": "2.1.3", "torch": "2.11.0+cpu"} | dict(packages)
        self.replaced: dict[str, str] = {}  # by pip
        self.failures = 0  # of pip, before it succeeds
        self.installed: list[list[str]] = []
        self.constraints: list[set[str]] = []

    def run(self, command, **_):
        if command[0] == "nvidia-smi":
            if not self.driver:
                raise FileNotFoundError("nvidia-smi")
            return types.SimpleNamespace(stdout=f"{self.driver}\n")
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        words = command[5:]
        if "-c" in words:
            self.constraints.append(set(Path(words[-1]).read_text().splitlines()))
            words = words[:-2]
        self.installed.append(words)
        if len(self.installed) <= self.failures:
            return types.SimpleNamespace(returncode=1, stderr="ERROR: no")
        self.packages |= self.replaced
        return types.SimpleNamespace(returncode=0, stderr="")

    def version(self, package):
        if package not in self.packages:
            raise importlib.metadata.PackageNotFoundError(package)
        return self.packages[package]

    def distributions(self):
        pairs = [*self.packages.items(), (None, "1.0")]  # a folder that pip left behind has no name
        return [types.SimpleNamespace(name=name, version=version) for name, version in pairs]


@pytest.fixture
def begin(monkeypatch, tmp_path):
    """A function that runs the set-up on a machine; what it has installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(machine: Machine, source: str = "git+https://example.org/mnist_jax") -> list[list[str]]:
        names = {name.replace("-", "_"): [name] for name in machine.packages}
        with monkeypatch.context() as patch:
            metadata = importlib.metadata
            patch.setattr(metadata, "version", machine.version)
            patch.setattr(metadata, "distributions", machine.distributions)
            patch.setattr(metadata, "packages_distributions", lambda: names)
            patch.setattr(subprocess, "run", machine.run)
            patch.setattr(
                glob, "glob", lambda pattern: [d for d in machine.devices if d in pattern]
            )
            session: dict = {}
            first, *others = set_up()
            exec(first, session)
            session["SOURCE"] = source
            for cell in others:
                exec(cell, session)
        return machine.installed

    return run


TPU = {"libtpu": "0.0.21.1", "jax": "0.7.2"}
GPU = {"jax-cuda12-plugin": "0.7.2", "jax": "0.7.2"}


@pytest.mark.parametrize(
    ("machine", "extra"),
    [
        (Machine(), ""),
        (Machine(packages={"jax": "0.7.2"}), ""),
        (Machine(devices=["/dev/accel"]), "[tpu]"),
        (Machine(devices=["/dev/vfio/"]), "[tpu]"),
        (Machine(devices=["/dev/vfio/"], packages=TPU), "[tpu]"),
        (Machine(packages=TPU), "[tpu]"),  # a TPU that shows in neither folder
        (Machine(driver="580.65.06"), "[cuda]"),
        (Machine(driver="550.54.15"), "[cuda12]"),
        (Machine(driver="550.54.15\n550.54.15"), "[cuda12]"),  # two GPUs
        (Machine(driver="580.65.06", packages=GPU), "[cuda12]"),  # two plugins would collide
        (Machine(driver="580.65.06", devices=["/dev/vfio/"]), "[cuda]"),  # of a virtual machine
        (Machine(driver="NVIDIA-SMI has failed"), ""),
    ],
)
def test_installs_the_jax_that_fits(begin, machine, extra):
    source = "git+https://example.org/mnist_jax"
    assert begin(machine) == [[f"mnist_jax{extra} @ {source}"]]


def test_does_nothing_if_it_is_installed(begin, capsys):
    assert begin(Machine(packages={"mnist_jax": "0.1.0"})) == []
    assert capsys.readouterr().out == "mnist_jax is installed.\n"


def test_installs_the_checkout_that_holds_it_or_a_folder(begin, tmp_path, monkeypatch):
    project = tmp_path / "the project"
    (project / "launch").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", project)
    assert begin(Machine(), "the project") == [["-e", str(project)]]
    assert sys.path[0] == str(project)
    monkeypatch.chdir(project / "launch")
    assert begin(Machine(packages=TPU), "") == [["-e", f"{project}[tpu]"]]


def test_says_where_to_write_the_address(begin):
    with pytest.raises(FileNotFoundError, match=r"Set SOURCE above to its folder"):
        begin(Machine(), "")


def test_keeps_all_packages_but_those_of_jax(begin):
    machine = Machine(packages=TPU | {"flax": "0.11.2", "absl-py": "1.4.0"})
    begin(machine)
    assert machine.constraints == [{"numpy==2.1.3", "torch==2.11.0+cpu"}]


def test_replaces_packages_where_it_must(begin):
    """And asks for a restart only if the session has imported one of them."""
    machine = Machine(packages={"unknown": "1"})
    machine.failures, machine.replaced = 1, {"unknown": "2"}
    assert len(begin(machine)) == 2


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_asks_for_a_restart_where_the_session_has_an_old_package(begin, name):
    machine = Machine(packages={"jax": "0.7.2"})
    machine.replaced = {name: "9.9"}
    assert name in sys.modules
    with pytest.raises(RuntimeError, match=f"Restart the session .* the old {name}"):
        begin(machine)


def test_says_what_pip_says(begin):
    machine = Machine()
    machine.failures = 2
    with pytest.raises(RuntimeError, match=r"is there a network.*\nERROR: no"):
        begin(machine)


# With pip itself


def pins(kind: str) -> dict[str, str]:
    """Name and version of each package of a list."""
    lines = (LISTS / f"{kind}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def colabs_python() -> str:
    """Python 3.13, as Colab has it."""
    found = sys.executable if sys.version_info[:2] == (3, 13) else shutil.which("python3.13")
    if not found:
        pytest.skip("Colab's Python is 3.13, which is not here")
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "extra"), [("cpu", None), ("gpu", "cuda12"), ("tpu", "tpu")])
def test_only_jax_is_replaced_on_colab(tmp_path, kind, extra):
    """JAX and its plugin are of one release, because the extra asks for that."""
    there = pins(kind)
    constraints = tmp_path / "constraints.txt"
    kept = [f"{name}=={there[name]}\n" for name in there if normal(name) not in JAX]
    constraints.write_text("".join(kept))
    wanted = [*PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] if extra else ())]
    options = ["-q", "--dry-run", "--ignore-installed", "--report=-", "-c", constraints]
    done = subprocess.run(
        [colabs_python(), "-m", "pip", "install", *options, *wanted], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    report = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    found = {normal(each["name"]): each["version"] for each in report}
    before = {normal(name): version for name, version in there.items()}
    assert {"absl-py", "flax", "jax", "jaxlib"} <= {
        name for name, version in before.items() if found.get(name, version) != version
    }
    assert all(
        found[name] == version for name, version in before.items() if name in set(found) - JAX
    )


class Rehearsal:
    """An environment with what Colab's CPU runtime has of this project's packages."""

    def __init__(self, folder: Path) -> None:
        variables = {name: value for name, value in BASE.items() if name != "PYTHONPATH"}
        self.environment = variables | {"JAX_PLATFORMS": "cpu"}
        self.folder = folder / "elsewhere"
        self.folder.mkdir()
        self.programs = folder / "environment" / "bin"
        self.python = str(self.programs / "python")
        self.run(colabs_python(), "-m", "venv", self.programs.parent)
        there = [f"{name}=={version}" for name, version in pins("cpu").items()]
        self.run(self.python, "-m", "pip", "install", "-q", *there)
        self.before = self.versions()

    def run(self, *words: str | Path) -> str:
        """What a program prints, run outside of any checkout."""
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def versions(self) -> dict[str, str]:
        listed = json.loads(self.run(self.python, "-m", "pip", "list", "--format=json"))
        return {each["name"]: each["version"] for each in listed}

    def play(self) -> str:
        """What the notebook prints whose `SOURCE` is an address; few images, few epochs.

        NumPy and pandas are imported before the first cell.
        """
        notebook = execute.read()
        parameters(notebook).source = SMALL
        first = code(notebook)[0]
        assert 'SOURCE = ""' in first.source
        first.source = first.source.replace('SOURCE = ""', f'SOURCE = "{SOURCE}"')
        notebook.cells.insert(0, nbformat.v4.new_code_cell("import numpy, pandas"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", self.python)
            execute.execute(notebook, self.folder, self.environment)
        return "".join(printed(cell) for cell in code(notebook))


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """The environment after the notebook, and what that has printed."""
    made = Rehearsal(tmp_path_factory.mktemp("colab"))
    return made, made.play()


@pytest.mark.slow
def test_the_notebook_runs_with_the_packages_of_colab(rehearsal):
    """Although Colab's JAX is too old; without a restart."""
    made, said = rehearsal
    assert read_json(made.folder / "small" / "cnn" / "result.json")["epochs"] == 2
    assert read_json(made.folder / "small" / "sweep" / "result.json")["members"] == 8
    assert f"Installing mnist_jax @ {SOURCE}" in said
    after = made.versions()
    assert f"JAX {after['jax']} computes on" in said
    changed = {name for name, version in made.before.items() if after[name] != version}
    assert changed == {"absl-py", "flax", "jax", "jaxlib"}


@pytest.mark.slow
def test_an_installation_from_an_address_has_all_that_a_training_needs(rehearsal):
    made, _ = rehearsal
    short = ("--config.num_epochs=1", "--config.data.train_split=train[:640]")
    made.run(made.programs / "mnist-train", "--config=configs/mlp.py", *short)
    assert read_json(made.folder / "runs" / "mlp" / "result.json")["epochs"] == 1
