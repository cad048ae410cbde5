"""A decision's evidence in words: what was measured, how wide the noise is, and what the rule asked for."""

from collections.abc import Iterator
from typing import Any

from cli.terminal.output import cell, score_text
from memory.records import INCUMBENT_FAILED, SIMPLER
from rails.text import measured

_TOLD = frozenset(
    {
        *("action", "reason", "rule", "seeds", "candidate_mean", "incumbent_mean", "baseline_mean"),
        *("noise_sd", "noise_df", "noise_campaigns", "on_clock", "n_candidate", "n_incumbent", "n_left_out"),
        *("direction", "scores_by_seed", "slope", "pair_sd", "earlier_pairs", "standard_error", "df"),
        *("n_controls", "statistic", "control_statistic", "p_null", "keep_level", "futility_bound", "control_bound"),
        *("cap", "checkpoint", "loss", "incumbent_loss", "deficit", "margin", "pairs", "confidence", "unprobed"),
        *("min_gain", "kind", "saved", "against", "simpler_margin", "allowed", INCUMBENT_FAILED),
    }
)
"""Keys that are said in words, or elsewhere."""


def evidence_lines(decision: dict[str, Any]) -> list[str]:
    """The decision for a person, one thought a line; whatever is not known here is shown as it is stored."""
    told = _early_stop(decision) if decision.get("rule") == "early_stop" else _rule(decision)
    lines = [line for line in told if line]
    if decision.get("unprobed"):
        lines.append("it looked good enough to keep, and was to be probed more deeply first")
    if decision.get("kind") == SIMPLER:
        lines.append(_simpler(decision))
    if decision.get(INCUMBENT_FAILED) is not None:
        lines.append(f"the incumbent could not be measured again with seed {decision[INCUMBENT_FAILED]}")
    rest = {key: value for key, value in decision.items() if key not in _TOLD}
    return lines + [f"{key.replace('_', ' ')}: {cell(value)}" for key, value in rest.items()]


def _rule(d: dict[str, Any]) -> Iterator[str]:
    yield f"{d.get('action') or 'nothing'} decided by the rule {d['rule']}" if d.get("rule") else ""
    yield from _means(d)
    yield from pair_lines(d)
    yield _noise(d)
    yield _pairs_noise(d)
    yield from _statistics(d)
    if d.get("min_gain") is not None:
        yield f"the rule keeps a gain of at least {100 * d['min_gain']:g} % of the baseline"


def _means(d: dict[str, Any]) -> Iterator[str]:
    ours, theirs = d.get("candidate_mean"), d.get("incumbent_mean")
    if ours is None or theirs is None:
        return
    seeds = d.get("seeds") or []
    shared = f"on {_count(len(seeds), 'shared seed')} ({', '.join(map(str, seeds))})" if seeds else "no seed shared"
    n_ours, n_theirs = d.get("n_candidate"), d.get("n_incumbent")
    counts = "" if n_ours is None or n_theirs is None else f"; {n_ours} and {n_theirs} measurements in all"
    means = f"candidate {score_text(ours)}, incumbent {score_text(theirs)}"
    yield f"{means}, baseline {score_text(d.get('baseline_mean'))}, {shared}{counts}"
    if d.get("n_left_out"):
        yield f"{_count(d['n_left_out'], 'older measurement')} of the incumbent left out: the machine changed since"


def pair_lines(d: dict[str, Any]) -> list[str]:
    """The pairs drawn: a line a seed, the candidate's gain on it to the right of the middle, a loss to the left."""
    scale = abs(d.get("baseline_mean") or d.get("incumbent_mean") or 0.0) or 1.0
    sign = -1.0 if d.get("direction") == "maximize" else 1.0
    rows = [(seed, sign * (theirs - ours) / scale) for seed, ours, theirs in d.get("scores_by_seed") or []]
    widest = max((abs(gain) for _, gain in rows), default=0.0)
    lines: list[str] = []
    for seed, gain in rows:
        place = _HALF + (round(_HALF * gain / widest) if widest else 0)
        drawn = "".join("o" if at == place else "|" if at == _HALF else "-" for at in range(2 * _HALF + 1))
        lines.append(f"seed {seed:>4}  worse {drawn} better  {100 * gain:+.2f} %")
    return lines


_HALF = 16
"""Characters of a pair's line on either side of its middle."""


def _pairs_noise(d: dict[str, Any]) -> str:
    if d.get("pair_sd") is None or d.get("slope") is None:
        return ""
    of = f"it and {_count(d.get('earlier_pairs') or 0, 'earlier pair')}"
    return (
        f"from seed to seed it follows the incumbent by {100 * d['slope']:.0f} %; "
        f"the rest varies by {measured(d['pair_sd'])} (sd), by {of}"
    )


def _noise(d: dict[str, Any]) -> str:
    if d.get("noise_df") is None:
        return ""
    if d.get("noise_sd") is None:
        return "how much one measurement varies is not known yet: no program was measured twice"
    campaigns = d.get("noise_campaigns") or 1
    pooled = f" over {campaigns} campaigns" if campaigns > 1 else ""
    return f"one measurement varies by {measured(d['noise_sd'])} (sd), with {d['noise_df']} degrees of freedom{pooled}"


def _statistics(d: dict[str, Any]) -> Iterator[str]:
    """The two bounds, and on which side of each it fell."""
    statistic, futility = d.get("statistic"), d.get("futility_bound")
    if statistic is not None and futility is not None:
        side = "too little to go on" if statistic < futility else "enough to go on"
        yield f"the difference is {statistic:.2f} standard errors: {side} (at least {futility:g})"
    chance, level = d.get("p_null"), d.get("keep_level")
    if chance is not None and level is not None:
        side = "proven" if chance <= level else "not proven"
        yield f"by noise alone it would look this good with a chance of {chance:.2g}: {side} (at most {level:g})"
    controls, beaten, bound = d.get("n_controls"), d.get("control_statistic"), d.get("control_bound")
    if controls and beaten is not None and bound is not None:
        side = "enough" if beaten >= bound else "not enough"
        made = _count(controls, "control")
        yield f"against its {made} of the same trial: {beaten:.2f} standard errors, {side} (at least {bound:g})"


def _early_stop(d: dict[str, Any]) -> Iterator[str]:
    yield "training was stopped: its curve was hopeless"
    if all(d.get(key) is not None for key in ("checkpoint", "loss", "incumbent_loss", "deficit", "margin")):
        where = " on the same seed" if d.get("on_seed") else ""
        expected = d.get("expected_deficit", d["deficit"])
        yield (
            f"after {100 * d['checkpoint']:.0f} % of the budget its loss was {measured(d['loss'])}, "
            f"the incumbent's{where} {measured(d['incumbent_loss'])}: {100 * d['deficit']:.1f} % behind"
            + (f", {100 * expected:.1f} % if that goes on shrinking" if expected < d["deficit"] else "")
        )
        confidence = f" in {100 * d['confidence']:.4g} % of cases" if d.get("confidence") is not None else ""
        yield (
            f"from there, trainings made up no more than {100 * d['margin']:.1f} %{confidence}, "
            f"by {_count(d.get('pairs') or 0, 'comparison')}"
        )


def _simpler(d: dict[str, Any]) -> str:
    """As what it is judged, and so what the difference and the chance above are about."""
    margin = 100 * (d.get("simpler_margin") or 0.0)
    return (
        f"judged as a simplification ({d.get('saved')}): the incumbent here is the best ever kept, {d.get('against')}, "
        f"and what is to be ruled out is a loss of {margin:g} % of the baseline"
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
