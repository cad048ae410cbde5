import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.atomic import atomic_write_bytes, atomic_write_text, disk_errors, sweep_temporaries
from rails.errors import HaltError

KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
import memory.atomic
memory.atomic.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
memory.atomic.atomic_write_text(Path(sys.argv[1]), "new")
"""


def test_it_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a b.txt"
    atomic_write_text(path, "one\r\nä")
    atomic_write_text(path, "two\n")
    assert path.read_bytes() == b"two\n"
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300))
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    atomic_write_bytes(path, data)
    assert path.read_bytes() == data


def test_it_keeps_the_files_mode_and_gives_new_files_the_usual_one(tmp_path: Path) -> None:
    script, plain = tmp_path / "run.sh", tmp_path / "plain"
    script.write_text("old")
    script.chmod(0o751)
    atomic_write_text(script, "new")
    atomic_write_text(plain, "new")
    (tmp_path / "usual").touch()
    assert stat.S_IMODE(script.stat().st_mode) == 0o751
    assert plain.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_it_replaces_a_link_and_leaves_what_it_points_at(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("precious")
    link.symlink_to(target)
    atomic_write_text(link, "new")
    assert target.read_text() == "precious"
    assert link.read_text() == "new" and not link.is_symlink()


def test_a_killed_writer_leaves_the_old_file_and_the_next_sweep_removes_the_rest(tmp_path: Path) -> None:
    path, other = tmp_path / "results.tsv", tmp_path / ".results.tsv.swp"
    path.write_text("old")
    other.write_text("an editor's")
    killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path)], check=False)
    assert killed.returncode == -9
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3
    sweep_temporaries(path)
    assert sorted(tmp_path.iterdir()) == [other, path]


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
def test_a_full_disk_halts_with_a_way_out(tmp_path: Path) -> None:
    with (
        pytest.raises(HaltError, match="the disk is full — free some space"),
        disk_errors(tmp_path / "x"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_a_folder_that_is_not_there_halts_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(HaltError, match="cannot be written"):
        atomic_write_text(tmp_path / "no" / "file", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(HaltError, match="disk is full"):
        atomic_write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
