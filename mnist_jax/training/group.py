"""One population of a sweep: taken up where it stands, trained, evaluated."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from mnist_jax import data
from mnist_jax.analysis.comparison import Member
from mnist_jax.files import read_json, write_json
from mnist_jax.members import Planned
from mnist_jax.training.checkpoint import Checkpoints, newest_sound
from mnist_jax.training.history import Row
from mnist_jax.training.population import Population, prepare
from mnist_jax.training.progress import Progress
from mnist_jax.training.standing import FINISHED, Standing, begin
from mnist_jax.training.state import count_parameters
from mnist_jax.training.stop import StopSignal
from mnist_jax.training.together import train_together
from mnist_jax.training.workdir import plain

Show = Callable[[Sequence[Planned], Sequence[Sequence[Row]]], None]


def trained(folder: Path) -> list[Member] | None:
    """The members of the population in `folder`, where they are finished."""
    path = folder / "members.json"
    return [Member(**values) for values in read_json(path)] if path.exists() else None


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
    at = _restore(population, folder / "checkpoints")
    show(members, at.rows)
    with Checkpoints(folder / "checkpoints", keep_latest=first.keep_latest, keep_best=0) as writer:

        def save(at: Standing) -> None:
            show(members, at.rows)
            record = dataclasses.asdict(dataclasses.replace(at, states={}))
            writer.save(population.members_of(at.states), at.step, record)

        train_together(population, at, stop, save, progress)
    results = _evaluate(population, at, members)
    write_json(folder / "members.json", [dataclasses.asdict(member) for member in results])
    return results


def _restore(population: Population, folder: Path) -> Standing:
    """From the newest sound checkpoint, or else from the start."""
    fresh = begin(population)
    found = newest_sound(folder, population.members_of(fresh.states), set_aside=True)
    if found is None:
        return fresh
    states, record, step = found
    print(f"going on from step {step} (epoch {record['epochs']} done)", flush=True)
    kept = {name: record[name] for name in ("rows", "status", "step", "epochs", "seconds")}
    return Standing(states=population.place(states), **kept)


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
