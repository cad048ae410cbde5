"""Exports read back: whole from JSONL, trials and measurements from Parquet, and what a table can hold from a table."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.exports.formats import ExportFormat
from memory.exports.write import export_records, export_text
from memory.figures.analysis import TrialRow, rows_of
from memory.importers.log import Log
from memory.importers.reading import read_log
from memory.importers.tidying import tidied
from memory.record_set import RecordSet
from memory.records import Call, Curve, Event, Lesson, LineageBlock, Measurement, Phase, Span, Trial, Verdict
from rails.errors import HaltError
from rails.status import FINISHED, Status
from tests.support.foreign_logs import menu_log, narrow_log, wide_log
from tests.support.many_trials import many_trials
from tests.support.rows import (
    CampaignRecords,
    campaigns_of_records,
    make_campaign,
    make_records,
    make_trial,
    records_of,
)

LAX = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def record_set(made: CampaignRecords, *, events: list[Event] | None = None) -> RecordSet:
    return RecordSet(
        campaign=made.campaign,
        trials=made.trials,
        measurements=made.measurements,
        curves=made.curves,
        calls=made.calls,
        verdicts=made.verdicts,
        lessons=made.lessons,
        spans=made.spans,
        lineage_blocks=made.blocks,
        events=events or [],
    )


def back(records: RecordSet, export_format: ExportFormat, folder: Path) -> Log:
    path = folder / "export"
    export_records(records, export_format, path)
    return read_log(path)


def as_imported(records: RecordSet, path: Path) -> RecordSet:
    """The records as they are after an import: the campaign says from where."""
    source = records.campaign.source or str(path)
    return replace(records, campaign=records.campaign.model_copy(update={"source": source}))


@LAX
@given(campaigns_of_records(12))
def test_jsonl_loses_nothing(tmp_path: Path, made: CampaignRecords) -> None:
    records = record_set(made)
    log = back(records, ExportFormat.JSONL, tmp_path)
    assert log.records == as_imported(records, tmp_path / "export")
    assert (log.unreadable, log.notes) == ([], [])


@LAX
@given(data=st.data())
def test_jsonl_loses_nothing_whatever_the_records_hold(tmp_path: Path, data: st.DataObject) -> None:
    """Any text, any number, any zone, in every table at once; but that short texts are one line."""
    campaign = make_campaign()

    def own(kind: Any, **changes: Any) -> Any:
        return tidied(data.draw(records_of(kind)).model_copy(update=changes), Counter())

    trial = own(Trial, campaign_id=campaign.campaign_id, parent_trial_id=None)
    belongs = {"trial_id": trial.trial_id}
    here = {"campaign_id": campaign.campaign_id}
    records = RecordSet(
        campaign=campaign,
        trials=[trial],
        measurements=[own(Measurement, **belongs, **here)],
        curves=[own(Curve, **belongs)],
        calls=[own(Call, **belongs)],
        verdicts=[own(Verdict, **belongs)],
        lessons=[own(Lesson, **belongs, **here)],
        spans=[own(Span, **belongs)],
        lineage_blocks=[own(LineageBlock, **here)],
        events=[own(Event, **here)],
    )
    log = back(records, ExportFormat.JSONL, tmp_path)
    assert log.unreadable == []
    assert log.records == as_imported(records, tmp_path / "export")


@LAX
@given(campaigns_of_records(12))
def test_parquet_keeps_campaign_trials_and_measurements(tmp_path: Path, made: CampaignRecords) -> None:
    records = record_set(made)
    log = back(records, ExportFormat.PARQUET, tmp_path)
    kept = RecordSet(campaign=records.campaign, trials=records.trials, measurements=records.measurements)
    assert log.records == as_imported(kept, tmp_path / "export")
    assert log.unreadable == []


def test_parquet_is_a_table_for_other_tools(tmp_path: Path) -> None:
    made = many_trials(30)
    export_records(record_set(made), ExportFormat.PARQUET, tmp_path / "night.parquet")
    table = pq.read_table(tmp_path / "night.parquet")
    assert table.column("metric").to_pylist() == [trial.metric for trial in made.trials]
    assert sum(len(done) for done in table.column("measurements").to_pylist()) == len(made.measurements)


def comparable(rows: list[TrialRow], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, name) for name in names) for row in rows]


@LAX
@given(campaigns_of_records(15))
def test_the_wide_table_keeps_every_number(tmp_path: Path, made: CampaignRecords) -> None:
    records = record_set(made)
    log = back(records, ExportFormat.LINEAGE_TSV, tmp_path)
    assert log.unreadable == []
    names = ("trial", "status", "metric", "pair", "seconds")
    ours, theirs = rows_of(records.trials, records.measurements), rows_of(log.records.trials, log.records.measurements)
    assert comparable(theirs, *names) == comparable(ours, *names)
    for before, after in zip(records.trials, log.records.trials, strict=True):
        assert (after.hypothesis, after.expected_delta, after.reason) == (
            before.hypothesis,
            before.expected_delta,
            before.reason,
        )
        assert (after.train_s, after.score_s) == (before.train_s, before.score_s)
        assert (after.parent_trial_id is None) == (before.parent_trial_id is None)


@LAX
@given(campaigns_of_records(15))
def test_the_five_columns_keep_status_metric_and_edit(tmp_path: Path, made: CampaignRecords) -> None:
    records = record_set(made)
    log = back(records, ExportFormat.RESULTS_TSV, tmp_path)
    assert log.unreadable == []
    ours, theirs = rows_of(records.trials, records.measurements), rows_of(log.records.trials, log.records.measurements)
    assert comparable(theirs, "trial", "status", "pair") == comparable(ours, "trial", "status", "pair")
    for before, after in zip(ours, theirs, strict=True):
        assert (after.metric is None) == (before.metric is None)
        assert after.metric is None or abs(after.metric - (before.metric or 0.0)) <= 5e-7


@pytest.mark.parametrize("export_format", list(ExportFormat))
@pytest.mark.parametrize("make", [menu_log, wide_log, narrow_log])
def test_logs_of_others_go_through_every_format(tmp_path: Path, make: Any, export_format: ExportFormat) -> None:
    log = read_log(make(tmp_path / "log"))
    again = back(log.records, export_format, tmp_path)
    assert again.unreadable == []
    ours, theirs = (rows_of(found.records.trials, found.records.measurements) for found in (log, again))
    assert [(row.trial, row.status) for row in theirs] == [(row.trial, row.status) for row in ours]
    assert [row.metric for row in theirs] == pytest.approx([row.metric for row in ours])
    if export_format in {ExportFormat.JSONL, ExportFormat.PARQUET}:
        assert theirs == ours


@pytest.mark.parametrize("export_format", [ExportFormat.RESULTS_TSV, ExportFormat.LINEAGE_TSV])
def test_no_failure_has_a_number_in_a_table(export_format: ExportFormat) -> None:
    made = make_records(60)
    lines = [line.split("\t") for line in export_text(record_set(made), export_format).splitlines()]
    place = lines[0].index("val_bpb")
    for trial, cells in zip(made.trials, lines[1:], strict=True):
        assert len(cells) == len(lines[0])
        assert (cells[place] == "") == (trial.status not in FINISHED)


def test_text_cannot_break_a_table() -> None:
    campaign = make_campaign()
    odd = make_trial(
        campaign, 1, phase=Phase.DECIDED, status=Status.CRASH, reason="a\tb\nc\x1b[31md\u2028e", hypothesis='"\t"'
    )  # fmt: skip
    text = export_text(RecordSet(campaign=campaign, trials=[odd]), ExportFormat.LINEAGE_TSV)
    assert len(text.splitlines()) == 2
    assert len(text.splitlines()[1].split("\t")) == 18
    assert "\x1b" not in text


def test_an_export_cut_short_says_so(tmp_path: Path) -> None:
    path = tmp_path / "export"
    export_records(record_set(make_records(8)), ExportFormat.JSONL, path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:5]))
    log = read_log(path)
    assert any("9 trials, 4" in note for note in log.notes)


@pytest.mark.parametrize("export_format", list(ExportFormat))
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, export_format: ExportFormat) -> None:
    records = record_set(many_trials(3))
    with pytest.raises(HaltError):
        export_records(records, export_format, tmp_path / "no" / "folder")
    (tmp_path / "taken").mkdir()
    with pytest.raises(HaltError):
        export_records(records, export_format, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
