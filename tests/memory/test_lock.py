import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from memory.lock import workspace_lock
from rails.errors import BusyError, HaltError

HOLDER = """
import sys
from pathlib import Path
from memory.lock import workspace_lock
with workspace_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its standard input closes."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_second_loop_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "state folder" / "lock"
    with holder(path) as process:
        with pytest.raises(BusyError) as caught, workspace_lock(path):
            pass
        process.communicate()
    message = str(caught.value)
    assert f"process {process.pid} on {socket.gethostname()}, since 20" in message
    assert str(path.parent) in message and "nightshift watch" in message
    assert caught.value.exit_code == 75


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
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


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}', "\x00\x00"])
def test_a_note_that_says_nothing_is_no_trouble(tmp_path: Path, note: str) -> None:
    path = tmp_path / "lock"
    with workspace_lock(path):
        path.write_text(note)
        with pytest.raises(BusyError, match="only just started"), workspace_lock(path):
            pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("text")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(HaltError), workspace_lock(tmp_path / "lock"):
        pass
    assert precious.read_text() == "text"
