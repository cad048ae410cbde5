"""The arms of a study, as a person names them: `lineage=off`, or several settings joined by `+`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.registry import HYBRID, STATISTICAL
from graph.campaign.overrides import RUN_KEYS
from rails.errors import UserError
from rails.task import Task
from rails.text import closest, quote

SHORT = {
    "rule": "keep.rule",
    "critic": "planner.critic",
    "share": "planner.share",
    "steps": "planner.steps",
    "specialists": "specialists",
    "model": "model",
}
"""Short names of keys that studies are most often about."""

FIXED = {
    "seed": "pairs share it",
    "trials": "`--trials` gives all arms the same",
    "limits.trials": "`--trials` gives all arms the same",
    **dict.fromkeys(
        ("task", "metric", "data", "budget", "menu", "edit.file", "edit.class"), "scores must be of one kind"
    ),
}
"""What arms may not differ in, and why."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of the argument."""

    name: str
    """As the person wrote it."""
    overrides: Mapping[str, Any]
    """Run options and dotted keys of task.toml; see `graph.campaign.overrides`."""

    @property
    def proposer(self) -> str | None:
        """The proposer that it names; None: that of the workspace."""
        return self.overrides.get("proposer")


def parse_arms(text: str) -> tuple[Arm, ...]:
    """The arms in `K=V,K=V`, two or more, each once.

    Raises:
        UserError: one arm, a repeated one, no `=`, or a key in which arms may not differ.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) < 2:
        raise UserError(f"a study needs two arms or more; got {quote(text)}", where="--arms", fix="write K=V,K=V")
    if len(set(names)) < len(names):
        raise UserError(f"an arm is named twice in {quote(text)}", where="--arms", fix="name arms that differ")
    return tuple(Arm(name, _overrides(name)) for name in names)


def asks_a_model(proposer: str) -> bool:
    """Whether a proposer sends anything to a language model."""
    return proposer not in STATISTICAL and not proposer.startswith(("replay", "scripted", "student:"))


def _overrides(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in name.split("+"):
        key, mark, value = (piece.strip() for piece in part.partition("="))
        if not mark or not key:
            raise UserError(f"{quote(part)} is no setting", where="--arms", fix="write K=V, several joined by +")
        key = SHORT.get(key, key)
        _check_key(key)
        if key == "model":
            found["proposer"] = f"{HYBRID}{value}"
        elif key == "specialists":
            if _value(value) is True:
                continue  # as the workspace has them
            if _value(value) is not False:
                raise UserError(f"specialists should be on or off; got {quote(value)}", where="--arms")
            found[key] = {}
        else:
            found[key] = value if RUN_KEYS.get(key) is str else _value(value)
    return found


def _check_key(key: str) -> None:
    for fixed, why in FIXED.items():
        if key == fixed or key.startswith(f"{fixed}."):
            raise UserError(f"arms cannot differ in {quote(key)}: {why}", where="--arms", fix="leave it out")
    table = key.partition(".")[0]
    known = {*RUN_KEYS, *SHORT, *Task.model_fields}
    if key not in RUN_KEYS and table not in known:
        what = f"there is no setting {quote(key)}{closest(table, known)}"
        raise UserError(what, where="--arms", fix=f"use {', '.join([*RUN_KEYS, *SHORT])}, or a dotted key of task.toml")


def _value(text: str) -> Any:
    """`on` and `off`, or what TOML takes the text for; anything else is text."""
    if text in {"on", "off"}:
        return text == "on"
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
