"""What a keep is worth under each rule: simulated nights, the real rules, noise of unknown size.

A night starts with baseline measurements and proposes changes. A change has no effect, or (in the mixtures, one in ten)
makes the true metric better by 1, 2 or 3 standard deviations of a measurement. A measurement is the true value plus
noise; with a correlation, a candidate's noise on a seed follows its incumbent's on that seed. The rules see what they
see in a real campaign: measurements, the noise pooled over replicates of identical programs so far, earlier pairs.

    python benchmarks/keep_rule.py [--trials 12000] [--only TEXT] [--json]

`unpaired` is the rule `sequential` of before it compared pairs, `on a clock` either of them on a budget of time, where
they take controls; the scenarios in which the machine changes are theirs alone. A false keep is a kept change without
effect, per 100 such changes; `up to` is the upper end of its 95 % interval, nights as the unit. Power is the share of
real changes kept. Measurements are counted per trial, those of the incumbent included, the baseline's left out.
Coverage is how often the night's final result, by four fresh seeds of both programs, has the truth in its 95 %
interval; bias is its mean error, in standard deviations of a measurement.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.shared.unpaired_rule import UnpairedRule
from memory.keep.comparison import estimate
from memory.keep.rules import Evidence, KeepRule, make_rule
from memory.statistics.pairs import PairSpread, pair_spread
from rails.task import KeepConfig

BASELINE = 1.7
NOISE_SD = 0.017
"""One per cent of the baseline."""
BASELINE_SEEDS = 6
FINAL_SEEDS = 4
EFFECTIVE_SHARE = 0.1
NOISY_SHARE = 0.1

Row: TypeAlias = dict[str, float | None]
Machine: TypeAlias = Callable[[float, float], float]
"""What the machine adds to a measurement, in standard deviations: by how much of the night is over, and its change."""

MACHINES: dict[str, Machine] = {
    "steady": lambda share, size: 0.0,
    "faster": lambda share, size: -size if share >= 0.5 else 0.0,
    "slower": lambda share, size: size if share >= 0.5 else 0.0,
    "creeping": lambda share, size: -size * share,
}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of night."""

    correlations: tuple[float, ...] = (0.0,)
    """Of a candidate's noise with its incumbent's on the same seed: one of these, by edit."""
    gain_sd: float = 0.0
    trials: int = 60
    counted: int | None = None
    """Only the first so many trials count."""
    heavy_tails: bool = False
    noisy_factor: float = 1.0
    """One candidate in ten varies by so many times the sd."""
    machine: str = "steady"


MIXED = (0.0, 0.4, 0.9)
NULLS = {
    "steady null": Scenario(),
    "correlation 0.4 null": Scenario(correlations=(0.4,)),
    "correlation 0.9 null": Scenario(correlations=(0.9,)),
    "mixed null": Scenario(correlations=MIXED),
    "heavy tails null": Scenario(correlations=MIXED, heavy_tails=True),
    "1 in 10 noisy x3 null": Scenario(correlations=MIXED, noisy_factor=3.0),
    "1 in 10 noisy x5 null": Scenario(correlations=MIXED, noisy_factor=5.0),
    "12 trials null": Scenario(correlations=MIXED, trials=12),
    "1000 trials null": Scenario(correlations=MIXED, trials=1000),
    "first two trials null": Scenario(correlations=MIXED, trials=2, counted=2),
    "faster null": Scenario(correlations=MIXED, machine="faster"),
    "creeping null": Scenario(correlations=MIXED, machine="creeping"),
}
GAINS = {
    f"{name} gain_{size}sd": Scenario(correlations=correlations, gain_sd=size)
    for (name, correlations), size in product(
        {"steady": (0.0,), "correlation 0.4": (0.4,), "correlation 0.9": (0.9,), "mixed": MIXED}.items(), (1, 2, 3)
    )
}
SLOWER = {"slower gain_3sd": Scenario(correlations=MIXED, gain_sd=3.0, machine="slower")}
SCENARIOS = {**NULLS, **GAINS, **SLOWER}

RULES: dict[str, tuple[Callable[[], KeepRule], bool]] = {
    "strict": (lambda: make_rule(KeepConfig(rule="strict")), False),
    "threshold": (lambda: make_rule(KeepConfig(rule="threshold", min_gain=0.01)), False),
    "unpaired": (UnpairedRule, False),
    "sequential": (lambda: make_rule(KeepConfig(rule="sequential")), False),
    "unpaired, on a clock": (UnpairedRule, True),
    "sequential, on a clock": (lambda: make_rule(KeepConfig(rule="sequential")), True),
}
"""Rule, and whether it is told that the budget counts time."""


@dataclass
class Program:
    """A program's true metric, its noise on each seed and its measurements so far."""

    true: float
    parent: "Program | None" = None
    correlation: float = 0.0
    factor: float = 1.0
    """Its noise relative to the others'."""
    noise: dict[int, float] = field(default_factory=dict[int, float])
    points: dict[int, float] = field(default_factory=dict[int, float])

    @property
    def squares(self) -> float:
        """Sum of squares around the mean."""
        mean = math.fsum(self.points.values()) / len(self.points)
        return math.fsum((value - mean) ** 2 for value in self.points.values())

    def noise_on(self, seed: int, draw: Callable[[], float]) -> float:
        """Its noise on this seed, in its own standard deviations: the parent's as far as they are correlated."""
        if seed not in self.noise:
            own, r = draw(), self.correlation
            inherited = 0.0 if self.parent is None else r * self.parent.noise_on(seed, draw)
            self.noise[seed] = inherited + math.sqrt(1 - r * r) * own
        return self.noise[seed]


class Night:
    """One simulated night, and what it counted."""

    def __init__(self, scenario: Scenario, rule: KeepRule, on_clock: bool, number: int) -> None:
        self.scenario, self.rule, self.on_clock = scenario, rule, on_clock
        self.rng, self.plan = random.Random(f"{number}:noise"), random.Random(f"{number}:plan")
        self.size = self.plan.uniform(2, 3)
        self.now = self.measurements = self.proposed = self.nulls = self.keeps = self.false_keeps = 0
        self.incumbent = self.baseline = Program(BASELINE)
        for seed in range(BASELINE_SEEDS):
            self._measure(self.baseline, seed)
        self._start = tuple(self.baseline.points.items())
        self._squares, self._df, self._control = 0.0, 0, 0
        self._pairs: list[PairSpread] = []

    def run(self) -> None:
        """Propose one change after the other."""
        for number in range(self.scenario.trials):
            real = self.scenario.gain_sd > 0 and self.plan.random() < EFFECTIVE_SHARE
            noisy = self.scenario.noisy_factor > 1 and self.plan.random() < NOISY_SHARE
            self._trial(self.scenario.gain_sd * NOISE_SD if real else 0.0, self.scenario.noisy_factor if noisy else 1.0)
            if number + 1 == self.scenario.counted:
                break

    def result(self) -> tuple[bool, float]:
        """Whether the final interval has the true gain in it, and the error of the final gain in noise sds."""
        keeps, program = 0, self.incumbent
        while program.parent is not None:
            keeps, program = keeps + 1, program.parent
        draw = self._draw
        seeds = range(1000, 1000 + FINAL_SEEDS)
        ours, theirs = (
            tuple((seed, p.true + NOISE_SD * p.factor * p.noise_on(seed, draw)) for seed in seeds)
            for p in (self.incumbent, self.baseline)
        )
        evidence = replace(self._evidence(None), candidate=ours, incumbent=theirs, baseline=theirs)
        found = estimate(evidence, keeps_apart=keeps)
        mean = math.fsum(metric for _, metric in theirs) / len(theirs)
        truth = (BASELINE - self.incumbent.true) / mean
        assert found.gain_low is not None and found.gain_high is not None
        return found.gain_low <= truth <= found.gain_high, (found.gain - truth) * mean / NOISE_SD

    def _draw(self) -> float:
        if not self.scenario.heavy_tails:
            return self.rng.gauss(0.0, 1.0)
        return self.rng.gauss(0.0, 1.0) / math.sqrt(self.rng.gammavariate(2.0, 2.0) / 4) / math.sqrt(2)  # t(4)

    def _measure(self, program: Program, seed: int) -> None:
        machine = MACHINES[self.scenario.machine](self.now / self.scenario.trials, self.size)
        program.points[seed] = program.true + NOISE_SD * (machine + program.factor * program.noise_on(seed, self._draw))

    def _trial(self, gain: float, factor: float) -> None:
        self.now += 1
        correlation = self.plan.choice(self.scenario.correlations)
        candidate = Program(self.incumbent.true - gain, self.incumbent, correlation, factor)
        controls: set[int] = set()
        while (decision := self.rule.decide(self._evidence(candidate, controls))).action == "measure":
            assert decision.seed_index is not None
            if decision.target == "incumbent":
                controls.add(decision.seed_index)
                self._control = self.now
            self._measure(candidate if decision.target == "candidate" else self.incumbent, decision.seed_index)
            self.measurements += 1
        kept = decision.action == "keep"
        if (pair := pair_spread(candidate.points, self.incumbent.points)) is not None:
            self._pairs.append(pair)
        self._put_aside(self.incumbent if kept else candidate)
        self.proposed, self.nulls = self.proposed + (gain > 0), self.nulls + (gain == 0)
        if kept:
            self.keeps, self.false_keeps = self.keeps + (gain > 0), self.false_keeps + (gain == 0)
            self.incumbent, self._control = candidate, self.now

    def _put_aside(self, program: Program) -> None:
        """Its replicates go on counting for the noise."""
        if len(program.points) > 1:
            self._squares += program.squares
            self._df += len(program.points) - 1

    def _evidence(self, candidate: Program | None, controls: set[int] | None = None) -> Evidence:
        live = [program for program in (candidate, self.incumbent) if program is not None and len(program.points) > 1]
        df = self._df + sum(len(program.points) - 1 for program in live)
        squares = self._squares + math.fsum(program.squares for program in live)
        return Evidence(
            candidate=() if candidate is None else tuple(candidate.points.items()),
            incumbent=tuple(self.incumbent.points.items()),
            baseline=self._start,
            noise_sd=math.sqrt(squares / df) if df else None,
            noise_df=df,
            direction="minimize",
            pairs=tuple(self._pairs),
            on_clock=self.on_clock,
            controls=frozenset(controls or ()),
            since_control=self.now - self._control,
        )


def simulate(name: str, rule: str, trials: int) -> Row:
    """The figures of one rule in one scenario. Every rule meets the same changes."""
    scenario, (make, on_clock) = SCENARIOS[name], RULES[rule]
    length = scenario.counted or scenario.trials
    nights = [Night(scenario, make(), on_clock, number) for number in range(max(20, trials // length))]
    for night in nights:
        night.run()
    rates = [night.false_keeps for night in nights]
    nulls, proposed = sum(night.nulls for night in nights), sum(night.proposed for night in nights)
    error = stdev(rates) * math.sqrt(len(nights)) / nulls
    results = [night.result() for night in nights if night.incumbent is not night.baseline]
    rate = sum(rates) / nulls
    return {
        "false_keeps_per_100": 100 * rate,
        # Of none in n the true rate is below 3 / n with 95 %.
        "up_to": 100 * (rate + 1.96 * error if any(rates) else 3 / nulls),
        "power": sum(night.keeps for night in nights) / proposed if proposed else None,
        "measurements_per_trial": sum(night.measurements for night in nights) / sum(night.now for night in nights),
        "coverage": fmean(covered for covered, _ in results) if len(results) >= 200 else None,
        "bias_sd": fmean(error for _, error in results) if len(results) >= 200 else None,
    }


def cells(only: str) -> Iterator[tuple[str, str]]:
    """Scenario and rule of each cell.

    A machine that changes is no matter for budgets that repeat exactly; the simple rules are there for scale.
    """
    for name, scenario in SCENARIOS.items():
        for rule, (_, on_clock) in RULES.items():
            simple = rule in {"strict", "threshold"}
            fits = name.startswith("steady") if simple else on_clock or scenario.machine == "steady"
            if fits and only in f"{name}, {rule}":
                yield name, rule


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12_000, help="simulated in each cell")
    parser.add_argument("--only", default="", help="cells with this text in their scenario or rule")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    wanted = list(cells(arguments.only))
    found: dict[str, dict[str, Row]] = {}
    if not arguments.json:
        print(f"{arguments.trials} trials a cell")
        print(f"{'scenario':24}{'rule':24}false/100   up to   power  measured/trial  coverage    bias")
    with ProcessPoolExecutor(arguments.processes) as pool:
        rows = pool.map(simulate, *zip(*wanted, strict=True), [arguments.trials] * len(wanted))
        for (name, rule), row in zip(wanted, rows, strict=True):
            found.setdefault(name, {})[rule] = row
            if not arguments.json:
                print(f"{name:24}{rule:24}{_line(row)}", flush=True)
    if arguments.json:
        print(json.dumps(found, indent=2))


def _line(row: Row) -> str:
    def shown(key: str, width: int, form: str) -> str:
        value = row[key]
        return f"{'–' if value is None else format(value, form):>{width}}"

    return (
        f"{shown('false_keeps_per_100', 9, '.3f')}{shown('up_to', 8, '.3f')}{shown('power', 8, '.0%')}"
        f"{shown('measurements_per_trial', 16, '.2f')}{shown('coverage', 10, '.1%')}{shown('bias_sd', 8, '+.3f')}"
    )


if __name__ == "__main__":
    main()
