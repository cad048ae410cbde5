"""Undoes the keep of a program that was found to cheat when it was measured again: most of all for the result.

Incumbent and branch return to the keep before. As with a keep, one transaction of the store is the commit point, and
git, results.tsv and the snapshot follow from it; what was decided on top of the program stays on record as it is.
"""

from graph.projection import project
from graph.services import Services
from memory.lineage.lessons import RULE, lesson_for
from memory.records import Campaign, EventKind, Lesson, Measurement, Phase, Purpose, Trial, utc_now
from memory.store import Store
from rails.status import Status

_NO_NUMBERS = ("metric", "gain", "gain_low", "gain_high", "p_improve")
"""What a trial that is disqualified does not have. The evidence that it was kept for stays in its decision."""


def found_out(services: Services) -> tuple[Trial, Measurement] | None:
    """The kept incumbent with the first measurement that has disqualified it, whatever that was made for; or None."""
    incumbent_id = services.campaign.incumbent_trial_id
    incumbent = None if incumbent_id is None else services.trial(incumbent_id)
    if incumbent is None or incumbent.status is not Status.KEEP:
        return None
    measurements = services.store.measurements(incumbent.trial_id)
    found = next((m for m in measurements if m.status is Status.DISQUALIFIED), None)
    return None if found is None else (incumbent, found)


def return_to_honest(services: Services) -> None:
    """Undo keeps until the incumbent is a program that no measurement has disqualified.

    Raises:
        HaltError: as `undo_keep`.
    """
    while (cheat := found_out(services)) is not None:
        undo_keep(services, *cheat)


def undo_keep(services: Services, cheat: Trial, measured: Measurement) -> None:
    """Return to the keep before the incumbent, which a measurement has disqualified.

    Args:
        services: of the campaign.
        cheat: the incumbent.
        measured: how it was found out.

    Raises:
        HaltError: the record cannot be written, or a person moved the branch: then the record is right, and the branch
            follows when the campaign goes on.
    """
    when = "the result" if measured.purpose is Purpose.FINAL else "it"
    again = "" if measured.purpose is Purpose.FINAL else " again"
    reason = f"found when {when} was measured{again}, with seed {measured.seed_index}: {measured.reason}"
    undone = _disqualified(cheat, reason)
    before = services.trial(str(cheat.parent_trial_id))
    place = f"the keep before it, trial {before.seq}" if before.seq else "the baseline"
    text = f"trial {cheat.seq} was disqualified and its keep undone, {reason}; the branch is back at {place}"
    with services.store.transaction():
        services.store.undo_keep(undone, _lesson_of(undone))
        _end_what_stood_on(services, cheat)
        services.record(EventKind.KEEP_UNDONE, text, cheat.seq)
    project(services, undone)
    services.observer.keep_undone(undone, services.trial(before.trial_id))
    services.observer.note(text)


def undone_keeps(store: Store, campaign_id: str) -> list[Trial]:
    """The trials of a campaign whose keep was undone, by number."""
    return [trial for trial in store.trials(campaign_id) if trial.keep_undone]


def undone_commits(store: Store, campaign: Campaign) -> list[str]:
    """Where the campaign's branch may still be when a loop died between undoing a keep on record and in git."""
    undone = undone_keeps(store, campaign.campaign_id)
    return [str(trial.commit_sha) for trial in undone if trial.parent_commit == campaign.head_commit]


def _disqualified(cheat: Trial, reason: str) -> Trial:
    """Its row from now on."""
    numbers = dict.fromkeys(_NO_NUMBERS)
    news = {**numbers, "n_measurements": 0, "status": Status.DISQUALIFIED, "reason": reason}
    undone = Trial.model_validate({**cheat.model_dump(), **news})
    return undone.model_copy(update={"lesson": lesson_for(undone)})


def _lesson_of(undone: Trial) -> Lesson | None:
    """The rule's: what a model wrote of the keep holds no more, and there is nothing to ask it about."""
    if undone.lesson is None:
        return None
    trial_id, campaign_id = undone.trial_id, undone.campaign_id
    return Lesson(trial_id=trial_id, campaign_id=campaign_id, text=undone.lesson, source=RULE, created_at=utc_now())


def _end_what_stood_on(services: Services, cheat: Trial) -> None:
    """Decide as `interrupted` what was to change the program and is not decided: there is such a trial when the
    proposer had no more to say.
    """
    for trial in services.store.trials(services.campaign_id):
        if trial.phase is not Phase.DECIDED and trial.parent_trial_id == cheat.trial_id:
            ended = {
                "phase": Phase.DECIDED,
                "status": Status.INTERRUPTED,
                "reason": f"the program that it was to change, that of trial {cheat.seq}, was disqualified",
                "metric": None,
                "decided_at": utc_now(),
            }
            services.store.decide(trial.model_copy(update=ended), None, None, None)
