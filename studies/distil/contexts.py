"""A choice of a corpus as the context of a proposal, so that any proposer can be asked what it would have done."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from agents.base import ProposalContext
from memory.records import Phase, Trial, TrialKind
from rails.errors import UserError
from rails.menu import Menu
from rails.status import FINISHED, Status
from rails.task import BudgetConfig, EditConfig, GptTask, LimitsConfig, Task, TrialConfig
from studies.distil.corpus import Example
from studies.distil.views import Choice

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""When the first trial of a corpus was made, as its rows say: a corpus keeps no times."""

METRIC = 1.0
"""The metric of every finished trial: a corpus keeps gains only."""


def task_of(menu: Menu, *, limit: int | None = None, size_limit_bytes: int | None = None, name: str = "race") -> Task:
    """A task with this menu, for proposers alone: nothing is ever trained on it."""
    return GptTask(
        name=name,
        edit=EditConfig.model_validate({"modes": ["knob"]}),
        budget=BudgetConfig(kind="steps", amount=1.0),
        trial=TrialConfig(memory_bytes=size_limit_bytes or 0),
        limits=LimitsConfig(trials=limit or LimitsConfig().trials),
        menu=menu,
    )


def context_of(choice: Choice, task: Task, *, seed: int) -> ProposalContext:
    """What a proposer is asked at a choice: its incumbent, and the trials before it.

    Args:
        choice: of a corpus.
        task: of its campaign, by `task_of`.
        seed: the campaign's seed that a proposer draws from.
    """
    return ProposalContext(
        task=task,
        program_md="",
        source=program_of(tuple(choice.example.knobs.items())),
        knobs=choice.example.knobs,
        menu=task.menu,
        lineage=None,
        trials=trials_of(choice.before),
        trial_seq=choice.example.seq,
        attempt=0,
        seed=seed,
        incumbent_metric=None,
    )


def trials_of(examples: Sequence[Example]) -> tuple[Trial, ...]:
    """Choices as rows of a campaign, the baseline first."""
    return (_BASELINE, *(_trial(example) for example in examples))


def _row(seq: int, kind: TrialKind, status: Status) -> Trial:
    return Trial(
        trial_id=str(seq),
        campaign_id="corpus",
        seq=seq,
        kind=kind,
        phase=Phase.DECIDED,
        status=status,
        reason="as the corpus has it",
        metric=METRIC if status in FINISHED else None,
        created_at=EPOCH + timedelta(minutes=seq),
    )


_BASELINE = _row(0, TrialKind.BASELINE, Status.BASELINE)


def _trial(example: Example) -> Trial:
    choice = example.choice
    changes = {
        "parent_trial_id": str(example.parent_seq),
        "gain": example.gain,
        "gain_low": example.gain_low,
        "n_measurements": example.n_measurements,
        "edit": None if choice is None else {"kind": "knob", "knob": choice[0], "value": choice[1]},
        "edit_key": None if choice is None else f"{choice[0]}={choice[1]}",
    }
    return _row(example.seq, TrialKind.SEARCH, example.status).model_copy(update=changes)


@lru_cache(maxsize=64)
def program_of(knobs: tuple[tuple[str, object], ...]) -> str:
    """A program that has these knobs and does nothing: a model reads the values in it."""
    if not knobs:
        raise UserError("there are no knobs to race on")
    fields = "\n".join(f"    {name}: {type(value).__name__} = {value!r}" for name, value in knobs)
    return f"from dataclasses import dataclass\n\n\n@dataclass\nclass Knobs:\n{fields}\n"
