import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.launch.child import Child, SpawnedChild
from trainer.launch.output import HeadTail, last_error
from trainer.sandbox import processes
from trainer.sandbox.permissions import Limits
from trainer.sandbox.removal import remove_tree
from trainer.trial.watchdog import CHECK_EVERY_S, Watchdog

LIMITS = Limits(memory_bytes=2**30, open_files=64)


def start(code: str, scratch: Path, limits: Limits = LIMITS, pass_fds: tuple[int, ...] = ()) -> tuple[Child, int]:
    """A Python program without a supervisor, and the read end of its output."""
    others = processes.present()
    read, write = os.pipe()
    try:
        process = processes.spawn(
            [sys.executable, "-S", "-c", code],
            scratch=scratch,
            environment=processes.scrubbed_environment(scratch, 1, {"EXTRA": "1"}),
            output=write,
            pass_fds=pass_fds,
            limits=limits,
        )
    finally:
        os.close(write)
    return SpawnedChild(process, others), read


def run(code: str, scratch: Path, pass_fds: tuple[int, ...] = ()) -> str:
    """What a program prints until it ends by itself."""
    process, read = start(code, scratch, pass_fds=pass_fds)
    with os.fdopen(read) as output:
        printed = output.read()
    assert process.end() in (0, -9)
    return printed


def test_descriptors_arrive_under_known_numbers(tmp_path: Path) -> None:
    fds: list[int] = []
    for text in (b"first", b"second"):
        fds.append(os.memfd_create("test"))
        os.write(fds[-1], text)
    code = "import os; print(os.pread(3, 9, 0), os.pread(4, 9, 0), sorted(map(int, os.listdir('/proc/self/fd')))[:6])"
    # In either order: each of the two numbers may be the one that the other is to get.
    assert run(code, tmp_path, (fds[0], fds[1])) == "b'first' b'second' [0, 1, 2, 3, 4, 5]\n"
    assert run(code, tmp_path, (fds[1], fds[0])) == "b'second' b'first' [0, 1, 2, 3, 4, 5]\n"
    for fd in fds:
        os.close(fd)


def test_the_environment_is_scrubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    printed = run("import os; print(os.environ)", tmp_path)
    assert "secret" not in printed
    assert "elsewhere" not in printed
    assert f"'HOME': '{tmp_path}'" in printed
    assert "'EXTRA': '1'" in printed


def test_limits_and_session(tmp_path: Path) -> None:
    code = (
        "import os, resource as r; print(os.getsid(0) == os.getpid(), os.getcwd(), r.getrlimit(r.RLIMIT_CORE),"
        " r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_FSIZE)[0], r.getrlimit(r.RLIMIT_AS))"
    )
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    assert run(code, tmp_path) == f"True {tmp_path} (0, 0) (64, 64) {LIMITS.disk_bytes} {unlimited}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_the_process_dies_with_the_loop_but_not_with_a_thread(tmp_path: Path) -> None:
    code = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
    assert run(code, tmp_path) == "9\n"
    printed: list[str] = []
    thread = threading.Thread(target=lambda: printed.append(run(code, tmp_path)))
    thread.start()
    thread.join()
    assert printed == ["0\n"]


def test_the_end_takes_daemons_along_and_leaves_others_alone(tmp_path: Path) -> None:
    code = """
import os, time
read, write = os.pipe()
for daemon in (False, True):
    if os.fork() == 0:
        if daemon:
            os.setsid()
            os.chdir("/")
            if os.fork():
                os._exit(0)
        os.write(write, b"%d " % os.getpid())
        time.sleep(1000)
pids = b""
while pids.count(b" ") < 2:
    pids += os.read(read, 100)
print(pids.decode(), flush=True)
time.sleep(1000)
"""
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    older = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    process, read = start(code, tmp_path)
    with os.fdopen(read) as output:
        pids = [process.pid, *map(int, output.readline().split())]
        assert len(pids) == 3
        assert process.end() == -9
    assert not any(map(psutil.pid_exists, pids))
    assert process.end() == -9
    for other in (bystander, older):
        assert other.poll() is None
        other.communicate(b"\n")


def test_leftovers_of_a_killed_loop_are_cleared(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch" / "trial-1"
    scratch.mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], cwd=scratch, stdin=subprocess.PIPE)
    (scratch / "closed").mkdir(mode=0o000)
    assert processes.clear_leftovers(tmp_path / "scratch") == [process.pid]
    process.communicate()
    assert process.returncode == -9
    assert list((tmp_path / "scratch").iterdir()) == []
    assert processes.clear_leftovers(tmp_path / "never") == []


def test_scratch_is_removed_without_following_links(tmp_path: Path) -> None:
    precious, scratch = tmp_path / "precious", tmp_path / "scratch"
    (scratch / "deep").mkdir(parents=True)
    precious.write_text("keep me")
    (scratch / "deep" / "link").symlink_to(precious)
    (scratch / "deep").chmod(0o500)
    remove_tree(scratch)
    assert not scratch.exists()
    assert precious.read_text() == "keep me"


@pytest.mark.parametrize(("left", "verdict"), [(2**20, "the machine has only 1 MiB of memory left"), (2**40, None)])
def test_the_watchdog_saves_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, verdict: str | None
) -> None:
    memory = psutil.virtual_memory()
    process, read = start("import time; time.sleep(1000)", tmp_path)
    watchdog = Watchdog(process, tmp_path, LIMITS)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=left))
    monkeypatch.setattr("trainer.trial.watchdog.CHECK_EVERY_S", 0.0)
    monkeypatch.setattr(time, "monotonic", lambda: float("inf"))
    assert watchdog.check() == verdict
    monkeypatch.undo()
    os.close(read)
    process.end()


def first_verdict(code: str, scratch: Path, limits: Limits) -> str | None:
    """What the watchdog says of a program, as soon as it says anything."""
    process, read = start(code, scratch, limits)
    watchdog = Watchdog(process, scratch, limits)
    try:
        deadline = time.monotonic() + 20
        while (verdict := watchdog.check()) is None and time.monotonic() < deadline and process.poll() is None:
            time.sleep(CHECK_EVERY_S / 4)
        return verdict
    finally:
        os.close(read)
        process.end()


def test_the_watchdog_counts_the_memory_of_all_processes(tmp_path: Path) -> None:
    code = "import os, time; [os.fork() for _ in range(2)]; a = bytearray(60 << 20); time.sleep(1000)"
    verdict = first_verdict(code, tmp_path, Limits(memory_bytes=150 << 20))
    assert verdict is not None
    assert "MiB of memory, more than the limit of 150 MiB" in verdict


def test_the_watchdog_sees_memory_that_is_nobodys(tmp_path: Path) -> None:
    code = (
        "import os, time; f = os.memfd_create('x'); [os.write(f, bytes(1 << 20)) for _ in range(300)]; time.sleep(1000)"
    )
    verdict = first_verdict(code, tmp_path, Limits(memory_bytes=200 << 20))
    assert verdict is not None
    assert "shared memory grew by" in verdict


def test_the_watchdog_counts_processes(tmp_path: Path) -> None:
    code = "import os, time; [os.fork() for _ in range(4)]; time.sleep(1000)"
    limits = Limits(memory_bytes=2**33, processes=10)
    assert first_verdict(code, tmp_path, limits) == "it started more than 10 processes"


def test_the_watchdog_sees_the_disk_fill(tmp_path: Path) -> None:
    code = "import time\nfor n in range(8): open(str(n), 'wb').write(bytes(4 << 20))\ntime.sleep(1000)"
    verdict = first_verdict(code, tmp_path, Limits(memory_bytes=2**33, disk_bytes=16 << 20))
    assert verdict is not None
    assert "free space fell by" in verdict


def test_the_watchdog_counts_files(tmp_path: Path) -> None:
    if not os.statvfs(tmp_path).f_files:
        pytest.skip("this file system does not count files")
    code = "import time\nfor n in range(2000): open(str(n), 'wb')\ntime.sleep(1000)"
    verdict = first_verdict(code, tmp_path, Limits(memory_bytes=2**33, files=1000))
    assert verdict == "more than 1,000 files were made on the disk while it ran"


def test_the_watchdog_leaves_an_honest_program_alone(tmp_path: Path) -> None:
    limits = Limits(memory_bytes=2**33)
    assert first_verdict("import time; time.sleep(0.5)", tmp_path, limits) is None


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=30))
def test_output_keeps_head_and_tail(chunks: list[bytes]) -> None:
    kept, everything = HeadTail(20, 30), b"".join(chunks)
    for chunk in chunks:
        kept.add(chunk)
    assert kept.total_bytes == len(everything)
    if len(everything) <= 50:
        assert kept.text() == whole(everything)
    else:
        note = f"\n[{len(everything) - 50:,} bytes left out]\n"
        assert kept.text() == whole(everything[:20] + note.encode() + everything[-30:])


def whole(data: bytes) -> str:
    unlimited = HeadTail(10_000, 0)
    unlimited.add(data)
    return unlimited.text()


def test_output_is_printable() -> None:
    kept = HeadTail()
    kept.add("step 1\rstep 2\r\n\x1b[31mrot\x00\tünï\n".encode() + b"\xff\xfe")
    assert kept.text() == "step 1\nstep 2\n [31mrot     ünï\n\ufffd\ufffd"
    assert kept.tail(1) == "\ufffd\ufffd"


@pytest.mark.parametrize(
    ("log", "error"),
    [
        ("", None),
        ("step 1\n\n", "step 1"),
        ("Traceback (most recent call last):\n  File x\nValueError: a\nmore\n", "ValueError: a"),
        ("Traceback (most recent call last):\n  x\nA: 1\n\nTraceback (most recent call last):\n  x\nB: 2\n", "B: 2"),
        ("Traceback (most recent call last):\n  cut off", "  cut off"),
        ("Fatal Python error: Aborted\n\nCurrent thread 0x1:\n  File x\n", "Fatal Python error: Aborted"),
    ],
)
def test_the_error_is_found_in_the_log(log: str, error: str | None) -> None:
    assert last_error(log) == error
