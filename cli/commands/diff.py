"""`nightshift diff`: what differs between two trials."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument

if TYPE_CHECKING:
    from rich.console import Console


def diff(
    directory: WorkspaceArgument,
    a: Annotated[int, typer.Argument(metavar="A", help="The trial to start from; 0 is the baseline.")],
    b: Annotated[int, typer.Argument(metavar="B", help="The trial to come to.")],
    json: JsonOption = False,
) -> None:
    """Compare two trials' programs and outcomes. Knobs, the edits on the way, the gain of B over A, a unified diff."""
    from cli.inputs.workspaces import find_trial, latest_campaign, open_reader
    from cli.show.difference import difference
    from cli.terminal.output import print_json, stdout

    with open_reader(directory, {"trials", "measurements"}) as reader:
        campaign = latest_campaign(reader, directory)
        sides = find_trial(reader, campaign, a), find_trial(reader, campaign, b)
        document = difference(reader, campaign, directory.expanduser().resolve(), *sides)
    if json:
        print_json(document)
    else:
        _print(stdout(), document)


def _print(out: "Console", document: dict[str, Any]) -> None:
    from cli.show.trial import print_diff, probability
    from cli.terminal.output import cell, gain_text, printable, score_text, table
    from rails.text import UNCORRECTED

    def line(text: str) -> None:
        out.print(printable(text), soft_wrap=True, markup=False)

    for side in (document["a"], document["b"]):
        metric = (
            f"{score_text(side['metric'])} ({side['n_measurements']} x measured)" if side["metric"] is not None else "–"
        )
        line(f"trial {side['trial']}: {side['status'] or 'not decided yet'}, {side['edit'] or '(baseline)'}, {metric}")
    a, b, found = document["a"]["trial"], document["b"]["trial"], document["comparison"]
    if found is not None:
        gain = gain_text(found["gain"], found["gain_low"], found["gain_high"])
        chance = "" if found["p_improve"] is None else f", better with probability {probability(found['p_improve'])}"
        line(f"trial {b} against trial {a}, all measurements: {gain} of the baseline{chance} ({UNCORRECTED})")
    for side in (document["a"], document["b"]):
        way = ", ".join(f"{edit['edit'] or '(baseline)'} (trial {edit['trial']})" for edit in side["edits"])
        if way:
            line(f"only in trial {side['trial']}: {way}")
    if document["knobs"]:
        line("")
        rows = [(knob["knob"], cell(knob["a"]), cell(knob["b"])) for knob in document["knobs"]]
        out.print(table(("knob", f"trial {a}", f"trial {b}"), rows))
    line("")
    if document["diff"] is not None:
        print_diff(out, document["diff"] or "the programs are the same")
        return
    line(f"no diff of the programs: {document['no_diff_because']}")
    for edit in (edit for side in (document["a"], document["b"]) for edit in side["edits"] if edit["diff"]):
        line(f"\ntrial {edit['trial']}, against its parent:")
        print_diff(out, edit["diff"])
