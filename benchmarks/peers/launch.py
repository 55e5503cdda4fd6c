"""Runs a command, and prints its seconds, exit status and peak memory as a line of JSON.

  python -S benchmarks/peers/launch.py COMMAND ARGUMENT...

A process of its own, because Linux counts into a process's peak what its parent held when it was
started: here that is an interpreter and nothing else.
"""

import json
import os
import sys
import time

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


def main(command: list[str]) -> None:
    """Standard output and error are the command's too; the line is the last."""
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
