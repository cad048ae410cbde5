"""What stopping hopeless trainings early would have saved, and cost, in campaigns that were recorded without it.

Each campaign is gone through in order, as if early stopping had been on: at every trial the rule sees what the store
held at that time, without the trials that it has stopped itself by then. Those stay in the record, so it is known what
they would have come to. Sources are workspaces; what lies in one workspace is replayed together, oldest first, so that
a later campaign has the earlier one's curves. Nothing is written.

    python benchmarks/early_stop.py SOURCE… [--json]

Seconds are those of training, of search trials only. A would-be keep is a trial that was kept, or whose gain was
positive. The nearest miss is how much further behind a would-be keep could have been at its worst checkpoint without
being stopped, in per cent of the incumbent's loss. Would-be keeps are few; `outrun` tests the margins on every trial
that ran under them: how many made up more than the margin, known before they began, allowed for. Had such a trial ended
level with the incumbent, it would have been stopped. `left out` is another test: would-be keeps that would be stopped
by what all other trials of the record show, later ones included. Beside our rule:

- `bound 99 %`: our rule at another level.
- `by checkpoint`: our rule with a margin for each checkpoint, from the recoveries seen from there on.
- `fixed 5 %`: stop what is more than 5 % behind the incumbent.
- `median`: stop what is worse than the median of the earlier trials' losses at the same checkpoint, the rule of Vizier
  (Golovin et al. 2017) and Optuna, after as many trials as ours waits for.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from memory.keep import hopeless
from memory.keep.comparable import measures_as
from memory.keep.curves import KnownCurves, Share
from memory.keep.hopeless import CHECKPOINTS, PAIRS_NEEDED, ByCheckpoint, CurveComparison, Yardstick, relative_deficit
from memory.reader import Reader
from memory.records import Campaign, Curve, Measurement, MeasurementState, Trial, TrialKind
from memory.statistics.noise import Noise, pooled_noise
from rails.status import FINISHED, Status
from trainer.budget import Budget, BudgetKind, Usage

FIXED_MARGIN = 0.05


class Record:
    """Every row that a replay asks for, read once."""

    def __init__(self, reader: Reader) -> None:
        self.campaigns = reader.campaigns()
        self.trials = {c.campaign_id: reader.trials(c.campaign_id) for c in self.campaigns}
        ids = [t.trial_id for trials in self.trials.values() for t in trials]
        self.measurements = {trial_id: reader.measurements(trial_id) for trial_id in ids}
        done = [m.measurement_id for found in self.measurements.values() for m in found]
        self.curves = {measurement_id: reader.curve(measurement_id) for measurement_id in done}


@dataclass
class Past:
    """The store as it was at a moment of a replay: what came later is not there, stopped trials have no score."""

    record: Record
    stopped: dict[str, float] = field(default_factory=dict[str, float])
    """Trial id to the checkpoint at which the replay stopped it."""
    now: datetime | None = None

    def campaigns(self) -> list[Campaign]:
        """Those that had begun."""
        return [campaign for campaign in self.record.campaigns if self._before(campaign.created_at)]

    def trials(self, campaign_id: str) -> list[Trial]:
        """Those decided by then."""
        return [
            self._as_seen(t) for t in self.record.trials[campaign_id] if t.decided_at and self._before(t.decided_at)
        ]

    def measurements(self, trial_id: str) -> list[Measurement]:
        """Those begun by then."""
        if trial_id in self.stopped:
            return []
        return [m for m in self.record.measurements[trial_id] if self._before(m.started_at)]

    def curve(self, measurement_id: str) -> Curve | None:
        """The curve of a measurement."""
        return self.record.curves[measurement_id]

    def store_noise(self, campaign_id: str) -> Noise:
        """The spread between measurements of one program, over campaigns that measure alike."""
        wanted = next(measures_as(c) for c in self.record.campaigns if c.campaign_id == campaign_id)
        alike = [c for c in self.campaigns() if measures_as(c) == wanted]
        trials = [t for c in alike for t in self.trials(c.campaign_id) if t.status in FINISHED]
        scores = ([m.val_bpb for m in self.measurements(t.trial_id) if m.val_bpb is not None] for t in trials)
        return pooled_noise(scores)

    def _before(self, moment: datetime) -> bool:
        return self.now is None or moment < self.now

    def _as_seen(self, trial: Trial) -> Trial:
        if trial.trial_id not in self.stopped:
            return trial
        seen = {"status": Status.DISCARD, "metric": None, "n_measurements": 0, "reason": "stopped", "gain": None}
        return trial.model_copy(update=seen)


Rule = Callable[[KnownCurves, Past, Campaign, Trial], Yardstick | None]


@dataclass
class Replay:
    """One campaign under one rule, and what it counted."""

    trials: int = 0
    seconds: float = 0.0
    saved: float = 0.0
    stopped: dict[int, float] = field(default_factory=dict[int, float])
    """Trial number to checkpoint."""
    would_be_keeps: list[int] = field(default_factory=list[int])
    killed: list[int] = field(default_factory=list[int])
    watched: int = 0
    outrun: dict[int, float] = field(default_factory=dict[int, float])
    """Trial number to how much more than the margin it made up, of those watched."""
    left_out: list[int] = field(default_factory=list[int])
    """Would-be keeps that a margin learnt from all other trials stops."""
    nearest_miss: float | None = None

    def document(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return {
            "trials": self.trials,
            "stopped": len(self.stopped),
            "stopped_at": {f"{c:.2f}": list(self.stopped.values()).count(c) for c in sorted({*self.stopped.values()})},
            "train_s": self.seconds,
            "saved_s": self.saved,
            "saved_share": self.saved / self.seconds if self.seconds else 0.0,
            "would_be_keeps": len(self.would_be_keeps),
            "killed": self.killed,
            "watched": self.watched,
            "outrun": self.outrun,
            "left_out_killed": self.left_out,
            "nearest_miss": self.nearest_miss,
            "stopped_trials": self.stopped,
        }


def at_level(confidence: float) -> Rule:
    """Our rule, with the prediction bound at this level."""

    def yardstick(known: KnownCurves, past: Past, campaign: Campaign, trial: Trial) -> Yardstick | None:
        usual = hopeless.CONFIDENCE
        hopeless.CONFIDENCE = confidence  # pyright: ignore[reportConstantRedefinition]
        try:
            return known.yardstick(campaign, trial.parent_trial_id or "")
        finally:
            hopeless.CONFIDENCE = usual  # pyright: ignore[reportConstantRedefinition]

    return yardstick


def by_checkpoint(known: KnownCurves, past: Past, campaign: Campaign, trial: Trial) -> Yardstick | None:
    """A margin for each checkpoint: of it and all later ones."""
    whole = known.yardstick(campaign, trial.parent_trial_id or "")
    if whole is None:
        return None
    comparisons, found, parent = known.comparisons(campaign), list[float | None](), trial.parent_trial_id or ""
    without = next(margin for margin in hopeless.margins(comparisons, parent, 0.0) if margin is not None)
    noise = next(margin for margin in whole.margins if margin is not None) - without
    for index in range(len(CHECKPOINTS)):
        later = [_from(comparison, index) for comparison in comparisons]
        found.append(hopeless.margins(later, parent, noise)[-1])
    return Yardstick(incumbent=whole.incumbent, margins=tuple(found), pairs=whole.pairs)


def _from(comparison: CurveComparison, index: int) -> CurveComparison:
    """A comparison as if nothing was known of it before a checkpoint."""
    return replace(comparison, recoveries=(None,) * index + comparison.recoveries[index:])


def fixed(known: KnownCurves, past: Past, campaign: Campaign, trial: Trial) -> Yardstick | None:
    """The same margin at every checkpoint."""
    losses = known.losses(campaign, trial.parent_trial_id or "")
    if losses is None:
        return None
    return Yardstick(incumbent=losses, margins=(FIXED_MARGIN,) * len(CHECKPOINTS), pairs=0)


def median_rule(known: KnownCurves, past: Past, campaign: Campaign, trial: Trial) -> Yardstick | None:
    """Worse than the median of the earlier trials at this checkpoint, whatever became of them."""
    earlier = [t for t in past.trials(campaign.campaign_id) if t.status in FINISHED]
    rows = [losses for t in earlier if (losses := known.losses(campaign, t.trial_id)) is not None]
    if len(rows) < PAIRS_NEEDED:
        return None
    return Yardstick(incumbent=tuple(map(_median, zip(*rows, strict=True))), margins=(0.0,) * len(CHECKPOINTS), pairs=0)


RULES: dict[str, Rule] = {
    "ours": at_level(hopeless.CONFIDENCE),
    "bound 99 %": at_level(0.99),
    "by checkpoint": by_checkpoint,
    "fixed 5 %": fixed,
    "median": median_rule,
}


def replay_all(source: Path, rule: Rule) -> dict[str, Replay]:
    """Every campaign of a workspace under one rule, by tag."""
    with Reader.open(source / ".nightshift" / "snapshot") as reader:
        record = Record(reader)
        past = Past(record)
        found: dict[str, Replay] = {}
        for campaign in record.campaigns:
            found[campaign.tag] = replay(past, campaign, rule)
        return found


def replay(past: Past, campaign: Campaign, rule: Rule) -> Replay:
    """Go through a campaign in order, stopping what the rule would have stopped."""
    result, record, share = Replay(), past.record, share_of(campaign)
    known = KnownCurves(past, share)
    made_up = {c.trial_id: c.recoveries for c in KnownCurves(Past(record), share).comparisons(campaign)}
    for trial in record.trials[campaign.campaign_id]:
        first = next((m for m in record.measurements[trial.trial_id] if m.state is MeasurementState.MEASURED), None)
        if trial.kind is not TrialKind.SEARCH or trial.status not in FINISHED or first is None:
            continue
        past.now = trial.created_at
        losses = known.losses_of(first)
        yardstick = rule(known, past, campaign, trial)
        wanted = trial.status is Status.KEEP or (trial.gain or 0.0) > 0
        seconds = trial.train_s
        result.trials += 1
        result.seconds += seconds
        if wanted:
            result.would_be_keeps.append(trial.seq)
        if yardstick is None or losses is None:
            continue
        result.watched += 1
        beyond = _beyond(made_up[trial.trial_id], yardstick.margins)
        if beyond > 0:
            result.outrun[trial.seq] = beyond
        slack, stop = room(yardstick, losses)
        if wanted and slack is not None:
            result.nearest_miss = slack if result.nearest_miss is None else min(slack, result.nearest_miss)
        if stop is not None:
            result.stopped[trial.seq] = stop
            result.saved += seconds - stop * (first.train_s or 0.0)
            past.stopped[trial.trial_id] = stop
            if wanted:
                result.killed.append(trial.seq)
    result.left_out = [seq for seq in result.would_be_keeps if _stopped_by_all_others(record, campaign, seq, rule)]
    return result


def _stopped_by_all_others(record: Record, campaign: Campaign, seq: int, rule: Rule) -> bool:
    """Whether a trial would be stopped by what the rest of the record shows."""
    trial = record.trials[campaign.campaign_id][seq]
    known = KnownCurves(Past(record), share_of(campaign))
    first = next(m for m in record.measurements[trial.trial_id] if m.state is MeasurementState.MEASURED)
    losses, rest = known.losses_of(first), Past(record, stopped={trial.trial_id: 0.0})
    yardstick = rule(KnownCurves(rest, share_of(campaign)), rest, campaign, trial)
    return yardstick is not None and losses is not None and room(yardstick, losses)[1] is not None


def room(yardstick: Yardstick, losses: ByCheckpoint) -> tuple[float | None, float | None]:
    """The smallest distance to being stopped (negative: it is), and the first checkpoint where it is."""
    slacks: list[tuple[float, float]] = []
    for checkpoint, own, reference, margin in zip(
        CHECKPOINTS, losses, yardstick.incumbent, yardstick.margins, strict=True
    ):
        deficit = relative_deficit(own, reference)
        if deficit is not None and margin is not None:
            slacks.append((checkpoint, margin - deficit))
    stop = next((checkpoint for checkpoint, slack in slacks if slack < 0), None)
    return min((slack for _, slack in slacks), default=None), stop


def _beyond(recoveries: ByCheckpoint, margins: ByCheckpoint) -> float:
    """By how much the recoveries exceeded the margins at most; negative when they never did."""
    both = zip(recoveries, margins, strict=True)
    return max((r - m for r, m in both if r is not None and m is not None), default=-1.0)


def share_of(campaign: Campaign) -> Share:
    """Progress of the campaign's budget."""
    budget = campaign.task["budget"]
    amount = Budget(kind=BudgetKind(budget["kind"]), amount=float(budget["amount"]))
    return lambda step, tokens, elapsed_s: amount.progress(Usage(seconds=elapsed_s, steps=step, tokens=tokens))


def _median(values: tuple[float | None, ...]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+", help="a workspace with recorded campaigns")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sources: list[Path] = arguments.source
    result = {
        str(source): {
            name: {tag: found.document() for tag, found in replay_all(source, rule).items()}
            for name, rule in RULES.items()
        }
        for source in sources
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    heads = ("stopped", "saved", "would-be keeps", "killed", "nearest miss", "outrun", "left out")
    for source, rules in result.items():
        for tag in next(iter(rules.values())):
            first = rules["ours"][tag]
            print(f"{source}, campaign {tag}: {first['trials']} trials, {first['train_s']:.0f} s of training")
            print(f"  {'rule':14}" + "".join(f"{head:>15}" for head in heads))
            for name, found in rules.items():
                _print_row(name, found[tag])


def _print_row(name: str, row: dict[str, Any]) -> None:
    near = "–" if row["nearest_miss"] is None else f"{100 * row['nearest_miss']:+.1f} %"
    killed = ", ".join(map(str, row["killed"])) or "0"
    cells = (f"{row['stopped']}", f"{row['saved_s']:.0f} s, {100 * row['saved_share']:.0f} %", row["would_be_keeps"])
    left = f"{len(row['left_out_killed'])} of {row['would_be_keeps']}"
    outrun = f"{len(row['outrun'])} of {row['watched']}"
    print(f"  {name:14}" + "".join(f"{cell!s:>15}" for cell in (*cells, killed, near, outrun, left)))


if __name__ == "__main__":
    main()
