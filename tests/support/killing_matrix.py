"""Kills a chapter of the night at a point, goes on with it, and holds its end against the undisturbed one's."""

import fcntl
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.git_workspace import git
from tests.support.killing import Point, as_document
from tests.support.killing_digest import check_whole, compare, digest
from tests.support.killing_night import CHAPTERS, Chapter, change_task, make_bare
from tests.support.warm_parent import Ended, Parent

Meddling = Callable[[Path], None]
"""What is done to a dead workspace before the loop goes on."""


class Matrix:
    """The references, made once, and the means to kill copies of where they began.

    Args:
        folder: where copies are made.
        ends: where the ends of chapters are noted. Workers share it: a chapter is played to its end by one of them.
        parent: forks the loops.
    """

    def __init__(self, folder: Path, ends: Path, parent: Parent) -> None:
        self._folder, self._ends, self._parent, self._numbers = folder, ends, parent, count()
        self._known = dict[str, dict[str, Any]]()

    def reference(self, name: str) -> dict[str, Any]:
        """What a chapter comes to when nobody disturbs it."""
        return self._end(name)["digest"]

    def end_of(self, name: str) -> Path:
        """The workspace in which a chapter has ended undisturbed: look at copies of it only."""
        return Path(self._end(name)["root"])

    def _end(self, name: str) -> dict[str, Any]:
        if name not in self._known:
            note = self._ends / f"{name}.json"
            with note.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not note.exists():
                    note.write_text(json.dumps(self._make_end(name)))
            self._known[name] = json.loads(note.read_text())
        return self._known[name]

    def _make_end(self, name: str) -> dict[str, Any]:
        if name == "bare":
            return {"root": str(make_bare(self._folder / "bare"))}
        root = self.beginning_of(CHAPTERS[name])
        if name == "history":
            change_task(root, "[baseline]\nseeds = 1", "[baseline]\nseeds = 3")
        ended = self._parent.run(name, root)
        assert ended.well, ended
        if name == "history":
            git(root, "switch", "--quiet", "main")
            change_task(root, "[baseline]\nseeds = 3", "[baseline]\nseeds = 1")
        copied = self._copy(root, f"{name}-read")
        document = digest(copied)
        check_whole(copied, document)
        shutil.rmtree(copied.parent)
        return {"root": str(root), "digest": document}

    def beginning_of(self, chapter: Chapter) -> Path:
        """A new copy of the workspace that a chapter begins in."""
        return self._copy(self.end_of(chapter.begins), chapter.name)

    def _copy(self, root: Path, name: str) -> Path:
        folder = self._folder / f"{name}-{next(self._numbers)}"
        folder.mkdir()
        subprocess.run(["cp", "-a", str(root), str(folder)], check=True)
        return folder / root.name

    def check(self, point: Point, again: Sequence[Point] = (), meddle: Meddling | None = None) -> None:
        """Kill a chapter at `point` and, while it goes on, at every point of `again`; then let it end, and compare."""
        chapter = CHAPTERS[point.chapter]
        root = self.beginning_of(chapter)
        self.kill(root, point)
        for other in again:
            self.kill(root, replace(other, chapter=chapter.name), exactly=False)
        if meddle is not None:
            meddle(root)
        self.go_on(chapter, root)
        self.check_end(root, point)

    def check_end(self, root: Path, point: Point) -> None:
        """A chapter that was killed at `point` has ended: hold it against the reference, and forget it."""
        found = digest(root)
        compare(found, self.reference(point.chapter))
        check_whole(root, found)
        self.check_asked(root, [point])
        shutil.rmtree(root.parent)

    def kill(self, root: Path, point: Point, *, exactly: bool = True) -> None:
        """Have a loop die at a point, and see that it did: `exactly`, in the node and phase that the list says."""
        note = root.parent / "died"
        ended = self._parent.run(point.chapter, root, as_document(point))
        assert ended.code == -9, f"it did not die at {point.name!r}: {ended}"
        assert ended.left == [], f"what a killed loop leaves must end by itself: {ended}"
        died = json.loads(note.read_text())
        note.unlink()
        expected = {"name": point.name, "node": point.node, "phase": point.phase}
        assert died == expected if exactly else died["name"] == point.name, f"{died}, not {expected}"

    def go_on(self, chapter: Chapter, root: Path, point: Point | None = None) -> Ended:
        """Go on with a chapter to its end; with a point, it is to survive what it does there to itself."""
        ended = self._parent.run(chapter.name, root, as_document(point))
        assert ended.well, ended
        return ended

    def try_to_go_on(self, chapter: Chapter, root: Path) -> str:
        """Be refused; what was said."""
        ended = self._parent.run(chapter.name, root)
        assert (ended.code, ended.left) == (1, []), ended
        return ended.log

    def check_asked(self, root: Path, points: Sequence[Point]) -> None:
        """A reply that was paid for is not asked for again, unless it was lost before it could be stored."""
        path = root.parent / "asked"
        asked = Counter(path.read_text().split() if path.exists() else [])
        again = {key: number for key, number in asked.items() if number > 1}
        lost = sum(point.asks_again for point in points)
        assert list(again.values()) == [2] * lost, f"asked again: {again}"
