"""Searches over whole knob settings, with Optuna: a covariance-matrix adaptation and a Gaussian process.

They see one noisy function of all knobs, as people use them elsewhere: what a setting scored, not what it was changed
from. The study is built again from the history at every call, in memory: the store stays the only record. CMA-ES has a
state besides, so its whole run is gone through again: it asks, is told what is known, and what is not known is the next
proposal. Import this module lazily: Optuna takes a second.
"""

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from agents.base import KnobValue
from agents.statistical.moves import Config, MoveSpace, config_key
from rails.scales import ends, is_wide, rounded

Setting: TypeAlias = Mapping[str, KnobValue]
ScoreOf: TypeAlias = Callable[[Config], float | None]
"""What a setting is told to have scored, lower is better; None: it was not tried, and is what is looked for."""

CMA_ASKS = 400
"""So many asks a CMA-ES run may take until it offers something new: on a small menu it repeats itself for long."""

GP_ASKS = 4
"""Likewise for the Gaussian process, whose every ask is a fit and a search."""


def cma_setting(space: MoveSpace, score_of: ScoreOf, start: Setting, seed: int) -> Setting | None:
    """What CMA-ES wants to know next, from a run that begins at the middle of the menu.

    Args:
        space: the menu.
        score_of: what is known.
        start: the starting point of the campaign, which is known.
        seed: of the whole run, the same at every call.
    """
    with _quiet():
        sampler = optuna.samplers.CmaEsSampler(seed=seed, with_margin=True, warn_independent_sampling=False)
        study = optuna.create_study(direction="minimize", sampler=sampler)
        study.add_trial(_told(space, start, score_of(config_key(start)) or 0.0, ordinal=True))
        return _asked(study, space, score_of, CMA_ASKS, ordinal=True)


def gp_setting(space: MoveSpace, score_of: ScoreOf, known: list[Setting], seed: int) -> Setting | None:
    """What a Gaussian process that was fitted to all that is known wants to know next.

    Args:
        space: the menu.
        score_of: what is known.
        known: the settings that are, in the order in which they were tried.
        seed: of this call.
    """
    with _quiet():
        sampler = optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        study = optuna.create_study(direction="minimize", sampler=sampler)
        for setting in known:
            score = score_of(config_key(setting))
            if score is not None and _fits(space, setting):
                study.add_trial(_told(space, setting, score, ordinal=False))
        return _asked(study, space, score_of, GP_ASKS, ordinal=False)


@contextmanager
def _quiet() -> Generator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _asked(study: optuna.Study, space: MoveSpace, score_of: ScoreOf, limit: int, *, ordinal: bool) -> Setting | None:
    """A setting of which nothing is known; the sampler is told of the others that it asks for. None: it has none."""
    distributions = {name: _distribution(space, name, ordinal=ordinal) for name in space.names}
    for _ in range(limit):
        trial = study.ask(distributions)
        setting = {name: _decoded(space, name, trial.params[name], ordinal=ordinal) for name in space.names}
        score = score_of(config_key({**space.knobs, **setting}))
        if score is None:
            return setting
        study.tell(trial, score)
    return None


def _told(space: MoveSpace, setting: Setting, score: float, *, ordinal: bool) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(
        params={name: _encoded(space, name, setting[name], ordinal=ordinal) for name in space.names},
        distributions={name: _distribution(space, name, ordinal=ordinal) for name in space.names},
        value=score,
    )


def _fits(space: MoveSpace, setting: Setting) -> bool:
    return all(space.knob(name).check(setting[name]) is None for name in space.names)


def _distribution(space: MoveSpace, name: str, *, ordinal: bool) -> BaseDistribution:
    """The values of one knob: choices by their place on the menu, where they have an order or must have one."""
    knob = space.knob(name)
    if knob.choices is not None:
        if ordinal or not any(isinstance(value, str) for value in knob.choices):
            return IntDistribution(0, len(knob.choices) - 1)
        return CategoricalDistribution(list(knob.choices))
    low, high = ends(knob)
    if knob.type == "int":
        return IntDistribution(int(low), int(high), log=is_wide(knob))
    return FloatDistribution(low, high, log=is_wide(knob))


def _encoded(space: MoveSpace, name: str, value: KnobValue, *, ordinal: bool) -> KnobValue:
    choices = space.knob(name).choices
    if choices is None or isinstance(_distribution(space, name, ordinal=ordinal), CategoricalDistribution):
        return value
    return sorted(choices, key=_rank).index(value)  # pyright: ignore[reportArgumentType]


def _decoded(space: MoveSpace, name: str, value: KnobValue, *, ordinal: bool) -> KnobValue:
    knob = space.knob(name)
    if knob.choices is None:
        low, high = ends(knob)
        assert isinstance(value, int | float)
        return rounded(value, low, high) if knob.type == "float" else int(value)
    if isinstance(_distribution(space, name, ordinal=ordinal), CategoricalDistribution):
        return value
    return sorted(knob.choices, key=_rank)[int(value)]


def _rank(value: KnobValue) -> tuple[bool, float]:
    """Numbers by size; texts stay as the menu has them."""
    return (True, 0.0) if isinstance(value, str) else (False, float(value))
