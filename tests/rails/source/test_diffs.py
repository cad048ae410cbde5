"""Unified diffs: ours apply to give the new text back, git agrees, and anything but one file's lines is refused."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rails.source.code_reply import apply_code
from rails.source.diffs import changed_lines, unified_diff
from rails.source.program import EditError

# Few different lines, so that equal ones repeat, and every character that str.splitlines would also break at.
LINES = st.lists(st.sampled_from(["a", "b", "", "c c", "-x", "+++ y", "@@ -1 +1 @@", "\\ z", "\x0c\x1c\u2028"]))
TEXTS = st.tuples(LINES, st.booleans()).map(lambda part: "\n".join(part[0]) + ("\n" if part[1] and part[0] else ""))
OLD = "".join(f"line {number}\n" for number in range(1, 21))


@given(TEXTS, TEXTS)
def test_our_own_diff_gives_the_new_text_back(old: str, new: str) -> None:
    diff = unified_diff(old, new, "train.py")
    assert (diff == "") == (old == new)
    if diff:
        assert apply_code(old, diff, "train.py") == new


@given(st.text(alphabet="-+@ \\ab\n/train.py1,", max_size=80), TEXTS)
def test_any_text_applies_or_gives_a_reason(diff: str, source: str) -> None:
    for head in ("", "--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n"):
        try:
            apply_code(source, head + diff, "train.py")
        except EditError as error:
            assert error.what.isprintable()


def test_git_agrees(tmp_path: Path) -> None:
    new = OLD.replace("line 3\n", "").replace("line 9\n", "line 9\nadded\n").replace("line 20\n", "the end")
    diff = unified_diff(OLD, new, "train.py")
    (tmp_path / "train.py").write_text(OLD)
    subprocess.run(["git", "apply", "-"], input=diff.encode(), cwd=tmp_path, check=True)
    assert (tmp_path / "train.py").read_text() == new
    assert apply_code(OLD, diff, "train.py") == new
    assert changed_lines(diff) == 4


def hunk(body: str, header: str = "@@ -2,3 +2,3 @@") -> str:
    return f"--- a/train.py\n+++ b/train.py\n{header}\n{body}"


GOOD = " line 2\n-line 3\n+LINE 3\n line 4\n"
EXPECTED = OLD.replace("line 3\n", "LINE 3\n")


@pytest.mark.parametrize(
    "diff",
    [
        hunk(GOOD),
        hunk(GOOD, "@@ -2,3 +2,3 @@ class Knobs:"),
        hunk(GOOD, "@@ -12,30 +1 @@"),  # models cannot count
        hunk(GOOD).rstrip("\n"),
        hunk(GOOD + "\n\n"),
        "diff --git a/train.py b/train.py\nindex 123..456 100644\n" + hunk(GOOD),
        "\n" + hunk(GOOD).replace("a/train.py", "train.py").replace("b/train.py", "train.py"),
        hunk(GOOD).replace("a/train.py", "a/train.py\t2026-01-01 00:00:00"),
        hunk(GOOD.replace("line 4", "line 4 ")),
        hunk(GOOD).removeprefix("--- a/train.py\n+++ b/train.py\n"),
        hunk(GOOD).replace("@@ -2,3 +2,3 @@\n", ""),
        hunk(GOOD, "@@ ... @@"),
    ],
)
def test_forms_that_are_taken(diff: str) -> None:
    assert apply_code(OLD, diff, "train.py") == EXPECTED


def test_several_hunks() -> None:
    diff = hunk(GOOD + "@@ -10,2 +10,3 @@\n line 10\n+more\n line 11\n@@ -20,0 +22,1 @@\n+last\n")
    assert apply_code(OLD, diff, "train.py") == EXPECTED.replace("line 10\n", "line 10\nmore\n") + "last\n"
    # One that changes nothing is passed over; the order does not matter.
    diff = hunk("@@ -10,2 +10,3 @@\n line 10\n+more\n line 11\n@@ -15,1 +15,1 @@\n line 15\n@@ -2,3 +2,3 @@\n" + GOOD)
    assert apply_code(OLD, diff, "train.py") == EXPECTED.replace("line 10\n", "line 10\nmore\n")


def test_windows_line_ends_follow_the_source() -> None:
    source, expected = OLD.replace("\n", "\r\n"), EXPECTED.replace("\n", "\r\n")
    for diff in (unified_diff(source, expected, "train.py"), hunk(GOOD), hunk(GOOD).replace("\n", "\r\n")):
        assert apply_code(source, diff, "train.py") == expected
    assert apply_code(OLD, hunk(GOOD).replace("\n", "\r\n"), "train.py") == EXPECTED


def test_a_blank_line_stands_for_an_empty_context_line() -> None:
    assert apply_code("a\n\nb\n", hunk(" a\n\n-b\n+c\n", "@@ -1,3 +1,3 @@"), "train.py") == "a\n\nc\n"


@pytest.mark.parametrize(
    ("diff", "reason"),
    [
        ("--- a/train.py\n+++ b/train.py\n", "no line that it adds or removes"),
        ("--- a/train.py\n+++ b/train.py\n@@ ... @@\n-a\n", "no line is 'a', nor much like it"),
        (hunk(" line 2\n"), "no line that it adds or removes"),
        (hunk(GOOD.replace("line 2", "line two")), "the diff does not fit: no line is 'line two'; the nearest, line"),
        (hunk(GOOD + GOOD), "line 4, 'line 4', is followed by 'line 5', not by 'line 2'"),
        (hunk(GOOD + "@@ -2,3 +2,3 @@\n" + GOOD), "two of the edits change the same lines"),
        (hunk("+x\n", "@@ -99,0 +99 @@"), "points outside the file"),
        (hunk("+x\n", "@@ @@"), "names no lines of the file"),
        (hunk("*line\n+more\n"), r"no line is '\*line'"),
        (hunk(GOOD).replace("b/train.py", "b/evaluate.py"), "touches 'b/evaluate.py'; only train.py may change"),
        (hunk(GOOD).replace("a/train.py", "/dev/null"), "touches '/dev/null'"),
        (hunk(GOOD).replace("b/train.py", "/dev/null"), "touches '/dev/null'"),
        (hunk(GOOD).replace("b/train.py", "b/../train.py"), "only train.py may change"),
        (hunk(GOOD).replace("b/train.py", "/etc/train.py"), "only train.py may change"),
        (hunk(GOOD) + hunk(GOOD).replace("train.py", "evaluate.py"), "only train.py may change"),
        (hunk(GOOD) + "diff --git a/x b/x\nnew file mode 100644\n", "not rename, create, delete or chmod"),
        ("old mode 100644\nnew mode 100755\n" + hunk(GOOD), "not rename, create, delete or chmod"),
        ("diff --git a/train.py b/x.py\nrename from train.py\nrename to x.py\n", "not rename"),
        ("diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n", "not rename, create"),
        ("diff --git a/x b/x\nGIT binary patch\n", "not rename, create"),
    ],
)
def test_anything_else_is_refused_with_a_reason(diff: str, reason: str) -> None:
    with pytest.raises(EditError, match=reason):
        apply_code(OLD, diff, "train.py")


def test_a_hunk_without_a_fitting_line_number_needs_a_unique_place() -> None:
    source = "a\nb\na\nb\n"
    with pytest.raises(EditError, match="fits in 2 places"):
        apply_code(source, hunk(" a\n-b\n+c\n", "@@ -9,2 +9,2 @@"), "train.py")
    assert apply_code(source, hunk(" a\n-b\n+c\n", "@@ -3,2 +3,2 @@"), "train.py") == "a\nb\na\nc\n"
