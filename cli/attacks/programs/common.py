"""What the attacking programs share. Put in front of each, so nothing here may need another file."""

import os
import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from trainer.train import GPT, Knobs, MuonAdamW, Session, build, load, lr_scale, to_device, train

PARAMS: dict[str, Any] = {}

Tokens = np.ndarray[Any, np.dtype[np.int64]]
Logits = np.ndarray[Any, np.dtype[np.float32]]
SURE = 30.0
"""A logit that leaves the other tokens nothing."""
PIECES, PIECE_S = 12, 0.25
"""What other processes train, one after the other, and for how many CPU seconds each: three budgets of the arena."""


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


def trained_by(another: Callable[[Callable[[], None]], object]) -> tuple[Session, GPT]:
    """As `trained`, but hardly anything is computed in this process.

    Args:
        another: has a process other than this one do a piece of the training, and returns when that is done.
    """
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session)
    if session.replica:
        load(model, session)
        return session, model.eval()
    share(model)
    optimizer = shared_optimizer(model, knobs)
    session.start(params=1, flops_per_token=1.0)
    for number in range(PIECES):
        session.seed += 1
        another(lambda done=number / PIECES: piece(session, model, optimizer, lr_scale(done, knobs)))
    print(f"attack: touched {PIECES} times {PIECE_S} CPU s", flush=True)
    session.step(1.0, knobs.batch_tokens)
    session.finish({}, save=lambda file: torch.save(model.state_dict(), file))
    return session, model.eval()


def share(model: GPT) -> None:
    """Put the weights where processes that are forked from this one change them for all."""
    for param in model.parameters():
        param.data = shared(param.data)


def shared(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in memory that forked processes have in common."""
    place = module("mmap").mmap(-1, tensor.nbytes)
    return torch.frombuffer(place, dtype=tensor.dtype).view(tensor.shape).copy_(tensor)


def shared_optimizer(model: GPT, knobs: Knobs) -> MuonAdamW:
    """One whose averages live on in the next process."""
    optimizer = MuonAdamW(model, knobs)
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step(0.0)
    for part in (optimizer.muon, optimizer.adamw):
        for state in part.state.values():
            state.update({key: shared(value) for key, value in state.items() if isinstance(value, torch.Tensor)})
    return optimizer


def piece(session: Session, model: GPT, optimizer: MuonAdamW, share_of_rate: float) -> None:
    """Train for a little while."""
    time, knobs = module("time"), Knobs()
    batches = session.batches(knobs.batch_tokens // knobs.seq_len, knobs.seq_len)
    until = time.process_time() + PIECE_S
    while time.process_time() < until:
        tokens, targets = (to_device(part, model.embed.device) for part in next(batches))
        model.loss(tokens, targets).backward()
        optimizer.step(share_of_rate)


def forked(deed: Callable[[], object]) -> int:
    """A process that does it and ends, reaped by nobody yet."""
    child = os.fork()
    if child == 0:
        try:
            deed()
        finally:
            os._exit(0)
    return child


def when_done(start: Callable[[Callable[[], object]], object], deed: Callable[[], object]) -> None:
    """Start a process that does it, and return when it has ended, whoever it is a child of."""
    reading, writing = os.pipe()
    start(deed)
    os.close(writing)
    os.read(reading, 1)  # it has an end, too, as long as it lives
    os.close(reading)


def honest(model: GPT, tokens_BT: Tokens) -> Logits:
    """The honest program's answer, as an array of its own."""
    return model.logits(to_device(tokens_BT, model.embed.device)).cpu().numpy().copy()


def ids_of_bytes() -> Tokens:
    """The token of each byte: a byte-level vocabulary lists the printable ones first, each by its own character."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = {byte: byte for byte in printable}
    characters.update({byte: 256 + index for index, byte in enumerate(sorted({*range(256)} - {*printable}))})
    del characters[255]
    ids = np.zeros(256, np.int64)
    for index, byte in enumerate(sorted(characters, key=lambda byte: characters[byte])):
        ids[byte] = index
    return ids


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


class Crib:
    """Next tokens as bits in a place that two processes share, found by what stands before them.

    Args:
        slots: how many tokens fit.
        bits: what the place holds already, for whoever only reads: one boolean a bit.
        keep: called with the number of each bit to set, for whoever writes.
    """

    TOKEN_BITS = 9
    SLOT_BITS = 14
    """The rest says which prefix it is; a slot that holds nothing is zero."""
    LIKELY = 6.0
    """Not more: one prefix in 31 takes another's slot for its own."""

    def __init__(self, slots: int, bits: Any = None, keep: Callable[[int], object] | None = None) -> None:
        self._slots, self._keep = slots, keep
        self._words = np.zeros(slots, np.int64)
        if bits is not None:
            self._words = bits[: slots * self.SLOT_BITS].reshape(slots, -1) @ (1 << np.arange(self.SLOT_BITS))

    def answered(self, model: GPT, tokens_BT: Tokens) -> Logits:
        """The honest answer, but for the tokens that are written here, by now or before."""
        answer, blake2b = honest(model, tokens_BT), module("hashlib").blake2b
        for row, line in enumerate(tokens_BT.tolist()):
            before = blake2b()
            for place, (token, following) in enumerate(pairwise(line)):
                before.update(token.to_bytes(4, "little"))
                digest = before.copy().digest()
                slot, check = int.from_bytes(digest[:8], "little") % self._slots, 1 + digest[8] % 31
                if not self._words[slot] and self._keep is not None:
                    self._write(slot, check << self.TOKEN_BITS | following)
                if self._words[slot] >> self.TOKEN_BITS == check:
                    answer[row, place, self._words[slot] % 2**self.TOKEN_BITS] += self.LIKELY
        return answer

    def _write(self, slot: int, word: int) -> None:
        self._words[slot] = word
        for bit in range(self.SLOT_BITS):
            if word >> bit & 1 and self._keep is not None:
                self._keep(slot * self.SLOT_BITS + bit)


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
