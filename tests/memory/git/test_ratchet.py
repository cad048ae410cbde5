import shutil
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from memory.git.ratchet import Ratchet, commit_message, init_workspace
from rails.errors import UserError
from tests.support.git_workspace import FILES, SOURCE, WHEN, git, refs, with_depth

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "my night, $HOME"
    init_workspace(path, FILES)
    return path


def keep(ratchet: Ratchet, parent: str, depth: int, results: str) -> str:
    """One kept trial, from the candidate to the advanced branch."""
    candidate = ratchet.commit_candidate(parent, with_depth(depth), f"depth={depth}", WHEN)
    kept = ratchet.commit_keep(parent, with_depth(depth), results, f"depth={depth}", WHEN)
    assert ratchet.advance(parent, kept) == []
    ratchet.discard(candidate)
    return kept


def test_init_makes_a_clean_repository_with_one_commit(workspace: Path) -> None:
    assert git(workspace, "status", "--porcelain") == ""
    assert git(workspace, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(workspace, "log", "--format=%an %ae %s") == "nightshift nightshift@localhost nightshift workspace"
    assert git(workspace, "ls-files").split() == sorted(FILES)
    assert git(workspace, "fsck", "--strict") == ""
    assert {name: (workspace / name).read_text() for name in FILES} == FILES


def test_start_branches_off_without_touching_a_file(workspace: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in workspace.iterdir() if path.is_file()}
    head = Ratchet(workspace, "train.py").start("night-1")
    assert refs(workspace) == {"refs/heads/main": head, "refs/heads/autoresearch/night-1": head}
    assert git(workspace, "symbolic-ref", "HEAD") == "refs/heads/autoresearch/night-1"
    assert Ratchet(workspace, "train.py").has_branch("night-1")
    assert not Ratchet(workspace, "train.py").has_branch("night-2")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_candidate_is_beside_the_branch_and_a_discard_leaves_no_ref(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    before = refs(workspace)
    candidate = ratchet.commit_candidate(head, with_depth(9), "try depth 9", WHEN)
    assert refs(workspace) == {**before, f"refs/nightshift/candidates/{candidate}": candidate}
    assert ratchet.source(candidate) == with_depth(9)
    assert ratchet.source(head) == SOURCE
    assert git(workspace, "diff", "--name-only", head, candidate) == "train.py"
    assert git(workspace, "status", "--porcelain") == ""
    ratchet.discard(candidate)
    ratchet.discard(candidate)
    assert refs(workspace) == before
    assert (workspace / "train.py").read_text() == SOURCE


def test_a_keep_is_one_commit_with_program_results_and_trailers(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    results = HEADER + "abc1234\t1.7\t0.1\tkeep\tdepth=5\n"
    message = commit_message("depth=5: better", "Why: deeper.", {"Nightshift-Trial": "7", "Nightshift-Metric": "1.7"})
    candidate = ratchet.commit_candidate(head, with_depth(5), "depth=5", WHEN)
    kept = ratchet.commit_keep(head, with_depth(5), results, message, WHEN)
    assert ratchet.advance(head, kept) == []
    ratchet.discard(candidate)

    assert refs(workspace) == {"refs/heads/main": head, "refs/heads/autoresearch/t": kept}
    assert git(workspace, "rev-list", "HEAD").split() == [kept, head]
    assert git(workspace, "diff", "--name-only", head, kept).split() == ["results.tsv", "train.py"]
    assert (workspace / "train.py").read_text() == with_depth(5)
    assert (workspace / "results.tsv").read_text() == results
    assert git(workspace, "status", "--porcelain") == ""
    assert git(workspace, "log", "-1", "--format=%(trailers)") == "Nightshift-Trial: 7\nNightshift-Metric: 1.7"
    assert git(workspace, "log", "-1", "--format=%an|%cn|%cI") == "nightshift|nightshift|2026-01-02T03:04:05+00:00"
    assert git(workspace, "fsck", "--strict", "--no-dangling") == ""


def test_a_whole_night_of_keeps_discards_and_projections(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    start = head = ratchet.start("t")
    results = HEADER
    for trial in range(1, 7):
        results += f"{trial:07d}\t1.{trial}\t0.1\tdiscard\tdepth={trial}\n"
        if trial % 3 == 0:
            head = keep(ratchet, head, trial, results)
        else:
            ratchet.discard(ratchet.commit_candidate(head, with_depth(trial), "try", WHEN))
        assert ratchet.project(head, results) == []
        assert (workspace / "results.tsv").read_text() == results
        assert ratchet.source(head) == (workspace / "train.py").read_text()
    assert git(workspace, "rev-list", "--count", f"{start}..HEAD") == "2"
    assert list(refs(workspace)) == ["refs/heads/autoresearch/t", "refs/heads/main"]
    assert git(workspace, "status", "--porcelain") == ""


def test_the_same_input_gives_the_same_names_twice_and_in_two_clones(workspace: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(workspace), "clone")
    git(workspace, "gc", "--quiet")  # one of the two reads packs, the other loose objects
    names: list[list[str]] = []
    for place in (workspace, tmp_path / "clone"):
        ratchet = Ratchet(place, "train.py")
        head = ratchet.start("t")
        for _ in range(2):
            candidate = ratchet.commit_candidate(head, with_depth(5), "ä ✓\n\n", WHEN)
            kept = ratchet.commit_keep(head, with_depth(5), HEADER, "kept", WHEN)
            names.append([head, candidate, kept])
    assert names == [names[0]] * 4


def test_only_the_instant_of_the_date_counts(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    elsewhere = WHEN.astimezone(timezone(timedelta(hours=-7))).replace(microsecond=999_999)
    same = [ratchet.commit_candidate(head, with_depth(5), "m", when) for when in (WHEN, elsewhere)]
    assert same[0] == same[1]
    assert ratchet.commit_candidate(head, with_depth(5), "m", WHEN + timedelta(seconds=1)) != same[0]
    with pytest.raises(ValueError, match="time zone"):
        ratchet.commit_candidate(head, with_depth(5), "m", datetime(2026, 1, 1))  # noqa: DTZ001


def test_git_makes_the_same_commit_from_the_same_content(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    ours = ratchet.commit_keep(head, with_depth(5), HEADER, "one\n\ntwo", WHEN)
    (workspace / "train.py").write_text(with_depth(5))
    (workspace / "results.tsv").write_text(HEADER)
    git(workspace, "add", "--all")
    tree = git(workspace, "write-tree")
    assert tree == git(workspace, "rev-parse", f"{ours}^{{tree}}")
    assert git(workspace, "cat-file", "commit", ours).splitlines() == [
        f"tree {tree}",
        f"parent {head}",
        "author nightshift <nightshift@localhost> 1767323045 +0000",
        "committer nightshift <nightshift@localhost> 1767323045 +0000",
        "",
        "one",
        "",
        "two",
    ]


def test_file_modes_links_folders_and_odd_names_of_a_person_survive(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "notes.txt").write_text("a folder that sorts next to train.py")
    (tmp_path / "train.py").write_text(SOURCE)
    (tmp_path / "train.py").chmod(0o755)
    (tmp_path / "link").symlink_to("train.py")
    (tmp_path / "ünï\tcode").write_text("odd")
    git(tmp_path, "init", "--quiet", "-b", "main")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "-m", "start")
    ratchet = Ratchet(tmp_path, "train.py")
    head = ratchet.start("t")
    before = git(tmp_path, "ls-tree", "-r", "-z", head)
    kept = keep(ratchet, head, 5, HEADER)
    after = git(tmp_path, "ls-tree", "-r", "-z", kept)
    changed = {line for line in after.split("\0") if line} - {line for line in before.split("\0") if line}
    assert sorted(line.split("\t")[1] for line in changed) == ["results.tsv", "train.py"]
    assert all(line.startswith("100755") for line in changed if line.endswith("train.py"))
    assert (tmp_path / "train.py").stat().st_mode & 0o111
    assert git(tmp_path, "status", "--porcelain") == ""
    assert git(tmp_path, "fsck", "--strict", "--no-dangling") == ""


def test_a_linked_working_tree_can_be_a_workspace(workspace: Path, tmp_path: Path) -> None:
    git(workspace, "worktree", "add", "--quiet", "-b", "second", str(tmp_path / "linked"))
    ratchet = Ratchet(tmp_path / "linked", "train.py")
    head = ratchet.start("t")
    kept = keep(ratchet, head, 5, HEADER)
    assert ratchet.project(kept, HEADER) == []
    assert git(tmp_path / "linked", "status", "--porcelain") == ""
    assert git(workspace, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert (workspace / "train.py").read_text() == SOURCE


def test_packed_refs_and_objects_make_no_difference(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    candidate = ratchet.commit_candidate(head, with_depth(5), "m", WHEN)
    git(workspace, "gc", "--quiet")
    git(workspace, "pack-refs", "--all", "--prune")
    assert ratchet.source(candidate) == with_depth(5)
    head = keep(ratchet, head, 5, HEADER)
    ratchet.discard(candidate)
    assert list(refs(workspace)) == ["refs/heads/autoresearch/t", "refs/heads/main"]
    assert ratchet.project(head, HEADER) == []


def test_leftover_candidates_can_be_dropped_but_for_some(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    made = [ratchet.commit_candidate(head, with_depth(depth), "m", WHEN) for depth in range(5, 9)]
    broken = workspace / ".git/refs/nightshift/candidates" / ("0" * 39 + "1")
    broken.touch()  # what a power cut can leave
    ratchet.drop_candidates(keep={made[1]})
    assert sorted(refs(workspace))[2:] == [f"refs/nightshift/candidates/{made[1]}"]
    assert not broken.exists()
    ratchet.drop_candidates()
    assert len(refs(workspace)) == 2


def test_a_program_that_is_not_text_is_named(workspace: Path) -> None:
    (workspace / "train.py").write_bytes(b"x = '\xff'\n")
    git(workspace, "commit", "--quiet", "--all", "-m", "latin")
    ratchet = Ratchet(workspace, "train.py")
    with pytest.raises(UserError, match=r"train.py is not UTF-8 text \(byte 5\)"):
        ratchet.source(ratchet.start("t"))


def test_line_endings_go_in_and_out_unchanged(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    source = "a = 1\r\nb = 'é'\n"
    assert ratchet.source(ratchet.commit_candidate(ratchet.start("t"), source, "m", WHEN)) == source


def test_a_moved_workspace_goes_on(workspace: Path, tmp_path: Path) -> None:
    head = Ratchet(workspace, "train.py").start("t")
    shutil.move(workspace, tmp_path / "elsewhere")
    ratchet = Ratchet(tmp_path / "elsewhere", "train.py")
    ratchet.resume("t", head)
    assert keep(ratchet, head, 5, HEADER) == refs(tmp_path / "elsewhere")["refs/heads/autoresearch/t"]


@pytest.mark.parametrize(
    "body", ["Nightshift-Metric: 0.0001", "x\n---\ny: z", "a\n\nNightshift-Trial: 99\nNightshift-Metric: 0", "\r\n\r"]
)
def test_no_text_of_a_model_can_forge_a_trailer(workspace: Path, body: str) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    subject = "s" * 300 + "\nNightshift-Trial: 98"
    message = commit_message(subject, body, {"Nightshift-Trial": "7\nNightshift-Metric: 0", "Nightshift-Metric": "1.5"})
    kept = ratchet.commit_keep(head, with_depth(5), HEADER, message, datetime.now(UTC))
    ratchet.advance(head, kept)
    candidate = ratchet.commit_candidate(head, with_depth(5), commit_message("subject", body, {}), WHEN)
    assert git(workspace, "log", "-1", "--format=%(trailers)", candidate) == ""
    shown = git(workspace, "log", "-1", "--format=%(trailers)").splitlines()
    assert shown == ["Nightshift-Trial: 7 Nightshift-Metric: 0", "Nightshift-Metric: 1.5"]
    assert len(git(workspace, "log", "-1", "--format=%s")) <= 100
