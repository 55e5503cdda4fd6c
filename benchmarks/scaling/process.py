"""A stopwatch in a process of its own, which has several virtual CPU devices."""

import os
import subprocess
import sys

from benchmarks import readme
from benchmarks.scaling import networks
from benchmarks.scaling.watch import Stopwatch
from mnist_jax.compilation import keep_programs
from mnist_jax.training.program import prepare_one


class Process:
    """Measures the time per step as `Stopwatch` does, in a process with virtual CPU devices."""

    def __init__(self, network: str, devices: int, batch_size: int, at_least: float) -> None:
        asked = f"{network!r}, {batch_size}, {at_least}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({asked})"],
            cwd=readme.ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.images = batch_size
        self._answer()  # the first answer says that the process is ready

    def seconds(self) -> float:
        """Measures one more repeat and returns its seconds per step."""
        assert self._process.stdin is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process ended with status {self._process.wait()}; see above")
        return float(line)


def serve(network: str, batch_size: int, at_least: float) -> None:
    """Runs in the process of `Process`, and prints the seconds per step for each line it reads.

    A first number is printed when the process is ready.
    """
    keep_programs()
    watch = Stopwatch(prepare_one(networks.of_batch(network, batch_size)), at_least)
    print(0.0, flush=True)
    for _ in sys.stdin:
        print(watch.seconds(), flush=True)
