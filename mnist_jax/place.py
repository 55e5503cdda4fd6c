"""The place of a process among those of its run: from flags, the environment or the platform."""

import importlib.util
import os
from dataclasses import dataclass

from mnist_jax.errors import UserError

ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


@dataclass(frozen=True)
class Place:
    """The place of this process among those of a run; `None`: JAX knows it from the platform."""

    coordinator: str | None = None  # HOST:PORT of the first process
    count: int | None = None
    index: int | None = None


def find(coordinator: str | None, number: int | None, place: int | None) -> Place | None:
    """Returns where this process belongs; `None` if it is the only one of its run.

    Raises:
      UserError: what was given contradicts itself, or is not all that is needed.
    """
    given = {
        ("--coordinator", ADDRESS): coordinator or os.environ.get(ADDRESS),
        ("--processes", COUNT): _number(number, COUNT),
        ("--process", INDEX): _number(place, INDEX),
    }
    if number == 1 and (coordinator, place) == (None, None):
        return None
    if all(value is None for value in given.values()):
        return Place() if platform_has_several() else None
    if missing := [f"{flag} (or {name})" for (flag, name), its in given.items() if its is None]:
        raise UserError(
            f"a run of several processes needs {', '.join(missing)} too; or "
            "use python launch/local.py, which sets all of them"
        )
    address, total, its = given.values()
    if total < 1 or not 0 <= its < total:
        raise UserError(
            f"--process={its}: must be from 0 to {total - 1}, one less than --processes"
        )
    host, colon, port = address.rpartition(":")
    if not host or not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"--coordinator={address!r}: expected HOST:PORT of the first process")
    return None if total == 1 else Place(address, total, its)


def _number(given: int | None, variable: str) -> int | None:
    text = os.environ.get(variable)
    if given is not None or text is None:
        return given
    if not text.isdecimal():
        raise UserError(f"{variable}={text!r} in the environment: expected a whole number")
    return int(text)


def platform_has_several() -> bool:
    """True if Slurm, Open MPI or Cloud TPU has started this process as one of several.

    JAX then knows the others by itself. A single TPU VM counts as well: only JAX can tell.
    """
    environ = os.environ
    step = "SLURM_STEP_NODELIST" in environ and environ.get("SLURM_NTASKS", "1") != "1"
    mpi = environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1"
    pod = "," in environ.get("TPU_WORKER_HOSTNAMES", "")  # on Kubernetes
    machine = os.path.exists("/dev/accel0") or os.path.exists("/dev/vfio/0")  # a TPU VM
    colab = "COLAB_RELEASE_TAG" in environ  # has a single one, and no metadata
    elsewhere = "tpu" not in (environ.get("JAX_PLATFORMS") or "tpu")  # empty: any
    vm = machine and not colab and not elsewhere and importlib.util.find_spec("libtpu") is not None
    return step or mpi or pod or vm
