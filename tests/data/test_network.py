import socket
import threading
import time

import pytest

from mnist_jax.data.network import reachable


@pytest.fixture
def listener(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        yield server


def test_answers(listener):
    assert reachable(f"http://127.0.0.1:{listener.getsockname()[1]}/file")


@pytest.mark.filterwarnings("error")
def test_refuses(listener):
    port = listener.getsockname()[1]
    listener.close()
    assert not reachable(f"http://127.0.0.1:{port}/file")


def test_silence_is_bounded(listener):
    address = listener.getsockname()
    held = []
    for _ in range(8):  # fill the queue: further connections get no answer at all
        held.append(socket.socket())
        held[-1].setblocking(False)
        held[-1].connect_ex(address)
    start = time.monotonic()
    assert not reachable(f"http://127.0.0.1:{address[1]}/file", seconds=0.3)
    assert time.monotonic() - start < 2
    for each in held:
        each.close()


def test_silence_of_the_name_service_is_bounded(monkeypatch):
    answer = threading.Event()

    def look_up(*_, **__):
        answer.wait(10)
        raise OSError("no such host")

    monkeypatch.setattr(socket, "create_connection", look_up)
    start = time.monotonic()
    assert not reachable("http://localhost/file", seconds=0.1)
    assert time.monotonic() - start < 2
    answer.set()


def test_goes_through_the_proxy(listener, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert reachable("http://no-such-host.invalid/file")
