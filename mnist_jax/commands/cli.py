"""What all commands share: the border between a shell and the program."""

import atexit
import gc
import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging
from absl.flags import argparse_flags

from mnist_jax import imports
from mnist_jax.errors import UserError
from mnist_jax.training.stop import EXIT_STATUS, StoppedError

Parser = argparse_flags.ArgumentParser
OBJECTS = 100_000  # new ones, before Python looks for cycles: the imports alone make 400,000


def run(
    main: Callable[[Namespace], int | None], doc: str | None, define: Callable[[Parser], None]
) -> None:
    """Parses the command line, runs `main` and exits with its status.

    A `UserError` becomes one message on standard error and exit status 1.

    Args:
      main: the command; takes the parsed arguments, returns the exit status (None: 0). A
        `StoppedError` that it raises becomes a message and status 75.
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
        arguments, rest = parser.parse_known_args(argv[1:])
        flags.FLAGS.mark_as_parsed()  # absl's own flags keep their defaults
        arguments.overrides = [_override(text, parser) for text in rest]
        return arguments

    def guarded(arguments: Namespace) -> int | None:
        gc.set_threshold(OBJECTS)
        atexit.register(gc.freeze)  # else the exit takes half a second to look through all of them
        logging.set_verbosity(logging.ERROR)  # the libraries' own chatter is not for the terminal
        try:
            return main(arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except StoppedError as stopped:
            print(stopped, flush=True)
            return EXIT_STATUS

    app.run(guarded, flags_parser=parse)


def experiment() -> Any:
    """The module that trains and evaluates, whose import takes a second."""
    with imports.without("IPython"):  # Flax would ask it whether this is a notebook
        from mnist_jax import experiment
    return experiment


def add_member(parser: Parser) -> None:
    """Adds the arguments that name one network of a sweep."""
    parser.add_argument(
        "--member", default="", metavar="ARCHITECTURE|best", help="of a sweep: which network"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of a sweep: may be left out where there is only one"
    )


def _override(text: str, parser: Parser) -> tuple[str, str]:
    name, equals, value = text.removeprefix("--config.").partition("=")
    if "--config" not in parser._option_string_actions:
        parser.error(f"unknown argument {text!r}")
    if not text.startswith("--config.") or not equals:
        parser.error(f"unknown argument {text!r}; a field is set by --config.field=value")
    return name, value


def _module_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec else sys.argv[0]
