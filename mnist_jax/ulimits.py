"""The limits of a shell (`ulimit`) under which XLA crashes or hangs, rather than failing."""

import resource

from mnist_jax.errors import UserError

# What XLA reserves, by the option of `ulimit`, in bytes: address space and data, for its threads
# and the programs that it compiles. Most of it is never used.
LEAST = {"v": (resource.RLIMIT_AS, 2000 << 20), "d": (resource.RLIMIT_DATA, 1000 << 20)}


def refuse_cramped() -> None:
    """Raises UserError if a limit leaves XLA too little room to start and to compile."""
    for option, (kind, least) in LEAST.items():
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY and limit < least:
            raise UserError(
                f"`ulimit -{option}` allows {limit / 2**20:,.0f} MiB of memory, but JAX reserves "
                f"{least / 2**20:,.0f} MiB to compile a program, and would crash. Raise the limit, "
                f"or remove it: ulimit -{option} unlimited"
            )
