"""Starts JAX's devices, and says so if an accelerator lies idle while JAX computes on the CPU."""

import os
from typing import Any

import jax

from mnist_jax.errors import UserError, print_warning

CONFIG: Any = jax.config  # not every version declares its settings

# What the drivers of accelerators show, and the extra of this package that uses them.
NVIDIA = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/proc/driver/nvidia/gpus")
TPU = ("/dev/accel0",)
TPU_VARIABLES = ("TPU_NAME", "TPU_ACCELERATOR_TYPE", "TPU_WORKER_ID", "COLAB_TPU_ADDR")


def start() -> list[Any]:
    """Returns JAX's devices, which are started if they are not yet.

    Raises:
      UserError: JAX cannot start them.
    """
    try:
        return jax.devices()
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(_why_not(error)) from error


def notice() -> list[str]:
    """Returns a line for each accelerator that is there and not used, as `warnings` of a result."""
    asked = os.environ.get("JAX_PLATFORMS") or CONFIG.jax_platforms or ""
    if "cpu" in asked.split(",") or start()[0].platform != "cpu":
        return []
    return [
        f"an accelerator ({kind}) lies idle: JAX computes on the CPU. "
        f"Install what it needs: pip install '.[{extra}]'; or set JAX_PLATFORMS=cpu"
        for kind, extra in (("NVIDIA GPU", "cuda"), ("TPU", "tpu"))
        if _there(extra)
    ]


def warn() -> None:
    """Prints the lines of `notice` on standard error."""
    for line in notice():
        print_warning(line)


def _there(extra: str) -> bool:
    if extra == "cuda":
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        return not hidden and any(map(os.path.exists, NVIDIA))
    shared = os.path.exists("/dev/vfio") and any(name in os.environ for name in TPU_VARIABLES)
    return shared or any(map(os.path.exists, TPU))


def _why_not(error: Exception) -> str:
    """Says why JAX has no devices, and names the variable to correct if there is one."""
    platforms = CONFIG.jax_platforms
    count = os.environ.get("JAX_NUM_CPU_DEVICES")
    if platforms and platforms != "cpu":
        advice = f"JAX_PLATFORMS={platforms!r} asks for them; unset it, or set JAX_PLATFORMS=cpu"
    elif count is not None:
        advice = f"JAX_NUM_CPU_DEVICES={count!r} asks for that many; it must be 1 or more"
    else:
        advice = "JAX_PLATFORMS=cpu computes on the CPU"
    why = " ".join(str(error).split()) or "there are none of that kind"
    return f"JAX cannot start its devices: {why}. {advice}"
