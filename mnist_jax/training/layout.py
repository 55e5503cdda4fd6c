"""How training is laid over devices. `parallel` and `reduction` are read here alone.

States are trees of arrays `[M, ...]` for M networks. `BatchLayout`, for one network, splits the
batch: `jit` runs the step on the global batch and leaves the split to the compiler; `pmap` and
`shard_map` run the same step on each device's part, and the step reduces over the axis itself.
`MembersLayout` gives each device networks of its own, which have nothing to tell the others.

Both compile a function of one network, which sees no axis of members.
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

DATA, MEMBERS = "data", "members"
MODES = ("auto", "jit", "pmap", "shard_map")
Function = Callable[..., Any]


class Layout(Protocol):
    """What the trainer needs to know of devices; P is M and the padding that devices need."""

    @property
    def devices(self) -> tuple[Any, ...]:
        """The devices, `jax.Device`s, that it is laid over."""
        ...

    @property
    def axis_name(self) -> str | None:
        """The mapped axis over which the step reduces; `None` where it sees the whole batch."""
        ...

    @property
    def shared(self) -> NamedSharding:
        """The sharding of what all networks share: whole, on each device."""
        ...

    @property
    def block_multiple(self) -> int:
        """The blocks of a split must be a multiple of this."""
        ...

    def place(self, tree: Any) -> Any:
        """`[M, ...]` from the host or the devices, laid out as `[P, ...]` on the devices."""
        ...

    def members(self, tree: Any) -> Any:
        """`[P, ...]` from the devices as `[M, ...]` on the host, without the padding."""
        ...

    def place_blocks(self, blocks: Any) -> Any:
        """The blocks of a split, `[n, BLOCK, ...]`, on the devices."""
        ...

    def compile_steps(
        self, function: Function, state: Any, numbers: Any, rows: Any, resident: Any
    ) -> tuple[Function, Any]:
        """Compiles a chunk of steps for all networks.

        Args:
          function: `(state, numbers, rows, resident) -> state` of one network.
          state: tree of `[P, ...]` or their shapes; donated at each call.
          numbers: by field, `[P]`: what the networks differ in.
          rows: tree of shapes `[M, S, B, ...]`, as the feed gives them.
          resident: what the feed keeps on the devices.

        Returns:
          `(state, numbers, active [M] bool, rows, resident) -> state`, where a network that is not
          active stays as it is; and XLA's compiled program, to be asked for its needs.
        """
        ...

    def compile_blocks(
        self, function: Function, weights: Any, numbers: Any, blocks: Any
    ) -> Function:
        """Compiles `function(weights, numbers, blocks)` of one network for all of them.

        Args:
          function: gives a tree of `[n, BLOCK, ...]` for the blocks of a split.
          weights: tree of `[P, ...]` or their shapes.
          numbers: as for `compile_steps`.
          blocks: as `place_blocks` gives them.

        Returns:
          `(weights, numbers, blocks) ->` tree of `[P, n, BLOCK, ...]`.
        """
        ...


@dataclass(frozen=True)
class BatchLayout:
    """One network: the batch over devices, the state on each. M and P are 1."""

    mode: str  # jit, pmap or shard_map
    devices: tuple[Any, ...]  # of jax.Device

    @property
    def axis_name(self) -> str | None:
        """The mapped axis; `None` under `jit`."""
        return None if self.mode == "jit" else DATA

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.asarray(self.devices), (DATA,))

    @property
    def shared(self) -> NamedSharding:
        """Whole, on each device."""
        return NamedSharding(self._mesh, P())

    @property
    def by_batch(self) -> NamedSharding:
        """The sharding of rows `[1, S, B, ...]`: the batch axis over devices."""
        return NamedSharding(self._mesh, P(None, None, DATA))

    @property
    def block_multiple(self) -> int:
        """Each device has as many blocks."""
        return len(self.devices)

    def place(self, tree: Any) -> Any:
        """On all devices; what is there already stays."""
        return jax.device_put(tree, self.shared)

    def members(self, tree: Any) -> Any:
        """On the host."""
        return jax.device_get(tree)

    def place_blocks(self, blocks: Any) -> Any:
        """Divided among the devices."""
        return jax.device_put(blocks, NamedSharding(self._mesh, P(DATA)))

    def compile_steps(
        self, function: Function, state: Any, numbers: Any, rows: Any, resident: Any
    ) -> tuple[Function, Any]:
        """Compiles a chunk of steps of the one network, which is always active; see `Layout`."""

        def steps(state: Any, numbers: Any, rows: Any, resident: Any) -> Any:
            return _added(function(_dropped(state), _dropped(numbers), _dropped(rows), resident))

        wrap = {"jit": self._jit, "pmap": self._pmap, "shard_map": self._shard_map}[self.mode]
        program, place, shape = wrap(steps)
        shapes = jax.tree.map(shape, rows)
        compiled = program.lower(state, numbers, shapes, resident).compile()

        def call(state: Any, numbers: Any, active: Any, rows: Any, resident: Any) -> Any:
            return compiled(state, numbers, place(rows), resident)

        return call, compiled

    def compile_blocks(
        self, function: Function, weights: Any, numbers: Any, blocks: Any
    ) -> Function:
        """Compiles a function of the blocks of a split, which devices share out; see `Layout`."""

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
        return jax.jit(mapped, in_shardings=shardings).lower(weights, numbers, blocks).compile()

    def _jit(self, steps: Function) -> tuple[Any, Function, Function]:
        shardings = (self.shared, self.shared, self.by_batch, self.shared)
        program = jax.jit(
            steps, in_shardings=shardings, out_shardings=self.shared, donate_argnums=0
        )
        return program, self._put, lambda x: x

    def _shard_map(self, steps: Function) -> tuple[Any, Function, Function]:
        # check_vma would sum the gradients of replicated parameters by itself, and the step's own
        # mean would then be a factor of the number of devices too large.
        mapped = jax.shard_map(
            steps,
            mesh=self._mesh,
            in_specs=(P(), P(), P(None, None, DATA), P()),
            out_specs=P(),
            check_vma=False,
        )
        shardings = (self.shared, self.shared, self.by_batch, self.shared)
        return jax.jit(mapped, in_shardings=shardings, donate_argnums=0), self._put, lambda x: x

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

    def _put(self, rows: Any) -> Any:
        return jax.device_put(rows, self.by_batch)


@dataclass(frozen=True)
class MembersLayout:
    """M networks over devices, each whole on one, of the same number on each."""

    count: int  # M
    devices: tuple[Any, ...]  # of jax.Device
    width: int  # networks that a device computes at a time, by vmap

    axis_name = None
    block_multiple = 1

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.asarray(self.devices), (MEMBERS,))

    @property
    def shared(self) -> NamedSharding:
        """Whole, on each device."""
        return NamedSharding(self._mesh, P())

    @property
    def by_member(self) -> NamedSharding:
        """The sharding of `[P, ...]`."""
        return NamedSharding(self._mesh, P(MEMBERS))

    @property
    def turns(self) -> int:
        """How often a device computes to advance all its networks by a step."""
        each = (self.count + self.padding) // len(self.devices)
        return -(-each // self.width)

    @property
    def padding(self) -> int:
        """Copies of the first network behind the last one, so that devices have equally many."""
        return -self.count % len(self.devices)

    def place(self, tree: Any) -> Any:
        """Padded, each network on its device."""
        return jax.device_put(jax.tree.map(self._padded, tree), self.by_member)

    def members(self, tree: Any) -> Any:
        """On the host, without the padding."""
        return jax.tree.map(lambda x: x[: self.count], jax.device_get(tree))

    def place_blocks(self, blocks: Any) -> Any:
        """All of them on each device."""
        return jax.device_put(blocks, self.shared)

    def compile_steps(
        self, function: Function, state: Any, numbers: Any, rows: Any, resident: Any
    ) -> tuple[Function, Any]:
        """Compiles a chunk of steps, each device for its own networks; see `Layout`."""

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
        """Compiles a function of the blocks of a split, by device; see `Layout`."""
        return self._compile(function, weights, numbers, blocks, donate=False)

    def _compile(
        self, function: Function, state: Any, member: Any, shared: Any, *, donate: bool
    ) -> Any:
        """`function(state, member, shared)` of one network for all of them."""

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
        return program.lower(state, member, shared).compile()

    def _padded(self, x: Any) -> Any:
        """`[M, ...]` as `[P, ...]`."""
        if not self.padding or len(x) != self.count:
            return x
        x = np.asarray(x)
        return np.concatenate([x, np.broadcast_to(x[:1], (self.padding, *x.shape[1:]))])


def for_batch(config: Config, devices: Sequence[Any] | None = None) -> BatchLayout:
    """The layout of one network, on the given devices or all there are.

    Raises:
      UserError: an unknown or unsupported mode, or a batch that cannot be split.
    """
    devices = tuple(devices or jax.devices())
    _refuse_unknown(config)
    if config.batch_size % len(devices):
        raise UserError(
            f"config.batch_size: {config.batch_size} cannot be split over {len(devices)} devices; "
            f"use a multiple of {len(devices)}"
        )
    mode = config.parallel
    if mode == "auto":
        mode = "jit" if len(devices) == 1 else "pmap"
    return BatchLayout(mode, devices)


def for_members(config: Config, count: int, devices: Sequence[Any] | None = None) -> MembersLayout:
    """The layout of `count` networks, on the given devices or all there are, at most one each.

    On a CPU a device computes one network at a time: its batch stays in the cache, and 32 networks
    of 784-128-32-10 take 7.4 ms a step instead of 9.8. An accelerator computes all of them at once.

    Raises:
      UserError: a mode that is unknown, or meant for one network.
    """
    _refuse_unknown(config)
    if config.parallel != "auto":
        raise UserError(
            f"config.parallel: a sweep lays its members over the devices, each whole on one; "
            f"use 'auto', not {config.parallel!r}"
        )
    devices = tuple(devices or jax.devices())[:count]
    each = -(-count // len(devices))
    return MembersLayout(count, devices, 1 if devices[0].platform == "cpu" else each)


def _refuse_unknown(config: Config) -> None:
    if config.parallel not in MODES:
        raise UserError(f"config.parallel: {config.parallel!r} is none of {', '.join(MODES)}")
    if config.reduction != "mean":
        raise UserError(f"config.reduction: {config.reduction!r} is not supported; use 'mean'")


def _dropped(tree: Any) -> Any:
    """`[1, ...]` as `[...]`: one network without the axis of members."""
    return jax.tree.map(lambda x: x.reshape(x.shape[1:]), tree)


def _added(tree: Any) -> Any:
    """`[...]` as `[1, ...]`."""
    return jax.tree.map(lambda x: x.reshape(1, *x.shape), tree)
