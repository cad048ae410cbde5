"""Waiting for what a trial process says: every wait ends, in an answer or in the trial's end with a reason."""

import math
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from rails.errors import TrialError
from rails.status import Status
from trainer.launch.child import Child
from trainer.launch.output import last_error
from trainer.sandbox import processes
from trainer.trial.channel import Channel
from trainer.trial.last_words import kind_of_error
from trainer.trial.start import PROGRAM
from trainer.trial.watchdog import CHECK_EVERY_S, Watchdog
from trainer.trial.wire import FAILURES, Event, Failed, Progress, Scored, Start, Trained, clean_line

MIB = 2**20

E = TypeVar("E", Start, Trained, Scored)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How near something is to a limit of another clock than the wall's.

    Attributes:
        left_s: the fewest seconds of the wall clock until it can be met; 0 or less when it is.
        overdue: the reason, when it is.
    """

    left_s: float
    overdue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What the parent waits for, until when, and what it is called when it does not come.

    Attributes:
        during: when that was, to follow "killed".
        deadline: by the monotonic clock.
        overdue: the reason, when the deadline passes.
        also: another limit, looked at whenever anything happens and a few times a second.
    """

    during: str
    deadline: float
    overdue: str
    overdue_status: Status
    crash_status: Status = Status.CRASH
    also: Callable[[], Limit] | None = None

    def nearest(self) -> Limit:
        """The limit that can be met first."""
        deadline = Limit(left_s=self.deadline - time.monotonic(), overdue=self.overdue)
        return deadline if self.also is None else min(deadline, self.also(), key=lambda limit: limit.left_s)


class Conversation:
    """The parent's ear for one process, and its hand.

    Args:
        child: the process.
        channel: what comes from it; owned by the caller.
        watchdog: what looks at it while we wait.
        memory_bytes: its memory limit, for the reason when it has met that.
        program_lines: how many lines its program has.
        about: put before every reason, when the process is not the trial's own.
    """

    def __init__(
        self,
        child: Child,
        channel: Channel,
        watchdog: Watchdog,
        memory_bytes: int,
        program_lines: int,
        about: str = "",
    ) -> None:
        self._child, self._channel, self._watchdog = child, channel, watchdog
        self._memory_bytes, self._program_lines, self._about = memory_bytes, program_lines, about
        self._code: int | None = None
        self.stop_at = math.inf
        """When to end on request, by the monotonic clock. May be set in a signal handler and by another thread."""

    def hush(self, *, from_the_start: bool = False) -> None:
        """From now on it sees questions: nothing in its own words gets into a reason, a detail or anything stored.

        Args:
            from_the_start: nor anything that it said before.
        """
        self._channel.hush(from_the_start=from_the_start)

    def expect(self, kind: type[E], phase: Phase) -> E:
        """The next message, which must be of this kind.

        Raises:
            TrialError: it is another, or none comes. The process is gone then.
        """
        return self.checked(kind, self.next(phase), phase)

    def checked(self, kind: type[E], event: Event, phase: Phase) -> E:
        """The event, which must be of this kind; see `expect`."""
        if isinstance(event, Failed):
            hushed = self._channel.unheard is not None
            self.fail(phase.crash_status, f"{FAILURES[event.kind]} {phase.during}" if hushed else event.reason)
        if not isinstance(event, kind):
            name, expected = type(event).__name__.lower(), kind.__name__.lower()
            self.fail(phase.crash_status, f"killed: it reported {name!r} {phase.during}, where {expected!r} was due")
        return event

    def next(self, phase: Phase) -> Event:
        """The next message.

        Raises:
            TrialError: there is none until the deadline, or will never be one. The process is gone then.
        """
        channel = self._channel
        while True:
            nearest = phase.nearest()
            if time.monotonic() >= self.stop_at:
                self.fail(Status.INTERRUPTED, f"stopped on request {phase.during}")
            if nearest.left_s <= 0 and not self._answered_while_we_were_busy():
                self.fail(phase.overdue_status, nearest.overdue)
            if channel.events:
                return channel.events.popleft()
            if (reason := self._watchdog.check()) is not None:
                self.fail(phase.crash_status, f"killed {phase.during}: {reason}")
            if channel.broken:
                self.fail(phase.crash_status, f"killed {phase.during}: it sent {channel.broken}")
            if channel.exited:
                self._died(phase)
            channel.wait(min(nearest.left_s, CHECK_EVERY_S))
            if channel.exited:
                channel.drain()

    def _answered_while_we_were_busy(self) -> bool:
        """Whether what ends the phase is there, though we come late to look: our delay is not the trial's."""
        self._channel.wait(0.0)
        return any(not isinstance(event, Progress) for event in self._channel.events)

    def _died(self, phase: Phase) -> NoReturn:
        code = self.end()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        error = self._last_error() if code else None
        why = f": {error}" if error else "" if code else ", without a result"
        if self._child.out_of_memory:
            why = f": it used more memory than the limit of {self._memory_bytes // MIB} MiB"
        self.fail(phase.crash_status, f"{how} {phase.during}{why}")

    def _last_error(self) -> str | None:
        said, unheard = self._channel.output.text(), self._channel.unheard
        if unheard is None:
            return last_error(said)
        # One that failed before we came to hush it, as a replica may, has said so before.
        return kind_of_error(unheard.text() or said, PROGRAM, self._program_lines)

    def fail(self, status: Status, what: str) -> NoReturn:
        """End the process, and the trial with this reason.

        Raises:
            TrialError: always.
        """
        self.end()
        self._channel.drain()
        raise TrialError(status, clean_line(self._about + what), detail=self._channel.output.tail())

    def hold(self) -> None:
        """Stop it where it is, with all that came of it, until `let_go`.

        Raises:
            TrialError: it does not stand still (`crash`). The process is gone then.
        """
        if not processes.hold(self._members):
            self.fail(Status.CRASH, "killed: it could not be held while it waited to be scored")

    def let_go(self) -> None:
        """Have it go on."""
        processes.let_go(self._members)

    def _members(self) -> list[int]:
        return self._child.processes(self._watchdog.limits.processes)

    def end(self) -> int:
        """Kill whatever is left of the process; how it ended. Idempotent."""
        if self._code is None:
            self._code = self._child.end()
        return self._code

    @contextmanager
    def ended_on_error(self) -> Generator[None]:
        """End the process when the block is left by an exception, whatever it is."""
        try:
            yield
        except BaseException:  # KeyboardInterrupt and what the callback raises must not leave a process running
            self.end()
            raise
