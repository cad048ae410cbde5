"""results.tsv: five columns, decided trials only, empty cells for failures."""

from hypothesis import given
from hypothesis import strategies as st

from memory.exports.results_tsv import COLUMNS, ResultsTable, render_results_tsv
from memory.records import Phase
from rails.status import FINISHED, Status
from tests.support.rows import make_campaign, make_records, make_trial


def test_one_row_a_decided_trial():
    records = make_records(30)
    waiting = make_trial(records.campaign, 31)
    text = render_results_tsv([waiting, *reversed(records.trials)], {records.trials[0].trial_id: 3 * 2**29})
    assert text.endswith("\n")
    lines = [line.split("\t") for line in text.splitlines()]
    assert tuple(lines[0]) == COLUMNS
    assert len(lines) == 32
    assert lines[1][2:] == ["1.5", "baseline", "baseline"]
    for trial, cells in zip(records.trials, lines[1:], strict=True):
        assert len(cells) == 5
        assert cells[0] == (trial.candidate_commit or "")[:7]
        assert (cells[1] == "") == (trial.status not in FINISHED)
        assert cells[3] == trial.status


def test_cells_cannot_be_broken_by_text():
    campaign = make_campaign()
    trial = make_trial(
        campaign,
        1,
        phase=Phase.DECIDED,
        status=Status.CRASH,
        reason="a\tb\nc",
        edit_key="lr=\t1",
        candidate_commit="f" * 40,
    )
    assert render_results_tsv([trial]).splitlines()[1].split("\t") == ["fffffff", "", "", "crash", "lr= 1: a b c"]


CHANGES = st.lists(
    st.tuples(st.integers(0, 39), st.sampled_from(["shown", "metric", "peak", "undecided"])), max_size=12
)


@given(CHANGES)
def test_written_anew_after_every_change_it_is_the_same_as_made_from_nothing(changes: list[tuple[int, str]]) -> None:
    rows, shown, peaks, table = list(make_records(40).trials), 1, dict[str, int](), ResultsTable()
    for number, (at, what) in enumerate(changes):
        trial = rows[at]
        if what == "shown":
            shown = at + 1  # it may also shrink: after a rollback
        elif what == "peak":
            peaks[trial.trial_id] = number * 2**30
        else:
            other = {"metric": 0.5 + number} if what == "metric" else {"phase": Phase.PROPOSED}
            rows[at] = trial.model_copy(update=other)
        assert table.render(rows[:shown], peaks) == render_results_tsv(rows[:shown], peaks)
