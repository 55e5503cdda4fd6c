"""Every configuration's programs, lowered for a TPU and a GPU, which need not be there.

A program that waits for the host, or whose shapes are not known before it runs, is slow on an
accelerator or does not run there at all. Nothing is compiled, and no weights are drawn: what
`prepare_one` would compile is exported in its place (https://docs.jax.dev/en/latest/export/export.html).
"""

import dataclasses
import functools
import re
import types
from pathlib import Path

import jax
import pytest
from jax.export import Exported, export

import mnist_jax
from launch import execute
from mnist_jax import members, models
from mnist_jax.config import Config, parse
from mnist_jax.config_file import load
from mnist_jax.models import backend
from mnist_jax.training.program import prepare_many, prepare_one
from tests.training.small import on_devices

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    str(file.relative_to(ROOT))
    for folder in ("configs", "configs/peers")
    for file in (ROOT / folder).glob("*.py")
)
PLATFORMS = ("tpu", "cuda", "cpu")
# Notes to the compiler, and the random numbers' own kernel on a GPU: nothing of them is host code.
ON_THE_DEVICE = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "cu_threefry2x32_ffi"}
SMALL = {"data": {"train_split": "train[:640]", "val_split": "train[640:900]"}, "batch_size": 32}
EVERYTHING = {
    "model": {"name": "cnn", "features": (4, 8), "dropout": 0.2, "normalisation": "batch"},
    "augment": {"rotation": 10.0, "elastic": 1.0},
    "dtype": "bfloat16",
    "chunk_steps": 7,
    "clip_norm": 1.0,
    "ema_decay": 0.9,
    "metrics": ("top_3", "brier"),
}


class Uncompiled:
    """A jitted function that is exported where it would be compiled."""

    def __init__(self, function, found, platforms, compiler_options=None, **options):
        del compiler_options  # those of a CPU
        self.program = JIT(function, **options)
        self.found = found
        self.platforms = platforms

    def __call__(self, *arguments):
        return self.program(*arguments)

    def lower(self, *arguments):
        self.found.append(export(self.program, platforms=self.platforms)(*arguments))
        return self

    def compile(self):
        return self

    def memory_analysis(self):
        return None


JIT = jax.jit


@pytest.fixture
def exported(monkeypatch):
    """A function: the programs that preparing one network, or several together, compiles."""

    def programs(*configs: Config, devices: int = 1, platforms=PLATFORMS) -> list[Exported]:
        found = []
        with monkeypatch.context() as patch, on_devices(devices):
            uncompiled = functools.partial(Uncompiled, found=found, platforms=platforms)
            patch.setattr(jax, "jit", uncompiled)
            patch.setattr(backend, "on_cpu", lambda: False)  # as it is traced there
            if len(configs) == 1:
                prepare_one(configs[0])
            else:
                prepare_many(configs)
        return found

    return programs


def refuse_what_an_accelerator_cannot_run_alone(program: Exported) -> None:
    text = program.mlir_module()
    called = set(re.findall(r"custom_call @(\w+)", text))
    assert called <= ON_THE_DEVICE, f"calls {called - ON_THE_DEVICE}"
    assert not re.findall(r"stablehlo\.(?:send|recv|infeed|outfeed)\b", text)
    assert not re.findall(r"tensor<(?:\w+x)*\?", text), "a shape is known only when it runs"
    assert "stablehlo." in text  # the patterns above are those of this dialect


def donated(program: Exported) -> int:
    """How many of its arguments a program may overwrite with its results."""
    return len(re.findall(r"tf\.aliasing_output|jax\.buffer_donor", program.mlir_module()))


@pytest.mark.parametrize("file", FILES)
def test_a_configuration_needs_nothing_but_the_accelerator(exported, file):
    config = models.resolve(load(file))
    check(exported(config), validated=bool(config.data.val_split))


def check(programs: list[Exported], *, validated: bool) -> None:
    """All of them, those of a chunk of steps for what they use up, too."""
    for program in programs:
        refuse_what_an_accelerator_cannot_run_alone(program)
    chunks = [program for program in programs if donated(program)]
    assert chunks
    assert len(programs) - len(chunks) == validated
    for chunk in chunks:
        assert donated(chunk) == len(chunk.out_avals)  # its results are the state, leaf by leaf


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "shard_map"])
def test_so_does_a_network_on_several_devices(exported, mode):
    config = dataclasses.replace(parse(SMALL | EVERYTHING), parallel=mode)
    programs = exported(config, devices=4)
    check(programs, validated=True)
    assert 4 in {program.nr_devices for program in programs}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_so_do_members_that_train_together(exported, devices):
    config = parse(SMALL | EVERYTHING)
    check(exported(config, dataclasses.replace(config, seed=1), devices=devices), validated=True)


def test_so_do_batches_from_the_host(exported):
    config = parse(SMALL | {"data": SMALL["data"] | {"placement": "host"}})
    check(exported(config), validated=True)


# The cells of the notebook that decide what is trained, by words in them.
DECIDING = (
    "SWEEP_SEEDS = ",
    "def configuration",
    "cnn = configuration",
    "cnn.schedule = ",
    "HIDDEN =",
)


@pytest.fixture
def notebook():
    """The configurations that the notebook trains, by name; none is trained."""

    def nothing(*_, **__) -> None: ...

    session = {
        "Path": Path,
        "members": members,
        "mnist_jax": types.SimpleNamespace(default=mnist_jax.default, sweep=nothing),
        "parse": parse,
        "show": nothing,
        "build": nothing,
        "summary": types.SimpleNamespace(summary=nothing),
        "data_plots": types.SimpleNamespace(draw_augmentation=nothing),
        "splits": {"training": None},
        "print": nothing,
    }
    sources = [cell.source for cell in execute.read().cells if cell.cell_type == "code"]
    for words in DECIDING:
        (source,) = (each for each in sources if words in each)
        exec(source, session)
    trained = {"cnn": session["cnn"], **session["networks"]}
    return {name: parse(config.to_dict()) for name, config in trained.items()}


def test_so_does_all_that_the_notebook_trains(exported, notebook):
    """On Colab it runs on a TPU: alone, and its sweep with a network per seed in one program."""
    alone = notebook.pop("cnn")
    assert alone.augment.rotation
    assert alone.chunk_steps == 143
    check(exported(alone, platforms=("tpu",)), validated=True)
    assert len(notebook) == 4
    for config in notebook.values():
        seeds = [dataclasses.replace(config, seed=seed) for seed in range(3)]
        check(exported(*seeds, platforms=("tpu",)), validated=True)


OUTSIDE = """
import jax
import jax.numpy as jnp
from jax.experimental import io_callback
from mnist_jax.models.mlp import MLP

class Outside(MLP):
    def __call__(self, images, *, train, keys=None):
        outputs = super().__call__(images, train=train, keys=keys)
        return outputs + jax.lax.stop_gradient({term})
"""
HOST = {
    "pure_callback": "jax.pure_callback(lambda: 0.0, jax.ShapeDtypeStruct((), 'float32'))",
    "io_callback": "io_callback(lambda: 0.0, jax.ShapeDtypeStruct((), 'float32'))",
    "debug.print": "(jax.debug.print('{x}', x=outputs), outputs)[1]",
}


def outside(user_module, term: str) -> Config:
    user_module("outside", OUTSIDE.replace("{term}", term))
    return parse(SMALL | {"model": {"name": "outside:Outside"}})


@pytest.mark.parametrize("call", HOST)
def test_a_network_that_asks_the_host_is_found_out(exported, user_module, call):
    config = outside(user_module, HOST[call])
    with pytest.raises(NotImplementedError, match="host_callbacks"):
        exported(config, platforms=("cpu",))  # for the others JAX refuses too, each its own way


def test_so_is_one_that_leaves_the_compiler(exported, user_module):
    programs = exported(outside(user_module, "jnp.linalg.qr(outputs)[0]"))
    for program in programs:
        with pytest.raises(AssertionError, match="lapack"):
            refuse_what_an_accelerator_cannot_run_alone(program)
