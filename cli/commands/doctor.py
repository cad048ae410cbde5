"""`nightshift doctor`: what this machine and endpoint can do, and whether a cheat would get through here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument

if TYPE_CHECKING:
    from cli.attacks.suite import Report


def doctor(
    directory: WorkspaceArgument = Path(),
    attacks: Annotated[
        bool, typer.Option("--attacks", help="Run programs that cheat through the real loop (minutes).")
    ] = False,
    ask: Annotated[
        bool, typer.Option("--ask/--no-ask", help="Ask the configured model (at most nine requests, three minutes).")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Show what this machine can do. Device, isolation, model endpoint, free disk; the state of a workspace's store.

    The model that DIR's models.toml or NIGHTSHIFT_MODEL names is asked: does it answer, which reply forms does it
    enforce, does it call tools, how long a prompt does it read, how fast is it, and what should models.toml say
    instead. With no model configured nothing is sent.

    With --attacks: none of the cheats may be kept, and honest programs must pass; else the exit code is 1.
    """
    from cli.terminal.output import print_json

    document: dict[str, Any] = examine(directory, ask=ask)
    report = _attack() if attacks else None
    if json:
        print_json(document if report is None else {**document, **report.to_json(), "isolation": document["isolation"]})
    else:
        for section, values in document.items():
            _print_section(section, values)
        if report is not None:
            _show(report)
    if report is not None and not report.passed:
        raise typer.Exit(1)


def examine(directory: Path, *, ask: bool = False) -> dict[str, dict[str, Any]]:
    """One section per thing a night depends on; `store` only in a workspace that has one.

    Args:
        directory: the workspace.
        ask: whether the configured model is asked.

    Raises:
        UserError: a malformed models.toml.
    """
    from cli.show.endpoint import endpoint_section

    sections = {
        "device": _device(),
        "isolation": _isolation(),
        "endpoint": endpoint_section(directory, ask=ask),
        "disk": _disk(directory),
    }
    store = _store(directory)
    return {**sections, "store": store} if store else sections


def _attack() -> "Report":
    from cli.attacks.suite import run_suite
    from cli.terminal.output import stderr

    err = stderr()
    return run_suite(lambda text: err.print(text, markup=False, soft_wrap=True))


def _show(report: "Report") -> None:
    from cli.attacks.table import COLUMNS, NUMBERS, rows, verdict_line
    from cli.terminal.output import stdout, table

    out = stdout()
    out.print("attacks", style="bold")
    out.print(table(COLUMNS, rows(report), right=NUMBERS))
    out.print(verdict_line(report), markup=False)


def _device() -> dict[str, Any]:
    from dataclasses import asdict

    from trainer.hardware import describe

    hardware = describe("auto")
    return {**asdict(hardware), "fingerprint": hardware.fingerprint}


def _isolation() -> dict[str, Any]:
    from trainer.sandbox.levels import best_isolation, probe

    levels = {str(found.level): "available" if found.ok else f"not here: {found.why}" for found in probe()}
    return {"level": str(best_isolation()), **levels}


def _print_section(name: str, values: dict[str, Any]) -> None:
    from cli.show.endpoint import section_rows
    from cli.terminal.output import stdout, table

    out = stdout()
    out.print(name, style="bold")
    out.print(table(("", ""), section_rows(values)))


def _disk(directory: Path) -> dict[str, Any]:
    import shutil

    from graph.campaign.preflight import MIN_FREE_BYTES
    from trainer.data.cache import default_cache

    def free(folder: Path) -> int:
        place = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
        return shutil.disk_usage(place).free

    return {
        "workspace_free_bytes": free(directory),
        "cache_free_bytes": free(default_cache()),
        "needed_bytes": MIN_FREE_BYTES,
        "cache": str(default_cache()),
    }


def _store(directory: Path) -> dict[str, Any]:
    from cli.inputs.workspaces import holder_of
    from graph.workspace import Workspace
    from memory.database.backup import backups
    from memory.database.errors import DamagedStoreError
    from memory.database.opening import BACKUPS, examine, left_behind
    from rails.errors import NightshiftError

    workspace = Workspace(directory.expanduser().resolve())
    path = workspace.store_path
    if not path.exists() and not left_behind(path):
        return {}
    found: dict[str, Any] = {
        "ok": None,
        "schema": None,
        "bytes": path.stat().st_size if path.exists() else 0,
        "backups": [str(backup) for backup in backups(path.with_name(BACKUPS))],
        "damaged": None,
    }
    at_work = holder_of(workspace)
    if at_work is not None:
        return {**found, "note": f"a loop is at work here ({at_work}); look again when it has ended"}
    try:
        return {**found, "ok": True, "schema": examine(path)}
    except DamagedStoreError as error:
        return {**found, "ok": False, "damaged": error.why}
    except NightshiftError as error:
        return {**found, "ok": False, "note": error.what}
