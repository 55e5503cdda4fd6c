"""Properties of configurations and command lines, for any values and any arguments.

python -m benchmarks.reliability.fuzzing.properties NAME COUNT    checks one, prints the tally
"""

import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
import unittest.mock
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import strategies as st

from mnist_jax import config as configuration
from mnist_jax import config_file
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
        "*",
        "test",
        "stablehlo",
        "--",
        "-",
        "~nobody",
    ]
)
STARTS = (
    *(("main", "--config=configs/mlp.py"), ("sweep", "--config=configs/sweeps/looped.py")),
    *(
        ("explore", "--config=configs/cnn.py"),
        ("evaluate", "--workdir=."),
        ("verify", "--workdir=."),
    ),
    *(("predict", "--workdir=.", "none.png"), ("export", "--workdir=.", "--format=onnx")),
    *(("demo", "--workdir=."), ("main",), ("sweep",), ("predict",), ("export",)),
)
OVERRIDES = st.builds("--config.{}={}".format, st.sampled_from(FIELDS), WORDS)
REST = st.one_of(
    OVERRIDES,
    OVERRIDES,
    st.builds("{}={}".format, st.sampled_from(OPTIONS), WORDS),
    st.sampled_from(OPTIONS),
    WORDS,
)
LINES = st.builds(
    lambda start, rest: [*start, *rest], st.sampled_from(STARTS), st.lists(REST, max_size=1)
) | st.builds(
    lambda start, rest: [*start, *rest],
    st.sampled_from([start for start in STARTS if "--config=" in start[-1]]),
    st.lists(OVERRIDES, max_size=3),
)


def configurations(outcomes: Counter[str]) -> Callable[..., None]:
    """Property: any values are a configuration that is the same when read back, or refused."""

    def check(given: Any) -> None:
        try:
            if isinstance(given, list) and all(isinstance(its, tuple) for its in given):
                values: Any = overridden(configuration.default().to_dict(), given)
            else:
                values = given
            found = configuration.parse(values)
        except UserError:
            outcomes["refused"] += 1
            return
        text = json.dumps(plain(found.to_dict()), allow_nan=False)
        assert configuration.parse(json.loads(text)) == found
        assert configuration.parse(found.to_dict()) == found
        outcomes["accepted"] += 1

    return hypothesis.given(CONFIGURATIONS)(check)


def command_lines(outcomes: Counter[str]) -> Callable[..., None]:
    """Property: any arguments end a command with status 0, 1 or 2, a message and no traceback.

    Whatever would train ends once its configuration is read.
    """

    def read(arguments: Any) -> int:
        config_file.load(arguments.config, arguments.overrides)
        return 0

    def check(line: list[str]) -> None:
        name, *arguments = line
        module = importlib.import_module(f"mnist_jax.commands.{name}")
        main = read if name in ("main", "sweep", "explore") else module.main
        said, told = io.StringIO(), io.StringIO()
        with (
            unittest.mock.patch.object(module, "main", main),
            unittest.mock.patch.object(sys, "argv", [name, *arguments]),
            unittest.mock.patch.dict(os.environ),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(told),
        ):
            try:
                module.command()
                status: Any = 0
            except SystemExit as error:
                status = error.code or 0
        assert status in (0, 1, 2), (status, told.getvalue()[-500:])
        assert "Traceback" not in told.getvalue(), told.getvalue()[-500:]
        assert status == 0 or "error" in told.getvalue()
        outcomes[f"status {status}"] += 1

    return hypothesis.given(LINES)(check)


PROPERTIES = {"configurations": configurations, "command_lines": command_lines}


def checked(name: str, count: int) -> tuple[Counter[str], str]:
    """Checks a property for many examples, the same in every run; returns what fails, if any."""
    outcomes: Counter[str] = Counter()
    settings = hypothesis.settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.filter_too_much,
        ],
    )
    try:
        settings(PROPERTIES[name](outcomes))()
    except BaseException as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        return outcomes, f"{type(error).__name__}: {error} {notes}"[:1500]
    return outcomes, ""


if __name__ == "__main__":
    output = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found, why = checked(sys.argv[1], int(sys.argv[2]))
    json.dump({"outcomes": found, "lost": why}, output)
