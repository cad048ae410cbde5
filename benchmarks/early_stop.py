"""What stopping hopeless trainings early saves, and costs, on recordings in which everything ran to its end.

Any recorded program can be an incumbent: each that is among the better 60 % is one in turn, and all others are its
candidates, in a random order. The rule sees what a store would hold at that time: curves and scores of the candidates
before, without those that it has stopped itself. Those stand in the recording, so it is known what they would have come
to. The noise is taken as known (as by earlier campaigns), pairs are learnt in the night.

    python benchmarks/early_stop.py [--json] [RECORDING…]

Recordings are made by `recordings/record.py`. Seconds are those of training: of a candidate's first seed, and of its
second where it was better than the incumbent on the first. A would-be keep is better by more than the noise on its
first seed.
Rules:

- `ours`, and `ours by the mean`: what pairs show left out, so that curves are compared with the mean over seeds.
- `ours, noise × …`: with so much of the noise on top of the margin.
- `by checkpoint`: a margin for each checkpoint, of the recoveries from there, with so much of the noise.
- `5 % behind`: stop what is; `hindsight`: the one margin of each night that kills no would-be keep and saves most.
"""

import argparse
import gzip
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from memory.keep.curves import KnownCurves  # noqa: E402
from memory.keep.hopeless import (  # noqa: E402
    CHECKPOINTS,
    ByCheckpoint,
    CurveComparison,
    Yardstick,
    expected_deficit,
    margins,
)
from memory.records import Campaign, Curve, Measurement, MeasurementState, Phase, Trial, TrialKind  # noqa: E402
from memory.statistics.noise import Noise, pooled_noise  # noqa: E402
from memory.statistics.pairs import PairSpread, pair_spread  # noqa: E402
from rails.status import Status  # noqa: E402

RECORDINGS = Path(__file__).parent / "recordings"
BETTER_SHARE = 0.6
"""So many of the recorded programs are incumbents: nobody searches from a bad one."""
_SHARES = 10_000
"""A share of the budget as a number of steps."""
_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A way to judge curves; see the top of the file."""

    name: str
    pairs: bool = True
    by_checkpoint: bool = False
    noise: float = 1.0
    fixed: float | None = None


RULES = (
    Rule(name="ours"),
    Rule(name="ours by the mean", pairs=False),
    Rule(name="ours, noise × 0.5", noise=0.5),
    Rule(name="ours, noise × 0", noise=0.0),
    Rule(name="by checkpoint, noise × 1", by_checkpoint=True),
    Rule(name="by checkpoint, noise × 0.5", by_checkpoint=True, noise=0.5),
    Rule(name="by checkpoint, noise × 0", by_checkpoint=True, noise=0.0),
    Rule(name="5 % behind", fixed=0.05),
)


class Recording:
    """One recorded night, read once."""

    def __init__(self, path: Path) -> None:
        document = json.loads(gzip.decompress(path.read_bytes()))
        self.name = path.name.removesuffix(".json.gz")
        self.budget: dict[str, Any] = document["budget"]
        self.edits: list[dict[str, Any]] = [row["edit"] for row in document["rows"]]
        self.runs: list[list[dict[str, Any]]] = [row["runs"] for row in document["rows"]]
        self.scores: list[list[float]] = [[run["score"] for run in runs] for runs in self.runs]
        self.noise: Noise = pooled_noise(self.scores)

    @property
    def incumbents(self) -> list[int]:
        """Numbers of the better programs; the starting point is 0."""
        order = sorted(range(len(self.scores)), key=lambda number: sum(self.scores[number]))
        return sorted(order[: math.ceil(BETTER_SHARE * len(order))])

    def seconds(self, number: int, incumbent: int) -> float:
        """What the trial of this candidate trains."""
        promising = self.scores[number][0] < self.scores[incumbent][0]
        return sum(run["train_s"] for run in self.runs[number][: 2 if promising else 1])

    def would_be_keeps(self, incumbent: int) -> set[int]:
        """Candidates that are better on the first seed by more than the noise, of pairs where that is less."""
        ours = self.scores[incumbent]
        others = [number for number in range(len(self.scores)) if number != incumbent]
        apart = [(self.scores[n][0] - ours[0]) - (self.scores[n][1] - ours[1]) for n in others]
        of_pairs = math.sqrt(math.fsum(value**2 for value in apart) / 2 / len(apart))
        noise = min(of_pairs, (self.noise.sd or 0.0) * math.sqrt(1 + 1 / len(ours)))
        return {number for number in others if self.scores[number][0] < ours[0] - noise}


class Store:
    """What a store would hold in the middle of such a night.

    Args:
        recording: everything.
        incumbent: whose candidates the others are.
        pairs: whether it knows how pairs vary.
    """

    def __init__(self, recording: Recording, incumbent: int, *, pairs: bool) -> None:
        self._recording, self._incumbent, self._pairs = recording, incumbent, pairs
        self.campaign = Campaign(
            campaign_id="c", tag="c", branch="c", proposer="random", lineage=False, seed=1, keep_rule="sequential",
            task={"metric": {"direction": "minimize"}, "budget": recording.budget}, limits={}, corpus_sha256="",
            hardware={}, hardware_fingerprint="m", isolation="L1", versions={}, baseline_commit="", head_commit="",
            created_at=_START,
        )  # fmt: skip
        self._trials = [self.decided(incumbent, stopped_at=None)]
        self._spreads: list[PairSpread] = []

    def take(self, number: int, stopped_at: float | None) -> None:
        """A candidate is decided."""
        self._trials.append(self.decided(number, stopped_at))
        if stopped_at is None and len(self._seeds(number)) > 1:
            ours, theirs = (dict(enumerate(self._recording.scores[n])) for n in (number, self._incumbent))
            spread = pair_spread(ours, theirs)
            self._spreads += [spread] if spread and self._pairs else []

    def decided(self, number: int, stopped_at: float | None) -> Trial:
        """The row of a program."""
        first = number == self._incumbent
        return Trial(
            trial_id=str(number), campaign_id="c", seq=number, phase=Phase.DECIDED, created_at=_START,
            program_key=str(number), kind=TrialKind.BASELINE if first else TrialKind.SEARCH, parent_commit="",
            parent_trial_id=None if first else str(self._incumbent), reason="replayed",
            status=Status.BASELINE if first else Status.DISCARD,
            metric=self._recording.scores[number][0] if stopped_at is None else None,
            decision=None if stopped_at is None else {"checkpoint": stopped_at},
        )  # fmt: skip

    def _seeds(self, number: int) -> range:
        better = self._recording.scores[number][0] < self._recording.scores[self._incumbent][0]
        return range(2 if better or number == self._incumbent else 1)

    def campaigns(self) -> list[Campaign]:
        """See `CurveSource`."""
        return [self.campaign]

    def trials(self, campaign_id: str) -> list[Trial]:
        """See `CurveSource`."""
        return self._trials

    def measurements(self, trial_id: str) -> list[Measurement]:
        """See `CurveSource`: of any program, but those that were stopped have none."""
        number = int(trial_id)
        if any(trial.trial_id == trial_id and trial.metric is None for trial in self._trials):
            return []
        return [
            Measurement(
                measurement_id=f"{number}/{seed}", campaign_id="c", trial_id=trial_id, seed_index=seed, seed=seed,
                state=MeasurementState.MEASURED, isolation="L1", score=self._recording.scores[number][seed],
                started_at=_START + timedelta(minutes=seed), machine="m",
            )
            for seed in self._seeds(number)
        ]  # fmt: skip

    def curve(self, measurement_id: str) -> Curve:
        """See `CurveSource`."""
        number, seed = (int(part) for part in measurement_id.split("/"))
        run = self._recording.runs[number][seed]
        steps = [round(_SHARES * share) for share in run["share"]]
        return Curve(
            measurement_id=measurement_id, trial_id=str(number), step=steps, loss=run["loss"],
            tokens=[0] * len(steps), elapsed_s=[0.0] * len(steps),
        )  # fmt: skip

    def compared_noise(self, campaign_id: str) -> Noise:
        """See `CurveSource`."""
        return self._recording.noise

    def store_pairs(self, campaign_id: str) -> list[PairSpread]:
        """See `CurveSource`."""
        return self._spreads


@dataclass
class Count:
    """What replayed nights came to, added up."""

    nights: int = 0
    seconds: float = 0.0
    saved: float = 0.0
    stopped: int = 0
    keeps: int = 0
    killed: list[str] = field(default_factory=list[str])

    def add(self, other: "Count") -> None:
        """Add others."""
        for name in ("nights", "seconds", "saved", "stopped", "keeps", "killed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def document(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        share = self.saved / self.seconds if self.seconds else 0.0
        return {**vars(self), "saved_share": share}


def replay(recording: Recording, incumbent: int, rule: Rule) -> Count:
    """One night."""
    store, keeps = Store(recording, incumbent, pairs=rule.pairs), recording.would_be_keeps(incumbent)
    known = KnownCurves(store, lambda step, tokens, elapsed_s: step / _SHARES)
    found = Count(nights=1, keeps=len(keeps))
    for number in candidates(recording, incumbent):
        losses = known.losses_of(store.measurements(str(number))[0])
        yardstick = applied(rule, known, store, str(incumbent))
        stop = None
        if yardstick is not None and losses is not None:
            judged = enumerate(losses)
            stop = next((CHECKPOINTS[i] for i, at in judged if at is not None and yardstick.judge(i, at)), None)
        store.take(number, stop)
        count_one(found, recording, incumbent, number, stop, wanted=number in keeps)
    return found


def candidates(recording: Recording, incumbent: int) -> list[int]:
    """All others, in an order of the incumbent's own."""
    others = [number for number in range(len(recording.scores)) if number != incumbent]
    random.Random(incumbent).shuffle(others)
    return others


def count_one(
    found: Count, recording: Recording, incumbent: int, number: int, stop: float | None, *, wanted: bool
) -> None:
    """Add one candidate."""
    seconds = recording.seconds(number, incumbent)
    found.seconds += seconds
    if stop is None:
        return
    found.stopped += 1
    found.saved += seconds - stop * recording.runs[number][0]["train_s"]
    if wanted:
        gain = 1 - recording.scores[number][0] / recording.scores[incumbent][0]
        edits = f"{recording.edits[number]} against {recording.edits[incumbent]}"
        found.killed.append(f"{recording.name}: {edits} at {stop:.0%}, would have gained {gain:.1%}")


def applied(rule: Rule, known: KnownCurves, store: Store, incumbent: str) -> Yardstick | None:
    """The yardstick under a rule: our own, with its margin replaced."""
    ours = known.yardstick(store.campaign, incumbent, 0)
    if ours is None or rule == RULES[0]:
        return ours
    if rule.fixed is not None:
        return replace(ours, margins=(rule.fixed,) * len(CHECKPOINTS))
    comparisons = known.comparisons(store.campaign, paired=ours.on_seed)
    bare = margins(comparisons, incumbent, 0.0)
    noise = max((whole - part for whole, part in zip(ours.margins, bare, strict=True) if whole and part), default=0.0)
    if not rule.by_checkpoint:
        return replace(ours, margins=margins(comparisons, incumbent, rule.noise * noise))
    each = (margins([only(c, i) for c in comparisons], incumbent, rule.noise * noise)[i] for i in range(len(bare)))
    return replace(ours, margins=tuple(each))


def only(comparison: CurveComparison, index: int) -> CurveComparison:
    """A comparison as if one checkpoint alone were known of it."""
    kept: ByCheckpoint = tuple(value if i == index else None for i, value in enumerate(comparison.recoveries))
    return replace(comparison, recoveries=kept)


def hindsight(recording: Recording, incumbent: int) -> Count:
    """One night under the smallest margin that kills none, known from the start."""
    store, keeps = Store(recording, incumbent, pairs=True), recording.would_be_keeps(incumbent)
    known = KnownCurves(store, lambda step, tokens, elapsed_s: step / _SHARES)
    theirs = known.losses_of(store.measurements(str(incumbent))[0])
    found, behind = Count(nights=1, keeps=len(keeps)), dict[int, list[float]]()
    for number in candidates(recording, incumbent):
        losses = known.losses_of(store.measurements(str(number))[0])
        assert losses is not None and theirs is not None
        behind[number] = [expected_deficit(*both) or 0.0 for both in zip(losses, theirs, strict=True)]
    margin = max((max(behind[number]) for number in keeps), default=0.0)
    for number, deficits in behind.items():
        stop = next((c for c, value in zip(CHECKPOINTS, deficits, strict=True) if value > max(0.0, margin)), None)
        count_one(found, recording, incumbent, number, stop, wanted=number in keeps)
    return found


def replay_all(recordings: Sequence[Recording]) -> dict[str, dict[str, Count]]:
    """By recording and rule, then all together."""
    found: dict[str, dict[str, Count]] = {recording.name: {} for recording in recordings}
    for recording in recordings:
        for incumbent in recording.incumbents:
            nights = {rule.name: replay(recording, incumbent, rule) for rule in RULES}
            nights["hindsight"] = hindsight(recording, incumbent)
            for name, night in nights.items():
                for group in (recording.name, "all"):
                    found.setdefault(group, {}).setdefault(name, Count()).add(night)
    return found


def report(found: dict[str, dict[str, Count]]) -> str:
    """A Markdown table, and what our rule killed."""
    lines = ["| recording | rule | nights | stopped | training saved | would-be keeps | killed |", "|" + "---|" * 7]
    for group, rules in found.items():
        for name, count in rules.items():
            share = count.document()["saved_share"]
            cells = (group, name, count.nights, count.stopped, f"{share:.1%}", count.keeps, len(count.killed))
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    killed = found["all"]["ours"].killed
    return "\n".join([*lines, "", *(["Killed by our rule:", "", *(f"- {text}" for text in killed)] if killed else [])])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, nargs="*", help="default: all in benchmarks/recordings")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    paths: list[Path] = arguments.recording or sorted(RECORDINGS.glob("*.json.gz"))
    found = replay_all([Recording(path) for path in paths])
    if arguments.json:
        documents = {group: {n: c.document() for n, c in rules.items()} for group, rules in found.items()}
        print(json.dumps(documents, indent=2))
    else:
        print(report(found))


if __name__ == "__main__":
    main()
