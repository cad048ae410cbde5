"""Going on with an unfinished campaign: every projection is rolled forward to what the store says."""

from dataclasses import dataclass

from graph.events import Observer
from graph.workspace import Workspace
from memory.exports.results_tsv import render_results_tsv
from memory.git.ratchet import Ratchet
from memory.publish import publish
from memory.records import Campaign, CampaignState, Phase
from memory.store import Store
from rails.task import LimitsConfig
from trainer.sandbox.levels import Isolation


@dataclass(frozen=True, slots=True)
class Terms:
    """What a person may change about a campaign that goes on."""

    limits: LimitsConfig
    fallback: str | None


def roll_forward(store: Store, ratchet: Ratchet, workspace: Workspace, campaign: Campaign, terms: Terms) -> None:
    """Roll the branch and every projection forward to what the store says, and put on record that a loop is at work.

    A result that was measured already is forgotten, for the search goes on; its measurements stay.
    """
    ratchet.resume(campaign.tag, campaign.head_commit)
    store.update_campaign(
        campaign.campaign_id,
        state=CampaignState.RUNNING,
        state_reason=None,
        stop_reason=None,
        ended_at=None,
        final=campaign.final if (campaign.final or {}).get("state") == "running" else None,
        limits=terms.limits.model_dump(),
        fallback=terms.fallback,
    )
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
