"""Defines the typed, frozen configuration: every field, its default, its range and its meaning.

A configuration file starts from the defaults and changes what its experiment needs:

    from mnist_jax.config import default

    def get_config():
        config = default()
        config.num_epochs = 25
        return config

`load` reads such a file, applies `--config.field=value` overrides and returns a `Config`.
"""

import ast
import dataclasses
import importlib.util
import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_collections

from mnist_jax import binding, metrics
from mnist_jax.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Data:
    """Data set, splits, and where the images are kept during training."""

    name: str = "mnist"  # mnist, fashion_mnist or kmnist
    train_split: str = "train[:55000]"  # any split string of TensorFlow Datasets
    val_split: str = "train[55000:]"  # empty: no validation split
    placement: str = "device"  # device: keep the whole split there; host: prefetch batches


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random distortions of the training images; all are off by default.

    Rotation, translation, scale and shear are drawn uniformly from [-value, value].
    """

    rotation: float = 0.0  # degrees
    translation: float = 0.0  # pixels, both axes
    scale: float = 0.0  # fraction: 0.1 scales each axis independently by 0.9 to 1.1
    shear: float = 0.0  # degrees
    elastic: float = 0.0  # standard deviation of the displacement, pixels
    elastic_sigma: float = 4.0  # width of the Gaussian that smooths the displacement, pixels


@dataclass(frozen=True, kw_only=True)
class Init:
    """Which network of the folder `init_from` to start from, and which weights to leave out."""

    member: str = ""  # in a sweep: the architecture, or "best"
    seed: int | None = None  # in a sweep: may be omitted if there is only one
    leave_out: tuple[str, ...] = ()  # parts ("variables") or layers ("output") to initialise anew


@dataclass(frozen=True)
class Choice:
    """A model, an optimizer or a schedule, chosen by name, and its keyword arguments."""

    name: str
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Configuration of a training run; equal ones give bit-identical results on one machine."""

    seed: int = 0
    num_epochs: int = 10
    batch_size: int = 128  # examples per step, over all devices
    chunk_steps: int = 0  # steps per compiled call; 0: a whole epoch

    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)

    model: Choice = Choice("mlp")  # mlp, cnn, or your own package.module:Class
    dtype: str = "float32"  # of the computation; or bfloat16, float16. Parameters stay float32
    init_from: str = ""  # workdir of a trained network to start from
    init: Init = field(default_factory=Init)

    loss: str = "cross_entropy"  # or your own package.module:function
    label_smoothing: float = 0.0
    optimizer: Choice = Choice("adam", {"learning_rate": 1e-3})  # name and keywords of optax
    schedule: Choice = Choice("")  # of the learning rate: name and keywords of optax
    weight_decay: float = 0.0  # decoupled, for kernels only; multiplied by the learning rate
    clip_norm: float = 0.0  # largest global norm of the gradient; 0: no clipping
    ema_decay: float = 0.0  # of the parameters' moving average, used in evaluation; 0: none
    metrics: tuple[str, ...] = ()  # further ones: names, or your own package.module:function
    best: str = "val_accuracy"  # the column that decides which epoch is best
    patience: int = 0  # epochs without improvement of `best` before stopping; 0: never

    parallel: str = "auto"  # auto, jit, pmap or shard_map
    reduction: str = "mean"  # of the gradients over all devices
    keep_latest: int = 2  # number of checkpoints to keep; each holds the best epoch's weights

    def to_dict(self) -> dict[str, Any]:
        """Returns plain nested dicts, as in `config.json`; `parse` is the inverse."""
        values = dataclasses.asdict(self)
        for name in CHOICES:
            choice = getattr(self, name)
            values[name] = {"name": choice.name, **choice.keywords}
        return values


BELOW_1 = 1.0 - 1e-9
RANGES = {
    "seed": (0, 2**32 - 1),
    "num_epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "chunk_steps": (0, math.inf),
    "keep_latest": (1, math.inf),
    "patience": (0, math.inf),
    "label_smoothing": (0.0, BELOW_1),
    "weight_decay": (0.0, math.inf),
    "clip_norm": (0.0, math.inf),
    "ema_decay": (0.0, BELOW_1),
    "augment.rotation": (0.0, 360.0),
    "augment.translation": (0.0, math.inf),
    "augment.scale": (0.0, 0.9),
    "augment.shear": (0.0, 80.0),
    "augment.elastic": (0.0, math.inf),
    "augment.elastic_sigma": (0.5, math.inf),
}
DTYPES = ("float32", "bfloat16", "float16")
CHOICES = ("model", "optimizer", "schedule")
PROJECT_ROOT = Path(__file__).resolve().parent.parent


def default() -> ml_collections.ConfigDict:
    """Returns the default configuration to edit; setting an unknown field raises AttributeError."""
    config = ml_collections.ConfigDict(Config().to_dict()).lock()
    for name in CHOICES:
        section: Any = config[name]
        section.unlock()  # its fields depend on its name
    return config


def parse(values: Mapping[str, Any]) -> Config:
    """Converts plain nested values to a `Config`, and checks them.

    Raises:
      UserError: a field is unknown or its value invalid; the message names the field.
    """
    values = dict(values)
    for name in CHOICES:
        if isinstance(values.get(name), Mapping):
            values[name] = _choice(values[name], f"config.{name}")
    config = Config(**binding.bind(Config, values, "config"))
    _check_values(config)
    return config


def load(path: str, overrides: Sequence[tuple[str, Any]] = ()) -> Config:
    """Reads a configuration file and applies overrides such as `("model.hidden", "64,32")`.

    Args:
      path: a Python file with `get_config()`; `FILE:ARGUMENT` calls `get_config(ARGUMENT)`.
      overrides: dotted names and values; a string is parsed as on the command line.

    Raises:
      UserError: the file does not exist or returns no configuration, or a field is invalid.
    """
    module = import_file(path)
    if hasattr(module, "get_sweep"):
        raise UserError(
            f"{path}: is a sweep of many networks; train it with "
            f"python -m mnist_jax.sweep --config={path}"
        )
    values = plain(from_module(module, path), f"{path}: get_config()")
    return parse(overridden(values, overrides))


def from_module(module: Any, path: str) -> Any:
    """Calls `get_config` of a configuration file, with the argument of `FILE:ARGUMENT` if any."""
    argument = split_path(path)[1]
    return call(module, "get_config", path, *(() if argument is None else (argument,)))


def split_path(path: str) -> tuple[str, str | None]:
    """Splits `FILE:ARGUMENT` into its two parts; the argument is None if there is none."""
    file, colon, argument = path.partition(".py:")
    return (f"{file}.py", argument) if colon else (path, None)


def stem(path: str) -> str:
    """Returns the name of a configuration's run: the file's stem, and the argument if any."""
    file, argument = split_path(path)
    words = re.sub(r"[^\w.-]+", "-", argument or "")
    return f"{Path(file).stem}-{words}" if words else Path(file).stem


def import_file(path: str) -> Any:
    """Imports a configuration file and returns its module.

    Raises:
      UserError: there is no such file, or it is not a Python file.
    """
    found = find_file(split_path(path)[0])
    spec = importlib.util.spec_from_file_location(f"config_{found.stem}", found)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: must be a Python file with get_config()")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(module: Any, function: str, path: str, *arguments: Any) -> Any:
    """Calls a function of a configuration file and returns its result.

    Args:
      module: the imported file.
      function: name of the function.
      path: path of the file, for messages.
      arguments: passed to the function.

    Raises:
      UserError: there is no such function, or it sets an unknown field.
    """
    if not hasattr(module, function):
        raise UserError(f"{path}: has no function {function}()")
    try:
        return getattr(module, function)(*arguments)
    except AttributeError as error:
        # The message of ml_collections holds these two names amid the whole configuration.
        names = re.search(r'"(\w+)".*Did you mean "(\w+)"', str(error), flags=re.S)
        if names is None:
            raise  # an error in the file's own code: keep its traceback
        raise UserError(
            f"{path}: there is no field {names[1]!r}; did you mean {names[2]!r}?"
        ) from error


def plain(config: Any, where: str) -> dict[str, Any]:
    """Returns a configuration as plain nested dicts.

    Args:
      config: a `ConfigDict` or a `Config`.
      where: the origin of `config`, for the message.

    Raises:
      UserError: `config` has another type.
    """
    if not isinstance(config, ml_collections.ConfigDict | Config):
        raise UserError(f"{where}: must be a configuration as default() returns it, not {config!r}")
    return config.to_dict()


def overridden(values: dict[str, Any], overrides: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Applies overrides such as `("model.hidden", "64,32")` to `values` in place; returns it.

    Raises:
      UserError: an override names an unknown section.
    """
    for name, text in overrides:
        _override(values, name, text)
    return values


def find_file(path: str) -> Path:
    """Returns the path of a configuration file, from the current folder or the project's root.

    Raises:
      UserError: there is no such file in either folder.
    """
    candidates = [Path.cwd() / path, PROJECT_ROOT / path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    tried = "\n".join(f"  {c}" for c in dict.fromkeys(candidates))
    raise UserError(f"there is no configuration file {path}; looked for\n{tried}")


def difference(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    """Returns one line per field in which two configurations differ, such as `seed: 0 -> 1`.

    Args:
      old: the first configuration's `to_dict()`.
      new: the second configuration's `to_dict()`.
      path: prefix of the fields' names.
    """
    lines = []
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name, "(absent)"), new.get(name, "(absent)")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += difference(a, b, f"{path}{name}.")
        elif a != b:
            lines.append(f"{path}{name}: {a!r} -> {b!r}")
    return lines


def _check_values(config: Config) -> None:
    """Checks what types cannot express: ranges, allowed names and combinations of fields."""
    for name, (low, high) in RANGES.items():
        value = operator.attrgetter(name)(config)
        if not low <= value <= high:
            raise UserError(f"config.{name}: must be from {low} to {high}, got {value}")
    if config.dtype not in DTYPES:
        raise UserError(f"config.dtype: {config.dtype!r} is none of {', '.join(DTYPES)}")
    if config.patience > 0 and not config.data.val_split:
        raise UserError("config.patience: needs a validation split; config.data.val_split is empty")
    _check_best(config)


def _check_best(config: Config) -> None:
    names = [*metrics.ALWAYS, *map(metrics.short_name, config.metrics)]
    known = [f"val_{name}" for name in names]
    if config.best not in known:
        raise UserError(
            f"config.best: {config.best!r} is not a validation column"
            + binding.did_you_mean(config.best, known)
        )


def _choice(values: Mapping[str, Any], where: str) -> Choice:
    if not isinstance(values.get("name"), str):
        raise UserError(f"{where}.name: a name must be given")
    keywords = {k: _freeze(v) for k, v in values.items() if k != "name"}
    return Choice(values["name"], keywords)


def _freeze(value: Any) -> Any:
    if isinstance(value, Mapping):  # JSON has only string keys
        return {str(k): _freeze(v) for k, v in value.items()}
    return tuple(_freeze(v) for v in value) if isinstance(value, (list, tuple)) else value


def _override(values: dict[str, Any], name: str, value: Any) -> None:
    *sections, leaf = name.split(".")
    for i, section in enumerate(sections):
        if not isinstance(values.get(section), dict):
            where = ".".join(["config", *sections[:i]])
            raise UserError(
                f"{where}: there is no section {section!r}"
                + binding.did_you_mean(section, [k for k, v in values.items() if type(v) is dict])
            )
        values = values[section]
    is_text = isinstance(values.get(leaf), str) or not isinstance(value, str)
    values[leaf] = value if is_text else _value(value)


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
