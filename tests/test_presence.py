"""What the system does not tell is an error, never "nothing is there"."""

import errno
import os
from argparse import Namespace
from pathlib import Path

import pytest

from mnist_jax import presence, starved
from mnist_jax.commands import cli
from mnist_jax.errors import UserError
from mnist_jax.files import append
from mnist_jax.training import checkpoints, sweepdir, workdir

ERRORS = [errno.EIO, errno.ESTALE, errno.EACCES]


@pytest.fixture(params=ERRORS, ids=errno.errorcode.get)
def failing(request, monkeypatch):
    """A disk that neither tells of a file nor lists a folder."""

    def refuse(*arguments, **keywords):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(presence.os, "stat", refuse)
    monkeypatch.setattr(Path, "iterdir", refuse)


@pytest.mark.parametrize(
    "look",
    [
        presence.exists,
        presence.is_file,
        presence.is_folder,
        presence.listed,
        checkpoints.steps,
        sweepdir.populations,
        lambda folder: workdir.refuse_kind(folder, workdir.SWEEP),
        lambda folder: workdir.read_result(folder, "config", dict),
    ],
)
def test_a_disk_that_fails_is_no_empty_folder(failing, tmp_path, look):
    with pytest.raises(UserError, match=r"the system refuses to (look at|list) /.*: \w+.*Check"):
        look(tmp_path)


def test_what_is_not_there_is_not_there(tmp_path):
    (tmp_path / "file").touch()
    assert presence.is_file(tmp_path / "file")
    assert not presence.is_folder(tmp_path / "file")
    assert presence.is_folder(tmp_path)
    assert not presence.is_file(tmp_path)
    for missing in (tmp_path / "none", tmp_path / "file" / "in_it"):
        assert not presence.exists(missing)
        assert presence.listed(missing) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EIO, "Input/output error", "/a/file"), "error: /a/file cannot be read or"),
        (MemoryError(), "error: the memory does not suffice. "),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "error: the memory does not suffice. "),
        (RuntimeError("can't start new thread"), "error: the system starts no more threads. "),
    ],
)
def test_what_has_no_message_of_its_own_ends_in_one(monkeypatch, capsys, error, message):
    monkeypatch.setattr(starved, "watch", lambda: None)  # else it would watch all later tests

    def fail(arguments):
        raise error

    assert cli._guarded(fail, Namespace()) == 1
    assert capsys.readouterr().err.startswith(message)


def test_a_file_that_was_deleted_is_not_begun_anew(tmp_path):
    """It would lack the rows before."""
    with pytest.raises(UserError, match=r"cannot write .*metrics.jsonl: No such file or directory"):
        append(tmp_path / "metrics.jsonl", "{}\n")
    assert not any(tmp_path.iterdir())
