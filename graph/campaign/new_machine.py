"""Going on on another machine: the record says so, and what is compared there is measured there first.

Scores of two machines are two things, even on a budget of steps: results repeat exactly on one machine only. Machines
are told apart by the fingerprint of their hardware, so that one that is come back to is known, with all that was
measured on it.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from graph.campaign.disqualified import found_out, return_to_honest
from graph.campaign.result import INTERRUPTED
from graph.measuring.remeasure import measure
from graph.projection import refresh_metric
from graph.services import Services
from graph.watching.events import Observer
from memory.records import Campaign, Event, EventKind, MeasurementState, Phase, Purpose, Trial, utc_now
from memory.store import Store
from rails.errors import HaltError, TrialError, UserError
from rails.status import Status
from trainer.hardware import GIB, Hardware

NODE = "rebaseline"
"""Under which name the seconds of measuring again are stored, beside those of the five nodes."""

_SIZES = frozenset({"memory_bytes", "device_memory_bytes"})


def prepare_machine(
    store: Store, campaign: Campaign, hardware: Hardware, pinned_sha256: str, observer: Observer
) -> None:
    """Before a campaign goes on: make sure that its text is the same, and put on record that its machine is not.

    Raises:
        UserError: the text is another, so no score could be compared; nothing was changed.
    """
    if pinned_sha256 != campaign.corpus_sha256:
        raise UserError(
            f"the unfinished campaign {campaign.tag!r} was measured on another text: the corpus had the SHA-256 "
            f"{campaign.corpus_sha256[:12]}…, it has {pinned_sha256[:12]}… now",
            where="[data] corpus",
            fix="bring the former text back, or add --fresh to start another campaign",
        )
    if hardware.fingerprint == campaign.hardware_fingerprint:
        return
    known = any(m.machine == hardware.fingerprint for m in store.campaign_measurements(campaign.campaign_id))
    then = "what was measured on it before counts again" if known else "the baseline is measured again"
    text = f"the machine changed: {_difference(campaign.hardware, hardware)}; {then}"
    trials = store.trials(campaign.campaign_id)
    in_hand = next((trial.seq for trial in trials if trial.phase is not Phase.DECIDED), None)
    event = Event(
        campaign_id=campaign.campaign_id,
        trial_seq=in_hand,
        kind=EventKind.MACHINE_CHANGED,
        text=text,
        created_at=utc_now(),
    )
    with store.transaction():
        store.update_campaign(
            campaign.campaign_id, hardware=asdict(hardware), hardware_fingerprint=hardware.fingerprint
        )
        store.add_event(event)
    observer.note(text)


def measure_again(services: Services) -> str | None:
    """Have a baseline and an incumbent of this machine before anything is compared with them.

    The baseline gets all its seeds: from them come the noise, the tolerance of the probes and the pace of a start. The
    incumbent gets one, which every rule needs to hold a candidate against, and early stopping its curve; the rules ask
    for more of it when a candidate is promising enough to be worth them. One that is disqualified is the incumbent no
    more, and the keep before it is measured. On the machine that all was measured on there is nothing to do, and what a
    crash left undone is done.

    Returns:
        None, or that a signal came in between: then the campaign is gone on with from here.

    Raises:
        HaltError: one of them cannot be measured here. The campaign stays unfinished, and can go on where it was.
    """
    baseline = services.store.trial_by_seq(services.campaign_id, 0)
    if baseline is None or baseline.phase is not Phase.DECIDED:
        return None  # it is the trial in hand
    return_to_honest(services)
    incumbent = services.trial(services.campaign.incumbent_trial_id or baseline.trial_id)
    for target, seed_index in _missing(services, baseline, incumbent):
        if services.stop.requested:
            return INTERRUPTED
        services.observer.note(f"measuring trial {target.seq} again on this machine, seed {seed_index}")
        try:
            _measure(services, target, seed_index)
        except TrialError as error:
            if error.status is not Status.INTERRUPTED:
                raise
            return INTERRUPTED
    if found_out(services) is not None:
        return measure_again(services)
    for trial in (baseline, incumbent):
        refresh_metric(services, trial.trial_id)
        if services.trial(trial.trial_id) != trial:
            services.publish()
    return None


def _missing(services: Services, baseline: Trial, incumbent: Trial) -> Iterator[tuple[Trial, int]]:
    done = {m.seed_index for m in services.measured(baseline.trial_id)}
    yield from ((baseline, seed) for seed in range(services.baseline_seeds) if seed not in done)
    if not services.measured(incumbent.trial_id):
        yield incumbent, 0


def _measure(services: Services, target: Trial, seed_index: int) -> None:
    """One measurement; one that failed is tried again by the next run.

    Raises:
        HaltError: it failed, and not by showing that a kept program cheats.
    """
    done = measure(services, target, seed_index, Purpose.SEARCH, NODE)
    if done.state is MeasurementState.MEASURED or (done.status is Status.DISQUALIFIED and target.status is Status.KEEP):
        return
    who = "the baseline" if target.seq == 0 else f"the incumbent, trial {target.seq},"
    raise HaltError(
        f"{who} could not be measured again on this machine ({done.status}): {done.reason}",
        where=str(services.workspace.root),
        fix="go on where it was measured before, or start another campaign with --fresh",
    )


def _difference(before: dict[str, Any], now: Hardware) -> str:
    """`driver 550.54 instead of 535.12, cores 8 instead of 4`."""
    changed: list[str] = []
    for name, value in asdict(now).items():
        old, new = (f"{v / GIB:.0f} GiB" if v and name in _SIZES else str(v) for v in (before.get(name), value))
        beside = name == "device_name" and now.device == before.get("device") == "cpu"  # the CPU's name, told as such
        if old != new and not beside:
            changed.append(f"{name.removesuffix('_bytes').replace('_', ' ')} {new} instead of {old}")
    return ", ".join(changed) or f"its fingerprint is {now.fingerprint}"
