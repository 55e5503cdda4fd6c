"""The settings of JAX that this project trains with, whatever the environment or a notebook says.

JAX takes its settings from variables such as `JAX_ENABLE_X64`, which a shell, a container or a
notebook hands over (https://docs.jax.dev/en/latest/config_options.html). Those that would change
what a network learns, or that its training does not work under, have one value here.
"""

import contextlib
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_jax import ulimits
from mnist_jax.errors import UserError
from mnist_jax.files import writing

PRNG = "threefry2x32"  # the implementation of random numbers; its bits are the same everywhere
DUMP = "JAX_DUMP_IR_TO"  # the folder to which JAX writes its programs
# For these JAX has no context manager: `own` sets them for the whole process, if they differ.
PROCESS_WIDE = {
    "jax_accurate_erf_inv": False,
    "jax_high_dynamic_range_gumbel": False,
    "jax_compilation_cache_check_contents": False,
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
    "jax_no_execution": False,
    "jax_no_tracing": False,
    "jax_scan3": False,
    "jax_enable_preemption_service": True,
    "jax_enable_recoverability": False,
}
# `compilation.keep_programs` sets these for the whole process.
OF_THE_CACHE = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
    "jax_raise_persistent_cache_errors",
)


@contextlib.contextmanager
def own() -> Iterator[None]:
    """Context manager in which JAX has this project's settings.

    The values that were there before come back afterwards. JAX is imported here, if it is not yet.

    Raises:
      UserError: JAX cannot be imported because of a variable in the environment, or of a limit on
        memory; this is a fork of a process that has used JAX; or what failed inside failed because
        JAX cannot start its devices.
    """
    ulimits.refuse_cramped()
    _refuse_fork()
    jax = imported()
    _refuse_dump(os.environ.get(DUMP, ""))
    with contextlib.ExitStack() as stack:
        for setting in (
            jax.enable_x64(False),
            jax.numpy_dtype_promotion("standard"),
            jax.threefry_partitionable(True),
            jax.default_prng_impl(PRNG),
            jax.legacy_prng_key("allow"),
            jax.default_matmul_precision(None),
            jax.softmax_custom_jvp(False),
            jax.disable_jit(False),
            jax.transfer_guard("allow"),
            jax.default_device(None),
            jax.debug_nans(False),  # a number that is not finite is found and named by the training
            jax.debug_infs(False),
            jax.debug_key_reuse(False),
            jax.check_tracer_leaks(False),
        ):
            stack.enter_context(setting)
        for name, value in PROCESS_WIDE.items():
            if getattr(jax.config, name, value) != value:  # JAX 0.10 lacks one of them
                stack.callback(jax.config.update, name, getattr(jax.config, name))
                jax.config.update(name, value)
        for name in OF_THE_CACHE:
            stack.callback(_restore, jax, name, getattr(jax.config, name))
        try:
            yield
            _used_in.add(os.getpid())
        except (RuntimeError, AssertionError):
            from mnist_jax import devices  # late, because it imports JAX

            devices.start()  # raises UserError if that is the reason
            raise


def _refuse_dump(folder: str) -> None:
    """Raises UserError if JAX is to write its programs to a folder that cannot be written."""
    if folder and folder != "sponge" and "://" not in folder:  # a word that JAX knows, or a URL
        with writing(Path(folder), f"{DUMP} in the environment names it: correct or unset that"):
            Path(folder).mkdir(parents=True, exist_ok=True)


_used_in: set[int] = set()  # the process in which JAX has started devices, or its parent


def _refuse_fork() -> None:
    """Raises UserError in a fork of a process that has used JAX, in which JAX would hang."""
    if _used_in - {os.getpid()}:
        raise UserError(
            "this process was forked from one that had used JAX, whose threads are missing here: "
            "it would wait for ever. Start processes by multiprocessing.get_context('spawn')"
        )


def _restore(jax: Any, name: str, value: Any) -> None:
    if getattr(jax.config, name) == value:
        return
    jax.config.update(name, value)
    if name == "jax_compilation_cache_dir":  # else JAX would go on with the folder it has opened
        from jax.experimental.compilation_cache import compilation_cache

        compilation_cache.reset_cache()


def imported() -> Any:
    """Imports and returns JAX.

    Raises:
      UserError: a variable in the environment has a value that JAX or XLA does not know.
    """
    if flags := os.environ.get("XLA_FLAGS", "").strip():
        _refuse_unknown(flags)
    try:
        import jax
    except ValueError as error:
        name = named_in(str(error))
        if name is None:
            raise
        raise UserError(
            f"{name}={os.environ[name]!r} in the environment is no value that JAX knows: {error}. "
            f"Correct it, or remove it: unset {name}"
        ) from error
    return jax


@functools.cache
def _refuse_unknown(flags: str) -> None:
    """Lets another process read `XLA_FLAGS`: one that does not know a flag is ended by XLA."""
    reading = "from jaxlib import xla_client; xla_client.CompileOptions()"
    try:
        done = subprocess.run([sys.executable, "-c", reading], capture_output=True, text=True)
    except OSError:
        return
    message = re.search(r"^[EF]\d{4} [^\]]*\] (.*?)\.?$", done.stderr, re.MULTILINE)
    if done.returncode and message:
        raise UserError(
            f"XLA_FLAGS={flags!r} in the environment cannot be read by XLA: {message[1]}. Correct "
            f"it, or remove it: unset XLA_FLAGS"
        )


def named_in(text: str) -> str | None:
    """Returns the variable of JAX that a message of JAX names and that is set, or None."""
    names = (
        name.upper().replace(".", "_") for name in re.findall(r"\bjax[_.]\w+", text, re.IGNORECASE)
    )
    return next((name for name in names if name in os.environ), None)
