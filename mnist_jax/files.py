"""Writes files whole or not at all, and reads JSON files.

Whatever keeps the system from writing or reading a file becomes a `UserError`.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mnist_jax.errors import UserError

RESTORE = "Restore it, or use another folder"
LONGEST = 100  # bytes of a text in the name of a file
TRIES = 10  # to make a temporary file
BUCKETS = ("abfs", "abfss", "az", "gcs", "gs", "s3", "s3a")
STORAGE = (
    "mount the bucket (gs:// with Cloud Storage FUSE), or use an NFS share, such as Filestore, or "
    "a persistent volume"
)
ADVICE = "Correct this (a full disk? permissions?), then run the same command again"


class DamagedFileError(UserError):
    """The content of a file is not what this project writes; `cause` says so without advice."""

    def __init__(self, cause: str, advice: str) -> None:
        super().__init__(f"{cause}. It was edited, or not written completely. {advice}")
        self.cause = cause


@contextlib.contextmanager
def writing(path: Path, advice: str = ADVICE) -> Iterator[None]:
    """Context manager that turns what the system raises into a UserError which names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {reason(error)}. {advice}") from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Context manager that turns what the system raises into a UserError which names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Returns the system's own words for an error or its cause, without numbers and paths."""
    cause: BaseException | None = error
    while cause is not None:
        if words := getattr(cause, "strerror", None):
            return words
        cause = cause.__cause__
    return str(error) or type(error).__name__


def make_folder(path: Path) -> None:
    """Creates a folder and its parents, unless they exist.

    Raises:
      UserError: the folder cannot be created.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def file_name(text: str) -> str:
    """Converts a text, such as the name of a split, to part of a file name; keeps texts apart."""
    safe = re.sub(r"[/\0-\x1f\x7f]", "-", text)
    if safe == text and not text.startswith(".") and len(text.encode()) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    short = safe.lstrip(".").encode()[:LONGEST].decode(errors="ignore")
    return f"{short}-{digest}"


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file atomically: a reader sees the whole new content or what was there before.

    Removes what processes that were killed meanwhile have left in the folder.

    Args:
      path: the file.
      content: what it will hold.
      durable: False for what can be written again; a loss of power may then leave an empty file,
        but nothing waits for the disk.

    Raises:
      UserError: the file cannot be written.
    """
    temporary = path.with_name(f".mnist_jax-{os.getpid()}-{threading.get_ident()}.tmp")
    with writing(path):
        _remove_left_over(path.parent)
        try:
            with _open_locked(temporary) as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                os.close(os.dup(file.fileno()))  # NFS and FUSE write, and report errors, at a close
                os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _open_locked(path: Path) -> IO[bytes]:
    """Opens a new file to write; its lock, where there are locks, says that its writer lives."""
    for _ in range(TRIES):
        file = path.open("wb")
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(file, path):
            return file
        file.close()  # removed as a leftover before it was locked
    raise OSError("the file that was just made is not there")


def _remove_left_over(folder: Path) -> None:
    """Removes temporary files of `write_bytes` whose writers were killed."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        found += folder.glob(".mnist_jax-*.tmp")
    for path in found:
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails as long as its writer lives
            if _is_at(file, path):  # else its writer has renamed it, and writes another one
                path.unlink()


def _is_at(file: IO[bytes], path: Path) -> bool:
    """True if an open file is the one that is found at a path by now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Writes a text file atomically, as `write_bytes` does.

    Bytes of a file's name that are not UTF-8 are written as escapes such as `\\udcff`.
    """
    write_bytes(path, text.encode(errors="backslashreplace"), durable=durable)


def write_json(path: Path, value: Any) -> None:
    """Writes a value to a JSON file, atomically as in `write_bytes`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def append(path: Path, text: str) -> None:
    """Appends whole lines to a text file in one write.

    Raises:
      UserError: the file cannot be written, or is no longer there: a new one would lack its lines.
    """

    def existing(name: str, flags: int) -> int:
        return os.open(name, flags & ~os.O_CREAT)

    with writing(path), open(path, "ab", buffering=0, opener=existing) as file:
        content = text.encode()
        if content and file.write(content) != len(content):
            raise OSError("only a part could be written; the disk may be full")


def make_durable(path: Path) -> None:
    """Waits until a file is on the disk, so that a loss of power does not take it away.

    Raises:
      UserError: the file cannot be written.
    """
    with writing(path), path.open("rb") as file:
        os.fsync(file.fileno())


def read_json(path: Path, kind: type | None = None, *, advice: str = RESTORE) -> Any:
    """Reads a JSON file and returns its value.

    Args:
      path: the file.
      kind: `dict` or `list`: what the value must be; None: anything.
      advice: what to do if the file is damaged.

    Raises:
      DamagedFileError: the file is not JSON, or its value is of another kind.
      UserError: the file is missing, or the system refuses to read it.
    """
    try:
        content = path.read_bytes()
        value = json.loads(content)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error) if content else "it is empty", advice) from error
    if kind is not None and not isinstance(value, kind):
        raise damaged(path, f"expected a {kind.__name__}, found {str(value)[:40]!r}", advice)
    return value


def damaged(path: Path, why: str, advice: str = RESTORE) -> DamagedFileError:
    """Returns the error for a file whose content is not what this project writes."""
    return DamagedFileError(f"{path} cannot be read: {why}", advice)


def read_rows(path: Path) -> list[Any]:
    """Reads a JSON Lines file and returns one value per line.

    An unfinished last line is left out: another process is writing it, or was killed meanwhile.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        *lines, last = path.read_bytes().split(b"\n")
        rows = [json.loads(line) for line in lines]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    with contextlib.suppress(ValueError, RecursionError):
        rows.append(json.loads(last))
    return rows


def _refuse_nowhere() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(
            "the current folder was removed, or may not be read; change to another one, such as: cd"
        ) from error


def refuse_unknown_characters(path: Path) -> None:
    """Raises UserError if the whole path of a folder is not UTF-8, which orbax needs.

    A file system takes any bytes, so an archive of another encoding may have such names.
    """
    whole = os.path.realpath(path)  # takes links that lead nowhere, unlike `Path.resolve`
    try:
        whole.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{os.fsencode(whole)!r} is no folder for checkpoints: its path is not UTF-8; "
            f"rename it, or give another --workdir="
        ) from error


def local_path(given: Any, where: str) -> Path:
    """Returns the path on this machine that a user has given, with `~` expanded; it has a name.

    Args:
      given: a text or a path.
      where: what was given, for messages, such as `--workdir`.

    Raises:
      UserError: it is empty, a URL, not a path, or the system does not accept it.
    """
    try:
        text = os.fsdecode(given)
        if not text.strip():
            raise UserError(f"{where}: is empty; give the path of a file or a folder")
        if found := re.match(r"(\w[\w+.-]+):/", text):  # `Path` makes gs:/ of gs://
            advice = STORAGE if found[1].lower() in BUCKETS else "copy it to this machine"
            raise UserError(f"{where}: {text!r} is a URL; {advice}, and give the local path")
        path = Path(text).expanduser()
        if not path.is_absolute():
            _refuse_nowhere()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
        if path.name in ("", ".."):  # such as `.`, of which there is no neighbour
            path = path.resolve()
    except OSError as error:
        raise UserError(f"{where}: {text[:100]!r} is no usable path: {reason(error)}") from error
    except UserError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # no path, a null byte, no such user
        raise UserError(f"{where}: {given!r} is no usable path: {error}") from error
    return path
