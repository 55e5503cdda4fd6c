"""Connects the processes of a run by JAX's coordination service, which the first one hosts."""

import os
import sys
import threading
from typing import Any

from mnist_jax.errors import LostError
from mnist_jax.place import Place

JOINING = 300  # seconds until all processes must have started
MARGIN = 30  # seconds more, after which JAX would abort the process
HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead
LEAVING = 30  # seconds to wait for the others at the end
EXIT_STATUS = 75  # where the others did not come: run the same command again
NOT_CONNECTED = "the processes of this run cannot be connected"
CONNECTED = (
    "All must run the same command, each with its own --process, and reach the --coordinator; "
    "--processes=1 trains with this process alone"
)


def connected(place: Place, *, one_backend: bool) -> Any:
    """Connects this process with the others.

    Args:
      place: of this process.
      one_backend: True if JAX shall see the devices of all processes.

    Returns:
      The state of JAX's distributed runtime; `None` if there is only this process.

    Raises:
      LostError: the others cannot be reached.
    """
    from jax._src import distributed  # the public API does not show the client

    options: dict[str, Any] = {}
    if place.coordinator is not None:
        options = {
            "coordinator_address": place.coordinator,
            "num_processes": place.count,
            "process_id": place.index,
        }
        if _is_local(place.coordinator):  # else the service listens on all addresses
            options["coordinator_bind_address"] = place.coordinator
    # JAX's devices are those of all processes if its global state is initialised.
    state = distributed.global_state if one_backend else distributed.State()
    came = threading.Event()
    threading.Thread(target=_give_up, args=(came, place), daemon=True).start()
    try:
        state.initialize(
            **options,
            initialization_timeout=JOINING + MARGIN,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=LEAVING,
        )
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise LostError(f"{NOT_CONNECTED}: {first[:300]}. {CONNECTED}") from error
    finally:
        came.set()
    if state.num_processes == 1:
        state.shutdown()
        return None
    return state


def _give_up(came: threading.Event, place: Place) -> None:
    """Ends this process if the others do not come; JAX would abort it, with a page of addresses."""
    if not came.wait(JOINING):
        missing = f"no process 0 at {place.coordinator}" if place.index else "not all of them came"
        print(f"error: {NOT_CONNECTED}: {missing} within {JOINING} s. {CONNECTED}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(EXIT_STATUS)


def _is_local(address: str) -> bool:
    return address.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]")
