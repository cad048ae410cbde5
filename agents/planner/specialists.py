"""Who of the task's specialists proposes a trial, and what only that one is told."""

from agents.bandit import choose_specialist, round_robin
from agents.base import ProposalContext
from rails.text import clean_text


def pick_specialist(context: ProposalContext) -> str | None:
    """The specialist of this trial, by the bandit or in turn; None where the task names none.

    The same for every attempt at a trial: it follows from the trials before it and the campaign's seed.
    """
    names = tuple(context.task.specialists)
    if not names:
        return None
    before = [trial for trial in context.trials if trial.seq < context.trial_seq]
    if context.task.planner.choose == "round_robin":
        return round_robin(names, before)
    return choose_specialist(names, before, seed=context.seed)


def knobs_of(context: ProposalContext, specialist: str | None) -> tuple[str, ...]:
    """The knobs that a specialist may change; none: all."""
    return context.task.specialists[specialist].knobs if specialist else ()


def introduction(context: ProposalContext, specialist: str | None) -> str:
    """The section that tells a specialist who it is; empty without one."""
    if not specialist:
        return ""
    config = context.task.specialists[specialist]
    lines = [f"# You are the specialist: {specialist}", "", f"Your part: {clean_text(config.focus, 200)}."]
    if config.knobs:
        lines.append(f"Your knobs: {', '.join(config.knobs)}.")
    if config.prompt:
        lines += ["", config.prompt.strip()]
    return "\n".join(lines)
