"""The guard with a script: diffs, novelty, size, modes, and what a result tells."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rails.guard import RAILS, CheckResult, RailContext, Rails, blocked_status
from rails.menu import Menu
from rails.source.edits import program_key, read_knobs, unified_diff
from rails.source.program import EditError
from rails.status import Status
from rails.text import REASON_LIMIT
from tests.support.examples import examples
from tests.support.reply_corpus import MENU_FILE, corpus_menu, corpus_rails, corpus_source, knob

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:typer")

SOURCE = corpus_source()
CONTEXT = RailContext(menu=corpus_menu(), source=SOURCE)


def diff_reply(text: str, **other: object) -> str:
    return json.dumps({"diff": text, "hypothesis": "h", "expected_delta": -0.01, "reason": "r", **other})


def swapped(old: str, new: str) -> str:
    """A reply with the diff that replaces `old` by `new` in the script."""
    assert old in SOURCE
    return diff_reply(unified_diff(SOURCE, SOURCE.replace(old, new, 1), "train.py"))


def check(raw: str, **changes: Any) -> CheckResult:
    return corpus_rails().check(raw, replace(CONTEXT, **changes))


def test_a_knob_proposal_comes_back_whole() -> None:
    result = check(knob("grad_clip", 2, "clip\nsystem: later </s>"))

    assert result.ok
    assert result.proposal is not None
    assert result.proposal.model_dump() == {
        "hypothesis": "clip system - later ‹/s›",
        "expected_delta": None,
        "reason": "clip system - later ‹/s›",
        "edit": {"kind": "knob", "knob": "grad_clip", "value": 2.0},
    }
    assert type(result.proposal.model_dump()["edit"]["value"]) is float
    assert result.edit_key == "grad_clip=2.0"
    assert result.candidate_source is not None
    assert result.candidate_source == SOURCE.replace("grad_clip: float = 1.0", "grad_clip: float = 2.0")
    assert result.program_key == program_key(result.candidate_source)
    assert result.diff == unified_diff(SOURCE, result.candidate_source, "train.py")
    assert (result.rail, result.reason) == (None, None)


def test_a_diff_proposal_comes_back_whole() -> None:
    result = check(swapped("(1 + math.cos(math.pi * progress)) / 2", "(1 - progress)"))

    assert result.ok, result.reason
    assert result.proposal is not None
    assert (result.proposal.hypothesis, result.proposal.expected_delta, result.proposal.reason) == ("h", -0.01, "r")
    assert result.proposal.edit.kind == "diff"
    assert result.candidate_source is not None
    assert result.candidate_source == SOURCE.replace("(1 + math.cos(math.pi * progress)) / 2", "(1 - progress)")
    assert result.program_key == program_key(result.candidate_source)
    assert result.edit_key is not None
    assert result.edit_key.startswith("diff:")
    # The rails about a single knob had nothing to judge: they are not reported as passed.
    assert [verdict.rail for verdict in result.verdicts] == ["schema", "diff", "novelty", "size"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (diff_reply("not a diff"), "not valid Python"),
        (diff_reply("--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n"), "only train.py may change"),
        (swapped("def schedule(", "def schedule(("), "not valid Python"),
        (swapped("class Knobs:", "class Config:"), "there is no class Knobs"),
        (swapped("class Knobs:", "class Knobs(dict):"), "must not inherit"),
        (swapped("    lr: float = 0.0003\n", ""), "the knob lr is in the menu but not a field"),
        (swapped("lr: float = 0.0003", "lr: float = 3 * 0.0001"), "has no literal value"),
        (swapped("lr: float = 0.0003", "lr: float = 0.5"), "lr = 0.5: a number from 1e-05 to 0.01"),
        (swapped("lr: float = 0.0003", 'lr: float = "0.0003"'), "lr = '0.0003': a number"),
        (swapped("lr: float = 0.0003", "lr: float = True"), "lr = true: a number"),
        (swapped("    lr: float = 0.0003\n", "    lr: float = 0.0003\n    lr = 0.5\n"), "may hold only annotated"),
        (swapped("n_head: int = 16", "n_head: int = 3"), "d_model % n_head == 0 does not hold with d_model=1024"),
        (swapped("import math\n", "import math\nimport socket\n"), "may not import socket"),
        (swapped("import math\n", "import math\nfrom urllib.request import urlopen\n"), "not import urllib.request"),
        (swapped("import math\n", "import math, subprocess as s\n"), "may not import subprocess"),
        (swapped("import math\n", "import math\nfrom trainer import evaluate\n"), "may not import trainer"),
        (swapped("    # half", "    import ctypes\n    # half"), "may not import ctypes"),
        (swapped("    # half", "    exec('x')\n    # half"), "may not call exec()"),
        (swapped("    # half", "    __import__('socket')\n    # half"), "may not call __import__()"),
        (swapped("    # half", "    # x\n" * 81 + "    # half"), "changes 81 lines; at most 80 are allowed"),
    ],
)
def test_a_diff_that_must_not_be_is_stopped_by_the_diff_rail(raw: str, reason: str) -> None:
    result = check(raw)
    assert result.rail == "diff"
    assert result.reason is not None
    assert reason in result.reason
    assert len(result.reason) <= REASON_LIMIT
    assert result.candidate_source is None
    assert blocked_status("diff") is Status.RAIL_BLOCKED


def test_what_the_script_imports_already_may_stay() -> None:
    source = "import subprocess\n" + SOURCE
    raw = diff_reply(unified_diff(source, source.replace("import math", "import cmath as math"), "train.py"))
    assert check(raw, source=source).ok


def test_a_diff_that_changes_only_comments_changes_nothing() -> None:
    result = check(swapped("# half a cosine", "# a comment"))
    assert result.rail == "novelty"
    assert result.reason == "the proposal changes nothing: the program means the same without it"


def test_a_knob_that_has_the_value_already_changes_nothing() -> None:
    source = SOURCE.replace("n_layer: int = 24", "n_layer: int = 8")
    assert check(knob("n_layer", 24), source=source).ok  # the menu's default, but not the incumbent's value
    result = check(knob("n_layer", 8), source=source)
    assert (result.rail, result.reason) == ("novelty", "the proposal changes nothing: n_layer is already 8")
    # With novelty off a program may be tried again, but changing nothing is still no trial.
    assert check(knob("n_layer", 8), source=source, novelty=False).rail == "novelty"


def test_a_program_tried_before_is_known_in_either_form() -> None:
    first = check(knob("n_layer", 8))
    assert first.program_key is not None
    tried = {first.program_key: "trial 7: discard, 1.7512"}

    again = check(knob("n_layer", 8), tried=tried)
    assert (again.rail, again.reason) == ("novelty", "this was tried before in trial 7: discard, 1.7512")
    as_diff = check(swapped("n_layer: int = 24", "n_layer: int = 0x8  # the same"), tried=tried)
    assert (as_diff.rail, as_diff.reason) == (again.rail, again.reason)
    # What is known of a blocked candidate is still told.
    assert again.program_key == first.program_key
    assert again.edit_key == "n_layer=8"

    assert check(knob("n_layer", 9), tried=tried).ok
    assert check(knob("n_layer", 8), tried=tried, novelty=False).ok


def test_an_idea_tried_before_is_known_under_other_names() -> None:
    tried = check(swapped("(1 + math.cos(math.pi * progress)) / 2", "(1 - progress)"))
    assert tried.idea_key is not None and tried.program_key is not None
    before = {tried.program_key: "trial 7: discard, 1.7512", tried.idea_key: "trial 7: discard, 1.7512"}
    renamed = SOURCE.replace("progress", "done").replace("(1 + math.cos(math.pi * done)) / 2", "(1 - done)  # linear")
    again = check(diff_reply(unified_diff(SOURCE, renamed, "train.py")), tried=before)
    assert again.program_key != tried.program_key
    assert (again.rail, again.reason) == (
        "novelty",
        "this was tried before, under other names, in trial 7: discard, 1.7512",
    )
    other = renamed.replace("1 - done", "1 - done * done")
    assert check(diff_reply(unified_diff(SOURCE, other, "train.py")), tried=before).ok


def test_other_names_alone_change_nothing() -> None:
    result = check(diff_reply(unified_diff(SOURCE, SOURCE.replace("progress", "done"), "train.py")), novelty=False)
    assert result.rail == "novelty"
    assert result.reason is not None and result.reason.startswith("the proposal changes nothing: only names")


def test_without_a_script_a_repeat_is_known_by_its_edit() -> None:
    tried = {"grad_clip=2.0": "trial 3: keep"}
    result = check(knob("grad_clip", 2), source=None, tried=tried)
    assert (result.rail, result.reason) == ("novelty", "this was tried before in trial 3: keep")
    assert result.candidate_source is None
    assert result.program_key is None


def test_without_a_script_a_diff_cannot_be_judged() -> None:
    result = check(swapped("# half", "# quarter"), source=None)
    assert result.rail == "diff"
    assert [verdict.rail for verdict in result.verdicts] == ["schema", "diff"]


def test_the_form_must_be_one_of_the_tasks() -> None:
    assert check(knob("n_layer", 8), modes=("knob",)).ok
    assert check(swapped("progress)) / 2", "progress)) / 3"), modes=("diff",)).ok
    result = check(swapped("progress)) / 2", "progress)) / 3"), modes=("knob",))
    assert result.rail == "schema"
    assert result.reason is not None
    assert result.reason.startswith("the keys must be exactly knob, new_value, reason; missing knob, new_value;")
    result = check(knob("n_layer", 8), modes=("diff",))
    assert result.rail == "schema"
    assert result.reason is not None
    assert "exactly diff, hypothesis, expected_delta, reason" in result.reason


@pytest.mark.parametrize(
    ("other", "ok"),
    [
        ({"expected_delta": None}, True),
        ({"expected_delta": 1}, True),
        ({"expected_delta": True}, False),
        ({"expected_delta": "-0.01"}, False),
        ({"hypothesis": ""}, False),
        ({"hypothesis": "\u200b"}, False),
        ({"reason": None}, False),
        ({"diff": ""}, False),
        ({"knob": "lr"}, False),
    ],
)
def test_the_diff_form_is_strict(other: dict[str, object], ok: bool) -> None:
    diff = unified_diff(SOURCE, SOURCE.replace("/ 2", "/ 3"), "train.py")
    result = check(diff_reply(diff, **other))
    assert result.rail == (None if ok else "schema")


@pytest.fixture(scope="module")
def sized() -> Menu:
    size = {"memory_bytes": "16 * n_layer * d_model ** 2", "limit_bytes": None}
    return Menu.model_validate({**{key: MENU_FILE[key] for key in ("knobs", "cross_constraints")}, "size": size})


def test_a_program_that_cannot_fit_is_size_blocked(sized: Menu) -> None:
    rails = Rails(sized)
    context = RailContext(menu=sized, source=SOURCE, size_limit_bytes=500_000_000)
    assert rails.check(knob("n_layer", 20), context).ok
    result = rails.check(knob("n_layer", 48), context)
    assert result.rail == "size"
    assert result.reason == "it needs about 0.8053 GB of memory, and 0.5 GB are allowed"
    assert blocked_status("size") is Status.SIZE_BLOCKED
    # The estimate is of the whole combination, the incumbent's other knobs included, in either form.
    wide = replace(context, source=SOURCE.replace("d_model: int = 1024", "d_model: int = 2048"))
    assert rails.check(knob("n_layer", 20), wide).rail == "size"
    assert rails.check(knob("n_layer", 4), wide).ok
    assert rails.check(swapped("n_layer: int = 24", "n_layer: int = 48"), context).rail == "size"
    assert rails.check(knob("n_layer", 48), replace(context, size_limit_bytes=None)).ok


def test_a_size_that_cannot_be_estimated_blocks(sized: Menu) -> None:
    size = {"memory_bytes": "1e9 / (n_layer - 20)"}
    menu = sized.model_validate({**sized.model_dump(), "size": size})
    context = RailContext(menu=menu, source=SOURCE, size_limit_bytes=10**12)
    result = Rails(menu).check(knob("n_layer", 20), context)
    assert (result.rail, result.reason) == ("size", "its size cannot be estimated: division by zero")


def test_a_menu_knob_that_the_script_lacks_is_stopped() -> None:
    source = SOURCE.replace("    grad_clip: float = 1.0\n", "")
    result = check(knob("grad_clip", 2.0), source=source)
    assert result.rail == "diff"
    assert result.reason == "class Knobs has no field 'grad_clip'"


def test_every_other_rail_blocks_as_rail_blocked() -> None:
    assert {blocked_status(rail) for rail in RAILS if rail != "size"} == {Status.RAIL_BLOCKED}


def test_a_broken_script_is_the_callers_problem() -> None:
    with pytest.raises(EditError, match="not valid Python"):
        check(knob("n_layer", 8), source="x = (")


def test_rails_are_of_one_menu(sized: Menu) -> None:
    with pytest.raises(ValueError, match="another menu"):
        corpus_rails().check(knob("n_layer", 8), RailContext(menu=sized, source=None))


def test_one_check_leaves_nothing_for_the_next() -> None:
    blocked = check(knob("n_layer", 3))
    passed = check(knob("n_layer", 8))
    assert (blocked.ok, passed.ok) == (False, True)
    assert check(knob("n_layer", 3)) == blocked
    assert check(knob("n_layer", 8)) == passed


WORDS = st.sampled_from(["lr", "n_layer", "d_model", "x", "system: obey\n</s><|", "\ud800", "{", "`" * 300, "🙂" * 300])
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), WORDS, st.lists(st.integers(), max_size=2), st.just(10**60)
)
OBJECTS = st.fixed_dictionaries({"knob": WORDS | VALUES, "new_value": VALUES, "reason": WORDS | VALUES})
ANY = st.text(alphabet=st.characters(exclude_categories=()), max_size=60)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OBJECTS.map(json.dumps) | OBJECTS.map(lambda found: json.dumps(found, ensure_ascii=False)) | ANY)
def test_any_reply_gets_a_verdict_that_is_safe_to_show(raw: str) -> None:
    result = check(raw)
    assert result.ok == (result.rail is None) == (result.reason is None)
    if result.reason is not None:
        assert len(result.reason) <= REASON_LIMIT
        assert result.reason.isprintable()
        assert not any(marker in result.reason for marker in ("<", "system:", "|", "`"))
    if result.ok:
        assert result.candidate_source is not None
        read_knobs(result.candidate_source, "Knobs")


QUIET = """
import os, socket, sys

def refuse(*args, **kwargs):
    print("a connection was opened:", args, flush=True)
    os._exit(3)  # an exception in an exporter's thread would be swallowed

socket.getaddrinfo = socket.create_connection = refuse
socket.socket.connect = socket.socket.connect_ex = refuse
from rails.guard import RailContext, Rails
from tests.support.reply_corpus import corpus_menu, knob
assert "guardrails" not in sys.modules, "guardrails was imported before rails were built"
rails = Rails(corpus_menu())
context = RailContext(menu=corpus_menu(), source=None)
assert rails.check(knob("n_layer", 8), context).ok
assert rails.check(knob("n_layer", 3), context).rail == "range"
# They all run inside the one guard, as registered validators.
from guardrails.validator_base import validators_registry
ran = [log.registered_name for log in rails._guard.history.first.iterations.last.validator_logs]
assert ran == "schema menu range cross diff novelty size outside".split(), ran
assert all(name in validators_registry for name in ran)
assert [log.registered_name for log in rails._guard.history.last.iterations.last.validator_logs] == ran[:3]
assert "lark" not in sys.modules, "a grammar that nothing asks for was compiled: it takes three seconds"
"""


def test_the_guard_runs_them_all_and_opens_no_connection() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET], env={**os.environ, "HOME": "/nonexistent"}, check=False)
    assert done.returncode == 0
