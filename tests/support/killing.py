"""Places at which the loop kills itself, for tests: any function of it, before or after, at a moment of the night.

Nothing in the loop knows of this. A process that is to die replaces one function by a deadly one, and goes to work.
"""

import functools
import importlib
import inspect
import json
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from graph.state import Node
from memory.database.writer import Writer
from memory.records import Phase

OPENING: Final = -1
"""The stage before the first trial of a process is in hand."""
FINALE: Final = -2
"""The stage in which the result is measured."""
ANY: Final = None
"""Whatever the stage."""
COMMIT: Final = "commit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One place to die at.

    Args:
        name: what a person calls it.
        target: `package.module:Class.method` or `package.module:function`, as its caller looks it up; or `COMMIT`: the
            end of the transaction that brings the latest trial into `into`, or that ends the campaign.
        when: before or after it.
        chapter: of the night that it lies in; see `tests.support.killing_night`.
        stage: the trial in hand, or one of the stages of this module.
        count: at which call within the stage, counting from 1.
        onto: only calls count whose last argument is a path with this name.
        into: the phase that `COMMIT` waits for; None for the campaign's end.
        node: the node that runs then; None between nodes.
        phase: as the loop has stored it of the latest trial then, on the disk or not yet; None without one.
        asks_again: the reply is lost with the process, so that the proposer is asked again.
        ended: the campaign is over for the record: `run` would begin another.
        signal: which the process sends itself; SIGKILL, unless it is to survive.
    """

    name: str
    target: str
    when: Literal["before", "after"]
    chapter: str
    stage: int | None
    count: int = 1
    onto: str | None = None
    into: Phase | None = None
    node: Node | None = None
    phase: Phase | None = None
    asks_again: bool = False
    ended: bool = False
    signal: int = signal.SIGKILL


class Moment:
    """Where this process is in the night. There is one a process."""

    def __init__(self) -> None:
        self.stage: int | None = OPENING
        self.node: Node | None = None
        self.phase: Phase | None = None
        """Of the latest trial, as the loop has stored it."""
        self.point: Point | None = None
        self.note: Path | None = None
        self.over = False
        """Whether the campaign is over, as it is committed."""
        self._calls = 0

    def reached(self, point: Point) -> None:
        """Die, if this is the call of the stage that was waited for, and leave a note of where that was."""
        if point.stage is not ANY and point.stage != self.stage:
            return
        self._calls += 1
        if self._calls != point.count:
            return
        assert self.note is not None
        self.note.write_text(json.dumps({"name": point.name, "node": self.node, "phase": self.phase}))
        os.kill(os.getpid(), point.signal)


NOW: Final = Moment()


def arm(point: Point | None, note: Path) -> None:
    """Have this process die at a point, and write to `note` when it does. Call it once.

    Raises:
        LookupError: there is no such function.
    """
    NOW.point, NOW.note = point, note
    _watch_transactions()
    if point is not None and point.target != COMMIT:
        holder, name, found = resolve(point.target)
        setattr(holder, name, _deadly(point, found))


def resolve(target: str) -> tuple[Any, str, Any]:
    """What holds the function, its name there, and the function as it stands there: a class method still is one.

    Raises:
        LookupError: there is none.
    """
    module, _, path = target.partition(":")
    *outer, name = path.split(".")
    try:
        holder = functools.reduce(getattr, outer, importlib.import_module(module))
        found = inspect.getattr_static(holder, name)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"there is no {target}: {error}") from error
    return holder, name, found


def _deadly(point: Point, found: Any) -> Any:
    if isinstance(found, classmethod | staticmethod):
        return type(found)(_deadly(point, found.__func__))
    if not callable(found):
        raise LookupError(f"{point.target} cannot be called")

    @functools.wraps(found)
    def run(*arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return found(*arguments, **options)  # what the live file does in its thread comes at any time
        if point.onto is not None and Path(arguments[-1]).name != point.onto:
            return found(*arguments, **options)
        if point.when == "before":
            NOW.reached(point)
        result = found(*arguments, **options)
        if point.when == "after":
            NOW.reached(point)
        return result

    return run


def _watch_transactions() -> None:
    """Follow the latest trial from phase to phase, and die at the commit that is waited for."""
    transaction: Callable[[Writer], Any] = Writer.transaction

    @contextmanager
    def watched(self: Writer, *, flush: bool = True) -> Generator[None]:
        if self._in_transaction:  # pyright: ignore[reportPrivateUsage]
            with transaction(self, flush=flush):
                yield
            return
        with transaction(self, flush=flush):
            yield
            phase, over = _state(self)
            point = NOW.point if _is_awaited(NOW.point, phase, over) else None
            if point is not None and point.when == "before":
                NOW.reached(point)
        NOW.phase, NOW.over = phase, over
        if point is not None and point.when == "after":
            NOW.reached(point)

    Writer.transaction = watched


def _is_awaited(point: Point | None, phase: Phase | None, over: bool) -> bool:
    """Whether a transaction that ends like this is the boundary that is waited for."""
    if point is None or point.target != COMMIT:
        return False
    if point.into is None:
        return over and not NOW.over
    return phase is point.into and NOW.phase is not phase


def _state(store: Writer) -> tuple[Phase | None, bool]:
    """The phase of the latest trial, and whether its campaign is over."""
    campaign = store.latest_campaign()
    if campaign is None:
        return None, False
    trials = store.trials(campaign.campaign_id)
    return trials[-1].phase if trials else None, campaign.stop_reason is not None


def as_document(point: Point | None) -> Any:
    """A point as JSON."""
    return None if point is None else asdict(point)


def from_document(document: Any) -> Point | None:
    """What `as_document` wrote."""
    if document is None:
        return None
    known: dict[str, Any] = dict(document)
    for name, kind in (("node", Node), ("phase", Phase), ("into", Phase)):
        known[name] = None if known[name] is None else kind(known[name])
    return Point(**known)
