"""The limits of a shell (`ulimit`) under which XLA crashes or hangs, rather than failing."""

import resource

from mnist_jax.errors import UserError

# The least with which XLA ended well or with a message on two cores, by the option of `ulimit`, in
# bytes: address space and data, for its threads and the programs that it compiles.
LEAST = {"v": (resource.RLIMIT_AS, 1700 << 20), "d": (resource.RLIMIT_DATA, 600 << 20)}


def refuse_cramped() -> None:
    """Raises UserError if a limit leaves XLA too little room to start and to compile."""
    for option, (kind, least) in LEAST.items():
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY and limit < least:
            raise UserError(
                f"`ulimit -{option}` allows {limit / 2**20:,.0f} MiB of memory; JAX may crash or "
                f"hang with less than {least / 2**20:,.0f} MiB, most of which it never uses. Raise "
                f"the limit, or remove it: ulimit -{option} unlimited"
            )
