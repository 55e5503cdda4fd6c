"""Properties of configurations and command lines, for any values and any arguments."""

import contextlib
import faulthandler
import functools
import importlib
import io
import json
import os
import sys
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st
from PIL import Image

from benchmarks.reliability.fuzzing.samples import copied, without_pictures
from benchmarks.reliability.fuzzing.worker import Broken, given
from mnist_jax import config as configuration
from mnist_jax import config_file, experiment
from mnist_jax.commands import explore
from mnist_jax.errors import UserError
from mnist_jax.nested import leaves
from mnist_jax.overrides import overridden
from mnist_jax.training.workdir import plain

FIELDS = [
    *leaves(configuration.Config().to_dict()),
    "model.hidden",
    "model.features",
    "schedule.name",
    "augment",
    "data",
    "model",
    "init.seed",
    "nothing",
    "data.nothing",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["mlp", "cnn", "adam", "cross_entropy", "a:b", "os:system", "test", "1e999"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
CONFIGURATIONS = st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), max_size=4) | VALUES
OPTIONS = (
    "--config",
    "--workdir",
    "--seeds",
    "--seed",
    "--member",
    "--checkpoint",
    "--split",
    "--json",
    "--test_image",
    "--format",
    "--replay",
    "--profile",
    "--outside",
    "--ensemble",
    "--robustness",
    "--accept_code",
    "--processes",
    "--process",
    "--coordinator",
    "--no_open",
    "--compare",
    "--show",
)
WORDS = st.text(max_size=12) | st.sampled_from(
    [
        "configs/mlp.py",
        "config.py",
        ".",
        "/",
        "..",
        "latest",
        "best",
        "0",
        "-1",
        "1e9",
        "NaN",
        "",
        "localhost:1",
        "127.0.0.1:99999",
        "none.png",
        "grey.png",
        "*",
        "test",
        "stablehlo",
        "--",
        "-",
        "~nobody",
    ]
)
STARTS = (
    ("main", "--config=configs/mlp.py"),
    ("sweep", "--config=configs/sweeps/looped.py"),
    ("explore", "--config=configs/cnn.py"),
    ("evaluate", "--workdir=."),
    ("verify", "--workdir=."),
    ("predict", "--workdir=.", "grey.png"),
    ("export", "--workdir=.", "--format=onnx"),
    ("demo", "--workdir=."),
    ("main",),
    ("sweep",),
    ("predict",),
    ("export",),
)
OVERRIDES = st.builds("--config.{}={}".format, st.sampled_from(FIELDS), WORDS)
REST = st.one_of(
    OVERRIDES,
    OVERRIDES,  # twice as often as each other kind
    st.builds("{}={}".format, st.sampled_from(OPTIONS), WORDS),
    st.sampled_from(OPTIONS),
    WORDS,
)
LINES = st.builds(
    lambda start, rest: [*start, *rest], st.sampled_from(STARTS), st.lists(REST, max_size=3)
) | st.builds(
    lambda start, rest: [*start, *rest],
    st.sampled_from([start for start in STARTS if "--config=" in start[-1]]),
    st.lists(OVERRIDES, max_size=3),
)
BLOCK = 100  # inputs that hypothesis makes at once


@functools.lru_cache(maxsize=1)
def _block(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    """Returns inputs that are the same in every run, and others for each number."""
    found: list[Any] = []

    def keep(its: Any) -> None:
        found.append(its)

    settings = hypothesis.settings(
        max_examples=BLOCK,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.filter_too_much,
            hypothesis.HealthCheck.data_too_large,
            hypothesis.HealthCheck.large_base_example,
        ],
    )
    hypothesis.seed(number)(settings(hypothesis.given(strategy)(keep)))()
    return found


def _input(strategy: st.SearchStrategy[Any], number: int) -> Any:
    """Returns the input of a case, and notes it."""
    block = _block(strategy, number // BLOCK)
    its = block[number % BLOCK % len(block)]
    given(repr(its).encode(errors="surrogatepass"))
    return its


def configurations(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: any values are a configuration that is the same when read back, or refused."""
    del folder, samples

    def attempt(number: int) -> str:
        its: Any = _input(CONFIGURATIONS, number)
        try:
            found = configuration.parse(_values(its))
        except UserError:
            return "refused"
        text = json.dumps(plain(found.to_dict()), allow_nan=False)
        if (
            not configuration.parse(json.loads(text))
            == configuration.parse(found.to_dict())
            == found
        ):
            raise Broken(f"another configuration is read back: {its!r}")
        return "accepted"

    return attempt


def _values(its: Any) -> Any:
    """Returns any values as they are, and those of fields in the place of the defaults."""
    if isinstance(its, list) and all(isinstance(one, tuple) for one in its):
        return overridden(configuration.default().to_dict(), its)
    return its


def command_lines(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: any arguments end a command with status 0, 1 or 2, a message and no traceback.

    The first ones are whole commands. They find a finished run in their working folder, and do all
    but train and draw.
    """
    os.chdir(copied(samples, "run", folder / "run"))
    Image.new("L", (1, 1), 200).save("grey.png")

    def attempt(number: int) -> str:
        name, *_ = line = STARTS[number] if number < len(STARTS) else _input(LINES, number)
        module = importlib.import_module(f"mnist_jax.commands.{name}")
        told = io.StringIO()
        with (
            without_pictures(),
            _without_training(),
            # Else stacks go to this process' standard error, which nobody reads.
            unittest.mock.patch.object(faulthandler, "enable"),
            unittest.mock.patch.object(sys, "argv", line),
            unittest.mock.patch.dict(os.environ),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(told),
        ):
            try:
                module.command()
                status: Any = 0
            except SystemExit as error:
                status = error.code or 0
            except Exception as error:
                raise Broken(f"{line}: {type(error).__name__}: {error}") from error
        end = told.getvalue()[-300:]
        if status not in (0, 1, 2) or "Traceback" in told.getvalue():
            raise Broken(f"{line}: status {status}: {end}")
        if status and "error" not in told.getvalue():
            raise Broken(f"{line}: status {status} without a message: {end}")
        return f"status {status}" if status else f"{name} done"

    return attempt


@contextlib.contextmanager
def _without_training() -> Iterator[None]:
    """Context manager in which `main`, `sweep` and `explore` end once they know what to do."""

    def read(arguments: Any) -> None:
        config_file.load(arguments.config, arguments.overrides)

    with contextlib.ExitStack() as stack:
        for module, name, instead in (
            (experiment, "run", lambda *_, **__: True),
            (experiment, "run_sweep", lambda *_, **__: True),
            (explore, "main", read),
        ):
            stack.enter_context(unittest.mock.patch.object(module, name, instead))
        yield
