"""`nightshift watch`: the campaign, live."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument

if TYPE_CHECKING:
    from cli.watch.watcher import Sight

_ONCE = (100, 60)
"""Columns and lines of what is printed where there is no terminal to draw on."""


def watch(
    directory: WorkspaceArgument = Path(),
    events: Annotated[
        bool, typer.Option("--events", help="What happens, one JSON object a line, until the loop is gone.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Watch a campaign live. Curve and clock of the training in hand, last trials, best, rates, spend, what is left.

    Reads what the loop publishes and locks nothing: any number may watch. q or Ctrl-C leaves. Without a terminal it
    prints once.
    """
    import sys
    from contextlib import suppress

    from cli.inputs.workspaces import find_workspace
    from cli.terminal.output import print_json, stdout
    from cli.terminal.plot import draws_plain
    from cli.watch.screen import watch_terminal
    from cli.watch.stream import follow
    from cli.watch.view import Size, picture
    from cli.watch.watcher import Watcher

    if events:
        with suppress(KeyboardInterrupt):
            for line in follow(find_workspace(directory)):
                print(line, flush=True)
        return
    watcher, console = Watcher(find_workspace(directory)), stdout()
    if json:
        print_json(_document(watcher.look()))
    elif console.is_terminal and not console.is_dumb_terminal:
        watch_terminal(console, lambda size: picture(watcher.look(), size))
    else:
        lines = picture(watcher.look(), Size(*_ONCE, draws_plain(sys.stdout), once=True))
        print("\n".join(lines))


def _document(sight: "Sight") -> dict[str, Any]:
    """What `status --json` has, with the state and the spend of this moment, rates, and what the loop does."""
    from dataclasses import asdict

    from cli.watch.watcher import remaining, trials_per_hour

    record, live = sight.record, sight.live
    left = record and remaining(record.campaign.limits, record.trials, sight.active_s or 0.0, sight.usd, sight.joules)
    now: dict[str, Any] = {
        "state": sight.state,
        "elapsed_s": sight.active_s,
        "usd": sight.usd,
        "energy_joules": sight.joules,
        "trials_per_hour": record and trials_per_hour(record.trials),
        "remaining": left and asdict(left),
        "live": live and live.model_dump(mode="json"),
    }
    if record is None:
        return now
    events = [event.model_dump(mode="json") for event in record.document["events"]]
    return {**record.document, "events": events, **now}
