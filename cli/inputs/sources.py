"""SOURCE on the command line: a workspace, one campaign of it (DIR@TAG), or a log file of ours or another loop's."""

import gc
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rails.errors import UserError

if TYPE_CHECKING:
    from memory.figures.analysis import Analysis, TrialRow, Unreadable
    from memory.importers.log import Log
    from memory.importers.workspace import Imported
    from memory.keep.evidence import Direction
    from memory.reader import Reader
    from memory.record_set import RecordSet
    from memory.records import Campaign

SOURCE_HELP = "A workspace, one of its campaigns (DIR@TAG), or a log file."


@dataclass(slots=True, kw_only=True)
class Source:
    """One trajectory as neutral rows, and what is known of it."""

    name: str
    """As a person gave it."""
    kind: str
    """`workspace`, `imported workspace`, or the format of the file."""
    rows: "list[TrialRow]"
    """By number, the baseline first where there is one."""
    metric: str
    direction: "Direction"
    knobs: list[str]
    """What there was to touch."""
    knobs_from: str
    """`menu` file, `task` of the campaign, `header` of the log, or only those `observed`."""
    unreadable: "list[Unreadable]" = field(default_factory=list["Unreadable"])
    notes: list[str] = field(default_factory=list[str])

    def analysis(self) -> "Analysis":
        """The figures of this trajectory."""
        from memory.figures.analysis import analyze_rows

        return analyze_rows(self.rows, self.knobs, self.direction, self.unreadable)


def load_source(source: str, menu: Path | None = None) -> Source:
    """The trajectory at `source`.

    Args:
        source: see `SOURCE_HELP`.
        menu: a menu file or task.toml that says which knobs there were.

    Raises:
        UserError: there is nothing, it cannot be read, it is no log, or the menu is none.
    """
    knobs = None if menu is None else _menu_knobs(menu)
    path, tag = split_tag(source)
    with no_collector():
        return _of_workspace(source, path, tag, knobs) if path.is_dir() else _of_log(source, read_file(path), knobs)


def load_records(source: str) -> "tuple[RecordSet, Log | None]":
    """Everything that is known of one campaign, and the log when it was read from a file.

    Raises:
        UserError: as `load_source`.
    """
    from cli.inputs.workspaces import open_reader
    from memory.record_set import read_record_set

    path, tag = split_tag(source)
    with no_collector():
        if path.is_dir():
            with open_reader(path) as reader:
                return read_record_set(reader, campaign_of(reader, path, tag).campaign_id), None
        log = read_file(path)
        return log.records, log


def read_file(path: Path) -> "Log":
    """The log in a file, with a bar for a long one.

    Raises:
        UserError: as `memory.importers.reading.read_log`.
    """
    from cli.terminal.progress import progress
    from memory.importers.reading import read_log

    done = 0
    with progress(f"reading {path.name}") as report:

        def tick(read: int) -> None:
            nonlocal done
            done += read
            report(done, None)

        return read_log(path, tick)


def split_tag(source: str) -> tuple[Path, str | None]:
    """The path in a SOURCE, and the campaign's tag where one is named. A path that exists is taken whole."""
    path = Path(source).expanduser()
    before, mark, tag = source.rpartition("@")
    if mark and before and tag and not path.exists():
        return Path(before).expanduser(), tag
    return path, None


def _of_workspace(source: str, path: Path, tag: str | None, knobs: list[str] | None) -> Source:
    from cli.inputs.workspaces import find_workspace, open_reader
    from memory.database.queries import OUTCOMES
    from memory.figures.analysis import stored_rows
    from memory.importers.workspace import imported_record

    imported: Imported | None = imported_record(find_workspace(path).root)
    with open_reader(path, OUTCOMES) as reader:
        campaign = campaign_of(reader, path, tag)
        rows = stored_rows(reader, campaign.campaign_id)
    return _source(
        source,
        "workspace" if imported is None else "imported workspace",
        campaign,
        rows,
        knobs,
        unreadable=[] if imported is None else imported.unreadable,
        notes=[] if imported is None else imported.notes,
    )


def _of_log(source: str, log: "Log", knobs: list[str] | None) -> Source:
    return _source(source, str(log.format), log.campaign, log.rows, knobs, unreadable=log.unreadable, notes=log.notes)


def _source(
    name: str,
    kind: str,
    campaign: "Campaign",
    rows: "list[TrialRow]",
    knobs: list[str] | None,
    *,
    unreadable: "list[Unreadable]",
    notes: list[str],
) -> Source:
    metric: dict[str, Any] = campaign.task.get("metric") or {}
    known, known_from = (knobs, "menu") if knobs is not None else _known_knobs(campaign, rows)
    return Source(
        name=name,
        kind=kind,
        rows=rows,
        metric=str(metric.get("name", "val_bpb")),
        direction="maximize" if metric.get("direction") == "maximize" else "minimize",
        knobs=known,
        knobs_from=known_from,
        unreadable=unreadable,
        notes=[*notes, *_said(known_from)],
    )


def _known_knobs(campaign: "Campaign", rows: "list[TrialRow]") -> tuple[list[str], str]:
    """The knobs of the campaign's own task; without one those that were touched."""
    listed: dict[str, Any] = (campaign.task.get("menu") or {}).get("knobs") or {}
    if listed:
        return [str(name) for name in listed], str(campaign.task.get("knobs_from", "task"))
    return list(dict.fromkeys(row.pair[0] for row in rows if row.pair is not None)), "observed"


def _said(known_from: str) -> list[str]:
    if known_from == "header":
        return ["the knobs are all settings in the log's header; --menu FILE tells which could be changed"]
    if known_from == "observed":
        return ["the knobs are only those that were touched; --menu FILE tells which there were"]
    return []


def _menu_knobs(menu: Path) -> list[str]:
    from rails.menu import load_menu

    return list(load_menu(menu).knobs)


def with_menu(campaign: "Campaign", menu: Path | None) -> "Campaign":
    """The campaign with the knobs of a menu file in its task; as it is without one.

    Raises:
        UserError: the file is no menu.
    """
    from rails.menu import load_menu

    if menu is None:
        return campaign
    known: dict[str, Any] = load_menu(menu).model_dump(mode="json", by_alias=True)
    return campaign.model_copy(update={"task": {**campaign.task, "menu": known, "knobs_from": "menu"}})


def campaign_of(reader: "Reader", path: Path, tag: str | None) -> "Campaign":
    """The campaign of a workspace with this tag; without one the latest.

    Raises:
        UserError: there is none.
    """
    from cli.inputs.workspaces import latest_campaign

    if tag is None:
        return latest_campaign(reader, path)
    found = {campaign.tag: campaign for campaign in reader.campaigns()}
    if tag not in found:
        fix = f"its campaigns are {', '.join(found) or 'none'}"
        raise UserError(f"there is no campaign {tag!r}", where=str(path), fix=fix)
    return found[tag]


@contextmanager
def no_collector() -> Generator[None]:
    """Hundreds of thousands of new objects, and no garbage: looking for it would take a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
