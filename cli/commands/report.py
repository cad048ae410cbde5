"""`nightshift report`: the morning's report as one HTML file, and its main figure as a PNG."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.inputs.options import JsonOption
from cli.inputs.sources import SOURCE_HELP

if TYPE_CHECKING:
    from cli.report.gathered import Reading
    from cli.report.write import Written
    from memory.figures.campaign import ReportData
    from memory.figures.findings import Findings
    from memory.reader import Reader
    from memory.records import Campaign


def report(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default="this folder")] = ".",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The page; its picture is put beside it.", show_default=False
        ),
    ] = None,
    menu: Annotated[Path | None, typer.Option(help="Menu file: which knobs there were to touch.")] = None,
    usd_per_kwh: Annotated[
        float | None,
        typer.Option(min=0.0, help="Price of energy (default: [energy] of task.toml).", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write the morning report. One HTML file that needs no network, and a PNG of its main figure.

    Without -o a workspace gets it as .nightshift/report.html, and the report of a log is put into this folder.
    """
    from cli.show.found import found_document
    from cli.terminal.output import print_json, stdout

    written, found = _write(source, output, menu, usd_per_kwh)
    if json:
        print_json({"html": str(written.html), "png": str(written.png), "found": found_document(found)})
    else:
        out = stdout()
        out.print(f"report: {written.html}", markup=False, soft_wrap=True)
        out.print(f"figure: {written.png}", markup=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What was read, and where its report goes."""

    data: "ReportData"
    reading: "Reading"
    default: Path
    usd_per_kwh: float | None
    """The price of energy in task.toml as it is now: a person may have learnt it after the night."""


def _write(
    source: str, output: Path | None, menu: Path | None, usd_per_kwh: float | None
) -> "tuple[Written, Findings]":
    from cli.inputs.sources import split_tag
    from cli.report.write import write_report
    from cli.terminal.progress import progress

    chosen = None if output is None else _checked(output)
    path, tag = split_tag(source)
    read = _of_folder(source, path, tag, menu) if path.is_dir() else _of_log(path, menu)
    with progress("writing the report"):
        written = write_report(
            read.data,
            chosen or read.default,
            reading=read.reading,
            usd_per_kwh=read.usd_per_kwh if usd_per_kwh is None else usd_per_kwh,
        )
    return written, read.data.found


def _of_folder(source: str, path: Path, tag: str | None, menu: Path | None) -> _Read:
    """A workspace, ours or imported; or the folder of a snapshot, which is read and left as it is."""
    from cli.inputs.sources import with_menu
    from cli.inputs.workspaces import find_workspace, holder_of, open_reader
    from cli.report.gathered import Reading
    from cli.report.write import HTML_NAME
    from cli.terminal.progress import progress
    from memory.figures.reading import TABLES, read_report_data
    from memory.importers.workspace import imported_record
    from memory.snapshot.manifest import MANIFEST

    workspace = None if (path / MANIFEST).is_file() else find_workspace(path)
    at_work = workspace is not None and holder_of(workspace) is not None
    imported = None if workspace is None else imported_record(workspace.root)
    with progress("reading the record"), open_reader(path, TABLES) as reader:
        data = read_report_data(reader, with_menu(_campaign(reader, path, tag), menu))
    return _Read(
        data=data,
        reading=Reading(
            source=str(path.resolve()) if tag is None else source,
            at_work=at_work,
            unreadable=() if imported is None else imported.unreadable,
            notes=() if imported is None else imported.notes,
        ),
        default=_here(path.resolve().name) if workspace is None else workspace.state_dir / HTML_NAME,
        usd_per_kwh=None if workspace is None else _price(workspace.task_path),
    )


def _here(name: str) -> Path:
    return Path.cwd() / f"{name}.report.html"


def _campaign(reader: "Reader", path: Path, tag: str | None) -> "Campaign":
    """The campaign with this tag, or the latest.

    Raises:
        UserError: there is none.
    """
    from cli.inputs.workspaces import latest_campaign
    from rails.errors import UserError

    if tag is None:
        return latest_campaign(reader, path)
    found = {campaign.tag: campaign for campaign in reader.campaigns()}
    if tag not in found:
        raise UserError(f"there is no campaign {tag!r}", where=str(path), fix=f"its campaigns are {', '.join(found)}")
    return found[tag]


def _of_log(path: Path, menu: Path | None) -> _Read:
    from cli.inputs.sources import read_file, with_menu
    from cli.report.gathered import Reading
    from memory.figures.reading import data_of_records

    log = read_file(path)
    log.campaign = with_menu(log.campaign, menu)
    return _Read(
        data=data_of_records(log.records),
        reading=Reading(source=str(path.resolve()), unreadable=log.unreadable, notes=log.notes),
        default=_here(path.stem),
        usd_per_kwh=None,
    )


def _checked(output: Path) -> Path:
    """Where the page goes.

    Raises:
        UserError: it does not look like a page, so something else may be meant to stay there.
    """
    from rails.errors import UserError

    if output.suffix.lower() not in {".html", ".htm"} or output.is_dir():
        raise UserError("a report is an HTML file", where=str(output), fix="name it so: -o report.html")
    return output.expanduser().resolve()


def _price(task: Path) -> float | None:
    from rails.errors import UserError
    from rails.task import load_task

    try:
        return load_task(task).energy.usd_per_kwh
    except UserError:
        return None  # an imported record has no whole task, and the campaign has the task as it was
