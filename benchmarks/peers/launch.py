"""Runs a command, and prints its time, exit status and peak memory as a line of JSON.

  python -S benchmarks/peers/launch.py COMMAND ARGUMENT...

This is a separate process because Linux includes in a process's peak the memory that its parent
held when the process was started. Here, that is only an interpreter.
"""

import json
import os
import sys
import time

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of `ru_maxrss`


def main(command: list[str]) -> None:
    """Runs the command, which shares standard output, and prints the line of JSON at the end."""
    started = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    peak = usage.ru_maxrss * RSS_UNIT / 2**20
    print(
        json.dumps(
            {"seconds": seconds, "status": os.waitstatus_to_exitcode(status), "peak_mib": peak}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
