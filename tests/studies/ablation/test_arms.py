"""How arms are named, and what they may not differ in."""

import pytest

from graph.campaign.options import RunOptions
from graph.campaign.overrides import options_with, task_with
from rails.errors import UserError
from studies.ablation.arms import parse_arms
from studies.ablation.plan import make_plan
from tests.support.proposals import make_task


def test_arms_are_settings_joined_by_plus() -> None:
    first, second, third = parse_arms("lineage=on,rule=strict+share=0.5+model=smol, specialists=off+critic=self")
    assert first.overrides == {"lineage": True}
    assert second.overrides == {"keep.rule": "strict", "planner.share": 0.5, "proposer": "hybrid:smol"}
    assert third.overrides == {"specialists": {}, "planner.critic": "self"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lineage=on", "two arms"),
        ("lineage=on,lineage=on", "named twice"),
        ("lineage,proposer=tpe", "K=V"),
        ("seed=1,seed=2", "pairs share it"),
        ("metric.direction=maximize,lineage=on", "scores must be of one kind"),
        ("linage=on,lineage=off", "lineage"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_arms(text)


def test_an_override_is_checked_as_task_toml_is() -> None:
    task = make_task(specialists={"size": {"focus": "size", "knobs": ["depth"]}})
    assert task_with(task, {"lineage": True}) is task
    changed = task_with(task, {"keep.rule": "strict", "specialists": {}})
    assert (changed.keep.rule, changed.specialists) == ("strict", {})
    with pytest.raises(UserError, match="rule"):
        task_with(task, {"keep.rul": "strict"})
    with pytest.raises(UserError, match="sequential"):
        task_with(task, {"keep.rule": "lenient"})
    with pytest.raises(UserError, match="on or off"):
        options_with(RunOptions(), {"lineage": 3})


def test_pairs_share_a_seed_and_begin_with_another_arm_each() -> None:
    plan = make_plan(parse_arms("proposer=random,proposer=tpe"), 5, "tpe", {"task.toml": ""})
    jobs = list(plan.jobs(3))
    assert [(job.pair, job.arm, job.seed) for job in jobs] == [
        (0, 0, 0),
        (0, 1, 0),
        (1, 1, 1),
        (1, 0, 1),
        (2, 0, 2),
        (2, 1, 2),
    ]
    assert jobs[0].proposer == "random"
