"""`nightshift tables`: the recorded tables that there are, and whether a cell comes out as recorded."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption

if TYPE_CHECKING:
    from trainer.tabular.checking import Audit, CheckedCell
    from trainer.tabular.recorded import RecordedTable

tables_app = typer.Typer(help="Recorded tables: tasks that answer at once.", no_args_is_help=True)


@tables_app.callback()
def _group() -> None:
    """Recorded tables: tasks that answer at once."""


@tables_app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the tables that can be opened here, with what they measure and how much was recorded."""
    from cli.terminal.output import print_json, stderr, stdout, table
    from trainer.tabular.hpobench import INSTALL, installed
    from trainer.tabular.table import table_names

    found = [_described(name) for name in table_names()]
    if json:
        print_json({"tables": found})
        return
    columns = ("table", "what it is", "score", "knobs", "configurations", "measurements", "default", "best")
    rows = [
        (
            each["name"],
            each["title"],
            f"{each['metric']}, {'lower' if each['direction'] == 'minimize' else 'higher'} is better",
            len(each["knobs"]),
            each["configurations"],
            each["measurements"],
            *(_shown(each[mean], each["decimals"]) for mean in ("default_mean", "best_mean")),
        )
        for each in found
    ]
    stdout().print(table(columns, rows, right=columns[3:]))
    if not installed():
        stderr().print(f"fifteen more, recorded by others, come with an extra: {INSTALL}", markup=False)


def _shown(score: float | None, decimals: int) -> str | None:
    return None if score is None else f"{score:.{decimals}f}"


def _described(name: str) -> dict[str, Any]:
    """What a table is; of those that take seconds to read, nothing that is read."""
    from math import prod

    from trainer.tabular.table import open_table, shipped_names, table_facts

    opened = open_table(name) if name in shipped_names() else None
    facts = table_facts(name) if opened is None else opened.facts
    choices = {knob: list(entry.choices or ()) for knob, entry in facts.menu.knobs.items()}
    best = None if opened is None else opened.best()
    return {
        "name": facts.name,
        "title": facts.title,
        "metric": facts.metric.name,
        "direction": facts.metric.direction,
        "unit": facts.metric.unit,
        "decimals": facts.metric.decimals,
        "knobs": choices,
        "configurations": prod(map(len, choices.values())),
        "measurements": None if opened is None else opened.measurements,
        "failures": None if opened is None else opened.failures,
        "default": facts.menu.defaults(),
        "default_mean": None if opened is None else opened.true_mean(facts.menu.defaults()),
        "best": best,
        "best_mean": None if opened is None or best is None else opened.true_mean(best),
        "sha256": None if opened is None else opened.sha256,
    }


@tables_app.command()
def verify(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A table that comes with nightshift.")] = "cpu-gpt",
    cells: Annotated[int, typer.Option(min=1, help="How many cells to train again.")] = 5,
    seed: Annotated[int | None, typer.Option(help="Of the draw of the cells; when absent another each time.")] = None,
    json: JsonOption = False,
) -> None:
    """Train random cells of a table again and compare. The exit code is 1 when one does not come out as recorded.

    On the kind of machine that it was recorded on they must be the same to the last digit, curves included; elsewhere
    a score may differ by rounding, within the tolerance that is named.
    """
    import random

    from cli.terminal.output import print_json
    from cli.terminal.progress import progress
    from trainer.tabular.checking import Audit
    from trainer.tabular.table import open_table

    opened = open_table(name)
    with progress("preparing the text") as report:
        audit = Audit(opened, lambda told: report(told.done, told.total or None))
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    checked: list[CheckedCell] = []
    with progress("training cells again") as report:
        for each in audit.check(cells, seed):
            checked.append(each)
            report(len(checked), cells)
    passed = all(each.exact if audit.same_machine else each.close for each in checked)
    if json:
        print_json({**_verdict(audit, seed, passed), "cells": [_cell(each) for each in checked]})
    else:
        _show(audit, opened, checked)
    if not passed:
        raise typer.Exit(1)


def _verdict(audit: "Audit", seed: int, passed: bool) -> dict[str, Any]:
    from trainer.tabular.checking import TOLERANCE

    return {
        "passed": passed,
        "same_machine": audit.same_machine,
        "tolerance": 0.0 if audit.same_machine else TOLERANCE,
        "seed": seed,
        "machine": audit.machine.model_dump(),
        "recorded_on": audit.recipe.machine.model_dump(),
        "program_sha256": audit.recipe.program_sha256,
        "corpus_sha256": audit.recipe.corpus_sha256,
    }


def _cell(checked: "CheckedCell") -> dict[str, Any]:
    return {
        "configuration": checked.configuration,
        "seed_index": checked.seed_index,
        "recorded": checked.recorded.score,
        "retrained": checked.retrained.score,
        "recorded_status": checked.recorded.status,
        "retrained_status": checked.retrained.status,
        "difference": checked.difference,
        "exact": checked.exact,
        "close": checked.close,
    }


def _show(audit: "Audit", opened: "RecordedTable", checked: "list[CheckedCell]") -> None:
    from cli.terminal.output import stdout, table
    from trainer.tabular.checking import TOLERANCE

    rows = [
        (
            ", ".join(f"{name}={value}" for name, value in each.configuration.items()),
            each.seed_index,
            *(cell.status if cell.score is None else repr(cell.score) for cell in (each.recorded, each.retrained)),
            "the same" if each.exact else "differs" if each.difference is None else f"{each.difference:+.1e}",
        )
        for each in checked
    ]
    out = stdout()
    out.print(table(("configuration", "seed", f"{opened.metric_name} recorded", "now", ""), rows, right=("seed",)))
    exact, close = sum(each.exact for each in checked), sum(each.close for each in checked)
    if audit.same_machine:
        out.print(f"{exact} of {len(checked)} cells are the same to the last digit, curves included")
    else:
        theirs = audit.recipe.machine
        where = f"recorded on another kind of machine ({theirs.cpu_model}, torch {theirs.torch_version})"
        out.print(f"{where}: {close} of {len(checked)} are within {TOLERANCE:.1%}, {exact} the same to the last digit")
