"""The loop's own refs as the files that git keeps them in, without a git process for each.

A ref is a file with a commit's name, or a line of `packed-refs` where there is no such file (gitrepository-layout(5)).
Only refs below `refs/nightshift` are written here: nobody else moves them, so they need no lock. All others are moved
by git itself.
"""

import os
from pathlib import Path

from memory.atomic import disk_errors


class RefFiles:
    """The ref files of one repository.

    Args:
        git_dir: the working tree's own git folder, for temporary files.
        common_dir: the repository's git folder.
    """

    def __init__(self, git_dir: Path, common_dir: Path) -> None:
        self._temporary = git_dir / "nightshift-ref"
        self._common_dir = common_dir

    @property
    def in_use(self) -> bool:
        """Whether this repository keeps its refs in files."""
        return not (self._common_dir / "reftable").exists()

    def says(self, name: str, commit: str) -> bool:
        """Whether a ref's file has this commit. False says nothing: the ref may be packed or kept elsewhere."""
        try:
            return (self._common_dir / name).read_bytes() == f"{commit}\n".encode()
        except OSError:
            return False

    def write(self, name: str, commit: str) -> None:
        """Point a ref of the loop's own at a commit: wholly or not at all, and not flushed to disk.

        Raises:
            DiskFullError: there is no room.
            HaltError: it cannot be written.
        """
        place = self._common_dir / name
        with disk_errors(place):
            self._temporary.write_text(f"{commit}\n", encoding="ascii")
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._temporary, place)

    def remove(self, name: str) -> bool:
        """Delete a ref of the loop's own; gone already is fine. False when a packed copy would come to light by that.

        Raises:
            HaltError: it cannot be deleted.
        """
        packed, place = self._common_dir / "packed-refs", self._common_dir / name
        with disk_errors(place):
            if packed.exists() and name.encode() in packed.read_bytes():
                return False
            place.unlink(missing_ok=True)
        return True
