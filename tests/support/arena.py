"""Runs trials that attack their isolation, as root or as an ordinary user, and looks at what they did outside.

`Arena` starts this file as a process of its own: as that user it sets up things worth attacking and launches trials
(`tests.support.isolation_program`) the way the loop does. Root may not be able to show an ordinary user the interpreter
(it may lie in root's home): then the process gets a mount namespace in which the way to it is open.
"""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "from tests.support.isolation_program import main\n\nmain()\n"
ORDINARY_USER = 65534
MIB = 2**20
TIMEOUT_S = 120.0


class Arena:
    """The outside of it: asks the process for one kind of run at a level, and gets what happened.

    Raises:
        RuntimeError: this user cannot be had here; says why.
    """

    def __init__(self, user: str) -> None:
        command = [sys.executable, str(Path(__file__))]
        mine = "root" if os.getuid() == 0 else "user"
        if user == "root" and mine != "root":
            raise RuntimeError("these tests do not run as root")
        if user == "user" and mine == "root":
            command = _as_ordinary_user(command)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
        try:
            self.levels: dict[str, str] = self._answer()
        except ValueError as error:
            raise RuntimeError(f"no process of an ordinary user could be made: {error}") from error

    def run(self, level: str, run: str, **facts: Any) -> dict[str, Any]:
        """What came of one run."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"level": level, "run": run, **facts}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process and what it made."""
        self._process.communicate(timeout=TIMEOUT_S)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def _as_ordinary_user(command: list[str]) -> list[str]:
    """The command in a mount namespace where `ORDINARY_USER` can reach the interpreter and this project."""
    if missing := [name for name in ("unshare", "setpriv", "mount") if shutil.which(name) is None]:
        raise RuntimeError(f"{', '.join(missing)} not installed")
    steps = ["set -e"]
    needed = {Path(path) for path in (ROOT, sys.prefix, sys.base_prefix)}
    for path in sorted({path.resolve() for path in needed}):
        blocked = next((p for p in reversed([path, *path.parents]) if not p.stat().st_mode & 0o001), None)
        if blocked is not None:
            steps += [
                'keep="$(mktemp -d)"',
                f"mount --bind '{path}' \"$keep\"",
                f"mount -t tmpfs -o mode=755 tmpfs '{blocked}'",
                f"mkdir -p '{path}'",
                f"mount --bind \"$keep\" '{path}'",
            ]
    steps.append(f'exec setpriv --reuid {ORDINARY_USER} --regid {ORDINARY_USER} --clear-groups -- "$@"')
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(steps), "sh", *command]


# Inside


class World:
    """Things worth attacking, and trials."""

    def __init__(self, undo: ExitStack) -> None:
        from trainer.launch.fork_server import preloads
        from trainer.launch.launcher import Launcher
        from trainer.sandbox.permissions import readable_paths

        self.base = Path(tempfile.mkdtemp(prefix="nightshift-arena-", dir="/var/tmp")).resolve()
        undo.callback(shutil.rmtree, self.base, ignore_errors=True)
        self.tmp = Path(tempfile.mkdtemp(prefix="nightshift-arena-", dir="/tmp")).resolve()
        undo.callback(shutil.rmtree, self.tmp, ignore_errors=True)
        for name in ("outside/hooks", "private", "home", "scratch/other", "library/hidden_folder", "library/linked"):
            (self.base / name).mkdir(parents=True)
        for place in ("private/val.bin", "scratch/other/weights", "library/hidden_folder/text", "home/key"):
            (self.base / place).write_text("secret")
        (self.tmp / "secret").write_text("secret")
        library = self.base / "library"
        (library / "visible.py").write_text("ANSWER = 42\n")
        (library / "hidden.py").write_text("SECRET = 'SECRET'\n")
        (library / "readable").write_text("before")
        (library / "truncated").write_text("before")
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(library)], check=True)
        (self.base / "alias").symlink_to("library")
        self.readable = (*readable_paths("cpu"), library, self.base / "alias")
        self.hidden = (library / "hidden.py", library / "hidden_folder")
        self.launcher = undo.enter_context(
            Launcher(threads=1, preload=preloads("import numpy\nimport torch\nimport trainer.session"))
        )
        self._serve(undo)

    def _serve(self, undo: ExitStack) -> None:
        self.unix, self.datagrams = str(self.base / "outside/s"), str(self.base / "outside/d")
        self.abstract = f"nightshift-arena-{os.getpid()}"
        self.sockets: list[socket.socket] = []
        for family, kind, address in (
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            (socket.AF_UNIX, socket.SOCK_STREAM, self.unix),
            (socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.abstract),
            (socket.AF_UNIX, socket.SOCK_DGRAM, self.datagrams),
        ):
            server = undo.enter_context(socket.socket(family, kind))
            server.bind(address)
            if kind == socket.SOCK_STREAM:
                server.listen(100)
            self.sockets.append(server)

    def facts(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What a trial is told about the world."""
        from tests.support.isolation_program import ATTACKS
        from trainer.sandbox.permissions import other_pythons

        library = self.base / "library"
        for name in ATTACKS:
            path = self.base / "outside" / name
            path.write_text("before")
            path.chmod(0o600)
        (self.base / "outside/.bashrc").write_text("before")
        (library / "never_read").write_text("before")
        os.utime(library / "never_read", (1, 1))
        return {
            **asked,
            "outside": str(self.base / "outside"),
            "private": str(self.base / "private"),
            "home": str(self.base / "home"),
            "other_scratch": str(self.base / "scratch/other"),
            "library": str(library),
            "project": str(ROOT),
            "hidden_places": [str(library / "hidden.py"), str(self.base / "alias/hidden.py")],
            "other_pythons": sorted(map(str, other_pythons(self.readable))),
            "secret_in_tmp": str(self.tmp / "secret"),
            "left_in_tmp": str(self.tmp / "left"),
            "left_in_shm": f"/dev/shm/{self.abstract}",
            "loop": os.getpid(),
            "tcp_port": self.sockets[0].getsockname()[1],
            "unix_socket": self.unix,
            "unix_datagrams": self.datagrams,
            "abstract_socket": self.abstract,
        }

    def run(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One trial, from its launch until nothing of it is left."""
        from trainer.sandbox.levels import Isolation
        from trainer.sandbox.permissions import Limits, Permissions
        from trainer.sandbox.processes import scrubbed_environment
        from trainer.sandbox.removal import remove_tree

        scratch = Path(tempfile.mkdtemp(prefix="trial-", dir=self.base / "scratch"))
        limits = Limits(memory_bytes=asked.get("memory_mib", 2048) * MIB, processes=asked.get("processes", 64))
        permissions = Permissions(
            level=Isolation(asked["level"]),
            scratch=scratch,
            readable=self.readable,
            hidden=self.hidden,
            device="cpu",
            limits=limits,
        )
        (scratch / "train.py").write_text(PROGRAM)
        (scratch / "tests/support").mkdir(parents=True)
        for source in Path(__file__).parent.glob("isolation_*.py"):
            shutil.copy(source, scratch / "tests/support")
        (scratch / "facts.json").write_text(json.dumps(self.facts(asked)))
        reading, writing = os.pipe()
        started = time.perf_counter()
        child = self.launcher.launch(scratch / "train.py", permissions, scrubbed_environment(scratch, 1, {}), writing)
        launch_ms = 1e3 * (time.perf_counter() - started)
        os.close(writing)
        output = self._output_until(child, reading, asked.get("until"))
        out_of_memory = child.out_of_memory
        code = child.end()
        out_of_memory = out_of_memory or child.out_of_memory
        rest, closed = _read_to_end(reading)
        os.close(reading)
        result = {
            "lines": (output + rest).decode(errors="replace").splitlines(),
            "code": code,
            "left_running": not closed,
            "out_of_memory": out_of_memory,
            "launch_ms": launch_ms,
            "outside": self._looked_at(scratch),
        }
        remove_tree(scratch)
        return result

    def _output_until(self, child: Any, reading: int, until: str | None) -> bytes:
        """Its output until it says a word, or ends."""
        output, deadline = b"", time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            if select.select([reading], [], [], 0.02)[0]:
                if not (part := os.read(reading, 65536)):
                    break
                output += part
            elif child.poll() is not None:
                break
            if until is not None and until.encode() in output:
                break
        return output

    def _looked_at(self, scratch: Path) -> dict[str, bool]:
        """Attack → whether it can be seen to have worked."""
        from tests.support.isolation_program import ATTACKS

        outside, library = self.base / "outside", self.base / "library"
        found: dict[str, bool] = {}
        for name in ATTACKS:
            path = outside / name
            found[name] = not path.exists() or path.read_text() != "before" or path.stat().st_mode & 0o777 != 0o600
        readable = (library / "readable").stat()
        found["write_dotfile"] = (outside / ".bashrc").read_text() != "before"
        found["make_hook"] = any((outside / "hooks").iterdir())
        found["truncate_while_opening_for_reading"] |= (library / "truncated").stat().st_size == 0
        found["truncate_while_opening_for_nothing"] |= (library / "truncated").stat().st_size == 0
        found["chmod_readable"] |= readable.st_mode & 0o777 == 0o777
        found["change_times"] |= readable.st_mtime == 1
        found["leave_in_tmp"] |= (self.tmp / "left").exists()
        found["leave_in_shared_memory"] |= Path(f"/dev/shm/{self.abstract}").exists()
        made = [scratch / "leave_setuid_program" / name for name in ("setuid-made", "setuid-changed")]
        found["leave_setuid_program"] |= any(path.exists() and path.stat().st_mode & 0o6000 for path in made)
        return found


def _read_to_end(fd: int) -> tuple[bytes, bool]:
    """What is left in a pipe, and whether it is closed at the other end: whether nobody holds it any more."""
    found, deadline = b"", time.monotonic() + 5.0
    while time.monotonic() < deadline:
        if select.select([fd], [], [], 0.1)[0]:
            if not (part := os.read(fd, 65536)):
                return found, True
            found += part
    return found, False


def _main() -> None:
    sys.path.insert(0, str(ROOT))
    os.environ["SECRET"] = "SECRET"
    from trainer.sandbox.levels import probe

    with ExitStack() as undo:
        world = World(undo)
        print(json.dumps({available.level: available.why for available in probe()}), flush=True)
        for line in sys.stdin:
            print(json.dumps(world.run(json.loads(line))), flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        _main()
