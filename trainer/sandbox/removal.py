"""Removing what a trial has left: any depth, any number, any modes, and never anything that a link leads to.

Everything is done relative to open folders, so no path is followed; and without recursion, so no depth ends us: folders
in folders are moved up until none has another in it.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it, as far as we may. Raises nothing: what cannot be removed harms nobody."""
    with suppress(OSError):
        parent = os.open(folder.parent, FOLDER & ~os.O_NOFOLLOW)
        try:
            _remove(folder.name, parent)
        finally:
            os.close(parent)


def _remove(name: str, parent: int) -> None:
    top = _open(name, parent)
    if top is None:
        os.unlink(name, dir_fd=parent)
        return
    try:
        while _empty(top):
            pass
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty(top: int) -> bool:
    """Remove what is in a folder, and move up what is in folders in it; whether that got us anywhere."""
    progress = False
    for name in _folders_left(top):
        child = _open(name, top)
        if child is None:
            continue
        try:
            for inner in _folders_left(child):
                _open_up(inner, child)
                with suppress(OSError):
                    os.rename(inner, secrets.token_hex(8), src_dir_fd=child, dst_dir_fd=top)
                    progress = True
        finally:
            os.close(child)
        with suppress(OSError):
            os.rmdir(name, dir_fd=top)
            progress = True
    return progress


def _folders_left(fd: int) -> list[str]:
    """Remove the files in a folder; the names of the folders in it."""
    found: list[str] = []
    with suppress(OSError), os.scandir(fd) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    found.append(entry.name)
                else:
                    os.unlink(entry.name, dir_fd=fd)
    return found


def _open(name: str, parent: int) -> int | None:
    """The folder of this name, with our permissions on it; None when it is something else, or shut for good."""
    _open_up(name, parent)
    with suppress(OSError):
        return os.open(name, FOLDER, dir_fd=parent)
    return None


def _open_up(name: str, parent: int) -> None:
    """Give us permissions on the folder of this name: it is opened without any, and never through a link."""
    with suppress(OSError, NotImplementedError):
        if not hasattr(os, "O_PATH"):
            os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
            return
        place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{place}", 0o700)
        finally:
            os.close(place)
