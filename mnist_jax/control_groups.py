"""Finds the control groups that limit this process on Linux, as those of a container do."""

from collections.abc import Iterator
from pathlib import Path

LIMITS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # lists the groups that this process is in


def folders(controller: str) -> Iterator[Path]:
    """Yields the folders of the process' own groups and of those above them, of both versions.

    The files of version 2 and of version 1 have different names
    (https://docs.kernel.org/admin-guide/cgroup-v2.html and
    https://docs.kernel.org/admin-guide/cgroup-v1). Not all folders exist.

    Args:
      controller: `cpu` or `memory`.
    """
    try:
        lines = OWN.read_text().splitlines()
    except OSError:
        lines = []
    for line in ["0::/", f"1:{controller}:/", *lines]:  # a container's own group may be its root
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers or controller in controllers.split(","):
            root = LIMITS / controller if controllers else LIMITS
            group = root / path.lstrip("/")
            while group.is_relative_to(root):
                yield group
                group = group.parent
