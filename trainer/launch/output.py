"""What a trial prints: the first and the last of it, however much it is."""

from collections import deque

HEAD_BYTES = 16 * 1024
TAIL_BYTES = 48 * 1024
TAIL_LINES = 60


class HeadTail:
    """Keeps the head and the tail of a byte stream in bounded memory."""

    def __init__(self, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self._head_bytes, self._tail_bytes = head_bytes, tail_bytes
        self._head, self._tail, self._tail_size = bytearray(), deque[bytes](), 0
        self.total_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Append `chunk` to the stream."""
        self.total_bytes += len(chunk)
        room = self._head_bytes - len(self._head)
        self._head += chunk[:room]
        if rest := chunk[max(0, room) :]:
            self._tail.append(rest[-self._tail_bytes :])
            self._tail_size += len(self._tail[-1])
        while self._tail and self._tail_size - len(self._tail[0]) >= self._tail_bytes:
            self._tail_size -= len(self._tail.popleft())

    def text(self) -> str:
        """The stream as text; one line says how many bytes are left out. Control characters become spaces."""
        tail = b"".join(self._tail)[-self._tail_bytes :]
        left_out = self.total_bytes - len(self._head) - len(tail)
        middle = f"\n[{left_out:,} bytes left out]\n".encode() if left_out else b""
        return _printable((bytes(self._head) + middle + tail).decode("utf-8", errors="replace"))

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of `text`."""
        return "\n".join(self.text().splitlines()[-lines:])


def _printable(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    return "".join(character if character.isprintable() or character == "\n" else " " for character in lines)


def last_error(log: str) -> str | None:
    """The line that names the error in the last Python traceback of `log`, else its last line, else None."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    fatal = [line for line in lines if line.startswith("Fatal Python error: ")]
    if starts:
        return next((line for line in lines[starts[-1] + 1 :] if not line.startswith(" ")), lines[-1])
    return fatal[-1] if fatal else (lines[-1] if lines else None)
