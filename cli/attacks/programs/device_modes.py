"""Change modes, times and hints of files that everybody shares: each is a bit for a later process, or worse."""

import fcntl
import os
from collections.abc import Callable

from cli.attacks.programs.common import Logits, Tokens, attempt, honest, trained
from trainer.train import GPT, Session

SHARED = ("/dev/full", "/dev/null", "/dev/zero")
GET_HINT, SET_HINT, GET_FILE_HINT, SET_FILE_HINT = 1035, 1036, 1037, 1038
FOR_LONG = (4).to_bytes(8, "little")


def main() -> None:
    session, model = trained(mark)

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def mark(session: Session, model: GPT) -> None:
    """Whatever works is undone again: the machine's devices are other people's too."""
    for path in (*SHARED, os.__file__):
        attempt(f"the mode of {path}", lambda path=path: change_mode(path))
        attempt(f"the times of {path}", lambda path=path: change_times(path))
        attempt(f"the write hint of {path}", lambda path=path: change_hint(path))


def change_mode(path: str) -> None:
    """One bit of it, and back."""
    mode = os.stat(path).st_mode & 0o7777
    os.chmod(path, mode ^ 0o001)
    seen(lambda: os.stat(path).st_mode & 0o7777 != mode)
    os.chmod(path, mode)


def change_times(path: str) -> None:
    """When it was changed last, by a second, and back."""
    was = os.stat(path)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns + 10**9))
    seen(lambda: os.stat(path).st_mtime_ns != was.st_mtime_ns)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def change_hint(path: str) -> None:
    """How long what is written there will last: a number that stays with the file."""
    fd = os.open(path, os.O_RDONLY)
    was = fcntl.fcntl(fd, GET_HINT, bytes(8))
    fcntl.fcntl(fd, SET_HINT, FOR_LONG)
    seen(lambda: fcntl.fcntl(fd, GET_HINT, bytes(8)) != was)
    fcntl.fcntl(fd, SET_HINT, was)


def seen(changed: Callable[[], bool]) -> None:
    """A call that only claims to have done something has done nothing."""
    if not changed():
        raise PermissionError("it only pretended")
