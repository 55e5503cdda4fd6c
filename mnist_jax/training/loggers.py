"""Calls the user's own loggers, which the configuration names, with the row of each epoch.

A logger is a function `(row) -> None`, or a class whose instances are called with a row. The row is
a dict, as in `metrics.jsonl`; in a sweep also with `architecture` and `seed`, as in `sweep.jsonl`:

    def print_loss(row, *, digits=4):
        print(f"{row['epoch']}: {row['val_loss']:.{digits}f}")

    config.loggers = ("mine:print_loss",)
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_jax import binding, failures, metrics
from mnist_jax.binding import Choice
from mnist_jax.config import Config
from mnist_jax.errors import UserError, print_warning
from mnist_jax.members import Planned
from mnist_jax.training.logs import Name, Row
from mnist_jax.training.workdir import plain

FIELD = "config.loggers"
GIVEN = ("config", "workdir")  # passed to a class whose constructor has these parameters


class Logger:
    """One logger. An instance of a class is created when its first row comes.

    The first error in the user's code is warned of, and then no row is passed any more.
    """

    def __init__(self, choice: Choice, where: str, given: Mapping[str, Any]) -> None:
        """Finds the logger's code and checks its keywords.

        Args:
          choice: the logger's name and keywords.
          where: path of the field that holds `choice`, for messages.
          given: values for constructors that take them, by the names in `GIVEN`.

        Raises:
          UserError: there is no such function or class, or it does not take these keywords.
        """
        self._name = choice.name
        self._make = _maker(choice, where, given)
        self._call: Callable[[Row], Any] | None = None
        self._failed = False

    def log(self, row: Row) -> None:
        """Passes a copy of a row to the logger, unless it has failed before."""

        def call() -> None:
            if self._call is None:
                self._call = self._make()
            self._call(dict(row))

        if not self._failed:
            self._guarded(call)

    def close(self) -> None:
        """Calls the instance's `close()`, if it has one."""
        self._guarded(getattr(self._call, "close", lambda: None))

    def _guarded(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except (Exception, SystemExit) as error:  # whatever the user's code raises
            if self._failed:
                return
            self._failed = True
            print_warning(
                f"{FIELD}: {self._name} fails and is not called again: {failures.describe(error)}",
            )


class Loggers:
    """All loggers of a run or a sweep. A context manager, which closes them in the end."""

    def __init__(
        self,
        choices: Mapping[Name | None, Sequence[Choice]],
        configs: dict[str, Any],
        workdir: Path,
    ) -> None:
        """Finds the loggers and checks their keywords.

        Args:
          choices: the loggers of each network of a sweep; those of a run have the key None.
          configs: the argument `config` of constructors.
          workdir: the folder of the run or the sweep.

        Raises:
          UserError: there is no such logger, or it does not take its keywords.
        """
        given = {"config": configs, "workdir": workdir}
        self._loggers: dict[str, Logger] = {}
        self._of: dict[Name | None, list[Logger]] = {}
        self._missing: set[str] = set()  # columns of metrics that were warned of
        for name, its in choices.items():
            for i, choice in enumerate(its):
                if repr(choice) not in self._loggers:
                    self._loggers[repr(choice)] = Logger(choice, f"{FIELD}[{i}]", given)
            self._of[name] = [self._loggers[said] for said in dict.fromkeys(map(repr, its))]

    def __call__(self, row: Row) -> None:
        """Passes a row to the loggers of its network; warns once of a metric without a value."""
        for warning in metrics.without_value(row, self._missing):
            print_warning(warning)
        name = (row["architecture"], row["seed"]) if "architecture" in row else None
        for logger in self._of[name]:
            logger.log(row)

    def __enter__(self) -> "Loggers":
        return self

    def __exit__(self, *exception: object) -> None:
        for logger in self._loggers.values():
            logger.close()


def of_run(config: Config, workdir: Path) -> Loggers:
    """Returns the loggers of a run.

    Raises:
      UserError: there is no such logger, or it does not take its keywords.
    """
    return Loggers({None: config.loggers}, plain(config.to_dict()), workdir)


def of_sweep(plan: Sequence[Planned], workdir: Path) -> Loggers:
    """Returns the loggers of a sweep, one instance of each for all members that name it.

    Their `config` holds the members' configurations by architecture.

    Raises:
      UserError: there is no such logger, or it does not take its keywords.
    """
    choices: dict[Name | None, Sequence[Choice]] = {
        (member.architecture, member.config.seed): member.config.loggers for member in plan
    }
    configs = {member.architecture: plain(member.config.to_dict()) for member in plan}
    return Loggers(choices, configs, workdir)


def _maker(
    choice: Choice, where: str, given: Mapping[str, Any]
) -> Callable[[], Callable[[Row], Any]]:
    """Returns a function that creates the logger."""
    target = binding.find(choice.name, {}, where)
    if not inspect.isclass(target):
        function = binding.find_function(choice, {}, where, arguments=1)
        return lambda: function
    if not any("__call__" in vars(base) for base in target.__mro__):
        raise UserError(
            f"{where}: {choice.name} is a class without __call__(self, row), which is called with "
            f"the row of each epoch"
        )
    bound = not isinstance(inspect.getattr_static(target, "__call__"), staticmethod)
    binding.by_position(target.__call__, f"{choice.name}.__call__", where, 1 + bound)
    keywords = binding.bind(target, choice.keywords, where, given=GIVEN, defaults=False)
    taken = binding.parameters(target, where)
    keywords |= {name: value for name, value in given.items() if name in taken}
    make: Any = functools.partial(target, **keywords)
    return make
