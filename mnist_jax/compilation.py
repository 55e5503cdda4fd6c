"""Keeps compiled programs on disk, so that a second start does not compile them again."""

import os
from pathlib import Path

import jax


def keep_programs() -> None:
    """Turns on JAX's persistent compilation cache, for programs of any size.

    The cache is in `JAX_COMPILATION_CACHE_DIR` if that is set, else in the user's cache folder. See
    https://docs.jax.dev/en/latest/persistent_compilation_cache.html
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "mnist_jax" / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
