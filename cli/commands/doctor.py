"""`nightshift doctor`: what this machine and endpoint can do."""

from pathlib import Path
from typing import Any

from cli.options import JsonOption, WorkspaceArgument


def doctor(directory: WorkspaceArgument = Path(), json: JsonOption = False) -> None:
    """Show what this machine can do. Device, isolation, model endpoint, free disk."""
    from cli.output import print_json, stdout, table

    document = examine(directory)
    if json:
        print_json(document)
        return
    out = stdout()
    for section, values in document.items():
        out.print(section, style="bold")
        out.print(table(("", ""), values.items()))


def examine(directory: Path) -> dict[str, dict[str, Any]]:
    """One section per thing a night depends on."""
    return {
        "device": _device(),
        "isolation": _isolation(),
        "endpoint": _endpoint(directory),
        "disk": _disk(directory),
    }


def _device() -> dict[str, Any]:
    from dataclasses import asdict

    from trainer.hardware import describe

    hardware = describe("auto")
    return {**asdict(hardware), "fingerprint": hardware.fingerprint}


def _isolation() -> dict[str, Any]:
    from tools.trainer_tool import TrainerTool

    return {"level": TrainerTool.isolation}


def _endpoint(directory: Path) -> dict[str, Any]:
    from agents.registry import choose_default

    name, sentence = choose_default(directory)
    return {"proposer": name, "note": sentence}


def _disk(directory: Path) -> dict[str, Any]:
    import shutil

    from graph.campaign import MIN_FREE_BYTES
    from trainer.data_cache import default_cache

    def free(folder: Path) -> int:
        place = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
        return shutil.disk_usage(place).free

    return {
        "workspace_free_bytes": free(directory),
        "cache_free_bytes": free(default_cache()),
        "needed_bytes": MIN_FREE_BYTES,
        "cache": str(default_cache()),
    }
