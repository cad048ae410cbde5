"""What a keep is worth under each rule: simulated campaigns, the real rules, noise of unknown size.

A campaign starts with three baseline seeds and proposes 100 changes. A change has no effect, or (in the mixtures, one
in ten) makes the true metric better by 1, 2 or 3 standard deviations of a measurement. Measurements are the true value
plus normal noise, independent between programs and seeds. The rules see what they see in a real campaign: measurements,
and the noise pooled over replicates of identical programs so far.

    python benchmarks/keep_rule.py [--campaigns 400] [--json]

A false keep is a kept change without effect. Power is the share of real changes kept. Measurements are counted per
trial, those of the incumbent included, the baseline's three left out. Banked is the true gain of the final incumbent as
a share of all the gain that was proposed.
"""

import argparse
import json
import math
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from memory.decide import Evidence, KeepRule, make_rule
from rails.task import KeepConfig

TRIALS = 100
BASELINE_SEEDS = 3
BASELINE = 1.7
NOISE_SD = 0.017
"""One per cent of the baseline, as measured on the CPU task."""
EFFECTIVE_SHARE = 0.1
SCENARIOS = {"null": 0.0, "gain_1sd": 1.0, "gain_2sd": 2.0, "gain_3sd": 3.0}
RULES = {
    "strict": KeepConfig(rule="strict"),
    "threshold": KeepConfig(rule="threshold", min_gain=0.01),
    "sequential": KeepConfig(rule="sequential"),
}


@dataclass
class Program:
    """A program's true metric and its measurements so far, by seed index."""

    true: float
    points: dict[int, float] = field(default_factory=dict[int, float])

    def measure(self, seed: int, rng: random.Random) -> None:
        """One more measurement."""
        self.points[seed] = self.true + rng.gauss(0.0, NOISE_SD)

    @property
    def squares(self) -> float:
        """Sum of squares around the mean."""
        mean = math.fsum(self.points.values()) / len(self.points)
        return math.fsum((value - mean) ** 2 for value in self.points.values())


@dataclass
class Campaign:
    """One simulated campaign, and what it counted."""

    rule: KeepRule
    rng: random.Random
    incumbent: Program = field(init=False)
    measurements: int = 0
    keeps: int = 0
    false_keeps: int = 0
    nulls: int = 0
    proposed: float = 0.0

    def __post_init__(self) -> None:
        self.incumbent = self.baseline = Program(BASELINE)
        for seed in range(BASELINE_SEEDS):
            self.baseline.measure(seed, self.rng)
        self._squares, self._df = 0.0, 0

    def trial(self, gain: float) -> None:
        """Propose one change with a true gain (in units of the metric) and let the rule decide."""
        candidate = Program(self.incumbent.true - gain)
        self.nulls += gain == 0
        self.proposed += gain
        while (decision := self.rule.decide(self._evidence(candidate))).action == "measure":
            assert decision.seed_index is not None
            target = candidate if decision.target == "candidate" else self.incumbent
            target.measure(decision.seed_index, self.rng)
            self.measurements += 1
        kept = decision.action == "keep"
        self.keeps += kept and gain > 0
        self.false_keeps += kept and gain == 0
        self._put_aside(self.incumbent if kept else candidate)
        if kept:
            self.incumbent = candidate

    def _put_aside(self, program: Program) -> None:
        """Its replicates go on counting for the noise."""
        if len(program.points) > 1:
            self._squares += program.squares
            self._df += len(program.points) - 1

    def _evidence(self, candidate: Program) -> Evidence:
        live = [program for program in (candidate, self.incumbent) if len(program.points) > 1]
        df = self._df + sum(len(program.points) - 1 for program in live)
        squares = self._squares + sum(program.squares for program in live)
        return Evidence(
            candidate=tuple(candidate.points.items()),
            incumbent=tuple(self.incumbent.points.items()),
            baseline=tuple(list(self.baseline.points.items())[:BASELINE_SEEDS]),
            noise_sd=math.sqrt(squares / df) if df else None,
            noise_df=df,
            direction="minimize",
        )


def simulate(config: KeepConfig, gain_sd: float, campaigns: int) -> dict[str, float | None]:
    """The figures of one rule in one scenario. Every rule meets the same sequence of changes."""
    done: list[Campaign] = []
    effective = 0
    for number in range(campaigns):
        plan = random.Random(f"{number}:plan")
        campaign = Campaign(make_rule(config), random.Random(f"{number}:{config.rule}:noise"))
        for _ in range(TRIALS):
            real = gain_sd > 0 and plan.random() < EFFECTIVE_SHARE
            effective += real
            campaign.trial(gain_sd * NOISE_SD if real else 0.0)
        done.append(campaign)
    proposed = sum(campaign.proposed for campaign in done)
    banked = sum(BASELINE - campaign.incumbent.true for campaign in done)
    return {
        "false_keeps_per_100": 100 * sum(c.false_keeps for c in done) / sum(c.nulls for c in done),
        "power": sum(c.keeps for c in done) / effective if effective else None,
        "measurements_per_trial": sum(c.measurements for c in done) / (TRIALS * campaigns),
        "banked": banked / proposed if proposed else None,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = {
        name: {scenario: simulate(config, gain, arguments.campaigns) for scenario, gain in SCENARIOS.items()}
        for name, config in RULES.items()
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{arguments.campaigns} campaigns of {TRIALS} trials a cell")
    print(f"{'rule':12}{'scenario':10}{'false keeps/100':>16}{'power':>8}{'measurements/trial':>20}{'banked':>8}")
    for name, scenarios in result.items():
        for scenario, row in scenarios.items():
            power, banked = (
                f"{100 * value:.0f} %" if value is not None else "–" for value in (row["power"], row["banked"])
            )
            cost = f"{row['measurements_per_trial']:.2f}"
            print(f"{name:12}{scenario:10}{row['false_keeps_per_100']:>16.3f}{power:>8}{cost:>20}{banked:>8}")


if __name__ == "__main__":
    main()
