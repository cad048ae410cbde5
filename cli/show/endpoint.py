"""The configured model's endpoint, as `nightshift doctor` shows it: what it was found to do, and what to change."""

from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Any

from agents.model.config import MODELS_FILE, ModelConfig
from agents.registry import choose_default, configured_model


def endpoint_section(directory: Path, *, ask: bool) -> dict[str, Any]:
    """Who would propose in this workspace; with `ask` also what the configured model does when it is asked.

    With no model configured nothing is sent.

    Raises:
        UserError: a malformed models.toml, or a `NIGHTSHIFT_MODEL` that names no model.
    """
    proposer, sentence = choose_default(directory)
    found: dict[str, Any] = {"proposer": proposer, "note": sentence}
    model = configured_model(directory)
    if model is None:
        return found
    name, config = model
    found |= {"name": name, "model": config.model, "address": config.address, "asked": ask}
    return {**found, **_asked(name, config)} if ask else found


def _asked(name: str, config: ModelConfig) -> dict[str, Any]:
    from agents.model.probe import probe_endpoint  # here: langchain takes seconds to load
    from cli.terminal.progress import progress

    with progress(f"asking {config.model} what it does"):
        report = probe_endpoint(config)
    keys = ", ".join(f"{key} = {dumps(value)}" for key, value in report.changes.items())
    advice = f"in {MODELS_FILE}, under [models.{name}], set {keys}" if keys else None
    return {"answers": report.answers, **asdict(report), "advice": advice}


def section_rows(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """A section of `doctor` as rows for people: nested numbers by their path, or by the note that says it in words."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        match value:
            case dict() if key == "changes":
                continue  # the advice has them
            case {"note": str(note)}:
                rows.append((key, note))
            case dict():
                rows += [(f"{key}.{part}", found) for part, found in value.items()]
            case _:
                rows.append((key, value))
    return rows
