"""A person's git repository, opened so that nothing in their set-up can interfere with an unattended loop.

Every git process runs without hooks, file-system monitors, prompts and optional locks, under the loop's own name.
Loose objects and the loop's own refs are read and written in this process; all other refs, the index and packs are
git's own business.
"""

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memory.atomic import disk_full, says_full
from memory.git.locks import wait_for_locks
from memory.git.refs import RefFiles
from rails.errors import HaltError, NightshiftError, UserError

if TYPE_CHECKING:
    import git
    from gitdb import LooseObjectDB

AUTHOR_NAME = "nightshift"
AUTHOR_EMAIL = "nightshift@localhost"

NO_COMMIT = "0" * 40
"""As the old value of a ref: it must not exist yet."""

_NO_ROOM_BYTES = 1024 * 1024
"""With less free than this, whatever git could not do it could not do for want of room."""

_AT_ONCE = 100
"""Refs deleted by one process: what is said to it must fit into a pipe."""

_OPTIONS = (
    *("-c", f"core.hooksPath={os.devnull}"),  # a trial could have planted a hook; a person's may take minutes or fail
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.quotePath=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    "--literal-pathspecs",
)
_ENVIRONMENT = {
    "GIT_AUTHOR_NAME": AUTHOR_NAME,
    "GIT_AUTHOR_EMAIL": AUTHOR_EMAIL,
    "GIT_COMMITTER_NAME": AUTHOR_NAME,  # reflogs name the committer, and the person may have configured none
    "GIT_COMMITTER_EMAIL": AUTHOR_EMAIL,
    "GIT_DEFAULT_HASH": "sha1",
    "GIT_DEFAULT_REF_FORMAT": "files",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
_MISLEADING = (  # what `git rev-parse --local-env-vars` names, but for configuration
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)


@dataclass(frozen=True, slots=True)
class GitResult:
    """What one git process answered: exit status, raw standard output, standard error."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output without the final newline. Bytes that are not UTF-8 survive as surrogates."""
        return self.out.decode("utf-8", "surrogateescape").rstrip("\n")


class RefMovedError(HaltError):
    """A ref is not where it was last seen: somebody else moved it.

    Args:
        ref: its full name.
        found: the commit it is at; None when it is gone.
        expected: the commit it should be at.
    """

    def __init__(self, ref: str, found: str | None, expected: str) -> None:
        self.ref, self.found, self.expected = ref, found, expected
        super().__init__(f"{ref} is at {(found or 'nothing')[:12]}, not at {expected[:12]}")


class GitRunner:
    """Runs git processes in one folder, set up as this module promises.

    Environment variables by which git itself tells its hooks and aliases where the repository is are dropped from this
    process: inherited by accident, they would point every call at another repository.

    Args:
        folder: an absolute path.

    Raises:
        UserError: there is no git on this machine.
    """

    def __init__(self, folder: Path) -> None:
        for name in _MISLEADING:
            os.environ.pop(name, None)
        try:
            import git
        except ImportError as error:
            raise UserError("git is not installed", fix="install git 2.28 or newer and put it on the PATH") from error
        self._git = git.Git()
        self._git.update_environment(**_ENVIRONMENT)
        # Not GitPython's own working directory: it expands $NAME in it, and silently stays where it is if that fails.
        self._start = ["git", "-C", str(folder), *_OPTIONS]

    def run(self, *arguments: str, stdin: str = "") -> GitResult:
        """Run one git process to its end. A failure is a status, not an exception."""
        # GitPython hands an open file to the process. A pipe holds what little is ever said here (16 KiB everywhere).
        assert len(stdin) < 16_384, "more than a pipe is sure to hold"
        reader, writer = os.pipe()
        with open(writer, "w", encoding="utf-8") as file:
            file.write(stdin)
        with open(reader, "rb") as said:
            # In a session of its own: Ctrl-C in the terminal is for the loop, which knows what to do, and not for git.
            status, out, err = self._git.execute(
                [*self._start, *arguments],
                said,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                start_new_session=True,
            )
        return GitResult(int(status), out, str(err))


class GitRepo:
    """One repository whose working tree is exactly `path`.

    Args:
        path: the workspace.

    Raises:
        UserError: it is not a repository with a working tree of its own, or one of a kind that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._runner = GitRunner(self.path)
        self._repo = self._open()
        self.git_dir, self.common_dir = Path(self._repo.git_dir), Path(self._repo.common_dir)
        self._ref_files = RefFiles(self.git_dir, self.common_dir)
        self._check_kind()

    def run(self, *arguments: str, stdin: str = "") -> GitResult:
        """Run git in the workspace; a failure is a status."""
        return self._runner.run(*arguments, stdin=stdin)

    def need(self, *arguments: str) -> GitResult:
        """Run git in the workspace.

        Raises:
            HaltError: git failed.
        """
        result = self.run(*arguments)
        if result.status != 0:
            raise self.failure(f"git {arguments[0]} failed", result)
        return result

    def failure(self, what: str, result: GitResult) -> NightshiftError:
        """The error for a git process that failed unexpectedly, with git's own last words."""
        said = _last_words(result.err)
        # "couldn't write …lock" is all that git says when a ref does not fit on the disk.
        if says_full(result.err) or shutil.disk_usage(self.path).free < _NO_ROOM_BYTES:
            return disk_full(self.path)
        fix = f"see what {self.command('status')} says, then run again; nothing recorded is lost"
        return HaltError(f"{what}: {said}" if said else what, where=str(self.path), fix=fix)

    def command(self, *words: str) -> str:
        """A git command on this repository, as a person would type it, in backticks."""
        return f"`{shlex.join(['git', '-C', str(self.path), *words])}`"

    @property
    def database(self) -> "LooseObjectDB":
        """GitPython's database of loose objects: reads and writes files, in this process."""
        from gitdb import LooseObjectDB

        database = self._repo.odb
        assert isinstance(database, LooseObjectDB), "as asked for in _open"
        return database

    def ref(self, name: str) -> str | None:
        """The commit that a ref is at; None when there is no such ref."""
        result = self.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return result.text if result.status == 0 else None

    def is_at(self, name: str, commit: str) -> bool:
        """Whether a ref is at a commit. Looks into its file first: that costs no process."""
        return self._ref_files.says(name, commit) or self.ref(name) == commit

    def branch(self) -> str | None:
        """The full name of the ref that HEAD is attached to; None when detached."""
        text = (self.git_dir / "HEAD").read_text("utf-8", "surrogateescape")
        if text.startswith("ref: refs/heads/") and ".invalid" not in text:  # a reftable keeps the real HEAD elsewhere
            return text.removeprefix("ref: ").strip()
        result = self.run("symbolic-ref", "--quiet", "HEAD")
        return result.text if result.status == 0 else None

    def move_ref(self, name: str, *, new: str, old: str, why: str, drop: str = "") -> None:
        """Compare-and-swap a ref; at `new` already is fine.

        Args:
            name: full name.
            new: commit to move it to.
            old: the commit it must be at; `NO_COMMIT` when it must not exist.
            why: line for the reflog.
            drop: another ref to delete in the same transaction.

        Raises:
            RefMovedError: it is at neither.
            HaltError: a live git process holds a lock on it, the disk is full, or git failed otherwise.
        """
        commands = [f"update {name} {new} {old}", *([f"delete {drop}"] if drop else [])]
        result = self._transaction(commands, why=why, flush=True)
        if result.status == 0:
            return
        found = self.ref(name)
        if found == new:
            return
        if found != (None if old == NO_COMMIT else old):
            raise RefMovedError(name, found, old)
        raise self.failure(f"{name} cannot be moved", result)

    def set_ref(self, name: str, commit: str) -> None:
        """Point a ref of the loop's own at a commit, wherever it is now.

        Raises:
            HaltError: as for `move_ref`.
        """
        if self._ref_files.in_use:
            self._ref_files.write(name, commit)
            return
        result = self._transaction([f"update {name} {commit}"])
        if result.status != 0:
            raise self.failure(f"{name} cannot be made", result)

    def delete_refs(self, *names: str) -> None:
        """Delete refs of the loop's own; gone already is fine.

        Raises:
            HaltError: as for `move_ref`.
        """
        left = [name for name in names if not (self._ref_files.in_use and self._ref_files.remove(name))]
        for start in range(0, len(left), _AT_ONCE):
            batch = left[start : start + _AT_ONCE]
            result = self._transaction([f"delete {name}" for name in batch])
            if result.status != 0:
                raise self.failure(f"{batch[0]} cannot be deleted", result)

    def _transaction(self, commands: list[str], *, why: str = "nightshift", flush: bool = False) -> GitResult:
        """Change refs, all or none. Locks of dead git processes are removed, live ones waited for."""
        arguments = ("-c", f"core.fsync={'reference' if flush else 'none'}", "update-ref", "-m", why, "--stdin")
        text = "".join(f"{command}\n" for command in commands)
        result = self.run(*arguments, stdin=text)
        if result.status != 0 and "File exists" in result.err:
            wait_for_locks(self.path, [self.git_dir, self.common_dir])
            result = self.run(*arguments, stdin=text)
        return result

    def _open(self) -> "git.Repo":
        import git
        from gitdb import LooseObjectDB

        if not self.path.is_dir():
            raise UserError("there is no such folder", where=str(self.path), fix="make one with `nightshift init`")
        try:
            return git.Repo(str(self.path), odbt=LooseObjectDB, expand_vars=False)
        except git.InvalidGitRepositoryError as error:
            raise self._not_a_repository() from error

    def _not_a_repository(self) -> UserError:
        here = str(self.path)
        if (self.path / ".git").exists():
            fix = f"look into {self.path / '.git'}; when nothing in it is yours, move it away and run `nightshift init`"
            return UserError("the git repository here is damaged or half-made", where=here, fix=fix)
        outer = enclosing_repository(self.path)
        if outer is not None:
            what = f"this folder is inside another git repository ({outer}), and the loop needs one of its own"
            return UserError(what, where=here, fix="make the workspace elsewhere with `nightshift init DIR`")
        return UserError("this folder is not a git repository", where=here, fix="make a workspace: `nightshift init`")

    def _check_kind(self) -> None:
        here = str(self.path)
        result = self.run("rev-parse", "--show-toplevel", "--show-object-format")
        if result.status != 0:
            words = _last_words(result.err)
            bare = "must be run in a work tree" in result.err
            what = "this git repository has no working tree" if bare else f"git refuses this repository: {words}"
            raise UserError(what, where=here, fix=_hint(result.err) or "make a workspace with `nightshift init DIR`")
        top, _, kind = result.text.rpartition("\n")
        if Path(top).resolve() != self.path:
            what = f"the working tree of this repository is another folder ({top})"
            raise UserError(what, where=here, fix=f"run nightshift on {top}, or make a workspace elsewhere")
        if kind != "sha1":
            what = f"this repository uses {kind} object names, which cannot be used here"
            raise UserError(what, where=here, fix="make a workspace elsewhere with `nightshift init DIR`")


def enclosing_repository(path: Path) -> Path | None:
    """The nearest folder above `path` that is a git working tree; None when there is none."""
    return next((parent for parent in path.resolve().parents if (parent / ".git").exists()), None)


def _last_words(err: str) -> str:
    """The summary in what git said of a failure, on one line."""
    lines = [line.strip() for line in err.splitlines() if re.match(r"\s*(fatal|error):", line)]
    return re.sub(r"^(fatal|error): ", "", lines[0]) if lines else " ".join(err.split())[:200]


def _hint(err: str) -> str:
    """The command that git suggests for a repository of another user."""
    found = re.search(r"git config --global --add safe\.directory .*", err)
    return found.group(0).strip() if found else ""
