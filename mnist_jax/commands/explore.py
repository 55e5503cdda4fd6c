"""Describes the data of a configuration: statistics as text, and pictures.

  python -m mnist_jax.explore --config=configs/cnn.py
  python -m mnist_jax.explore --config=configs/mlp.py --config.data.name=fashion_mnist

--config.FIELD=VALUE overrides a field of the configuration. Writes only to DIR/explore/, so a run
in DIR is not affected, even while it trains.
"""

import shutil
from argparse import Namespace
from pathlib import Path

from mnist_jax import streams
from mnist_jax.commands import cli

WIDTH = 80  # columns of the text; fewer in a narrower terminal


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="a configuration file, e.g. configs/cnn.py"
    )
    parser.add_argument("--workdir", metavar="DIR", help="default: runs/<stem of FILE>")


def main(arguments: Namespace) -> None:
    """Computes the statistics, writes text and pictures, and prints the text."""
    import jax  # imported late: --help does not need it

    from mnist_jax import config_file
    from mnist_jax.analysis.data import figures, plots, text
    from mnist_jax.compilation import keep_programs
    from mnist_jax.files import write_text

    jax.config.update("jax_platforms", "cpu")  # an accelerator may be in use by a training
    keep_programs()
    asked = config_file.load(arguments.config, arguments.overrides)
    folder = (arguments.workdir or Path("runs") / config_file.stem(arguments.config)) / "explore"
    loaded = figures.load(asked)
    found = figures.explore(asked, loaded)
    plots.write_pictures(folder, found, loaded, asked.seed)
    write_text(folder / "explore.txt", text.tell(found, WIDTH))
    columns = shutil.get_terminal_size().columns if streams.is_terminal() else WIDTH
    print(f"{text.tell(found, min(columns, WIDTH))}\n{folder}")


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    cli.run(main, __doc__, define)
