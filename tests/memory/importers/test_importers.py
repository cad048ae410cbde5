"""Each format of a log, with known answers: what becomes of its rows, and what is told of those that cannot be read."""

import json
import math
from hashlib import sha256
from pathlib import Path

import pytest

from memory.figures.analysis import Analysis, analyze_trials
from memory.importers.log import Log, LogFormat
from memory.importers.reading import read_log
from memory.records import MeasurementState
from rails.errors import UserError
from rails.menu import load_menu
from rails.status import FINISHED, Status
from tests.support.foreign_logs import (
    CLOSING,
    HEADER,
    ITERATIONS,
    MENU,
    NARROW,
    NARROW_ROWS,
    WIDE,
    WIDE_ROWS,
    iteration,
    menu_log,
    narrow_log,
    wide_log,
    wide_row,
    write_lines,
)


def analysis_of(log: Log, knobs: list[str] | None = None) -> Analysis:
    direction = log.records.campaign.task["metric"]["direction"]
    return analyze_trials(log.records.trials, log.records.measurements, knobs or [], direction)


def statuses_of(log: Log) -> list[tuple[int, Status | None]]:
    return [(trial.seq, trial.status) for trial in log.records.trials]


def test_a_menu_loop(tmp_path: Path) -> None:
    log = read_log(menu_log(tmp_path / "anything.at.all"))
    assert log.format is LogFormat.MENU_LOOP
    assert (log.unreadable, log.notes) == ([], [])
    assert [status for _, status in statuses_of(log)] == [
        *(Status.BASELINE, Status.KEEP, Status.KEEP, Status.KEEP, Status.RAIL_BLOCKED, Status.DISCARD, Status.KEEP),
        *(Status.DISCARD, Status.CRASH, Status.HARNESS_ABORT, Status.INTERRUPTED),
    ]
    trials, campaign = log.records.trials, log.records.campaign
    assert trials[4].reason == "lr is out of range"
    assert trials[8].reason == "CUDA out of memory"
    assert trials[1].edit == {"kind": "knob", "knob": "width", "value": 512}
    assert trials[1].parent_trial_id == trials[0].trial_id
    assert trials[5].parent_trial_id == trials[0].trial_id  # there is no ratchet
    assert trials[5].gain == pytest.approx(-0.008)
    assert (trials[1].propose_s, trials[1].train_s, trials[1].score_s, trials[1].total_s) == (1.5, 50.0, 0.5, 60.0)
    assert campaign.keep_rule == "threshold"
    assert campaign.task["keep"]["min_gain"] == 0.005
    assert campaign.incumbent_trial_id == trials[1].trial_id
    assert log.records.measurements[0].peak_device_bytes == 2**31


def test_the_figures_of_a_menu_loop(tmp_path: Path) -> None:
    """A stated baseline is no replicate, but what repeats its configuration is evidence about it."""
    menu = tmp_path / "menu.json"
    menu.write_text(json.dumps(MENU))
    found = analysis_of(read_log(menu_log(tmp_path / "log")), list(load_menu(menu).knobs))
    assert (found.trials, found.baseline, found.first_keep) == (10, 5.0, 1)
    assert found.best is not None and (found.best.trial, found.best.metric) == (1, 4.9)
    assert (found.noise.df, found.noise.groups) == (3, 2)
    squares = 2 * 0.02**2 + 2 * 0.035**2
    assert found.noise.sd == pytest.approx(math.sqrt(squares / 3))
    assert found.replicated_best is not None
    assert (found.replicated_best.n, found.replicated_best.mean) == (3, pytest.approx(4.92))
    assert found.unconfirmed_keeps == [1, 2, 3, 6]
    assert found.coverage.untouched == ["layers", "dtype"]
    assert found.repeats.count == 4  # width=512 twice, lr=0.002, and lr=0.5 that was blocked before
    assert found.seconds.total == 6 * 60.0 + 4 * 2.0
    assert found.seconds.by_status["keep"] == 240.0


def test_a_keep_is_confirmed_by_all_draws_of_its_program_against_all_of_the_baseline(tmp_path: Path) -> None:
    tight = [iteration(n, "width", 512, 4.7 + n / 1000, "keep") for n in range(1, 6)]
    lines = [HEADER, *tight, iteration(6, "lr", 0.002, 4.99, "keep"), iteration(7, "width", 256, 4.99)]
    found = analysis_of(read_log(write_lines(tmp_path / "log", lines)))
    assert found.unconfirmed_keeps == [6]


def test_a_menu_loop_without_its_header(tmp_path: Path) -> None:
    log = read_log(write_lines(tmp_path / "log", ['{"baseline_val_bpb": 5.0, "basel', *ITERATIONS]))
    assert [found.line for found in log.unreadable] == [1]
    assert log.records.trials[0].metric == 5.0
    assert any("first iteration" in note for note in log.notes)
    assert len(log.records.trials) == 11


def test_a_menu_loop_whose_last_line_disagrees(tmp_path: Path) -> None:
    log = read_log(write_lines(tmp_path / "log", [HEADER, *ITERATIONS[:-4], {**CLOSING, "accept_count": 7}]))
    assert any("accept_count = 7" in note for note in log.notes)


def test_lines_of_a_menu_loop_that_cannot_be_read(tmp_path: Path) -> None:
    broken = [
        iteration(1, "lr", 0.1, 4.9, "promote"),
        {**iteration(2, "lr", 0.1, 4.9), "stage": "dreaming"},
        {**iteration(3, "lr", 0.1, 4.9), "val_bpb": None},
        "[1, 2]",
        "not json",
        '{"iter": 5, "stage": "evaluated", "val_bpb": NaN, "decision": "keep"}',
        HEADER,
        "[" * 100_000,
    ]
    log = read_log(write_lines(tmp_path / "log", [HEADER, *broken, iteration(9, "lr", 0.1, 4.9)]))
    assert [found.line for found in log.unreadable] == list(range(2, 10))
    assert "promote" in log.unreadable[0].why
    assert "dreaming" in log.unreadable[1].why
    assert "no metric" in log.unreadable[2].why
    assert statuses_of(log) == [(0, Status.BASELINE), (9, Status.DISCARD)]


@pytest.mark.parametrize("place", ["candidate_cfg", "eval_metrics"])
@pytest.mark.parametrize("depth", [150, 600, 5000])
def test_what_is_nested_too_deeply_is_told_and_ends_nothing(tmp_path: Path, place: str, depth: int) -> None:
    deep = json.dumps({**iteration(1, "lr", 0.1, 4.9), place: {"x": "deep"}})
    deep = deep.replace('"deep"', "[" * depth + "]" * depth)
    log = read_log(write_lines(tmp_path / "log", [HEADER, deep, iteration(2, "lr", 0.1, 4.9)]))
    assert len(log.records.trials) + len(log.unreadable) == 3
    assert bool(log.unreadable) == (depth > 200)
    header = {**HEADER, "baseline_cfg": {"x": "deep"}}
    deep = json.dumps(header).replace('"deep"', "[" * depth + "]" * depth)
    log = read_log(write_lines(tmp_path / "other", [deep, iteration(2, "lr", 0.1, 4.9)]))
    assert len(log.records.trials) + len(log.unreadable) >= 2


def test_equal_configurations_are_one_program_whatever_the_order_of_their_keys(tmp_path: Path) -> None:
    backwards = {**iteration(2, "width", 512, 4.94), "candidate_cfg": {"width": 512, "layers": 8}}
    lines = [{**iteration(1, "width", 512, 4.9), "candidate_cfg": {"layers": 8, "width": 512}}, backwards]
    others = [
        {**iteration(n, "width", 512, 4.9), "candidate_cfg": config}
        for n, config in enumerate([{"layers": 8.0, "width": 512}, {"layers": True}, {"layers": 1}, {"layers": "é"}], 3)
    ]
    keys = [
        t.program_key for t in read_log(write_lines(tmp_path / "log", [HEADER, *lines, *others])).records.trials[1:]
    ]
    assert keys[0] == keys[1] == sha256(b'{"layers": 8, "width": 512}').hexdigest()
    assert keys[5] == sha256(b'{"layers": "\\u00e9"}').hexdigest()
    assert len(set(keys)) == 5


def test_a_row_without_a_time_has_one_of_the_log_and_its_measurement_the_same(tmp_path: Path) -> None:
    log = read_log(wide_log(tmp_path / "log", [*WIDE_ROWS, wide_row(7, "keep", "1.08", timestamp="")]))
    first = min(trial.created_at for trial in log.records.trials)
    assert (log.records.trials[7].created_at, log.records.measurements[-1].started_at) == (first, first)


def test_a_wide_table(tmp_path: Path) -> None:
    log = read_log(wide_log(tmp_path / "x.csv"))
    assert log.format is LogFormat.LINEAGE_TSV
    assert log.unreadable == []
    trials, campaign = log.records.trials, log.records.campaign
    assert campaign.task["metric"] == {"name": "val_bpb", "direction": "minimize"}
    assert [trial.status for trial in trials] == [Status(str(row["status"])) for row in WIDE_ROWS]
    assert trials[5].parent_trial_id == trials[2].trial_id
    assert trials[5].gain == pytest.approx(0.0005 / 1.1)
    assert trials[4].gain == pytest.approx(-0.005 / 1.1)
    assert trials[1].hypothesis == 'a "quoted, text with commas'
    assert campaign.incumbent_trial_id == trials[5].trial_id
    found = analysis_of(log)
    assert found.seconds.wasted == 127.0
    assert found.seconds.by_status == {
        "eval_budget_overrun": 100.0,
        "keep": 200.0,
        "crash": 7.0,
        "discard": 100.0,
        "size_blocked": 20.0,
    }


def test_what_an_overrun_scored_is_a_claim_and_no_metric(tmp_path: Path) -> None:
    log = read_log(wide_log(tmp_path / "log"))
    overrun = log.records.trials[1]
    assert overrun.metric is None
    (claimed,) = [m for m in log.records.measurements if m.trial_id == overrun.trial_id]
    assert (claimed.state, claimed.score) == (MeasurementState.FAILED, None)
    assert claimed.summary is not None and claimed.summary["claimed"] == 1.01
    best = analysis_of(log).best
    assert best is not None and best.metric == 1.0895


def test_the_metric_of_a_wide_table_is_the_one_that_the_differences_speak_of(tmp_path: Path) -> None:
    columns = [name for name in WIDE if name not in {"val_bpb", "artifact_bytes"}]
    columns[9:9] = ["core_metric", "val_bpb"]
    rows = [
        wide_row(0, "baseline", "0.90", core_metric="0.200000"),
        wide_row(1, "keep", "0.91", core_metric="0.210000", delta_vs_best="+0.010000"),
        wide_row(2, "discard", "0.80", core_metric="0.205000", delta_vs_best="-0.005000", baseline_exp="001"),
        wide_row(3, "keep", "0.92", core_metric="0.230000", delta_vs_best="+0.020000", baseline_exp="001"),
    ]
    log = read_log(wide_log(tmp_path / "log", rows, columns))
    assert log.records.campaign.task["metric"] == {"name": "core_metric", "direction": "maximize"}
    found = analysis_of(log)
    assert found.best is not None and (found.best.trial, found.best.metric) == (3, 0.23)
    assert found.improvement_frac == pytest.approx(0.15)
    assert log.records.trials[1].gain == pytest.approx(0.05)


def test_rows_of_a_wide_table_that_cannot_be_read(tmp_path: Path) -> None:
    whole = "\t".join(str(wide_row(7, "keep", "1.05").get(name, "")) for name in WIDE)
    cells = whole.split("\t")
    lines = [
        "\t".join(WIDE),
        "\t".join(str(WIDE_ROWS[0].get(name, "")) for name in WIDE),
        whole[:60],  # 3: cut in the hypothesis
        "\t".join(cells[:10]),  # 4: cut after the metric, which may be torn
        "\t".join(cells[:15]),  # 5: cut after the seconds, which may be torn
        "\t".join([*cells[:8], "promoted", *cells[9:]]),  # 6
        "\t".join([*cells[:9], "1.O5", *cells[10:]]),  # 7: a letter
        "\t".join([*cells[:9], "", *cells[10:]]),  # 8: kept without a metric
        "\t".join([*cells[:9], "nan", *cells[10:]]),  # 9
        "\t".join(cells[:16]),  # 10: only free text is missing: read
        f"{whole}\twith\ttabs",  # 11: read
    ]
    log = read_log(write_lines(tmp_path / "log", lines))
    assert [found.line for found in log.unreadable] == list(range(3, 10))
    assert "10 of 18 cells" in log.unreadable[1].why
    assert "promoted" in log.unreadable[3].why
    assert len(log.records.trials) == 3
    assert log.records.trials[-1].reason == "because\twith\ttabs"


def test_a_five_column_table(tmp_path: Path) -> None:
    log = read_log(narrow_log(tmp_path / "log"))
    assert log.format is LogFormat.RESULTS_TSV
    assert statuses_of(log) == [
        (0, Status.BASELINE),
        (1, Status.KEEP),
        (2, Status.DISCARD),
        (3, Status.CRASH),
        (4, Status.DISCARD),
        (5, Status.KEEP),
    ]
    trials = log.records.trials
    assert trials[3].metric is None
    assert trials[3].reason == "double model width (OOM)"
    assert trials[2].hypothesis == 'switch to "GeLU" activation'
    assert trials[4].edit_key == trials[5].edit_key == "depth=9"
    assert trials[5].gain == pytest.approx(0.001 / 0.998)
    assert any("first row" in note for note in log.notes)
    found = analysis_of(log)
    assert (found.trials, found.baseline) == (5, 0.998)
    assert found.best is not None and found.best.metric == 0.992
    assert (found.seconds.total, found.seconds.wasted, found.seconds.by_status) == (None, None, {})
    assert found.repeats.count == 1


def test_no_sentinel_of_a_five_column_table_becomes_a_metric(tmp_path: Path) -> None:
    rows = [*NARROW_ROWS, "0000000\t0.000000\t0.0\tdiscard\tan odd one", "1111111\t0\t0\tkeep\tanother"]
    log = read_log(narrow_log(tmp_path / "log", rows))
    assert [found.line for found in log.unreadable] == [8, 9]
    assert min(trial.metric for trial in log.records.trials if trial.metric is not None) == 0.992


def test_one_commit_with_two_descriptions_is_two_programs(tmp_path: Path) -> None:
    """Loops write the commit that they went back to beside everything they threw away."""
    rows = [
        NARROW_ROWS[0],
        *(f"a1b2c3d\t1.{n}\t1.0\tdiscard\tidea {n}" for n in range(5)),
        "a1b2c3d\t1.2\t1.0\tdiscard\tidea 2",
    ]
    assert analysis_of(read_log(narrow_log(tmp_path / "log", rows))).noise.df == 1


def test_a_five_column_table_of_something_to_maximise(tmp_path: Path) -> None:
    lines = [
        "commit\tfitness\tmemory_gb\tstatus\tdescription",
        "a\t1.0\t1\tkeep\tstart",
        "b\t1.5\t1\tkeep\tx",
        "c\t1.2\t1\tdiscard\ty",
    ]
    log = read_log(write_lines(tmp_path / "log", lines))
    assert log.records.campaign.task["metric"] == {"name": "fitness", "direction": "maximize"}
    found = analysis_of(log)
    assert found.best is not None and found.best.metric == 1.5


def test_a_header_in_the_middle_is_told_and_no_row(tmp_path: Path) -> None:
    log = read_log(narrow_log(tmp_path / "log", [*NARROW_ROWS[:2], "\t".join(NARROW), *NARROW_ROWS[2:]]))
    assert len(log.records.trials) == 6
    assert log.unreadable == []
    assert any("line 4" in note for note in log.notes)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_marks_and_line_ends_of_other_systems(tmp_path: Path, ending: str, mark: bytes) -> None:
    path = tmp_path / "log"
    text = ending.join(["\t".join(NARROW), *NARROW_ROWS, ""])
    path.write_bytes(mark + text.encode())
    assert len(read_log(path).records.trials) == 6
    assert read_log(path).records.trials[-1].hypothesis == "deeper is better"


def test_a_damaged_letter_costs_no_row(tmp_path: Path) -> None:
    path = narrow_log(tmp_path / "log")
    path.write_bytes(path.read_bytes().replace(b"GeLU", b"Ge\xff\xfeU"))
    log = read_log(path)
    assert (len(log.records.trials), log.unreadable) == (6, [])


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"hello", b"a,b,c\n1,2,3\n", b"{}\n", b'{"a": 1}\n', b"PAR1", b"PAR1xxxxPAR1", b"\x00" * 50, b"[1]"],
)
def test_what_is_no_log(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.tsv"
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        read_log(path)
    assert str(path) in str(refused.value)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder"):
        read_log(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_log(tmp_path / "gone")


def test_only_finished_trials_have_a_metric(tmp_path: Path) -> None:
    for log in (
        read_log(menu_log(tmp_path / "a")),
        read_log(wide_log(tmp_path / "b")),
        read_log(narrow_log(tmp_path / "c")),
    ):
        for trial in log.records.trials:
            assert (trial.metric is not None) == (trial.status in FINISHED)
            assert trial.metric is not None or trial.reason
