"""A whole night: one loop in one workspace that signals end, and that a full disk only pauses."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from agents.base import Proposer
from graph.campaign.open import opened, ready_workspace
from graph.campaign.options import RunOptions
from graph.limits.disk import Ballast, has_room
from graph.limits.pause import duration
from graph.limits.stopping import StopRequest
from graph.runner import Runner
from graph.services import Services
from graph.watching.event_log import EventLog
from graph.watching.events import Observer, Observers
from graph.watching.live import LiveFile
from graph.workspace import Workspace
from memory.lock import workspace_lock
from memory.publish import publish
from memory.records import Campaign, CampaignState, Event, EventKind, utc_now
from memory.store import Store
from rails.errors import DiskFullError, NightshiftError

SCORING_GRACE_S = 15.0
"""How long a scoring that is under way may still take after the first signal."""

LOOK_EVERY_S = 2.0
"""How often a loop that waits for room looks at the disk."""


def run_night(root: Path, options: RunOptions, observer: Observer, proposer: Proposer | None = None) -> Campaign:
    """Run a campaign in the workspace at `root` to its end, as `open_campaign` and `Runner` do, whatever the disk does.

    Args:
        root: the workspace.
        options: what the person asked for.
        observer: told of everything that happens.
        proposer: used instead of the one that `options` names.

    Returns:
        The campaign, which says why it ended.

    Raises:
        UserError, BusyError: nothing was begun.
        NightshiftError: the loop could not go on; the campaign stays unfinished and can be resumed.
        KeyboardInterrupt: a second signal, or the first one before a trial was in hand.
    """
    workspace = ready_workspace(root, observer)
    live, log = LiveFile(workspace.live_path), EventLog(workspace.events_path)
    night = _Night(workspace, options, Observers(observer, live, log), proposer)
    with workspace_lock(workspace.lock_path), night.stop.listening(night.on_signal), live, log:
        return night.run()


class _Night:
    """The loop of one workspace, through any number of full disks."""

    def __init__(self, workspace: Workspace, options: RunOptions, observer: Observer, proposer: Proposer | None):
        self._workspace, self._options, self._observer, self._proposer = workspace, options, observer, proposer
        self._ballast = Ballast(workspace)
        self._services: Services | None = None
        self._preparing = True
        self.stop = StopRequest()

    def on_signal(self, name: str) -> None:
        """End the trial in hand. Nothing is written to the store here: it may be in the middle of a transaction."""
        if self._preparing:
            self.stop.end_at_once()
        with suppress(RuntimeError, OSError):  # the handler may have cut into a line that is being printed
            self._observer.note(f"{name}: ending the trial in hand; once more stops at once")
        if self._services is not None:
            self._services.trainer.stop(scoring_grace_s=SCORING_GRACE_S)

    def run(self) -> Campaign:
        """Until the campaign ends."""
        self._ballast.restore()
        begun: Callable[[Services], None] | None = None
        while True:
            try:
                return self._work(begun)
            except DiskFullError as error:
                if self._preparing or (self.stop.requested and begun is not None):
                    raise  # nobody sleeps yet; or there was no room even to put the end on record
                begun = self._wait_for_room(error)

    def _work(self, begun: Callable[[Services], None] | None) -> Campaign:
        """Open everything and run. From here on nothing may be taken over but the options that still mean something."""
        with opened(self._workspace, self._options, self._observer, self._proposer, self.stop) as services:
            self._services, self._preparing = services, False
            campaign = services.campaign
            self._options = replace(self._options, fresh=False, tag=campaign.tag)
            try:
                if begun is not None:
                    begun(services)
                return Runner(services).run()
            finally:
                self._services = None

    def _wait_for_room(self, error: DiskFullError) -> Callable[[Services], None]:
        """Wait until the disk has room again, or somebody asks the loop to stop.

        Returns:
            What is to be put on record then.
        """
        started = time.monotonic()
        self._ballast.release()
        told = self._on_record(error)
        self._observer.note(f"paused: {error}")
        self._observer.state_changed(CampaignState.PAUSED, error.what)
        while not has_room(self._workspace) and not self.stop.wait(LOOK_EVERY_S):
            pass

        def begun(services: Services) -> None:
            if not told:
                services.record(EventKind.DISK_FULL, error.what)
            if not services.stop.requested:
                self._ballast.restore()
                waited = duration(time.monotonic() - started)
                services.tell(EventKind.DISK_FREE, f"the disk has room again after {waited}")
            services.observer.state_changed(CampaignState.RUNNING, None)

        return begun

    def _on_record(self, error: DiskFullError) -> bool:
        """Put the pause on record with the room that the ballast left, if that is enough."""
        with suppress(NightshiftError), Store.open(self._workspace.store_path) as store:
            campaign = store.latest_campaign()
            if campaign is None:
                return False
            event = Event(
                campaign_id=campaign.campaign_id, kind=EventKind.DISK_FULL, text=error.what, created_at=utc_now()
            )
            with store.transaction():
                store.add_event(event)
                store.update_campaign(campaign.campaign_id, state=CampaignState.PAUSED, state_reason=error.what)
            publish(store, self._workspace.snapshot_dir)
            return True
        return False
