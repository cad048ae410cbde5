"""`nightshift show`: everything about one trial."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument

if TYPE_CHECKING:
    from memory.reader import Reader
    from memory.records import Campaign, Measurement, Trial


def show(
    directory: WorkspaceArgument,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="Its number; 0 is the baseline.")],
    json: JsonOption = False,
) -> None:
    """Show everything about one trial. Proposal, verdicts, diff, curves, decision with its evidence, calls."""
    from cli.inputs.workspaces import find_trial, latest_campaign, open_reader
    from cli.show.trial import print_trial
    from cli.terminal.output import print_json, stdout

    tables = {"trials", "verdicts", "measurements", "curves", "calls"}
    with open_reader(directory, tables) as reader:
        campaign = latest_campaign(reader, directory)
        document = _document(reader, campaign, find_trial(reader, campaign, trial))
    if json:
        print_json(document)
    else:
        print_trial(stdout(), document, campaign.task)


def _document(reader: "Reader", campaign: "Campaign", row: "Trial") -> dict[str, Any]:
    """Stable keys; `parent` is the number of the trial that it was held against."""
    measurements = reader.measurements(row.trial_id)
    curves = [curve for m in measurements if (curve := reader.curve(m.measurement_id)) is not None]
    return {
        "trial": row.model_dump(mode="json", exclude={"diff", "decision"}),
        "parent": _parent_number(reader, row),
        "proposal": {
            "hypothesis": row.hypothesis,
            "expected_delta": row.expected_delta,
            "reason": row.rationale,
            "edit": row.edit,
        },
        "verdicts": [v.model_dump(mode="json") for v in reader.verdicts(row.trial_id)],
        "diff": row.diff,
        "measurements": [_measurement(campaign, m) for m in measurements],
        "curves": [c.model_dump(mode="json", exclude={"trial_id"}) for c in curves],
        "decision": row.decision,
        "calls": [c.model_dump(mode="json") for c in reader.calls(row.trial_id)],
    }


def _measurement(campaign: "Campaign", done: "Measurement") -> dict[str, Any]:
    """With its scores once more under their former names, where they are bits per byte."""
    from memory.records.metric import metric_of

    metric = metric_of(campaign.task, foreign=campaign.source is not None)
    former = {"val_bpb": metric.in_bpb(done.score), "test_bpb": metric.in_bpb(done.test_score)}
    return {**done.model_dump(mode="json"), **former}


def _parent_number(reader: "Reader", row: "Trial") -> int | None:
    """None also when the record names a parent that it does not have."""
    try:
        return None if row.parent_trial_id is None else reader.trial(row.parent_trial_id).seq
    except KeyError:
        return None
