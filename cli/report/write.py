"""Making the report of a campaign and putting it where a person finds it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cli.report.gathered import Reading, gather
from memory.figures.campaign import ReportData
from memory.records import utc_now

HTML_NAME = "report.html"
"""What every ended campaign leaves in `.nightshift`; its picture is beside it, as `report.png`."""


@dataclass(frozen=True, slots=True)
class Written:
    """Where a report lies."""

    html: Path
    png: Path


def write_report(
    data: ReportData,
    path: Path,
    *,
    reading: Reading,
    usd_per_kwh: float | None = None,
    now: datetime | None = None,
) -> Written:
    """Write the page to `path`, and its main figure beside it; each appears whole or not at all.

    Args:
        data: the campaign.
        path: ends in .html.
        reading: where the record came from.
        usd_per_kwh: price of energy; None: that of the campaign's task, which may be unknown.
        now: the time of day that the page names as its own; None: the clock's.

    Raises:
        HaltError: the disk is full or the folder cannot be written.
    """
    from cli.report.page import render
    from cli.report.png import draw_png
    from cli.report.words import headline
    from memory.atomic import atomic_write_bytes, disk_errors

    gathered = gather(data, reading, usd_per_kwh)
    page = render(gathered, now or utc_now())
    picture = draw_png(gathered.trajectory, headline(data, gathered.result, gathered.time, gathered.costs))
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    written = Written(html=path, png=path.with_suffix(".png"))
    atomic_write_bytes(written.png, picture, flush=False)  # first, so that a page never comes without its picture
    atomic_write_bytes(written.html, page.encode("utf-8"), flush=False)
    return written
