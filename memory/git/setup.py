"""Making a workspace, and telling whether a folder can be one."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from memory.atomic import atomic_write_text, disk_errors, sweep_temporaries
from memory.git.objects import Entry, GitObjects
from memory.git.repo import NO_COMMIT, GitRepo, GitRunner, enclosing_repository
from memory.git.worktree import RESULTS_FILE
from memory.records import utc_now
from rails.errors import HaltError, UserError

EDITED_BY_A_PERSON = frozenset({"task.toml", "program.md"})
"""The files that are a person's to edit at any time, committed or not: the loop reads them from the working tree, the
task once for a campaign, which stores it, and the policy before every proposal."""

_STAGING = ".nightshift-init"
_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
}
_TAG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")


def init_workspace(path: Path, files: Mapping[str, str]) -> str:
    """Make a git repository on branch `main` whose first commit holds `files`.

    The repository appears as a whole or not at all, and a second call after a killed one completes it.

    Args:
        path: a new folder, or an empty one.
        files: name → text, names without folders.

    Returns:
        The first commit.

    Raises:
        UserError: the folder is a repository, lies in one, or holds something else.
        HaltError: the disk is full or the folder cannot be written.
    """
    path = path.resolve()
    _check_vacant(path, files)
    staging = path / _STAGING
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
    made = GitRunner(staging).run("init", "--quiet", "--template=", "--initial-branch=main")
    if made.status != 0:
        raise HaltError(f"git init failed: {made.err.strip()}", where=str(path), fix="git must be 2.28 or newer")
    first = _first_commit(GitRepo(staging), files)
    for name, text in files.items():
        atomic_write_text(path / name, text)
    with disk_errors(path):
        (staging / ".git").rename(path / ".git")
        staging.rmdir()
    return first


def check_tag(tag: str) -> None:
    """Whether a campaign's tag can be part of a branch's name.

    Raises:
        UserError: it cannot.
    """
    if not _TAG.fullmatch(tag) or ".." in tag or tag.endswith(".lock"):
        fix = "use up to 64 letters, digits, dots, hyphens and underscores, beginning with a letter or digit"
        raise UserError(f"the tag {tag[:80]!r} cannot name a branch", where="--tag", fix=fix)


def check_committed(repo: GitRepo, objects: GitObjects, file_name: str) -> str:
    """The commit that is checked out, which must hold `file_name`.

    Raises:
        UserError: there is no commit yet, or none with that file.
    """
    here, head = str(repo.path), repo.ref("HEAD")
    commit_all = f"{repo.command('add', '--all')} and {repo.command('commit', '-m', 'start')}"
    if head is None:
        raise UserError("this repository has no commit yet", where=here, fix=commit_all)
    if objects.file(head, file_name) is None:
        raise UserError(f"{file_name} is not in the commit that is checked out", where=here, fix=commit_all)
    return head


def check_clean(repo: GitRepo) -> None:
    """Whether a campaign can branch off here without touching a person's unfinished work.

    Untracked files are fine; so are a changed results.tsv, which the loop rewrites, and the files that are a person's
    to edit, which it only reads.

    Raises:
        UserError: HEAD is detached, a merge or rebase is under way, or other tracked files have changes.
    """
    here = str(repo.path)
    for marker, name in _UNFINISHED.items():
        if (repo.git_dir / marker).exists():
            fix = f"finish it, or undo it with {repo.command(name, '--abort')}"
            raise UserError(f"a {name} is under way here", where=here, fix=fix)
    if repo.branch() is None:
        fix = f"put it on a branch with {repo.command('switch', '--create', 'NAME')}"
        raise UserError("no branch is checked out (HEAD is detached)", where=here, fix=fix)
    listed = repo.need("status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames").text
    changed = [line[3:] for line in listed.split("\0") if line]
    dirty = [name for name in changed if name != RESULTS_FILE and name not in EDITED_BY_A_PERSON]
    if dirty:
        names = ", ".join(dirty[:3]) + (f" and {len(dirty) - 3} more" if len(dirty) > 3 else "")
        # What is a person's to edit stays: it is no reason to refuse, and put aside it would be missing from the task.
        edited = [f":!{name}" for name in changed if name in EDITED_BY_A_PERSON]
        stash = repo.command("stash", *(["push", "--", ".", *edited] if edited else []))
        fix = f"commit them, or put them aside with {stash}"
        raise UserError(f"there are uncommitted changes to {names}", where=here, fix=fix)


def _check_vacant(path: Path, files: Mapping[str, str]) -> None:
    outer = enclosing_repository(path)
    if outer is not None:
        what = f"this folder is inside another git repository ({outer})"
        raise UserError(what, where=str(path), fix="make the workspace in a folder outside of it")
    if path.exists() and not path.is_dir():
        raise UserError("there is a file of that name", where=str(path), fix="choose another folder")
    if (path / ".git").exists():
        raise UserError("this folder is already a git repository", where=str(path), fix="choose another folder")
    if not path.exists():
        return
    for name in files:
        sweep_temporaries(path / name)
    for entry in path.iterdir():
        ours = entry.name in files and entry.is_file() and entry.read_bytes() == files[entry.name].encode("utf-8")
        if not ours and entry.name != _STAGING:
            raise UserError(f"this folder is not empty ({entry.name})", where=str(path), fix="choose another folder")


def _first_commit(repo: GitRepo, files: Mapping[str, str]) -> str:
    objects = GitObjects(repo)
    tree = objects.write_tree(
        Entry(b"100644", name.encode(), objects.write("blob", text.encode("utf-8"))) for name, text in files.items()
    )
    first = objects.commit(tree, [], "nightshift workspace", utc_now())
    repo.move_ref("refs/heads/main", new=first, old=NO_COMMIT, why="nightshift init")
    repo.need("read-tree", first)
    return first
