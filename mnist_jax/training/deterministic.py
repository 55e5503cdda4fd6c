"""Options with which XLA compiles programs that give the same bits each time, by platform.

They go with each program that is compiled and not into `XLA_FLAGS`, since XLA ends a process that
names a flag which it does not know. See `Config.deterministic`.
"""

from collections.abc import Mapping
from typing import Any

import jax

from mnist_jax.errors import UserError

# On a GPU, XLA adds in any order where that is faster, and times several kernels for an operation
# to choose one, which may be another one next time. On a CPU and on a TPU it does neither.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "gpu": {"xla_gpu_deterministic_ops": True, "xla_gpu_autotune_level": 0}
}
UNKNOWN = "No such compile option"


def options(platform: str, *, asked: bool) -> dict[str, Any]:
    """Returns the compile options for a platform, such as `cpu` or `gpu`; none unless asked."""
    return dict(OPTIONS.get(platform, {})) if asked else {}


def compiled(lowered: Any, platform: str, *, asked: bool) -> Any:
    """Compiles a lowered program, deterministically if asked.

    Raises:
      UserError: the installed XLA does not know an option that this needs.
    """
    found = options(platform, asked=asked)
    if not found:
        return lowered.compile()
    try:
        return lowered.compile(compiler_options=found)
    except jax.errors.JaxRuntimeError as error:
        if UNKNOWN not in str(error):
            raise
        raise UserError(
            f"config.deterministic: XLA of jax {jax.__version__} lacks what it needs on a "
            f"{platform} ({error}). Set it to False, or install another version of jax"
        ) from error
