"""Who found what, as a document with stable keys and in a few lines for a person."""

from dataclasses import asdict
from typing import Any

from cli.terminal.output import percent, seconds
from memory.figures.findings import Findings

ORIGINS: dict[str, str] = {
    "search": "the search",
    "model": "the model",
    "choice": "the model, among the search's moves",
    "code": "the model, as code",
    "fallback": "the fallback",
}
"""Whose idea a proposal was, for a person; the keys are those of `memory.records.Origin`."""


def found_document(findings: Findings) -> dict[str, Any]:
    """Specialists and origins by name, and the critic; what is empty stays empty, so that keys are always there."""

    def named(finders: Any) -> dict[str, Any]:
        rows = [asdict(finder) for finder in finders]
        return {row.pop("name"): row for row in rows}

    return {
        "specialists": named(findings.specialists),
        "origins": named(findings.origins),
        "critic": None if findings.critic is None else asdict(findings.critic),
    }


def found_lines(document: dict[str, Any]) -> list[str]:
    """The same for a person: nothing where one proposer did everything."""
    specialists: dict[str, dict[str, Any]] = document["specialists"]
    origins: dict[str, dict[str, Any]] = document["origins"]
    critic = document["critic"]
    lines: list[str] = []
    whose = {ORIGINS.get(name, name): row for name, row in origins.items()}
    if specialists:
        lines.append(f"found by specialist: {_finders(specialists)}")
    if len(origins) > 1:
        lines.append(f"found by origin: {_finders(whose)}")
    if critic is not None:
        lines.append(f"critic: {critic_text(critic)}")
    return lines


def critic_text(critic: dict[str, Any]) -> str:
    """How often it was asked, what it said, what came of that, and what it cost."""
    redrafts = critic["redrafts"]
    parts = [f"asked about {_counted(critic['asked'], 'proposal')}, {critic['passed']} passed"]
    parts += [f"{critic['revise']} to revise, {critic['vetoed']} vetoed"]
    if redrafts["trials"]:
        gain = f" ({percent(redrafts['gain'])} confirmed)" if redrafts["confirmed"] else ""
        parts.append(f"of {_counted(redrafts['trials'], 'changed draft')} {redrafts['keeps']} kept{gain}")
    tokens = sum(critic[name] or 0 for name in ("prompt_tokens", "completion_tokens"))
    cost = [_counted(critic["calls"], "call")]
    cost += [f"{tokens:,} tokens"] if tokens else []
    cost += [seconds(critic["seconds"])]
    cost += [] if critic["usd"] is None else [f"{critic['usd']:.4g} usd"]
    return f"{', '.join(parts)}; {', '.join(cost)}"


def _finders(finders: dict[str, dict[str, Any]]) -> str:
    return "; ".join(f"{name} {_finder(row)}" for name, row in finders.items())


def _finder(row: dict[str, Any]) -> str:
    kept = f"kept {row['keeps']} of {row['trials']}"
    simpler = f", {row['simpler']} as simpler" if row["simpler"] else ""
    gain = f", {percent(row['gain'])} confirmed" if row["confirmed"] else ""
    return f"{kept}{simpler}{gain}, {seconds(row['seconds'])}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
