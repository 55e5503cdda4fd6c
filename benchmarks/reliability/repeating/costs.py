"""Measures what `config.deterministic` costs: the time per step with and without it."""

import json
import sys
from collections.abc import Sequence

from benchmarks import readme
from benchmarks.reliability.repeating.commands import fresh


def told(names: Sequence[str], *, at_least: float) -> str:
    """Measures, in another process, the time per step with and without; returns a sentence.

    Args:
      names: of configurations.
      at_least: seconds for which each is measured.
    """
    code = f"from {__name__} import print_costs; print_costs({[*names]!r}, {at_least})"
    its = json.loads(fresh([sys.executable, "-c", code], cwd=readme.ROOT).splitlines()[-1])
    return ", ".join(
        f"{1e3 * slow:.3f} ms per step of {name} instead of {1e3 * fast:.3f}"
        for name, (fast, slow) in its.items()
    )


def print_costs(names: Sequence[str], at_least: float) -> None:
    """Prints the least seconds per step of each configuration, without and with, as JSON."""
    from benchmarks.scaling.watch import Stopwatch
    from mnist_jax import config_file, models
    from mnist_jax.training.program import prepare_one

    found = {}
    for name in names:
        path = str(readme.ROOT / "configs" / f"{name}.py")
        watches = []
        for asked in (False, True):
            overrides = [("data.train_split", "train[:12800]"), ("deterministic", asked)]
            config = models.resolve(config_file.load(path, overrides))
            watches.append(Stopwatch(prepare_one(config), at_least))
        repeats = [[watch.seconds() for watch in watches] for _ in range(5)]
        found[name] = [min(times) for times in zip(*repeats, strict=True)]
    print(json.dumps(found), flush=True)
