"""docs/schema.md, written from the store itself: `python -m memory.schema_doc > docs/schema.md`.

Names and types are those of the views over an empty store; meanings are the comments in memory/database/views.sql; the
words of a closed list are those of its enum. A test fails when the file differs, or a column has no meaning.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from inspect import getdoc
from itertools import pairwise

from memory.database.migrations.runner import migrate, newest_version
from memory.database.queries import create_views, views_sql
from memory.reader import VIEWS
from memory.records import CallRole, CampaignState, EventKind, MeasurementState, Origin, Phase, Purpose, TrialKind
from memory.snapshot.loading import connect
from rails.status import Status

CLOSED_LISTS: dict[str, type[StrEnum]] = {
    "trials.status": Status,
    "trials.kind": TrialKind,
    "trials.phase": Phase,
    "trials.origin": Origin,
    "measurements.state": MeasurementState,
    "measurements.purpose": Purpose,
    "calls.role": CallRole,
    "campaigns.state": CampaignState,
    "events.kind": EventKind,
}
"""Columns that hold one of a few words. `measurements.status` has those of `trials.status` that are failures."""

EXAMPLES = (
    ("What became of the trials?", "SELECT status, count(*) AS n FROM trials GROUP BY status ORDER BY n DESC"),
    (
        "The kept chain, with what each step gained",
        "SELECT trial, edit, metric, round(100 * gain, 2) AS per_cent, measurements FROM trials\n"
        "WHERE status = 'keep' ORDER BY trial",
    ),
    (
        "Which knobs were tried most, and what came of it?",
        "SELECT knob, count(*) AS tried, count_if(status = 'keep') AS kept, round(100 * max(gain), 2) AS best\n"
        "FROM trials WHERE knob IS NOT NULL GROUP BY knob ORDER BY tried DESC",
    ),
    (
        "Where did the time go?",
        "SELECT part, round(sum(seconds)) AS s FROM spans\n"
        "WHERE part IN ('proposer', 'startup', 'train', 'score', 'probe') GROUP BY part ORDER BY s DESC",
    ),
    (
        "What do failures cost, and what do keeps?",
        "SELECT status, count(*) AS n, round(sum(total_s) / 3600, 2) AS hours, round(sum(joules) / 3.6e6, 3) AS kwh\n"
        "FROM trials GROUP BY status ORDER BY hours DESC",
    ),
    (
        "Which rail stops most proposals, and why?",
        "SELECT rail, count(*) AS n, any_value(reason) AS for_instance FROM verdicts\n"
        "WHERE NOT ok GROUP BY rail ORDER BY n DESC",
    ),
    (
        "The last loss of each training, beside its score",
        "SELECT m.trial, m.seed_index, max_by(c.loss, c.step) AS last_loss, any_value(m.score) AS score\n"
        "FROM curves c JOIN measurements m USING (measurement_id) GROUP BY ALL ORDER BY m.trial, m.seed_index",
    ),
    (
        "Tokens and dollars by model",
        "SELECT coalesce(model, proposer) AS asked, count(*) AS calls, sum(prompt_tokens) AS read,\n"
        "    sum(completion_tokens) AS written, sum(usd) AS usd, round(median(latency_s), 2) AS median_s\n"
        "FROM calls GROUP BY asked ORDER BY calls DESC",
    ),
    (
        "A value of the evidence",
        "SELECT trial, decision->>'$.statistic' AS statistic FROM trials WHERE decision IS NOT NULL",
    ),
)
"""(question, query)."""

_HEAD = """# The record, as SQL sees it

Written by `python -m memory.schema_doc`; a test fails when it differs from the store, or a column has no meaning.

`nightshift query DIR "SELECT …"` answers SQL (that of [DuckDB](https://duckdb.org/docs/stable/sql/introduction)) over
the views below: during a run, after it, and of a copy of `.nightshift/snapshot`. It cannot write,
whatever it says. Columns may be added in later versions; none is renamed or removed.

Times of day are UTC, without a zone; seconds, bytes, joules and dollars are so named (`_s`, `_bytes`, `joules`, `usd`).
What is not known is null, never 0. An *object* or *list* is JSON: `decision->>'$.rule'` is a text in it. `campaign` is
in every view: a workspace can hold several.
"""
_VIEW = re.compile(r"((?:^-- [^\n]*\n)+)^CREATE TEMP VIEW (\w+) AS\n(.*?);\n", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r"^ {4}(\S.*?),? -- (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a view."""

    name: str
    type: str
    meaning: str | None


@dataclass(frozen=True, slots=True)
class View:
    """A documented view."""

    name: str
    meaning: str
    columns: list[Column]


def documented_views() -> list[View]:
    """Every view with its columns, as the store has them."""
    said = {name: (comment, body) for comment, name, body in _VIEW.findall(views_sql())}
    connection = connect()
    try:
        migrate(connection)
        create_views(connection)
        found: list[View] = []
        for view in VIEWS:
            comment, body = said.get(view, ("", ""))
            meanings = {_name(expression): meaning for expression, meaning in _COLUMN.findall(body)}
            rows = connection.execute(f"DESCRIBE {view}").fetchall()
            columns = [Column(str(row[0]), str(row[1]), meanings.get(str(row[0]))) for row in rows]
            found.append(View(view, " ".join(re.findall(r"^-- (.*)$", comment, re.MULTILINE)), columns))
        return found
    finally:
        connection.close()


def render() -> str:
    """The whole document."""
    parts = [_HEAD, *(_section(view) for view in documented_views()), *_closed_lists(), *_examples()]
    parts.append(f"The schema is at version {newest_version()}.\n")
    return "\n".join(parts)


def _name(expression: str) -> str:
    """What a column of a SELECT is called."""
    return re.split(r" AS |\.", expression)[-1]


def _section(view: View) -> str:
    rows = "".join(f"| `{c.name}` | {c.type} | {_cell(c.meaning or '')} |\n" for c in view.columns)
    return f"## {view.name}\n\n{view.meaning}\n\n| column | type | meaning |\n|---|---|---|\n{rows}"


def _closed_lists() -> Iterator[str]:
    yield "## Closed lists\n\nColumns that hold one of a few words.\n"
    for column, words in CLOSED_LISTS.items():
        comments = _comments(words)
        told = [f"`{word}`" + (f" ({comments[word.name]})" if word.name in comments else "") for word in words]
        about = " ".join((getdoc(words) or "").split())
        yield f"- **`{column}`**: {', '.join(told)}. {about}"
    yield ""


def _comments(words: type[StrEnum]) -> dict[str, str]:
    """The string under each member of an enum, where there is one."""
    package, module = words.__module__.rsplit(".", 1)
    tree = ast.parse(files(package).joinpath(f"{module}.py").read_text(encoding="utf-8"))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == words.__name__)
    found: dict[str, str] = {}
    for member, below in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            name = member.targets[0]
            text = " ".join(str(below.value.value).split()).rstrip(".")
            if isinstance(name, ast.Name):
                found[name.id] = text[:1].lower() + text[1:]
    return found


def _examples() -> Iterator[str]:
    yield "## Questions\n"
    for question, sql in EXAMPLES:
        yield f"{question}\n\n```sql\n{sql}\n```\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(render(), end="")
