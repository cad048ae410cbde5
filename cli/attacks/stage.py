"""Where the attacks play: a small corpus, decoys, sockets to reach for, and a look at what was left behind."""

import os
import secrets
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from cli.attacks.corpus import write_corpus
from graph.workspace import Workspace
from trainer.data.corpus import scan_folder
from trainer.data.exposed import pin

PACKAGES = Path(__file__).resolve().parents[2]
PUBLIC_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run")
"""Where anybody may write; the programs know them too."""
_SHARED = {"fetch-weights": "store-weights", "fetch-text": "store-text"}
"""Attacks that look for what another one left."""


@dataclass
class Stage:
    """The folder of one run of the suite, and what its programs are told.

    Attributes:
        folder: everything of ours is in it.
        corpus: the text that is trained on.
        signals: how often the loop was signalled since it was last asked.
    """

    folder: Path
    corpus: Path
    port: int
    signals: int = 0
    nonce: str = field(default_factory=lambda: secrets.token_hex(3))
    _marks: dict[str, str] = field(default_factory=dict[str, str])

    def mark(self, attack: str) -> str:
        """A name that nothing else on this machine has: 12 characters, the last six hexadecimal digits."""
        owner = _SHARED.get(attack, attack)
        return self._marks.setdefault(owner, f"nsat{self.nonce}{len(self._marks):02x}")

    @property
    def decoy(self) -> Path:
        """A secret of the person's that no trial may read."""
        return self.folder / "secret.txt"

    @property
    def folders(self) -> list[str]:
        """Folders in which a trial may not create a file."""
        places = [PACKAGES / "trainer", Path(sys.prefix), Path.home(), self.folder, self.folder / "cache"]
        return [str(place) for place in places if place.is_dir()]

    def params(self, attack: str, workspace: Path) -> dict[str, Any]:
        """What the attacker knows about this machine, but for the prepared data."""
        precious = [
            *(PACKAGES / name for name in ("trainer/scoring/evaluate.py", "tools/gpt.py", "trainer/session.py")),
            *(workspace / name for name in ("task.toml", "program.md", "train.py", ".git/config", ".git/HEAD")),
            Workspace(workspace).store_path,
            *(path for name in (".bashrc", ".profile", ".zshrc") if (path := Path.home() / name).is_file()),
            self.decoy,
        ]
        return {
            "mark": self.mark(attack),
            "loop_pid": os.getpid(),
            "folders": self.folders,
            "decoy": str(self.decoy),
            "secrets": [str(self.decoy), str(workspace / "task.toml")],
            "precious": [str(path) for path in precious],
            "port": self.port,
            "socket_path": str(self.folder / "socket"),
            "abstract_socket": f"nightshift-{self.nonce}",
        }

    def residue(self, attack: str) -> list[str]:
        """What an attack left on this machine, for people."""
        mark = self.mark(attack)
        found = [f"file {path}" for place in (*PUBLIC_FOLDERS, *self.folders) for path in _glob(Path(place), mark)]
        found += [f"process {process.pid}" for process in _processes(mark)]
        if any(line.split()[:1] == [str(int(mark[-6:], 16))] for line in _lines("/proc/sysvipc/shm")):
            found.append("System V shared memory")
        if any(mark in line for line in _lines("/proc/keys")):
            found.append("a key in the user's keyring")
        if Path("/dev/mqueue", mark).exists():
            found.append("a POSIX message queue")
        return found

    def clean(self) -> None:
        """Remove what the attacks left."""
        for mark in self._marks.values():
            for place in {*PUBLIC_FOLDERS, *self.folders, "/dev/mqueue"}:
                for path in _glob(Path(place), mark):
                    path.unlink(missing_ok=True)
            for process in _processes(mark):
                with suppress(psutil.Error):
                    process.kill()
            _remove_kernel_objects(mark)


def _glob(place: Path, mark: str) -> list[Path]:
    try:
        return [path for path in place.iterdir() if path.name.startswith(mark)]
    except OSError:
        return []


def _processes(mark: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["name"]) if process.info["name"] == mark]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []


def _remove_kernel_objects(mark: str) -> None:
    """Shared memory and keys have no path: the C library removes them."""
    import ctypes

    if not sys.platform.startswith("linux"):
        return
    c = ctypes.CDLL(None, use_errno=True)
    handle = c.shmget(int(mark[-6:], 16), 0, 0)
    if handle >= 0:
        c.shmctl(handle, 0, None)  # IPC_RMID
    for line in _lines("/proc/keys"):
        if mark in line:
            keyctl = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine)
            if keyctl is not None:
                c.syscall(keyctl, 9, int(line.split()[0], 16), -4)  # KEYCTL_UNLINK from the user's keyring


@contextmanager
def set_stage(folder: Path) -> Generator[Stage]:
    """Prepare `folder` (new or empty) and listen on its sockets; at the end everything that attacks left is removed.

    Must be entered from the main thread: it counts the signals that reach the loop.
    """
    with ExitStack() as stack:
        corpus = write_corpus(folder / "corpus")
        (folder / "cache").mkdir()
        pin(
            folder / "cache" / "nightshift", scan_folder(corpus), ()
        )  # made up here: nothing on the machine says it too
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stage = Stage(folder, corpus, tcp.getsockname()[1])
        stage.decoy.write_text("an API key\n")
        stage.decoy.chmod(0o600)
        addresses = [str(folder / "socket")]
        if sys.platform.startswith("linux"):
            addresses.append(f"\0nightshift-{stage.nonce}")
        for address in addresses:
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(address)
            server.listen(16)
        stack.callback(stage.clean)

        def count(number: int, frame: FrameType | None) -> None:
            stage.signals += 1

        before = signal.signal(signal.SIGURG, count)
        stack.callback(signal.signal, signal.SIGURG, before)
        cache = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        stack.callback(_restore, "XDG_CACHE_HOME", cache)
        yield stage


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
