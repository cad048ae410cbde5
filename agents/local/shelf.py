"""The students of this person, by name: a folder each under the data home."""

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from agents.local.card import CARD, StudentCard, read_card, write_card
from rails.errors import UserError
from rails.text import closest, quote

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def students_home() -> Path:
    """`$XDG_DATA_HOME/nightshift/students`, or the same in `~/.local/share`."""
    home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "share") / "nightshift" / "students"


def student_names() -> tuple[str, ...]:
    """The names of all students that were promoted, in alphabetical order."""
    try:
        return tuple(sorted(entry.name for entry in students_home().iterdir() if (entry / CARD).is_file()))
    except OSError:
        return ()


def find_student(name: str, relative_to: Path | None = None) -> Path:
    """The folder of a student.

    Args:
        name: of a promoted student; or, when it has a slash in it, a folder.
        relative_to: where a folder that is not absolute is looked for; None: here.

    Raises:
        UserError: there is no such student, with the nearest name.
    """
    if "/" in name:
        folder = (relative_to or Path()) / Path(name).expanduser()
        read_card(folder)
        return folder
    known = student_names()
    if name not in known:
        fix = f"promote one: `nightshift distill promote`; there is {', '.join(known) or 'none'} so far"
        raise UserError(f"there is no student {quote(name)}{closest(name, known)}", where=str(students_home()), fix=fix)
    return students_home() / name


def put_student(folder: Path, name: str, gates: list[dict[str, Any]]) -> tuple[Path, StudentCard]:
    """Copy a student to the shelf under a name, with the gates that it passed. An older one of that name goes.

    Raises:
        UserError: the name is none, or the folder holds no student.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{quote(name)} is no name for a student", fix="use letters, digits, dots, - and _")
    card = read_card(folder)
    home = students_home()
    home.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=home, prefix=".new-"))
    try:
        shutil.copytree(folder, made, dirs_exist_ok=True)
        made.chmod(0o755)
        written = write_card(made, card, gates=gates)
        old = home / name
        if old.exists():
            away = Path(tempfile.mkdtemp(dir=home, prefix=".old-"))
            os.replace(old, away / name)
            os.replace(made, old)
            shutil.rmtree(away, ignore_errors=True)
        else:
            os.replace(made, old)
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(made)
        raise
    return home / name, written
