"""Attacks on the budget: programs that train for longer than they may."""

from cli.attacks.attack import HARMLESS, LATE, OUT, Attack
from rails.status import Status

CLOCK = (
    Attack(
        name="slow-clock",
        program="slow_clock",
        what="slows its own clock down",
        stopped_by="the loop's clock",
        arena="seconds",
        ends=LATE,
    ),
    Attack(
        name="overtrain",
        program="overtrain",
        what="trains for three budgets",
        stopped_by="the loop's clock",
        arena="seconds",
        ends=LATE,
    ),
    Attack(
        name="overtrain-steps",
        program="overtrain",
        what="trains for three budgets of steps",
        stopped_by="the reported steps",
        ends=LATE,
    ),
    Attack(
        name="hang-in-training",
        program="hang_in_training",
        what="never finishes and ignores signals",
        stopped_by="the loop's clock and SIGKILL",
        arena="seconds",
        ends=LATE,
    ),
    Attack(
        name="claim-steps",
        program="claim_steps",
        what="reports a hundred steps for one",
        stopped_by="counts decide nothing on a budget of seconds",
        arena="seconds",
        ends=HARMLESS,
    ),
    Attack(
        name="deferred-training",
        program="deferred_training",
        what="saves the data too, and trains before the first answer",
        stopped_by="the first answer may not take much longer than the baseline's",
        ends=OUT | LATE | frozenset({Status.EVAL_BUDGET_OVERRUN}),
    ),
    Attack(
        name="train-before-start",
        program="train_before_start",
        what="trains before the clock starts",
        stopped_by="the data comes with the start; paths are unreadable",
        level="L2",
        ends=HARMLESS,
        tries=True,
    ),
    Attack(
        name="train-in-startup",
        program="train_in_startup",
        what="trains before the clock on the library's text, for as long as three budgets",
        stopped_by="a budget of seconds pays for what start-up takes longer than the baseline's",
        arena="seconds",
        ends=LATE,
    ),
)
