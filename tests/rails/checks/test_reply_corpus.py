"""The corpus of raw replies: every case is judged by the rail that it names, with and without a script."""

import json
from pathlib import Path

import pytest

from rails.guard import RAILS, RailContext
from rails.menu import load_menu
from rails.text import REASON_LIMIT
from tests.support.reply_corpus import CASES, MENU_FILE, Case, corpus_menu, corpus_rails, corpus_source

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:typer")

CONTEXTS = {
    "menu alone": RailContext(menu=corpus_menu(), source=None),
    "with a script": RailContext(menu=corpus_menu(), source=corpus_source()),
}


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=list(CONTEXTS))
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_case_is_judged_by_the_rail_it_names(case: Case, context: RailContext) -> None:
    result = corpus_rails().check(case.raw, context)

    assert (result.rail, result.ok) == (case.rail, case.rail is None), result.reason
    judged = [verdict.rail for verdict in result.verdicts]
    # In order, and nothing behind the first failure is reported at all, let alone as ok.
    known = [rail for rail in RAILS if rail != "outside"]  # which has nothing to judge where nothing was recorded
    assert judged == (known[: known.index(case.rail) + 1] if case.rail else known)
    assert [verdict.rail for verdict in result.verdicts if not verdict.ok] == ([case.rail] if case.rail else [])
    if case.rail is None:
        assert result.reason is None
        assert result.proposal is not None
    else:
        assert result.reason
        assert len(result.reason) <= REASON_LIMIT
        assert result.reason.isprintable()
        assert result.reason == result.verdicts[-1].reason


def test_the_corpus_has_cases_of_every_rail_it_can_have() -> None:
    assert {case.rail for case in CASES} == {None, "schema", "menu", "range", "cross", "novelty"}
    assert len(CASES) >= 27
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_menu_file_loads_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "menu.json"
    path.write_text(json.dumps(MENU_FILE))
    assert load_menu(path) == corpus_menu()
