"""The job script of Slurm, with stand-ins for `srun`, `scontrol` and Python."""

import re
import signal
import sys

import pytest

from tests.commands import SMALL, bits, run
from tests.launch.stand_ins import HOSTILE, ROOT, StandIns

SCRIPT = ROOT / "launch" / "slurm.sh"
JOB = {"SLURM_JOB_ID": "17", "SLURM_NTASKS_PER_NODE": "1"}
# Runs what follows its own options, as one task.
SRUN = """
import signal, subprocess
words = sys.argv[1:]
while words[0].startswith("--"):
    del words[0]
task = subprocess.Popen(words)
signal.signal(signal.SIGTERM, lambda *_: task.send_signal(signal.SIGTERM))
sys.exit(task.wait())
"""
UNTIL_STOPPED = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print("started", flush=True)
time.sleep(60)
"""


@pytest.fixture
def slurm(tmp_path):
    stand_ins = StandIns(tmp_path)
    stand_ins.environment |= JOB
    for name in [name for name in stand_ins.environment if name.startswith("SLURM_")]:
        if name not in JOB:
            del stand_ins.environment[name]
    stand_ins.write("srun", SRUN)
    stand_ins.write("scontrol")
    stand_ins.write("python")
    return stand_ins


def test_the_task_gets_each_argument_as_it_was_given(slurm):
    slurm.run(SCRIPT, "sweep", *HOSTILE)
    assert slurm.calls("python") == [["-m", "mnist_jax.sweep", *HOSTILE]]


def test_a_dry_run_prints_what_is_run(slurm):
    printed = slurm.run(SCRIPT, "--dry_run", "main", *HOSTILE).stdout
    assert slurm.calls() == []
    slurm.run("bash", "-c", printed)
    again = slurm.calls()
    slurm.log.unlink()
    slurm.run(SCRIPT, "main", *HOSTILE)
    assert slurm.calls() == again
    assert [call[0] for call in again] == ["srun", "python"]


def test_a_task_that_ends_first_lets_the_others_save(slurm):
    """Whatever the cluster's own setting of KillOnBadExit is."""
    slurm.run(SCRIPT, "main")
    (words,) = slurm.calls("srun")
    assert "--kill-on-bad-exit=0" in words
    assert "--wait=300" in words


def test_a_saved_run_is_queued_again(slurm):
    slurm.write("python", "sys.exit(75)")
    done = slurm.run(SCRIPT, "main", status=75)
    assert slurm.calls("scontrol") == [["requeue", "17"]]
    assert "queued again" in done.stdout


def test_a_task_that_is_signalled_before_it_has_a_handler_is_queued_again(slurm):
    slurm.write("python", "sys.exit(143)")
    slurm.run(SCRIPT, "main", status=75)
    assert slurm.calls("scontrol") == [["requeue", "17"]]


def test_a_job_that_is_cancelled_before_its_tasks_have_a_handler_ends(slurm):
    slurm.write("python", UNTIL_STOPPED.replace("sys.exit(75)", "os._exit(143)"))
    script = slurm.start(SCRIPT, "main")
    assert script.stdout.readline() == "started\n"
    script.send_signal(signal.SIGTERM)
    script.communicate(timeout=60)
    assert script.returncode == 143
    assert slurm.calls("scontrol") == []


def test_a_job_that_cannot_be_queued_says_what_to_do(slurm):
    slurm.write("python", "sys.exit(75)")
    slurm.write("scontrol", "sys.exit(1)")
    assert "submit it with the same command" in slurm.run(SCRIPT, "main", status=75).stderr


@pytest.mark.parametrize("status", [0, 1, 2, 134])
def test_any_other_status_ends_the_job(slurm, status):
    slurm.write("python", f"sys.exit({status})")
    slurm.run(SCRIPT, "main", status=status)
    assert slurm.calls("scontrol") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_tasks_and_the_job_is_not_queued(slurm, number):
    slurm.write("python", UNTIL_STOPPED)
    script = slurm.start(SCRIPT, "main")
    assert script.stdout.readline() == "started\n"
    script.send_signal(number)
    out, _ = script.communicate(timeout=60)
    assert script.returncode == 75
    assert "the same sbatch command resumes it" in out
    assert slurm.calls("scontrol") == []


def test_a_task_that_takes_no_heed_of_a_signal_is_waited_for(slurm):
    """The script ends with the status of the tasks, not with that of the wait for them."""
    slurm.write(
        "python",
        """
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: None)
        print("started", flush=True)
        time.sleep(1.5)
        sys.exit(3)
        """,
    )
    script = slurm.start(SCRIPT, "main")
    script.stdout.readline()
    for _ in range(2):
        script.send_signal(signal.SIGTERM)
    script.communicate(timeout=60)
    assert script.returncode == 3


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        ((), {}, "expected main or sweep, got ''"),
        (("train",), {}, "expected main or sweep, got 'train'"),
        (("main",), {"SLURM_JOB_ID": ""}, "this is no Slurm job: submit it with sbatch"),
        (("main",), {"SLURM_GPUS_ON_NODE": "8"}, "add --ntasks-per-node=8"),
        (
            ("main",),
            {"SLURM_GPUS_ON_NODE": "2", "SLURM_NTASKS_PER_NODE": "4"},
            "the node has 2 for 4: add --ntasks-per-node=2",
        ),
    ],
)
def test_mistakes_start_nothing(slurm, words, variables, message):
    assert message in slurm.run(SCRIPT, *words, status=2, **variables).stderr
    assert slurm.calls() == []


def test_a_task_for_each_gpu_is_right(slurm):
    slurm.run(SCRIPT, "main", SLURM_GPUS_ON_NODE="8", SLURM_NTASKS_PER_NODE="8")
    (words,) = slurm.calls("srun")
    assert "--gpu-bind=none" in words  # JAX itself chooses one by SLURM_LOCALID


@pytest.mark.parametrize(
    ("variables", "expected"), [({}, []), ({"SLURM_CPUS_PER_TASK": "6"}, ["--cpus-per-task=6"])]
)
def test_a_task_has_the_cores_that_sbatch_was_asked_for(slurm, variables, expected):
    slurm.run(SCRIPT, "main", **variables)
    (words,) = slurm.calls("srun")
    assert [word for word in words if word.startswith("--cpus-per-task")] == expected


def test_sbatch_reads_every_option():
    """It stops reading at the first line that is neither a comment nor empty."""
    lines = SCRIPT.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    options = [n for n, line in enumerate(lines) if line.startswith("#SBATCH ")]
    assert options
    assert max(options) < first
    (when,) = re.findall(r"^#SBATCH --signal=(.*)$", SCRIPT.read_text(), flags=re.M)
    assert re.fullmatch(r"TERM@\d+", when)  # with B: the script would get it, and not the tasks


@pytest.mark.slow
def test_a_job_that_is_queued_again_resumes_its_run(slurm, tmp_path):
    """Slurm signals the tasks alone, and starts the script again."""
    python = f"""
    import os, signal, subprocess, threading
    task = subprocess.Popen([{sys.executable!r}, *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
    for line in task.stdout:
        print(line, end="", flush=True)
        if " 1/" in line and os.environ["RESTARTS"] == "0":
            task.send_signal(signal.SIGTERM)
    sys.exit(task.wait())
    """
    slurm.write("python", python)
    slurm.environment |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    arguments = (*SMALL, "--config.num_epochs=3", f"--workdir={tmp_path / 'a run'}")
    first = slurm.run(SCRIPT, "main", *arguments, status=75, RESTARTS="0")
    assert not (tmp_path / "a run" / "result.json").exists(), first.stdout
    slurm.run(SCRIPT, "main", *arguments, RESTARTS="1")
    run("main", *SMALL, "--config.num_epochs=3", f"--workdir={tmp_path / 'whole'}")
    assert bits(tmp_path / "a run") == bits(tmp_path / "whole")
