"""How a disturbed command ended is judged: nothing that is lost passes."""

import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.reliability import faults
from benchmarks.reliability.failing import cases, message, mishaps, saved, scenes, verdict
from benchmarks.reliability.failing.ending import Ending
from benchmarks.reliability.failing.promise import Promise
from benchmarks.reliability.failing.saved import NOTHING, Saved
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.records import record
from benchmarks.reliability.trial import Operation, Trial
from mnist_jax.training.checkpoints import Checkpoints

RESUMED = "resuming from step 20 (epoch 2 done)\n"
MESSAGE = "error: cannot write run/checkpoints: No space left on device"


def ended(status=0, output="", errors="", met=(), kind="write"):
    return Trial(status, output, errors, [Operation(1, kind, str(path), True) for path in met])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with two checkpoints."""
    folder = tmp_path_factory.mktemp("written") / "checkpoints"
    with Checkpoints(folder, keep_latest=2) as writer:
        for step in (10, 20):
            writer.save({"params": {"a": np.ones((1, 2))}}, step, record(step))
    return folder


@pytest.fixture
def workdir(tmp_path, written):
    shutil.copytree(written, tmp_path / "run" / "checkpoints")
    return tmp_path / "run"


@pytest.fixture
def stage(workdir):
    """A stand-in for a stage, whose starts end as listed in `starts`."""
    its = SimpleNamespace(workdir=workdir, shared=workdir.parent / "shared", starts=[])
    its.reset = lambda scene: None
    its.run = lambda *words, **more: its.starts.pop(0)
    return its


def judged(stage, trial, *starts, **more):
    stage.starts += starts
    plain = scenes.TRAINING.left(stage.workdir, trial)
    return verdict.judged(stage, scenes.TRAINING, trial, plain, **more)


STATE = "run/checkpoints/30.orbax-checkpoint-tmp/state/d/x"


@pytest.mark.parametrize(
    ("text", "met", "sound"),
    [
        ("cannot write checkpoint 30 in FOLDER/run/checkpoints: full", [STATE], True),
        ("cannot write run/checkpoints: full. Run the same command again", [STATE], True),
        ("cannot write: full. Correct this, then run the same command again", [STATE], False),
        ("it is full (memory/disk)", [STATE], False),
        ("cannot write to run: full", [STATE], False),
        ("cannot write to run: full", ["run"], True),
        ("cannot write run/config.json: full", ["run/.mnist_jax-1-2.tmp"], True),
        ("cannot write run/config.json: full", ["run/metrics.csv"], False),
        ("cannot read FOLDER/shared/data/set.cache: full", ["shared/data/set.cache"], True),
        ("cannot read FOLDER/shared/data: full", ["shared/data/set.cache", STATE], True),
        ("cannot write FOLDER/shared/a.cache: full", ["shared/a.cache.partial"], True),
        ("cannot prepare FOLDER/shared/d/1.0.0: full", ["shared/d/1.0.0.preparing/d/x"], True),
        ("cannot prepare FOLDER/shared/d/1.0.0: full", ["shared/d/2.0.0.preparing/d/x"], False),
        ("the folder run is gone; full", [], True),
        ("it is full; run the same command again", [], False),
        ("cannot write run/checkpoints: Input/output error", [STATE], False),
    ],
)
def test_a_message_names_the_file_and_the_reason(tmp_path, text, met, sound):
    errors = f"warning: full\nerror: {text.replace('FOLDER', str(tmp_path))}\n"
    trial = ended(1, errors=errors, met=[tmp_path / path for path in met])
    wrong = message.wrong(trial, (tmp_path / "run", tmp_path / "shared"), "Full")
    assert bool(wrong) is not sound


@pytest.mark.parametrize(("kind", "sound"), [("mkdir", True), ("list", False)])
def test_a_message_may_name_what_was_to_be_in_a_folder_that_could_not_be_made(
    tmp_path, kind, sound
):
    errors = "error: cannot write run/populations/abc: full\n"
    trial = ended(1, errors=errors, met=[tmp_path / "run" / "populations"], kind=kind)
    assert (message.wrong(trial, (tmp_path / "run",)) == "") is sound


def test_a_traceback_is_wrong_whatever_the_status_and_the_start(stage):
    thread = "Exception in thread checkpoints:\nTraceback (most recent call last):\n"
    assert "traceback" in judged(stage, ended(errors=thread)).wrong
    end = judged(stage, ended(1, errors=MESSAGE), ended(output=RESUMED, errors=thread))
    assert "next start, there is a traceback" in end.wrong


def test_a_start_goes_on_from_the_newest_complete_checkpoint(stage, workdir):
    shutil.copytree(workdir / "checkpoints" / "20", workdir / "checkpoints" / "30")
    (workdir / "checkpoints" / "30" / "commit_success.txt").unlink()
    assert saved.saved(workdir).due == [20]
    shutil.rmtree(workdir / "checkpoints" / "30")
    broken = ended(1, errors=MESSAGE)
    end = judged(stage, broken, ended(output=RESUMED))
    assert (end.ending, end.wrong) == (Ending.MESSAGE, "")
    for output in ("", RESUMED.replace("20", "10")):
        assert "goes on from" in judged(stage, broken, ended(output=output)).wrong
    before = saved.saved(workdir)
    assert "goes on from" in judged(stage, ended(), before=before).wrong
    assert judged(stage, ended(output=RESUMED), before=before).wrong == ""
    (workdir / "result.json").write_text("{}")
    assert saved.saved(workdir).due == []


def test_no_start_sets_a_checkpoint_aside(stage, workdir):
    def set_aside(*words):
        (workdir / "checkpoints" / "10").rename(workdir / "checkpoints" / "10.damaged")
        return ended(output=RESUMED)

    stage.run = set_aside
    assert "set aside" in judged(stage, ended(1, errors=MESSAGE)).wrong
    assert "set aside" in judged(stage, ended(1, errors=MESSAGE)).wrong  # by the first


def test_an_epoch_is_shown_once_the_checkpoint_before_it_is_there(workdir):
    """Of those that the start itself has trained: older ones may have been removed long ago."""
    shown = [f"    {epoch}/3      2.1466       25.40\n" for epoch in (1, 2, 3)]
    assert saved.lost(workdir, ended(output="".join(shown)), NOTHING) == ""
    shutil.rmtree(workdir / "checkpoints" / "10")
    assert "10 is lost" in saved.lost(workdir, ended(output="".join(shown)), NOTHING)
    assert saved.lost(workdir, ended(output=shown[-1]), NOTHING) == ""


def test_checkpoints_of_a_population_are_not_lost(workdir):
    population = workdir / "populations" / "abc"
    population.mkdir(parents=True)
    (workdir / "checkpoints").rename(population / "checkpoints")
    before = saved.saved(workdir)
    assert before == Saved({workdir: [], population: [10, 20]}, [20])
    assert saved.lost(workdir, ended(), before) == ""
    (population / "checkpoints" / "20" / "state" / "_METADATA").write_text("")
    assert "not sound" in saved.lost(workdir, ended(), before)
    shutil.rmtree(population / "checkpoints")
    assert "is lost" in saved.lost(workdir, ended(), before)
    assert saved.lost(workdir, ended(), before, taken=True) == ""
    assert saved.lost(workdir, ended(), NOTHING) == ""
    (population / "results.json").write_text("[]")
    assert "is lost" in saved.lost(workdir, ended(), NOTHING)


@pytest.mark.parametrize(
    "name", ["checkpoints/10.removed", "checkpoints/30.orbax-checkpoint-tmp", ".mnist_jax-1-2.tmp"]
)
def test_what_is_left_over_is_a_difference_unless_it_cannot_be_removed(stage, workdir, name):
    plain = scenes.TRAINING.left(workdir, ended())
    path = workdir / name
    path.mkdir() if "checkpoints" in name else path.write_text("")

    def wrong(**more):
        trial = ended(met=[path], **more)
        return verdict.judged(stage, scenes.TRAINING, trial, plain).wrong

    assert "left over" in wrong()
    assert wrong(kind="unlink") == ""


def test_a_picture_that_is_cut_is_a_difference(stage, workdir):
    (workdir / "plots").mkdir()
    (workdir / "plots" / "loss.png").write_bytes(b"1234")
    (workdir / "report.html").write_text("<html>some words</html>")
    plain = scenes.REPORT.left(workdir, ended())
    (workdir / "plots" / "loss.png").write_bytes(b"")
    (workdir / "report.html").write_text("<html>some </html>")
    wrong = verdict.judged(stage, scenes.REPORT, ended(), plain).wrong
    assert "loss.png" in wrong
    assert "report.html" in wrong


def befallen(stage, monkeypatch, play, trial, *starts, **how):
    stage.starts = [*starts]
    plain = scenes.TRAINING.left(stage.workdir, ended())
    monkeypatch.setattr(mishaps, "_run", lambda *arguments: trial)
    return play(stage, plain, **how)


@pytest.mark.parametrize(
    ("play", "how", "kept", "lost"),
    [
        (mishaps.starved, {"mebibytes": 1}, signal.SIGABRT, signal.SIGSEGV),
        (mishaps.starved, {"mebibytes": 1}, -mishaps.WITHOUT_STORAGE, signal.SIGSEGV),
        (mishaps.cache_taken, {"how": "cut"}, signal.SIGBUS, signal.SIGSEGV),
        (mishaps.cache_taken, {"how": "deleted"}, None, signal.SIGBUS),
        (mishaps.signalled, {"signal": "SIGKILL"}, signal.SIGKILL, signal.SIGABRT),
    ],
)
def test_only_the_signals_of_the_system_are_no_loss(
    stage, workdir, monkeypatch, play, how, kept, lost
):
    how |= {"number": 1} if play is mishaps.signalled else {"number": 1, "moment": "start"}

    def end(number):
        starts = ended(-number), ended(output=RESUMED)
        return befallen(stage, monkeypatch, play, *starts, **how)

    assert f"ends with status {-lost}" in end(lost).wrong
    if kept:
        assert end(kept).wrong == ""
        assert end(kept).ending in (Ending.ABORTED, Ending.STOPPED)
        (workdir / "checkpoints" / "20.damaged").mkdir()
        assert "set aside" in end(kept).wrong


def test_a_checkpoint_set_aside_is_seen_where_folders_are_taken_away(stage, workdir, monkeypatch):
    starts = ended(1, errors="error: run is gone"), ended(output=RESUMED)
    how = {"how": "deleted", "moment": "saving", "number": 1}
    assert befallen(stage, monkeypatch, mishaps.taken_away, *starts, **how).wrong == ""
    (workdir / "checkpoints" / "20.damaged").mkdir()
    assert "set aside" in befallen(stage, monkeypatch, mishaps.taken_away, *starts, **how).wrong


def test_checkpoints_that_were_taken_away_may_be_missing_at_the_end(stage, workdir):
    promise = Promise(taken=True)
    plain = {scenes.EARLIER: "x", scenes.LAST: "y"} | scenes.TRAINING.left(workdir, ended())
    assert verdict.judged(stage, scenes.TRAINING, ended(), plain, promise).wrong == ""
    assert "missing" in verdict.judged(stage, scenes.TRAINING, ended(), plain).wrong
    stage.starts = [ended(output=RESUMED)]
    trial = ended(1, errors=MESSAGE)
    end = verdict.judged(stage, scenes.TRAINING, trial, plain, promise)
    assert end.wrong == f"at the next start, {scenes.LAST} is missing"


def test_a_slow_disk_is_no_reason_to_end(stage, workdir):
    met = [workdir / "checkpoints"]
    operations = ended(met=met).operations
    slow, *_ = faults._slow(scenes.TRAINING, cases.slow(operations, 1, 2.0))
    failing, *_ = faults._failing(scenes.TRAINING, cases.single(operations))
    for job, wrong in ((slow, True), (failing, False)):
        stage.starts = [ended(1, MESSAGE, MESSAGE, met), ended(output=RESUMED)]
        plain = scenes.TRAINING.left(workdir, ended())
        assert bool(job.play(stage, plain).wrong) is wrong


def test_a_scene_without_operations_is_an_error(tmp_path, monkeypatch):
    with Stage(tmp_path / "stage") as stage:
        monkeypatch.setattr(stage, "run", lambda *words, **more: ended())
        with pytest.raises(RuntimeError, match="no operations"):
            stage.listed(scenes.COLD)


def test_each_operation_of_a_training_fails_and_what_a_sweep_saves():
    files = ["run/checkpoints/10.orbax-checkpoint-tmp/x", "run/checkpoints/10/y", "run/z"]
    operations = [
        Operation(i, "read", f"/bench/{file}", disturbed=False) for file in files for i in range(5)
    ]
    known = cases.groups(operations).keys()

    def tried(scene):
        return [
            case.path.removeprefix("/bench/") for case in faults._single(scene, operations, known)
        ]

    assert tried(scenes.TRAINING) == [file for file in files for _ in range(5)]
    assert tried(scenes.SWEEPING) == files[:2]
    assert tried(scenes.RESUMED) == files[1:2]
    assert tried(scenes.REPORT) == []
