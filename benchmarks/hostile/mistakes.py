"""Mistaken commands, configurations and modules, each of which must end with one message."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

TINY = (
    "--config.num_epochs=1",
    "--config.data.train_split=train[:1000]",
    "--config.data.val_split=train[1000:1200]",
)
CONFIG = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs = 1
    config.data.train_split = "train[:1000]"
    config.data.val_split = "train[1000:1200]"
    config.model = dict(name="mlp", hidden=(8,))
    {line}
    return config
"""
MODEL = """
import jax
import jax.numpy as jnp
from flax import nnx

class Net(nnx.Module):
    def __init__(self, *, width: int = 8, rngs: nnx.Rngs):
        self.first = nnx.Linear(784, width, rngs=rngs)
        self.last = nnx.Linear(width, 10, rngs=rngs)
        {init}

    def __call__(self, images, *, train, keys=None):
        x = nnx.relu(self.first(images.reshape(len(images), -1)))
        {call}
"""
SWEEP = """
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    config = default()
    config.num_epochs = 1
    config.data.train_split = "train[:1000]"
    config.data.val_split = "train[1000:1200]"
    config.model = dict(name="mlp", hidden=(8,))
    return {value}
"""
MLP = "--config=configs/mlp.py"


@dataclass(frozen=True)
class Mistake:
    """A command that cannot do what it is asked for, and the files in its folder."""

    name: str
    arguments: tuple[str, ...]
    files: Mapping[str, str | bytes] = field(default_factory=dict)


def _override(text: str) -> Mistake:
    name = text if len(text) < 60 else f"{text[:50]}... ({len(text)} characters)"
    return Mistake(f"--config.{name}", ("main", MLP, *TINY, f"--config.{text}"))


def _file(name: str, source: str | bytes) -> Mistake:
    return Mistake(name, ("main", "--config=mine.py"), {"mine.py": source})


def _line(line: str) -> Mistake:
    return _file(line, CONFIG.format(line=line))


def _model(name: str, init: str = "pass", call: str = "return self.last(x)") -> Mistake:
    files = {"mine.py": CONFIG.format(line='config.model = dict(name="net:Net")')}
    return Mistake(
        f"a model that {name}",
        ("main", "--config=mine.py"),
        files | {"net.py": MODEL.format(init=init, call=call)},
    )


def _own(name: str, line: str, source: str) -> Mistake:
    files = {"mine.py": CONFIG.format(line=line), "own.py": source}
    return Mistake(name, ("main", "--config=mine.py"), files)


def mistakes() -> Iterator[Mistake]:
    """Yields all mistakes."""
    yield from map(_override, OVERRIDES)
    yield from map(_line, LINES)
    yield from _commands()
    yield from _files()
    yield from _models()
    yield from _functions()
    yield from _sweeps()


OVERRIDES = (
    "num_epochs=0", "num_epochs=-1", "num_epochs=2.5", "num_epochs=", "num_epochs=ten",
    "num_epochs=1e400", "num_epochs=99999999999999999999", "num_epochs=1,2", "num_epochs=True",
    "num_epoch=3", "lr=0.1", "batch_size=0", "batch_size=1001", "batch_size=nan",
    "seed=-1", "seed=4294967296", "seed=abc", "seed=None",
    "model.hidden=", "model.hidden={[]:1}", "model.hidden=(8", "model.hidden=8,,8",
    "model.hidden=0", "model.hidden=-8", "model.hidden=8.5", "model.hidden=lambda: 8",
    "model.name=", "model.name=mpl", "model.name=os:system", "model.name=missing:Net",
    "model.name=a:b:c", "model.name=:Net", "model.name=net:", "model.depth=3", "model=3",
    "model.activation=rellu", "model.dropout=1.5", "model.dropout=nan", "model.dropout=-1",
    "optimizer.name=adma", "optimizer.learning_rate=-0.1", "optimizer.learning_rate=nan",
    "optimizer.learning_rate=inf", "optimizer.learning_rate=1,2", "optimizer.learning_rate=fast",
    "optimizer.lr=0.1", "optimizer.b1=2.0", "optimizer.mu_dtype=nonsense", "optimizer=",
    "schedule.name=cosine", "schedule.name=piecewise_constant_schedule", "schedule.decay_steps=1",
    "loss=cross_entrpy", "loss.gamma=2", "loss=builtins:print", "label_smoothing=1",
    "metrics=top_33", "metrics=os:getcwd", "metrics=top_3,top_3", "metrics=3",
    "best=val_acuracy", "best=test_accuracy", "best=", "best=3", "patience=-1",
    "augment.rotation=400", "augment.elastic=1e400", "augment.elastic=nan", "augment.noise=-1",
    "augment.erase=2", "augment.rotate=5", "augment.functions=mine:missing", "augment=None",
    "data.name=mnits", "data.name=cats:Cats", "data.placement=disk", "data.train_split=all",
    "data.train_split=", "data.train_split=trian", "data.train_split=train[:0]",
    "data.train_split=train[", "data.train_split=train[:10**9]", "data.train_split=test",
    "data.val_split=test", "data.val_split=train[:10]", "data.val_split=train[2000000:]",
    "parallel=threads", "reduction=sum", "dtype=float63", "dtype=int8", "keep_latest=0",
    "chunk_steps=-1", "init_from=nowhere", "init_from=~/nowhere", "init_from=gs://bucket/run",
    "init.member=best", "loggers=mine:missing", "loggers=os:getcwd", "weight_decay=-1",
    "clip_norm=nan", "ema_decay=1", "=3", "seed", "seed=1 ", "data=3", "data.name.more=1",
    "model.hidden=" + "9," * 2500, "model.hidden=" + "(" * 500, "model.hidden=" + "[" * 90000,
)  # fmt: skip

LINES = (
    "config.num_epochs = 2.5", 'config.num_epochs = "2"', "config.num_epochs = None",
    "config.lr = 0.1", "config.seed = 1j", "config.seed = b'1'", "config.seed = [1]",
    "config.model = 3", "config.model = None", "config.model = dict(hidden=(8,))",
    "config.model = dict(name=3)", "config.model = dict(name='mlp', hidden='8')",
    "config.model = dict(name='mlp', hidden={8})", "config.model.hidden = lambda: 8",
    "config.optimizer = dict(name='adam', learning_rate=lambda step: 0.1)",
    "config.optimizer = dict(name='adam', learning_rate=(1, 2))",
    "config.optimizer = 'adam', 1e-3", "config.schedule = dict(name='constant_schedule')",
    "config.schedule = dict(name='piecewise_constant_schedule', init_value=0.1,"
    " boundaries_and_scales=0.5)",
    "config.schedule = dict(name='cosine_decay_schedule', init_value=0.1, decay_steps='soon')",
    "config.loss = print", "config.metrics = 'top_3'", "config.metrics = (3,)",
    "config.augment = dict(rotation=5)", "config.augment.functions = 'mine:f'",
    "config.best = 3", "config.data = 'mnist'", "config.loggers = print",
    "config = 3", "config = None", "config = {}", "return", "raise RuntimeError('mine')",
    "import sys; sys.exit(3)", "1 / 0", "undefined", "config.unlock(); config.extra = 1",
)  # fmt: skip


def _commands() -> Iterator[Mistake]:
    for name, arguments in {
        "main without arguments": ("main",),
        "an unknown argument": ("main", MLP, "--epochs=3"),
        "an argument that is cut short": ("main", MLP, "--work=run"),
        "an argument too many": ("main", MLP, "more"),
        "an empty configuration": ("main", "--config="),
        "a folder as configuration": ("main", "--config=."),
        "a missing configuration": ("main", "--config=configs/mpl.py"),
        "a configuration that is no Python file": ("main", "--config=README.md"),
        "a sweep for main": ("main", "--config=configs/sweeps/looped.py"),
        "an argument that get_config does not take": ("main", f"{MLP}:3"),
        "an override without a value": ("main", MLP, "--config.seed"),
        "evaluate without a folder": ("evaluate",),
        "evaluate of nothing": ("evaluate", "--workdir=nowhere"),
        "evaluate of an empty folder": ("evaluate", "--workdir=."),
        "evaluate with an override": ("evaluate", "--workdir=.", "--config.seed=3"),
        "evaluate of an unknown checkpoint": ("evaluate", "--workdir=.", "--checkpoint=lastest"),
        "verify of nothing": ("verify", "--workdir=nowhere"),
        "explore of nothing": ("explore",),
        "explore of an unknown data set": ("explore", MLP, "--config.data.name=mnits"),
        "sweep without arguments": ("sweep",),
        "sweep of no seeds": ("sweep", MLP, "--seeds=0"),
        "sweep of half a seed": ("sweep", MLP, "--seeds=0.5"),
        "sweep with --seed": ("sweep", MLP, "--seed=3"),
        "sweep that compares nothing": ("sweep", "--compare"),
        "sweep that compares what is not there": ("sweep", "--compare", "nowhere"),
        "sweep that trains and compares": ("sweep", MLP, "--compare", "run"),
    }.items():
        yield Mistake(name, arguments)


def _files() -> Iterator[Mistake]:
    for name, source in {
        "a file with a syntax error": "def get_config(:\n    pass\n",
        "a file with bad indentation": "def get_config():\nreturn 1\n",
        "a file in UTF-16": "def get_config(): pass".encode("utf-16"),
        "a file with null bytes": b"def get_config():\0 pass",
        "a binary file": bytes(range(256)),
        "an empty file": "",
        "a file that imports what is not there": "import torchnet\n",
        "a file that imports itself": "import mine\nmine.get_config()\n",
        "a file whose get_config is no function": "get_config = 3\n",
        "a file whose get_config takes an argument": "def get_config(size):\n    return size\n",
        "a file whose get_config does not end": "def get_config():\n    return get_config()\n",
        "a file that exits": "raise SystemExit('mine')\n",
        "a file with a number for a configuration": "def get_config():\n    return 3\n",
        "a file with a dict for a configuration": "def get_config():\n    return {'seed': 1}\n",
    }.items():
        yield _file(name, source)


def _models() -> Iterator[Mistake]:
    yield _model("returns a tuple", call="return self.last(x), x")
    yield _model("returns nothing", call="return None")
    yield _model("returns one number per image", call="return self.last(x).sum(-1)")
    yield _model("returns another number of classes", call="return self.last(x)[:, :5]")
    yield _model("returns whole numbers", call="return self.last(x).astype(int)")
    yield _model("adds the images up", call="return self.last(x).sum(0, keepdims=True)")
    yield _model("raises", call="raise RuntimeError('mine')")
    yield _model("has a wrong shape", call="return self.last(self.last(x))")
    yield _model("uses a name that is not there", call="return self.lasst(x)")
    yield _model("branches on a value", call="return self.last(x) if x.sum() > 0 else x[:, :10]")
    yield _model("raises when it is built", init="raise KeyError('mine')")
    yield _model("has a parameter of whole numbers", init="self.n = nnx.Param(jnp.ones(3, int))")
    yield _model("has no parameters", init="self.first = self.last = lambda x: x[:, :10]")
    for name, source in {
        "a model that is a function": "def Net(images):\n    return images\n",
        "a model that is a number": "Net = 3\n",
        "a model that is no module": "class Net:\n    def __init__(self, *, rngs):\n        pass\n",
        "a model without rngs": (
            "from flax import nnx\n\nclass Net(nnx.Module):\n"
            "    def __init__(self):\n        pass\n"
        ),
        "a model whose file has a syntax error": "class Net(:\n",
        "a model whose file imports what is not there": "import torch_of_mine\n",
        "a model whose file raises": "1 / 0\n",
        "a model that is not in its file": "class Other:\n    pass\n",
    }.items():
        files = {"mine.py": CONFIG.format(line='config.model = dict(name="net:Net")')}
        yield Mistake(name, ("main", "--config=mine.py"), files | {"net.py": source})


def _functions() -> Iterator[Mistake]:
    loss = 'config.loss = "own:f"'
    for name, source in {
        "a loss that returns a mean": (
            "def f(outputs, targets, *, output_activation):\n"
            "    return (outputs - targets).mean()\n"
        ),
        "a loss without output_activation": "def f(outputs, targets):\n    return outputs[:, 0]\n",
        "a loss that raises": (
            "def f(outputs, targets, *, output_activation):\n    raise ValueError('mine')\n"
        ),
        "a loss with a keyword that has no value": (
            "def f(outputs, targets, *, output_activation, gamma):\n    return outputs[:, 0]\n"
        ),
        "a loss that is a class": "class f:\n    pass\n",
    }.items():
        yield _own(name, loss, source)
    for name, line, source in (
        ("a metric of one number", 'config.metrics = ("own:f",)',
         "def f(outputs, labels, *, output_activation):\n    return outputs.sum()\n"),
        ("a metric named loss", 'config.metrics = ("own:loss",)',
         "def loss(outputs, labels, *, output_activation):\n    return outputs[:, 0]\n"),
        ("an augmentation of images alone", 'config.augment.functions = ("own:f",)',
         "def f(images, targets, keys):\n    return images\n"),
        ("an augmentation of another shape", 'config.augment.functions = ("own:f",)',
         "def f(images, targets, keys):\n    return images[:, ::2], targets\n"),
        ("an optimizer that is none", 'config.optimizer = dict(name="own:f")',
         "def f():\n    return 3\n"),
        ("an optimizer that raises", 'config.optimizer = dict(name="own:f")',
         "def f():\n    raise OSError('mine')\n"),
        ("a schedule of arrays", 'config.schedule = dict(name="own:f")',
         "import jax.numpy as jnp\n\ndef f():\n    return lambda step: jnp.ones(3)\n"),
        ("a logger without arguments", 'config.loggers = ("own:f",)', "def f():\n    pass\n"),
        ("a data set that is none", 'config.data.name = "own:Data"', "class Data:\n    pass\n"),
    ):  # fmt: skip
        yield _own(name, line, source)


def _sweeps() -> Iterator[Mistake]:
    for value in (
        "None", "3", "config", "{}", "Sweep({})", "Sweep({'a': 3})", "Sweep([config])",
        "Sweep({'a': config}, seeds='3')", "Sweep({'a': config}, seeds=0)",
        "Sweep({'a': config}, seeds=True)", "Sweep({'': config})", "Sweep({'a/b': config})",
        "Sweep({3: config})", "Sweep({'a': config}, analysis='missing.py:f')",
        "Sweep({'a': config}, analysis=3)", "Sweep({'a': config, 'b': None})",
    ):  # fmt: skip
        files = {"mine.py": SWEEP.format(value=value)}
        yield Mistake(f"a sweep of {value}", ("sweep", "--config=mine.py"), files)
