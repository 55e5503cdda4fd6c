"""The number of usable processors: of the system, of an affinity and of a container's limits."""

import os
import subprocess
import sys

import pytest

from mnist_jax import control_groups, processors


@pytest.fixture
def limits(tmp_path, monkeypatch):
    """A function that writes a container's limits; the system allows eight processors."""
    monkeypatch.setattr(control_groups, "LIMITS", tmp_path)
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "groups")
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda process: set(range(8)))

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("DOT", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_without_a_container_the_system_decides(limits):
    assert processors.count() == 8


@pytest.mark.parametrize(
    ("text", "count"),
    [("200000 100000\n", 2), ("250000 100000\n", 3), ("10000 100000\n", 1), ("max 100000\n", 8),
     ("9900000 100000\n", 8), ("\n", 8)],
)  # fmt: skip
def test_a_container_may_allow_fewer(limits, text, count):
    limits(cpuDOTmax=text)
    assert processors.count() == count


@pytest.mark.parametrize(("quota", "count"), [("300000", 3), ("-1", 8)])
def test_the_first_version_of_the_limits(limits, quota, count):
    limits(cpu__cpuDOTcfs_quota_us=quota, cpu__cpuDOTcfs_period_us="100000")
    assert processors.count() == count


@pytest.mark.parametrize(
    ("groups", "count"),
    [("0::/job/step\n", 2), ("0::/job\n", 3), ("0::/../..\n", 8), ("7:memory:/job\n1:x", 8)],
)
def test_the_lowest_limit_of_nested_groups_counts(limits, groups, count):
    limits(groups=groups, job__cpuDOTmax="300000 100000", job__step__cpuDOTmax="150000 100000")
    assert processors.count() == count


def test_nested_groups_of_the_first_version(limits):
    limits(groups="4:cpu,cpuacct:/job\n", cpu__job__cpuDOTcfs_quota_us="200000")
    limits(cpu__job__cpuDOTcfs_period_us="100000")
    assert processors.count() == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_an_affinity_is_respected_and_reported():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from mnist_jax.training import provenance; print(provenance.device())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ", 1 cores" in done.stdout
