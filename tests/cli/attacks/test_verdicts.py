"""When the suite may say "stopped": no harm, the end that was meant, and a cheat worth stopping."""

import dataclasses
import json
from typing import Any

import pytest
import typer

from cli.attacks.arena import Fought
from cli.attacks.judge import Verdict, fair, judge
from cli.attacks.suite import Report
from cli.attacks.table import markdown, verdict_line
from cli.commands import doctor as command
from rails.status import Status

STOPPED = Fought(
    name="peek",
    isolation="L2",
    status=Status.DISQUALIFIED,
    reason="it looks ahead by 5.2 nats | at 3 cuts",
    metric=None,
    baseline=1.0,
    naive=0.02,
)
QUIET = dataclasses.replace(STOPPED, name="tamper", status=Status.DISCARD, metric=1.0, naive=None, tried=9, refused=7)


def test_stopped() -> None:
    assert judge(STOPPED).verdict is Verdict.STOPPED
    assert judge(QUIET).verdict is Verdict.STOPPED


@pytest.mark.parametrize(
    ("change", "harm"),
    [
        ({"status": Status.KEEP}, "it was kept"),
        ({"metric": 0.999}, "it bettered the record: 0.9990 after 1.0000"),
        ({"touched": ("file a", "file b")}, "it got at file a and 1 more"),
        ({"residue": ("process 7",)}, "it left process 7"),
        ({"signals": 2}, "it signalled the loop 2 times"),
        ({"ended_loop": "RecursionError: too deep"}, "it ended the loop: RecursionError: too deep"),
    ],
)
def test_harm_is_a_failure_where_it_was_promised_to_be_stopped(change: dict[str, Any], harm: str) -> None:
    promised = judge(dataclasses.replace(QUIET, **change))
    assert (promised.verdict, promised.why) == (Verdict.FAILED, harm)
    weaker = judge(dataclasses.replace(QUIET, isolation="L1", **change))
    assert (weaker.verdict, weaker.harm, weaker.why) == (Verdict.OPEN, harm, "")


def test_an_attack_that_was_not_really_tried_proves_nothing() -> None:
    broken = judge(dataclasses.replace(STOPPED, status=Status.CRASH, reason="NameError"))
    assert (broken.verdict, broken.why) == (Verdict.FAILED, "it ended as crash instead of disqualified: NameError")
    harmless = judge(dataclasses.replace(STOPPED, naive=1.0))
    assert harmless.verdict is Verdict.FAILED and "not even a careless evaluator" in harmless.why
    idle = judge(dataclasses.replace(QUIET, tried=0, refused=0))
    assert (idle.verdict, idle.why) == (Verdict.FAILED, "it tried nothing")
    silent = judge(dataclasses.replace(STOPPED, naive=None))
    assert silent.verdict is Verdict.FAILED


def test_luck_on_a_wall_clock_is_no_record() -> None:
    lucky = dataclasses.replace(QUIET, name="claim-steps", metric=0.95)
    assert judge(lucky).verdict is Verdict.STOPPED
    assert judge(dataclasses.replace(lucky, metric=0.05)).verdict is Verdict.FAILED


def test_an_honest_program_must_be_scored() -> None:
    assert fair(QUIET) == ""
    assert fair(STOPPED).startswith("disqualified: it looks ahead")
    assert fair(dataclasses.replace(QUIET, metric=None)) == "it has no score"


def report(*fights: Fought) -> Report:
    control = dataclasses.replace(QUIET, name="two layers")
    return Report(isolation="L2", attacks=tuple(judge(fought) for fought in fights), controls=((control, ""),))


def test_the_table_tells_all() -> None:
    kept = dataclasses.replace(QUIET, status=Status.KEEP, metric=0.5)
    text = markdown(report(STOPPED, kept))
    assert "0.0200" in text and "nats \\| at" in text and "7 attempts refused" not in text
    assert "1 of 2 attacks stopped; FAILED: tamper; 1 of 1 honest programs passed" in verdict_line(
        report(STOPPED, kept)
    )
    assert "7 attempts refused" in markdown(report(QUIET))


@pytest.mark.parametrize("passed", [True, False])
def test_doctor_says_it_with_its_exit_code(
    passed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fought = STOPPED if passed else dataclasses.replace(STOPPED, status=Status.KEEP)
    monkeypatch.setattr("cli.attacks.suite.run_suite", lambda told: (told("a sentence"), report(fought))[1])
    if passed:
        command.doctor(attacks=True, json=True)
    else:
        with pytest.raises(typer.Exit) as ended:
            command.doctor(attacks=True, json=True)
        assert ended.value.exit_code == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["passed"] is passed
    (row,) = document["attacks"]
    assert {"name", "kept", "status", "probe"} <= row.keys()
    assert row["kept"] is not passed
    assert "a sentence" in printed.err
    assert {"device", "isolation", "endpoint", "disk"} <= document.keys()
    command_output_for_people(monkeypatch, capsys)


def command_output_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("cli.attacks.suite.run_suite", lambda told: report(STOPPED))
    command.doctor(attacks=True)
    out = capsys.readouterr().out
    assert "peek" in out and "Isolation L2: 1 of 1 attacks stopped" in out
    assert all(level in out for level in ("L1", "L2", "L3", "L4"))
