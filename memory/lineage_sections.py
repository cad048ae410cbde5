"""The sections of the lineage block: each turns rows into lines and says which of them matter most."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from memory.hopeless import stopped_at
from memory.measured import measured_on
from memory.near_misses import near_misses
from memory.noise import Noise
from memory.records import Campaign, Lesson, Measurement, Trial
from memory.rules_base import Evidence, Points, compare
from rails.status import FINISHED, Status
from rails.text import clean_text

_VALUES_SHOWN = 8
_EDITS_SHOWN = 6
_LESSONS_SHOWN = 8
_NEAR_SHOWN = 8
_clean = lru_cache(maxsize=4096)(clean_text)  # the same few edits come again and again
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRows:
    """The rows that a block is made of: decided trials that say something, and what belongs to them."""

    campaign: Campaign
    trials: list[Trial]
    baseline: Trial | None
    best: Trial | None
    measurements: dict[str, list[Measurement]]
    """Of the baseline and the best."""
    lessons: list[Lesson]
    noise: Noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and its lines, in the order of reading."""

    title: str
    priority: int
    """Lower is served first when room is short; 0 always fits."""
    lines: list[str]
    order: list[int] = field(default_factory=list[int])
    """Indices of `lines`, the most important first."""
    least: int = 3
    """So many lines before any section gets more."""
    enough: int = 6
    """So many lines before any section gets all of its."""
    more: int = 0
    """Lines that exist but were not made."""


def heading(rows: LineageRows) -> str:
    """What the block is, and how to read its numbers."""
    metric = rows.campaign.task.get("metric", {})
    name, way = metric.get("name", "val_bpb"), metric.get("direction", "minimize")
    lower = "lower" if way == "minimize" else "higher"
    searched = sum(trial.seq > 0 for trial in rows.trials)
    return (
        f"# Lineage: {searched} trials so far\n"
        f"{name}: {lower} is better. A gain is relative to the baseline, against the best of its day; + is better; "
        "[low, high] is its 95 % interval."
    )


def best(rows: LineageRows) -> Section:
    """The current best with the interval of its gain, and the baseline with the noise."""
    lines: list[str] = []
    if rows.best is not None and rows.best.seq > 0:
        count = rows.best.n_measurements
        lines.append(f"- trial {rows.best.seq}: {_metric(rows.best)} ({count} x measured), {_gain_on_baseline(rows)}")
    if rows.baseline is not None:
        sd = "unknown" if rows.noise.sd is None else f"{rows.noise.sd:.4f}"
        none_yet = "; nothing better yet" if not lines else ""
        count = rows.baseline.n_measurements
        lines.append(f"- baseline: {_metric(rows.baseline)} ({count} x measured, noise sd {sd}){none_yet}")
    return _section("Current best", 0, lines)


def chain(rows: LineageRows) -> Section:
    """The kept edits from the baseline to the best, each built on the one before."""
    by_id = {trial.trial_id: trial for trial in rows.trials}
    kept: list[Trial] = []
    current = rows.best
    while current is not None and current.seq > 0:
        kept.append(current)
        parent = by_id.get(current.parent_trial_id or "")
        current = parent if parent is not None and parent.seq < current.seq else None
    kept.reverse()
    lines = [
        f"- trial {trial.seq}: {_edit(trial)} → {_metric(trial)} ({trial.n_measurements} x measured), {_gain(trial)}"
        for trial in kept
    ]
    return _section("Kept, each on top of the one before", 1, lines, newest_first=True)


def near(rows: LineageRows) -> Section:
    """What nearly made it, best evidence first."""
    found = near_misses(rows.trials, rows.noise)
    by_seq = {trial.seq: trial for trial in rows.trials}
    lines = [
        f"- trial {miss.trial}: {_edit(by_seq[miss.trial])}, {_gain(by_seq[miss.trial])}"
        for miss in found[:_NEAR_SHOWN]
    ]
    return _section(
        "Near misses: try them together, or on today's best", 2, lines, more=max(0, len(found) - _NEAR_SHOWN)
    )


def failures(rows: LineageRows) -> Section:
    """Failures of one kind in one line, the most frequent first."""
    groups: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in rows.trials:
        if trial.status is not None and trial.status not in FINISHED:
            groups[trial.status, _NUMBER.sub("#", trial.reason or "")].append(trial)
    ranked = sorted(groups.values(), key=lambda group: (-len(group), -group[-1].seq))
    lines = [f"- {g[-1].status} x{len(g)}: {_clean(g[-1].reason or '', 100)} ({_edits(g)})" for g in ranked]
    return _section("Failures: do not repeat", 3, lines)


def tried(rows: LineageRows) -> Section:
    """For each knob the values that were tried and what they brought, best first."""
    by_knob: dict[str, dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in rows.trials:
        knob = _knob(trial)
        if knob:
            by_knob[knob][_value(trial)].append(trial)
    lines = [f"- {_clean(knob, 40)}: {_values(values)}" for knob, values in sorted(by_knob.items())]
    sizes = [-sum(map(len, by_knob[knob].values())) for knob in sorted(by_knob)]
    order = sorted(range(len(lines)), key=lambda index: (sizes[index], index))
    return _section("Tried values by knob, best first", 4, lines, order=order, enough=len(lines))


def untouched(rows: LineageRows) -> Section:
    """Knobs of the menu that no trial has changed."""
    left = dict.fromkeys(_menu_knobs(rows.campaign.task))
    for trial in rows.trials:
        if not left:
            break
        left.pop(_knob(trial) or "", None)
    names = list(left)
    return _section("Knobs never tried", 5, ["- " + ", ".join(names)] if names else [])


def latest(rows: LineageRows, count: int) -> Section:
    """The latest trials, oldest first, with what was hoped for."""
    recent = [trial for trial in rows.trials if trial.seq > 0][-count:] if count > 0 else []
    lines = [f"- trial {t.seq}: {_edit(t)} → {_outcome(t)}{_hope(t)}" for t in recent]
    return _section(f"Last {len(lines)}", 6, lines, newest_first=True, enough=len(lines))


def lessons(rows: LineageRows) -> Section:
    """The latest lessons, each text once."""
    texts: dict[str, int] = {}
    for lesson in rows.lessons:
        text = _clean(lesson.text, 160)
        texts.pop(text, None)
        texts[text] = len(texts)
    lines = [f"- {text}" for text in list(texts)[-_LESSONS_SHOWN:]]
    return _section("Lessons", 7, lines, newest_first=True, more=max(0, len(texts) - _LESSONS_SHOWN))


def _section(
    title: str,
    priority: int,
    lines: list[str],
    *,
    newest_first: bool = False,
    order: list[int] | None = None,
    enough: int = 6,
    more: int = 0,
) -> Section:
    natural = list(range(len(lines)))
    chosen = order if order is not None else natural[::-1] if newest_first else natural
    return Section(title=title, priority=priority, lines=lines, order=chosen, enough=enough, more=more)


def _metric(trial: Trial) -> str:
    return "no score" if trial.metric is None else f"{trial.metric:.4f}"


def _percent(value: float) -> str:
    return f"{100 * value:+.2f}"


def _gain(trial: Trial) -> str:
    return _interval(trial.gain, trial.gain_low, trial.gain_high)


def _interval(gain: float | None, low: float | None, high: float | None) -> str:
    if gain is None:
        return "gain unknown"
    interval = "" if low is None or high is None else f" [{_percent(low)}, {_percent(high)}]"
    return f"{_percent(gain)} %{interval}"


def _gain_on_baseline(rows: LineageRows) -> str:
    """The best against the baseline over all measurements of the search."""
    if rows.best is None or rows.baseline is None:
        return "gain unknown"
    candidate, baseline = _points(rows, rows.best), _points(rows, rows.baseline)
    if not candidate or not baseline:
        return "gain unknown"
    direction = rows.campaign.task.get("metric", {}).get("direction", "minimize")
    found, _ = compare(
        Evidence(
            candidate=candidate,
            incumbent=baseline,
            baseline=baseline,
            noise_sd=rows.noise.sd,
            noise_df=rows.noise.df,
            direction=direction,
        )
    )
    return f"{_interval(found.gain, found.gain_low, found.gain_high)} on the baseline"


def _points(rows: LineageRows, trial: Trial) -> Points:
    done = measured_on(rows.measurements.get(trial.trial_id, []), rows.campaign.hardware_fingerprint)
    return tuple((m.seed_index, m.val_bpb) for m in done if m.val_bpb is not None)


def _knob(trial: Trial) -> str | None:
    edit = trial.edit or {}
    return str(edit["knob"]) if edit.get("kind") == "knob" and "knob" in edit else None


def _value(trial: Trial) -> str:
    return _clean(str((trial.edit or {}).get("value")), 30)


def _edit(trial: Trial) -> str:
    """The edit in few words: the key of a knob, the hypothesis of a diff."""
    if trial.edit is not None and trial.edit.get("kind") == "diff" and trial.hypothesis:
        return f"diff “{_clean(trial.hypothesis, 80)}”"
    return _clean(trial.edit_key or "no readable edit", 60)


def _edits(group: Sequence[Trial]) -> str:
    """The edits of a group of failures, newest first, each once."""
    names = list(dict.fromkeys(_edit(trial) for trial in reversed(group)))
    more = f", … {len(names) - _EDITS_SHOWN} more" if len(names) > _EDITS_SHOWN else ""
    return ", ".join(names[:_EDITS_SHOWN]) + more


def _outcome(trial: Trial) -> str:
    if early := stopped_at(trial):
        return f"{trial.status}, {early}"
    if trial.status in FINISHED:
        return f"{trial.status}, {_metric(trial)}, {_gain(trial)}"
    return str(trial.status)


def _hope(trial: Trial) -> str:
    hope = trial.hypothesis or trial.rationale
    told_already = trial.edit is not None and trial.edit.get("kind") == "diff"
    return f" (hoped: {_clean(hope, 70)})" if hope and not told_already else ""


def _values(values: dict[str, list[Trial]]) -> str:
    """`4 keep +0.51 %, 3 discard -0.20 % x2, 12 crash`: values of one knob by their best outcome."""
    ranked = sorted(values.items(), key=lambda item: (-_best_gain(item[1]), item[1][0].seq))
    shown = [f"{value} {_best_outcome(trials)}" for value, trials in ranked[:_VALUES_SHOWN]]
    left = len(ranked) - len(shown)
    return ", ".join(shown) + (f", … {left} worse" if left else "")


def _best_gain(trials: Sequence[Trial]) -> float:
    best = float("-inf")
    for trial in trials:  # every value of every knob comes by before each trial: a loop takes half as long as max()
        if trial.gain is not None and trial.gain > best:
            best = trial.gain
    return best


def _best_outcome(trials: Sequence[Trial]) -> str:
    top = max(trials, key=lambda t: (t.status is Status.KEEP, t.gain is not None, t.gain or 0.0, -t.seq))
    gain = f" {_percent(top.gain)} %" if top.gain is not None else ""
    times = f" x{len(trials)}" if len(trials) > 1 else ""
    return f"{stopped_at(top) or top.status}{gain}{times}"


def _menu_knobs(task: dict[str, Any]) -> list[str]:
    knobs = (task.get("menu") or {}).get("knobs") or {}
    return [_clean(str(name), 40) for name in knobs]
