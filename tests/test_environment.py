"""What a shell, a container or a notebook hands over: it never changes a result, nor ends a run."""

import contextlib
import errno
import io
import os
import pwd
import re
import shutil
import subprocess
import sys
import types
import zlib
from pathlib import Path

import jax
import pytest
from jax._src import compilation_cache

import mnist_jax
from mnist_jax import compilation, devices, home, lock, settings, ulimits
from mnist_jax.analysis import canvas
from mnist_jax.config_file import find_file
from mnist_jax.data import catalog
from mnist_jax.errors import UserError
from mnist_jax.training import provenance
from tests.commands import ROOT, bits, command, environment, read, refused, run

pytestmark = pytest.mark.usefixtures("undrawn")

TINY = (
    "--config=configs/mlp.py",
    "--config.num_epochs=1",
    "--config.model.hidden=8,",
    "--config.model.dropout=0.1",
    "--config.augment.rotation=10",
    "--config.data.train_split=train[:1000]",
    "--config.data.val_split=train[1000:1500]",
)
HOSTILE = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "5",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DISABLE_JIT": "1",
    "JAX_TRANSFER_GUARD": "disallow",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_ACCURATE_ERF_INV": "1",
    "JAX_SOFTMAX_CUSTOM_JVP": "1",
    "JAX_DEBUG_NANS": "1",
    "JAX_DEBUG_KEY_REUSE": "1",
    "JAX_ENABLE_CHECKS": "1",
    "JAX_LEGACY_PRNG_KEY": "error",
    "JAX_COMPILATION_CACHE_CHECK_CONTENTS": "1",
    "JAX_ERROR_CHECKING_BEHAVIOR_NAN": "raise",
    "JAX_NO_EXECUTION": "1",
    "JAX_NO_TRACING": "1",
    "JAX_SCAN3": "1",
    "MPLBACKEND": "module://ipympl.backend_nbagg",
    "GIT_DIR": "/nowhere",
}


def process(arguments, **keywords):
    """Runs a process to its end, with the variables of `env` in addition."""
    env = environment() | keywords.pop("env", {})
    return subprocess.run(arguments, env=env, cwd=ROOT, text=True, timeout=300, **keywords)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A run in a clean environment, and what it printed."""
    workdir = tmp_path_factory.mktemp("clean") / "run"
    return workdir, run("main", *TINY, f"--workdir={workdir}", drawn=True)


def small():
    config = mnist_jax.default()
    config.num_epochs = 1
    config.data.train_split, config.data.val_split = "train[:1000]", ""
    config.model = dict(name="mlp", hidden=(8,))
    return config


# Settings of JAX


@pytest.mark.slow
def test_the_variables_of_jax_change_no_bit(clean, tmp_path):
    workdir, _ = clean
    done = process(
        command("main", *TINY, f"--workdir={tmp_path}"), env=HOSTILE, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert bits(tmp_path) == bits(workdir)
    for name in ("test_loss", "commit", "device"):
        assert read(tmp_path / "result.json")[name] == read(workdir / "result.json")[name]


def test_the_settings_of_a_notebook_change_no_bit_and_come_back(tmp_path):
    once = mnist_jax.train(small(), workdir=tmp_path / "once")
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_entry_size_bytes")
    before = [getattr(jax.config, name) for name in names]
    jax.config.update("jax_threefry_partitionable", False)
    try:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.transfer_guard("log"):
            again = mnist_jax.train(small(), workdir=tmp_path / "again")
            loss = mnist_jax.load(again.workdir).evaluate()["loss"]
            assert jax.numpy.zeros(1).dtype == "float64"
        assert not jax.config.jax_threefry_partitionable
    finally:
        jax.config.update("jax_threefry_partitionable", True)
    assert bits(again.workdir) == bits(once.workdir)
    assert loss == pytest.approx(once.result["test_loss"])
    assert [getattr(jax.config, name) for name in names] == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_DEFAULT_MATMUL_PRECISION", "bogus"),
        ("JAX_LOG_COMPILES", "maybe"),
        ("JAX_DEFAULT_DEVICE", "nonsense"),
        ("JAX_NUM_CPU_DEVICES", "abc"),
        ("JAX_NUM_CPU_DEVICES", "0"),
        ("JAX_PLATFORMS", "cuda"),
        ("JAX_DUMP_IR_TO", "/dev/null/below"),
        ("XLA_FLAGS", "--xla_nonsense=1"),  # XLA itself would abort
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=perhaps"),
        ("XLA_FLAGS", "nonsense"),
    ],
)
def test_a_bad_variable_is_named_in_one_line(clean, name, value):
    done = process(
        command("evaluate", f"--workdir={clean[0]}"), env={name: value}, capture_output=True
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert f"{name}={value!r}" in line or (name in line and value in line)


def test_a_bad_variable_is_named_in_python(tmp_path):
    code = "import mnist_jax\ntry: mnist_jax.train\nexcept ValueError as error: print(error)"
    done = process([sys.executable, "-c", code], env={"JAX_ENABLE_X64": "2x"}, capture_output=True)
    assert done.stdout.startswith("JAX_ENABLE_X64='2x'")


# Limits of a shell, and forks


@pytest.mark.parametrize(("option", "limit"), [("v", 1_536_000), ("v", 307_200), ("d", 512_000)])
def test_a_limit_under_which_xla_would_crash_is_one_message(clean, option, limit):
    arguments = command("evaluate", f"--workdir={clean[0]}")
    shell = f'ulimit -{option} {limit}; exec "$@"'
    done = process(["bash", "-c", shell, "-", *arguments], capture_output=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: `ulimit -{option}` allows {limit // 1024:,} MiB of memory")


def test_a_limit_that_suffices_is_no_matter(monkeypatch):
    limits = dict(ulimits.LEAST.values())
    monkeypatch.setattr(ulimits.resource, "getrlimit", lambda kind: (limits[kind], limits[kind]))
    ulimits.refuse_cramped()


@pytest.mark.parametrize(
    "call",
    [lambda: mnist_jax.load("run"), lambda: mnist_jax.train(small(), workdir="run")],
    ids=["load", "train"],
)
def test_a_fork_of_a_process_that_has_used_jax_is_refused(monkeypatch, call):
    """It would hang: the threads of JAX are not copied."""
    monkeypatch.setattr(settings, "_used_in", set())
    with pytest.raises(UserError), settings.own():  # a mistake is found before JAX is used
        raise UserError
    assert settings._used_in == set()
    with settings.own():
        pass
    assert settings._used_in == {os.getpid()}
    monkeypatch.setattr(settings, "_used_in", {-1})
    with pytest.raises(ValueError, match=r"^this process was forked .*get_context\('spawn'\)"):
        call()


# Devices


def test_the_first_line_names_the_device(clean):
    workdir, done = clean
    assert done.stdout.splitlines()[0] == f"device: {read(workdir / 'result.json')['device']}"
    assert done.stderr == ""
    assert read(workdir / "result.json")["warnings"] == []


def test_an_idle_accelerator_is_told_and_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(devices, "NVIDIA", (str(tmp_path),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    jax.config.update("jax_platforms", None)
    try:
        found = mnist_jax.train(small(), workdir=tmp_path / "run").result["warnings"]
        mnist_jax.load(tmp_path / "run")
        err = capsys.readouterr().err
        lines = [line for line in err.splitlines() if "accelerator" in line]
        assert lines == [f"warning: {found[0]}"] * 2
        assert "'.[cuda]'" in found[0]
        monkeypatch.setenv("JAX_PLATFORMS", "cpu")
        assert devices.notice() == []
    finally:
        jax.config.update("jax_platforms", "cpu")


def test_the_warnings_of_jax_are_seen(clean):
    code = (
        "import runpy, sys; from jax._src import hardware_utils\n"
        "hardware_utils.has_visible_nvidia_gpu = lambda: True\n"
        "sys.argv = ['', sys.argv[1]]; runpy.run_module('mnist_jax.evaluate', run_name='__main__')"
    )
    done = process(
        [sys.executable, "-c", code, f"--workdir={clean[0]}"],
        env={"JAX_PLATFORMS": ""},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert "NVIDIA GPU may be present" in done.stderr


# Streams


def test_a_reader_that_leaves_does_not_end_the_training(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as broken:
        done = process(
            command("main", *TINY, f"--workdir={tmp_path}"), stdout=broken, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "result.json").exists()


def test_closed_streams_are_as_dev_null(clean):
    shell = '"$@" <&- >&- 2>&-'
    arguments = command("evaluate", f"--workdir={clean[0]}", "--split=train[:50]")
    process(["sh", "-c", shell, "sh", *arguments], check=True)
    written = clean[0] / "evaluations" / "train[:50]" / "evaluation.json"
    assert read(written)["count"] == 50  # and not with lines of a library in it


@pytest.mark.slow
def test_what_an_encoding_lacks_is_replaced(tmp_path):
    done = process(
        command("sweep", *TINY, "--seeds=2", f"--workdir={tmp_path}"),
        env={"PYTHONIOENCODING": "ascii", "TERM": "", "COLUMNS": "1"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert " ? " in done.stdout  # for the plus-minus sign


def test_python_prints_where_there_is_no_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    mnist_jax.train(small(), workdir=tmp_path / "\xb1", num_epochs=1)
    monkeypatch.setattr(sys, "stdout", None)
    mnist_jax.train(small(), workdir=tmp_path / "none", num_epochs=1)
    assert (tmp_path / "none" / "result.json").exists()


# Paths


@pytest.mark.parametrize("given", ["", " ", "gs://bucket/mj", "file:///tmp/x", "~nobody-here/x"])
@pytest.mark.parametrize("where", ["workdir", "config"])
def test_what_is_no_path_is_refused(given, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keywords = {"workdir": "w", "config": small()} | {where: given}
    with pytest.raises(ValueError, match=f"^{where}: "):
        mnist_jax.train(keywords.pop("config"), **keywords)
    with pytest.raises(ValueError, match=r"^workdir: "):
        mnist_jax.load(given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (
            "gs://bucket/run",
            "mount the bucket (gs:// with Cloud Storage FUSE), or use an NFS share",
        ),
        ("s3:/bucket/run", "or a persistent volume, and give the local path"),
        ("https://example.org/run", "is a URL; copy it to this machine, and give the local path"),
    ],
)
def test_a_url_is_refused_with_what_to_do_instead(given, advice):
    with pytest.raises(ValueError, match=re.escape(advice)):
        mnist_jax.load(given)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("main", ("--config=configs/mlp.py", "--workdir=gs://bucket/mj")),
        ("sweep", ("--compare", "", "x", "--workdir=y")),
    ],
)
def test_commands_refuse_what_is_no_path(name, arguments, tmp_path):
    (line,) = refused(name, *arguments, cwd=tmp_path).splitlines()
    assert "is a URL" in line or "--compare: is empty" in line
    assert not list(tmp_path.iterdir())


def test_a_current_folder_that_was_removed_is_told_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    for call in (lambda: mnist_jax.train("configs/mlp.py"), lambda: mnist_jax.load("run")):
        with pytest.raises(ValueError, match="the current folder was removed"):
            call()


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take UTF-8 only")
def test_a_folder_whose_name_is_not_utf_8_is_refused_before_training(clean, tmp_path):
    """Orbax cannot write there, which it says after the first epoch."""
    folder = tmp_path / os.fsdecode(b"latin-\xe9")
    with pytest.raises(ValueError, match=r"latin-\\xe9' is no folder for checkpoints"):
        mnist_jax.train(small(), workdir=folder)
    assert not folder.exists()
    shutil.copytree(clean[0], folder)
    with pytest.raises(ValueError, match="its path is not UTF-8"):
        mnist_jax.load(folder)


def test_a_folder_that_is_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ValueError, match=r"refuses to look at .*loop"):
        mnist_jax.train(small(), workdir=tmp_path / "loop")


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    trained = mnist_jax.train(small(), workdir="~/a \nb ")
    assert trained.workdir == tmp_path / "a \nb "
    assert mnist_jax.load("~/a \nb ").config.num_epochs == 1
    (tmp_path / "mine.py").write_text("")
    assert find_file("~/mine.py") == tmp_path / "mine.py"


# Folders


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """No home, and a folder for temporary files."""

    def nobody(number):
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME", "TFDS_DATA_DIR", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(home.tempfile, "gettempdir", lambda: str(tmp_path))
    home._instead.cache_clear()
    yield tmp_path / f"mnist_jax-{os.getuid()}"
    home._instead.cache_clear()


@pytest.fixture
def cache_dir():
    """A function that turns the cache on and returns its folder; JAX's settings come back."""

    def find() -> Path:
        with settings.own():
            jax.config.update("jax_compilation_cache_dir", None)
            compilation.keep_programs()
            return Path(jax.config.jax_compilation_cache_dir or "")

    return find


def test_without_a_home_there_is_a_temporary_folder(homeless, cache_dir, capsys):
    assert cache_dir() == homeless / "mnist_jax" / "programs"
    assert catalog.data_dir() == catalog.data_dir() == homeless / "tensorflow_datasets"
    assert homeless.stat().st_mode & 0o777 == 0o700
    one, two = capsys.readouterr().err.splitlines()
    assert "XDG_CACHE_HOME" in one
    assert "TFDS_DATA_DIR" in two


@pytest.mark.parametrize("value", ["relative", "/dev/null", "/proc/none", "~nobody-here/x"])
def test_a_folder_of_caches_that_cannot_be_used_is_replaced(
    homeless, cache_dir, monkeypatch, capsys, value
):
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_dir() == homeless / "mnist_jax" / "programs"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {value} cannot be used")


def test_the_home_of_a_folder_of_caches_is_expanded(homeless, cache_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "~/mine")
    assert cache_dir() == tmp_path / "mine" / "mnist_jax" / "programs"


# Compiled programs

PROGRAM = """
from mnist_jax import compilation, settings
with settings.own():
    compilation.keep_programs()
    import jax
    print(jax.jit(lambda x: x * 2 + 1)(3))
"""


def test_damaged_programs_are_compiled_again(tmp_path):
    def start():
        env = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
        done = process([sys.executable, "-c", PROGRAM], env=env, capture_output=True, check=True)
        assert done.stdout == "7\n"
        return done.stderr

    assert start() == ""
    whole = {path: path.stat().st_size for path in tmp_path.glob("*-cache")}
    assert whole
    for path, size in whole.items():
        path.write_bytes(path.read_bytes()[: size // 2])
    (line,) = start().splitlines()
    assert line.startswith(f"warning: compiled programs in {tmp_path} are damaged")
    assert {path: path.stat().st_size for path in tmp_path.glob("*-cache")} == whole
    assert start() == ""


def test_the_programs_that_were_not_used_for_longest_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "LARGEST", 250)
    for age in range(4):
        path = tmp_path / f"{age}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    compilation._make_room(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-cache", "1-cache"]
    compilation._make_room(tmp_path / "nothing")


def test_compiled_programs_have_a_checksum_with_whatever_is_installed(monkeypatch):
    """A flipped bit in a frame of Zstandard, as JAX writes it, is run."""

    def refuse(*arguments):
        raise AssertionError("not by Zstandard")

    for name in ("zstd", "zstandard"):
        fake = types.SimpleNamespace(compress=refuse, ZstdCompressor=refuse)
        monkeypatch.setattr(compilation_cache, name, fake, raising=False)
    compilation._add_checksums()
    content = bytes(range(256)) * 20
    written = bytearray(compilation_cache.compress_executable(content))
    assert compilation_cache.decompress_executable(bytes(written)) == content
    for at in range(len(written)):
        for bit in range(8):
            flipped = bytearray(written)
            flipped[at] ^= 1 << bit
            with contextlib.suppress(zlib.error):
                assert compilation_cache.decompress_executable(bytes(flipped)) == content


# Locks, plots, git


@pytest.mark.parametrize("number", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL"])
def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, capsys, number):
    def flock(*arguments):
        raise OSError(getattr(errno, number), "no locks")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with lock.sole_writer(tmp_path / "run"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {tmp_path / 'run'} cannot be locked (no locks)")


@pytest.mark.parametrize("number", ["EIO", "ESTALE"])
def test_a_lock_that_fails_lets_nobody_in(tmp_path, monkeypatch, number):
    def flock(*arguments):
        raise OSError(getattr(errno, number), "refused")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with (
        pytest.raises(UserError, match=r"cannot lock .*run/\.lock: refused, so another process"),
        lock.sole_writer(tmp_path / "run"),
    ):
        pytest.fail("it went on without the lock")


def test_a_lock_whose_file_cannot_be_closed_is_released(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def close(self):
            if not self.closed:
                super().close()
                raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as its:
        its.setattr(Path, "open", lambda path, mode: Full(path, mode))
        with lock.sole_writer(tmp_path / "run"):
            pass
    with lock.sole_writer(tmp_path / "run"):
        pass


def test_a_training_goes_on_without_locks(tmp_path, monkeypatch, capsys):
    def flock(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    assert mnist_jax.train(small(), workdir=tmp_path).result["epochs"] == 1
    assert capsys.readouterr().err.count("cannot be locked") == 1


def test_plots_need_no_backend():
    code = (
        "from mnist_jax.analysis import canvas\n"
        "with canvas.styled(): print(canvas.new_figure(1, 1).get_dpi())\n"
        "import os; print(os.environ['MPLBACKEND'])"
    )
    done = process(
        [sys.executable, "-c", code], env={"MPLBACKEND": "module://nothing"}, capture_output=True
    )
    assert done.stdout.splitlines()[1:] == ["module://nothing"], done.stderr


def test_plots_look_the_same_whatever_a_matplotlibrc_says(monkeypatch):
    matplotlib = canvas._matplotlib()
    with matplotlib.rc_context(
        {"text.usetex": True, "image.cmap": "gray", "savefig.format": "pdf"}
    ):
        with canvas.styled():
            usual = dict(matplotlib.rcParamsDefault) | canvas.STYLE
            for name in ("text.usetex", "image.cmap", "savefig.format", "font.size"):
                assert matplotlib.rcParams[name] == usual[name]
        assert matplotlib.rcParams["text.usetex"]


def test_another_repository_in_the_environment_is_not_this_one(monkeypatch):
    commit = provenance.commit()
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_WORK_TREE", "/")
    provenance.commit.cache_clear()
    assert provenance.commit() == commit


# Outside a checkout


@pytest.mark.slow
def test_a_wheel_has_the_configurations(tmp_path):
    source, site, elsewhere = (tmp_path / name for name in ("source", "site", "elsewhere"))
    hidden = shutil.ignore_patterns("__pycache__")
    for name in ("mnist_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=hidden)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, source]
    subprocess.run(pip, check=True)
    elsewhere.mkdir()

    def start(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=elsewhere,
            env=environment() | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert start("-c", "import mnist_jax; print(mnist_jax.__file__)").startswith(str(site))
    start("-m", "mnist_jax.main", *TINY, "--workdir=run")
    assert read(elsewhere / "run" / "result.json")["epochs"] == 1
    read_sweep = "from mnist_jax import members; print(len(members.read({!r}).members))"
    for name in ("families", "depth"):
        assert int(start("-c", read_sweep.format(f"configs/sweeps/{name}.py"))) > 1
