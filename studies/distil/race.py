"""The race: everybody is asked the same held-out choices, and the figures stand side by side."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from agents.statistical.moves import Config, config_key
from rails.errors import UserError
from studies.distil.baselines import ConditionalLogit, Marginal, Uniform
from studies.distil.corpus import Corpus, Example, Pair
from studies.distil.measures import Prediction, Truth, difference, figures_of, nll_of
from studies.distil.racers import DistributionRacer, Racer
from studies.distil.views import Choice, heldout_choices, training_choices

SAMPLES = 5
MARGINAL, LOGIT, UNIFORM = "marginal", "conditional logit", "uniform"


def standing_racers(corpus: Corpus) -> list[Racer]:
    """Those who are in every race: counts, a conditional logit, and every option alike."""
    choices = training_choices(corpus)
    return [
        DistributionRacer(MARGINAL, Marginal(choices)),
        DistributionRacer(LOGIT, ConditionalLogit(choices)),
        DistributionRacer(UNIFORM, Uniform()),
    ]


def race(
    corpus: Corpus,
    racers: Sequence[Racer],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    joules: Callable[[], float | None] = lambda: None,
) -> dict[str, Any]:
    """The figures of every racer, and of those who are in every race, over the corpus's held-out choices.

    Args:
        corpus: its training part fits those who are in every race.
        racers: who else takes part.
        samples: draws of each for each choice.
        seed: for draws.
        joules: reads the machine's meter; None where it has none.

    Raises:
        UserError: nothing is held out, or two racers have one name.
    """
    choices = heldout_choices(corpus)
    if not any(choice.example.choice is not None for choice in choices):
        what = "there is nothing to race on: no held-out trial set one knob"
        raise UserError(what, fix="hold out more: `nightshift distill corpus … --holdout N`")
    everybody = [*racers, *standing_racers(corpus)]
    names = [racer.name for racer in everybody]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name} is in the race twice", fix="name everybody once; the baselines always take part")
    gains = recorded_gains(corpus)
    truths = [_truth(choice, gains) for choice in choices]
    found: dict[str, Any] = {}
    nll: dict[str, list[float]] = {}
    for racer in everybody:
        predictions = _predictions(racer, choices, samples, seed, joules)
        found[racer.name] = figures_of(predictions, truths)
        nll[racer.name] = nll_of(predictions, truths)
    for name, values in nll.items():
        found[name]["nll_less_marginal"] = difference(values, nll[MARGINAL]) if values else None
    return {"rows": len(choices), "samples": samples, "seed": seed, "proposers": found}


def _predictions(
    racer: Racer, choices: Sequence[Choice], samples: int, seed: int, joules: Callable[[], float | None]
) -> list[Prediction]:
    """Everything that a racer says, with the energy that it took, shared evenly over its draws."""
    before = joules()
    said = [racer.predict(choice, place, samples, seed) for place, choice in enumerate(choices)]
    after = joules()
    if before is None or after is None:
        return said
    asked = sum(len(one.samples) if one.chances is None else 1 for one in said)
    each = (after - before) / max(asked, 1)
    return [replace(one, joules=each) for one in said]


Place = tuple[int, Config]
"""A campaign, and the knob setting that a move starts from."""


def recorded_gains(corpus: Corpus) -> dict[Place, dict[Pair, float]]:
    """The mean gain of every move that is on record, by where it starts: what a pick can be looked up in."""
    found: dict[Place, dict[Pair, list[float]]] = defaultdict(lambda: defaultdict(list))
    for example in (*corpus.train, *corpus.heldout):
        if example.choice is not None and example.gain is not None:
            found[_place(example)][example.choice].append(example.gain)
    return {
        place: {pair: math.fsum(gains) / len(gains) for pair, gains in moves.items()} for place, moves in found.items()
    }


def _place(example: Example) -> Place:
    return example.campaign, config_key(example.knobs)


def _truth(choice: Choice, gains: dict[Place, dict[Pair, float]]) -> Truth:
    example = choice.example
    return Truth(
        choice=example.choice,
        options=example.options,
        target=example.target,
        gains=gains.get(_place(example), {}),
    )
