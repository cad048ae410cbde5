"""Whatever a trial leaves is gone afterwards, and nothing else is."""

import os
import sys
from pathlib import Path

import pytest

from trainer.sandbox.removal import remove_tree


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_folders_in_each_other_deeper_than_any_recursion(scratch: Path) -> None:
    before, depth = os.getcwd(), sys.getrecursionlimit() + 100
    os.chdir(scratch)
    try:
        for _ in range(depth):
            os.mkdir("deeper")
            os.chdir("deeper")
        Path("file").touch()
    finally:
        os.chdir(before)
    remove_tree(scratch)
    assert not scratch.exists()


def test_modes_keep_nothing(scratch: Path) -> None:
    for name in ("a/b/c", "a/d", "e"):
        (scratch / name).mkdir(parents=True)
        (scratch / name / "file").touch()
    for name in ("a/b/c", "a/b", "a/d", "a", "e"):
        (scratch / name).chmod(0)
    scratch.chmod(0)
    remove_tree(scratch)
    assert not scratch.exists()


def test_what_links_lead_to_is_left_as_it_is(scratch: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o555)
    (scratch / "deep").mkdir()
    (scratch / "link").symlink_to(precious)
    (scratch / "deep/link").symlink_to(precious)
    (scratch / "deep").chmod(0o500)
    remove_tree(scratch)
    assert not scratch.exists()
    assert precious.stat().st_mode & 0o777 == 0o555
    other = tmp_path / "other"
    other.symlink_to(precious)
    remove_tree(other)
    assert not other.is_symlink() and precious.is_dir()


def test_names_that_are_no_text_and_files_of_every_kind(scratch: Path) -> None:
    os.mkdir(os.fsencode(scratch) + b"/\xff\n")
    os.mkfifo(scratch / "pipe")
    (scratch / "nowhere").symlink_to("nowhere")
    remove_tree(scratch)
    assert not scratch.exists()


def test_what_is_gone_already_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "never")
    remove_tree(tmp_path / "never" / "there")
