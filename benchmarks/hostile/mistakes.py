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
    trained: bool = False  # True: its folder holds a finished run, `run`


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
    yield from _of_runs()


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
    "schedule.name=cosine", "schedule.decay_steps=25", "schedule.decay_steps=3 epoch s",
    "schedule.decay_steps=-1", "schedule.init_value=-1", "schedule.warmup=1",
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
    "model.features=8,8", "model.kernel_init=glorot", "model.normalisation=batchnorm",
    "model.output_activation=softmx", "model.name=CNN", "model.name=cnn.py", "model.hidden=8-8",
    "model.hidden=8;8", "optimizer.name=Adam", "optimizer.name=torch.optim.Adam",
    "optimizer={'name':'adam'", "data.name=MNIST", "data.name=cifar10", "data.name=emnist",
    "data.val_split=train[500:1500]", "data.val_split=validation", "data.train_split=test[:100]",
    "seed=0.5", "batch_size=64.0", "num_epochs=3 epochs",
    "augment.mixup=-1", "augment.functions=os:getcwd", "ema_decay=-1", "ema_decay=1.5",
    "label_smoothing=-0.1", "dtype=float64", "chunk_steps=1.5", "keep_latest=-1", "patience=1.5",
    "parallel=jit,pmap", "init_from=.", "init.leave_out=output",
    "metrics=builtins:len", "loss=math:sqrt", "loss=os:getcwd", "epochs=3", "Seed=3", "seed.=3",
    ".seed=3", "model.=3", "model..hidden=3",
    "clip_norm=nan", "ema_decay=1", "=3", "seed", "data=3", "data.name.more=1",
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
    "config.optimizer = 'adam', 1e-3",
    "config.optimizer = 'adam'; config.schedule = dict(name='constant_schedule')",
    "config.optimizer = 'adam'; config.schedule = 'cosine_decay_schedule'",
    "config.optimizer = 'adam'; config.schedule = dict(name='piecewise_constant_schedule',"
    " init_value=0.1, boundaries_and_scales=0.5)",
    "config.optimizer = 'adam'; config.schedule = dict(name='cosine_decay_schedule',"
    " init_value=0.1, decay_steps='soon')",
    "config.schedule = 'cosine_decay_schedule'",
    "config.loss = print", "config.metrics = (3,)", "config.metrics = ['top_3', None]",
    "config.augment = dict(rotaton=5)", "config.augment.rotaton = 5",
    "config.augment.functions = 'mine:f'",
    "config.best = 3", "config.data = 'mnist'", "config.loggers = print",
    "config = 3", "config = None", "config = {}", "return", "raise RuntimeError('mine')",
    "import sys; sys.exit(3)", "1 / 0", "undefined", "config.unlock(); config.extra = 1",
    "config['seed'] = -3", "config.seed = True", "config.seed = float('nan')",
    "config.batch_size = '64'", "config.patience = 2.0", "config.update(dict(epochs=3))",
    "del config.sed", "config.best = 'loss'", "config.num_epochs += 0.5", "config.augment = []",
    "config.optimizer.learning_rate = '1e-3'", "config.optimizer.learning_rate = 1e-3, 1e-4",
    "config.optimizer = dict(name='adam', learning_rate=0.1, weight_decay=0.1)",
    "config.optimizer = dict(name='adam', lr=0.1)", "config.optimizer = dict(learning_rate=0.1)",
    "config.optimizer = print", "config.model.hiden = (8,)", "config.model.hidden = [[8]]",
    "config.model.hidden = (8, None)", "config.model.hidden = '8'", "config.model = 'resnet'",
    "config.data.train_split = 1000", "config.data.tran_split = 'train'", "config.data = None",
    "config.loggers = [{'name': 'mine:f'}]", "config.init.seed = 3", "yield config",
    "return config.to_dict()", "return config, 3", "while True: raise StopIteration",
    "print(config.nothing)", "import mnist_jax; mnist_jax.nothing", "open('nothing.yaml')",
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
        "verify without a folder": ("verify",),
        "predict without a folder": ("predict", "digit.png"),
        "predict of nothing": ("predict", "--workdir=nowhere", "digit.png"),
        "demo without a folder": ("demo",),
        "demo of nothing": ("demo", "--workdir", "nowhere"),
        "export of nothing": ("export", "--workdir=nowhere", "--format=stablehlo"),
        "export without a format": ("export", "--workdir=nowhere"),
        "export of an unknown format": ("export", "--workdir=nowhere", "--format=pickle"),
        "a URL as configuration": ("main", "--config=https://example.org/mlp.py"),
        "a name as configuration": ("main", "--config=mlp"),
        "two files as configuration": ("main", "--config=configs/mlp.py,configs/cnn.py"),
        "a configuration of nobody": ("main", "--config=~nobody-of-this-name/mlp.py"),
        "an override of the folder": ("main", MLP, "--config.workdir=run"),
        "an override with blanks": ("main", MLP, "--config.seed", "=", "3"),
        "an override with one dash": ("main", MLP, "-config.seed=3"),
        "a flag with a value": ("main", MLP, "--profile=yes"),
        "patience without validation": (
            *("main", MLP, *TINY),
            "--config.patience=3",
            "--config.data.val_split=",
        ),
        "a sweep with a member's name": ("sweep", MLP, "--member=mlp"),
        "a sweep of less than no seeds": ("sweep", MLP, "--seeds=-3"),
        "a sweep of too many seeds": ("sweep", MLP, "--seeds=1000000000"),
        "an override in which a sweep's members differ": (
            *("sweep", "--config=configs/sweeps/depth.py"),
            "--config.model.hidden=8,",
        ),
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
    yield _model("has no parameters", init="self.first = self.last = len")
    yield _model("returns a list", call="return [self.last(x)]")
    yield _model("returns a NumPy array", call="import numpy; return numpy.zeros((len(x), 10))")
    yield _model("returns complex numbers", call="return self.last(x) + 0j")
    yield _model("prints a value", call="print(float(x[0, 0])); return self.last(x)")
    yield _model("takes a layer of Linen", init="import flax.linen as nn; self.first = nn.Dense(8)")
    yield _model("drops by nnx", init="self.drop = nnx.Dropout(0.5, rngs=rngs)")
    yield _model("exits", call="import sys; sys.exit('mine')")
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
        ("an augmentation of one argument", 'config.augment.functions = ("own:f",)',
         "def f(images):\n    return images\n"),
        ("a metric of percents", 'config.metrics = ("own:f",)',
         "def f(outputs, labels):\n    return 100.0\n"),
        ("a metric that is a number", 'config.metrics = ("own:f",)', "f = 3\n"),
        ("an optimizer without a state", 'config.optimizer = dict(name="own:f")',
         "def f():\n    return lambda gradients: gradients\n"),
        ("a schedule that is a number", 'config.schedule = dict(name="own:f")',
         "def f():\n    return 0.1\n"),
        ("a logger that is a class without a call", 'config.loggers = ("own:f",)',
         "class f:\n    pass\n"),
        ("a logger with a keyword that it lacks",
         'config.loggers = (dict(name="own:f", digits=3),)', "def f(row):\n    pass\n"),
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
        "Sweep({'a': config}, seeds=True)", "Sweep({'': config})", "Sweep({3: config})",
        "Sweep({'a': config}, analysis='missing.py:f')",
        "Sweep({'a': config}, analysis=3)", "Sweep({'a': config, 'b': None})",
    ):  # fmt: skip
        files = {"mine.py": SWEEP.format(value=value)}
        yield Mistake(f"a sweep of {value}", ("sweep", "--config=mine.py"), files)


def _of_runs() -> Iterator[Mistake]:
    """Yields mistakes with the folder of a finished run."""
    training = ("main", MLP, *TINY, "--workdir=run")
    pictures = ("predict", "--workdir=run")
    for name, arguments in {
        "another configuration in its folder": (*training, "--config.seed=1"),
        "fewer epochs in its folder": (*training, "--config.num_epochs=0"),
        "more epochs with a schedule of fractions": (*training, "--config.num_epochs=2"),
        "a sweep in its folder": ("sweep", MLP, *TINY, "--seeds=2", "--workdir=run"),
        "a checkpoint that is not there": ("evaluate", "--workdir=run", "--checkpoint=3"),
        "a checkpoint of no number": ("evaluate", "--workdir=run", "--checkpoint=seven"),
        "an empty checkpoint": ("evaluate", "--workdir=run", "--checkpoint="),
        "a split that is not there": ("evaluate", "--workdir=run", "--split=tset"),
        "a split without examples": ("evaluate", "--workdir=run", "--split=test[:0]"),
        "a member of a run": ("evaluate", "--workdir=run", "--member=mlp"),
        "a seed of a run": ("evaluate", "--workdir=run", "--seed=0"),
        "an ensemble of one run": ("evaluate", "--workdir=run", "--ensemble"),
        "its checkpoints for its folder": ("evaluate", "--workdir=run/checkpoints"),
        "its report for its folder": ("evaluate", "--workdir=run/report.html"),
        "predict without pictures": pictures,
        "a picture that is not there": (*pictures, "digit.png"),
        "a pattern that matches nothing": (*pictures, "*.gif"),
        "a folder without pictures": (*pictures, "run"),
        "a picture that is a URL": (*pictures, "https://example.org/digit.png"),
        "a test image too far": (*pictures, "--test_image=10000"),
        "a test image before the first": (*pictures, "--test_image=-1"),
        "a demo with a folder that is none": ("demo", "--workdir", "run", "nowhere"),
        "a comparison with a folder that is none": ("sweep", "--compare", "run", "nowhere"),
        "a folder for a comparison that holds a run": (
            *("sweep", "--compare", "run"), "--workdir=run"
        ),
    }.items():  # fmt: skip
        yield Mistake(name, arguments, trained=True)
    for name, files, command in (
        ("an empty config.json", {"config.json": ""}, "evaluate"),
        ("a config.json that is a list", {"config.json": "[]"}, "evaluate"),
        ("a config.json that is cut off", {"config.json": '{"seed": 1'}, "evaluate"),
        ("a config.json of another version", {"config.json": '{"sed": 1}'}, "evaluate"),
        ("a config.json without fields", {"config.json": "{}"}, "predict"),
        ("a sweep.json that is empty", {"sweep.json": ""}, "evaluate"),
        ("a checkpoint without metadata", {"checkpoints/7/_CHECKPOINT_METADATA": ""}, "evaluate"),
        ("a checkpoint with other metadata", {"checkpoints/7/_CHECKPOINT_METADATA": "{}"}, "demo"),
        ("a picture that is none", {"digit.png": b"no picture"}, "predict"),
        ("an empty picture", {"digit.png": b""}, "predict"),
    ):
        extra = {"predict": ("run/digit.png",)}
        yield Mistake(
            name,
            (command, *extra.get(command, ()), "--workdir=run"),
            {f"run/{file}": content for file, content in files.items()},
            trained=True,
        )
