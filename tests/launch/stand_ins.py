"""Executables that stand in for those of a platform, and note how they are called."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = ["--config=a b'c\"d.py", "--name=$HOME `id` \\ *", "--text=one\n  two", "", "--last=é;&"]

HEAD = """
import fcntl, json, os, sys
with open(os.environ["CALLS"], "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
"""


class StandIns:
    """A folder of executables, which come before all others of the same names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "stand-ins"
        self.folder.mkdir()
        self.log = folder / "calls.jsonl"
        self.environment = {
            **os.environ,
            "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}",
            "CALLS": str(self.log),
        }

    def write(self, name: str, code: str = "") -> Path:
        """Writes an executable that notes its call and runs `code`, which is Python."""
        path = self.folder / name
        path.write_text(f"#!{sys.executable} -S{HEAD}{textwrap.dedent(code)}")
        path.chmod(0o755)
        return path

    def calls(self, name: str | None = None) -> list[list[str]]:
        """The calls so far, each with its name first; those of one executable without it."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        calls = [json.loads(line) for line in lines]
        return calls if name is None else [call[1:] for call in calls if call[0] == name]

    def start(self, *words: str | Path, **variables: str) -> subprocess.Popen[str]:
        """Starts a program that finds the stand-ins."""
        return subprocess.Popen(
            words,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that a test can signal all of it, as Ctrl-C does
        )

    def run(
        self, *words: str | Path, status: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end; fails with its output where it ends with another status."""
        process = self.start(*words, **variables)
        out, err = process.communicate(timeout=300)
        assert process.returncode == status, f"status {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, status, out, err)
