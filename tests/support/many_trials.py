"""A long made-up campaign, fast: records by seed, and a store or a published snapshot of them without a loop.

`rows.py` plays a night step by step; here only what many trials need is made: 10,000 trials in about a second, 100,000
in well under a minute, written in bulk.
"""

import random
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from cli.inputs.sources import no_collector
from memory.database.rows import (
    CALLS,
    CAMPAIGNS,
    CURVES,
    LESSONS,
    LINEAGE_BLOCKS,
    MEASUREMENTS,
    SPANS,
    TRIALS,
    VERDICTS,
)
from memory.importers.bulk import fill, publish_whole
from memory.records import Call, Lesson, MeasurementState, Phase, Trial, TrialKind, Verdict
from memory.store import Store
from rails.status import QUARANTINED, Status
from tests.support.rows import FAILURES, KNOBS, CampaignRecords, make_campaign, make_measurement

NOISE = 0.004
"""Standard deviation of one measurement."""
_BASELINE = 1.8
_EDITS = [(knob, value) for knob, values in list(KNOBS.items())[:-1] for value in values]
"""Every knob and value of the menu but those of the last knob, which stays untouched."""

TASK = """
name = "many"

[budget]
kind = "seconds"
amount = 20

[menu.knobs]
depth = {type = "int", choices = [2, 3, 4, 6, 8], default = 4}
width = {type = "int", choices = [64, 96, 128, 192, 256], default = 128}
lr = {type = "float", range = [0.001, 0.1], default = 0.02}
warmup = {type = "float", range = [0.0, 0.5], default = 0.1}
softcap = {type = "int", choices = [0, 15, 30], default = 0}
mlp_ratio = {type = "float", range = [1.0, 8.0], default = 4.0}
beta2 = {type = "float", range = [0.8, 0.999], default = 0.95}
window = {type = "str", choices = ["full", "half", "short"], default = "full"}
rope_base = {type = "int", choices = [1000, 10000, 100000], default = 10000}
"""


def many_trials(count: int, seed: int = 0, *, tag: str = "many", prompt_chars: int = 200) -> CampaignRecords:
    """A decided campaign of a baseline and `count` search trials. The same arguments give the same records.

    About 13 of 100 trials fail, each with a reason, 2 more are quarantined; the others edit one knob of a menu, are
    measured one to three times, and are kept when the interval of their gain is above zero. Each trial has a call and a
    lesson (not the quarantined ones); blocked ones have the verdict. There are no curves, blocks and spans.
    """
    made = _Many(random.Random(f"{seed}-{tag}"), CampaignRecords(make_campaign(tag, minutes=seed)), prompt_chars)
    with no_collector():
        made.baseline()
        for seq in range(1, count + 1):
            made.search(seq)
    news = {"incumbent_trial_id": made.best.trial_id, "head_commit": made.best.commit_sha or "0" * 40}
    made.records.campaign = made.records.campaign.model_copy(update=news)
    return made.records


def fill_store(path: Path, *campaigns: CampaignRecords) -> Path:
    """A store at `path` (a new file) with these campaigns; 100,000 trials take seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Store.open(path) as store, no_collector():
        fill(store, _tables(campaigns))
    return path


def publish_campaigns(directory: Path, *campaigns: CampaignRecords) -> Path:
    """A snapshot of these campaigns in `directory`, for `Reader.open`. The store it shows lies beside it."""
    path = directory.with_name("store.duckdb")
    path.parent.mkdir(parents=True, exist_ok=True)
    with Store.open(path) as store, no_collector():
        fill(store, _tables(campaigns))
        publish_whole(store, directory)
    return directory


def make_night(root: Path, *campaigns: CampaignRecords) -> Path:
    """A folder that every reading command takes for a workspace: task.toml, store and snapshot, but no git."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "task.toml").write_text(TASK, encoding="utf-8")
    publish_campaigns(root / ".nightshift" / "snapshot", *campaigns)
    return root


def _tables(campaigns: Iterable[CampaignRecords]) -> Iterable[tuple[Any, list[Any]]]:
    for records in campaigns:
        yield CAMPAIGNS, [records.campaign]
        yield TRIALS, records.trials
        yield MEASUREMENTS, records.measurements
        yield CURVES, records.curves
        yield CALLS, records.calls
        yield VERDICTS, records.verdicts
        yield LINEAGE_BLOCKS, records.blocks
        yield LESSONS, records.lessons
        yield SPANS, records.spans


class _Many:
    """Plays proposer, trainer and keep rule in a few lines."""

    best: Trial

    def __init__(self, rng: random.Random, records: CampaignRecords, prompt_chars: int) -> None:
        self.rng, self.records, self.campaign = rng, records, records.campaign
        self.prompt = "p" * prompt_chars
        self.level = _BASELINE
        """The incumbent's true metric."""
        self.effects: dict[str, float] = {}

    def baseline(self) -> None:
        scores = [self.level + self.rng.gauss(0, NOISE) for _ in range(3)]
        trial_id = f"{self.campaign.campaign_id}-{0:06d}"
        self.best = self._add(trial_id, 0, "base", Status.BASELINE, scores, reason="the starting point")

    def search(self, seq: int) -> None:
        """One trial: what it changes depends on the seed, what that does on the edit (and a little luck)."""
        rng, draw = self.rng, self.rng.random()
        knob, value = rng.choice(_EDITS)
        trial_id = f"{self.campaign.campaign_id}-{seq:06d}"
        fields: dict[str, Any] = {
            "parent_trial_id": self.best.trial_id,
            "parent_commit": self.best.commit_sha or self.campaign.baseline_commit,
            "proposer": "planner",
            "specialist": "optimizer" if knob in {"lr", "beta2", "warmup"} else "architecture",
            "domain": "opt" if knob in {"lr", "beta2", "warmup"} else "arch",
            "hypothesis": f"{knob} at {value} trains faster",
            "expected_delta": -0.01,
            "rationale": "fewer steps are wasted",
            "edit": {"kind": "knob", "knob": knob, "value": value},
            "edit_key": f"{knob}={value}",
            "diff": f"--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-    {knob} = 0\n+    {knob} = {value}\n",
            "candidate_commit": f"{seq:040x}",
            "propose_s": 1.0 + draw,
        }
        program = f"{self.best.seq}:{knob}={value}"
        self._called(trial_id, seq, knob, value)
        if draw < 0.15:
            telling = [status for status in FAILURES if status not in QUARANTINED]
            status = rng.choice(telling if draw < 0.13 else sorted(QUARANTINED))
            self._add(trial_id, seq, program, status, [], reason=FAILURES[status].format(n=seq % 90 + 9), **fields)
            return
        # The same edit of the same incumbent always does the same; keeps get rarer as the search goes on.
        if program not in self.effects:
            self.effects[program] = rng.gauss(-0.004 - 0.003 * min(1.0, seq / 5000), 0.007)
        effect = self.effects[program]
        scores = [self.level - effect + rng.gauss(0, NOISE) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        self._decide(trial_id, seq, program, scores, fields)

    def _decide(self, trial_id: str, seq: int, program: str, scores: list[float], fields: dict[str, Any]) -> None:
        mean = sum(scores) / len(scores)
        scale, half = self.records.trials[0].metric or _BASELINE, 2 * NOISE * (1 / len(scores) + 1 / 3) ** 0.5
        gain = ((self.best.metric or 0.0) - mean) / scale
        half /= scale
        kept = gain - half > 0 and len(scores) > 1
        numbers = {
            "gain": gain,
            "gain_low": gain - half,
            "gain_high": gain + half,
            "p_improve": min(0.9999, max(0.0001, 0.5 + gain / half / 4)),
            "reason": "its gain is proven" if kept else "its gain is not proven",
            "decision": {"rule": "sequential", "seeds": list(range(len(scores)))},
            "commit_sha": f"{seq + 2**40:040x}" if kept else None,
        }
        done = self._add(
            trial_id, seq, program, Status.KEEP if kept else Status.DISCARD, scores, **{**fields, **numbers}
        )
        if kept:
            self.best, self.level = done, mean

    def _called(self, trial_id: str, seq: int, knob: str, value: object) -> None:
        self.records.calls.append(
            Call(
                call_id=f"{trial_id}-a0-0",
                trial_id=trial_id,
                attempt=0,
                position=0,
                proposer="planner",
                model="m-8b",
                prompt=[{"role": "user", "content": self.prompt}],
                raw_reply=f'{{"knob": "{knob}", "new_value": "{value}", "reason": "fewer steps are wasted"}}',
                prompt_tokens=len(self.prompt) // 4,
                completion_tokens=24,
                latency_s=1.2,
                usd=0.0001,
                created_at=self.campaign.created_at + timedelta(seconds=60 * seq),
            )
        )

    def _add(self, trial_id: str, seq: int, program: str, status: Status, scores: list[float], **fields: Any) -> Trial:
        created = self.campaign.created_at + timedelta(seconds=60 * seq)
        train_s = 20.0 * max(1, len(scores)) if status is not Status.RAIL_BLOCKED else 0.0
        trial = Trial(
            trial_id=trial_id,
            campaign_id=self.campaign.campaign_id,
            seq=seq,
            kind=TrialKind.SEARCH if seq else TrialKind.BASELINE,
            phase=Phase.DECIDED,
            program_key=program,
            status=status,
            metric=sum(scores) / len(scores) if scores else None,
            n_measurements=len(scores),
            lesson=None if seq == 0 or status in QUARANTINED else f"{fields['edit_key']} ended as {status}",
            train_s=train_s,
            score_s=1.5 * len(scores),
            total_s=train_s + 1.5 * len(scores) + 2.0,
            joules=90.0 * train_s,
            propose_joules=40.0,
            train_joules=80.0 * train_s,
            score_joules=30.0 * len(scores),
            usd=0.0001,
            created_at=created,
            decided_at=created + timedelta(seconds=55),
            **fields,
        )
        self._hang_on(trial, scores)
        return trial

    def _hang_on(self, trial: Trial, scores: list[float]) -> None:
        """What belongs to the trial: measurements, a lesson, the verdict that blocked it."""
        records = self.records
        records.trials.append(trial)
        for index, score in enumerate(scores):
            records.measurements.append(
                make_measurement(trial, index, score, train_s=20.0, score_s=1.5, steps=300, tokens=614_400)
            )
        if trial.status is Status.CRASH:
            failed = {"state": MeasurementState.FAILED, "status": Status.CRASH, "reason": trial.reason}
            records.measurements.append(make_measurement(trial, 0, None, train_s=7.0, **failed))
        if trial.status is Status.RAIL_BLOCKED:
            verdict = Verdict(
                trial_id=trial.trial_id, attempt=0, position=2, rail="range", ok=False, reason=trial.reason
            )
            records.verdicts.append(verdict)
        if trial.lesson is not None:
            lesson = Lesson(
                trial_id=trial.trial_id,
                campaign_id=trial.campaign_id,
                text=trial.lesson,
                source="rule",
                created_at=trial.decided_at or trial.created_at,
            )
            records.lessons.append(lesson)
