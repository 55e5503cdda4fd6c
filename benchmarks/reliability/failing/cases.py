"""Chooses which file operation of a command fails with which error."""

import dataclasses
import errno
import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from benchmarks.reliability.trial import READING, WRITING, Disturbance, Operation

GONE = "create,mkdir,rename,rmdir,truncate,unlink,write,fsync,open,read,list,stat,lock,chmod,utime"
ALL = {  # what a whole system can do from some operation on: the operations, and their error
    "ENOSPC": "create,mkdir,write,fsync",
    "EMFILE": "create,open,list",
    "EROFS": "create,mkdir,rename,rmdir,truncate,unlink",
    "EIO": GONE,
    "ESTALE": GONE,
}
ERRORS = {  # that each operation can have
    "create": ("ENOSPC", "EIO", "EACCES", "EMFILE", "ESTALE", "EROFS", "EDQUOT"),
    "mkdir": ("ENOSPC", "EIO", "EACCES", "ESTALE", "EROFS", "EDQUOT"),
    "rename": ("ENOSPC", "EIO", "EACCES", "ESTALE", "EROFS", "EDQUOT"),
    "write": ("ENOSPC", "short", "EIO", "ESTALE", "EDQUOT"),
    "fsync": ("EIO", "ENOSPC", "ESTALE", "EDQUOT"),
    "truncate": ("ENOSPC", "EIO", "ESTALE"),
    "unlink": ("EIO", "EACCES", "ESTALE", "EROFS"),
    "rmdir": ("EIO", "EACCES", "ESTALE", "EROFS"),
    "open": ("EIO", "ESTALE", "EACCES", "EMFILE"),
    "list": ("EIO", "ESTALE", "EACCES", "EMFILE"),
    "read": ("EIO", "short", "ESTALE"),
    "stat": ("EIO", "ESTALE", "EACCES"),
    "lock": ("EIO", "ENOLCK", "ESTALE"),
    "close": ("EIO", "ENOSPC", "EDQUOT"),
    "map": ("ENOMEM", "EACCES"),
    "chmod": ("EPERM", "EROFS", "EIO"),
    "utime": ("EPERM", "EROFS", "EIO"),
}
IMPORTS = re.compile(r"made_up|tiny|widths|__pycache__|__editable__|/bench$|/\.$")
SEVERAL = re.compile(r"-cache$|\.cache$|array_record")  # see `_some`
NUMBERS = (
    (r"[0-9a-f]{32,}", "HASH"),
    (r"\.mnist_jax-\d+-\d+\.tmp", ".tmp"),
    (r"events\.out\.\S+", "events"),
    (r"/plots/\w+\.png", "/plots/PLOT"),
    (r"/populations/[^/]+/", "/"),  # which holds the same files as the folder of a run
)
PROGRAM = (r"/jit_.*-cache$", "/PROGRAM")
MOST = max(map(len, ERRORS.values()))
NOTHING = r"(?!)"  # a pattern that no file has
Group = tuple[str, str]  # the kind of an operation and the kind of its file
UNFINISHED = (r"incomplete\.\w+", "incomplete")


@dataclass(frozen=True)
class Case:
    """An operation, by its number among those of its kind, and what happens at it."""

    kinds: str  # names, separated by commas
    number: int  # among those of these kinds, from 1
    act: str  # the name of an error, `short` or `slow`
    onward: bool = False
    seconds: float = 0.0  # for `slow`
    path: str = field(default="", compare=False)  # what it is expected to be an operation on

    def __str__(self) -> str:
        where = "all from" if self.onward else "only"
        return f"{self.act} at {self.kinds} {self.number} ({where} this one, {self.path})"

    @property
    def group(self) -> Group:
        """The group of the operation that it is expected to meet."""
        return self.kinds, kind_of_file(self.path)

    def near(self, attempt: int) -> "Case":
        """Returns the same case at the next operation, the one before, the one after that, ...

        Args:
          attempt: from 0.
        """
        number = self.number + (attempt // 2 + 1) * (-1) ** attempt
        return dataclasses.replace(self, number=max(1, number))

    @property
    def disturbance(self) -> Disturbance:
        """What the process is told."""
        code = getattr(errno, self.act, None)
        act = self.act if code is None else str(code)
        kinds = tuple(self.kinds.split(","))
        return Disturbance(self.number, act, kinds, self.onward, self.seconds)


def single(
    operations: Sequence[Operation],
    known: Container[Group] = (),
    *,
    each: bool = False,
    again: str = NOTHING,
    most: int = MOST,
) -> list[Case]:
    """Returns cases in which one operation fails.

    The errors that a kind of operation can have take turns.

    Args:
      operations: of a command, in their order.
      known: groups of operations that have failed in another command.
      each: True to let each operation fail at least once, of the known groups as well; False to
        take fewer of them, as `_some` does.
      again: a pattern of the files whose operations fail once more though their group is known.
      most: number of errors that the operations of a group have at least, if there are as many.
    """
    cases = []
    turns: Counter[str] = Counter()
    for group, its in groups(operations).items():
        kind, file = group
        new = group not in known
        if not (each or new or re.search(again, file)):
            continue
        its = its if each else _some(kind, its) if new else [its[len(its) // 2]]
        errors = ERRORS[kind]
        for i in range(max(len(its), min(most, len(errors)) if new else 0)):
            number, path = its[i % len(its)]
            cases.append(Case(kind, number, errors[turns[kind] % len(errors)], path=path))
            turns[kind] += 1
    return cases


def _some(kind: str, its: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Returns operations of a group without most of those that are many and much alike.

    Of many that write nothing, or are on files of data or of compiled programs, these are the
    first, one in the middle and the last.
    """
    if len(its) > 3 and (kind in READING or SEVERAL.search(its[0][1])):
        return [its[0], its[len(its) // 2], its[-1]]
    return its


def groups(operations: Sequence[Operation]) -> dict[Group, list[tuple[int, str]]]:
    """Returns operations by their kind and their kind of file.

    Each is its number among the operations of its kind, and its path. Imports are left out.
    """
    found: dict[Group, list[tuple[int, str]]] = {}
    counts: Counter[str] = Counter()
    for its in operations:
        counts[its.kind] += 1
        if not IMPORTS.search(its.path):
            group = its.kind, kind_of_file(its.path)
            found.setdefault(group, []).append((counts[its.kind], its.path))
    return found


def onward(operations: Sequence[Operation], every: int) -> list[Case]:
    """Returns cases in which each operation from one on fails, for one in `every` operations."""
    cases = []
    for i, (error, kinds) in enumerate(ALL.items()):
        names = kinds.split(",")
        its = [each.path for each in operations if each.kind in names]
        for number in range(1 + i * every // len(ALL), len(its) + 1, every):
            if not IMPORTS.search(its[number - 1]):
                cases.append(Case(kinds, number, error, onward=True, path=its[number - 1]))
    return cases


def slow(operations: Sequence[Operation], every: int, seconds: float) -> list[Case]:
    """Returns cases in which one of `every` operations waits, and all from some on a little."""
    kinds = ",".join(WRITING + READING)
    paths = [its.path for its in operations]
    one = [
        Case(kinds, number, "slow", seconds=seconds, path=paths[number - 1])
        for number in range(every, len(paths) + 1, every)
    ]
    late = len(paths) * 3 // 4
    return [*one, Case(kinds, late, "slow", onward=True, seconds=0.02, path=paths[late - 1])]


def kind_of_file(path: str) -> str:
    """Returns a path without what differs between runs or between files of one kind."""
    path = re.sub(r"^.*?/(?=bench/|shared/)", "", path)
    for pattern, name in (PROGRAM, *NUMBERS, UNFINISHED, (r"(?<=/)\d+(?=[/.])|(?<=/)\d+$", "N")):
        path = re.sub(pattern, name, path)
    return path
