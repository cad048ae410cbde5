"""What a campaign does otherwise than its workspace says: one mapping, kept with it, that tells arms of a study apart.

A key is a run option (`proposer`, `fallback`, `lineage`) or a dotted key of task.toml (`keep.rule`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graph.campaign.options import RunOptions
from rails.errors import UserError
from rails.task import Task, task_of
from rails.text import quote

RUN_KEYS: dict[str, type] = {"proposer": str, "fallback": str, "lineage": bool}
"""The run options among the keys, and what each must be."""


def options_with(options: RunOptions, overrides: Mapping[str, Any]) -> RunOptions:
    """Run options with a campaign's overrides.

    Raises:
        UserError: a run option of another type than it must be.
    """
    own = {key: value for key, value in overrides.items() if key in RUN_KEYS}
    for key, value in own.items():
        if not isinstance(value, RUN_KEYS[key]):
            wanted = "on or off" if RUN_KEYS[key] is bool else "a name"
            raise UserError(f"{key} should be {wanted}; got {quote(value)}", fix=f"write {key}={wanted.split()[0]}")
    return replace(options, overrides=dict(overrides), **own)


def task_with(task: Task, overrides: Mapping[str, Any]) -> Task:
    """A task with a campaign's overrides.

    Raises:
        UserError: there is no such key, or the value is none that it may have.
    """
    data: dict[str, Any] = task.model_dump(mode="json", by_alias=True)
    for key, value in overrides.items():
        if key in RUN_KEYS:
            continue
        *way, last = key.split(".")
        table = data
        for name in way:
            inside = table.setdefault(name, {})
            if not isinstance(inside, dict):
                raise UserError(
                    f"{quote(name)} in {quote(key)} is no table of task.toml", fix="name a key of task.toml"
                )
            table = inside
        table[last] = value
    return (
        task_of(data, where="task.toml as the arm has it")
        if data != task.model_dump(mode="json", by_alias=True)
        else task
    )
