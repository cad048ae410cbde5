"""Going on with an unfinished campaign: every projection is rolled forward to what the store says."""

from graph.events import Observer
from graph.workspace import Workspace
from memory.ratchet import Ratchet
from memory.records import Campaign, Phase
from memory.results_tsv import render_results_tsv
from memory.snapshot import publish
from memory.store import Store
from trainer.isolation import Isolation


def roll_forward(store: Store, ratchet: Ratchet, workspace: Workspace, campaign: Campaign) -> None:
    """Roll the branch and every projection forward to what the store says."""
    ratchet.resume(campaign.tag, campaign.head_commit)
    if campaign.stop_reason is not None:
        store.update_campaign(campaign.campaign_id, stop_reason=None, ended_at=None)
    trials = store.trials(campaign.campaign_id)
    open_candidates = [t.candidate_commit for t in trials if t.phase is not Phase.DECIDED and t.candidate_commit]
    ratchet.drop_candidates(keep=open_candidates)
    ratchet.project(campaign.head_commit, render_results_tsv(trials, store.peak_bytes(campaign.campaign_id)))
    publish(store, workspace.snapshot_dir)


def note_isolation(store: Store, campaign: Campaign, isolation: Isolation, observer: Observer) -> None:
    """Say so when a campaign goes on at another level than it had: measurements keep theirs, it has the last."""
    if campaign.isolation != isolation:
        observer.note(f"trials run at isolation {isolation} from here on; before they ran at {campaign.isolation}")
        store.update_campaign(campaign.campaign_id, isolation=isolation)
