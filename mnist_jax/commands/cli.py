"""Parses arguments, reports errors and sets the exit status, for all commands."""

import atexit
import contextlib
import errno
import faulthandler
import functools
import gc
import os
import sys
import traceback
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from logging import ERROR
from typing import Any

from absl import app, flags, logging
from absl.flags import argparse_flags

from mnist_jax import imports, processes, settings, starved, streams
from mnist_jax.errors import LostError, StoppedError, UserError
from mnist_jax.files import ADVICE, local_path, reason
from mnist_jax.training.stop import EXIT_STATUS

Parser = argparse_flags.ArgumentParser
STANDARD_ERROR = 2  # which `streams.make_lasting` opens if it was closed
PATHS = ("workdir", "compare")  # arguments that hold paths
INTERRUPTED = 130  # exit status by convention: 128, and the number of SIGINT
# Numbers of errors that come from files and disks.
OF_FILES = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
    errno.ESTALE,
)
# Allocations per garbage collection. The imports alone make 400,000; with this, and with no last
# collection, a short run takes 0.6 s less processor time of 3.6.
OBJECTS = 100_000


def run(
    main: Callable[[Namespace], int | None], doc: str | None, define: Callable[[Parser], None]
) -> None:
    """Parses the command line, runs `main` and exits with its status.

    Turns a `UserError`, what the system refuses and the lack of memory or threads into a message on
    standard error and exit status 1, a `StoppedError` into a message and exit status 75, and an
    interrupt into exit status 130. A thread that never starts ends the command, too. JAX has this
    project's settings, and a stream that is closed or breaks does not end the command.

    Args:
      main: the command; takes the parsed arguments and returns the exit status (None means 0).
      doc: the command's docstring, shown by `--help`.
      define: adds the command's own arguments to the parser.
    """

    def parse(argv: list[str]) -> Namespace:
        parser = argparse_flags.ArgumentParser(
            prog=f"python -m {_module_name()}",
            description=doc,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
            inherited_absl_flags=None,
        )
        define(parser)
        arguments, rest = parser.parse_known_intermixed_args(argv[1:])
        flags.FLAGS.mark_as_parsed()  # absl's own flags keep their defaults
        if rest and "config" not in arguments:
            parser.error(f"unknown argument {rest[0]!r}")
        arguments.overrides = [_override(text, parser) for text in rest]
        return arguments

    streams.make_lasting()
    os.environ["MPLBACKEND"] = "agg"  # a notebook's may be inherited; here there are only files
    app.run(functools.partial(_ended, main), flags_parser=parse)


def _guarded(main: Callable[[Namespace], int | None], arguments: Namespace) -> int | None:
    """Runs a command; returns its exit status, and shows an error that the user can correct."""
    gc.set_threshold(OBJECTS)
    atexit.register(gc.freeze)  # else a last collection delays the exit by half a second
    logging.set_verbosity(logging.WARNING)
    # JAX's warnings are shown: they say when it falls back to the CPU. Those of orbax, tfds and
    # Flax, which log by the name of absl, are not.
    logging.get_absl_logger().addFilter(lambda record: record.levelno >= ERROR)
    try:
        starved.watch()
        _read_paths(arguments)
        with settings.own(), _together(arguments):
            return main(arguments)
    except StoppedError as stopped:
        if processes.is_first():
            print(stopped, flush=True)
        return EXIT_STATUS
    except LostError as lost:
        print(lost, flush=True)
        return EXIT_STATUS
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        sys.stderr.write(f"error: {message}\n")  # at once: other processes may write there, too
        return 1


def _message(error: Exception) -> str | None:
    """Returns the message for an error that the user can correct; None for any other."""
    if isinstance(error, UserError):
        return str(error)
    if lack := starved.shortage(error):
        return starved.explained(lack)
    if isinstance(error, OSError) and (error.filename is not None or error.errno in OF_FILES):
        return _refusal(error)
    return None  # without a file, the place in the code matters


def _refusal(error: OSError) -> str:
    """Returns what the system has refused and why, for a place that has no message of its own."""
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a file"
    return f"{where} cannot be read or written: {reason(error)}. {ADVICE}"


def _ended(main: Callable[[Namespace], int | None], arguments: Namespace) -> int | None:
    """Runs a command; of several processes, ends one that could not go on with the others."""
    # absl has enabled it for all threads, which run on while JAX aborts a process whose first one
    # is gone: to read their stacks then may crash, which would hide the reason.
    faulthandler.enable(STANDARD_ERROR, all_threads=False)
    try:
        status = _guarded(main, arguments)
    except Exception:
        if processes.count() == 1:
            raise
        traceback.print_exc()  # here, since `leave` ends the process
        status = 1
    processes.leave(status or 0)
    return status


def experiment() -> Any:
    """Imports and returns the module that trains and evaluates; the import takes a second."""
    with imports.without("IPython"):  # Flax imports it to detect a notebook, in 0.2 s and more
        from mnist_jax import experiment
    return experiment


def add_member(parser: Parser) -> None:
    """Adds the arguments that select one network of a sweep."""
    parser.add_argument(
        "--member", default="", metavar="ARCHITECTURE|best", help="network of a sweep"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="seed of that network; may be omitted if the architecture has only one",
    )


def add_checkpoint(parser: Parser) -> None:
    """Adds the argument that selects a checkpoint."""
    parser.add_argument(
        "--checkpoint",
        default="latest",
        metavar="latest|best|STEP",
        help="default: latest; if that is damaged, the newest undamaged one",
    )


def add_accept_code(parser: Parser) -> None:
    """Adds the argument that lets a training go on after a change of the user's own code."""
    parser.add_argument(
        "--accept_code",
        action="store_true",
        help="go on although your own code has changed since the training began",
    )


def add_processes(parser: Parser, *, one_backend: bool) -> None:
    """Adds the arguments that connect the processes of one run; see `processes.joined`."""
    parser.set_defaults(one_backend=one_backend)
    parser.add_argument(
        "--processes", type=int, metavar="N", help="run the same command N times, on any hosts"
    )
    parser.add_argument(
        "--process", type=int, metavar="I", help="which of them this one is, from 0 to N - 1"
    )
    parser.add_argument(
        "--coordinator", metavar="HOST:PORT", help="of process 0, on a port that is free there"
    )


def _together(arguments: Namespace) -> contextlib.AbstractContextManager[None]:
    """Returns the context in which the processes of a run are connected."""
    if "one_backend" not in arguments:
        return contextlib.nullcontext()
    return processes.joined(
        arguments.coordinator,
        arguments.processes,
        arguments.process,
        one_backend=arguments.one_backend,
    )


def _read_paths(arguments: Namespace) -> None:
    """Replaces the text of arguments by paths; here, since argparse would hide what is wrong."""
    for name in PATHS:
        value = getattr(arguments, name, None)
        if isinstance(value, list):
            setattr(arguments, name, [local_path(text, f"--{name}") for text in value])
        elif value is not None:
            setattr(arguments, name, local_path(value, f"--{name}"))


def _override(text: str, parser: Parser) -> tuple[str, str]:
    name, equals, value = text.removeprefix("--config.").partition("=")
    if not text.startswith("--config.") or not equals:
        parser.error(f"unknown argument {text!r}; set a field with --config.field=value")
    return name, value


def _module_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec else sys.argv[0]
