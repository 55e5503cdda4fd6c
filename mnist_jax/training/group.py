"""One population of a sweep: taken up where it stands, trained, evaluated."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mnist_jax import data
from mnist_jax.analysis.comparison import FINISHED, Member
from mnist_jax.errors import UserError
from mnist_jax.files import read_json, write_json
from mnist_jax.members import Planned
from mnist_jax.training.checkpoint import Checkpoints, newest_sound
from mnist_jax.training.history import Row
from mnist_jax.training.population import Population, prepare
from mnist_jax.training.progress import Progress
from mnist_jax.training.standing import Standing, begin
from mnist_jax.training.state import count_parameters
from mnist_jax.training.stop import StopSignal
from mnist_jax.training.together import train_together
from mnist_jax.training.workdir import plain

Show = Callable[[Sequence[Planned], Sequence[Sequence[Row]]], None]


def trained(folder: Path, members: Sequence[Planned] | None = None) -> list[Member] | None:
    """The members of the population in `folder`, where they are finished.

    Raises:
      UserError: they are not those that are expected.
    """
    path = folder / "members.json"
    if not path.exists():
        return None
    results = [Member(**values) for values in read_json(path)]
    if members is not None:
        _refuse_others(folder, [(r.architecture, r.seed) for r in results], members)
    return results


def _refuse_others(folder: Path, found: Sequence[Any], members: Sequence[Planned]) -> None:
    """Which members share a program can change with the versions of the libraries."""
    expected = [(member.architecture, member.config.seed) for member in members]
    if [tuple(name) for name in found] != expected:
        raise UserError(
            f"{folder} holds other members of the sweep than now train together there; go on with "
            f"the versions of Python's packages that began it, or use another --workdir="
        )


def train_group(
    members: Sequence[Planned], folder: Path, stop: StopSignal, show: Show, title: str
) -> list[Member]:
    """Trains what is left of a population, evaluates its members on the test split, keeps both.

    Args:
      members: of one population.
      folder: its own.
      stop: asked after each chunk of steps.
      show: is given all rows after each epoch.
      title: names the population while it trains.

    Raises:
      StoppedError: `stop` was requested; everything is saved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    population = prepare([member.config for member in members])
    first = population.configs[0]
    progress = Progress(first.num_epochs, population.steps_per_epoch, title)
    at = _restore(population, folder / "checkpoints", members)
    show(members, at.rows)
    with Checkpoints(folder / "checkpoints", keep_latest=first.keep_latest, keep_best=0) as writer:

        def save(at: Standing) -> None:
            show(members, at.rows)
            record = dataclasses.asdict(dataclasses.replace(at, states={}))  # pyright: ignore
            record["members"] = [(m.architecture, m.config.seed) for m in members]
            writer.save(population.members_of(at.states), at.step, record)
            progress.say(_news(title, at, first.num_epochs))

        train_together(population, at, stop, save, progress)
    results = _evaluate(population, at, members)
    write_json(folder / "members.json", [dataclasses.asdict(member) for member in results])
    return results


def _restore(population: Population, folder: Path, members: Sequence[Planned]) -> Standing:
    """From the newest sound checkpoint, or else from the start."""
    found = newest_sound(folder, population.members_of(population.initial), set_aside=True)
    if found is None:
        return begin(population)
    states, record, step = found
    _refuse_others(folder, record["members"], members)
    print(f"going on from step {step} (epoch {record['epochs']} done)", flush=True)
    kept = {name: record[name] for name in ("rows", "status", "step", "epochs", "seconds")}
    return Standing(states=population.place(states), **kept)


def _news(title: str, at: Standing, num_epochs: int) -> str:
    """`2/3  epoch 4/60  val 95.31 % (mean of 32)`."""
    last = [its[-1]["val_accuracy"] for its in at.rows if its and its[-1]["epoch"] == at.epochs]
    known = [accuracy for accuracy in last if accuracy is not None]
    figure = f"  val {100 * sum(known) / len(known):.2f} % (mean of {len(known)})" if known else ""
    return f"{title}  epoch {at.epochs}/{num_epochs}{figure}"


def _evaluate(population: Population, at: Standing, members: Sequence[Planned]) -> list[Member]:
    """Each member's last weights on the test split; those that diverged have no figures."""
    test = data.load(population.configs[0].data.name, "test")
    score = population.examiner(test)(at.states)
    parameters = count_parameters(at.states["params"]) // len(at.states["step"])
    results = []
    for i, member in enumerate(members):
        status = at.status[i]
        if status == FINISHED and not score.finite[i]:
            status = "diverged: an output on the test split is not finite"
        sound = status == FINISHED
        results.append(
            Member(
                architecture=member.architecture,
                seed=member.config.seed,
                config=plain(member.config.to_dict()),
                parameters=parameters,
                history=at.rows[i],
                seconds=sum(row["seconds"] for row in at.rows[i]),
                test_loss=score.loss[i].item() if sound else None,
                test_accuracy=score.accuracy[i].item() if sound else None,
                status=status,
            )
        )
    return results
