"""What a keep is worth under each rule: simulated campaigns, the real rules, noise of unknown size.

A campaign starts with three baseline seeds and proposes 100 changes. A change has no effect, or (in the mixtures, one
in ten) makes the true metric better by 1, 2 or 3 standard deviations of a measurement. Measurements are the true value
plus normal noise, independent between programs and seeds. The rules see what they see in a real campaign: measurements,
and the noise pooled over replicates of identical programs so far. `sequential` is met twice: as on a budget of steps,
and as on one of seconds (`on a clock`), where it takes controls.

Then the machine changes: from trial 50 on every measurement is better ("faster") or worse ("slower") by 2 to 3 standard
deviations, or it creeps there over the whole night.

Last come nights of other lengths in which nothing has an effect: all candidates as noisy as the baseline, or one in ten
with three times its standard deviation, as a program that diverges with some seeds.

    python benchmarks/keep_rule.py [--campaigns 400] [--json]

A false keep is a kept change without effect; `around` are those in the ten trials from the change on, per campaign.
Power is the share of real changes kept, `after` of those from the change on. Measurements are counted per trial, those
of the incumbent included, the baseline's three left out. Banked is the true gain of the final incumbent as a share of
all the gain that was proposed. `±` is the standard error of the number before it, `a night` how many false keeps there
are in one.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from memory.keep.rules import Evidence, KeepRule, make_rule
from rails.task import KeepConfig

TRIALS = 100
CHANGE_AT = TRIALS // 2
AROUND = 10
BASELINE_SEEDS = 3
BASELINE = 1.7
NOISE_SD = 0.017
"""One per cent of the baseline, as measured on the CPU task."""
EFFECTIVE_SHARE = 0.1

NIGHTS = (12, 40, TRIALS)
"""Trials of a night; the first is what `nightshift init` writes into task.toml."""
NIGHT_TRIALS = 600
"""In nights of one kind, together, for each campaign of the other cells: rates this small need many."""
NOISY_SHARE, NOISY_FACTOR = 0.1, 3.0

Row: TypeAlias = dict[str, float | None]
Machine: TypeAlias = Callable[[int, float], float]
"""What the machine adds to a measurement, in standard deviations: by trial, and the size of its change."""

SCENARIOS = {"null": 0.0, "gain_1sd": 1.0, "gain_2sd": 2.0, "gain_3sd": 3.0}
MACHINES: dict[str, Machine] = {
    "steady": lambda trial, size: 0.0,
    "faster": lambda trial, size: -size if trial >= CHANGE_AT else 0.0,
    "slower": lambda trial, size: size if trial >= CHANGE_AT else 0.0,
    "creeping": lambda trial, size: -size * trial / TRIALS,
}
RULES = {
    "strict": (KeepConfig(rule="strict"), False),
    "threshold": (KeepConfig(rule="threshold", min_gain=0.01), False),
    "sequential": (KeepConfig(rule="sequential"), False),
    "on a clock": (KeepConfig(rule="sequential"), True),
}
"""Rule, and whether it is told that the budget is one of seconds."""


@dataclass
class Program:
    """A program's true metric and its measurements so far, by seed index."""

    true: float
    noise_sd: float = NOISE_SD
    points: dict[int, float] = field(default_factory=dict[int, float])

    @property
    def squares(self) -> float:
        """Sum of squares around the mean."""
        mean = math.fsum(self.points.values()) / len(self.points)
        return math.fsum((value - mean) ** 2 for value in self.points.values())


@dataclass
class Campaign:
    """One simulated campaign, and what it counted."""

    rule: KeepRule
    wall_clock: bool
    rng: random.Random
    offset: Callable[[int], float]
    """What the machine adds to a measurement, by trial."""
    incumbent: Program = field(init=False)
    now: int = 0
    measurements: int = 0
    keeps: list[int] = field(default_factory=list[int])
    """Trials with an effect that were kept."""
    false_keeps: list[int] = field(default_factory=list[int])
    proposed: list[float] = field(default_factory=list[float])
    """The true gain of each trial."""

    def __post_init__(self) -> None:
        self.incumbent = self.baseline = Program(BASELINE)
        for seed in range(BASELINE_SEEDS):
            self._measure(self.baseline, seed)
        self._squares, self._df, self._control = 0.0, 0, 0
        self._baseline_points = tuple(self.baseline.points.items())

    def _measure(self, program: Program, seed: int) -> None:
        program.points[seed] = program.true + self.offset(self.now) + self.rng.gauss(0.0, program.noise_sd)

    def trial(self, gain: float, noise_sd: float = NOISE_SD) -> None:
        """Propose one change with a true gain (in units of the metric) and let the rule decide."""
        self.now += 1
        self.proposed.append(gain)
        candidate = Program(self.incumbent.true - gain, noise_sd)
        while (decision := self.rule.decide(self._evidence(candidate))).action == "measure":
            assert decision.seed_index is not None
            if decision.target == "incumbent":
                self._control = self.now
            self._measure(candidate if decision.target == "candidate" else self.incumbent, decision.seed_index)
            self.measurements += 1
        kept = decision.action == "keep"
        self._put_aside(self.incumbent if kept else candidate)
        if kept:
            (self.keeps if gain else self.false_keeps).append(self.now)
            self.incumbent, self._control = candidate, self.now

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
            baseline=self._baseline_points,
            noise_sd=math.sqrt(squares / df) if df else None,
            noise_df=df,
            direction="minimize",
            wall_clock=self.wall_clock,
            since_control=self.now - self._control,
        )


def simulate(rule: str, gain_sd: float, machine: str, campaigns: int) -> Row:
    """The figures of one rule in one scenario. Every rule meets the same changes, of programs and of the machine."""
    config, wall_clock = RULES[rule]
    done: list[Campaign] = []
    for number in range(campaigns):
        plan = random.Random(f"{number}:plan")
        noise = random.Random(f"{number}:{config.rule}:noise")
        campaign = Campaign(make_rule(config), wall_clock, noise, _offset(MACHINES[machine], plan.uniform(2, 3)))
        for _ in range(TRIALS):
            real = gain_sd > 0 and plan.random() < EFFECTIVE_SHARE
            campaign.trial(gain_sd * NOISE_SD if real else 0.0)
        done.append(campaign)
    gains = [gain for campaign in done for gain in campaign.proposed]
    late = [gain for campaign in done for gain in campaign.proposed[CHANGE_AT - 1 :]]
    banked = sum(BASELINE - campaign.incumbent.true for campaign in done)
    around = range(CHANGE_AT, CHANGE_AT + AROUND)
    return {
        "false_keeps_per_100": 100 * sum(len(c.false_keeps) for c in done) / gains.count(0.0),
        "false_keeps_around": sum(trial in around for c in done for trial in c.false_keeps) / campaigns,
        "power": _share(sum(len(c.keeps) for c in done), sum(gain > 0 for gain in gains)),
        "power_after": _share(
            sum(trial >= CHANGE_AT for c in done for trial in c.keeps), sum(gain > 0 for gain in late)
        ),
        "measurements_per_trial": sum(c.measurements for c in done) / len(gains),
        "banked": _share(banked, sum(gains)),
    }


def simulate_nights(rule: str, trials: int, noisy_share: float, nights: int) -> Row:
    """False keeps of one rule in nights of so many trials, none of them with an effect."""
    config, wall_clock = RULES[rule]
    found: list[int] = []
    for number in range(nights):
        plan = random.Random(f"{number}:night")
        campaign = Campaign(make_rule(config), wall_clock, random.Random(f"{number}:{rule}:noise"), lambda trial: 0.0)
        for _ in range(trials):
            campaign.trial(0.0, NOISE_SD * (NOISY_FACTOR if plan.random() < noisy_share else 1.0))
        found.append(len(campaign.false_keeps))
    return {
        "false_keeps_per_100": 100 * fmean(found) / trials,
        "standard_error": 100 * stdev(found) / math.sqrt(nights) / trials,
        "false_keeps_a_night": fmean(found),
    }


def _offset(machine: Machine, size: float) -> Callable[[int], float]:
    return lambda trial: machine(trial, size) * NOISE_SD


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cells = [("steady", scenario) for scenario in SCENARIOS]
    cells += [(machine, scenario) for machine in list(MACHINES)[1:] for scenario in ("null", "gain_3sd")]
    result = {
        f"{machine} {scenario}": {
            rule: simulate(rule, SCENARIOS[scenario], machine, arguments.campaigns) for rule in RULES
        }
        for machine, scenario in cells
    }
    nights = {
        f"{trials} trials{', 1 in 10 noisy' if noisy else ''}": {
            rule: simulate_nights(rule, trials, noisy, NIGHT_TRIALS * arguments.campaigns // trials)
            for rule in ("sequential", "on a clock")
        }
        for noisy in (0.0, NOISY_SHARE)
        for trials in NIGHTS
    }
    if arguments.json:
        print(json.dumps({"campaigns": result, "nights": nights}, indent=2))
        return
    print(f"{arguments.campaigns} campaigns of {TRIALS} trials a cell")
    print(f"{'machine, gains':20}{'rule':12}false keeps/100  around   power  after  measurements/trial  banked")
    for name, rules in result.items():
        for rule, row in rules.items():
            print(f"{name:20}{rule:12}{_line(row)}")
    print(f"\n{'night without effect':27}{'rule':12}false keeps/100      ±  a night")
    for name, rules in nights.items():
        for rule, row in rules.items():
            print(
                f"{name:27}{rule:12}{row['false_keeps_per_100']:15.3f}{row['standard_error']:7.3f}"
                f"{row['false_keeps_a_night']:9.3f}"
            )


def _line(row: Row) -> str:
    power, after, banked = (
        "–" if row[key] is None else f"{row[key]:.0%}" for key in ("power", "power_after", "banked")
    )
    return (
        f"{row['false_keeps_per_100']:15.3f}{row['false_keeps_around']:8.3f}{power:>8}{after:>7}"
        f"{row['measurements_per_trial']:20.2f}{banked:>8}"
    )


if __name__ == "__main__":
    main()
