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
import contextlib
import dataclasses
import importlib.util
import inspect
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Annotated, Any

import ml_collections

from mnist_jax import binding, metrics, users_code
from mnist_jax.binding import Choice, Range, shown
from mnist_jax.errors import UserError, print_warning
from mnist_jax.files import local_path
from mnist_jax.nested import leaves

BELOW_1 = 1.0 - 1e-9
MOST = 2**31 - 1  # of steps, examples and so on, which are counted in int32
HIGHEST_SEED = 2**32 - 1
DTYPES = ("float32", "bfloat16", "float16")
CHOICES = ("model", "loss", "optimizer", "schedule")
PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Data:
    """Data set, splits, and where the images are kept during training."""

    name: str = "mnist"  # or fashion_mnist, kmnist, emnist, or your own package.module:Class
    train_split: str = "train[:55000]"  # any split string of TensorFlow Datasets
    val_split: str = "train[55000:]"  # empty: no validation split
    placement: str = "device"  # device: keep the whole split there; host: prefetch batches


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of the training images and of their targets; all are off by default.

    First the images are distorted (rotation to elastic, in one sampling); then noise, erasing,
    mixup and `functions` follow, in this order. Rotation, translation, scale and shear are drawn
    uniformly from [-value, value].
    """

    rotation: Annotated[float, Range(0.0, 360.0)] = 0.0  # degrees
    translation: Annotated[float, Range(0.0, 1e4)] = 0.0  # pixels, both axes
    # Fraction: 0.1 scales each axis independently by 0.9 to 1.1.
    scale: Annotated[float, Range(0.0, 0.9)] = 0.0
    shear: Annotated[float, Range(0.0, 80.0)] = 0.0  # degrees
    elastic: Annotated[float, Range(0.0, 1e4)] = (
        0.0  # standard deviation of the displacement, pixels
    )
    # Width of the Gaussian that smooths the displacement, pixels.
    elastic_sigma: Annotated[float, Range(0.5, 1e4)] = 4.0
    noise: Annotated[float, Range(0.0, 1e4)] = 0.0  # standard deviation, of pixels from 0 to 1
    erase: Annotated[float, Range(0.0, 1.0)] = 0.0  # probability that a rectangle is erased
    # Alpha of the Beta distribution that says how two images are mixed; 0: not at all.
    mixup: Annotated[float, Range(0.0)] = 0.0
    functions: tuple[Choice, ...] = ()  # your own: package.module:function


@dataclass(frozen=True, kw_only=True)
class Init:
    """Which network of the folder `init_from` to start from, and which weights to leave out."""

    member: str = ""  # in a sweep: the architecture, or "best"
    seed: int | None = None  # in a sweep: may be omitted if there is only one
    leave_out: tuple[str, ...] = ()  # parts ("variables") or layers ("output") to initialise anew


@dataclass(frozen=True, kw_only=True)
class Config:
    """Configuration of a training run; equal ones give bit-identical results on one machine."""

    seed: Annotated[int, Range(0, HIGHEST_SEED)] = 0
    num_epochs: Annotated[int, Range(1, MOST)] = 10
    # Examples per step, over all devices. The rest of an epoch that does not fill a batch is left
    # out; since each epoch has its own random order, it is other images each time.
    batch_size: Annotated[int, Range(1, MOST)] = 128
    chunk_steps: Annotated[int, Range(0, MOST)] = 0  # steps per compiled call; 0: a whole epoch

    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)

    model: Choice = field(default=Choice("mlp"))  # mlp, cnn, or your own package.module:Class
    dtype: str = "float32"  # of the computation; or bfloat16, float16. Parameters stay float32
    init_from: str = ""  # workdir of a trained network to start from
    init: Init = field(default_factory=Init)

    loss: Choice = field(default=Choice("cross_entropy"))  # or your own package.module:function
    label_smoothing: Annotated[float, Range(0.0, BELOW_1)] = 0.0
    # Optimizer and schedule of the learning rate: optax's names and keywords, or your own.
    optimizer: Choice = field(default=Choice("adam", {"learning_rate": 1e-3}))
    schedule: Choice = field(default=Choice(""))
    # Decoupled, for kernels only; multiplied by the learning rate.
    weight_decay: Annotated[float, Range(0.0)] = 0.0
    # Largest global norm of the gradient; 0: no clipping.
    clip_norm: Annotated[float, Range(0.0)] = 0.0
    # Of the parameters' moving average, used in evaluation; 0: none.
    ema_decay: Annotated[float, Range(0.0, BELOW_1)] = 0.0
    metrics: tuple[str, ...] = ()  # further ones: names, or your own package.module:function
    best: str = "val_accuracy"  # the column that decides which epoch is best
    # Epochs without improvement of `best` before stopping; 0: never.
    patience: Annotated[int, Range(0, MOST)] = 0

    parallel: str = "auto"  # auto, jit, pmap or shard_map
    reduction: str = "mean"  # of the gradients over all devices; there is no other yet
    # Number of checkpoints to keep; each holds the best epoch's weights.
    keep_latest: Annotated[int, Range(1, MOST)] = 2
    # Called with the row of each epoch: your own package.module:name, a function or a class.
    loggers: tuple[Choice, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns plain nested dicts, as in `config.json`; `parse` is the inverse."""
        values = dataclasses.asdict(self)
        values |= {name: getattr(self, name).to_dict() for name in CHOICES}
        values["loss"] = self.loss.short()
        values["augment"]["functions"] = tuple(its.short() for its in self.augment.functions)
        values["loggers"] = tuple(its.short() for its in self.loggers)
        return values

    def modules(self) -> list[str]:
        """Returns the modules of the user's own code that any field names."""
        choices = [getattr(self, name) for name in CHOICES]
        choices += [*self.augment.functions, *self.loggers]
        names = [choice.name for choice in choices]
        return own_modules([*names, self.data.name, *self.metrics])


def own_modules(names: Sequence[str]) -> list[str]:
    """Returns the module of each name that is the user's own `package.module:Name`."""
    return [name.partition(":")[0] for name in names if ":" in name]


class UnknownFieldError(UserError, AttributeError):
    """A configuration does not have the field that is being set."""


class Fields(ml_collections.ConfigDict):
    """The fields of a configuration or of one of its sections, to edit."""

    def __getattr__(self, name: str) -> Any:
        """Returns a field; AttributeError if there is none."""
        return super().__getattr__(name)

    def __setitem__(self, key: str, value: Any) -> None:
        """Sets a field; a string that is given for a model, a loss and so on is its name.

        Raises:
          UnknownFieldError: the fields are locked, and there is no such field.
          UserError: the value is a dict with names that cannot be fields.
        """
        if self.is_locked and key not in self:
            raise UnknownFieldError(
                f"there is no field {shown(key)}{binding.did_you_mean(str(key), self.keys())}"
            )
        try:
            if key in CHOICES and isinstance(value, str | dict):
                named = {"name": value} if isinstance(value, str) else value
                value = ml_collections.ConfigDict(named, type_safe=False)
            super().__setitem__(key, value)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise UserError(f"config.{key}: {error}") from error


def default() -> Fields:
    """Returns the default configuration to edit; setting an unknown field raises AttributeError.

    Values of any type can be set. `parse` checks them, with messages that name the field.
    """
    values = Config().to_dict()
    for name in ("data", "augment", "init"):
        values[name] = Fields(values[name], type_safe=False)
    config = Fields(values, type_safe=False)
    config.lock()
    for name in CHOICES:
        section: Any = config[name]
        section.unlock()  # its fields depend on its name
    return config


def parse(values: Mapping[str, Any]) -> Config:
    """Converts plain nested values to a `Config`, and checks them.

    Raises:
      UserError: a field is unknown or its value invalid; the message names the field.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"a configuration must be a dict of fields, not {shown(values)}")
    config = Config(**binding.bind(Config, binding.plain(values, "config"), "config"))
    binding.refuse_absurd(config.to_dict(), "config")
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
    return call(module, "get_config", path)


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
      UserError: there is no such file, it is not a Python file, or its code fails.
    """
    users_code.refresh()
    found = find_file(split_path(path)[0])
    spec = importlib.util.spec_from_file_location(f"config_{found.stem}", found)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        raise UserError(f"{path}: must be a Python file with get_config()")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses, for one, look their module up
    with _told(path, path), users_code.remembered():
        # Not by the loader, which takes compiled code for that of a source of the same second.
        exec(compile(found.read_bytes(), str(found), "exec"), vars(module))
    return module


def call(module: Any, function: str, path: str) -> Any:
    """Calls a function of a configuration file and returns its result.

    Args:
      module: the imported file.
      function: name of the function.
      path: `FILE`, or `FILE:ARGUMENT` to call the function with this argument.

    Raises:
      UserError: there is no such function, it takes an argument and there is none or vice versa, it
        sets an unknown field, or its code fails.
    """
    file, argument = split_path(path)
    target = getattr(module, function, None)
    if not callable(target):
        raise UserError(f"{path}: has no function {function}()")
    arguments = () if argument is None else (argument,)
    _check_call(target, f"{path}: {function}", file, arguments)
    with _told(path, f"{path}: {function}()"):
        return target(*arguments)


def _check_call(target: Any, where: str, file: str, arguments: tuple[str, ...]) -> None:
    """Raises UserError if a function of the file does not take the argument, or needs one."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        take = "no argument" if arguments else "an argument"
        given = file if arguments else f"{file}:ARGUMENT"
        raise UserError(f"{where}{signature} takes {take}: give --config={given}") from error


@contextlib.contextmanager
def _told(path: str, what: str) -> Iterator[None]:
    """Context manager for the code of a configuration file, whose errors become messages."""
    with users_code.told(what):
        try:
            yield
        except UserError as error:  # such as an unknown field
            line = users_code.place(error)
            raise UserError(f"{path}: {error}{f' ({line})' if line else ''}") from error


def plain(config: Any, where: str) -> dict[str, Any]:
    """Returns a configuration as plain nested dicts.

    Args:
      config: a `ConfigDict` or a `Config`.
      where: the origin of `config`, for the message.

    Raises:
      UserError: `config` has another type.
    """
    if not isinstance(config, ml_collections.ConfigDict | Config):
        raise UserError(
            f"{where}: must be a configuration as default() returns it, not {shown(config)}"
        )
    try:
        return config.to_dict()
    except (AttributeError, TypeError) as error:
        raise UserError(
            f"{where}: cannot be read ({error}). Start from default(), and let the names in a dict "
            f"be all strings or all numbers"
        ) from error


def overridden(
    values: dict[str, Any], overrides: Sequence[tuple[str, Any]], told: set[str] | None = None
) -> dict[str, Any]:
    """Applies overrides such as `("model.hidden", "64,32")` to `values` in place; returns it.

    The last override of a field counts. Where an override names another model, optimizer, schedule
    or loss, keywords of the old one are kept if the new one has them, too; the others are left out,
    with a warning.

    Args:
      values: a configuration as plain nested dicts.
      overrides: dotted names and values; a string is parsed as on the command line.
      told: warnings already printed; new ones are added.

    Raises:
      UserError: an override names an unknown section.
    """
    given: dict[str, Any] = {}
    for name, value in overrides:
        if not isinstance(name, str):
            raise UserError(f"an override must name a field by a string, not by {shown(name)}")
        given[name] = value
        section, _, field_name = name.partition(".")
        its = values.get(section)
        old = its.get("name") if isinstance(its, dict) else None
        _override(values, name, value)
        if section in CHOICES and field_name == "name" and old and isinstance(its, dict):
            warning = _without_foreign(section, its, old, given)
            if warning and (told is None or warning not in told):
                print_warning(warning)
            if told is not None:
                told.add(warning)
    return values


def _without_foreign(
    section: str, values: dict[str, Any], old: str, given: Mapping[str, Any]
) -> str:
    """Removes the keywords of the old model, ... that the new one does not have.

    Args:
      section: `model`, `loss`, `optimizer` or `schedule`.
      values: the new name, and the old keywords.
      old: the old name.
      given: the overrides so far, which stay.

    Returns:
      A warning that names the removed keywords; empty if there are none.
    """
    new = values["name"]
    theirs = [name for name in values if name != "name" and f"{section}.{name}" not in given]
    if new == old or not isinstance(new, str) or not new or not theirs:
        return ""
    from mnist_jax import choices  # late: it imports JAX

    taken = choices.keywords(section, new)
    if taken is None:
        return ""
    out = [name for name in theirs if name not in taken]
    for name in out:
        del values[name]
    return f"config.{section}: {new} does not take these of {old}: {', '.join(out)}" if out else ""


def find_file(path: str) -> Path:
    """Returns the path of a configuration file, from the current folder or the project's root.

    Outside a checkout, the project's configurations are in the package.

    Raises:
      UserError: there is no such file in either folder.
    """
    checkout = (PROJECT_ROOT / "configs").is_dir()
    root = PROJECT_ROOT if checkout else Path(__file__).resolve().parent
    asked = local_path(path, "config")
    candidates = [Path.cwd() / asked, root / asked]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    tried = "\n".join(f"  {c}" for c in dict.fromkeys(candidates))
    raise UserError(f"there is no configuration file {path}; looked for\n{tried}")


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns one line per field in which two configurations differ, such as `seed: 0 -> 1`.

    Args:
      old: the first configuration's `to_dict()`.
      new: the second configuration's `to_dict()`.
    """
    before, after = leaves(old), leaves(new)
    pairs = {
        name: (before.get(name, "(absent)"), after.get(name, "(absent)"))
        for name in sorted(before.keys() | after.keys())
    }
    return [f"{name}: {a!r} -> {b!r}" for name, (a, b) in pairs.items() if a != b]


def _check_values(config: Config) -> None:
    """Checks what annotations cannot express: allowed names and combinations of fields."""
    if config.dtype not in DTYPES:
        raise UserError(f"config.dtype: {shown(config.dtype)} is none of {', '.join(DTYPES)}")
    if config.patience > 0 and not config.data.val_split:
        raise UserError("config.patience: needs a validation split; config.data.val_split is empty")
    if not config.init_from and config.init != Init():
        raise UserError(
            "config.init: says how to start from config.init_from, which is empty; name the folder "
            "of a trained network there"
        )
    _check_best(config)


def _check_best(config: Config) -> None:
    names = [*metrics.ALWAYS, *map(metrics.short_name, config.metrics)]
    known = [f"val_{name}" for name in names]
    if config.best not in known:
        raise UserError(
            f"config.best: {shown(config.best)} is not a validation column"
            + binding.did_you_mean(config.best, known)
        )


def _override(values: dict[str, Any], name: str, value: Any) -> None:
    *sections, leaf = name.split(".")
    if sections and sections[0] in CHOICES and isinstance(values.get(sections[0]), str):
        values[sections[0]] = {"name": values[sections[0]]}
    for i, section in enumerate(sections):
        if not isinstance(values.get(section), dict):
            where = ".".join(["config", *sections[:i]])
            raise UserError(
                f"{where}: there is no section {shown(section)}"
                + binding.did_you_mean(section, [k for k, v in values.items() if type(v) is dict])
            )
        values = values[section]
    is_text = isinstance(values.get(leaf), str) or not isinstance(value, str)
    values[leaf] = value if is_text else _value(value)


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as one of a backslash
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
