"""The keep rule `sequential` as it was before it compared pairs: what the new one is held against.

A group-sequential t test on two independent means, with one noise sd pooled over all replicates. On a clock a
candidate's further seeds are new ones, on which the incumbent is measured in the same trial.
"""

import math
from dataclasses import replace

from memory.keep.comparison import compare, conclude
from memory.keep.evidence import Decision, Evidence, Points, new_seed, next_seed, seeds_without
from memory.keep.machine_change import since_change
from memory.statistics.student_t import t_cdf

KEEP_LEVEL = {False: 0.0015, True: 0.002}
FUTILITY = {False: (0.7, 1.0, 1.3, 1.6, 1.8, 2.0), True: (0.9, 1.3, 1.5, 1.7, 1.9, 2.1)}
FIRST_KEEP, CAP, INCUMBENT_CAP = 2, 7, 8
CONTROL_BOUND, REFRESH_TRIALS = 2.2, 12


class UnpairedRule:
    """The rule, for `benchmarks/keep_rule.py`."""

    name = "unpaired"
    most_measurements = CAP

    def decide(self, evidence: Evidence) -> Decision:
        """Give up, ask for the measurement that tells most, or keep."""
        clock, n = evidence.on_clock, len(evidence.candidate)
        if not {seed for seed, _ in evidence.candidate} & {seed for seed, _ in evidence.incumbent}:
            return self._first(evidence)
        usable = since_change(evidence.incumbent, evidence.noise_sd) if clock else evidence.incumbent
        statistic = _statistic(evidence, evidence.candidate, usable)
        if statistic < FUTILITY[clock][min(n, 6) - 1]:
            return self._end(evidence, "discard")
        missing = seeds_without(evidence.candidate, evidence.incumbent)
        if n >= FIRST_KEEP and missing and (clock or len(evidence.incumbent) < INCUMBENT_CAP):
            return self._measure(evidence, "incumbent", missing[0])
        proven = 1 - t_cdf(statistic, evidence.noise_df) <= KEEP_LEVEL[clock]
        if n >= FIRST_KEEP and proven and (not clock or self._controlled(evidence)):
            return self._end(evidence, "keep")
        if n >= CAP:
            return self._end(evidence, "discard")
        return self._measure(evidence, "candidate", new_seed(evidence) if clock else next_seed(evidence))

    def _first(self, evidence: Evidence) -> Decision:
        if evidence.candidate:
            return self._measure(evidence, "incumbent", evidence.candidate[0][0])
        stale = evidence.on_clock and evidence.since_control >= REFRESH_TRIALS
        first = new_seed(evidence) if stale else min(seed for seed, _ in evidence.incumbent)
        return self._measure(evidence, "candidate", first)

    def _controlled(self, evidence: Evidence) -> bool:
        made = tuple(point for point in evidence.incumbent if point[0] in evidence.controls)
        return bool(made) and _statistic(evidence, evidence.candidate, made) >= CONTROL_BOUND

    def _measure(self, evidence: Evidence, target: str, seed: int) -> Decision:
        return Decision(
            action="measure", target="incumbent" if target == "incumbent" else "candidate", seed_index=seed, reason=""
        )

    def _end(self, evidence: Evidence, action: str) -> Decision:
        found = compare(replace(evidence, pairs=()))
        return conclude("keep" if action == "keep" else "discard", found, evidence, "", rule=self.name)


def _statistic(evidence: Evidence, ours: Points, theirs: Points) -> float:
    if evidence.noise_sd is None:
        return 0.0
    mine, others = ([metric for _, metric in points] for points in (ours, theirs))
    difference = math.fsum(others) / len(others) - math.fsum(mine) / len(mine)
    return difference / (evidence.noise_sd * math.sqrt(1 / len(mine) + 1 / len(others)))
