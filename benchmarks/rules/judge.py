"""What keep rules are worth on other people's recorded tables, where the truth is known.

    python benchmarks/rules/judge.py [--campaigns 30] [--measurements 120] [--tables TEXT ...] [--json]

A campaign starts at a table's default and proposes one knob after the other at random, from the incumbent on, two at
once when none is left, each configuration once. Every rule has the same number of measurements to spend, the start's
three included, and campaigns are paired: the same number draws the same order of seeds and of chances. Rules:

    sequential    ours: measured again until clear
    any lower     one measurement, kept when better by however little
    0.5 %         one measurement, kept when better by 0.5 % of the starting point or more
    MAD           one measurement, kept when better by twice the median absolute deviation of all scores so far (the
                  confidence that a popular loop prints as advice, taken as a rule)
    best of 3     three measurements of each, kept when the best of them is better than the incumbent's best of three
    mean of 3     the same with means

The truth is the mean over all recorded seeds. Regret is how far the true score of what was kept last is from the best
of the table, as a share of the way from the start: 0 is the best, 1 the start, above 1 worse than that. Seeds are
permuted and never redrawn: a table has two to five for each configuration, every rule is capped there, and what it
measured is part of the truth. So false keeps are fewer here than where noise is fresh, for every rule.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from memory.keep.evidence import Evidence, KeepRule, better
from memory.keep.rules import make_rule
from memory.statistics.noise import pooled_noise
from memory.statistics.paired_tests import bootstrap_mean, sign_flip_test
from memory.statistics.pairs import PairSpread, pair_spread
from rails.menu import KnobValue
from rails.task import KeepConfig
from trainer.tabular.hpobench import hpobench_names
from trainer.tabular.table import RecordedTable, open_table

BASELINE_SEEDS = 3
DRAWS = 50
"""Changes of two knobs that are drawn until one is new."""
OURS = "sequential"
Key: TypeAlias = tuple[KnobValue, ...]
Row: TypeAlias = dict[str, float | None]


@dataclass
class Program:
    """A configuration and what was measured of it so far, by the campaign's seed index."""

    config: dict[str, KnobValue]
    points: dict[int, float] = field(default_factory=dict[int, float])

    @property
    def key(self) -> Key:
        """Of its values."""
        return tuple(self.config.values())


class Campaign:
    """One campaign of one rule on a table: everything that rules have in common."""

    def __init__(self, table: RecordedTable, number: int, budget: int) -> None:
        self.table, self.left = table, budget
        self.maximize = table.direction == "maximize"
        self._chance = random.Random(f"{table.name}:{number}")
        self.cap = min(set(table.seeds_recorded()))
        self._order = self._chance.sample(range(self.cap), self.cap)
        self.baseline = self.incumbent = Program(dict(table.menu.defaults()))
        self.tried: dict[Key, Program] = {self.baseline.key: self.baseline}
        self.pairs: list[PairSpread] = []
        self.scores: list[float] = []
        self.trials = self.keeps = self.false_keeps = self.nulls = self.gains = self.missed = 0
        for index in range(min(BASELINE_SEEDS, self.cap)):
            self.measure(self.baseline, index)

    def measure(self, program: Program, index: int) -> float:
        """Look a measurement up; each is paid for once."""
        if index not in program.points:
            score = self.table.cell(program.config, self._order[index]).score
            assert score is not None, "these tables have no failures"
            program.points[index] = score
            self.scores.append(score)
            self.left -= 1
        return program.points[index]

    def truth(self, program: Program) -> float:
        """The mean over all recorded seeds."""
        mean = self.table.true_mean(program.config)
        assert mean is not None
        return mean

    def run(self, keeps: "Judge") -> None:
        """Propose until the measurements are spent, or nothing is left to propose."""
        while self.left > 0 and (candidate := self._propose()) is not None:
            self.trials += 1
            real = better(self.truth(candidate), self.truth(self.incumbent), self.table.direction)
            self.nulls, self.gains = self.nulls + (not real), self.gains + real
            kept = keeps(self, candidate)
            if (pair := pair_spread(candidate.points, self.incumbent.points)) is not None:
                self.pairs.append(pair)
            if kept:
                self.keeps, self.false_keeps = self.keeps + 1, self.false_keeps + (not real)
                self.incumbent = candidate
            else:
                self.missed += real

    def _propose(self) -> Program | None:
        knobs = self.table.menu.knobs
        moves = [
            (name, value)
            for name, knob in knobs.items()
            for value in knob.choices or ()
            if value != self.incumbent.config[name]
        ]
        self._chance.shuffle(moves)
        two = ((self._chance.choice(moves), self._chance.choice(moves)) for _ in range(DRAWS))
        for changes in (*((move,) for move in moves), *two):
            program = Program({**self.incumbent.config, **dict(changes)})
            if program.key not in self.tried and self.table.seeds(program.config):
                self.tried[program.key] = program
                return program
        return None

    def evidence(self, candidate: Program) -> Evidence:
        """What a rule of ours sees in a real campaign."""
        noise = pooled_noise(list(program.points.values()) for program in self.tried.values())
        return Evidence(
            candidate=tuple(candidate.points.items()),
            incumbent=tuple(self.incumbent.points.items()),
            baseline=tuple(self.baseline.points.items())[:BASELINE_SEEDS],
            noise_sd=noise.sd,
            noise_df=noise.df,
            direction=self.table.direction,
            pairs=tuple(self.pairs),
        )


Judge: TypeAlias = Callable[[Campaign, Program], bool]


def by_rule(rule: Callable[[int], KeepRule]) -> Judge:
    """A rule of the project's own, by its own code; it is told how many seeds there are."""

    def keeps(campaign: Campaign, candidate: Program) -> bool:
        made = rule(campaign.cap)
        while (decision := made.decide(campaign.evidence(candidate))).action == "measure":
            assert decision.seed_index is not None
            target = candidate if decision.target == "candidate" else campaign.incumbent
            if decision.seed_index >= campaign.cap:
                return False  # there is no such seed: what is not proven by then is not
            campaign.measure(target, decision.seed_index)
        return decision.action == "keep"

    return keeps


def by_mad(campaign: Campaign, candidate: Program) -> bool:
    """Better than the incumbent by twice the median absolute deviation of all scores so far."""
    score = campaign.measure(candidate, 0)
    middle = median(campaign.scores)
    deviation = median(abs(value - middle) for value in campaign.scores)
    gain = score - campaign.incumbent.points[0]
    return (gain if campaign.maximize else -gain) >= 2 * deviation > 0


def of_three(summary: Callable[[Campaign, list[float]], float]) -> Judge:
    """Three measurements of both, summed up in one number that must be better."""

    def keeps(campaign: Campaign, candidate: Program) -> bool:
        count = min(3, campaign.cap)
        sides = [[campaign.measure(p, i) for i in range(count)] for p in (candidate, campaign.incumbent)]
        ours, theirs = (summary(campaign, side) for side in sides)
        return better(ours, theirs, campaign.table.direction)

    return keeps


RULES: dict[str, Judge] = {
    OURS: by_rule(lambda most: make_rule(KeepConfig(rule="sequential"), most=most)),
    "any lower": by_rule(lambda most: make_rule(KeepConfig(rule="strict"), most=most)),
    "0.5 %": by_rule(lambda most: make_rule(KeepConfig(rule="threshold", min_gain=0.005), most=most)),
    "MAD": by_mad,
    "best of 3": of_three(lambda campaign, side: max(side) if campaign.maximize else min(side)),
    "mean of 3": of_three(lambda campaign, side: fmean(side)),
}


def judge(name: str, campaigns: int, budget: int) -> dict[str, list[dict[str, float]]]:
    """All campaigns of all rules on one table."""
    table = open_table(name)
    start, best = table.true_mean(table.menu.defaults()), table.true_mean(table.best())
    assert start is not None
    assert best is not None
    found: dict[str, list[dict[str, float]]] = {rule: [] for rule in RULES}
    for number in range(campaigns):
        for rule, keeps in RULES.items():
            campaign = Campaign(table, number, budget)
            campaign.run(keeps)
            end = campaign.truth(campaign.incumbent)
            found[rule].append(
                {
                    "regret": (end - best) / (start - best),
                    "keeps": campaign.keeps,
                    "false_keeps": campaign.false_keeps,
                    "nulls": campaign.nulls,
                    "gains": campaign.gains,
                    "missed": campaign.missed,
                    "trials": campaign.trials,
                    "measurements": budget - campaign.left,
                    "seeds": campaign.cap,
                }
            )
    return found


def summary(rows: list[dict[str, float]], ours: list[dict[str, float]]) -> Row:
    """One rule's figures over campaigns, with what its regret differs by from ours, pair by pair."""
    total = {key: math.fsum(row[key] for row in rows) for key in rows[0]}
    differences = [row["regret"] - own["regret"] for row, own in zip(rows, ours, strict=True)]
    low, high = bootstrap_mean(differences) or (None, None)
    return {
        "false_share_of_keeps": total["false_keeps"] / total["keeps"] if total["keeps"] else None,
        "false_keeps_per_100_nulls": 100 * total["false_keeps"] / total["nulls"] if total["nulls"] else None,
        "power": 1 - total["missed"] / total["gains"] if total["gains"] else None,
        "keeps_per_campaign": total["keeps"] / len(rows),
        "regret": total["regret"] / len(rows),
        "regret_over_ours": math.fsum(differences) / len(differences),
        "regret_over_ours_low": low,
        "regret_over_ours_high": high,
        "p": sign_flip_test(differences).p if any(differences) else 1.0,
        "trials": total["trials"] / len(rows),
        "measurements_per_trial": (total["measurements"] - BASELINE_SEEDS * len(rows)) / total["trials"],
    }


def figures(found: Mapping[str, Mapping[str, list[dict[str, float]]]]) -> dict[str, dict[str, Row]]:
    """By table and rule, and over all tables."""
    rows = {table: {rule: summary(by[rule], by[OURS]) for rule in RULES} for table, by in found.items()}
    every = {rule: [row for by in found.values() for row in by[rule]] for rule in RULES}
    return {**rows, "all tables": {rule: summary(every[rule], every[OURS]) for rule in RULES}}


COLUMNS = (
    "rule", "false of 100 keeps", "false of 100 no better", "real ones kept", "keeps", "regret", "more than ours",
    "trials", "measured a trial",
)  # fmt: skip


def lines(found: Mapping[str, Mapping[str, Row]]) -> Iterator[str]:
    """The figures as Markdown."""
    for table, rules in found.items():
        yield f"\n### {table}\n"
        yield f"| {' | '.join(COLUMNS)} |"
        yield f"|{'---|' * len(COLUMNS)}"
        for rule, row in rules.items():
            low, high = row["regret_over_ours_low"], row["regret_over_ours_high"]
            interval = "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
            more = "" if rule == OURS else f"{row['regret_over_ours']:+.3f}{interval}"
            yield (
                f"| {rule} | {_shown(row['false_share_of_keeps'], 100)} | {_shown(row['false_keeps_per_100_nulls'])} "
                f"| {_shown(row['power'], 100)} % | {row['keeps_per_campaign']:.1f} | {row['regret']:.3f} | {more} "
                f"| {row['trials']:.0f} | {row['measurements_per_trial']:.2f} |"
            )


def _shown(value: float | None, scale: float = 1.0) -> str:
    return "–" if value is None else f"{scale * value:.1f}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=30, help="of each rule on each table")
    parser.add_argument("--measurements", type=int, default=120, help="that each campaign may spend")
    parser.add_argument("--tables", nargs="*", default=[], help="texts; tables with one of them in their name")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    names = [name for name in hpobench_names() if not arguments.tables or any(t in name for t in arguments.tables)]
    count = len(names)
    with ProcessPoolExecutor(arguments.processes) as pool:
        rows: Any = pool.map(judge, names, [arguments.campaigns] * count, [arguments.measurements] * count)
        found = dict(zip(names, rows, strict=True))
    if arguments.json:
        print(json.dumps(figures(found), indent=2))
        return
    print(f"{arguments.campaigns} campaigns of each rule on each table, {arguments.measurements} measurements each")
    print("\n".join(lines(figures(found))))


if __name__ == "__main__":
    main()
