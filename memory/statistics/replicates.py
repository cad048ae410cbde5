"""Which trials of a campaign ran equal programs, and what their measurements say of the noise, from trial to trial.

The same to the last bit as the view `noise` of memory/database/views.sql, which says what counts. A change costs the
program that it is about: a night measures candidates and incumbents again all the time, and does not look through a
thousand trials for each.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from memory.records import Measurement, MeasurementState, Trial
from memory.statistics.noise import Noise
from rails.status import FINISHED

MeasurementsOf = Callable[[str], Sequence[Measurement]]
"""The measurements of a trial, by its id."""


class Replicates:
    """The programs of one campaign on one machine.

    Args:
        machine: fingerprint of the machine whose measurements count.
        logarithms: whether scores are compared on logarithms: then the spread is theirs.
        trials: of the campaign.
    """

    def __init__(self, machine: str, logarithms: bool, trials: Iterable[Trial]) -> None:
        self._machine, self._logarithms = machine, logarithms
        self._program_of: dict[str, str] = {}
        self._trials_of: dict[str, dict[str, None]] = {}
        self._spreads: dict[str, tuple[int, float]] = {}
        """Degrees of freedom and sum of squares of each program that was measured twice."""
        self._stale: set[str] = set()
        self._noise = Noise(sd=None, df=0)
        for trial in trials:
            self.take(trial)

    def take(self, trial: Trial) -> None:
        """Take note of a trial that is new, or has changed."""
        program, before = trial.program_key or trial.trial_id, self._program_of.get(trial.trial_id)
        if before is not None and before != program:
            del self._trials_of[before][trial.trial_id]
            self._stale.add(before)
        self._program_of[trial.trial_id] = program
        self._trials_of.setdefault(program, {})[trial.trial_id] = None
        self._stale.add(program)

    def measured(self, trial_id: str) -> None:
        """Take note that a trial's measurements have changed."""
        self._stale.add(self._program_of[trial_id])

    def noise(self, trials: Mapping[str, Trial], measurements_of: MeasurementsOf) -> Noise:
        """The spread of one measurement, pooled over all programs.

        Args:
            trials: of the campaign, by id.
            measurements_of: asked only for what has changed since the last time.
        """
        if self._stale:
            for program in self._stale:
                ran = sorted((trials[trial_id] for trial_id in self._trials_of[program]), key=lambda trial: trial.seq)
                self._spreads.pop(program, None)
                draws = self._draws(ran, measurements_of)
                if len(draws) > 1:
                    self._spreads[program] = len(draws) - 1, _squares(sorted(draws))
            self._stale.clear()
            self._noise = _pooled(self._spreads.values())
        return self._noise

    def _draws(self, ran: Sequence[Trial], measurements_of: MeasurementsOf) -> list[float]:
        """The independent measurements of a program: the first one with each seed."""
        found: dict[int, float] = {}
        for trial in ran:
            if trial.status is None or trial.status in FINISHED:
                for done in sorted(measurements_of(trial.trial_id), key=lambda m: (m.seed_index, m.measurement_id)):
                    here = done.machine == self._machine and done.state is MeasurementState.MEASURED
                    if here and done.score is not None and (done.score > 0 or not self._logarithms):
                        found.setdefault(done.seed, done.score)
        return list(map(math.log, found.values())) if self._logarithms else list(found.values())


def _pooled(spreads: Iterable[tuple[int, float]]) -> Noise:
    known = list(spreads)
    df, squares = sum(df for df, _ in known), 0.0
    for one in sorted(squares for _, squares in known):  # not sum(): that rounds otherwise from one Python to the next
        squares += one
    return Noise(sd=math.sqrt(squares / df), df=df) if df else Noise(sd=None, df=0)


def _squares(values: Sequence[float]) -> float:
    """Sum of squared distances from the mean, rounded as DuckDB's var_pop does (https://doi.org/10.2307/1266577)."""
    mean, squares = 0.0, 0.0
    for count, value in enumerate(values, 1):
        distance = value - mean
        mean += distance / count
        squares += distance * (value - mean)
    return squares / len(values) * len(values)
