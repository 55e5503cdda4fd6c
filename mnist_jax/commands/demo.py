"""Writes a page on which one draws a digit, and in which trained networks run, and opens it.

  python -m mnist_jax.demo --workdir=runs/cnn
  python -m mnist_jax.demo --workdir runs/mlp runs/cnn --no_open

The page is one file, DIR/demo.html of the first DIR. It needs neither a server nor a network, so it
can be sent to anybody. Several networks answer side by side; --member and --seed choose one of each
DIR that holds a sweep.
"""

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_jax.commands import cli

if TYPE_CHECKING:
    from mnist_jax.training.network import Network


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--workdir", required=True, nargs="+", metavar="DIR", help="folders of runs or sweeps"
    )
    parser.add_argument("--no_open", action="store_true", help="do not open the page in a browser")
    cli.add_checkpoint(parser)
    cli.add_member(parser)


def main(arguments: Namespace) -> None:
    """Writes the page, opens it where there is a display, and prints its path."""
    from mnist_jax import exporting  # imported late: --help does not need it

    path = exporting.demo(_networks(arguments), arguments.checkpoint)
    print(path)
    if not arguments.no_open:
        _open(path)


def _networks(arguments: Namespace) -> "list[Network]":
    """Returns the network of each folder; a folder of a run among sweeps has no member."""
    from mnist_jax.presence import is_file
    from mnist_jax.training import network
    from mnist_jax.training.workdir import SWEEP

    sweeps = [folder for folder in arguments.workdir if is_file(folder / SWEEP)]
    members = sweeps or arguments.workdir  # a run alone refuses the choice
    return [
        network.find(folder, arguments.member, arguments.seed)
        if folder in members
        else network.find(folder)
        for folder in arguments.workdir
    ]


def _open(path: Path) -> None:
    """Opens a page in the user's browser, unless this machine has no display."""
    import webbrowser

    screens = [os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")]
    if sys.platform == "darwin" or any(screens):  # else it might start a browser in the terminal
        webbrowser.open(path.resolve().as_uri())


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    cli.run(main, __doc__, define)
