"""results.tsv: five columns, decided trials only, empty cells for failures."""

from memory.records import Phase
from memory.results_tsv import COLUMNS, render_results_tsv
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
