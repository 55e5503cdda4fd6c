"""Checkpoints that can be trusted."""

import errno
import gc
import json
import os
import shutil
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.reliability.records import record
from mnist_jax.errors import UserError
from mnist_jax.training import checkpoint, checkpoints
from mnist_jax.training.checkpoint import DamagedError
from mnist_jax.training.checkpoints import Checkpoints
from tests.commands import SMALL, bits, flip_bit, rows, run, untimed

# A reader that fails leaves orbax's own threads talking to a loop that is closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SHORTAGES = [MemoryError(), RuntimeError("can't start new thread")]
STATE = {  # of two networks
    # Random bits do not compress: most of what is on disk is theirs, and found there as it is.
    "params": {
        "dense": {"kernel": np.random.default_rng(0).integers(0, 2**32, (2, 50, 100), np.uint32)}
    },
    "optimizer": (np.zeros((2, 3), np.float32), {"count": np.int32([7, 7])}),
    "step": np.int32([10, 10]),
}
WEIGHTS = {"params": STATE["params"]}


def save(folder, *steps, keep_latest=10, state=STATE):
    networks = len(jax.tree.leaves(state)[0])
    with Checkpoints(folder, keep_latest=keep_latest) as writer:
        for step in steps:
            its = state | {"step": np.full(networks, step, np.int32)}
            writer.save(its, step, record(step, networks))


def files_of(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


def largest(path):
    return max(files_of(path), key=lambda file: file.stat().st_size)


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_restores_what_was_saved(tmp_path):
    save(tmp_path, 10)
    state, found = checkpoint.load(tmp_path, 10, STATE)
    assert_same(state, STATE)
    assert found == record(10, 2)


@pytest.mark.parametrize("member", [0, 1])
def test_restores_a_member_without_the_axis_of_members(tmp_path, member):
    save(tmp_path, 10)
    its = jax.tree.map(lambda x: x[member], STATE)
    state, _ = checkpoint.load(tmp_path, 10, its, member)
    assert_same(state, its)
    found = checkpoints.newest_sound(tmp_path, its, set_aside=False, member=member)
    assert_same(found[0], its)
    arrays, _ = checkpoint.read(tmp_path, 10, ["params"], member)
    assert_same(arrays, {"params/dense/kernel": its["params"]["dense"]["kernel"]})


def test_whole_parts_may_be_left_out(tmp_path):
    save(tmp_path, 10)
    part, _ = checkpoint.load(tmp_path, 10, WEIGHTS)
    assert_same(part, WEIGHTS)


DEEPER = {
    "params": {
        "dense_1": {"kernel": np.ones((1, 4, 4), np.float32)},
        "dense_2": {"kernel": np.ones((1, 4, 4), np.float32)},
    },
    "variables": {"norm": {"mean": np.zeros((1, 4), np.float32)}},
}
SHALLOWER = {"params": {"dense_1": DEEPER["params"]["dense_1"]}}


class TestAnotherNetwork:
    """Within a part, what was saved is what is wanted: no more, and no less."""

    def refused(self, folder, template, *lines):
        for member, its in ((None, template), (0, jax.tree.map(lambda x: x[0], template))):
            with pytest.raises(UserError, match="does not fit this network") as error:
                checkpoint.load(folder, 10, its, member)
            assert [line.strip() for line in str(error.value).splitlines()[1:]] == [*lines]

    def test_a_larger_one_was_saved(self, tmp_path):
        save(tmp_path, 10, state=DEEPER)
        line = "params/dense_2/kernel: saved (4, 4), wanted nothing"
        self.refused(tmp_path, SHALLOWER, line)
        assert checkpoints.steps(tmp_path) == [10]

    def test_a_smaller_one_was_saved(self, tmp_path):
        save(tmp_path, 10, state=SHALLOWER)
        self.refused(
            tmp_path,
            DEEPER,
            "params/dense_2/kernel: saved nothing, wanted (4, 4)",
            "variables/norm/mean: saved nothing, wanted (4,)",
        )

    def test_one_of_other_shapes_was_saved(self, tmp_path):
        save(tmp_path, 10, state=SHALLOWER)
        wider = jax.tree.map(lambda x: np.ones((1, 4, 8)), SHALLOWER)
        line = "params/dense_1/kernel: saved (4, 4), wanted (4, 8)"
        self.refused(tmp_path, wider, line)

    def test_batch_statistics_that_are_not_wanted_are_named_where_their_part_is(self, tmp_path):
        save(tmp_path, 10, state=DEEPER)
        whole, _ = checkpoint.load(tmp_path, 10, {"params": DEEPER["params"]})
        assert_same(whole, {"params": DEEPER["params"]})
        more = {"variables": {"norm": {"var": np.zeros((1, 4), np.float32)}}}
        self.refused(
            tmp_path,
            more,
            "variables/norm/mean: saved (4,), wanted nothing",
            "variables/norm/var: saved nothing, wanted (4,)",
        )

    def test_nothing_is_set_aside(self, tmp_path):
        save(tmp_path, 10, 20, state=DEEPER)
        with pytest.raises(UserError, match=r"dense_2"):
            checkpoints.newest_sound(tmp_path, SHALLOWER, set_aside=True)
        assert checkpoints.steps(tmp_path) == [10, 20]

    def test_a_long_list_is_cut(self, tmp_path):
        many = {"params": {f"dense_{i}": np.zeros((1, 2), np.float32) for i in range(20)}}
        save(tmp_path, 10, state=many)
        with pytest.raises(UserError, match="and 7 more") as error:
            checkpoint.load(tmp_path, 10, {"params": {"dense_0": many["params"]["dense_0"]}})
        assert len(str(error.value).splitlines()) == 14

    def test_another_number_of_networks_is_told(self, tmp_path):
        save(tmp_path, 10, state=SHALLOWER)
        two = jax.tree.map(lambda x: np.ones((2, 4, 4), np.float32), SHALLOWER)
        with pytest.raises(UserError, match="dense_1/kernel holds 1 networks, expected 2"):
            checkpoint.load(tmp_path, 10, two)


def rewrite_metadata(path, change):
    """Changes what was sealed, and seals it again."""
    file = path / checkpoint.METADATA
    content = json.loads(file.read_text())
    sealed = content["custom_metadata"]
    del sealed["seal"]
    change(sealed)
    sealed["seal"] = checkpoint._seal(sealed)
    file.write_text(json.dumps(content))


def in_record(name, value):
    def change(sealed):
        sealed["record"][name] = value

    change.__name__ = f"{name} {value}"
    return change


def without(name):
    return lambda sealed: sealed["record"].pop(name)


def of_arrays(part, value):
    return lambda sealed: sealed[part].update({"optimizer/0": value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sealed: sealed.pop("digests"), "do not describe arrays"),
        (lambda sealed: sealed["shapes"].pop("step"), "do not describe the same arrays"),
        (lambda sealed: sealed.update(record=[]), "no valid status of networks"),
        (of_arrays("shapes", 3), "the shape of optimizer/0 is not that of 2 networks"),
        (of_arrays("shapes", [1, 3]), "the shape of optimizer/0 is not that of 2 networks"),
        (of_arrays("digests", 1), "optimizer/0 has no digest of each"),
        (of_arrays("digests", ["a"]), "optimizer/0 has no digest of each"),
        (without("clock"), "its record has no valid clock"),
        (in_record("clock", {"total_seconds": 10**400}), "its record has no valid clock"),
        (in_record("status", 1.5), "no valid status of networks"),
        (in_record("status", ["finished", None]), "its record has no valid status"),
        (in_record("rows", [""]), "its record has no valid rows"),
        (in_record("rows", ["", '["epoch"]\n[1, 2]\n']), "its record has no valid rows"),
        (in_record("rows", ["", "{"]), "its record has no valid rows"),
        (in_record("epochs", "1"), "its record has no valid epochs"),
        (in_record("seconds", float("nan")), "its record has no valid seconds"),
        (in_record("models", [{}]), "its record has no valid models"),
        (in_record("models", [{}, 1]), "its record has no valid models"),
        (in_record("conditions", [{"step": 0}]), "its record has no valid conditions"),
        (in_record("conditions", {}), "its record has no valid conditions"),
    ],
)
def test_metadata_that_no_run_writes_are_damaged_whatever_their_seal(tmp_path, change, message):
    save(tmp_path, 10, 20)
    rewrite_metadata(tmp_path / "20", change)
    with pytest.raises(DamagedError, match=message):
        checkpoint.load(tmp_path, 20, STATE)
    with pytest.raises(DamagedError, match=message):
        checkpoint.check(tmp_path, 20)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_another_format_is_refused_by_name_with_what_to_do(tmp_path, number):
    save(tmp_path, 10)

    def change(sealed):
        del sealed["format"]  # as it was in format 1
        if number != 1:
            sealed["format"] = number

    rewrite_metadata(tmp_path / "10", change)
    message = rf"/10 has format {number}, .* reads format 3\. Use the version that wrote it"
    for read in (
        lambda: checkpoint.load(tmp_path, 10, STATE),
        lambda: checkpoints.newest_sound(tmp_path, STATE, set_aside=True),
        lambda: list(checkpoints.verify(tmp_path)),
    ):
        with pytest.raises(UserError, match=message):
            read()
    assert checkpoints.steps(tmp_path) == [10]


class TestTheSystemRefuses:
    """What cannot be read is perhaps sound: the run ends, and nothing is renamed."""

    ERRORS = (errno.EIO, errno.EACCES)

    @pytest.fixture(params=ERRORS, ids=lambda code: errno.errorcode[code])
    def error(self, request):
        code = request.param
        return (PermissionError if code == errno.EACCES else OSError)(code, "no")

    def refused(self, folder):
        with pytest.raises(UserError, match=r"refuses to read checkpoint .*/20: .*not touched"):
            checkpoints.newest_sound(folder, STATE, set_aside=True)
        with pytest.raises(UserError, match=r"refuses to read checkpoint .*/\d0: .*not touched"):
            list(checkpoints.verify(folder))
        assert checkpoints.steps(folder) == [10, 20]

    def refuse(self, monkeypatch, error, meant):
        original = Path.read_bytes

        def read_bytes(path):
            if meant(path):
                raise error
            return original(path)

        monkeypatch.setattr(Path, "read_bytes", read_bytes)

    def test_to_give_the_metadata(self, tmp_path, monkeypatch, error):
        save(tmp_path, 10, 20)
        self.refuse(monkeypatch, error, lambda path: path.name == checkpoint.METADATA)
        self.refused(tmp_path)

    def test_to_give_an_array(self, tmp_path, monkeypatch, error):
        save(tmp_path, 10, 20)
        monkeypatch.setattr(checkpoint._import_orbax(), "load", lambda *a, **k: fail(error))
        self.refused(tmp_path)

    def test_to_give_an_array_which_orbax_reports_as_a_fault_of_its_own(
        self, tmp_path, monkeypatch, error
    ):
        save(tmp_path, 10, 20)
        wrapped = ValueError("NOT_FOUND: Error reading local file")
        monkeypatch.setattr(checkpoint._import_orbax(), "load", lambda *a, **k: fail(wrapped))
        unreadable = largest(tmp_path / "20")
        self.refuse(monkeypatch, error, lambda path: path.name == unreadable.name)
        self.refused(tmp_path)

    def test_to_list_the_folder(self, tmp_path, monkeypatch, error):
        save(tmp_path, 10, 20)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "iterdir", lambda path: fail(error))
            with pytest.raises(UserError, match=r"refuses"):
                checkpoints.newest_sound(tmp_path, STATE, set_aside=True)
        assert checkpoints.steps(tmp_path) == [10, 20]


@pytest.mark.parametrize("lack", SHORTAGES)
@pytest.mark.parametrize("wrapped", [False, True])
def test_lack_of_memory_or_threads_is_no_damage(tmp_path, monkeypatch, lack, wrapped):
    """It is none where orbax reports it as a fault of its own, either."""

    def load(*arguments, **keywords):
        if wrapped:
            raise ValueError("cannot be read") from lack
        raise lack

    save(tmp_path, 10, 20)
    monkeypatch.setattr(checkpoint._import_orbax(), "load", load)
    message = r"checkpoint .*/20 cannot be read: the (memory does not|system starts no)"
    with pytest.raises(UserError, match=message):
        checkpoints.newest_sound(tmp_path, STATE, set_aside=True)
    assert checkpoints.steps(tmp_path) == [10, 20]


@pytest.mark.parametrize("tries", [1, 2])
def test_arrays_that_cannot_be_loaded_are_tried_so_often(tmp_path, monkeypatch, tries):
    """Several processes try once each, so that orbax numbers their operations alike."""
    tried = []

    def load(*arguments, **keywords):
        tried.append(arguments)
        raise ValueError("cannot be read")

    save(tmp_path, 10)
    monkeypatch.setattr(checkpoint._import_orbax(), "load", load)
    with pytest.raises(DamagedError, match="cannot be read"):
        checkpoint.load(tmp_path, 10, STATE, tries=tries)
    assert len(tried) == tries


@pytest.mark.parametrize("name", ["loads", "dumps"])
def test_lack_of_memory_as_the_metadata_is_read_is_no_damage(tmp_path, monkeypatch, name):
    save(tmp_path, 10, 20)
    monkeypatch.setattr(checkpoint.json, name, lambda *a, **k: fail(MemoryError()))
    with pytest.raises(MemoryError):
        checkpoints.newest_sound(tmp_path, STATE, set_aside=True)
    assert checkpoints.steps(tmp_path) == [10, 20]


def fail(error):
    raise error


def test_every_flipped_bit_is_detected_or_changes_nothing(tmp_path):
    save(tmp_path, 10)
    detected = {}
    for path in files_of(tmp_path / "10"):
        original = path.read_bytes()
        detected[path] = 0
        for at in np.linspace(0, len(original) - 1, 12, dtype=int) if original else []:
            flip_bit(path, int(at))
            try:
                state, found = checkpoint.load(tmp_path, 10, STATE)
            except DamagedError:
                detected[path] += 1
            else:
                assert_same(state, STATE)
                assert found == record(10, 2)
            path.write_bytes(original)
    assert detected[max(detected, key=lambda path: path.stat().st_size)] >= 11
    assert sum(detected.values()) > 30


def flip_kernel(path, member):
    """Flips a bit of a member's kernel where it lies on disk; the file."""
    kernel = STATE["params"]["dense"]["kernel"]
    needle = kernel[member].tobytes()[400:464]
    (file,) = [file for file in files_of(path) if needle in file.read_bytes()]
    flip_bit(file, file.read_bytes().index(needle))
    return file


@pytest.mark.parametrize("damaged", [0, 1])
def test_damage_in_the_share_of_one_member_is_that_members_alone(tmp_path, damaged, capsys):
    save(tmp_path, 10)
    flip_kernel(tmp_path / "10", damaged)
    other = 1 - damaged
    message = rf"kernel, member {damaged}: SHA-256 is \w{{64}}, was \w{{64}} when saved"
    parts = [jax.tree.map(lambda x, i=i: x[i], STATE) for i in (0, 1)]

    state, _ = checkpoint.load(tmp_path, 10, parts[other], other)
    assert_same(state, parts[other])
    assert dict(checkpoints.verify(tmp_path, other)) == {10: ""}
    found = checkpoints.newest_sound(tmp_path, parts[other], set_aside=False, member=other)
    assert_same(found[0], parts[other])

    with pytest.raises(DamagedError, match=message):
        checkpoint.load(tmp_path, 10, parts[damaged], damaged)
    with pytest.raises(DamagedError, match=message):
        checkpoint.load(tmp_path, 10, STATE)
    assert dict(checkpoints.verify(tmp_path, damaged))[10]
    assert dict(checkpoints.verify(tmp_path))[10]
    assert checkpoints.newest_sound(tmp_path, STATE, set_aside=True) is None
    assert "10 is damaged: params/dense/kernel, member" in capsys.readouterr().err
    assert checkpoints.steps(tmp_path) == []


@pytest.mark.parametrize("damage", ["truncate", "empty", "unlink"])
def test_every_damaged_file_is_detected_or_harmless(tmp_path, damage):
    save(tmp_path, 10)
    detected = 0
    for path in files_of(tmp_path / "10"):
        original = path.read_bytes()
        if damage == "unlink":
            path.unlink()
        else:
            path.write_bytes(original[: len(original) // 2] if damage == "truncate" else b"")
        try:
            state, _ = checkpoint.load(tmp_path, 10, STATE)
            assert_same(state, STATE)
        except DamagedError:
            detected += 1
        path.write_bytes(original)
    assert detected >= 2


def damage_metadata(path):
    (path / checkpoint.METADATA).unlink()


def damage_end(path):
    (path / "commit_success.txt").unlink()


def damage_json(path):
    file = path / checkpoint.METADATA
    file.write_bytes(file.read_bytes()[:-100])


def damage_record(path):
    file = path / checkpoint.METADATA
    file.write_text(file.read_text().replace('"epochs": 0', '"epochs": 1'))


def damage_bit(path):
    flip_kernel(path, 1)


def damage_arrays(path):
    file = largest(path)
    file.write_bytes(file.read_bytes()[:1000])


def damage_no_arrays(path):
    largest(path).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_metadata, "its metadata is missing"),
        (damage_end, "it was not written completely"),
        (damage_json, "its metadata cannot be read"),
        (damage_record, "its record does not match the record's digest"),
        (damage_bit, "params/dense/kernel, member 1: SHA-256 is"),
        (damage_arrays, "cannot be read"),
        (damage_no_arrays, "cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_one_is_set_aside_and_the_one_before_is_taken(tmp_path, capsys, damage, message):
    save(tmp_path, 10, 20)
    damage(tmp_path / "20")
    state, found, step = checkpoints.newest_sound(tmp_path, STATE, set_aside=True)
    assert (step, found) == (10, record(10, 2))
    assert_same(state, STATE)
    said = capsys.readouterr().err
    assert f"20 is damaged: {message}" in said
    assert "set aside as 20.damaged" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "20.damaged"]


def test_falls_back_to_the_newest_sound_one(tmp_path, capsys):
    save(tmp_path, 10, 20, 30)
    (tmp_path / "40").mkdir()  # what a crash can leave
    flip_kernel(tmp_path / "30", 0)
    state, _, step = checkpoints.newest_sound(tmp_path, STATE, set_aside=False)
    assert (step, state["step"].tolist()) == (20, [20, 20])
    assert checkpoints.steps(tmp_path) == [10, 20, 30, 40]
    warnings = capsys.readouterr().err
    assert "30 is damaged" in warnings
    assert "40 is damaged: it was not written completely" in warnings
    checkpoints.newest_sound(tmp_path, STATE, set_aside=True)
    assert checkpoints.steps(tmp_path) == [10, 20]
    save(tmp_path, 30)  # the place is free again
    assert checkpoints.newest_sound(tmp_path, STATE, set_aside=True)[2] == 30
    flip_kernel(tmp_path / "30", 0)
    checkpoints.newest_sound(tmp_path, STATE, set_aside=True)
    assert (tmp_path / "30.damaged-1").is_dir()


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.newest_sound(tmp_path / "none", STATE, set_aside=True) is None


def test_what_is_named_otherwise_is_no_checkpoint(tmp_path):
    save(tmp_path, 10)
    for name in ("0099", "99.damaged", "tmp", "²"):
        (tmp_path / name).mkdir()
    (tmp_path / "98").write_text("")
    assert checkpoints.steps(tmp_path) == [10]
    assert checkpoints.newest_sound(tmp_path, STATE, set_aside=True)[2] == 10
    assert (tmp_path / "0099").is_dir()
    assert dict(checkpoints.verify(tmp_path)) == {10: ""}


def test_keeps_the_latest(tmp_path):
    save(tmp_path, 10, 20, 30, 40, keep_latest=2)
    assert checkpoints.steps(tmp_path) == [30, 40]


def test_an_old_one_is_removed_even_if_the_folder_cannot_be_listed_for_leftovers(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(type(tmp_path), "glob", lambda *arguments: iter(()))
    save(tmp_path, 10, 20, 30, keep_latest=1)
    assert [path.name for path in tmp_path.iterdir()] == ["30"]


def test_what_a_killed_process_would_have_removed_is_removed_with_nothing_left_to_save(tmp_path):
    save(tmp_path, 10, 20, 30)  # it was killed as soon as the last one was complete
    for name in ("5.removed", f"40{checkpoints.UNFINISHED}"):
        (tmp_path / name).mkdir()
    save(tmp_path, keep_latest=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20", "30"]


def test_refused_save_is_an_error(tmp_path):
    save(tmp_path, 20)
    with pytest.raises(UserError, match="could not write checkpoint 10"):
        save(tmp_path, 10)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write checkpoints to"):
        Checkpoints(tmp_path / "file" / "checkpoints", keep_latest=2)


def test_failed_write_is_an_error_that_names_the_last_good_one(tmp_path, monkeypatch):
    save(tmp_path, 10)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(checkpoint._import_orbax(), "save", lambda *a, **k: fail(full))
    writer = Checkpoints(tmp_path, keep_latest=2)
    writer.save(STATE, 20, record(20, 2))
    with pytest.raises(UserError, match=r"checkpoint 20 .*No space left.* on disk is 10"):
        writer.close()


def test_an_old_one_that_cannot_be_removed_is_an_error_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints.shutil, "rmtree", lambda *a, **k: None)
    writer = Checkpoints(tmp_path, keep_latest=1)
    save(tmp_path, 10)
    (tmp_path / "10.removed" / "file").mkdir(parents=True)  # so that 10 cannot get this name
    writer.save(STATE, 20, record(20, 2))
    with pytest.raises(UserError, match=r"cannot write \S+/10: .*not empty"):
        writer.close()
    assert checkpoints.steps(tmp_path) == [10, 20]


def test_what_was_left_of_a_removal_does_not_hinder_the_next_one(tmp_path):
    save(tmp_path, 10)
    save(tmp_path, 20)
    (tmp_path / "10.removed" / "file").mkdir(parents=True)
    Checkpoints(tmp_path, keep_latest=1)
    assert [path.name for path in tmp_path.iterdir()] == ["20"]


def test_one_whose_folder_cannot_be_listed_after_the_save_is_not_kept(tmp_path, monkeypatch):
    save(tmp_path, 10)
    refused = UserError("the system refuses to list it")
    monkeypatch.setattr(checkpoint.presence, "is_file", lambda path: fail(refused))
    with pytest.raises(UserError, match=r"checkpoint 20 .*could not be listed.* on disk is 10"):
        save(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["10"]


def test_one_is_lost_whose_folder_is_taken_away_meanwhile(tmp_path, monkeypatch):
    orbax, folder = checkpoint._import_orbax(), tmp_path / "checkpoints"
    save(folder, 10)
    real = orbax.save

    def taken(path, *arguments, **keywords):
        real(path, *arguments, **keywords)
        folder.rename(tmp_path / "elsewhere")
        shutil.copytree(tmp_path / "elsewhere", folder)  # as orbax makes it in the middle

    monkeypatch.setattr(orbax, "save", taken)
    with pytest.raises(UserError, match=r"checkpoint 20 .*removed or renamed.* on disk is 10"):
        save(folder, 20)
    assert not (folder / "20").exists()


@pytest.mark.parametrize("lack", SHORTAGES)
def test_lack_of_memory_or_threads_is_not_blamed_on_the_disk(tmp_path, monkeypatch, lack):
    save(tmp_path, 10)
    monkeypatch.setattr(checkpoint._import_orbax(), "save", lambda *a, **k: fail(lack))
    message = "checkpoint 20 .* on disk is 10; the (memory does not|system starts no)"
    with pytest.raises(UserError, match=message):
        save(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["10"]


def test_a_folder_that_is_taken_away_between_two_is_made_again(tmp_path):
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder, keep_latest=2) as writer:
        writer.save(STATE, 10, record(10, 2))
        writer.wait()
        shutil.rmtree(folder)
        writer.save(STATE, 20, record(20, 2))
    assert checkpoints.steps(folder) == [20]


@pytest.mark.parametrize("refused", [f"20{checkpoints.UNFINISHED}", "state"])
def test_a_folder_that_the_system_refuses_to_make_is_an_error(tmp_path, monkeypatch, refused):
    save(tmp_path, 10)
    make = os.mkdir

    def mkdir(path, *arguments, **keywords):
        if Path(path).name == refused:
            raise OSError(28, "No space left on device")
        make(path, *arguments, **keywords)

    monkeypatch.setattr(os, "mkdir", mkdir)
    before = threading.enumerate()
    with pytest.raises(UserError, match=r"checkpoint 20 .*No space left.* on disk is 10"):
        save(tmp_path, 20)
    for its in threading.enumerate():  # the process cannot end before these
        if its not in before and not its.daemon:
            its.join(60)
            assert not its.is_alive()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("damaged") / "run"
    run("main", *SMALL, f"--workdir={workdir}")
    return workdir


@pytest.mark.slow
def test_verify_evaluate_and_main_meet_a_damaged_checkpoint(finished):
    good, before = bits(finished), untimed(rows(finished))
    assert run("verify", f"--workdir={finished}").stdout == "15: sound\n30: sound\n"
    data = finished / "checkpoints" / "30"
    # Which arrays share a file is orbax's to choose, anew each time: the weights get theirs too.
    for path in (file for file in files_of(data) if file.stat().st_size > 10_000):
        for tenth in range(1, 10):
            flip_bit(path, path.stat().st_size * tenth // 10)

    found = run("verify", f"--workdir={finished}", status=1).stdout
    assert found.startswith("15: sound\n30: DAMAGED: ")

    fallen_back = run("evaluate", f"--workdir={finished}")
    assert "warning: checkpoint" in fallen_back.stderr
    assert json.loads((finished / "evaluation.json").read_text())["checkpoint"] == 15
    named = run("evaluate", f"--workdir={finished}", "--checkpoint=30", status=1)
    assert "is damaged" in named.stderr
    assert data.exists()

    (finished / "result.json").unlink()
    resumed = run("main", *SMALL, f"--workdir={finished}")
    assert "set aside as 30.damaged" in resumed.stderr
    assert (finished / "checkpoints" / "30.damaged").is_dir()
    assert bits(finished) == good
    assert untimed(rows(finished)) == before
    assert run("verify", f"--workdir={finished}").stdout == "15: sound\n30: sound\n"


def test_one_that_was_renamed_is_damaged(tmp_path, capsys):
    save(tmp_path, 10, 20)
    (tmp_path / "20").rename(tmp_path / "30")
    state, found, step = checkpoints.newest_sound(tmp_path, STATE, set_aside=True)
    assert (step, found) == (10, record(10, 2))
    assert_same(state, STATE)
    assert "30 is damaged: it holds step 20; was the folder renamed?" in capsys.readouterr().err


def test_arrays_that_cannot_be_read_are_one_line(tmp_path, caplog):
    save(tmp_path, 10)
    for path in files_of(tmp_path / "10" / "state" / "d"):
        flip_bit(path, path.stat().st_size // 2)
    for _ in range(5):
        with pytest.raises(DamagedError) as caught:
            checkpoint.load(tmp_path, 10, STATE)
        assert "\n" not in str(caught.value)
        gc.collect()  # what has failed besides is told of when it is collected
    assert [record.name for record in caplog.records] == []
