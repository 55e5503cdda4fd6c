"""Whether a server can be reached, answered within a bound; tfds' downloader knows no bound."""

import socket
import threading
import urllib.request
from urllib.parse import urlsplit

PROBE_SECONDS = 5.0
PORTS = {"http": 80, "https": 443}


def reachable(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether the url's server (or the proxy before it) accepts a connection within `seconds`."""
    answered: list[bool] = []
    # A thread, because the look-up of a name takes no timeout of its own.
    probe = threading.Thread(
        target=lambda: answered.append(_connects(*_endpoint(url), seconds)), daemon=True
    )
    probe.start()
    probe.join(seconds)
    return bool(answered and answered[0])


def _endpoint(url: str) -> tuple[str, int]:
    """Host and port to connect to for a url, with the environment's proxies respected."""
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
