"""`nightshift status`: where the campaign is."""

from pathlib import Path

from cli.inputs.options import JsonOption, WorkspaceArgument


def status(directory: WorkspaceArgument = Path(), json: JsonOption = False) -> None:
    """Show where the campaign is. Baseline and its spread, incumbent and its gain, statuses, events, last trials."""
    from cli.inputs.workspaces import find_workspace, holder_of, latest_campaign, open_reader
    from cli.show.progress_rows import trials_table
    from cli.show.status import event_line, status_document, status_sentence
    from cli.terminal.output import print_json, stdout

    at_work = holder_of(find_workspace(directory)) is not None
    with open_reader(directory) as reader:
        campaign = latest_campaign(reader, directory)
        document = status_document(reader, campaign, at_work=at_work)
        rows = reader.trials(campaign.campaign_id)
    if json:
        print_json(document)
        return
    out = stdout()
    out.print(status_sentence(document), soft_wrap=True, markup=False)
    out.print(trials_table(rows[-12:]))
    if document["events"]:
        out.print("\nWhat happened to the loop:")
        for event in document["events"]:
            out.print(event_line(event), soft_wrap=True, markup=False)
