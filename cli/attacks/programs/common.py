"""What the attacking programs share. Put in front of each, so nothing here may need another file."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from trainer.train import GPT, Knobs, Session, build, load, to_device, train

PARAMS: dict[str, Any] = {}

Tokens = np.ndarray[Any, np.dtype[np.int64]]
Logits = np.ndarray[Any, np.dtype[np.float32]]
SURE = 30.0
"""A logit that leaves the other tokens nothing."""


def trained(deed: Callable[[Session, GPT], None] | None = None, knobs: Knobs | None = None) -> tuple[Session, GPT]:
    """What the honest program does before it answers, and a deed of ours just before it says that it is done.

    Not after: what is on the log when training ends is what the loop stores. Other knobs than its own are an honest
    gain, for a program that has to be kept before it can cheat.
    """
    session, knobs = Session.open(), knobs or Knobs()
    model = build(knobs, session)
    if session.replica:
        load(model, session)
    else:
        if deed is not None:
            finish = session.finish

            def after_the_deed(summary: Any, save: Any = None) -> None:
                deed(session, model)
                finish(summary, save)

            session.finish = after_the_deed
        train(model, knobs, session)
    return session, model.eval()


def honest(model: GPT, tokens_BT: Tokens) -> Logits:
    """The honest program's answer, as an array of its own."""
    return model.logits(to_device(tokens_BT, model.embed.device)).cpu().numpy().copy()


def module(name: str) -> Any:
    """A module that the rails' lint would not let us import by name."""
    return sys.modules["importlib"].import_module(name)


def libc() -> Any:
    """The C library, with errno."""
    return module("ctypes").CDLL(None, use_errno=True)


def attempt(what: str, deed: Callable[[], object], verb: str = "touched") -> Any:
    """Try something that should be refused, and say on the log how it went. None when it was refused.

    `verb` is "left" for what does harm only where another process finds it.
    """
    try:
        result = deed()
    except Exception as error:  # noqa: BLE001  # an attacker goes on whatever happens
        print(f"attack: refused {what}: {type(error).__name__}: {error}"[:200], flush=True)
        return None
    print(f"attack: {verb} {what}", flush=True)
    return True if result is None else result


def checked(result: int) -> int:
    """The result of a system call; raises OSError when it failed."""
    if result < 0:
        error = module("ctypes").get_errno()
        raise OSError(error, os.strerror(error))
    return result


class Hideouts:
    """Places where one process might leave bytes for a later one. Every name carries the suite's mark."""

    def __init__(self) -> None:
        self.mark: str = PARAMS["mark"]

    def files(self) -> list[str]:
        """Paths outside the scratch folder, and in what lies around it."""
        folders = ["/tmp", "/var/tmp", "/dev/shm", "/run", os.path.dirname(os.getcwd()), *PARAMS["folders"]]
        return [os.path.join(folder, f"{self.mark}.bin") for folder in folders]

    def store(self, content: bytes) -> None:
        """Leave the bytes wherever they can be left."""
        for path in self.files():
            attempt(f"file {path}", lambda path=path: _write(path, content), "left")
        attempt("System V shared memory", lambda: self._system_v(content), "left")
        attempt("a key in the user's keyring", lambda: self._keyring(content), "left")
        attempt("a POSIX message queue", self._queue, "left")
        attempt("a daemon", lambda: self._daemon(content), "left")

    def fetch(self) -> bytes | None:
        """What an earlier process left, if anything is to be found."""
        for path in self.files():
            if os.path.exists(path) and (found := attempt(f"what was left in {path}", lambda path=path: _read(path))):
                return found
        return attempt("what was left in shared memory", self._left_system_v) or attempt("a daemon", self._ask_daemon)

    def _key(self) -> int:
        return int(self.mark[-6:], 16)

    def _system_v(self, content: bytes) -> None:
        ctypes, c = module("ctypes"), libc()
        size = len(content) + 8
        handle = checked(c.shmget(self._key(), size, 0o1600))
        c.shmat.restype = ctypes.c_void_p
        ctypes.memmove(ctypes.c_void_p(c.shmat(handle, None, 0)), len(content).to_bytes(8, "little") + content, size)

    def _left_system_v(self) -> bytes:
        ctypes, c = module("ctypes"), libc()
        handle = checked(c.shmget(self._key(), 0, 0))
        c.shmat.restype = ctypes.c_void_p
        address = c.shmat(handle, None, 0)
        return ctypes.string_at(address + 8, int.from_bytes(ctypes.string_at(address, 8), "little"))

    def _keyring(self, content: bytes) -> None:
        number = 248 if os.uname().machine == "x86_64" else 217
        user_keyring = -4
        part = content[:1000]
        checked(libc().syscall(number, b"user", self.mark.encode(), part, len(part), user_keyring))

    def _queue(self) -> None:
        library = module("ctypes").CDLL("librt.so.1", use_errno=True)
        checked(library.mq_open(f"/{self.mark}".encode(), os.O_CREAT | os.O_RDWR, 0o600, None))

    def _address(self) -> str:
        return f"\0{self.mark}"

    def _daemon(self, content: bytes) -> None:
        """A process that outlives us, and answers on an abstract socket."""
        socket = module("socket")
        server = socket.socket(socket.AF_UNIX)
        server.bind(self._address())
        server.listen(1)
        if os.fork():
            server.close()
            return
        os.setsid()
        if os.fork():
            os._exit(0)
        libc().prctl(15, self.mark[:15].encode(), 0, 0, 0)  # PR_SET_NAME: so that the suite can find it
        while True:
            peer, _ = server.accept()
            peer.sendall(content)
            peer.close()

    def _ask_daemon(self) -> bytes:
        socket = module("socket")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(self._address())
            return b"".join(_parts(client))


def _parts(client: Any) -> Iterable[bytes]:
    while part := client.recv(1 << 20):
        yield part


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
