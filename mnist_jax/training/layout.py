"""Distributes training over devices.

The state of M networks is a tree of arrays `[M, ...]`. `BatchLayout`, for one network, splits the
batch: under `jit` the step sees the global batch and the compiler splits it; under `pmap` and
`shard_map` each device runs the step on its part, and the step itself averages over the mapped
axis. `MembersLayout` gives each device whole networks, which need no communication.

Both compile a function of one network, which does not see the member axis. No other module reads
`config.parallel`, `config.reduction` and `config.deterministic`.

The devices of one network may belong to several processes, each of which calls the same functions
in the same order. The members of a sweep are divided among processes beforehand; a `MembersLayout`
has devices of one process.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.training import deterministic
from mnist_jax.training.reduction import SHARDS, Elastic, Mean, Reduction

DATA, MEMBERS = "data", "members"
MODES = ("auto", "jit", "pmap", "shard_map")
REDUCTIONS = ("mean", "elastic")
Function = Callable[..., Any]


class Layout(Protocol):
    """Places arrays on devices and compiles functions for M networks.

    P is the number of networks on the devices: M plus padding, a multiple of the devices.
    """

    @property
    def devices(self) -> tuple[Any, ...]:
        """The devices in use, as `jax.Device`s."""
        ...

    @property
    def own_devices(self) -> tuple[Any, ...]:
        """Those of the devices that belong to this process."""
        ...

    @property
    def reduction(self) -> Reduction:
        """Reduces what the step computes for parts of a batch."""
        ...

    @property
    def several(self) -> bool:
        """True if several processes train the networks, each with its own devices."""
        ...

    @property
    def shared(self) -> NamedSharding:
        """The sharding of arrays that all networks share: replicated on every device."""
        ...

    @property
    def block_multiple(self) -> int:
        """The number of blocks of a split must be a multiple of this number."""
        ...

    def replicate(self, tree: Any) -> Any:
        """Puts arrays, which all networks share, on every device."""
        ...

    def place(self, tree: Any) -> Any:
        """Puts arrays `[M, ...]`, from the host or the devices, on the devices as `[P, ...]`."""
        ...

    def members(self, tree: Any) -> Any:
        """Copies arrays `[P, ...]` from the devices to the host as `[M, ...]`, without padding."""
        ...

    def place_blocks(self, blocks: Any) -> Any:
        """Puts the blocks of a split, `[n, BLOCK, ...]`, on the devices."""
        ...

    def compile_steps(
        self, function: Function, state: Any, numbers: Any, rows: Any, resident: Any
    ) -> tuple[Function, Any]:
        """Compiles a chunk of steps for all networks.

        Args:
          function: `(state, numbers, rows, resident) -> state` of one network.
          state: tree of arrays `[P, ...]` or their shapes; donated at each call.
          numbers: `[P]` values of each field in which the networks differ.
          rows: tree of shapes `[M, S, B, ...]`, as returned by `Feed.shapes`.
          resident: the arrays that the feed keeps on the devices.

        Returns:
          A function `(state, numbers, active [M] bool, rows, resident) -> state`, which leaves
          inactive networks unchanged, and XLA's compiled program, which reports its memory needs.
        """
        ...

    def compile_blocks(
        self, function: Function, weights: Any, numbers: Any, blocks: Any
    ) -> Function:
        """Compiles `function(weights, numbers, blocks)` of one network for all of them.

        Args:
          function: returns a tree of arrays `[n, BLOCK, ...]` for the blocks of a split.
          weights: tree of arrays `[P, ...]` or their shapes.
          numbers: as for `compile_steps`.
          blocks: as returned by `place_blocks`.

        Returns:
          A function `(weights, numbers, blocks)` that returns a tree of arrays
          `[P, n, BLOCK, ...]`.
        """
        ...


@dataclass(frozen=True)
class BatchLayout:
    """Splits the batch of one network over the devices and replicates its state; M and P are 1."""

    mode: str  # jit, pmap or shard_map
    devices: tuple[Any, ...]  # of jax.Device
    elastic: bool = False  # so that the number of devices changes no bit
    deterministic: bool = False  # so that a GPU gives the same bits each time

    @property
    def reduction(self) -> Reduction:
        """Over the mapped axis; under `jit`, the step sees the whole batch."""
        if self.elastic:
            return Elastic(DATA)
        return Mean(None if self.mode == "jit" else DATA, packed=self.several)

    @property
    def own_devices(self) -> tuple[Any, ...]:
        """Those of the devices that belong to this process."""
        return tuple(its for its in self.devices if its.process_index == jax.process_index())

    @property
    def several(self) -> bool:
        """True if some of the devices belong to other processes."""
        return not self.shared.is_fully_addressable

    @property
    def _platform(self) -> str:
        return self.devices[0].platform

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.asarray(self.devices), (DATA,))

    @property
    def shared(self) -> NamedSharding:
        """The sharding of arrays that are replicated on every device."""
        return NamedSharding(self._mesh, P())

    @property
    def by_batch(self) -> NamedSharding:
        """The sharding of rows `[1, S, B, ...]`: the batch axis is split over the devices."""
        return NamedSharding(self._mesh, P(None, None, DATA))

    @property
    def block_multiple(self) -> int:
        """The number of devices, so that all get equally many blocks."""
        return len(self.devices)

    def share(self, batch_size: int) -> slice:
        """Returns the part of a batch that the devices of this process train on."""
        each = batch_size // len(self.devices)
        start = self.devices.index(self.own_devices[0]) * each
        return slice(start, start + len(self.own_devices) * each)

    def replicate(self, tree: Any) -> Any:
        """Replicates arrays on all devices; copies nothing that is there already."""
        return self._put(tree, self.shared)

    def place(self, tree: Any) -> Any:
        """Replicates the state of the one network."""
        return self.replicate(tree)

    def members(self, tree: Any) -> Any:
        """Copies arrays from the devices to the host."""
        return jax.device_get(tree)

    def place_blocks(self, blocks: Any) -> Any:
        """Divides the blocks of a split among the devices."""
        return self._put(blocks, NamedSharding(self._mesh, P(DATA)))

    def compile_steps(
        self, function: Function, state: Any, numbers: Any, rows: Any, resident: Any
    ) -> tuple[Function, Any]:
        """Compiles a chunk of steps of the one network, which is always active; see `Layout`."""

        def steps(state: Any, numbers: Any, rows: Any, resident: Any) -> Any:
            return _added(function(_dropped(state), _dropped(numbers), _dropped(rows), resident))

        wrap = {"jit": self._jit, "pmap": self._pmap, "shard_map": self._shard_map}[self.mode]
        program, place, shape = wrap(steps)
        shapes = jax.tree.map(shape, rows)
        lowered = program.lower(state, numbers, shapes, resident)
        compiled = deterministic.compiled(lowered, self._platform, asked=self.deterministic)

        def call(state: Any, numbers: Any, active: Any, rows: Any, resident: Any) -> Any:
            return compiled(state, numbers, place(rows), resident)

        return call, compiled

    def compile_blocks(
        self, function: Function, weights: Any, numbers: Any, blocks: Any
    ) -> Function:
        """Compiles a function of the blocks of a split, divided among the devices; see `Layout`."""

        def examine(weights: Any, numbers: Any, blocks: Any) -> Any:
            return _added(function(_dropped(weights), _dropped(numbers), blocks))

        mapped = jax.shard_map(
            examine,
            mesh=self._mesh,
            in_specs=(P(), P(), P(DATA)),
            out_specs=P(None, DATA),
            check_vma=False,
        )
        shardings = (self.shared, self.shared, NamedSharding(self._mesh, P(DATA)))
        # Each process needs all outputs, which the host can read from its own devices only.
        to = self.shared if self.several else None
        program = jax.jit(mapped, in_shardings=shardings, out_shardings=to)
        lowered = program.lower(weights, numbers, blocks)
        return deterministic.compiled(lowered, self._platform, asked=self.deterministic)

    def _jit(self, steps: Function) -> tuple[Any, Function, Function]:
        shardings = (self.shared, self.shared, self.by_batch, self.shared)
        program = jax.jit(
            steps, in_shardings=shardings, out_shardings=self.shared, donate_argnums=0
        )
        return program, self._put_rows, lambda x: x

    def _shard_map(self, steps: Function) -> tuple[Any, Function, Function]:
        # With check_vma, JAX would sum the gradients of replicated parameters, and the step's own
        # mean would then be too large by a factor of the number of devices.
        mapped = jax.shard_map(
            steps,
            mesh=self._mesh,
            in_specs=(P(), P(), P(None, None, DATA), P()),
            out_specs=P(),
            check_vma=False,
        )
        shardings = (self.shared, self.shared, self.by_batch, self.shared)
        program = jax.jit(mapped, in_shardings=shardings, donate_argnums=0)
        return program, self._put_rows, lambda x: x

    def _pmap(self, steps: Function) -> tuple[Any, Function, Function]:
        count = len(self.devices)
        program = jax.pmap(
            steps,
            axis_name=DATA,
            in_axes=(None, None, 0, None),
            out_axes=None,
            devices=self.devices,
            donate_argnums=0,
        )

        def split(x: np.ndarray) -> np.ndarray:  # [1, S, B, ...] to [D, 1, S, B / D, ...]
            return np.stack(np.split(x, count, axis=2))

        def shape(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            one, steps, batch, *rest = x.shape
            return jax.ShapeDtypeStruct((count, one, steps, batch // count, *rest), x.dtype)

        return program, functools.partial(jax.tree.map, split), shape

    def _put_rows(self, rows: Any) -> Any:
        """Puts rows `[1, S, B, ...]` on the devices; of several processes, each gives its own."""
        if not self.several:
            return jax.device_put(rows, self.by_batch)
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self.by_batch, x), rows
        )

    def _put(self, tree: Any, sharding: NamedSharding) -> Any:
        """Puts arrays on the devices, which each process gives as a whole."""
        if not self.several:
            return jax.device_put(tree, sharding)

        def put(x: Any) -> jax.Array:
            if isinstance(x, jax.Array) and not x.is_fully_addressable:
                return x
            x = np.asarray(x)
            return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

        return jax.tree.map(put, tree)


@dataclass(frozen=True)
class MembersLayout:
    """Divides M networks among the devices, each network whole on one device.

    M is padded to P, so that all devices hold equally many.
    """

    count: int  # M
    devices: tuple[Any, ...]  # of jax.Device
    width: int  # networks that a device computes at the same time, by vmap
    deterministic: bool = False  # so that a GPU gives the same bits each time

    reduction = Mean()
    block_multiple = 1
    several = False

    @property
    def own_devices(self) -> tuple[Any, ...]:
        """All devices: they belong to this process."""
        return self.devices

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.asarray(self.devices), (MEMBERS,))

    @property
    def shared(self) -> NamedSharding:
        """The sharding of arrays that are replicated on every device."""
        return NamedSharding(self._mesh, P())

    @property
    def by_member(self) -> NamedSharding:
        """The sharding of arrays `[P, ...]`, split over the devices by network."""
        return NamedSharding(self._mesh, P(MEMBERS))

    @property
    def turns(self) -> int:
        """Number of groups of `width` networks that a device computes one after the other."""
        each = (self.count + self.padding) // len(self.devices)
        return -(-each // self.width)

    @property
    def padding(self) -> int:
        """Number of copies of the first network added so that all devices hold equally many."""
        return -self.count % len(self.devices)

    def replicate(self, tree: Any) -> Any:
        """Replicates arrays on all devices."""
        return jax.device_put(tree, self.shared)

    def place(self, tree: Any) -> Any:
        """Pads arrays `[M, ...]` to `[P, ...]` and puts each network on its device."""
        return jax.device_put(jax.tree.map(self._padded, tree), self.by_member)

    def members(self, tree: Any) -> Any:
        """Copies arrays `[P, ...]` to the host as `[M, ...]`, without the padding."""
        return jax.tree.map(lambda x: x[: self.count], jax.device_get(tree))

    def place_blocks(self, blocks: Any) -> Any:
        """Replicates the blocks of a split on every device."""
        return jax.device_put(blocks, self.shared)

    def compile_steps(
        self, function: Function, state: Any, numbers: Any, rows: Any, resident: Any
    ) -> tuple[Function, Any]:
        """Compiles a chunk of steps that each device takes for its own networks; see `Layout`."""

        def steps(state: Any, member: Any, resident: Any) -> Any:
            numbers, active, rows = member

            def train(state: Any) -> Any:
                return function(state, numbers, rows, resident)

            return lax.cond(active, train, lambda state: state, state)

        total = self.count + self.padding
        active = jax.ShapeDtypeStruct((total,), np.bool_)
        rows = jax.tree.map(lambda x: jax.ShapeDtypeStruct((total, *x.shape[1:]), x.dtype), rows)
        compiled = self._compile(steps, state, (numbers, active, rows), resident, donate=True)

        def call(state: Any, numbers: Any, active: Any, rows: Any, resident: Any) -> Any:
            return compiled(state, (numbers, *self.place((active, rows))), resident)

        return call, compiled

    def compile_blocks(
        self, function: Function, weights: Any, numbers: Any, blocks: Any
    ) -> Function:
        """Compiles a function that each device applies for its own networks; see `Layout`."""
        return self._compile(function, weights, numbers, blocks, donate=False)

    def _compile(
        self, function: Function, state: Any, member: Any, shared: Any, *, donate: bool
    ) -> Any:
        """Compiles `function(state, member, shared)` of one network for all of them."""

        def on_device(state: Any, member: Any, shared: Any) -> Any:
            def one(both: Any) -> Any:
                return function(*both, shared)

            width = None if self.width == 1 else self.width
            return lax.map(one, (state, member), batch_size=width)

        mapped = jax.shard_map(
            on_device,
            mesh=self._mesh,
            in_specs=(P(MEMBERS), P(MEMBERS), P()),
            out_specs=P(MEMBERS),
            check_vma=False,
        )
        shardings = (self.by_member, self.by_member, self.shared)
        program = jax.jit(mapped, in_shardings=shardings, donate_argnums=0 if donate else ())
        lowered = program.lower(state, member, shared)
        return deterministic.compiled(lowered, self.devices[0].platform, asked=self.deterministic)

    def _padded(self, x: Any) -> Any:
        """Pads an array `[M, ...]` to `[P, ...]`; returns an array `[P, ...]` unchanged."""
        if not self.padding or len(x) != self.count:
            return x
        x = np.asarray(x)
        return np.concatenate([x, np.broadcast_to(x[:1], (self.padding, *x.shape[1:]))])


def for_batch(config: Config, devices: Sequence[Any] | None = None) -> BatchLayout:
    """Returns the layout of one network on the given devices, by default all of all processes.

    Raises:
      UserError: a mode is unknown or unsupported, or the devices do not divide the batch.
    """
    devices = tuple(devices or sorted(jax.devices(), key=lambda its: (its.process_index, its.id)))
    _refuse_unknown(config)
    elastic, mode = is_elastic(config), config.parallel
    several = len({device.process_index for device in devices}) > 1
    if mode == "pmap" and several:
        raise UserError("config.parallel: 'pmap' is for a single process; use 'auto'")
    if mode == "auto":
        mode = "shard_map" if several else "jit" if len(devices) == 1 else "pmap"
    if elastic:
        _refuse_inelastic(config, len(devices))
        if mode == "jit":  # in which the compiler would split the batch
            mode = "shard_map"
    if config.batch_size % len(devices):
        raise UserError(
            f"config.batch_size: {config.batch_size} cannot be split over {len(devices)} devices; "
            f"use a multiple of {len(devices)}"
        )
    return BatchLayout(mode, devices, elastic, config.deterministic)


def is_elastic(config: Config) -> bool:
    """True if the number of devices changes no bit."""
    return config.reduction == "elastic"


def sharing_equally(devices: int) -> int:
    """Returns the largest number of devices, up to `devices`, that divides the elastic shards."""
    return max(count for count in range(1, devices + 1) if SHARDS % count == 0)


def refuse_unreachable() -> None:
    """Lets all devices of all processes add a number, which is quick, before anything is compiled.

    Raises:
      UserError: they cannot; their first exchange must come within 30 seconds in all processes.
    """
    layout = BatchLayout("shard_map", tuple(jax.devices()))
    axis = NamedSharding(layout._mesh, P(DATA))
    ones = jax.make_array_from_callback(
        (len(layout.devices),), axis, lambda index: np.ones(len(layout.devices), np.float32)[index]
    )
    try:
        jax.block_until_ready(jax.jit(lambda x: x.sum(), out_shardings=layout.shared)(ones))
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0][:200]
        raise UserError(
            "the processes reach the coordinator, but not each other: open the ports between their "
            f"hosts ({first})"
        ) from error


def for_evaluation(config: Config) -> BatchLayout:
    """Returns the layout in which all devices of this process evaluate one network."""
    return BatchLayout("jit", tuple(jax.local_devices()), is_elastic(config), config.deterministic)


def for_members(config: Config, count: int, devices: Sequence[Any] | None = None) -> MembersLayout:
    """Returns the layout of `count` networks on the given devices, by default all of this process.

    It uses at most `count` devices. A CPU device computes one network at a time, so that the batch
    stays in the cache: 32 networks of 784-128-32-10 take 7.4 ms per step instead of 9.8. An
    accelerator computes all its networks at once.

    Raises:
      UserError: a mode is unknown, or is only for a single network.
    """
    _refuse_unknown(config)
    for field, usual in (("parallel", "auto"), ("reduction", "mean")):
        if (value := getattr(config, field)) != usual:
            raise UserError(
                f"config.{field}: a sweep assigns whole members to devices; "
                f"use {usual!r}, not {value!r}"
            )
    devices = tuple(devices or jax.local_devices())[:count]
    each = -(-count // len(devices))
    width = 1 if devices[0].platform == "cpu" else each
    return MembersLayout(count, devices, width, config.deterministic)


def _refuse_unknown(config: Config) -> None:
    for field, known in (("parallel", MODES), ("reduction", REDUCTIONS)):
        if (value := getattr(config, field)) not in known:
            raise UserError(f"config.{field}: {value!r} is none of {', '.join(known)}")


def _refuse_inelastic(config: Config, devices: int) -> None:
    """Raises UserError unless a batch has `SHARDS` equal parts, which the devices can share."""
    if SHARDS % devices:
        raise UserError(
            f"config.reduction: 'elastic' divides each batch into {SHARDS} parts, which {devices} "
            f"devices cannot share equally; use 1, 2, 4 or 8 devices, or 'mean'"
        )
    if config.batch_size % SHARDS:
        raise UserError(
            f"config.batch_size: {config.batch_size} cannot be divided into the {SHARDS} parts of "
            f"config.reduction = 'elastic'; use a multiple of {SHARDS}"
        )


def _dropped(tree: Any) -> Any:
    """Drops the member axis of one network: reshapes `[1, ...]` to `[...]`."""
    return jax.tree.map(lambda x: x.reshape(x.shape[1:]), tree)


def _added(tree: Any) -> Any:
    """Adds the member axis of one network: reshapes `[...]` to `[1, ...]`."""
    return jax.tree.map(lambda x: x.reshape(1, *x.shape), tree)
