"""Files that are written whole or not at all."""

import errno
import fcntl
import multiprocessing
import os
import signal

import pytest

from mnist_jax import files
from mnist_jax.errors import UserError


def _killed_before_the_rename(path):
    os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
    files.write_text(path, "lost")


def kill_a_writer(path):
    """In a process of its own, which leaves its temporary file behind."""
    process = multiprocessing.get_context("spawn").Process(
        target=_killed_before_the_rename, args=(path,)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path):
    kill_a_writer(tmp_path / "a.json")
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    files.write_text(tmp_path / "b.json", "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_the_temporary_file_of_a_writer_that_lives_is_left_alone(tmp_path):
    other = tmp_path / ".mnist_jax-1-1.tmp"
    with other.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        files.write_text(tmp_path / "a.json", "kept")
        assert other.exists()
    files.write_text(tmp_path / "a.json", "kept")
    assert not other.exists()


def test_the_next_file_of_a_writer_is_not_taken_for_the_one_before(tmp_path, monkeypatch):
    """Which was opened here, and then renamed by its writer, who began another of its name."""
    next_one = tmp_path / ".mnist_jax-1-1.tmp"
    next_one.write_text("first")
    lock = fcntl.flock

    def late(file, how):
        if how & fcntl.LOCK_NB:
            next_one.rename(tmp_path / "first.json")
            next_one.write_text("second")
        lock(file, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    files._remove_left_over(tmp_path)
    assert next_one.read_text() == "second"


def test_what_cannot_be_flushed_does_not_replace_what_is_there(tmp_path, monkeypatch):
    """Some file systems write, and report that the disk is full, when a file is closed."""
    path = tmp_path / "a.json"
    files.write_text(path, "kept")

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", full)
        with pytest.raises(UserError, match="No space left"):
            files.write_text(path, "lost", durable=False)
    assert path.read_text() == "kept"


def test_a_writer_whose_file_was_removed_before_it_locked_it_opens_another(tmp_path, monkeypatch):
    """As by a writer that took it for a leftover in that moment."""
    lock, removed = fcntl.flock, []

    def late(file, how):
        if how == fcntl.LOCK_EX and not removed:
            removed.append(file.name)
            os.unlink(file.name)
        lock(file, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    files.write_text(tmp_path / "a.json", "kept")
    assert removed
    assert (tmp_path / "a.json").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_files_of_the_users_are_left_alone(tmp_path):
    (tmp_path / ".mine.tmp").write_text("mine")
    files.write_text(tmp_path / "a.json", "kept")
    assert (tmp_path / ".mine.tmp").exists()
