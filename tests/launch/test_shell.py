"""The scripts and the Dockerfile, as the checkers of their languages see them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.stand_ins import ROOT

SCRIPTS = [*sorted((ROOT / "launch").glob("*.sh")), ROOT / ".ci" / "run"]


def checker(name: str) -> Path:
    """The executable of a package in the extra [test]."""
    found = shutil.which(name, path=Path(sys.executable).parent)
    if not found:
        pytest.skip(f"{name} is not installed: pip install -e '.[test]'")
    return Path(found)


def check(name: str, *words: str | Path) -> tuple[int, str]:
    """A checker's status, and what it says."""
    done = subprocess.run([checker(name), *words], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    assert check("shellcheck", script) == (0, "")


def test_hadolint_finds_nothing():
    assert check("hadolint", ROOT / "launch" / "Dockerfile") == (0, "")


def test_the_checkers_find_mistakes(tmp_path):
    (tmp_path / "a.sh").write_text("#!/bin/bash\nrm $1\n")
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN cd /tmp\n")
    assert "SC2086" in check("shellcheck", tmp_path / "a.sh")[1]
    assert "DL3006" in check("hadolint", tmp_path / "Dockerfile")[1]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_called(script):
    assert script.stat().st_mode & 0o111
