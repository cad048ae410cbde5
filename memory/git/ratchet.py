"""The git ratchet: a branch that only ever moves to a better program, one commit for each kept trial.

A candidate is a commit beside the branch, held by a ref of the loop's own; the working tree stays at the incumbent
while it is tried. Keeping makes the final commit (candidate, results.tsv and trailers in one) and, once the store has
recorded the decision, moves the branch to it by compare-and-swap. Discarding drops the ref. The store is the truth:
everything here can be done again after a crash, with the same names for the same content.
"""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from memory.git.locks import wait_for_locks
from memory.git.objects import GitObjects, commit_message
from memory.git.repo import AUTHOR_EMAIL, NO_COMMIT, GitRepo, RefMovedError
from memory.git.setup import check_clean, check_committed, check_tag, init_workspace
from memory.git.worktree import RESULTS_FILE, Versions, Worktree
from rails.errors import HaltError, UserError

__all__ = ["Ratchet", "commit_message", "init_workspace"]

_HELD = "refs/nightshift/candidates/"
_PAST_COMMITS = "200"


class Ratchet:
    """The branch of one campaign in one workspace. One loop at a time: see `memory.lock`.

    Args:
        workspace: a git repository's top folder.
        file_name: the file in it that proposals change.

    Raises:
        UserError: the folder is not a repository of its own.
    """

    def __init__(self, workspace: Path, file_name: str) -> None:
        self._repo = GitRepo(workspace)
        self._objects = GitObjects(self._repo)
        self._worktree = Worktree(self._repo, self._objects, file_name)
        self._file_name = file_name
        self._branch = ""

    def check_workspace(self) -> str:
        """Whether a campaign can start from what is checked out; returns that commit.

        Raises:
            UserError: no commit, no such file, a detached HEAD, a merge under way, or uncommitted changes to tracked
                files (results.tsv, and what is a person's to edit, excepted).
            HaltError: another git process holds the repository.
        """
        self._clear_locks()
        head = check_committed(self._repo, self._objects, self._file_name)
        check_clean(self._repo)
        return head

    def has_branch(self, tag: str) -> bool:
        """Whether there is a branch `autoresearch/<tag>`."""
        return self._repo.ref(f"refs/heads/autoresearch/{tag}") is not None

    def start(self, tag: str) -> str:
        """Make branch `autoresearch/<tag>` at the commit that is checked out, and check it out.

        Returns:
            That commit.

        Raises:
            UserError: as for `check_workspace`, or the branch exists, or the tag cannot name one.
            HaltError: another git process holds the repository.
        """
        check_tag(tag)
        head = self.check_workspace()
        branch = f"refs/heads/autoresearch/{tag}"
        where, taken = str(self._repo.path), f"the branch autoresearch/{tag} exists already"
        if self._repo.ref("refs/heads/autoresearch") is not None:
            fix = f"rename it: {self._repo.command('branch', '-m', 'autoresearch', 'autoresearch-old')}"
            raise UserError("a branch named autoresearch is in the way", where=where, fix=fix)
        if self.has_branch(tag):
            raise UserError(taken, where=where, fix="choose another name with --tag")
        try:
            self._repo.move_ref(branch, new=head, old=NO_COMMIT, why="nightshift: start")
        except RefMovedError as error:
            raise UserError(taken, where=where, fix="choose another name with --tag") from error
        self._check_out(branch)
        return head

    def resume(self, tag: str, head_commit: str, undone: Collection[str] = ()) -> None:
        """Go on with a campaign whose recorded head is `head_commit`.

        A branch still at the head's parent is rolled forward: the loop died between recording a keep and moving the
        branch. One still at a commit of `undone` is taken back. A missing branch is made again. `project` should
        follow.

        Args:
            tag: of the campaign.
            head_commit: where the branch must be.
            undone: the keeps on top of it that the record has undone.

        Raises:
            HaltError: a person moved the branch or checked out something else, the recorded commit is gone, or another
                git process holds the repository.
        """
        check_tag(tag)
        self._clear_locks()
        branch = f"refs/heads/autoresearch/{tag}"
        parents = self._objects.parents_of(head_commit)
        found, checked_out = self._repo.ref(branch), self._repo.ref("HEAD")
        if self._repo.branch() != branch and (checked_out is None or checked_out not in {found, head_commit}):
            fix = f"put your work aside, then {self._repo.command('switch', branch.removeprefix('refs/heads/'))}"
            raise HaltError(f"the campaign's branch autoresearch/{tag} is not checked out", where=self._where, fix=fix)
        self._branch = branch
        if found is not None and found in undone:
            self._check_out(branch)
            self.take_back(found, head_commit)
        elif found != head_commit:
            old = found if found is not None and found in parents[:1] else NO_COMMIT if found is None else head_commit
            self._move(new=head_commit, old=old, expected=head_commit, why="nightshift: resume")
        if self._repo.branch() != branch:
            self._check_out(branch)

    def roll_back(self, tag: str, head_commit: str) -> dict[str, str]:
        """Take a campaign's branch back to `head_commit` when only commits of the loop's own have come after it.

        train.py, results.tsv and the index follow where they are as one of those commits has them. `resume` should
        follow: it says so when the branch is somewhere else. Killed in between, it can be done again.

        Returns:
            The commits taken off, newest first: name to subject.

        Raises:
            HaltError: the recorded commit is gone, another git process holds the branch, or it moved meanwhile.
        """
        check_tag(tag)
        self._clear_locks()
        self._branch = f"refs/heads/autoresearch/{tag}"
        self._objects.parents_of(head_commit)
        found = self._repo.ref(self._branch)
        taken = self._own_commits(head_commit, found) if found is not None else {}
        if found is not None and taken:
            self._project(head_commit, None, list(taken))
            self._move(new=head_commit, old=found, expected=found, why="nightshift: restore")
        return taken

    def candidates(self) -> dict[str, str]:
        """The commits that are held for trials under way: name to subject."""
        # A power cut may have torn one of them: what git lists before it complains is listed.
        lines = self._repo.run("for-each-ref", "--format=%(objectname) %(subject)", _HELD).text.splitlines()
        return dict((commit, subject) for commit, _, subject in (line.partition(" ") for line in lines))

    def source(self, commit: str) -> str:
        """The text of the program at a commit.

        Raises:
            UserError: it has no such file, or not in UTF-8.
            HaltError: the commit is missing or damaged.
        """
        entry = self._objects.file(commit, self._file_name)
        if entry is None:
            fix = "choose a commit that has it"
            raise UserError(f"there is no {self._file_name} in the commit {commit[:12]}", where=self._where, fix=fix)
        try:
            return self._objects.read("blob", entry.sha).decode("utf-8")
        except UnicodeDecodeError as error:
            what = f"{self._file_name} is not UTF-8 text (byte {error.start})"
            raise UserError(what, where=self._where, fix="save it as UTF-8 and commit it") from error

    def commit_candidate(self, parent: str, source: str, message: str, when: datetime) -> str:
        """Commit a program beside the branch, held by `refs/nightshift/candidates/<its name>`.

        Args:
            parent: the incumbent's commit.
            source: the candidate's text.
            message: the commit message.
            when: the time of intent, with a time zone; never the current time of a replay.

        Returns:
            The commit's name: the same for the same arguments.

        Raises:
            HaltError: the disk is full, the parent is missing, or git failed.
        """
        tree = self._objects.with_files(parent, {self._file_name: source})
        commit = self._objects.commit(tree, [parent], message, when)
        self._repo.set_ref(_HELD + commit, commit)
        return commit

    def commit_keep(self, parent: str, source: str, results_tsv: str, message: str, when: datetime) -> str:
        """Make the commit that the branch will move to: program and results.tsv in one, flushed to disk.

        It is held like a candidate until `advance` has moved the branch to it.

        Args:
            parent: the commit that the branch is at.
            source: the kept program.
            results_tsv: the table of trials up to this one.
            message: with the result in trailers: see `commit_message`.
            when: as for `commit_candidate`.

        Returns:
            The commit's name: the same for the same arguments.

        Raises:
            HaltError: the disk is full, the parent is missing, or git failed.
        """
        tree = self._objects.with_files(parent, {self._file_name: source, RESULTS_FILE: results_tsv})
        commit = self._objects.commit(tree, [parent], message, when)
        files = (self._objects.file(commit, name) for name in (self._file_name, RESULTS_FILE))
        self._objects.flush([*(entry.sha for entry in files if entry), tree, commit])
        self._repo.set_ref(_HELD + commit, commit)
        return commit

    def advance(self, old: str, new: str) -> list[str]:
        """Move the branch from `old` to `new`, then the working tree and the index where nothing of a person's is lost.

        Doing it again is harmless.

        Returns:
            The files that a person changed, which were left as they are; both when another branch is checked out.

        Raises:
            HaltError: a person moved the branch, the disk is full, or another git process holds the branch.
        """
        self._move(new=new, old=old, expected=old, why="nightshift: keep", drop=_HELD + new)
        return self._project(new, None, [old])

    def take_back(self, kept: str, before: str) -> list[str]:
        """Move the branch from a commit whose keep is undone back to the one `before` it, after the working tree.

        In this order train.py is still a version of the branch's history whenever that is cut off. Doing it again is
        harmless.

        Returns:
            As `advance`.

        Raises:
            HaltError: as for `advance`.
        """
        if self._repo.is_at(self._branch, before):
            return []
        if not self._repo.is_at(self._branch, kept):
            raise self._moved(RefMovedError(self._branch, self._repo.ref(self._branch), kept), before)
        skipped = self._project(before, None, [kept])
        self._move(new=before, old=kept, expected=before, why="nightshift: keep undone")
        return skipped

    def discard(self, candidate: str) -> None:
        """Forget a candidate: its ref goes, and git collects the objects some weeks later. Doing it again is harmless.

        Raises:
            HaltError: another git process holds the ref.
        """
        self._repo.delete_refs(_HELD + candidate)

    def drop_candidates(self, *, keep: Collection[str] = ()) -> None:
        """Forget all candidates but those of trials still under way: a killed loop may have left some."""
        for ref in (self._repo.common_dir / _HELD).glob("*"):
            if ref.stat().st_size == 0:  # power was lost before it was on disk; git would complain of it for ever
                ref.unlink()
        listed = self._repo.need("for-each-ref", "--format=%(refname)", _HELD).text.split()
        self._repo.delete_refs(*(ref for ref in listed if ref.removeprefix(_HELD) not in keep))

    def project(self, head: str, results_tsv: str) -> list[str]:
        """Make the working tree agree with the recorded head: at start-up, and after any trial for results.tsv.

        Returns:
            The files that a person changed, which were left as they are.

        Raises:
            HaltError: a person moved the branch, the disk is full, or git failed.
        """
        if not self._repo.is_at(self._branch, head):
            raise self._moved(RefMovedError(self._branch, self._repo.ref(self._branch), head), head)
        self._worktree.sweep()
        return self._project(head, results_tsv.encode("utf-8"), None)

    @property
    def _where(self) -> str:
        return str(self._repo.path)

    def _clear_locks(self) -> None:
        wait_for_locks(self._repo.path, [self._repo.git_dir, self._repo.common_dir])

    def _own_commits(self, head: str, tip: str) -> dict[str, str]:
        """The commits from `head`, exclusive, to `tip`, newest first; none when a person's are among them."""
        lines = self._repo.need("rev-list", "--format=%P %ae %ce %s", f"{head}..{tip}").text.splitlines()
        commits = [name.removeprefix("commit ") for name in lines[::2]]
        begins = [f"{parent} {AUTHOR_EMAIL} {AUTHOR_EMAIL} " for parent in [*commits[1:], head]]
        found = dict(zip(commits, lines[1::2], strict=True))
        if not all(map(str.startswith, found.values(), begins)):
            return {}
        return {name: told.removeprefix(begin) for (name, told), begin in zip(found.items(), begins, strict=False)}

    def _check_out(self, branch: str) -> None:
        """Attach HEAD to a branch at the commit that is checked out: no file changes."""
        self._repo.need("symbolic-ref", "-m", "nightshift: start", "HEAD", branch)
        self._branch = branch

    def _move(self, *, new: str, old: str, expected: str, why: str, drop: str = "") -> None:
        try:
            self._repo.move_ref(self._branch, new=new, old=old, why=why, drop=drop)
        except RefMovedError as error:
            raise self._moved(error, expected) from error

    def _moved(self, error: RefMovedError, expected: str) -> HaltError:
        name, command = self._branch.removeprefix("refs/heads/"), self._repo.command
        if error.found is None:
            fix = f"make it again with {command('branch', name, expected[:12])}, then run again"
            return HaltError(f"somebody deleted the campaign's branch {name}", where=self._where, fix=fix)
        what = f"somebody moved the campaign's branch {name}: it is at {error.found[:12]}, not at {expected[:12]}"
        attached = self._repo.branch() == self._branch
        back = ("reset", "--keep", expected[:12]) if attached else ("branch", "--force", name, expected[:12])
        fix = (
            f"to go on from the record, save your commits with {command('branch', 'my-work', error.found[:12])}, "
            f"go back with {command(*back)} and run again; to go on from your commits, run with --fresh and a new --tag"
        )
        return HaltError(what, where=self._where, fix=fix)

    def _project(self, head: str, results: bytes | None, earlier: list[str] | None) -> list[str]:
        if self._repo.branch() != self._branch:
            return [self._file_name, RESULTS_FILE]
        versions = self._past if earlier is None else lambda: self._versions(earlier)
        return self._worktree.project(head, results, versions)

    def _versions(self, commits: list[str]) -> Versions:
        """What the two files were in some commits."""
        source = [self._objects.file(commit, self._file_name) for commit in commits]
        results = [self._objects.file(commit, RESULTS_FILE) for commit in commits]
        return Versions(
            source=frozenset(entry.sha if entry else None for entry in source),
            results=frozenset(entry.sha if entry else None for entry in results),
        )

    def _past(self) -> Versions:
        """What the two files were in the branch's recent history, the head included."""
        commits = self._repo.need("rev-list", "--first-parent", f"--max-count={_PAST_COMMITS}", self._branch).text
        return self._versions(commits.split())
