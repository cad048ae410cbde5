"""Who of the task's specialists proposes a trial, and how they are told of themselves."""

from agents.bandit import choose_specialist, round_robin
from agents.base import ProposalContext
from rails.task import SpecialistConfig
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


def roster(context: ProposalContext) -> str:
    """The section on all of the task's specialists, the same in every proposal; empty where there are none."""
    parts = [_paragraph(name, config) for name, config in context.task.specialists.items()]
    return "\n\n".join(["# The specialists", *parts]) if parts else ""


def introduction(context: ProposalContext, specialist: str | None, *, in_full: bool) -> str:
    """The section that tells a specialist who it is, with its paragraph or without; empty for nobody in particular."""
    if not specialist:
        return ""
    head = f"# You are the specialist: {specialist}"
    return f"{head}\n\n{_paragraph(specialist, context.task.specialists[specialist])}" if in_full else head


def _paragraph(name: str, config: SpecialistConfig) -> str:
    knobs = f" Knobs: {', '.join(config.knobs)}." if config.knobs else ""
    text = f"{name}: {clean_text(config.focus, 200)}.{knobs}"
    return f"{text}\n{config.prompt.strip()}" if config.prompt else text
