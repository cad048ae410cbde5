"""Waits for a trial's messages, its output and its end in one place, without threads."""

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from trainer.launch.child import Child
from trainer.launch.output import HeadTail
from trainer.trial.wire import MAX_LINE_BYTES, Event, WireError, parse_event

CHUNK_BYTES = 64 * 1024
MAX_DRAIN_CHUNKS = 64
POLL_S = 0.02
"""How often to ask whether the process lives, where the kernel cannot tell us."""
FREE_MESSAGES, MESSAGES_PER_S = 1000, 100
"""A session reports ten times a second; more than this is a flood."""


class Channel:
    """Everything that comes from one trial process.

    Args:
        control: our end of the socket pair; owned from here on.
        output: the read end of the pipe that is its stdout and stderr; owned from here on.
        process: the process, or the supervisor that ends when it does.

    Attributes:
        events: messages that have arrived and wait to be taken.
        output: what it has printed, until `hush`.
        unheard: what it has printed since `hush`; None before that.
        exited: whether the process has ended (it is not reaped here).
        broken: what was wrong with the message after the last of `events`; nothing is read after that.
    """

    def __init__(self, control: socket.socket, output: int, process: Child) -> None:
        self.events: deque[Event] = deque()
        self.output, self.exited, self.broken = HeadTail(), False, ""
        self.unheard: HeadTail | None = None
        self._control, self._output_fd, self._process = control, output, process
        self._line, self._messages, self._opened = b"", 0, time.monotonic()
        self._wake_read, self._wake_write = os.pipe()
        self._pidfd = _pidfd(process.pid)
        self._selector = selectors.DefaultSelector()
        os.set_blocking(output, False)
        control.setblocking(False)
        for source in (control, output, self._wake_read, self._pidfd):
            if source is not None:
                self._selector.register(source, selectors.EVENT_READ)

    def wait(self, seconds: float) -> None:
        """Wait for anything to happen, `seconds` at most, and take it in: a little of each source, then return."""
        limit = max(0.0, seconds if self._pidfd is not None else min(seconds, POLL_S))
        for key, _ in self._selector.select(limit):
            if key.fileobj is self._control:
                self._read_control()
            elif key.fileobj == self._output_fd:
                self._read_output()
            elif key.fileobj == self._pidfd:
                self.exited = True
        if self._pidfd is None and self._process.poll() is not None:
            self.exited = True

    def drain(self) -> None:
        """Take in what an ended process left behind, as much as a pipe and a socket may hold."""
        self._drain(self._output_fd, self._read_output)
        self._drain(self._control, self._read_control)

    def hush(self, *, from_the_start: bool = False) -> None:
        """Take in what it has printed so far; from now on its words go to `unheard`, and into no text of ours.

        Args:
            from_the_start: what it has printed so far goes there, too.
        """
        if not from_the_start:
            self._drain(self._output_fd, self._read_output)
        self.unheard = HeadTail()

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send a short message, and descriptors. A process that is gone or does not read is noticed elsewhere."""
        with suppress(OSError):
            socket.send_fds(self._control, [message], fds)

    def wake(self) -> None:
        """Make a `wait` in progress return. Safe from another thread and from a signal handler."""
        with suppress(OSError):
            os.write(self._wake_write, b"!")

    def close(self) -> None:
        """Close everything; what was taken in stays readable."""
        self._selector.close()
        self._control.close()
        for fd in (self._output_fd, self._wake_read, self._wake_write, self._pidfd):
            if fd is not None:
                os.close(fd)

    def _drain(self, source: int | socket.socket, read: Callable[[], bool]) -> None:
        for _ in range(MAX_DRAIN_CHUNKS):
            if source not in self._selector.get_map() or not read():
                break

    def _read_output(self) -> bool:
        try:
            chunk = os.read(self._output_fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(self._output_fd)
            return False
        (self.output if self.unheard is None else self.unheard).add(chunk)
        return True

    def _read_control(self) -> bool:
        try:
            chunk = self._control.recv(CHUNK_BYTES)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            chunk = b""
        try:
            self._take(chunk)
        except WireError as error:
            self.broken = str(error) if self.unheard is None else "a message that is not as documented"
        if self.broken or not chunk:
            self._selector.unregister(self._control)
        return bool(chunk) and not self.broken

    def _take(self, chunk: bytes) -> None:
        *lines, self._line = (self._line + chunk).split(b"\n")
        allowed = FREE_MESSAGES + MESSAGES_PER_S * (time.monotonic() - self._opened)
        for line in lines:
            self._messages += 1
            if self._messages > allowed:
                raise WireError("a flood of messages")
            self.events.append(parse_event(line))
        if len(self._line) > MAX_LINE_BYTES:
            raise WireError(f"a message of more than {MAX_LINE_BYTES} bytes")


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or older than 5.3
        return None
