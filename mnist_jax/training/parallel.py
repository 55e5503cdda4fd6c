"""How training is laid over devices. `parallel` and `reduction` are read here alone.

One network: the batch is split, the state replicated. `jit` runs the step on the global batch and
leaves the split to the compiler; `pmap` and `shard_map` run the same step on each device's part,
and the step reduces over the axis itself.

Many networks: each device has members of its own, and nothing to tell the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mnist_jax.config import Config
from mnist_jax.errors import UserError

AXIS, MEMBERS = "data", "members"
MODES = ("auto", "jit", "pmap", "shard_map")
# A program; how batches are handed to it; the shape and type that it then sees.
_Wrapped = tuple[Any, Callable[[Any], Any], Callable[[jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]]


@dataclass(frozen=True)
class Layout:
    """A mode and its devices."""

    mode: str  # jit, pmap or shard_map
    devices: tuple[Any, ...]  # of jax.Device

    @property
    def axis_name(self) -> str | None:
        """The mapped axis; `None` where the step sees the global batch."""
        return None if self.mode == "jit" else AXIS

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.asarray(self.devices), (AXIS,))

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of state and resident data: whole, on each device."""
        return NamedSharding(self._mesh, P())

    @property
    def by_batch(self) -> NamedSharding:
        """The sharding of `[S, B, ...]`: the batch axis over devices."""
        return NamedSharding(self._mesh, P(None, AXIS))

    def compile(
        self, function: Callable[..., Any], state: Any, data: Any, batches: Any
    ) -> Callable[..., Any]:
        """`function(state, data, batches) -> state`, compiled for these shapes.

        Args:
          function: runs a chunk of steps.
          state: on `replicated`; donated at each call.
          data: on `replicated`.
          batches: tree of `jax.ShapeDtypeStruct`, `[S, B, ...]`.
        """
        wrap = {"jit": self._jit, "pmap": self._pmap, "shard_map": self._shard_map}[self.mode]
        program, place, shapes = wrap(function)
        compiled = program.lower(state, data, jax.tree.map(shapes, batches)).compile()
        return lambda state, data, batches: compiled(state, data, place(batches))

    def _jit(self, function: Callable[..., Any]) -> _Wrapped:
        shardings = (self.replicated, self.replicated, self.by_batch)
        program = jax.jit(
            function, in_shardings=shardings, out_shardings=self.replicated, donate_argnums=0
        )
        return program, self._put, lambda x: x

    def _shard_map(self, function: Callable[..., Any]) -> _Wrapped:
        # check_vma would sum the gradients of replicated parameters by itself, and the step's own
        # mean would then be a factor of the number of devices too large.
        mapped = jax.shard_map(
            function,
            mesh=self._mesh,
            in_specs=(P(), P(), P(None, AXIS)),
            out_specs=P(),
            check_vma=False,
        )
        shardings = (self.replicated, self.replicated, self.by_batch)
        return jax.jit(mapped, in_shardings=shardings, donate_argnums=0), self._put, lambda x: x

    def _pmap(self, function: Callable[..., Any]) -> _Wrapped:
        count = len(self.devices)
        program = jax.pmap(
            function,
            axis_name=AXIS,
            in_axes=(None, None, 0),
            out_axes=None,
            devices=self.devices,
            donate_argnums=0,
        )

        def split(x: np.ndarray) -> np.ndarray:  # [S, B, ...] to [D, S, B / D, ...]
            return np.stack(np.split(x, count, axis=1))

        def shape(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            steps, batch, *rest = x.shape
            return jax.ShapeDtypeStruct((count, steps, batch // count, *rest), x.dtype)

        return program, lambda batches: jax.tree.map(split, batches), shape

    def _put(self, batches: Any) -> Any:
        return jax.device_put(batches, self.by_batch)


def layout(config: Config, devices: Sequence[Any] | None = None) -> Layout:
    """The layout that a configuration asks for, on the given devices or all there are.

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
    return Layout(mode, devices)


def _refuse_unknown(config: Config) -> None:
    if config.parallel not in MODES:
        raise UserError(f"config.parallel: {config.parallel!r} is none of {', '.join(MODES)}")
    if config.reduction != "mean":
        raise UserError(f"config.reduction: {config.reduction!r} is not supported; use 'mean'")


@dataclass(frozen=True)
class MembersLayout:
    """Members of a population over devices, all of the same number on each."""

    devices: tuple[Any, ...]  # of jax.Device
    width: int  # members that a device computes at a time, by vmap

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.asarray(self.devices), (MEMBERS,))

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of what all members share."""
        return NamedSharding(self._mesh, P())

    @property
    def by_member(self) -> NamedSharding:
        """The sharding of `[M, ...]`, with M a multiple of the number of devices."""
        return NamedSharding(self._mesh, P(MEMBERS))

    def compile(
        self,
        function: Callable[..., Any],
        state: Any,
        member: Any,
        shared: Any,
        *,
        donate: bool = False,
    ) -> Callable[..., Any]:
        """`function(state, member, shared) -> result` of one member, compiled for all of them.

        Args:
          function: pure; sees one member.
          state: tree of `[M, ...]` or their shapes.
          member: tree of `[M, ...]` or their shapes.
          shared: tree of what all members share, or its shapes.
          donate: each call uses up its `state`.
        """

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
        shardings = (self.by_member, self.by_member, self.replicated)
        program = jax.jit(mapped, in_shardings=shardings, donate_argnums=0 if donate else ())
        return program.lower(state, member, shared).compile()

    def place(self, tree: Any) -> Any:
        """`[M, ...]` on the devices of its members."""
        return jax.device_put(tree, self.by_member)


def members_layout(
    config: Config, count: int, devices: Sequence[Any] | None = None
) -> MembersLayout:
    """The layout of `count` members, on the given devices or all there are, at most one each.

    On a CPU a device computes one member at a time: its batch stays in the cache, and 32 networks
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
    return MembersLayout(devices, 1 if devices[0].platform == "cpu" else each)
