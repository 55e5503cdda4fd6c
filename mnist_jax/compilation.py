"""Compiled programs are kept, so that a second start does not compile again."""

import os
from pathlib import Path

import jax


def keep_programs() -> None:
    """Turns on JAX's persistent compilation cache, for programs of any size.

    In `JAX_COMPILATION_CACHE_DIR` where that is set, else in the user's cache folder.
    https://docs.jax.dev/en/latest/persistent_compilation_cache.html
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "mnist_jax" / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
