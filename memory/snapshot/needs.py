"""What a query can need: views, and columns of tables. Told by names, and rather too much than too little."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from memory.database.queries import views_sql
from memory.database.rows import ALL_TABLES, NUMBERED_TABLES

Needs = Mapping[str, frozenset[str]]
"""Table to its columns."""

EVERYTHING: Needs = {
    table.name: frozenset(table.columns) | ({"ordinal"} if table in NUMBERED_TABLES else set()) for table in ALL_TABLES
}
TABLES = frozenset(EVERYTHING)

_VIEW = re.compile(r"CREATE TEMP VIEW (\w+) AS(.*?);", re.DOTALL)
_INDIRECT = re.compile(r"query|serialize|duckdb_|pragma|schema|sqlite_|pg_")
"""Ways for SQL to speak of a table that it does not name."""


@dataclass(frozen=True, slots=True)
class View:
    """A documented view."""

    sql: str
    """What makes it."""
    needs: Needs
    """All that it reads, also by way of other views."""
    others: frozenset[str]
    """The views that it reads, and those that they read."""


@cache
def known_views() -> dict[str, View]:
    """The documented views, in the order of memory/database/views.sql: each after those that it reads."""
    text = re.sub(r"--.*", "", views_sql())
    found: dict[str, View] = {}
    for match in _VIEW.finditer(text):
        name, body = match.groups()
        words = set(re.findall(r"\w+", body))
        direct = {table: EVERYTHING[table] & words for table in re.findall(r"raw\.(\w+)", body)}
        near = [other for other in found if re.search(rf"JOIN {other}\b", body)]
        others = frozenset(near).union(*(found[other].others for other in near))
        found[name] = View(match[0], merged(direct, *(found[other].needs for other in near)), others)
    return found


def views_for(sql: str) -> list[str]:
    """The views that have to be there for a query, each after those that it reads; all when it names none."""
    text = sql.lower()
    views = known_views()
    named = {name for name in views if name in text}
    if not named or _INDIRECT.search(text):
        return list(views)
    return [name for name in views if name in named.union(*(views[other].others for other in named))]


def needs_of(sql: str) -> Needs:
    """The tables and columns whose values a query over the views can need."""
    text = sql.lower()
    if _INDIRECT.search(text):
        return EVERYTHING
    behind = (view.needs for name, view in known_views().items() if name in text)
    return merged(*behind, {table: columns for table, columns in EVERYTHING.items() if table in text})


def merged(*parts: Needs) -> Needs:
    """All of it."""
    found: dict[str, frozenset[str]] = {}
    for part in parts:
        for table, columns in part.items():
            found[table] = found.get(table, frozenset()) | columns
    return found


def covers(loaded: Needs, needs: Needs) -> bool:
    """Whether everything that is needed is there."""
    return all(columns <= loaded.get(table, frozenset()) for table, columns in needs.items())
