"""Commands that are killed, and go on as if nothing had happened."""

import contextlib
import dataclasses
import random
import shutil
import signal
from pathlib import Path

import pytest

from benchmarks.reliability import kills
from benchmarks.reliability.killing import left, notice, operations, story
from benchmarks.reliability.killing.stands import Found, stands
from benchmarks.reliability.killing.story import Note, Start, Story
from benchmarks.reliability.killing.victim import FIRST, RUN, Kill
from benchmarks.reliability.row import Row
from benchmarks.reliability.trial import Disturbance, Operation, Trial
from mnist_jax.training.checkpoints import Checkpoints
from tests.commands import flip_bit

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def on():
    with stands(1) as on:
        yield on


@pytest.fixture(scope="module")
def stand(on):
    return on.all[0]


@pytest.fixture(scope="module")
def first(stand):
    """A small run that was left alone, and what it left."""
    found = stand.undisturbed(FIRST)
    shutil.copytree(stand.run, stand.run.with_name("kept"))
    return found


def test_whatever_is_killed_ends_with_the_bits_of_an_undisturbed_run(on, monkeypatch):
    monkeypatch.setattr(kills, "stands", lambda count: contextlib.nullcontext(on))
    rows = kills.measure(quick=True)
    assert [row.lost for row in rows] == [[], []]
    at_operations, in_report = rows
    assert at_operations.tried >= 2  # the last one may have another number
    assert in_report.tried == 1
    assert all("the bits of an undisturbed run" in row.found for row in rows)


def test_what_a_kill_left_at_the_last_checkpoint_is_removed_without_another_one(tmp_path):
    for name in ("7.removed", "21.orbax-checkpoint-tmp"):
        (tmp_path / name / "state").mkdir(parents=True)
    (tmp_path / "14").mkdir()
    with Checkpoints(tmp_path, keep_latest=1):
        assert [path.name for path in tmp_path.iterdir()] == ["14"]


# What the harness would see


@pytest.fixture(scope="module")
def kept(stand, first):
    """A copy of what it left, beside it: others are trained where it was."""
    return stand.run.with_name("kept")


@pytest.fixture
def copied(kept):
    """A copy of this, to be changed."""
    folder = kept.with_name("copied")
    shutil.copytree(kept, folder)
    yield folder
    shutil.rmtree(folder)


def test_each_save_and_each_file_is_among_the_operations(first):
    start, contents = first
    kinds = {story.kind(its, start.folder) for its in start.trial.operations}
    saving = "run/checkpoints/N.orbax-checkpoint-tmp"
    assert {
        f"rename {saving}",
        f"write {saving}/commit_success.txt",
        f"write {saving}/state/d/DIGEST",
        f"fsync {saving}/state/d/DIGEST",
        "rename run/.PROCESS.tmp",
        "write run/metrics.jsonl",
        "write run/metrics.csv",
        "rename TFDS_DATA_DIR/mnist_jax/patterns-N.N.N.cache.partial",
    } <= kinds
    assert {"checkpoints/3", "result.json", "metrics.csv", "config.json"} <= contents.keys()


def test_phases_and_steps_are_noted(first):
    start, _ = first
    assert {"data preparation", "compilation", "training", "save"} <= {
        name for name, _ in start.durations()
    }
    assert [note.step for note in start.notes if note.folder] == [0, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: (run / "metrics.csv").write_text("epoch\r\n1\r\n"), "metrics.csv differs"),
        (lambda run: (run / "result.json").unlink(), "result.json is missing"),
        (lambda run: (run / ".1-2.tmp").write_text(""), ".1-2.tmp is left over"),
        (lambda run: (run / "checkpoints" / "4.removed").mkdir(), "4.removed is left over"),
        (
            lambda run: flip_bit(max((run / "checkpoints/3/state/d").iterdir()), 100),
            "checkpoints/3 damaged",
        ),
    ],
)
def test_what_differs_is_seen(first, copied, change, said):
    _, whole = first
    expected = {name: its for name, its in whole.items() if not name.startswith("TFDS_DATA_DIR")}
    assert left.differences(left.contents(copied), expected) == ""
    change(copied)
    assert said in left.differences(left.contents(copied), expected)


def test_records_and_prepared_data_are_compared(first):
    _, contents = first
    checkpoint = contents["checkpoints/3"]
    ((row,),) = checkpoint["the record's rows"]
    assert row["epoch"] == 1
    assert "seconds" not in row
    assert checkpoint["the record's status"] == ["finished"]
    assert len(contents["TFDS_DATA_DIR/mnist_jax/patterns-1.0.0.cache"]) == 64
    changed = {"checkpoints/3": checkpoint | {"the record's status": ["training"]}}
    text = left.differences(contents | changed, contents)
    assert text == "checkpoints/3 differs in the record's status"


def test_unfinished_data_are_counted_and_not_compared(tmp_path):
    for name in ("patterns/1.0.0/a", "patterns/incomplete.ABCDEF_1.0.0/b"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert left.prepared(tmp_path) == {f"{tmp_path.name}/patterns/1.0.0/a": "there"}
    assert left.unfinished(tmp_path) == 1


def test_a_report_is_compared_but_for_its_numbers(tmp_path):
    def page(text):
        (tmp_path / "report.html").write_text(text)
        return left.contents(tmp_path)["report.html"]

    picture = '<html><img src="data:image/png;base64,{}">{}</html>\n'
    whole = page(picture.format("AB1=", "12.3\u00a0s"))
    assert page(picture.format("AB1=", "2\u00a0min 5\u00a0s")) == whole
    assert page(picture.format("AB2=", "12.3\u00a0s")) != whole
    assert page(picture.format("AB1=", "12.3\u00a0s in all")) != whole
    assert "damaged" in page(picture.format("AB1=", "12.3\u00a0s")[:-9])


def test_temporary_files_are_left_over_but_not_what_a_kill_has_to_leave(tmp_path):
    (tmp_path / "abctfds").mkdir()
    (tmp_path / "a1b2c3d4").write_text("blat")
    assert left.temporary(tmp_path) == {}
    (tmp_path / "abctfds" / "file").write_text("more")
    assert left.temporary(tmp_path) == {f"{tmp_path.name}/abctfds/file": "there"}


def test_rows_of_two_files_that_differ_are_seen(copied):
    assert not left.rows_differ(copied)
    text = (copied / "metrics.jsonl").read_text()
    (copied / "metrics.jsonl").write_text(text.replace('"epoch": 1', '"epoch": 2'))
    assert left.rows_differ(copied)


def test_a_kill_that_leaves_something_is_found_out(stand, first, monkeypatch):
    _, expected = first

    def soil(command):
        shutil.rmtree(stand.run)
        (stand.run / "checkpoints" / "1.damaged").mkdir(parents=True)

    monkeypatch.setattr(stand, "empty", soil)
    found = stand.story(FIRST, [Kill(phase=("save", 1, 0.0))], expected)
    assert "checkpoints/1.damaged is left over" in found.wrong
    assert "begin of save no. 1" in found.wrong


# Starts anew, and nobody could tell from what it leaves.
FORGETFUL = """
import shutil
from mnist_jax.training import session
from first import get_config

restore = session._restore

def forget(program, folder, clock):
    shutil.rmtree(folder, ignore_errors=True)
    return restore(program, folder, clock)

session._restore = forget
"""


def test_a_run_that_starts_anew_is_found_out(stand, first, kept, monkeypatch):
    (stand.bench.folder / "forgetful.py").write_text(FORGETFUL)

    def almost_finished(command):
        shutil.rmtree(stand.run)
        shutil.copytree(kept, stand.run)
        (stand.run / "result.json").unlink()

    monkeypatch.setattr(stand, "empty", almost_finished)
    words = ("mnist_jax.main", "--config=forgetful.py", f"--workdir={RUN}")
    killed = [Kill(phase=("compilation", 1, 0.0))]
    _, expected = first
    assert stand.story(FIRST, killed, expected).wrong == ""
    found = stand.story(dataclasses.replace(FIRST, words=words), killed, expected)
    assert found.kills == 1
    assert "began at step 0 although checkpoint 3 of " in found.wrong


def start(
    *notes: Note, ended: float, status: int = -signal.SIGKILL, said: str = "", newest: int = 0
) -> Start:
    there = {"/b/a": newest} if newest else {}
    return Start(Trial(status, said, "", []), list(notes), Path("/b"), 0.0, ended, there)


def test_where_a_start_goes_on_is_checked():
    def at(step):
        return Note(1.0, folder="a", step=step, per_epoch=8)

    killed = start(at(0), at(8), at(20), ended=2.0, newest=8)
    early = start(ended=1.0, newest=8)  # killed before it has restored anything
    said = "compiling\nresuming from step 8 (epoch 1 done)\n"
    good = start(at(8), at(24), ended=2.0, status=0, said=said)
    assert story.not_gone_on([killed, early, good]) == ""
    anew = start(at(0), at(24), ended=2.0, status=0)
    assert "began at step 0 although checkpoint 8 of /b/a" in story.not_gone_on([killed, anew])
    assert "began at step 0" in story.not_gone_on([killed, early, anew])
    silent = start(at(8), ended=2.0, status=0)
    assert "without a word" in story.not_gone_on([killed, silent])
    late = start(at(0), at(8), at(25), ended=2.0, newest=8)
    assert story.not_gone_on([late, good]) == "2.12 epochs were lost at once"


def test_work_that_a_kill_loses_is_what_is_done_again():
    def at(seconds, step, folder="a"):
        return Note(seconds, folder=folder, step=step, per_epoch=8)

    first = start(at(1, 0), at(2, 4), at(3, 8), at(4, 12), ended=4.5)
    early = start(ended=1.0)  # killed before it has restored anything
    second = start(at(1, 8), at(2, 12), ended=2.5)
    last = start(at(1, 12), at(2, 16), ended=3.0, status=0)
    assert story.lost_work([first, early, second, last]) == [(0.5, 1.5), (0, 0), (0, 0)]
    other = start(at(1, 0, "b"), ended=2.0, status=0)  # the first population was finished
    assert story.lost_work([first, other]) == [(0, 0)]
    assert story.lost_work([first, early]) == []  # which is not known yet


def test_a_stop_whose_work_is_lost_is_found_out():
    note = Note(1.0, folder="a", step=4, per_epoch=8)
    again = Note(1.0, folder="a", step=0, per_epoch=8)
    said = "resuming from step 4 (epoch 0 done)"
    stopped, later = (start(its, ended=2.0, status=75, said=said) for its in (note, again))
    assert notice._not_as_told([stopped, stopped]) == []
    (line,) = notice._not_as_told([stopped, later])
    assert "0.50 epochs" in line
    failed = start(note, ended=2.0, status=1)
    assert "ended with status 1" in notice._not_as_told([failed])[0]


def test_kinds_of_operations_do_not_depend_on_numbers():
    names = [
        ("run/.mnist_jax-12-3456.tmp", "run/.PROCESS.tmp"),
        ("run/checkpoints/21/state/d/0123456789abcdef", "run/checkpoints/N/state/d/DIGEST"),
        ("data/incomplete.A1B2C3_1.0.0/x", "data/incomplete.RANDOM_N.N.N/x"),
        ("temporary/tmp12_abcdtfds", "temporary/RANDOM"),
    ]
    for path, expected in names:
        assert story.generalised(path) == expected


def test_a_disturbance_that_never_comes_is_no_kill(stand, first, monkeypatch):
    _, expected = first
    monkeypatch.setattr(stand, "empty", lambda command: shutil.rmtree(stand.run))
    found = stand.story(FIRST, [Kill(at=Disturbance(100_000, "kill"))], expected)
    assert (found.kills, found.wrong, len(found.starts)) == (0, "", 1)


# What is promised of a row


class Untouched:
    """Stands on which nothing is ever killed."""

    def __init__(self, *operations, notes=()):
        done = Trial(0, "", "", list(operations))
        self.start = Start(done, list(notes), Path("/b"), 0.0, 1.0)
        self.chains = []

    def undisturbed(self, command):
        return self.start, {}

    def kill(self, command, chains, found):
        self.chains += chains
        return []


def test_a_kind_of_operation_that_no_kill_meets_is_lost():
    names = [("write", "/b/run/a"), ("fsync", "/b/run/a"), ("write", "/b/run/c")]
    on = Untouched(*(Operation(i, *its, False) for i, its in enumerate(names, start=1)))
    found = Found()
    found.met.add("fsync run/a")
    text = operations.meet_all_kinds(on, FIRST, found)
    assert text == "1 of 3 kinds of operations were met"
    unmet = "the first `main`: no kill met this kind of operation: write run"
    assert found.lost == [f"{unmet}/a", f"{unmet}/c"]
    tried = [kill.at for (kill,) in on.chains]
    assert tried[:2] == [Disturbance(n, "kill", kinds=("write",)) for n in (1, 2)]


def test_before_a_kill_in_a_restore_there_is_a_checkpoint():
    on = Untouched(notes=[Note(1.0, begins="restore"), Note(3.0, ends="restore")])
    chains = kills.moments(on, FIRST, "restore", 4, random.Random(0), Found())
    assert on.chains == [[Kill(phase=("save", 2, 0.0))]]
    assert len(chains) == 4
    for saved, restoring in chains:
        assert [saved] in on.chains
        assert restoring.phase[:2] == ("restore", 1)
        assert 0 <= restoring.phase[2] <= 2.0


def test_a_row_without_a_case_and_too_few_kills_are_lost():
    row = kills._row("`main` killed", Found())
    assert row.lost == ["`main` killed: no case ran"]
    assert "undisturbed" not in row.found
    rows = [Row("a", 300, ""), Row("b", 199, "")]
    assert kills.too_few(rows, 500) == ["499 kills were tried; 500 were promised"]
    assert kills.too_few([*rows, Row("c", 1, "")], 500) == []


def test_a_case_that_hangs_is_lost_and_the_next_one_goes_on(on, stand, first, monkeypatch):
    hung = [TimeoutError(), ValueError("no JSON")]
    renewed = []
    killed = Story([start(ended=1.0)])

    def tell(*given):
        if hung:
            raise hung.pop(0)
        return killed

    monkeypatch.setattr(stand, "story", tell)
    monkeypatch.setattr(stand, "renew", lambda: renewed.append(stand))
    monkeypatch.setitem(on._expected, FIRST, first)
    found = Found()
    kill = Kill(at=Disturbance(1, "kill"))
    assert on.kill(FIRST, [[kill]] * 3, found) == [killed]
    timeout, unreadable = found.lost
    assert timeout.startswith("the first `main`, kill at operation 1: TimeoutError: no end within")
    assert unreadable.endswith("ValueError: no JSON")
    assert len(renewed) == 2
    assert found.kills == 1


def test_a_part_that_fails_does_not_take_the_others_along():
    def part(on):
        raise RuntimeError("ended with 1")

    row = kills._row_of("moments", part, None)
    assert (row.tried, row.lost) == (0, ["moments: RuntimeError: ended with 1"])


@pytest.mark.slow
def test_what_is_told_to_stop_saves_all(stand):
    words = (f"--config.num_epochs={notice.EPOCHS}", "--config.data.train_split=train[:5000]")
    command = notice._main("mlp.py", *words, "--config.data.val_split=")
    row = notice.told(stand, [notice.Series(command, 2, 2, 0.05)], None)
    assert (row.tried, row.lost) == (2, [])
