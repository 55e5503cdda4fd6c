"""What a program needs and what there is, and a population that is too large for it."""

import dataclasses
import platform
import types

import jax
import pytest

from mnist_jax import control_groups
from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.members import Planned
from mnist_jax.training import memory, sweep, sweepdir
from mnist_jax.training.program import prepare_many
from mnist_jax.training.stop import StopSignal
from tests.commands import python
from tests.training.small import SMALL, on_devices, untimed

GIB = 2**30


def analysis(**sizes):
    names = ("argument", "output", "alias", "temp")
    return types.SimpleNamespace(**{f"{n}_size_in_bytes": sizes.get(n, 0) for n in names})


def test_what_a_program_needs_counts_what_it_overwrites_once():
    found = analysis(argument=1000, output=900, alias=800, temp=50)
    compiled = types.SimpleNamespace(memory_analysis=lambda: found)
    assert memory.needed(compiled) == 1150
    assert memory.needed(types.SimpleNamespace(memory_analysis=lambda: None)) == 0


def devices(platform, count=1, stats=None):
    one = types.SimpleNamespace(platform=platform, memory_stats=lambda: stats)
    return [one] * count


def test_an_accelerator_tells_what_it_has():
    assert memory.available(devices("gpu", 2, {"bytes_limit": 10 * GIB})) == 8 * GIB
    assert memory.available(devices("tpu")) == float("inf")
    assert memory.available(devices("tpu", stats={})) == float("inf")


NEW, OLD = "memory.max", "memory.limit_in_bytes"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 100 bytes; a function that puts the process into groups with limits."""
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 10}.__getitem__)
    monkeypatch.setattr(memory, "SIZES", tmp_path / "statm")
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "groups")
    monkeypatch.setattr(control_groups, "LIMITS", tmp_path)

    def limited(groups, files):
        (tmp_path / "groups").write_text(groups)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return limited


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, 100),
        ("0::/\n", {NEW: "max"}, 100),
        ("0::/\n", {NEW: "40\n"}, 40),
        ("0::/\n", {NEW: "4000\n"}, 100),
        ("0::/a/b\n", {f"a/b/{NEW}": "max", f"a/{NEW}": "50\n", NEW: "60"}, 50),
        ("0::/a/b\n", {f"a/b/{NEW}": "20", f"a/{NEW}": "50"}, 20),
        ("0::/seen/only/outside\n", {NEW: "70"}, 70),  # a container sees its group as the root
        ("4:memory:/\n", {f"memory/{OLD}": "30\n"}, 30),
        ("4:cpu,memory:/a\n0::/\n", {f"memory/a/{OLD}": "20", NEW: "25"}, 20),
        ("4:memory:/a\n", {f"memory/{OLD}": "35"}, 35),
        ("3:cpu:/a\n", {f"a/{NEW}": "5"}, 100),
    ],
)
def test_devices_of_a_cpu_share_what_the_machine_or_the_container_has(
    machine, groups, files, expected
):
    machine(groups, files)
    assert memory.available(devices("cpu")) == pytest.approx(0.8 * expected)
    assert memory.available(devices("cpu", 8)) == pytest.approx(0.1 * expected)
    assert memory.most(devices("cpu")) == memory.most(memory.HOST) == expected


def test_what_the_process_uses_and_its_own_limit_count(machine, monkeypatch, tmp_path):
    machine("", {"statm": "9 2 1 1 0 1 0\n"})  # in pages of 10 bytes
    assert memory.most(memory.HOST) == 100 - 20
    monkeypatch.setattr("resource.getrlimit", lambda which: (100, 100))
    assert memory.most(memory.HOST) == 100 - 90  # address space is what is limited


def test_more_than_there_is_is_one_message(machine):
    machine("", {})
    memory.refuse(100, devices("cpu"), "it")
    with pytest.raises(UserError, match=r"^it needs 2\.0 KiB of memory, but there are 100\.0 b"):
        memory.refuse(2048, devices("cpu"), "it")
    with pytest.raises(UserError, match=r"50\.0 bytes for each of 2 devices"):
        memory.refuse(51, devices("cpu", 2), "it")
    with pytest.raises(UserError, match=r"needs 931\.3 GiB of memory, but there are 10\.0 GiB"):
        memory.refuse(10**12, devices("gpu", 1, {"bytes_limit": 10 * GIB}), "it")
    memory.refuse(10**12, devices("tpu"), "it")


def swept(plan, folder):
    """What becomes of the members, by name, and the bytes that each population needs."""
    told, needs = [], []

    def prepare(configs):
        program = prepare_many(configs)
        needs.append(program.bytes_needed)
        return program

    with pytest.MonkeyPatch.context() as patch, on_devices(1):
        patch.setattr(sweep, "prepare_many", prepare)
        results = sweep.train(
            plan, folder, StopSignal(), keep_clock=lambda: None, on_epoch=told.extend
        )
    assert len(told) in (0, len(plan))  # none where all are trained already
    return {(its["architecture"], its["seed"]): its for its in results}, needs


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The members of a sweep, what becomes of them together, and the bytes that they need."""
    config = parse(SMALL)
    slow = parse(SMALL | {"optimizer": {"name": "adam", "learning_rate": 1e-3}})
    members = [("fast", config, 0), ("fast", config, 1), ("slow", slow, 0)]
    plan = [Planned(name, dataclasses.replace(its, seed=seed)) for name, its, seed in members]
    plan = sweep.resolve(plan)
    folder = tmp_path_factory.mktemp("whole")
    found, (needed,) = swept(plan, folder)
    assert [len(its.members) for its in sweepdir.populations(folder)] == [3]
    return plan, found, needed


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiles")
@pytest.mark.parametrize(
    ("short_of", "sizes"),
    [("a byte", [1, 2]), ("all of it", [1, 1, 1])],  # a single one is trained whatever it needs
)
def test_a_population_that_does_not_fit_is_halved(monkeypatch, tmp_path, whole, short_of, sizes):
    plan, expected, needed = whole
    room = needed - 1 if short_of == "a byte" else 0
    monkeypatch.setattr(memory, "available", lambda devices: room)
    found, needs = swept(plan, tmp_path)
    assert needs[0] == needed
    assert sorted(len(its.members) for its in sweepdir.populations(tmp_path)) == sizes
    assert found.keys() == expected.keys()
    for name, ours in found.items():
        theirs = expected[name]
        assert ours["status"] == theirs["status"] == "finished"
        assert ours["parameters"] == theirs["parameters"]
        for row, its in zip(untimed(ours["history"]), untimed(theirs["history"]), strict=True):
            assert row == pytest.approx(its, rel=1e-4)
        assert ours["test"] == pytest.approx(theirs["test"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiles")
def test_a_population_that_was_begun_is_not_halved(monkeypatch, tmp_path, whole):
    plan, _, _ = whole
    monkeypatch.setattr(memory, "available", lambda devices: float("inf"))
    expected, _ = swept(plan, tmp_path)
    (folder,) = sweepdir.populations(tmp_path)
    (folder.path / "results.json").unlink()
    monkeypatch.setattr(memory, "available", lambda devices: 0)
    found, _ = swept(plan, tmp_path)
    assert [len(its.members) for its in sweepdir.populations(tmp_path)] == [3]
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "begun", "halved"), [(2, False, True), (1, False, False), (2, True, False)]
)
def test_a_device_that_runs_out_of_memory_halves_it_too(
    monkeypatch, tmp_path, whole, count, begun, halved
):
    plan, _, _ = whole
    folder = sweepdir.population_dir(tmp_path, plan[:count])
    if begun:
        (folder.checkpoints / "20").mkdir(parents=True)

    def prepare(configs):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(sweep, "prepare_many", prepare)
    if halved:
        assert sweep._prepared(folder) is None
    else:
        with pytest.raises(jax.errors.JaxRuntimeError):
            sweep._prepared(folder)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), r"^the memory does not suffice\. Close other programs"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory: 40 bytes"),
            r"^the memory does not suffice: .* 40 bytes\. Use a smaller",
        ),
    ],
)
def test_running_out_of_memory_is_one_message(error, message):
    def run():
        with memory.explained():
            raise error

    with pytest.raises(UserError, match=message):
        run()


def test_another_error_of_the_device_stays_what_it_is():
    def run():
        with memory.explained():
            raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        run()


# Takes and frees blocks as large as a batch, and prints how many new pages each one needs.
BLOCKS = """
import ctypes, resource
from mnist_jax.training import memory
memory.share_arenas()
c = ctypes.CDLL(None)
c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def take():
    block = c.malloc(ctypes.c_size_t(400_000))
    ctypes.memset(block, 1, 400_000)
    c.free(block)
take(), take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100): take()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 100)
"""


def test_a_step_needs_no_new_pages_for_its_batch():
    assert float(python(BLOCKS)) < 10


# Lets eight threads take memory at the same time, and prints how many pools glibc made for them.
POOLS = """
import ctypes, sys, threading
from mnist_jax.training import memory
if sys.argv[1] == "shared":
    memory.share_arenas()
c = ctypes.CDLL(None)
c.malloc.restype = c.fopen.restype = ctypes.c_void_p
together = threading.Barrier(8)
def take():
    together.wait()
    c.malloc(ctypes.c_size_t(1000))
    together.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
file = ctypes.c_void_p(c.fopen(sys.argv[2].encode(), b"w"))
c.malloc_info(0, file)
c.fclose(file)
print(open(sys.argv[2]).read().count("<heap "))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_threads_share_two_pools_of_memory(tmp_path):
    assert int(python(POOLS, "shared", str(tmp_path / "info"))) <= 2
    assert int(python(POOLS, "own", str(tmp_path / "info"))) > 2


def test_a_library_without_the_setting_is_left_alone(monkeypatch):
    """As on macOS, and with musl."""
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: types.SimpleNamespace())
    memory.share_arenas()
