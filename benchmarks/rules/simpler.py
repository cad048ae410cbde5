"""What a keep as simpler is worth: simulated nights under the real rules, with a margin of two standard deviations.

The program of each candidate is simpler; it is as good as the incumbent, or worse by as much as is named, in standard
deviations of a measurement. As in the loop a candidate is judged as a gain first, and once it is given up as that, as a
simplification, against the best program that the incumbent stands on.

    python benchmarks/rules/simpler.py [--candidates 6000] [--nights 100]

In the first table every candidate is held against the same incumbent: `kept` is the share that was kept as simpler. In
the second each keep is the incumbent of the next candidate, and every one is truly a little worse than it: how far the
last incumbent of a night of 60 is below the best that there was.
"""

import argparse
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.keep_rule import BASELINE, NOISE_SD, Night, Program, Scenario
from memory.keep.evidence import Evidence
from memory.keep.rules import make_rule, simpler_rule
from memory.statistics.pairs import pair_spread
from rails.task import KeepConfig

MARGIN_SD = 2.0
NIGHT = 60
_KEEP = KeepConfig(rule="sequential")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of candidates."""

    kept: float
    """The share kept as simpler."""
    as_gain: float
    """The share kept as a gain."""
    measurements: float
    """Per candidate, those of others on its behalf included."""


class SimplerNight(Night):
    """A night of candidates that are all simpler.

    Args:
        correlation: of a candidate's noise with its incumbent's.
        loss_sd: how much worse than its incumbent each is.
        number: of the night.
        replaces: whether a keep is the next incumbent.
    """

    def __init__(self, correlation: float, loss_sd: float, number: int, *, replaces: bool) -> None:
        super().__init__(Scenario(correlations=(correlation,)), make_rule(_KEEP), False, number)
        self._correlation, self._loss, self._replaces = correlation, loss_sd * NOISE_SD, replaces
        self._simpler = simpler_rule(_KEEP)
        self.kept = self.gained = 0

    def run(self) -> None:
        """Propose one simplification after the other."""
        for _ in range(NIGHT):
            self._simplify()

    def below_best_sd(self) -> float:
        """How much worse the last incumbent truly is than the best that it stands on."""
        return (self.incumbent.true - min(p.true for p in self._chain())) / NOISE_SD

    def _simplify(self) -> None:
        self.now += 1
        candidate, against = Program(self.incumbent.true + self._loss, self.incumbent, self._correlation), None
        while True:
            decision = self.rule.decide(self._evidence(candidate))
            if against is not None or decision.action == "discard":
                against = self._chain()[-1]  # nothing is kept as a gain here: the best stays where the night began
                decision = self._simpler.decide(self._held_against(candidate, against))
            if decision.action != "measure":
                break
            assert decision.seed_index is not None
            self._measure(
                candidate if decision.target == "candidate" else against or self.incumbent, decision.seed_index
            )
            self.measurements += 1
        if (pair := pair_spread(candidate.points, self.incumbent.points)) is not None:
            self._pairs.append(pair)
        kept = decision.action == "keep"
        self.kept, self.gained = self.kept + (kept and against is not None), self.gained + (kept and against is None)
        replaced = kept and self._replaces
        self._put_aside(self.incumbent if replaced else candidate)
        if replaced:
            self.incumbent = candidate

    def _held_against(self, candidate: Program, program: Program) -> Evidence:
        evidence = self._evidence(candidate)
        pairs = evidence.pairs if program is self.incumbent else ()
        points, margin = tuple(program.points.items()), MARGIN_SD * NOISE_SD / BASELINE
        return replace(evidence, incumbent=points, pairs=pairs, margin=margin)

    def _chain(self) -> list[Program]:
        chain, program = list[Program](), self.incumbent
        while program is not None:
            chain.append(program)
            program = program.parent
        return chain


def simulate(correlation: float, loss_sd: float, candidates: int) -> Row:
    """Candidates that are all worse than the same incumbent by so much."""
    nights = [SimplerNight(correlation, loss_sd, n, replaces=False) for n in range(math.ceil(candidates / NIGHT))]
    for night in nights:
        night.run()
    proposed = NIGHT * len(nights)
    return Row(
        kept=sum(night.kept for night in nights) / proposed,
        as_gain=sum(night.gained for night in nights) / proposed,
        measurements=sum(night.measurements for night in nights) / proposed,
    )


def losses_of_runs(correlation: float, loss_sd: float, nights: int) -> list[float]:
    """How far each night ends below its best, in standard deviations, when every keep costs so much."""
    done = [SimplerNight(correlation, loss_sd, number, replaces=True) for number in range(nights)]
    for night in done:
        night.run()
    return sorted(night.below_best_sd() for night in done)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=6000, help="simulated in each cell of the first table")
    parser.add_argument("--nights", type=int, default=100, help="simulated in each cell of the second")
    arguments = parser.parse_args()
    print(f"margin {MARGIN_SD:g} sd, {arguments.candidates} candidates a cell")
    print(f"{'correlation':>11}{'worse by':>10}{'kept':>9}{'as a gain':>11}{'measured/trial':>16}")
    for correlation in (0.0, 0.4, 0.9):
        for loss_sd in (0.0, 1.0, MARGIN_SD, 3.0):
            row = simulate(correlation, loss_sd, arguments.candidates)
            cells = f"{row.kept:>9.2%}{row.as_gain:>11.2%}{row.measurements:>16.2f}"
            print(f"{correlation:>11}{loss_sd:>7g} sd{cells}", flush=True)
    print(f"\n{arguments.nights} nights a cell: sd below the best at the end")
    print(f"{'correlation':>11}{'each worse by':>15}{'median':>9}{'90 %':>8}{'most':>8}{'over the margin':>17}")
    for correlation in (0.0, 0.4, 0.9):
        for loss_sd in (0.1, 0.5):
            ends = losses_of_runs(correlation, loss_sd, arguments.nights)
            nine = quantiles(ends, n=10)[-1]
            over = sum(end > MARGIN_SD + 1e-9 for end in ends) / len(ends)
            cells = f"{ends[len(ends) // 2]:>9.2f}{nine:>8.2f}{ends[-1]:>8.2f}{over:>17.1%}"
            print(f"{correlation:>11}{loss_sd:>12g} sd{cells}", flush=True)


if __name__ == "__main__":
    main()
