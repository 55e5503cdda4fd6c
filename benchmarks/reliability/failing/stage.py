"""A folder in which scenes are played again and again, each time from the same start."""

import shutil
from pathlib import Path
from typing import Any

from benchmarks.reliability.failing import scenes
from benchmarks.reliability.failing.scenes import Scene
from benchmarks.reliability.trial import READING, WRITING, Bench, Disturbance, Operation, Trial

SECONDS = 90.0  # after which a command counts as hanging
LISTED = Disturbance(kinds=WRITING + READING)


class Stage:
    """Plays scenes, one at a time, with data and compiled programs of its own."""

    def __init__(self, folder: Path) -> None:
        """Prepares the data and the programs.

        Args:
          folder: an empty one, or one that does not exist.
        """
        self._kept = folder / "kept"
        self.shared = folder / "shared"
        self._folder = folder / "bench"
        self.workdir = self._folder / scenes.WORKDIR
        self._bench: Bench | None = None
        self._made: dict[Any, Path] = {}
        self._listed: dict[str, tuple[list[Operation], Any]] = {}  # by the name of the scene
        self._folder.mkdir(parents=True)
        (self._folder / "made_up.py").write_text(scenes.DATA)
        (self._folder / "tiny.py").write_text(scenes.CONFIG)
        (self._folder / "widths.py").write_text(scenes.MEMBERS)

    def listed(self, scene: Scene) -> tuple[list[Operation], Any]:
        """Plays a scene without a disturbance, once.

        Returns its operations, and what it has left.
        """
        if scene.name not in self._listed:
            trial = self._undisturbed(scene)
            if not scene.cold and self._keep_caches():  # later ones find what this one has compiled
                trial = self._undisturbed(scene)
            if not trial.operations:
                raise RuntimeError(f"{scene.name} has no operations: is the library interposed?")
            left = scene.left(self.workdir, trial)
            if not left:
                raise RuntimeError(f"{scene.name} leaves nothing that could be compared")
            self._listed[scene.name] = trial.operations, left
        return self._listed[scene.name]

    def _undisturbed(self, scene: Scene) -> Trial:
        self.reset(scene)
        trial = self.run(*scene.words, disturbance=LISTED)
        if trial.status:
            raise RuntimeError(f"{scene.name} fails undisturbed: {trial.errors}")
        return trial

    def reset(self, scene: Scene) -> None:
        """Brings the folder into the state before a scene."""
        if scene.before and scene.before not in self._made:
            self._make(scene)
        shutil.rmtree(self.workdir, ignore_errors=True)
        if self.workdir.is_file():  # as a mishap has left it
            self.workdir.unlink()
        if scene.before:
            shutil.copytree(self._made[scene.before], self.workdir, symlinks=True)
            for name in scene.without:
                path = self.workdir / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in ("data", scenes.PROGRAMS):
            self._reset_cache(name, cold=name in scene.cold)

    def run(self, *words: str, disturbance: Disturbance | None = None, **variables: str) -> Trial:
        """Runs a command, as `Bench.run`.

        Raises:
          TimeoutError: it hangs, and was killed.
        """
        if self._bench is None:
            self._bench = Bench(self._folder, self.shared, timeout=SECONDS)
        try:
            return self._bench.run(*words, disturbance=disturbance, sent=None, **variables)
        except TimeoutError:
            self._bench.close()
            self._bench = None
            raise

    def _make(self, scene: Scene) -> None:
        shutil.rmtree(self.workdir, ignore_errors=True)
        done = self.run(*scene.before)
        if done.status:
            raise RuntimeError(f"{scene.before} fails undisturbed: {done.errors}")
        self._keep_caches()
        self._made[scene.before] = self._kept / f"before-{len(self._made)}"
        shutil.copytree(self.workdir, self._made[scene.before], symlinks=True)

    def _keep_caches(self) -> bool:
        """Keeps the data and the programs as they are; returns whether there are new files."""
        new = False
        for name in ("data", scenes.PROGRAMS):
            found, kept = _signature(self.shared / name), _signature(self._kept / name)
            if found != kept:
                new |= found.keys() != kept.keys()
                shutil.rmtree(self._kept / name, ignore_errors=True)
                shutil.copytree(self.shared / name, self._kept / name)
        return new

    def _reset_cache(self, name: str, *, cold: bool) -> None:
        kept, used = self._kept / name, self.shared / name
        if not cold and _signature(kept) == _signature(used):
            return
        shutil.rmtree(used, ignore_errors=True)
        if not cold and kept.exists():
            shutil.copytree(kept, used)

    def close(self) -> None:
        """Ends the process that forks."""
        if self._bench is not None:
            self._bench.close()

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _signature(folder: Path) -> dict[str, tuple[int, int]]:
    """Returns the size and the time of each file in a folder."""
    return {
        str(path.relative_to(folder)): (its.st_size, its.st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and (its := path.stat())
    }
