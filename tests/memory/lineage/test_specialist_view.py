"""The block as a specialist sees it: its own trials in full, of the others what concerns it; without one, as before."""

from typing import Any

from memory.lineage.block import Lineage, render_lineage
from memory.lineage.budget import count_tokens
from memory.records import Trial
from rails.status import Status
from rails.task import LineageConfig
from tests.support.histories import BASELINE, CAMPAIGN, Told, code_trial, interval, knob_trial, lesson

MINE, OTHER = {"specialist": "architecture"}, {"specialist": "optimiser"}
KNOBS = ("depth", "width")
TRIALS = [
    BASELINE,
    knob_trial(1, "depth", 4, hypothesis="deeper is better", **MINE, **interval(0.002, 0.004, 0.8)),
    knob_trial(2, "matrix_lr", 0.01, Status.KEEP, hypothesis="slower is better", **OTHER, **interval(0.03, 0.004, 0.9)),
    knob_trial(3, "matrix_lr", 0.2, hypothesis="faster is better", **OTHER, **interval(0.001, 0.004, 0.6)),
    knob_trial(4, "width", 256, hypothesis="wider, by another", **OTHER, **interval(0.002, 0.004, 0.7)),
    knob_trial(5, "matrix_lr", 0.001, Status.CRASH, reason="no steps left", **OTHER),
    knob_trial(6, "depth", 8, Status.CRASH, reason="no memory", **MINE),
    code_trial(7, {}, hypothesis="a gate in the block", **MINE, **interval(-0.01, 0.004)),
    code_trial(8, {}, hypothesis="another optimiser", **OTHER, **interval(-0.01, 0.004)),
]
LESSONS = [lesson(trial, f"lesson of {trial.seq}", "mine") for trial in TRIALS[1:]]


def block(specialist: str | None = "architecture", trials: list[Trial] = TRIALS, **options: Any) -> str:
    config = LineageConfig.model_validate({"max_tokens": 100_000, **options})
    source, knobs = Told(trials, LESSONS), KNOBS if specialist else ()
    return render_lineage(source, CAMPAIGN.campaign_id, config, specialist=specialist, knobs=knobs)


def test_its_own_trials_are_told_in_full() -> None:
    text = block()
    assert "For architecture (knobs: depth, width): its own trials in full" in text.split("\n## ")[0]
    assert "## Your last 3\n- trial 1: depth=4" in text
    assert "(hoped: deeper is better) (learned: lesson of 1)" in text
    assert "crash x1: no memory (depth=8)" in text
    assert "diff “a gate in the block”" in text


def test_of_others_it_is_told_what_was_kept_and_what_concerns_its_knobs() -> None:
    text = block()
    assert "- trial 2: matrix_lr=0.01 → " in text, "what was kept"
    assert "- width: 256" in text and "trial 4: width=256" in text, "what was done to its knobs, a near miss too"
    assert "lesson of 4" in text
    for foreign in ("matrix_lr=0.2", "no steps left", "another optimiser", "faster is better", "wider, by another"):
        assert foreign not in text, foreign
    assert "- matrix_lr: " not in text and "lesson of 3" not in text and "lesson of 8" not in text


def test_ideas_are_of_its_own_knobs() -> None:
    text = block(stuck_after=1)
    ideas = text.split("## When out of ideas")[1].split("\n## ")[0]
    assert "boldly" in ideas
    assert not any(knob in ideas for knob in ("matrix_lr=", "window=", "head_dim="))
    assert "matrix_lr=" in block(None, stuck_after=1).split("## When out of ideas")[1]


def test_one_without_knobs_sees_all_of_them() -> None:
    text = render_lineage(Told(TRIALS, LESSONS), CAMPAIGN.campaign_id, specialist="optimiser")
    assert "For optimiser (knobs: all of them)" in text
    for said in ("matrix_lr=0.2", "no steps left", "another optimiser", "a gate in the block", "- depth: "):
        assert said in text, said


def test_nobody_in_particular_sees_what_was_always_seen() -> None:
    nobodys = [trial.model_copy(update={"specialist": None}) for trial in TRIALS]
    assert block(None) == block(None, nobodys)
    assert "## Last 8" in block(None) and "For " not in block(None).split("\n## ")[0]


def test_it_is_a_function_of_the_rows_within_its_budget() -> None:
    source = Told(TRIALS[:5], LESSONS)
    lineage = Lineage(source, CAMPAIGN.campaign_id)
    for count in range(5, len(TRIALS) + 1):
        source.trials_ = TRIALS[:count]
        for specialist in (None, "architecture", "optimiser"):
            config = LineageConfig(max_tokens=400, stuck_after=2)
            text = lineage.render(specialist, KNOBS, config=config)
            assert count_tokens(text) <= 400
            anew = render_lineage(source, CAMPAIGN.campaign_id, config, specialist=specialist, knobs=KNOBS)
            assert text == anew
