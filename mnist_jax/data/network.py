"""Tests within a few seconds whether a server can be reached; tfds' downloader has no timeout."""

import socket
import threading
import urllib.request
from urllib.parse import urlsplit

PROBE_SECONDS = 5.0
PORTS = {"http": 80, "https": 443}


def reachable(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Returns True if the URL's server, or its proxy, accepts a connection within `seconds`."""
    answered: list[bool] = []
    # In a thread, because resolving a host name has no timeout of its own.
    probe = threading.Thread(
        target=lambda: answered.append(_connects(*_endpoint(url), seconds)), daemon=True
    )
    probe.start()
    probe.join(seconds)
    return bool(answered and answered[0])


def _endpoint(url: str) -> tuple[str, int]:
    """Returns the host and port to connect to for a URL: the proxy's, if one is configured."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or PORTS.get(parts.scheme, 80)


def _connects(host: str, port: int, seconds: float) -> bool:
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError:
        return False
    return True
