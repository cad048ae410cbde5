"""From a campaign's record to the choices that were made in it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from agents.base import KnobValue
from agents.local.features import positions
from agents.local.prompt import short_prompt
from agents.local.situation import Option, ladder_options, with_tried_values
from agents.statistical.history import Outcome
from agents.statistical.moves import Config, MoveSpace, config_key
from memory.record_set import RecordSet
from memory.records import Call, Phase, Trial, TrialKind
from rails.errors import UserError
from rails.menu import Menu
from rails.status import Status
from studies.distil.corpus import CampaignCard, Corpus, Example, NoTarget
from studies.distil.prompts import sent_prompt
from studies.distil.splits import DEFAULT_HOLDOUT, refuse_twice, split_by_time, split_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A campaign to make choices of."""

    source: str
    records: RecordSet
    menu: Menu | None = None
    """What could be changed, where a person says it; None: what the record says."""
    start: Mapping[str, KnobValue] = field(default_factory=dict[str, KnobValue])
    """Values of the first program, where a log states them; else the menu's defaults."""


def build_corpus(
    recorded: Sequence[Recorded],
    *,
    holdout: int = DEFAULT_HOLDOUT,
    held_out: Sequence[int] = (),
    private: bool = False,
) -> Corpus:
    """The corpus of campaigns.

    Args:
        recorded: each once.
        holdout: how many of the last trials of each campaign are held out; of a short one at most a quarter.
        held_out: places of campaigns that are held out as a whole.
        private: whether prompts may have program.md in them.

    Raises:
        UserError: a campaign twice, one without a menu, nothing to train on.
    """
    corpus = Corpus()
    for index, one in enumerate(recorded):
        campaign, examples = choices_of(one, index, split=split_of(index, held_out), private=private)
        train, heldout = ([], examples) if index in held_out else split_by_time(examples, holdout)
        corpus.campaigns.append(campaign)
        corpus.train += train
        corpus.heldout += heldout
    refuse_twice(corpus.campaigns)
    if not any(example.target is not None for example in corpus.train):
        what = "there is nothing to train on: no trial set one knob to another value that its menu allows"
        raise UserError(what, fix="give campaigns with knob edits, and --menu FILE for logs that state no menu")
    return corpus


def choices_of(
    recorded: Recorded, index: int = 0, *, split: str = "time", private: bool = False
) -> tuple[CampaignCard, list[Example]]:
    """One campaign's card and its choices, by number.

    Args:
        recorded: the campaign.
        index: its place in the corpus.
        split: how it is split.
        private: whether prompts may have program.md in them.

    Raises:
        UserError: nobody says which knobs and values there were.
    """
    task = recorded.records.campaign.task
    menu = recorded.menu or _own_menu(task, recorded.source)
    trials = [trial for trial in recorded.records.trials if trial.phase is Phase.DECIDED]
    fixed = _is_fixed(trials)
    walk = _Walk(
        menu=menu,
        start={**menu.defaults(), **{name: value for name, value in recorded.start.items() if name in menu.knobs}},
        index=index,
        size_limit_bytes=(task.get("trial") or {}).get("memory_bytes") or None,
        limit=(task.get("limits") or {}).get("trials"),
        rebuilt=f"rebuilt ({'fixed' if fixed else 'rolling'} baseline)",
    )
    calls: dict[str, list[Call]] = {}
    for call in recorded.records.calls:
        calls.setdefault(call.trial_id, []).append(call)
    for trial in trials:
        walk.add(trial, sent_prompt(calls.get(trial.trial_id, ()), private=private))
    said = [(example.choice, example.status, example.gain) for example in walk.examples]
    card = CampaignCard(
        source=recorded.source,
        campaign_id=recorded.records.campaign.campaign_id,
        proposer=recorded.records.campaign.proposer,
        menu=menu,
        baseline="fixed" if fixed else "rolling",
        size_limit_bytes=walk.size_limit_bytes,
        limit=walk.limit,
        split=split,
        fingerprint=sha256(json.dumps(said, default=str).encode()).hexdigest(),
    )
    return card, walk.examples


def _own_menu(task: Mapping[str, Any], source: str) -> Menu:
    try:
        return Menu.model_validate(task.get("menu"))
    except ValueError as error:
        what = "the record does not say which knobs and values were allowed"
        raise UserError(what, where=source, fix="name them with --menu FILE") from error


def _is_fixed(trials: Sequence[Trial]) -> bool:
    """Whether something was kept, and what came later was applied to the first program all the same."""
    first = next((trial.trial_id for trial in trials if trial.kind is TrialKind.BASELINE), None)
    keeps = [trial.seq for trial in trials if trial.status is Status.KEEP]
    after = [trial for trial in trials if keeps and trial.seq > keeps[0]]
    return bool(after) and all(trial.parent_trial_id in (first, None) for trial in after)


@dataclass(kw_only=True)
class _Walk:
    """A campaign walked through once: where each trial stood, and what was known then."""

    menu: Menu
    start: dict[str, KnobValue]
    index: int
    size_limit_bytes: int | None
    limit: int | None
    rebuilt: str
    examples: list[Example] = field(default_factory=list[Example])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    settings: dict[str | None, tuple[int, dict[str, KnobValue]]] = field(
        default_factory=dict[str | None, tuple[int, dict[str, KnobValue]]]
    )
    ladders: dict[Config, list[Option]] = field(default_factory=dict[Config, list[Option]])

    def add(self, trial: Trial, sent: list[dict[str, Any]] | None) -> None:
        """The next trial."""
        parent_seq, knobs = self.settings.get(trial.parent_trial_id, (0, self.start))
        choice = _choice(trial)
        known = choice is not None and choice[0] in self.menu.knobs
        after = {**knobs, choice[0]: choice[1]} if choice is not None and known else knobs
        self.settings[trial.trial_id] = (trial.seq, after)
        if trial.kind is TrialKind.BASELINE or trial.status is None:
            return
        space = MoveSpace(self.menu, knobs, size_limit_bytes=self.size_limit_bytes)
        key = config_key(knobs)
        if key not in self.ladders:
            self.ladders[key] = ladder_options(space)
        options = with_tried_values(space, self.ladders[key], self.outcomes)
        no_target = _no_target(space, choice)
        target = None if no_target is not None or choice is None else _nearest(self.menu, options, choice)
        prompt = sent or self._rebuilt_prompt(trial, knobs)
        self.examples.append(
            Example(
                campaign=self.index,
                seq=trial.seq,
                parent_seq=parent_seq,
                knobs=knobs,
                options=options,
                choice=choice,
                target=target,
                snapped=target is not None and options[target] != choice,
                no_target=no_target if target is None else None,
                status=trial.status,
                gain=trial.gain,
                gain_low=trial.gain_low,
                n_measurements=trial.n_measurements,
                prompt=prompt,
                prompt_from="call" if sent else self.rebuilt,
            )
        )
        outcome = self.examples[-1].outcome
        if outcome is not None:
            self.outcomes.append(outcome)

    def _rebuilt_prompt(self, trial: Trial, knobs: Mapping[str, KnobValue]) -> list[dict[str, Any]]:
        return [{"role": "user", "content": short_prompt(self.menu, knobs, self.outcomes, trial.seq)}]


def _choice(trial: Trial) -> Option | None:
    match trial.edit:
        case {"kind": "knob", "knob": str(knob), "value": int() | float() | str() as value}:
            return knob, value
        case _:
            return None


def _no_target(space: MoveSpace, choice: Option | None) -> NoTarget | None:
    """Why a choice is no legal move; None when it is one."""
    if choice is None:
        return NoTarget.NOT_A_KNOB
    name, value = choice
    if name not in space.names or space.knob(name).check(value) is not None:
        return NoTarget.OFF_MENU
    if value == space.current(name):
        return NoTarget.NO_OP
    return None if space.legal(name, value) else NoTarget.ILLEGAL


def _nearest(menu: Menu, options: Sequence[Option], choice: Option) -> int | None:
    """The place of the option that was chosen, or of the nearest value of its knob; None where the knob has none."""
    name, value = choice
    if choice in options:
        return options.index(choice)
    places = [place for place, option in enumerate(options) if option[0] == name]
    where = positions(menu.knobs[name])
    return min(places, key=lambda place: abs(where(options[place][1]) - where(value)), default=None)
