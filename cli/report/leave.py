"""The report that every ended campaign leaves in its workspace. Never fatal: the record is safe without it."""

from pathlib import Path

from cli.report.write import HTML_NAME, Written


def leave_report(root: Path, campaign_id: str | None = None) -> Written | None:
    """Write `.nightshift/report.html` and its picture from what the loop has published; a failure is a note on stderr.

    Args:
        root: the workspace.
        campaign_id: which campaign; None: the latest.

    Returns:
        Where it lies, or None when it could not be written, or nothing was published.
    """
    from cli.inputs.workspaces import find_workspace
    from cli.terminal.output import stderr
    from cli.terminal.progress import progress
    from memory.atomic import sweep_temporaries

    try:
        workspace = find_workspace(root)
        if not workspace.snapshot_dir.exists():
            return None
        path = workspace.state_dir / HTML_NAME
        for leftover in (path, path.with_suffix(".png")):
            sweep_temporaries(leftover)
        with progress("writing the report"):
            return _write(workspace.root, path, campaign_id)
    except Exception as error:  # noqa: BLE001 - whatever it is, a report is no reason to lose a night's exit code
        note = f"the report could not be written: {error}; `nightshift report` tries again"
        stderr().print(note, markup=False, soft_wrap=True)
        return None


def _write(root: Path, path: Path, campaign_id: str | None) -> Written | None:
    from cli.inputs.workspaces import open_reader
    from cli.report.gathered import Reading
    from cli.report.write import write_report
    from memory.figures.reading import TABLES, read_report_data

    with open_reader(root, TABLES) as reader:
        campaign = reader.latest_campaign() if campaign_id is None else reader.campaign(campaign_id)
        if campaign is None:
            return None
        data = read_report_data(reader, campaign)
    return write_report(data, path, reading=Reading(source=str(root)))
