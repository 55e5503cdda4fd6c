"""Takes trained networks away from this project: as files for other programs, and as a page."""

from collections.abc import Sequence
from pathlib import Path

from mnist_jax.compilation import keep_programs
from mnist_jax.exporting import card, formats, page
from mnist_jax.exporting.trained import IMAGES, Trained
from mnist_jax.files import make_folder
from mnist_jax.training import provenance
from mnist_jax.training.network import Network
from mnist_jax.training.restored import restore


def export(network: Network, which: str, kind: str) -> str:
    """Exports a network to `export/` in its folder, with a model card; returns what was written.

    Args:
      network: the network, as `network.find` returns it.
      which: the checkpoint: `latest`, `best` or a step.
      kind: one of `formats.FORMATS`, or `html`.

    Raises:
      UserError: the checkpoint does not exist, a package is missing, the network cannot be
        exported, or a file cannot be written.
    """
    provenance.announce()
    trained = _trained(network, which)
    folder = network.output / "export"
    make_folder(folder)
    if kind == "html":
        path = folder / "page.html"
        page.write(path, [trained])
        lines = [str(path)]
    else:
        written = formats.write(trained, kind, folder)
        lines = [
            f"{written.path}\n"
            f"the same predictions on {IMAGES:,} test images; probabilities differ by at most "
            f"{written.difference:.1e}"
        ]
        lines += filter(None, [written.remark])
    lines.append(str(card.write(folder, network, trained)))
    return "\n".join(lines)


def demo(networks: Sequence[Network], which: str) -> Path:
    """Writes `demo.html`, in which the networks run, to the folder of the first; returns its path.

    Raises:
      UserError: as for `export`, or the networks have other images or classes.
    """
    provenance.announce()
    path = networks[0].output / "demo.html"
    make_folder(path.parent)
    page.write(path, [_trained(network, which) for network in networks])
    return path


def _trained(network: Network, which: str) -> Trained:
    keep_programs()
    return Trained(network.title, restore(network, which))
