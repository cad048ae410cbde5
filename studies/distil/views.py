"""A corpus as its users need it: situations to choose in, made from the choices before each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agents.local.situation import Situation
from agents.statistical.history import Outcome
from agents.statistical.moves import Config, config_key
from rails.status import QUARANTINED
from studies.distil.corpus import CampaignCard, Corpus, Example


@dataclass(frozen=True, slots=True)
class Choice:
    """An example with the situation that it was made in."""

    example: Example
    situation: Situation
    before: Sequence[Example]
    """The examples before it in its campaign."""


def training_choices(corpus: Corpus) -> list[Choice]:
    """The choices to train on. Nothing that is held out is looked at."""
    return [choice for index in range(len(corpus.campaigns)) for choice in _walk(corpus, index, corpus.train)]


def heldout_choices(corpus: Corpus) -> list[Choice]:
    """The held-out choices; each knows everything before it in its campaign, what is trained on included."""
    found: list[Choice] = []
    for index in range(len(corpus.campaigns)):
        before = sum(example.campaign == index for example in corpus.train)
        walked = list(_walk(corpus, index, [*corpus.train, *corpus.heldout]))
        found += walked[before:]
    return found


def _walk(corpus: Corpus, index: int, examples: Sequence[Example]) -> Iterator[Choice]:
    """The choices of one campaign in order, each with those before it."""
    campaign = corpus.campaigns[index]
    outcomes: list[Outcome] = []
    tried = {config_key(campaign.menu.defaults())}
    mine = [one for one in examples if one.campaign == index]
    for place, example in enumerate(mine):
        situation = _situation(campaign, example, tuple(outcomes), frozenset(tried))
        yield Choice(example, situation, mine[:place])
        tried.add(config_key(example.knobs))
        if example.status not in QUARANTINED:
            tried.add(config_key(example.after))
        if example.outcome is not None:
            outcomes.append(example.outcome)


def _situation(
    campaign: CampaignCard, example: Example, outcomes: tuple[Outcome, ...], tried: frozenset[Config]
) -> Situation:
    return Situation(
        menu=campaign.menu,
        knobs=example.knobs,
        outcomes=outcomes,
        tried=tried,
        options=example.options,
        seq=example.seq,
        limit=campaign.limit,
    )
