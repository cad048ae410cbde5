import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from memory.lock import Holder, holder, workspace_lock
from rails.errors import BusyError, HaltError

HOLDER = """
import sys
from pathlib import Path
from memory.lock import Holder, holder, workspace_lock
with workspace_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its standard input closes."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_second_loop_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "state folder" / "lock"
    with holding(path) as process:
        with pytest.raises(BusyError) as caught, workspace_lock(path):
            pass
        process.communicate()
    message = str(caught.value)
    assert f"process {process.pid} on {socket.gethostname()}, since 20" in message
    assert str(path.parent) in message and "nightshift watch" in message
    assert caught.value.exit_code == 75


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with workspace_lock(path):
        assert f'"pid": {os.getpid()}' in path.read_text()


def test_it_is_free_again_after_the_block_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with workspace_lock(path):
        pass
    with pytest.raises(RuntimeError), workspace_lock(path):
        raise RuntimeError
    with workspace_lock(path):
        pass


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with workspace_lock(path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with workspace_lock(path):
        child.communicate(b"\n")


NOTHING_SAID = [
    "",
    "{",
    "[]",
    '{"pid": "x"}',
    '{"pid": 1}',
    "\x00\x00",
    '{"pid": 1, "since": "then"}',
    "\xff",
    " " * 512,
]


@pytest.mark.parametrize("note", NOTHING_SAID)
def test_a_note_that_says_nothing_is_no_trouble(tmp_path: Path, note: str) -> None:
    path = tmp_path / "lock"
    with workspace_lock(path):
        path.write_text(note)
        assert holder(path) is None
        with pytest.raises(BusyError, match="only just started"), workspace_lock(path):
            pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("text")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(HaltError), workspace_lock(tmp_path / "lock"):
        pass
    assert precious.read_text() == "text"


def test_asking_who_holds_it_takes_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None
    with holding(path) as process:
        found = holder(path)
        assert found is not None and found.alive
        assert (found.pid, found.host) == (process.pid, socket.gethostname())
        assert timedelta() <= datetime.now(UTC) - found.since < timedelta(minutes=1)
        process.communicate()
    assert holder(path) is None
    assert not found.alive


def test_a_killed_holder_is_named_and_not_alive(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path) as process:
        process.send_signal(signal.SIGKILL)
        while process.poll() is None:
            found = holder(path)
            assert found is not None and found.pid == process.pid
        found = holder(path)
        assert found is not None and not found.alive


def test_asking_all_the_time_never_makes_a_loop_fail(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    asking = (
        "import sys; from pathlib import Path; from memory.lock import holder\nwhile True: holder(Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", asking, str(path)]) as reader:
        for _ in range(2_000):
            with workspace_lock(path):
                pass
        assert reader.poll() is None
        reader.kill()


def test_a_process_that_got_the_number_later_is_not_the_holder() -> None:
    with_my_number = Holder(pid=os.getpid(), host=socket.gethostname(), since=datetime.now(UTC), started_s=-100.0)
    assert not with_my_number.alive


def test_nobody_knows_about_processes_of_another_machine(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with workspace_lock(path):
        mine = holder(path)
    assert mine is not None and mine.alive
    assert not Holder(pid=mine.pid, host="elsewhere", since=mine.since, started_s=mine.started_s).alive


def test_a_clock_that_jumps_does_not_hide_the_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    with workspace_lock(path):
        boot = psutil.boot_time()
        jumped = psutil.Process().create_time() + 3600
        monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
        monkeypatch.setattr(psutil.Process, "create_time", lambda _: jumped)
        found = holder(path)
        assert found is not None and found.alive
