"""The system fails under real trainings: no checkpoint is lost, and the next start goes on."""

import re
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.reliability import faults, trial
from benchmarks.reliability.failing import cases, mishaps, scenes, verdict
from benchmarks.reliability.failing.cases import Case
from benchmarks.reliability.failing.ending import End, Ending
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.row import Row
from benchmarks.reliability.trial import Disturbance, Operation

# The functions of the C library on files and folders, without the size of offsets.
FILES = """
    open openat __openat_2 creat opendir fdopendir readdir readdir_r scandir closedir close
    close_range closefrom truncate ftruncate stat fstat lstat fstatat statx __xstat __fxstat
    __lxstat __fxstatat statfs fstatfs statvfs fstatvfs access faccessat eaccess euidaccess chmod
    fchmod fchmodat lchmod chown fchown fchownat lchown utime utimes utimensat futimens futimes
    lutimes read write pread pwrite readv writev preadv pwritev preadv2 pwritev2 sendfile splice
    copy_file_range fallocate posix_fallocate posix_fadvise mmap mkdir mkdirat mkdtemp mkstemp
    mkstemps mkostemp mkostemps tmpfile link linkat symlink symlinkat readlink readlinkat unlink
    unlinkat rename renameat renameat2 remove rmdir mkfifo mkfifoat mknod mknodat fsync fdatasync
    sync syncfs flock lockf chdir fchdir getxattr setxattr listxattr removexattr fgetxattr fsetxattr
    flistxattr fremovexattr lgetxattr lsetxattr llistxattr lremovexattr fopen fdopen freopen fclose
    fread fwrite fflush fgets fgetc fputs fputc
    """
KEPT = ((Ending.HARMLESS, ""), (Ending.MESSAGE, ""))
HARMLESS = {
    **dict.fromkeys(("fwrite", "fflush", "fclose", "fputs", "fputc"), "see interposed.c"),
    **dict.fromkeys(("fread", "fgets", "fgetc", "fdopen"), "of stdio as well"),
    **dict.fromkeys(("closedir", "close_range", "closefrom"), "nothing is lost if they fail"),
    **dict.fromkeys(("readlink", "readlinkat"), "there are no links below the folders"),
    **dict.fromkeys(("mkfifo", "mkfifoat", "mknod", "mknodat"), "nothing here makes pipes"),
    **dict.fromkeys(("chdir", "fchdir"), "no command goes to another folder"),
    **dict.fromkeys(("chown", "fchown", "fchownat", "lchown", "fchmodat"), "no owner is changed"),
    **dict.fromkeys(("statfs", "statvfs64", "fstatvfs64"), "they ask for free space only"),
    **dict.fromkeys(("splice", "lockf64", "sync", "posix_fadvise64"), "only `os` offers them"),
    **{
        f"{where}{what}xattr": "no attributes are set, and a copy goes on without them"
        for where in ("", "f", "l")
        for what in ("get", "set", "list", "remove")
    },
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("faults") / "stage") as its:
        yield its


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library that is interposed."""
    return trial.compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def found(stage):
    jobs = faults.few(stage)
    return jobs, faults.played([stage], jobs)


def test_faults_of_all_kinds_lose_nothing(found):
    rows = faults.rows(*found)
    assert [line for row in rows for line in row.lost] == []
    assert sum(row.tried for row in rows) > len(found[0]) / 2
    assert {mishaps.TAKEN, mishaps.PROGRAMS} <= {row.what for row in rows}


def test_some_are_told_of_and_some_are_harmless(found):
    """Else nothing would be disturbed, or every disturbance would end a training."""
    assert {Ending.HARMLESS, Ending.MESSAGE} <= {end.ending for end in found[1]}


def test_a_checkpoint_without_its_index_is_not_saved(stage):
    """Orbax takes a folder that it cannot list for one with nothing to merge."""
    operations, plain = stage.listed(scenes.SAVING)
    (its,) = (
        its
        for (kind, file), its in cases.groups(operations).items()
        if kind == "list" and file.endswith("N.orbax-checkpoint-tmp/state")
    )
    for number, path in its[:2]:
        case = Case("list", number, "EIO", path=path)
        end = verdict.play(stage, scenes.SAVING, case.disturbance, plain)
        assert (end.ending, end.wrong) in KEPT


def test_a_sound_checkpoint_is_not_set_aside_for_one_look_that_fails(stage):
    operations, plain = stage.listed(scenes.RESTORING)
    looks = [case for case in cases.single(operations) if (case.kinds, case.act) == ("stat", "EIO")]
    inner = [case for case in looks if case.path.endswith(("/state", "/state/_METADATA"))]
    assert inner
    end = verdict.play(stage, scenes.RESTORING, inner[0].disturbance, plain)
    assert (end.ending, end.wrong) in KEPT


def test_each_operation_fails_and_each_kind_has_each_error():
    operations = [
        Operation(number, "write", f"/bench/run/checkpoints/{number}/data", disturbed=False)
        for number in range(1, 9)
    ] + [Operation(9, "list", "/bench/run", disturbed=False)]
    found = cases.single(operations)
    writes = [case for case in found if case.kinds == "write"]
    assert {case.number for case in writes} == {*range(1, 9)}
    assert {case.act for case in writes} == {*cases.ERRORS["write"]}
    assert {case.act for case in found if case.kinds == "list"} == {*cases.ERRORS["list"]}
    known = cases.groups(operations)
    assert cases.single(operations, known) == []
    assert len(cases.single(operations, known, each=True)) == 9


def test_errors_take_turns_where_each_kind_of_file_has_one():
    operations = [Operation(1, "write", f"/bench/run/{i}", disturbed=False) for i in "abc"]
    operations.append(Operation(4, "list", "/bench/run", disturbed=False))
    acts = [case.act for case in cases.single(operations, most=1)]
    assert acts == [*cases.ERRORS["write"][:3], cases.ERRORS["list"][0]]


def test_a_row_counts_what_was_played():
    jobs = [
        faults.Job("what", str(i), scenes.TRAINING, lambda stage, plain: End()) for i in range(4)
    ]
    ends = [End(Ending.HARMLESS), End(Ending.ABORTED), End(wrong="it hangs"), End(Ending.UNMET)]
    kept = Ending.HARMLESS, Ending.ABORTED, Ending.UNMET
    text = "; ".join(f"1 {ending.value}" for ending in kept)
    assert faults.rows(jobs, ends) == [Row("what", 3, text, ["2: it hangs"])]
    (row,) = faults.rows(jobs[3:], ends[3:])
    assert (row.tried, len(row.lost)) == (0, 1)


def test_a_kind_of_operation_that_is_not_met_is_tried_nearby_and_then_lost():
    paths = ["/bench/run/a", "/bench/run/b"]
    operations = [Operation(i, "fsync", path, disturbed=True) for i, path in enumerate(paths, 1)]
    jobs = faults._failing(scenes.COLD, cases.single(operations))
    ends = [End(Ending.HARMLESS, met=operations[0])] * len(jobs)
    ((job, case),) = faults.unmet(jobs, ends)
    assert case.group == ("fsync", "bench/run/b")
    assert [faults.near(job, case, attempt).case.number for attempt in range(4)] == [3, 1, 4, 1]
    tried, its_ends = [*jobs, faults.near(job, case, 0)], [*ends, End(Ending.UNMET)]
    assert faults.unmet(tried, its_ends) == [(job, case)]  # the next one is near it, too
    (row,) = faults.rows(jobs, ends, whole=True)
    assert row.lost == ["fsync bench/run/b: no fault was met"]
    assert row.found.startswith("1 of 2 kinds of operations were met; ")
    ends[-1] = End(Ending.HARMLESS, met=operations[1])
    assert faults.unmet(jobs, ends) == faults.rows(jobs, ends, whole=True)[0].lost == []


CUT = """
import os, shutil
open("whole", "wb").write(b"12345678")
shutil.copyfile("whole", "copy")
file = os.open("whole", os.O_RDWR)
print(os.path.getsize("copy"), os.read(file, 100), os.read(file, 100), os.read(file, 100))
os.write(file, b"9")
"""


@pytest.mark.parametrize(
    ("kinds", "at", "printed"),
    [
        ("read", 1, "8 b'1234' b'5678' b''"),  # though all fits into half of the buffer
        ("read", 3, None),  # the end of the file
        ("write", 3, None),  # nothing is left to be copied
        ("write", 4, None),  # a byte has no half
        ("write", 2, "8 b'12345678' b'' b''"),  # of a copy, Python copies the rest
    ],
)
def test_only_what_was_cut_short_is_marked(tmp_path, library, kinds, at, printed):
    environment = trial.environment(tmp_path, tmp_path) | {
        "LD_PRELOAD": str(library),
        "INTERPOSED_LOG": str(tmp_path / "log"),
        **Disturbance(at, "short", (kinds,)).variables(),
        "INTERPOSED_FOLDERS": str(tmp_path / "here"),
    }
    (tmp_path / "here").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CUT],
        env=environment,
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        check=True,
    )
    marked = [each.number for each in trial.operations(tmp_path / "log") if each.disturbed]
    assert marked == ([at] if printed else [])
    assert done.stdout.strip() == (printed or "8 b'12345678' b'' b''")


def libraries():
    """Returns the files whose calls of the C library are interposed."""
    yield Path(sys.executable).resolve()
    folder = sysconfig.get_config_var("LIBDIR")
    yield from Path(folder).glob(f"libpython{sysconfig.get_python_version()}*.so.1.0")
    for name in ("mmap", "fcntl"):
        if origin := find_spec(name).origin:
            yield Path(origin)
    for name in ("tensorstore", "array_record", "jaxlib"):
        for place in find_spec(name).submodule_search_locations:
            yield from (path for path in Path(place).rglob("*.so*") if path.is_file())


def symbols(which, paths):
    text = subprocess.run(
        ["nm", "-D", which, *paths], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[-1].partition("@")[0] for line in text.splitlines() if " " in line}


def _plain(name):
    return re.sub(r"64(v2)?$", lambda size: "2" if size[1] else "", name)


def test_the_file_operations_of_all_libraries_are_met(library):
    used = {
        name
        for name in symbols("--undefined-only", [*libraries()])
        if _plain(name) in FILES.split()
    }
    assert {"open64", "fdopendir", "pwrite64", "__fxstat64", "mkdtemp"} <= used
    met = symbols("--defined-only", [library])
    assert used - met - HARMLESS.keys() == set()
    assert not met & HARMLESS.keys()


def test_a_mishap_that_does_not_happen_is_not_counted(stage):
    _, plain = stage.listed(scenes.TRAINING)
    end = mishaps.taken_away(stage, plain, how="deleted", moment="saving", number=9)
    assert end == End(Ending.UNMET)
    with pytest.raises(LookupError):
        mishaps.damaged_program(stage, plain, damage="cut", name="no_such_program")


def test_the_clock_goes_back(stage):
    _, plain = stage.listed(scenes.TRAINING)
    end = mishaps.clock_back(stage, plain, seconds=3600, moment="saving", number=2)
    assert end == End(Ending.HARMLESS)
