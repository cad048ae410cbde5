"""Many rows at once: an imported log is written in seconds, not in one transaction a trial."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from memory.database.rows import CAMPAIGNS, NUMBERED_TABLES, TRIAL_TABLES, Table
from memory.database.tail import tail_text
from memory.records import Record
from memory.snapshot.manifest import Manifest, Part, quoted, write_manifest
from memory.store import Store


def fill(store: Store, tables: Iterable[tuple[Table[Any], Iterable[Record]]]) -> None:
    """Write new rows of any tables, all in one transaction.

    Raises:
        HaltError: a row is there already under its key, the disk is full, or the store cannot be written.
        ValueError: a record cannot be stored.
    """
    with store.transaction():
        for table, records in tables:
            store.add_many(table, list(records))


def publish_whole(store: Store, directory: Path) -> None:
    """Write a first snapshot of `store` into `directory`: one file a table and campaign, and not one a few trials.

    For a store that no loop is at work in; a loop publishes it anew, in its own parts, when it starts.

    Raises:
        HaltError: the disk is full or it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    parts: dict[Part, str | None] = {}

    def add(table: Table[Any], group: str, label: str, condition: str) -> None:
        name = f"{table.name}-{label}-{store.session[:8]}-{store.revision}.parquet"
        rows = store.export(f"SELECT * FROM raw.{table.name} WHERE {condition}", directory / name)
        if rows:
            parts[Part(table.name, group, 0, rows)] = name
        else:
            (directory / name).unlink()

    for table in NUMBERED_TABLES:
        add(table, "", "whole", "true")
    for number, campaign in enumerate(store.campaigns()):
        own = f"SELECT trial_id FROM raw.trials WHERE campaign_id = {quoted(campaign.campaign_id)}"
        for table in TRIAL_TABLES:
            add(table, campaign.campaign_id, f"whole{number}", f"trial_id IN ({own})")
    tail = f"tail-{store.session[:8]}-{store.revision}.json"
    campaigns = (CAMPAIGNS.name, CAMPAIGNS.columns, store.tail_rows(CAMPAIGNS, ""))
    (directory / tail).write_text(tail_text([campaigns]), encoding="utf-8")
    manifest = Manifest(schema=store.schema, session=store.session, revision=store.revision, parts=parts, tail=tail)
    write_manifest(directory, manifest)
