"""The script for Cloud TPU VMs, with a stand-in for gcloud whose machines are folders."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.commands import SMALL, bits, run
from tests.launch.stand_ins import HOSTILE, ROOT, StandIns

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="a worker needs Linux's flock")

# A machine has a state and two workers, whose homes are folders. `plan.json` says how often each
# thing goes wrong, such as a missing capacity, or takes its time.
GCLOUD = """
import shutil, signal, subprocess, time
from pathlib import Path

signal.signal(signal.SIGINT, signal.SIG_DFL)
cloud = Path(os.environ["CLOUD"])
state, plan = cloud / "state", json.loads((cloud / "plan.json").read_text())
workers = [cloud / "worker-0", cloud / "worker-1"]
assert sys.argv[1:4] == ["compute", "tpus", "tpu-vm"], sys.argv
action, words = sys.argv[4], [word for word in sys.argv[5:] if not word.startswith("--")]
options = dict(word[2:].partition("=")[::2] for word in sys.argv[5:] if word.startswith("--"))


def happens(name):
    if not plan.get(name):
        return False
    plan[name] -= 1
    (cloud / "plan.json").write_text(json.dumps(plan))
    return True


def asked():
    which = options["worker"]
    return list(enumerate(workers)) if which == "all" else [(int(which), workers[int(which)])]


def ssh(command):
    if "'run'" in command and happens("slow_run"):
        time.sleep(2)
    running = []
    for number, home in asked():
        variables = {**os.environ, "HOME": str(home), "WORKER": str(number)}
        running.append(
            subprocess.Popen(["sh", "-c", command], cwd=home, env=variables, start_new_session=True)
        )
    if "'run'" in command and happens("preempted"):
        while not list(cloud.glob(plan["when"])) and None in [p.poll() for p in running]:
            time.sleep(0.05)
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
        for home in workers:
            shutil.rmtree(home)
        state.write_text(plan.get("then", "PREEMPTED"))
        return 255
    if "tar -C" in command and happens("preempted_at_last"):
        for home in workers:
            shutil.rmtree(home)
        state.write_text("PREEMPTED")
        return 255
    if "'run'" in command and happens("lost"):
        return 255
    return next((status for status in [p.wait() for p in running] if status), 0)


if action == "create":
    if happens("no_capacity"):
        sys.exit("ERROR: There is no more capacity in the zone; you can try in another zone")
    if happens("no_permission"):
        sys.exit("ERROR: PERMISSION_DENIED: no permission to create a TPU")
    if happens("slow_create"):
        time.sleep(2)
    for home in workers:
        home.mkdir()
    state.write_text("READY")
elif action == "describe":
    if not state.exists():
        sys.exit("ERROR: (gcloud.compute.tpus.tpu-vm.describe) NOT_FOUND: Resource was not found.")
    if happens("no_answer"):
        sys.exit("ERROR: cannot connect")
    if happens("repaired"):
        print("REPAIRING")
    elif state.read_text() != "READY" and happens("late"):
        print("READY")
    else:
        print(state.read_text())
elif action == "delete":
    if happens("no_delete"):
        sys.exit("ERROR: cannot delete")
    for home in workers:
        shutil.rmtree(home, ignore_errors=True)
    state.unlink()
elif action == "scp":
    if happens("no_copy"):  # which is known only after minutes
        clock = cloud / "clock"
        clock.write_text(str(int(clock.read_text()) + 700))
        sys.exit("ERROR: cannot copy")
    source, (_, _, target) = words[0], words[1].partition(":")
    for _, home in asked():
        shutil.copy(source, home / target)
elif action == "ssh":
    sys.exit(ssh(options["command"]))
"""
UV = """
from pathlib import Path
if sys.argv[1] == "venv":
    folder = Path(sys.argv[-1]) / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python").unlink(missing_ok=True)
    (folder / "python").symlink_to(os.environ["PYTHON"])
"""
SUDO = """
from pathlib import Path
if sys.argv[1] == "mount":
    Path(sys.argv[-1]).rmdir()
    Path(sys.argv[-1]).symlink_to(os.environ["SHARE"])
"""
WRITES = """
from pathlib import Path
(Path("runs/a b")).mkdir(exist_ok=True)
Path("runs/a b/result.json").write_text("{}")
"""
MACHINE = ("--name=digits", "--zone=us-west4-a")
KIND = ("--type=v5litepod-16", "--version=v2-alpha-tpuv5-lite")
SPOT = ("--spot", "--nfs=10.0.0.2:/share")
RUN = ("main", *HOSTILE, "--workdir=runs/a b")


@pytest.fixture
def checkout(tmp_path):
    """A small checkout with the script, a file that is not committed, and one that git ignores."""
    root = tmp_path / "check out"
    (root / "launch").mkdir(parents=True)
    shutil.copy(ROOT / "launch" / "tpu_vm.sh", root / "launch")
    for name in ("gone.py", "kept é.py", ".gitignore"):
        (root / name).write_text("ignored/\nruns/\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    (root / "gone.py").unlink()
    (root / "new\nline.py").touch()
    (root / "ignored").mkdir()
    (root / "ignored" / "large").touch()
    return root


@pytest.fixture
def cloud(tmp_path):
    stand_ins = StandIns(tmp_path)
    folder, share = tmp_path / "cloud", tmp_path / "cloud" / "share"
    share.mkdir(parents=True)
    stand_ins.environment |= {"CLOUD": str(folder), "SHARE": str(share)}
    for name, code in {
        "gcloud": GCLOUD,
        "uv": UV,
        "sudo": SUDO,
        "mountpoint": "sys.exit(not os.path.islink(sys.argv[-1]))",
        "mount.nfs": "",
        "sleep": "",
        "find": "",
        "date": "print(open(os.environ['CLOUD'] + '/clock').read())",
        "git": f"os.execv({shutil.which('git')!r}, sys.argv)",
    }.items():
        stand_ins.write(name, code)
    stand_ins.environment["PYTHON"] = str(stand_ins.write("python", WRITES))
    (folder / "clock").write_text("0")
    plan(stand_ins)
    return stand_ins


def plan(cloud, **events) -> None:
    path = cloud.folder.parent / "cloud" / "plan.json"
    path.write_text(json.dumps({"when": "share"} | events))


def wait_for(cloud, name, *words) -> None:
    """Waits until a program was called with these words."""
    end = time.monotonic() + 60
    while not any(set(words) <= set(call) for call in cloud.calls(name)):
        assert time.monotonic() < end
        time.sleep(0.02)


def actions(cloud) -> list[str]:
    """What was asked of gcloud, but for the questions after the machine's state."""
    words = [call[3] for call in cloud.calls("gcloud")]
    return [word for word in words if word != "describe"]


def runs(cloud) -> list[str]:
    """The commands that were run on the machine."""
    commands = [word for call in cloud.calls("gcloud") for word in call if "--command=" in word]
    return [command for command in commands if "worker 'run'" in command]


COSTS = "digits may exist, and costs"
ATTEMPT = ["scp", "ssh", "ssh", "ssh"]  # copies, unpacks, installs, runs


def test_creates_copies_trains_fetches_and_deletes(cloud, checkout):
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    assert actions(cloud) == ["create", *ATTEMPT, "ssh", "delete"]
    (create,) = (call for call in cloud.calls("gcloud") if call[3] == "create")
    assert create[4:] == [
        "digits",
        "--accelerator-type=v5litepod-16",
        "--version=v2-alpha-tpuv5-lite",
        "--spot",
        "--zone=us-west4-a",
        "--quiet",
    ]
    assert (checkout / "runs/a b/result.json").read_text() == "{}"
    assert not (checkout.parent / "cloud/state").exists()


def test_each_worker_gets_each_argument_as_it_was_given(cloud, checkout):
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    words = ["-m", "mnist_jax.main", *HOSTILE, "--workdir=runs/a b"]
    assert cloud.calls("python") == [words, words]


def test_each_worker_gets_what_git_does_not_ignore(cloud, checkout):
    """The last machine is kept, for its run ends with a mistake."""
    cloud.write("python", "sys.exit(2)")
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN, status=2)
    for number in (0, 1):
        folder = checkout.parent / f"cloud/worker-{number}/mnist_jax"
        found = {path.name for path in folder.iterdir()} - {".venv", ".worker.lock", ".worker.pid"}
        assert found == {"launch", "kept é.py", "new\nline.py", ".gitignore", "runs"}
        assert (folder / "runs").is_symlink()  # the share
    installed = [call for call in cloud.calls("uv") if call[0] == "pip"]
    assert [call[-2:] for call in installed] == [["-e", ".[tpu]"]] * 2


def test_a_dry_run_prints_what_is_run(cloud, checkout):
    script = checkout / "launch/tpu_vm.sh"
    printed = cloud.run(script, *MACHINE, *KIND, *SPOT, "--dry_run", *RUN).stdout
    assert cloud.calls("gcloud") == []
    cloud.write("gcloud")
    cloud.run("bash", "-c", printed)
    promised = cloud.calls("gcloud")
    cloud.log.unlink()
    cloud.write("gcloud", GCLOUD)
    cloud.run(script, *MACHINE, *KIND, *SPOT, *RUN)
    done = [call for call in cloud.calls("gcloud") if call[3] != "describe"]
    for call in promised + done:
        if call[3] == "scp":
            call[4] = "a temporary file"
    assert promised == done


def test_a_preempted_machine_is_created_again(cloud, checkout):
    plan(cloud, preempted=1)
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    assert actions(cloud) == [
        *("create", *ATTEMPT),
        *("delete", "create", *ATTEMPT),
        *("ssh", "delete"),
    ]
    assert "was preempted, and is created again" in done.stderr
    assert len(set(runs(cloud))) == 1  # the same command


def test_waits_for_a_machine_to_be_free(cloud, checkout):
    plan(cloud, no_capacity=2)
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    assert actions(cloud)[:4] == ["create", "create", "create", "scp"]
    assert cloud.calls("sleep") == [["60"], ["60"]]


@pytest.mark.parametrize(
    ("event", "why"), [("no_permission", "PERMISSION_DENIED"), ("no_answer", "cannot connect")]
)
def test_what_waiting_does_not_help_ends_it(cloud, checkout, event, why):
    plan(cloud, **{event: 5})
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN, status=2)
    assert why in done.stderr
    assert "error: digits cannot be created, described or deleted" in done.stderr
    assert COSTS in done.stderr
    assert runs(cloud) == []


def test_a_machine_that_does_not_answer_at_once_is_asked_again(cloud, checkout):
    plan(cloud, no_answer=4)
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    assert actions(cloud) == ["create", *ATTEMPT, "ssh", "delete"]


def test_a_machine_that_cannot_be_deleted_at_once_is(cloud, checkout):
    plan(cloud, no_delete=4)
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    assert actions(cloud) == ["create", *ATTEMPT, "ssh", *["delete"] * 5]
    assert COSTS not in done.stderr


def test_a_machine_that_cannot_be_deleted_costs(cloud, checkout):
    plan(cloud, no_delete=9)
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN, status=2)
    assert "the run is finished and fetched" in done.stderr
    assert COSTS in done.stderr


def test_a_preemption_shows_only_after_a_while(cloud, checkout):
    """Until then the state is READY, and nothing can be copied."""
    plan(cloud, preempted=1, late=3)
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    found = actions(cloud)
    assert found[:6] == ["create", *ATTEMPT, "scp"]
    assert found[-7:] == ["create", *ATTEMPT, "ssh", "delete"]
    assert found.count("delete") == 2


@pytest.mark.parametrize("event", ["lost", "no_copy"])
def test_a_lost_connection_does_not_end_it(cloud, checkout, event):
    plan(cloud, **{event: 9})
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    assert cloud.calls("sleep") == [["60"]] * 9
    assert actions(cloud)[-6:] == [*ATTEMPT, "ssh", "delete"]


def test_a_machine_that_is_preempted_before_the_results_are_fetched(cloud, checkout):
    plan(cloud, preempted_at_last=1)
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    assert actions(cloud)[-7:] == ["delete", "create", *ATTEMPT[:3], "ssh", "delete"]
    assert (checkout / "runs/a b/result.json").exists()
    assert len(runs(cloud)) == 1


@pytest.mark.parametrize("event", ["lost", "no_copy"])
def test_a_connection_that_is_always_lost_ends_it(cloud, checkout, event):
    plan(cloud, **{event: 99})
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN, status=2)
    assert "10 times in a row" in done.stderr
    assert COSTS in done.stderr


def test_a_lost_connection_is_noticed(cloud, checkout):
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    (call,) = (call for call in cloud.calls("gcloud") if any("'run'" in word for word in call))
    assert "--ssh-flag=-oServerAliveInterval=30" in call
    assert "--ssh-flag=-oServerAliveCountMax=4" in call


def test_a_state_that_lasts_is_said_once(cloud, checkout):
    plan(cloud, repaired=3)
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    assert done.stderr.count("digits is REPAIRING") == 1
    assert cloud.calls("sleep") == [["60"]] * 3


def test_a_disk_with_the_only_copy_is_not_deleted(cloud, checkout):
    plan(cloud, preempted=1, then="TERMINATED", when="worker-0")
    one = ("--type=v5litepod-8", KIND[1])
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *one, *RUN, status=2)
    assert actions(cloud) == ["create", *ATTEMPT]
    assert "fetch runs/a b" in done.stderr
    assert COSTS in done.stderr


@pytest.mark.parametrize("seconds", [599, 600])
def test_a_run_that_saves_again_and_again_is_ended_only_if_that_takes_no_time(
    cloud, checkout, seconds
):
    code = f"""
    import fcntl
    with open(os.environ["CLOUD"] + "/clock", "r+") as file:
        if os.environ["WORKER"] == "0":
            now = int(file.read()) + {seconds}
            file.seek(0)
            file.write(str(now))
            sys.exit(75 if now < 5 * {seconds} else 0)
    sys.exit(0)
    """
    cloud.write("python", code)
    (checkout.parent / "cloud/share/a b").mkdir()
    status = 1 if seconds < 600 else 0
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN, status=status)
    assert len(runs(cloud)) == (3 if seconds < 600 else 5)
    if seconds < 600:
        assert "3 attempts in a row" in done.stderr
        assert COSTS in done.stderr


def test_a_run_that_another_holds_the_name_of_is_not_mixed_with_it(cloud, checkout):
    for name in ("config.json", "sweep.json"):
        folder = checkout / "runs/a b"
        folder.mkdir(parents=True)
        (folder / name).touch()
        done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN, status=2)
        assert "runs/a b holds a run already" in done.stderr
        shutil.rmtree(folder)
    assert cloud.calls("gcloud") == []


def test_a_checkout_that_cannot_be_packed_costs_nothing(cloud, checkout):
    cloud.write("git", "sys.exit(127)")
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN, status=2)
    assert "cannot be packed" in done.stderr
    assert cloud.calls("gcloud") == []


def test_the_head_is_its_help(cloud, checkout):
    said = cloud.run(checkout / "launch/tpu_vm.sh", "--help").stdout
    assert said.startswith("Trains on a Cloud TPU VM")
    assert "set -uo" not in said


@pytest.mark.skipif(bool(shutil.which("mount.nfs")), reason="mount.nfs is there")
def test_a_new_machine_may_still_install_updates(cloud, checkout):
    (cloud.folder / "mount.nfs").unlink()
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    calls = [call for call in cloud.calls("sudo") if call[0] == "apt-get"]
    assert all("DPkg::Lock::Timeout=300" in call for call in calls)
    assert sorted("update" in call for call in calls) == [False, False, True, True]


@pytest.mark.parametrize(
    ("command", "chips", "expected"),
    [("sweep", 4, "1,1,1 2,2,1 0,1,2,3"), ("sweep", 8, ""), ("main", 4, "")],
)
def test_each_worker_of_a_sweep_has_its_own_chips(cloud, checkout, command, chips, expected):
    cloud.write("find", "\n".join(f"print('/dev/accel{n}')" for n in range(chips)))
    code = """
    names = ("TPU_PROCESS_BOUNDS", "TPU_CHIPS_PER_PROCESS_BOUNDS", "TPU_VISIBLE_CHIPS")
    line = " ".join(["chips:", *[os.environ.get(name, "") for name in names]])
    os.write(1, (line + chr(10)).encode())  # at once: the other worker writes there too
    sys.exit(2)
    """
    cloud.write("python", code)
    words = (command, "--workdir=runs/a")
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *words, status=2)
    lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("chips:")]
    assert lines == [f"chips: {expected}".strip()] * 2


def test_a_saved_run_goes_on_on_the_same_machine(cloud, checkout):
    code = f"""
    {"".join(WRITES.splitlines(True)).strip().replace(chr(10), chr(10) + "    ")}
    first = not Path("stopped").exists()
    Path("stopped").touch()
    sys.exit(75 if first else 0)
    """
    cloud.write("python", code)
    cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    assert actions(cloud) == ["create", *ATTEMPT, *ATTEMPT, "ssh", "delete"]


@pytest.mark.parametrize("status", [1, 2, 134])
def test_a_mistake_ends_it_and_keeps_the_machine(cloud, checkout, status):
    cloud.write("python", f"sys.exit({status})")
    done = cloud.run(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN, status=status)
    assert actions(cloud) == ["create", *ATTEMPT]
    assert COSTS in done.stderr
    assert "--name=digits --zone=us-west4-a delete" in done.stderr


UNTIL_STOPPED = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print("started", flush=True)
time.sleep(60)
"""


SAVE = """
def save(*_):
    time.sleep(0.5)
    open("runs/saved", "w").close()
    sys.exit(75)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_run_and_is_no_reason_to_go_on(cloud, checkout, number):
    """A terminal sends it to all that it has started, and gcloud would end by Ctrl-C."""
    saves = UNTIL_STOPPED.replace("lambda *_: sys.exit(75)", "save")
    # JAX tells the other processes; here nobody does.
    cloud.write("python", f"if os.environ['WORKER'] == '1': sys.exit(75)\n{SAVE}{saves}")
    script = cloud.start(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    while "started" not in script.stdout.readline():
        pass
    os.killpg(script.pid, number)
    script.wait(timeout=60)
    assert (checkout.parent / "cloud/share/saved").exists()  # it was waited for
    _, err = script.communicate(timeout=60)
    assert script.returncode == 75
    assert "The same command resumes the run" in err
    assert actions(cloud) == ["create", *ATTEMPT, "ssh"]
    *_, last = cloud.calls("gcloud")
    assert "--worker=0" in last
    assert any("worker 'stop'" in word for word in last)


def end(cloud, script, number=signal.SIGTERM) -> str:
    """Signals the script alone; what it says before it ends with status 75."""
    script.send_signal(number)
    _, err = script.communicate(timeout=60)
    assert script.returncode == 75, err
    return err


def test_a_stop_while_nothing_is_free_creates_no_machine(cloud, checkout):
    plan(cloud, no_capacity=1)
    cloud.write("sleep", "import time\ntime.sleep(50)")
    script = cloud.start(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    wait_for(cloud, "sleep")
    begun = time.monotonic()
    assert COSTS in end(cloud, script)
    assert time.monotonic() - begun < 20
    assert actions(cloud) == ["create"]


@pytest.mark.parametrize("everything", [False, True])
def test_a_stop_while_the_machine_is_created_says_that_it_costs(cloud, checkout, everything):
    """Whether gcloud ends by it too, as with Ctrl-C, or creates it nevertheless."""
    plan(cloud, slow_create=1)
    script = cloud.start(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    wait_for(cloud, "gcloud", "create")
    time.sleep(0.3)
    if everything:
        os.killpg(script.pid, signal.SIGINT)
    assert COSTS in end(cloud, script)
    assert actions(cloud) == ["create"]


def test_a_stop_during_the_copy_starts_no_run(cloud, checkout):
    cloud.write("uv", f"import time\ntime.sleep(0.5)\n{UV}")
    script = cloud.start(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    wait_for(cloud, "uv")
    assert COSTS in end(cloud, script)
    assert runs(cloud) == []


def test_a_stop_before_the_worker_has_begun_is_heeded(cloud, checkout):
    cloud.write("python", "print('worker', os.environ['WORKER'])")
    plan(cloud, slow_run=1)
    script = cloud.start(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    while not runs(cloud):
        time.sleep(0.02)
    script.send_signal(signal.SIGTERM)
    out, _ = script.communicate(timeout=60)
    assert script.returncode == 75
    assert "worker 0" not in out


def test_a_run_that_is_finished_when_it_is_stopped_is_fetched(cloud, checkout):
    code = UNTIL_STOPPED.replace("sys.exit(75)", "sys.exit(0)")
    cloud.write("python", f"{WRITES}\nif os.environ['WORKER'] == '1': sys.exit(0)\n{code}")
    script = cloud.start(checkout / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, *RUN)
    while "started" not in script.stdout.readline():
        pass
    script.send_signal(signal.SIGTERM)
    _, err = script.communicate(timeout=60)
    assert script.returncode == 0, err
    assert (checkout / "runs/a b/result.json").exists()
    assert actions(cloud)[-1] == "delete"


def test_a_second_process_is_never_started_beside_the_first(cloud, checkout):
    """After a lost connection gcloud calls the same command again, while the run goes on."""
    cloud.write("python", UNTIL_STOPPED)
    (checkout / "runs").mkdir()
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to(cloud.environment["PYTHON"])
    words = (checkout / "launch/tpu_vm.sh", "worker", "run", "main")
    first = cloud.start(*words)
    assert first.stdout.readline() == "started\n"
    cloud.run(*words, status=75)
    first.communicate(timeout=60)
    assert first.returncode == 75
    assert len(cloud.calls("python")) == 1
    cloud.run(checkout / "launch/tpu_vm.sh", "worker", "stop")  # nothing runs: no matter


def test_fetches_and_deletes_alone(cloud, checkout):
    cloud.write("python", f"{WRITES}\nsys.exit(1)")
    script = checkout / "launch/tpu_vm.sh"
    cloud.run(script, *MACHINE, *KIND, *SPOT, *RUN, status=1)
    cloud.run(script, *MACHINE, "fetch", "runs/a b")
    assert (checkout / "runs/a b/result.json").exists()
    cloud.run(script, *MACHINE, "delete")
    assert not (checkout.parent / "cloud/state").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*KIND, *RUN), "give --name=NAME and --zone=ZONE"),
        ((*MACHINE, *RUN), "give --type=TYPE and --version=VERSION"),
        ((*MACHINE, *KIND, "--spot", *RUN), "the disk of a spot machine is lost"),
        ((*MACHINE, *KIND, "main", "--config=x.py"), "give --workdir=runs/NAME"),
        ((*MACHINE, *KIND, "main", "--workdir=runs/a", "--workdir=b"), "give --workdir=runs/NAME"),
        ((*MACHINE, *KIND, "main", "--workdir=runs/../b"), "give --workdir=runs/NAME"),
        ((*MACHINE, *KIND, "main", "--workdir=runs/.."), "give --workdir=runs/NAME"),
        ((*MACHINE, "--nfs=share", "main"), "got '--nfs=share'"),
        ((*MACHINE, *KIND, *RUN), "v5litepod-16 has several workers"),
        (MACHINE, "expected main, sweep, fetch or delete, got ''"),
    ],
)
def test_mistakes_call_nothing(cloud, checkout, words, message):
    assert message in cloud.run(checkout / "launch/tpu_vm.sh", *words, status=2).stderr
    assert cloud.calls("gcloud") == []


@pytest.mark.slow
def test_a_run_on_a_preempted_machine_is_resumed(cloud, tmp_path):
    """This checkout, on a machine of one worker; the run is killed after its first checkpoint."""
    code = GCLOUD.replace(', cloud / "worker-1"]', "]")
    assert code != GCLOUD
    cloud.write("gcloud", code)
    plan(cloud, preempted=1, when="share/digits/checkpoints/[0-9][0-9]")
    cloud.write("python", f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])")
    cloud.environment["JAX_PLATFORMS"] = "cpu"
    root = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", ROOT, root], check=True)
    shutil.copy(ROOT / "launch/tpu_vm.sh", root / "launch")
    arguments = (*SMALL, "--config.num_epochs=3", "--workdir=runs/digits")
    done = cloud.run(root / "launch/tpu_vm.sh", *MACHINE, *KIND, *SPOT, "main", *arguments)
    assert "resuming from step" in done.stdout
    run("main", *SMALL, "--config.num_epochs=3", f"--workdir={tmp_path / 'whole'}")
    assert bits(root / "runs/digits") == bits(tmp_path / "whole")
