"""Tree-structured Parzen estimator over single-knob moves, with Optuna.

Algorithm: Bergstra et al., Algorithms for Hyper-Parameter Optimization (NeurIPS 2011). The space is conditional: first
a knob, then a value of that knob; a move's objective is its relative change against its parent. The study is built
again from the history at every call, in memory: the store stays the only record. Import this module lazily: Optuna
takes a second.
"""

from collections.abc import Iterator

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from agents.base import KnobValue
from agents.statistical.history import History, worst_gain
from agents.statistical.moves import MoveSpace
from rails.scales import ends, is_wide, rounded


def tpe_moves(space: MoveSpace, history: History, seed: int, limit: int) -> Iterator[tuple[str, KnobValue]]:
    """Moves as the estimator would try them, best first; repeats and illegal ones included.

    A drawn move stays in the study as running, so that the next one lies elsewhere.

    Args:
        space: legal moves from the incumbent.
        history: what was tried, and what it brought.
        seed: for the sampler's random numbers.
        limit: how many moves to draw at most.
    """
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=1, multivariate=False, constant_liar=True)
        study = optuna.create_study(direction="minimize", sampler=sampler)
        study.add_trials(_frozen_trials(space, history))
        for _ in range(limit):
            yield _ask(study, space)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _ask(study: optuna.Study, space: MoveSpace) -> tuple[str, KnobValue]:
    trial = study.ask()
    name = str(trial.suggest_categorical("knob", list(space.names)))
    match _distribution(space, name):
        case CategoricalDistribution(choices=choices):
            value = trial.suggest_categorical(name, list(choices))
        case IntDistribution(low=low, high=high, log=log):
            value = trial.suggest_int(name, low, high, log=log)
        case FloatDistribution(low=low, high=high, log=log):
            value = rounded(trial.suggest_float(name, low, high, log=log), low, high)
        case other:
            raise TypeError(f"no such distribution here: {other}")
    assert isinstance(value, int | float | str)
    return name, value


def _frozen_trials(space: MoveSpace, history: History) -> list[optuna.trial.FrozenTrial]:
    """The history as finished trials of a study, in order. Values that have left the menu are skipped."""
    bad = worst_gain(history.outcomes)
    knobs = CategoricalDistribution(list(space.names))
    trials: list[optuna.trial.FrozenTrial] = []
    for outcome in history.outcomes:
        if outcome.knob not in space.names or space.knob(outcome.knob).check(outcome.value) is not None:
            continue
        trials.append(
            optuna.trial.create_trial(
                params={"knob": outcome.knob, outcome.knob: outcome.value},
                distributions={"knob": knobs, outcome.knob: _distribution(space, outcome.knob)},
                value=-(bad if outcome.gain is None else outcome.gain),
            )
        )
    return trials


def _distribution(space: MoveSpace, name: str) -> BaseDistribution:
    """The values of one knob, as Optuna describes them."""
    knob = space.knob(name)
    if knob.choices is not None:
        return CategoricalDistribution(list(knob.choices))
    low, high = ends(knob)
    if knob.type == "int":
        return IntDistribution(int(low), int(high), log=is_wide(knob))
    return FloatDistribution(low, high, log=is_wide(knob))
