"""Takes trained networks away from this project: as files for other programs, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_jax.exporting import formats
from mnist_jax.files import make_folder

if TYPE_CHECKING:  # importing JAX takes a second, and --help needs only the names of the formats
    from mnist_jax.exporting.trained import Trained
    from mnist_jax.training.network import Network


def export(network: Network, which: str, kind: str) -> str:
    """Exports a network to `export/` in its folder, with a model card; returns what was written.

    Args:
      network: the network, as `network.find` returns it.
      which: the checkpoint: `latest`, `best` or a step.
      kind: one of `formats.FORMATS`.

    Raises:
      UserError: the checkpoint does not exist, a package is missing, the network cannot be
        exported, or a file cannot be written.
    """
    from mnist_jax.exporting import card
    from mnist_jax.training import provenance

    provenance.announce()
    trained = _trained(network, network.title, which)
    folder = network.output / "export"
    written = formats.write(trained, kind, folder)
    lines = [
        str(written.path),
        f"{_same(written.images, written.others)}; probabilities differ by at most "
        f"{written.difference:.1e}",
        *filter(None, [written.remark]),
        str(card.write(folder, network, trained, which)),
    ]
    return "\n".join(lines)


def _same(images: int, others: int) -> str:
    if not others:
        return f"the same predictions on {images:,} test images"
    return f"{images - others:,} of {images:,} predictions on test images are the same"


def demo(networks: Sequence[Network], which: str) -> Path:
    """Writes `demo.html`, in which the networks run, to the folder of the first; returns its path.

    Raises:
      UserError: as for `export`, or the networks have other images or classes.
    """
    from mnist_jax.exporting import page
    from mnist_jax.training import provenance

    provenance.announce()
    path = networks[0].output / "demo.html"
    make_folder(path.parent)
    titles = [network.title for network in networks]
    alike = {title for title in titles if titles.count(title) > 1}
    page.write(
        path,
        [
            _trained(its, _with_folder(its) if its.title in alike else its.title, which)
            for its in networks
        ],
    )
    return path


def _with_folder(network: Network) -> str:
    """Returns a name that tells a network from those of the same title in other folders."""
    run = network.seed is None  # whose title is the name of its folder
    return str(network.workdir) if run else f"{network.workdir}: {network.title}"


def _trained(network: Network, title: str, which: str) -> Trained:
    from mnist_jax.compilation import keep_programs
    from mnist_jax.exporting.trained import Trained
    from mnist_jax.training.restored import restore

    keep_programs()
    return Trained(title, restore(network, which))
