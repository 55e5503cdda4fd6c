"""Defines the typed, frozen configuration: every field, its default, its range and its meaning.

A configuration file starts from the defaults and changes what its experiment needs:

    from mnist_jax.config import default

    def get_config():
        config = default()
        config.num_epochs = 25
        return config

`config_file.load` reads such a file, applies overrides and returns a `Config`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import ml_collections

from mnist_jax import binding, metrics
from mnist_jax.binding import Choice, Range, shown
from mnist_jax.errors import UserError
from mnist_jax.nested import leaves

BELOW_1 = 1.0 - 1e-9
MOST = 2**31 - 1  # of steps, examples and so on, which are counted in int32
HIGHEST_SEED = 2**32 - 1
DTYPES = ("float32", "bfloat16", "float16")
CHOICES = ("model", "loss", "optimizer", "schedule")


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
    """Configuration of a training run; equal ones give bit-identical results on one machine.

    On a GPU they do so only if they are `deterministic`.
    """

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
    reduction: str = "mean"  # or elastic: the number of devices then changes no bit
    # On a GPU, the same bits each time, by slower operations; on a CPU and a TPU they always are.
    deterministic: bool = False
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
        """Returns a field.

        Raises:
          UnknownFieldError: there is none of this name.
        """
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            if name.startswith("_"):  # as copying and pickling look for
                raise
            raise self._unknown(name) from error

    def __setitem__(self, key: str, value: Any) -> None:
        """Sets a field; a string that is given for a model, a loss and so on is its name.

        Raises:
          UnknownFieldError: the fields are locked, and there is no such field.
          UserError: the value is a dict with names that cannot be fields.
        """
        if self.is_locked and key not in self:
            raise self._unknown(key)
        try:
            if key in CHOICES and isinstance(value, str | dict):
                named = {"name": value} if isinstance(value, str) else value
                value = ml_collections.ConfigDict(named, type_safe=False)
            super().__setitem__(key, value)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise UserError(f"config.{key}: {error}") from error

    def _unknown(self, key: Any) -> UnknownFieldError:
        return UnknownFieldError(
            f"there is no field {shown(key)}{binding.did_you_mean(str(key), self.keys())}"
        )


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
