"""The tryout of a program: one optimiser step and one answer, in seconds, before a whole training is spent on it.

A shape that does not fit, a name that is not there, a loss that is NaN at once and a loop without an end show in the
first step. The step is a whole one, with the program's own batch: a program may know how many rows it asks for, and one
that does not fit into memory shows it here, too.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from rails.errors import TrialError
from rails.status import Status
from trainer.budget import Budget, BudgetKind
from trainer.trial.process import TrialProcess
from trainer.trial.spec import TrialSpec

STEP_S: Final = 20.0
"""How long the step may take on a CPU, and the answer as well, by the wall clock: a busy machine has other things to
do. Less where the whole training has no more."""

ACCELERATOR_STEP_S: Final = 120.0
"""The same elsewhere, where the first step may be compiled."""

_UNCOUNTED = Budget(kind=BudgetKind.STEPS, amount=1e9)
"""The parent's budget: the step is held to the caps alone, however many a program makes before it looks whether it is
done."""


def tryout_spec(spec: TrialSpec) -> TrialSpec:
    """The specification of a program's tryout, from that of its training: all but the budget and the caps is the same.

    The program is told the training's own budget, as it may build by it, and that it is over after a step.
    """
    step_s = STEP_S if spec.device == "cpu" else ACCELERATOR_STEP_S
    whole_s = spec.caps.train_s if spec.budget.on_cpu_clock else spec.caps.train_limit_s(spec.budget)
    caps = replace(spec.caps, train_s=min(step_s, whole_s), score_s=min(step_s, spec.caps.score_s))
    return replace(spec, budget=_UNCOUNTED, one_step_of=spec.budget, caps=caps)


def try_out(process: TrialProcess, spec: TrialSpec) -> None:
    """Have a process make its step, and answer about a row without meaning.

    Args:
        process: launched by `spec`, and closed by the caller.
        spec: made by `tryout_spec`.

    Raises:
        TrialError: `preflight_crash`, whatever went wrong; or `interrupted`.
    """
    try:
        process.train()
        process.ask(np.zeros((1, spec.eval_seq_len), np.int32))
    except TrialError as error:
        if error.status is Status.INTERRUPTED:
            raise
        what = error.what
        if error.status is Status.TRAIN_BUDGET_OVERRUN:  # the parent's budget is nobody's business
            what = f"killed: its first step was not done after {spec.caps.train_s:g} s"
        raise TrialError(Status.PREFLIGHT_CRASH, f"tried out on one step: {what}", detail=error.detail) from error
