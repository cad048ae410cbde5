"""The block as a specialist sees it: the record of all, what it proposed last itself, and ideas on its knobs."""

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
    knob_trial(5, "depth", 8, Status.CRASH, reason="no memory", **MINE),
    code_trial(6, {}, hypothesis="a gate in the block", **MINE, **interval(-0.01, 0.004)),
    code_trial(7, {}, hypothesis="another optimiser", **OTHER, **interval(-0.01, 0.004)),
]
LESSONS = [lesson(trial, f"lesson of {trial.seq}", "mine") for trial in TRIALS[1:]]


def block(specialist: str | None = "architecture", trials: list[Trial] = TRIALS, **options: Any) -> str:
    config = LineageConfig.model_validate({"max_tokens": 100_000, **options})
    source, knobs = Told(trials, LESSONS), KNOBS if specialist == "architecture" else ()
    return render_lineage(source, CAMPAIGN.campaign_id, config, specialist=specialist, knobs=knobs)


def test_its_own_trials_are_told_once_more() -> None:
    own = block().split("\n## For architecture\n")[1].split("\n## ")[0]
    assert own.strip() == (
        "- last proposed trial 5: depth=8 → crash; trial 6: diff “a gate in the block” → discard -1.00 %"
    )
    assert "\n## For architecture\n- nothing proposed yet\n" in block(trials=TRIALS[:1])
    assert "## For " not in block(None)


def test_ideas_are_of_its_own_knobs() -> None:
    ideas = block(stuck_after=1).split("## When out of ideas")[1].split("\n## ")[0]
    assert "boldly" in ideas and ideas.count("\n- ") == 3
    assert not any(knob in ideas for knob in ("matrix_lr=", "window=", "head_dim="))
    assert "matrix_lr=" in block(None, stuck_after=1).split("## When out of ideas")[1]
    assert "head_dim=" in block("optimiser", stuck_after=1).split("## When out of ideas")[1], "it may change any knob"


def test_all_the_rest_is_the_same_for_everybody() -> None:
    """A server then reads it once, whoever's turn it is."""
    shared = [block(name, stuck_after=1).split("\n## For ")[0] for name in ("architecture", "optimiser")]
    assert shared[0] == shared[1] and "## Now: " in shared[0]
    assert block(None, stuck_after=1).startswith(shared[0].rstrip())


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
