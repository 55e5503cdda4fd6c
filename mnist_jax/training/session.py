"""One run from the command line: taken up where it stands, trained, evaluated, shown."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_jax import STARTED, data
from mnist_jax.analysis.evaluation import evaluate
from mnist_jax.analysis.publish import publish
from mnist_jax.analysis.summary import summary
from mnist_jax.compilation import keep_programs
from mnist_jax.config import Config
from mnist_jax.files import write_json
from mnist_jax.lock import sole_writer
from mnist_jax.training import provenance, trace
from mnist_jax.training import workdir as folder_of_run
from mnist_jax.training.checkpoint import Checkpoints, newest_sound, steps
from mnist_jax.training.history import History, Row
from mnist_jax.training.inference import Inference
from mnist_jax.training.loop import train
from mnist_jax.training.position import Position
from mnist_jax.training.run import Run, prepare
from mnist_jax.training.state import copied, count_parameters, evaluation_weights
from mnist_jax.training.stop import EXIT_STATUS, StoppedError, StopSignal
from mnist_jax.training.warm_start import warm_start


def run_to_end(
    config: Config,
    workdir: Path,
    *,
    profile: bool = False,
    on_epoch: Callable[[list[Row]], None] = lambda rows: None,
) -> int:
    """Trains what is left of the run in `workdir` and finishes it; the exit status.

    `on_epoch` is given the rows of all epochs so far, once the one that has just ended is saved.
    """
    if folder_of_run.finished(workdir, config.to_dict()):
        print(f"{workdir} holds this run, finished; nothing to do")
        return 0
    keep_programs()
    provenance.commit()
    with sole_writer(workdir), StopSignal() as stop:
        if folder_of_run.finished(workdir, config.to_dict()):  # by another, since the line above
            return 0
        run = prepare(config)
        folder_of_run.claim(
            workdir, config.to_dict()
        )  # not before: a mistake in it must not take the folder
        print(summary(run.task.model), flush=True)
        if profile:
            trace.write(run, workdir / "profile")
        folder = workdir / "checkpoints"
        keep = {"keep_latest": config.keep_latest, "keep_best": config.keep_best}
        try:
            with Checkpoints(folder, **keep) as writer:
                at, clocks = _train(run, workdir, stop, writer, on_epoch)
                _finish(run, at, clocks, workdir, writer)
        except StoppedError:
            saved = "saved" if steps(folder) else "there is nothing to save yet"
            print(f"told to stop; {saved}. The same command goes on from here: {workdir}")
            return EXIT_STATUS
    return 0


def _train(
    run: Run,
    workdir: Path,
    stop: StopSignal,
    writer: Checkpoints,
    on_epoch: Callable[[list[Row]], None],
) -> tuple[Position, dict[str, float]]:
    """Where the run ends, and its clocks: seconds over all the processes that it took."""
    at, clocks = _restore(run, workdir)
    with History(workdir, at.rows) as history:

        def save(at: Position, row: Row | None) -> None:
            if row is not None:
                history.append(row)
            record = {"rows": at.rows, "seconds": at.seconds, **_clocks(run, clocks)}
            rank = row["val_accuracy"] if row is not None else None  # else not validated
            writer.save(at.state, int(at.state["step"]), record, rank)
            if row is not None:
                on_epoch(at.rows)

        train(run, at, stop, save)
    return at, clocks


def _restore(run: Run, workdir: Path) -> tuple[Position, dict[str, float]]:
    """The newest sound checkpoint, or else the start; and the clocks of earlier processes."""
    found = newest_sound(workdir / "checkpoints", run.initial, set_aside=True)
    if found is None:
        state = warm_start(copied(run.initial), run.config.init_from)
        return Position(run.place(state), []), {"compile_seconds": 0.0, "total_seconds": 0.0}
    state, record, step = found
    print(f"going on from step {step} (epoch {len(record['rows'])} done)", flush=True)
    clocks = {name: record[name] for name in ("compile_seconds", "total_seconds")}
    return Position(run.place(state), record["rows"], record["seconds"]), clocks


def _clocks(run: Run, earlier: dict[str, float]) -> dict[str, float]:
    return {
        "compile_seconds": earlier["compile_seconds"] + run.compile_seconds,
        "total_seconds": earlier["total_seconds"] + time.perf_counter() - STARTED,
    }


def _finish(
    run: Run, at: Position, clocks: dict[str, float], workdir: Path, writer: Checkpoints
) -> None:
    """Evaluates the last step's weights on the test split and writes what there is to see.

    The last checkpoint is written meanwhile; a process that is killed here repeats its last epoch.
    """
    config, model = run.config, run.task.model
    test = Inference(model, run.task.loss, data.load(config.data.name, "test"))
    weights = evaluation_weights(at.state)
    clocks["compile_seconds"] += test.compile(*weights)
    predictions = test(*weights)
    figures = evaluate(predictions)
    train_seconds = sum(row["seconds"] for row in at.rows)
    result = {
        "config": config.to_dict(),
        "parameters": count_parameters(at.state["params"]),
        "epochs": len(at.rows),
        "test_loss": figures["loss"],
        "test_accuracy": figures["accuracy"],
        "test_count": figures["count"],
        "val_accuracy": at.rows[-1]["val_accuracy"],
        "train_seconds": train_seconds,
        **_clocks(run, clocks),
        "images_per_second": _images(run, at) / train_seconds,
        "device": provenance.device(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    publish(
        workdir,
        predictions,
        config=config.to_dict(),
        model=model,
        history=at.rows,
        result=result,
        checkpoint=int(at.state["step"]),
    )
    writer.close()
    result |= _clocks(run, clocks)
    write_json(workdir / "result.json", result)  # last: it is what says that the run is finished
    print(_closing(result, workdir))


def _images(run: Run, at: Position) -> int:
    return int(at.state["step"]) * run.config.batch_size


def _closing(result: dict[str, Any], workdir: Path) -> str:
    return (
        f"test {result['test_accuracy']:.2%} of {result['test_count']:,}, "
        f"loss {result['test_loss']:.4f}; "
        f"trained {result['train_seconds']:.1f} s of {result['total_seconds']:.1f} s\n"
        f"{workdir / 'report.html'}"
    )
