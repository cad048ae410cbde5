"""The suite's result as a table: for the terminal, and as Markdown for the record."""

from collections.abc import Iterable, Sequence

from cli.attacks.judge import Judged, Verdict
from cli.attacks.suite import Report

COLUMNS = ("attack", "what it does", "careless evaluator", "here", "ended as", "stopped by", "verdict")
NUMBERS = ("careless evaluator", "here")
_LONGEST = 160


def rows(report: Report) -> Iterable[Sequence[str | None]]:
    """One row an attack: what a careless evaluator would say beside what the loop made of it, in bits per byte."""
    for judged in report.attacks:
        attack, fought = judged.attack, judged.fought
        yield (
            attack.name,
            attack.what,
            None if fought.naive is None else f"{fought.naive:.4f}",
            None if fought.metric is None else f"{fought.metric:.4f}",
            str(fought.status),
            stopped_by(judged),
            str(judged.verdict),
        )


def stopped_by(judged: Judged) -> str:
    """What stopped it, with the size of the effect where there is one; for the others what happened."""
    if judged.verdict is not Verdict.STOPPED:
        return judged.why or f"nothing at {judged.fought.isolation}; {judged.attack.level} would: {judged.harm}"
    refused = f"{judged.fought.refused} attempts refused" if judged.fought.refused else ""
    told = judged.fought.reason if judged.fought.metric is None else refused
    return f"{judged.attack.stopped_by}: {shortened(told)}" if told else judged.attack.stopped_by


def shortened(text: str) -> str:
    """A reason that fits into a table."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def verdict_line(report: Report) -> str:
    """The whole result in a sentence."""
    failed = [row.attack.name for row in report.attacks if row.verdict is Verdict.FAILED]
    opened = [row.attack.name for row in report.attacks if row.verdict is Verdict.OPEN]
    unfair = [f"{fought.name} ({wrong})" for fought, wrong in report.controls if wrong]
    parts = [f"{len(report.attacks) - len(failed) - len(opened)} of {len(report.attacks)} attacks stopped"]
    parts += [f"open at {report.isolation}: {', '.join(opened)}"] if opened else []
    parts += [f"FAILED: {', '.join(failed)}"] if failed else []
    parts.append(f"{len(report.controls) - len(unfair)} of {len(report.controls)} honest programs passed")
    parts += [f"wronged: {', '.join(unfair)}"] if unfair else []
    return f"Isolation {report.isolation}: {'; '.join(parts)}."


def markdown(report: Report) -> str:
    """The table for a Markdown file, with the sentence above it."""
    lines = [verdict_line(report), "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
    lines += [_line(["–" if cell is None else cell for cell in row]) for row in rows(report)]
    lines += ["", "| honest program | ended as | bpb |", "| --- | --- | --- |"]
    for fought, wrong in report.controls:
        metric = "–" if fought.metric is None else f"{fought.metric:.4f}"
        lines.append(_line([fought.name, f"{fought.status}{': ' if wrong else ''}{wrong}", metric]))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
