"""The Dockerfile, without Docker: what it copies is there, and suffices to train."""

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.commands import environment
from tests.launch.stand_ins import ROOT

DOCKERFILE = ROOT / "launch" / "Dockerfile"
FULL = DOCKERFILE.read_text()
TEXT = re.sub(r"^#.*\n", "", FULL, flags=re.M)


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", TEXT, flags=re.M)


def copied() -> list[str]:
    return [name for line in instructions("COPY") for name in line.split()[:-1]]


def ignored(path: str) -> bool:
    """Whether .dockerignore leaves out a path: the last pattern decides that it or a parent has."""
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    found = False
    for line in lines:
        pattern = line.removeprefix("!")
        parents = [path, *map(str, Path(path).parents)]
        if any(fnmatch.fnmatch(f"/{each}", pattern.replace("**", "*")) for each in parents) or any(
            fnmatch.fnmatch(each, pattern) for each in parents
        ):
            found = not line.startswith("!")
    return found


def test_copies_what_is_not_ignored():
    assert copied()
    for name in copied():
        assert (ROOT / name).exists()
        assert not ignored(name)
    assert not ignored("mnist_jax/training/step.py")


@pytest.mark.parametrize(
    "path", [".git", ".venv/bin/python", "runs/cnn/result.json", "mnist_jax/__pycache__/a.pyc"]
)
def test_ignores_what_would_make_the_image_large(path):
    assert ignored(path)


def test_signals_reach_python_and_not_a_shell():
    (entry,) = instructions("ENTRYPOINT")
    assert json.loads(entry) == ["tini", "--", "python", "-m"]


def test_the_first_process_is_installed():
    (install,) = re.findall(r"apt-get install (.*?) &&", TEXT)
    assert "tini" in install.split()


def test_the_folder_of_the_example_is_there_before_docker_makes_it_as_root():
    assert re.search(r'^#   mkdir -p runs && docker run .*"\$PWD/runs:/runs"', FULL, flags=re.M)


def test_each_extra_of_an_accelerator_is_named():
    assert {"tpu", "cuda12", "export"} == set(re.findall(r"--build-arg EXTRA=(\w+)", FULL))


@pytest.mark.slow
def test_what_it_copies_trains_as_the_jobset_says(tmp_path):
    source, site, home = (tmp_path / name for name in ("mnist_jax", "site", "home"))
    source.mkdir()
    home.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            hidden = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=hidden)
        else:
            shutil.copy(ROOT / name, source)
    (install,) = re.findall(r"pip install --no-cache-dir (\S+)", TEXT)
    what = shlex.split(install.replace("$EXTRA", "cuda"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, *what]
    subprocess.run(pip, cwd=source, check=True)

    documents = yaml.safe_load_all((ROOT / "launch" / "kubernetes.yaml").read_text())
    *_, jobset = documents
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    words = [word.replace("/runs/", f"{tmp_path}/runs/") for word in pod["containers"][0]["args"]]
    short = ["--config.num_epochs=1", "--config.data.train_split=train[:640]"]
    done = subprocess.run(
        [sys.executable, "-m", *words, *short],
        cwd=home,
        env=environment() | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "cnn" / "result.json").exists()
