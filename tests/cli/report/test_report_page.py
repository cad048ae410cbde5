"""The report's page: complete, true to the record, sound for every reader, and closed to everything hostile."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.report import text
from cli.report.gathered import Gathered, Reading, gather
from cli.report.page import MOST_KEEPS, MOST_LINES, diff_of, policy, render
from memory.database.queries import ModelCalls
from memory.figures.analysis import Unreadable
from memory.figures.campaign import ReportData
from memory.figures.reading import data_of_records
from memory.record_set import RecordSet
from memory.records import Call, CampaignState, Event, EventKind
from rails.status import Status
from tests.support.pages import Page, faults
from tests.support.report_data import FINAL, Night, many_trials_data
from tests.support.rows import START
from tests.support.variants import first

NOW = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
SECTIONS = [
    "State",
    "Trajectory",
    "Knob coverage",
    "Repeats",
    "Failures",
    "Where the time went",
    "What each keep changed",
    "Lineage",
    "Near misses worth a try",
    "For a student",
    "Events of the night",
    "Cost and energy",
    "Environment",
]
HOSTILE = [
    "</title></style></script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)><svg onload='alert(2)'>",
    "' onmouseover='alert(1)' style='background:url(http://evil.example/x)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "<!-- --><![CDATA[ ]]><?php",
    "&lt;b&gt; &amp;#60;",
    "\x1b[31m\x00\u202e\u2066evil\ufeff\r\n<iframe>",
    "a" * 3000 + "<b>",
    "$\\frac{1}{0}$ \\input{x}",
]


def page_of(data: ReportData, reading: Reading | None = None, usd_per_kwh: float | None = None) -> Page:
    return Page(render(gathered(data, reading, usd_per_kwh), NOW))


def gathered(data: ReportData, reading: Reading | None = None, usd_per_kwh: float | None = None) -> Gathered:
    return gather(data, reading or Reading(source="night"), usd_per_kwh)


def small_night(**campaign: Any) -> Night:
    night = Night([2.0, 2.02, 1.98], **campaign)
    lr = {"kind": "knob", "knob": "lr", "value": 0.02}
    diff = "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-    lr = 0.01\n+    lr = 0.02\n     width = 8\n"
    numbers = {"gain": 0.025, "gain_low": 0.01, "gain_high": 0.04, "p_improve": 0.9995}
    night.add(Status.KEEP, [1.94, 1.96], edit=lr, edit_key="lr=0.02", diff=diff, commit_sha="c0ffee" * 7, **numbers)
    near = {"gain": 0.004, "gain_low": -0.01, "gain_high": 0.018, "p_improve": 0.7}
    night.add(Status.DISCARD, [1.945], edit={**lr, "value": 0.03}, edit_key="lr=0.03", **near)
    night.add(Status.DISCARD, [1.99], edit=lr, edit_key="lr=0.02", gain=-0.02, gain_low=-0.03, gain_high=-0.01)
    night.add(Status.CRASH, [], reason="out of memory at step 7")
    return night


@pytest.mark.parametrize("trials", [0, 3, 60, 2000])
def test_the_page_is_sound_whatever_the_length_of_the_night(trials: int) -> None:
    page = page_of(many_trials_data(trials))
    assert faults(page) == []
    told = ["Who found what"] if trials else []
    assert [heading.text for heading in page.all("h2")] == [*SECTIONS[:2], *told, *SECTIONS[2:]]


def test_a_log_with_an_odd_task_has_a_page_too() -> None:
    odd = {"budget": "x", "keep": "y", "metric": 3, "energy": [1], "menu": 7, "trial": None}
    night = Night([2.0, 2.02], task=odd, final={"a": 1}, hardware={"a": {"b": [1, {"c": 2}]}}, limits={"x": None})
    night.add(Status.KEEP, [1.9], decision={"rule": "threshold"})
    night.add(Status.DISCARD, [1.9], gain=0.01, decision={"rule": "threshold"}, edit={})
    assert faults(page_of(night.data(source="their.jsonl"))) == []


def test_a_night_without_any_trial_has_a_page_too() -> None:
    night = Night([2.0])
    night.trials.clear()
    night.measurements.clear()
    page = page_of(night.data())
    assert faults(page) == []
    assert page.one("h1").text.startswith("No trial has been measured yet")
    assert "Nothing has been measured yet." in page.words


@pytest.mark.slow
def test_ten_thousand_trials_stay_below_three_megabytes() -> None:
    assert len(render(gathered(many_trials_data(10_000)), NOW).encode()) < 3_000_000


def test_nothing_can_run_or_load() -> None:
    source = render(gathered(small_night().data()), NOW)
    page = Page(source)
    (csp,) = [
        m.attributes["content"] for m in page.all("meta") if m.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert csp == policy(page.one("style").text)
    assert csp.startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"https?://|//[a-z]|@import|url\(", source), "not even the style sheet names another place"
    head = source[: source.index("<style>")]
    assert "Content-Security-Policy" in head, "the policy must come before what it is about"


def hostile_data(nasty: str) -> ReportData:
    """A night in which everything that is free text is the same nasty one."""
    night = Night(
        [2.0, 2.02],
        proposer=nasty,
        fallback=nasty,
        tag=nasty,
        branch=nasty,
        keep_rule=nasty,
        corpus_sha256=nasty,
        isolation=nasty,
        baseline_commit=nasty,
        source=None,
        limits={nasty: nasty},
        hardware={nasty: nasty, "cores": [nasty]},
        versions={nasty: nasty},
        task={
            nasty: {nasty: [nasty]},
            "metric": {"name": nasty, "direction": "minimize"},
            "menu": {"knobs": {nasty: {"choices": [nasty, "b"], "default": nasty, "doc": nasty}}},
        },
        state=CampaignState.PAUSED,
        state_reason=nasty,
        stop_reason=nasty,
    )
    words: dict[str, Any] = {
        name: nasty
        for name in ("edit_key", "hypothesis", "rationale", "reason", "specialist", "domain", "proposer", "lesson")
    }
    edit = {"kind": "knob", "knob": nasty, "value": nasty}
    gains = {"gain": 0.03, "gain_low": 0.01, "gain_high": 0.05}
    diff = f"--- {nasty}\n+++ {nasty}\n@@ {nasty}\n-{nasty}\n+{nasty}\n {nasty}\n"
    night.add(Status.KEEP, [1.9], edit=edit, diff=diff, commit_sha=nasty, **{**words, **gains})
    night.add(Status.DISCARD, [1.91], edit=edit, **{**words, "gain": 0.001, "p_improve": 0.6})
    for status in (Status.CRASH, Status.RAIL_BLOCKED, Status.DISQUALIFIED, Status.INTERRUPTED):
        night.add(status, [], edit=edit, **words)
    now = START
    event = Event(campaign_id=night.campaign.campaign_id, kind=EventKind.STOPPED, text=nasty, created_at=now)
    call = Call(
        call_id="c",
        trial_id=night.best.trial_id,
        attempt=0,
        position=0,
        proposer=nasty,
        model=nasty,
        latency_s=1,
        created_at=now,
    )
    final = {**FINAL, "val": None, "test": None, "state": "failed", "failures": [nasty]}
    update = {"incumbent_trial_id": night.best.trial_id, "final": final}
    return data_of_records(
        RecordSet(
            campaign=night.campaign.model_copy(update=update),
            trials=night.trials,
            measurements=night.measurements,
            events=[event],
            calls=[call],
        )
    )


@pytest.mark.parametrize("nasty", first(3, HOSTILE))
def test_text_of_models_and_crash_logs_stays_text(nasty: str) -> None:
    reading = Reading(source=nasty, unreadable=[Unreadable(line=3, why=nasty)], notes=[nasty])
    page = page_of(hostile_data(nasty), reading)
    assert faults(page) == []
    assert [heading.text for heading in page.all("h2")] == [*SECTIONS[:2], "Who found what", *SECTIONS[2:]]
    plain = page_of(hostile_data("plain"), Reading(source="p", unreadable=[Unreadable(line=3, why="p")], notes=["p"]))
    assert {e.tag for e in page.elements} == {e.tag for e in plain.elements}
    assert {name for e in page.elements for name in e.attributes} == {n for e in plain.elements for n in e.attributes}
    classes = {e.attributes.get("class") for e in page.elements}
    assert classes <= {e.attributes.get("class") for e in plain.elements} | {"name"}
    seen = page.source
    assert not any(ord(c) < 32 and c != "\n" for c in seen) and not re.search(
        "[\u202a-\u202e\u2066-\u2069\ufeff]", seen
    )


@given(st.text(max_size=60))
def test_a_diff_is_shown_as_it_is_but_for_what_cannot_be_seen(nasty: str) -> None:
    shown = diff_of(f"+{nasty}x")
    assert shown is not None
    for _, line in shown.lines:
        assert line.isprintable() or all(character.isspace() or character.isprintable() for character in line)
    if nasty.isprintable():
        assert "\n".join(line for _, line in shown.lines) == f"+{nasty}x".rstrip()


def test_the_first_sentence_tells_what_was_measured_again() -> None:
    page = page_of(small_night(active_s=25_560.0, joules=1.116e6).data(final=FINAL))
    assert (
        page.one("h1").text.replace("\N{NO-BREAK SPACE}", " ")
        == "+2.0 % ± 1.4 over the baseline, 1 keep in 4 trials, 7.1 h, 0.31 kWh"
    )
    assert "on 2 fresh seeds that decided nothing: 1.9600 against 2.0000, gain +2.0 % [+0.6, +3.4]." in page.words
    assert "In the search the same trial" not in page.words
    assert "On the held-back test text: +0.9 % [−1.0, +2.9] (2.0800 against 2.1000)." in page.words
    assert "this may be noise" in page.words, "of the test text, whose interval includes zero"


def test_the_first_sentence_is_honest_about_an_estimate() -> None:
    page = page_of(small_night().data())
    assert "energy not measured" in page.one("h1").text
    assert (
        "Estimated in the search, not re-measured: trial 1, measured 2 times against 3 times for the baseline"
        in page.words
    )
    assert "expect less" in page.words


def test_the_first_sentence_says_when_nothing_was_kept() -> None:
    night = Night([2.0, 2.02], active_s=100.0)
    night.add(Status.DISCARD, [2.01])
    page = page_of(night.data())
    assert (
        page.one("h1").text.replace("\N{NO-BREAK SPACE}", " ")
        == "Nothing was kept in 1 trial, 2 min, energy not measured"
    )


def test_it_says_whether_the_record_is_enough_to_train_a_student_on() -> None:
    few = page_of(small_night().data()).words
    assert "3 changes of one knob, 1 of them kept, could be learnt from. Too few to train a student on them: 100" in few
    night = small_night(proposer="student:first")
    for number in range(100):
        night.add(Status.DISCARD, [1.99], edit={"kind": "knob", "knob": "lr", "value": 0.1 + number}, gain=-0.02)
    many = page_of(night.data()).words
    assert "103 changes of one knob" in many and "Enough to train student:first again." in many


@pytest.mark.parametrize(
    ("campaign", "said"),
    [
        ({"stop_reason": "limit of 4 trials reached"}, "stopped: limit of 4 trials reached"),
        ({"stop_reason": "limit"}, "[final] seeds is 0"),
        ({}, "no loop is at work here any more"),
        ({}, "The campaign is not over"),
        ({"final": {**FINAL, "state": "running"}}, "It is being measured again on fresh seeds."),
        (
            {"final": {**FINAL, "val": None, "test": None, "failures": ["seed 3: crash"]}},
            "Measuring it again failed: seed 3",
        ),
        ({"source": "/logs/their.jsonl"}, "another loop's log: nothing was measured on fresh seeds"),
        ({"source": "/logs/their.jsonl"}, "imported from /logs/their.jsonl"),
    ],
)
def test_the_state_is_told(campaign: dict[str, Any], said: str) -> None:
    assert said in page_of(small_night().data(**campaign)).words


def test_a_running_loop_is_running() -> None:
    assert "running" in page_of(small_night().data(), Reading(source="night", at_work=True)).words
    assert "no loop is at work" not in page_of(small_night().data(), Reading(source="night", at_work=True)).words


def test_every_number_of_the_trials_table_is_the_records() -> None:
    data = many_trials_data(80)
    page = page_of(data)
    rows = [e.text for e in page.all("tr")]
    for trial in data.decided:
        wanted = [text.metric(trial.metric), text.estimate(trial.gain, trial.gain_low, trial.gain_high)]
        assert any(row.startswith(str(trial.seq)) and all(w in row for w in wanted) for row in rows), trial.seq


def test_a_keep_is_told_with_its_diff_measurements_and_hypothesis() -> None:
    night = small_night()
    night.trials[1] = night.trials[1].model_copy(
        update={"hypothesis": "a higher rate learns faster", "proposer": "m-8b"}
    )
    page = page_of(night.data())
    (article,) = page.all("article")
    told = " ".join(article.text.replace("\N{NO-BREAK SPACE}", " ").split())
    for said in ("Trial 1: lr=0.02", "a higher rate learns faster", "+2.5 % [+1.0, +4.0]", "measured: 1.9400, 1.9600"):
        assert said in told
    assert "c0ffeec0ffee" in told and "Proposed by m-8b" in told
    lines = [(e.attributes["class"], e.text) for e in page.all("span") if "pre" in e.parents]
    assert (
        ("del", "-    lr = 0.01") in lines
        and ("add", "+    lr = 0.02") in lines
        and ("same", "     width = 8") in lines
    )


def test_long_diffs_and_many_keeps_are_cut_and_say_so() -> None:
    night = Night([2.0, 2.02])
    for number in range(MOST_KEEPS + 3):
        night.add(Status.KEEP, [1.9 - 0.01 * number], diff="+x\n" * (MOST_LINES + 5))
    page = page_of(night.data())
    assert len(page.all("article")) == MOST_KEEPS
    assert f"The latest {MOST_KEEPS} of {MOST_KEEPS + 3} keeps" in page.words
    assert "5 more lines" in page.words


def test_costs_are_told_and_what_is_not_known_says_so() -> None:
    data = small_night(joules=7.2e6).data()
    known = page_of(data, usd_per_kwh=0.25).words
    for said in ("2.0 kWh", "$0.25 per kWh", "$0.50", "$0.00: no model was asked"):
        assert said in known, said
    unknown = page_of(small_night().data()).words
    assert "energy was not measured" in unknown and "not known: [energy] usd_per_kwh" in unknown
    asked = ReportData(
        campaign=data.campaign,
        trials=data.trials,
        measurements=data.measurements,
        events=(),
        noise=data.noise,
        own_noise=data.own_noise,
        seconds_by_part={},
        calls=ModelCalls(requests=9, priced=7, usd=0.42, prompt_tokens=1200, completion_tokens=80),
    )
    words = page_of(asked).words
    assert "at least $0.42 for 9 requests, 2 of them without a price" in words
    assert "1,200 prompt tokens" in words


def test_near_misses_failures_and_lines_that_could_not_be_read_are_listed() -> None:
    reading = Reading(source="x", unreadable=[Unreadable(line=17, why="cut short")], notes=["knobs are those observed"])
    words = page_of(small_night().data(), reading).words
    for said in ("lr=0.03", "0.700", "out of memory at step 7", "line 17: cut short", "knobs are those observed"):
        assert said in words


def test_the_page_reads_without_colour_and_in_the_dark() -> None:
    page = page_of(small_night().data())
    css = page.one("style").text
    for needed in ("prefers-color-scheme: dark", "@media print", "max-width: 47rem"):
        assert needed in css
    diff = [(e.attributes["class"], e.text[:1]) for e in page.all("span") if "pre" in e.parents]
    assert {sign for kind, sign in diff if kind == "add"} == {"+"} and {s for kind, s in diff if kind == "del"} == {"-"}
    used = {name for e in page.elements for name in e.attributes.get("class", "").split()}
    styled = set(re.findall(r"\.([a-z][a-z0-9-]*)", css))
    assert used - styled <= {"wide", "known", "state", "same", "windows", "depth-0"}, "a class that nothing styles"


def test_wide_and_narrow_drawings_show_the_same_trials() -> None:
    page = page_of(many_trials_data(60))
    drawings = [
        e
        for e in page.all("svg")
        if e.attributes.get("role") == "img" and "trajectory" in e.attributes["aria-labelledby"]
    ]
    assert [d.attributes["viewbox"].split()[2] for d in drawings] == ["920", "390"]
    wide, narrow = (sorted(re.findall(r"trial \d+: [a-z]+", d.text)) for d in drawings)
    assert wide == narrow and len(wide) > 40
