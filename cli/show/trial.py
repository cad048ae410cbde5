"""One trial for a person, from top to bottom in the order in which it happened."""

import sys
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.show.decision import evidence_lines
from cli.show.found import ORIGINS
from cli.terminal.output import cell, gain_text, printable, printable_line, score_text, seconds, table
from cli.terminal.plot import Frame, Series, draws_plain, plot
from rails.clocks import counts_time
from rails.status import Status
from rails.text import UNCORRECTED

_CURVE_LINES, _CURVE_WIDTH = 6, 78
_ANSWER = 60
"""Characters of a model's answer that are shown; `--json` has all of it."""
_DIFF_STYLES = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))


def print_trial(out: Console, document: dict[str, Any], task: dict[str, Any]) -> None:
    """Print the document that `nightshift show --json` has; `task` is the campaign's."""

    def lines(title: str, texts: list[str]) -> None:
        if texts:
            out.print()
            out.print(Text(title, style="bold"))
        for text in texts:
            out.print(printable_line(text), soft_wrap=True, markup=False)

    for text in _outcome(document):
        out.print(printable_line(text), soft_wrap=True, markup=False)
    lines("proposal", list(_proposal(document)))
    lines("rails", list(_verdicts(document["verdicts"])))
    if document["measurements"]:
        lines("measurements", [""])
        columns = ("seed", "for", "state", "score", "steps", "trained", "CPU", "level", "cuts", "reason")
        rows = map(_measurement_row, document["measurements"])
        out.print(table(columns, rows, right=("score", "steps", "cuts")))
    for title, curve in _curves(document, task):
        lines(title, curve)
    lines("decision", evidence_lines(document["decision"]) if document["decision"] else [])
    if document["calls"]:
        lines("calls", [""])
        columns = ("attempt", "for", "asked", "tokens in", "out", "took", "usd", "answer")
        right = ("tokens in", "out", "took", "usd")
        out.print(table(columns, map(_call_row, document["calls"]), right=right))
    if document["diff"]:
        lines("diff", [""])
        print_diff(out, document["diff"])


def print_diff(out: Console, diff: str) -> None:
    """A unified diff; colours only repeat what the first character of each line says."""
    for line in diff.splitlines():
        style = next((style for start, style in _DIFF_STYLES if line.startswith(start)), "")
        out.print(Text(printable(line), style=style), soft_wrap=True)


def _outcome(document: dict[str, Any]) -> Iterator[str]:
    trial = document["trial"]
    parent = "" if document["parent"] is None else f"  (on trial {document['parent']})"
    status = trial["status"] or f"not decided yet ({trial['phase']})"
    yield f"trial {trial['seq']}: {status}  {trial['edit_key'] or '(baseline)'}{parent}"
    if trial["reason"]:
        yield f"why: {trial['reason']}"
    if trial["metric"] is not None:
        gain = gain_text(trial["gain"], trial["gain_low"], trial["gain_high"])
        chance = "" if trial["p_improve"] is None else f", better with probability {probability(trial['p_improve'])}"
        compared = "" if trial["gain"] is None else f", gain on its parent {gain}{chance} ({UNCORRECTED})"
        yield f"metric: {score_text(trial['metric'])} ({trial['n_measurements']} x measured){compared}"
    yield _cost(trial)
    if trial["commit_sha"] or trial["candidate_commit"]:
        where = f"on the branch as {trial['commit_sha'][:12]}" if trial["commit_sha"] else "not on the branch"
        if trial["commit_sha"] and trial["status"] == Status.DISQUALIFIED:
            where = f"on the branch as {trial['commit_sha'][:12]} until its keep was undone"
        yield f"program: commit {(trial['candidate_commit'] or trial['commit_sha'])[:12]}, {where}"
    if trial["lesson"]:
        yield f"lesson: {trial['lesson']}"


def probability(p: float) -> str:
    """Never more certain than it is: what is close to 0 or 1 is said to be beyond a bound."""
    return "< 0.001" if p < 0.001 else "> 0.999" if p > 0.999 else f"{p:.3f}"


def _cost(trial: dict[str, Any]) -> str:
    """Seconds, joules and dollars; 0 s of a trial that this loop did not run is what nobody measured."""
    parts = [f"{name} {seconds(trial[f'{name}_s'])}" for name in ("propose", "train", "score") if trial[f"{name}_s"]]
    took = f"took {seconds(trial['total_s'])}" if trial["total_s"] else "time not measured"
    joules = "energy not measured"
    if trial["joules"] is not None:
        by_part = [(name, trial[f"{name}_joules"]) for name in ("propose", "train", "score")]
        known = ", ".join(f"{name} {value:.4g}" for name, value in by_part if value is not None)
        joules = f"{trial['joules']:.4g} J" + (f" ({known})" if known else "")
    usd = "" if trial["usd"] is None else f", {trial['usd']:.4g} usd"
    split = f" ({', '.join(parts)})" if parts else ""
    return f"{took}{split}, {joules}{usd}"


def _proposal(document: dict[str, Any]) -> Iterator[str]:
    trial, proposal = document["trial"], document["proposal"]
    who = " · ".join(str(x) for x in (trial["proposer"], trial["specialist"], trial["domain"]) if x)
    if who:
        yield f"by: {who}"
    if trial["origin"]:
        yield f"idea of: {ORIGINS[trial['origin']]}"
    if proposal["hypothesis"]:
        yield f"hypothesis: {proposal['hypothesis']}"
    if proposal["reason"] and proposal["reason"] != proposal["hypothesis"]:
        yield f"reason: {proposal['reason']}"
    if proposal["expected_delta"] is not None:
        yield f"expected change of the metric: {proposal['expected_delta']:+g}"
    edit = proposal["edit"] or {}
    if edit.get("knob") is not None:
        yield f"edit: {edit['knob']} = {cell(edit.get('value'))}"
    if trial["critique"]:
        yield from _critique(trial["critique"])
    if trial["lineage_sha256"]:
        yield f"it saw the lineage block {trial['lineage_sha256'][:12]}"


def _critique(critique: dict[str, Any]) -> Iterator[str]:
    """What the critic said of the draft, and what became of that."""
    of = "" if critique.get("trial") is None else f", see trial {critique['trial']}"
    why = ": ".join(str(critique[name]) for name in ("ground", "reason") if critique.get(name))
    yield f"critic: {critique.get('verdict')}{f' ({why}{of})' if why else of}"
    if critique.get("revised") and critique.get("draft"):
        yield f"the draft that it saw: {_draft(critique['draft'])}"


def _draft(edit: Any) -> str:
    known = edit if isinstance(edit, dict) else {}
    return f"{known['knob']} = {cell(known.get('value'))}" if known.get("knob") is not None else "a change of the code"


def _verdicts(verdicts: list[dict[str, Any]]) -> Iterator[str]:
    """One line an attempt: what let it pass, or what stopped it and why."""
    for attempt, found in groupby(verdicts, key=lambda v: v["attempt"]):
        said = list(found)
        blocked = [f"blocked by {v['rail']}: {v['reason'] or 'no reason given'}" for v in said if not v["ok"]]
        passed = ", ".join(v["rail"] for v in said if v["ok"])
        yield f"attempt {attempt + 1}: " + ("; ".join(blocked) if blocked else f"passed {passed}")


def _measurement_row(m: dict[str, Any]) -> tuple[Any, ...]:
    """Level: how its process was isolated. Cuts: at how many places it was seen not to look ahead."""
    cuts = (m["probes"] or {}).get("cuts")
    return (
        m["seed_index"],
        m["purpose"],
        m["state"],
        score_text(m["score"]),
        m["steps"],
        seconds(m["train_s"]),
        seconds(m["cpu_s"]),
        m["isolation"],
        cuts,
        m["reason"],
    )


def _curves(document: dict[str, Any], task: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Each training's losses over the steps or seconds that its budget counts."""
    kind = (task.get("budget") or {}).get("kind")
    by_time, unit = counts_time(kind), "CPU s" if kind == "cpu_seconds" else "s"
    plain = draws_plain(sys.stdout)
    seeds = {m["measurement_id"]: m["seed_index"] for m in document["measurements"]}
    for curve in document["curves"]:
        along = curve["elapsed_s"] if by_time else curve["step"]
        if not along:
            continue
        last = f"{along[-1]:.1f} {unit}" if by_time else f"step {along[-1]}"
        frame = Frame(_CURVE_WIDTH, _CURVE_LINES, 0.0, float(along[-1]), "0", last, plain)
        drawn = plot([Series(list(zip(map(float, along), curve["loss"], strict=True)))], frame)
        yield f"loss, seed {seeds.get(curve['measurement_id'])} ({len(along)} points)", drawn


def _call_row(call: dict[str, Any]) -> tuple[Any, ...]:
    said = f"error: {call['error']}" if call["error"] else call["raw_reply"] or ""
    line = " ".join(said.split())
    usd = None if call["usd"] is None else f"{call['usd']:.4g}"
    return (
        call["attempt"] + 1,
        call["role"],
        call["model"] or call["proposer"],
        call["prompt_tokens"],
        call["completion_tokens"],
        f"{call['latency_s']:.2f} s",
        usd,
        line if len(line) <= _ANSWER else line[: _ANSWER - 1] + "…",
    )
