"""A command ends with a message if one of its threads runs out of memory as it starts."""

import pytest

from tests.commands import finished

FAILS = """
import os, threading
from mnist_jax import starved
from mnist_jax.commands import cli

def main(arguments):
    print("watched", flush=True)
    {before}
    Starved().start()

class Starved(threading.Thread):
    def {method}(self):
        {fails}

starved.SECONDS = 0.1
cli.run(main, "Starts a thread.", lambda parser: None)
"""


@pytest.mark.parametrize(
    ("method", "fails"),
    [
        ("_bootstrap", "raise MemoryError"),
        ("_set_native_id", "raise MemoryError"),  # hidden by an error of Python's cleaning up
        ("_bootstrap", "pass"),  # there is not even memory for an error
    ],
)
def test_a_thread_that_finds_no_memory_ends_the_command(tmp_path, method, fails):
    script = FAILS.format(before="", method=method, fails=fails)
    done = finished(["-c", script], cwd=tmp_path, status=1)
    assert done.stdout == "watched\n"
    assert done.stderr.startswith("error: the memory does not suffice. ")
    assert len(done.stderr.splitlines()) == 1


ITSELF = """
import _thread
from mnist_jax import starved
from mnist_jax.commands import cli

_thread.start_new_thread = lambda function, arguments: None
starved.BEGIN = 0.1
cli.run(print, "Cannot watch its threads.", lambda parser: None)
"""


def test_a_command_that_finds_no_memory_for_the_thread_that_watches_ends(tmp_path):
    done = finished(["-c", ITSELF], cwd=tmp_path, status=1)
    assert done.stderr.startswith("error: the memory does not suffice. ")
    assert done.stdout == ""


def test_a_command_ends_even_if_nobody_reads_the_message(tmp_path):
    broken = "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 2)"
    script = FAILS.format(before=broken, method="_bootstrap", fails="pass")
    assert finished(["-c", script], cwd=tmp_path, status=1).stdout == "watched\n"


STARTING = """
import threading, time
from mnist_jax import starved
from mnist_jax.commands import cli

def main(arguments):
    end = time.monotonic() + 4.0
    while time.monotonic() < end:
        threading.Thread(target=int).start()

starved.SECONDS = 1.0
cli.run(main, "Starts threads, one after the other.", lambda parser: None)
"""


def test_threads_that_start_one_after_the_other_do_not_end_it(tmp_path):
    assert finished(["-c", STARTING], cwd=tmp_path).stderr == ""
