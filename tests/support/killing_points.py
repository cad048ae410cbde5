"""The one list of the places where the loop is killed. Tests walk it; see `tests.support.killing`.

A function that moves or is renamed must be followed here: a place that is not found, or not reached, is a failed test.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import pytest

from graph.state import Node
from memory.records import Phase
from tests.support.killing import ANY, COMMIT, FINALE, OPENING, Point

_PROPOSER = "tests.support.killing_night:Proposer.propose"
_NOTES = "tests.support.killing_night:NoteTaker.ask"
_TELLER = "tests.support.killing_night:Teller"
_STORE = "memory.store:Store"
_REPO = "memory.git.repo:GitRepo"
_OBJECTS = "memory.git.objects:GitObjects"
_RATCHET = "memory.git.ratchet:Ratchet"
_WORKTREE = "memory.git.worktree:Worktree"
_PROCESS = "trainer.trial.process:TrialProcess"
_TRAINER = "tools.gpt:GptBackend"
_SNAPSHOT = "memory.publish"
_DECIDE = "graph.services:Services.decide"
_PUBLISH = "graph.services:Services.publish"

When = Literal["before", "after"]
_BOTH: Final[tuple[When, When]] = ("before", "after")


class _Place:
    """Where the points that follow lie; makes points with a name of their own from it."""

    def __init__(self, chapter: str, stage: int | None, node: Node | None = None) -> None:
        self._shared: dict[str, Any] = {"chapter": chapter, "stage": stage, "node": node}

    def at(self, name: str, target: str, when: When, phase: Phase | None, **more: Any) -> Point:
        """One point."""
        return Point(name=name, target=target, when=when, phase=phase, **{**self._shared, **more})

    def around(self, name: str, target: str, phases: tuple[Phase | None, Phase | None], **more: Any) -> Iterator[Point]:
        """A point before something and one after it."""
        for when, phase in zip(_BOTH, phases, strict=True):
            yield self.at(f"{when} {name}", target, when, phase, **more)

    def commit(self, into: Phase, before: Phase | None, **more: Any) -> Iterator[Point]:
        """A point at either side of the commit that brings the trial into a phase."""
        name = more.pop("name", "")
        for when, phase in zip(_BOTH, (before, into), strict=True):
            lost = {"asks_again": True} if into is Phase.PROPOSED and when == "before" else {}
            yield self.at(f"{when} the commit of {into}{name}", COMMIT, when, phase, into=into, **{**more, **lost})


def _same(phase: Phase | None) -> tuple[Phase | None, Phase | None]:
    return phase, phase


def _opening() -> Iterator[Point]:
    place = _Place("first", OPENING)
    yield from place.around("the store is made", "memory.database.opening:_create", _same(None))
    yield place.at("the new store's tables are made", "memory.database.opening:migrate", "after", None)
    yield place.at("the store is open", f"{_STORE}.open", "after", None)
    yield from place.around("the campaign's row", f"{_STORE}.add_campaign", _same(None))
    yield from place.around("the branch is made", f"{_REPO}.move_ref", _same(None))
    yield place.at("the branch is checked out", f"{_RATCHET}.start", "after", None)
    yield from place.around("the journal is folded", "memory.database.writer:fold", _same(None))
    yield place.at("the first snapshot is published", _PUBLISH, "after", None)
    yield from place.commit(Phase.OPENED, None, name=" of the first trial")
    place = _Place("first", 0, Node.TRAIN)
    yield place.at("the fork server is to start", "trainer.launch.launcher:Launcher.ready", "before", Phase.RUNNING)
    yield place.at("the baseline is training", f"{_TELLER}.training", "before", Phase.RUNNING, count=3)
    place = _Place("first", 0, Node.EVALUATE)
    yield place.at("the baseline is measured once", f"{_STORE}.finish_measurement", "after", Phase.RUNNING)
    place = _Place("first", 0, Node.CURATE)
    yield from place.commit(Phase.DECIDED, Phase.RUNNING, name=" of the baseline")
    yield place.at("the baseline's snapshot is published", _PUBLISH, "after", Phase.DECIDED)


def _proposing() -> Iterator[Point]:
    place = _Place("easy", 2)
    yield from place.commit(Phase.OPENED, Phase.DECIDED, name=" of the next trial")
    yield from place.around("the seconds are stored", "graph.services:Services.flush_spans", _same(Phase.DECIDED))
    place, lost = _Place("easy", 2, Node.PROPOSE), {"asks_again": True}
    yield place.at("the proposer is to be asked", _PROPOSER, "before", Phase.OPENED)
    yield place.at("the reply is in hand", _PROPOSER, "after", Phase.OPENED, **lost)
    yield place.at("the calls are written", f"{_STORE}.add_calls", "after", Phase.OPENED, **lost)
    yield place.at("the lineage block is written", f"{_STORE}.add_lineage_block", "after", Phase.OPENED, **lost)
    yield from place.commit(Phase.PROPOSED, Phase.OPENED)
    yield place.at("the correction is to be asked for", _PROPOSER, "before", Phase.PROPOSED, count=2)
    yield place.at("the correction is in hand", _PROPOSER, "after", Phase.PROPOSED, count=2, **lost)
    yield place.at("the correction is stored", f"{_TELLER}.proposed", "before", Phase.PROPOSED, count=2)
    place = _Place("hard", 5, Node.PROPOSE)
    yield place.at("the repair is to be asked for", _PROPOSER, "before", Phase.RUNNING, count=2)
    yield place.at("the repair is stored", f"{_TELLER}.proposed", "before", Phase.PROPOSED, count=2)


def _railing() -> Iterator[Point]:
    place = _Place("easy", 2, Node.CHECK_RAILS)
    yield from place.around("the verdicts that refuse it", f"{_STORE}.add_verdicts", _same(Phase.PROPOSED))
    yield place.at("it is sent back", f"{_TELLER}.railed", "before", Phase.PROPOSED)
    yield from place.around("the verdicts that pass it", f"{_STORE}.add_verdicts", _same(Phase.PROPOSED), count=2)
    for count, what in enumerate(("blob", "tree", "commit"), 1):
        yield place.at(f"the candidate's {what}", f"{_OBJECTS}.write", "after", Phase.PROPOSED, count=count)
    yield from place.around("the candidate's ref", f"{_REPO}.set_ref", _same(Phase.PROPOSED))
    yield place.at("the candidate's ref is half written", "os:replace", "before", Phase.PROPOSED)
    yield from place.commit(Phase.RAILED, Phase.PROPOSED)
    place = _Place("easy", 3, Node.CHECK_RAILS)
    yield place.at("it is blocked for good", f"{_STORE}.add_verdicts", "after", Phase.PROPOSED, count=2)
    place = _Place("hard", 5, Node.CHECK_RAILS)
    yield place.at("the repair is railed", f"{_TELLER}.railed", "before", Phase.RAILED, count=2)


def _training() -> Iterator[Point]:
    place = _Place("easy", 2, Node.TRAIN)
    yield from place.around("the measurement is opened", f"{_STORE}.open_measurement", _same(Phase.RAILED))
    yield from place.commit(Phase.RUNNING, Phase.RAILED)
    yield from place.around("the process is launched", f"{_PROCESS}.launch", _same(Phase.RUNNING))
    for count in (1, 9, 20):
        yield place.at(f"report {count} of training", f"{_TELLER}.training", "before", Phase.RUNNING, count=count)
    yield place.at("trained", f"{_TRAINER}.train", "after", Phase.RUNNING)
    place = _Place("hard", 4, Node.TRAIN)
    yield place.at("about to be hopeless", f"{_TELLER}.training", "before", Phase.RUNNING, count=4)
    yield from place.around("a hopeless end is stored", f"{_STORE}.finish_measurement", _same(Phase.RUNNING))
    yield place.at("a hopeless end is committed", COMMIT, "after", Phase.MEASURED, into=Phase.MEASURED)
    place = _Place("hard", 5, Node.TRAIN)
    yield from place.around("a crash is stored", f"{_STORE}.finish_measurement", _same(Phase.RUNNING))
    yield place.at("the repair is to be tried out", f"{_TRAINER}.try_out", "before", Phase.RUNNING, count=2)
    yield place.at("the repair is tried out", f"{_TRAINER}.try_out", "after", Phase.RUNNING)  # the first did not return
    yield place.at("the repair is training", f"{_TELLER}.training", "before", Phase.RUNNING, count=3)
    place = _Place("keep", 7, Node.TRAIN)
    yield place.at("the candidate is trained again", f"{_TRAINER}.train", "after", Phase.RUNNING, count=2)
    yield place.at("the incumbent is to be trained again", f"{_TRAINER}.train", "before", Phase.RUNNING, count=3)
    yield place.at("the incumbent is trained again", f"{_TRAINER}.train", "after", Phase.RUNNING, count=3)
    place = _Place("hard", 6, Node.TRAIN)
    yield place.at("a second crash is stored", f"{_STORE}.finish_measurement", "after", Phase.RUNNING, count=2)


def _evaluating() -> Iterator[Point]:
    place = _Place("easy", 2, Node.EVALUATE)
    yield place.at("between trained and scored", f"{_TELLER}.scoring", "before", Phase.RUNNING)
    yield place.at("while scoring", f"{_PROCESS}._request", "after", Phase.RUNNING, count=2)
    yield place.at("scored", f"{_TRAINER}.score", "after", Phase.RUNNING)
    yield place.at("while the scored process is probed", f"{_PROCESS}.ask", "before", Phase.RUNNING)
    yield place.at("the replica is started", f"{_PROCESS}.replica", "after", Phase.RUNNING)
    yield place.at("while the replica is probed", f"{_PROCESS}.ask", "before", Phase.RUNNING, count=3)
    yield place.at("probed", f"{_TRAINER}.probe", "after", Phase.RUNNING)
    yield from place.around("the score is stored", f"{_STORE}.finish_measurement", _same(Phase.RUNNING))
    yield from place.commit(Phase.MEASURED, Phase.RUNNING)
    place = _Place("keep", 7, Node.EVALUATE)
    yield place.at("to be measured again", COMMIT, "after", Phase.MEASURED, into=Phase.MEASURED)
    yield place.at("measured again", f"{_STORE}.finish_measurement", "after", Phase.RUNNING, count=2)
    yield place.at("the incumbent is measured again", f"{_STORE}.finish_measurement", "after", Phase.RUNNING, count=3)


def _curating() -> Iterator[Point]:
    yield from _curating_a_keep()
    yield from _taking_notes()
    place = _Place("easy", 2, Node.CURATE)
    yield from place.around("a discard is decided", _DECIDE, (Phase.MEASURED, Phase.DECIDED))
    yield from place.around("the candidate's ref is dropped", f"{_RATCHET}.discard", _same(Phase.DECIDED))
    yield from place.around("results.tsv is written", f"{_WORKTREE}._project_results", _same(Phase.DECIDED))
    place = _Place("hard", 4, Node.CURATE)
    yield from place.around("a hopeless trial is decided", _DECIDE, (Phase.MEASURED, Phase.DECIDED))
    place = _Place("easy", 3, Node.CURATE)
    yield place.at("a blocked trial is to be decided", _DECIDE, "before", Phase.PROPOSED)
    place = _Place("hard", 5, Node.CURATE)
    yield place.at("the repaired trial is told", f"{_TELLER}.decided", "before", Phase.DECIDED)
    place = _Place("hard", 6, Node.CURATE)
    yield place.at("a crash is to be decided", _DECIDE, "before", Phase.RUNNING)


def _curating_a_keep() -> Iterator[Point]:
    place = _Place("keep", 7, Node.CURATE)
    candidates = 3  # objects and one ref of the candidate were written in the same trial
    for count, what in enumerate(("program's blob", "table's blob", "tree", "commit"), 1 + candidates):
        yield place.at(f"the kept {what}", f"{_OBJECTS}.write", "after", Phase.MEASURED, count=count)
    yield from place.around("the kept commit is flushed", f"{_OBJECTS}.flush", _same(Phase.MEASURED))
    yield from place.around("the kept commit's ref", f"{_REPO}.set_ref", _same(Phase.MEASURED), count=2)
    yield place.at("the keep's row, head and lesson are written", f"{_STORE}.decide", "after", Phase.MEASURED)
    yield from place.commit(Phase.DECIDED, Phase.MEASURED, name=" of a keep")
    yield place.at("the incumbent's mean is stored", "graph.projection:refresh_metric", "after", Phase.MEASURED)
    yield from place.around("the branch is moved", f"{_REPO}.move_ref", _same(Phase.DECIDED))
    yield place.at("train.py is half written", "os:replace", "before", Phase.DECIDED, onto="train.py")
    yield place.at("train.py is written", f"{_WORKTREE}._project_source", "after", Phase.DECIDED)
    yield from place.around("a keep's results.tsv", f"{_WORKTREE}._project_results", _same(Phase.DECIDED))
    yield from place.around("the index is written", f"{_WORKTREE}._project_index", _same(Phase.DECIDED))
    yield from place.around("the kept candidate's ref is dropped", f"{_RATCHET}.discard", _same(Phase.DECIDED))
    yield from place.around("all is projected", f"{_RATCHET}.project", _same(Phase.DECIDED))
    yield from place.around("the newest rows are published", f"{_SNAPSHOT}:_write_tail", _same(Phase.DECIDED))
    yield from place.around("the manifest is renamed", f"{_SNAPSHOT}:write_manifest", _same(Phase.DECIDED))
    yield place.at("the old files are removed", f"{_SNAPSHOT}:_remove_others", "after", Phase.DECIDED)
    yield place.at("a keep is told", f"{_TELLER}.decided", "before", Phase.DECIDED)


def _taking_notes() -> Iterator[Point]:
    """A model writes the lesson: its answer is stored at once, and taken from the store afterwards."""
    place, lost = _Place("easy", 2, Node.CURATE), {"asks_again": True}
    call = 3  # after those of the proposal and its correction
    yield place.at("the lesson is to be asked for", _NOTES, "before", Phase.MEASURED)
    yield place.at("the lesson is in hand", _NOTES, "after", Phase.MEASURED, **lost)
    yield place.at(
        "the lesson's call is to be written", f"{_STORE}.add_calls", "before", Phase.MEASURED, count=call, **lost
    )
    yield place.at("the lesson's call is written", f"{_STORE}.add_calls", "after", Phase.MEASURED, count=call)
    place = _Place("hard", 4, Node.CURATE)
    yield place.at("the lesson of a hopeless trial is written", f"{_STORE}.add_calls", "after", Phase.MEASURED, count=2)
    place = _Place("hard", 6, Node.CURATE)
    yield place.at("the lesson of a crash is in hand", _NOTES, "after", Phase.RUNNING, **lost)
    yield place.at("the lesson of a crash is written", f"{_STORE}.add_calls", "after", Phase.RUNNING, count=3)
    place = _Place("keep", 7, Node.CURATE)
    yield place.at("the lesson of a keep is written", f"{_STORE}.add_calls", "after", Phase.MEASURED, count=2)


def _ending() -> Iterator[Point]:
    place = _Place("end", OPENING)
    yield from place.around("the finale is announced", "graph.campaign.result:_store", _same(Phase.DECIDED))
    yield place.at("the finale is published", _PUBLISH, "after", Phase.DECIDED, count=3)
    place = _Place("end", FINALE)
    yield from place.around("a final measurement is opened", f"{_STORE}.open_measurement", _same(Phase.DECIDED))
    yield place.at("the finale is training", f"{_TELLER}.training", "before", Phase.DECIDED, count=3)
    yield place.at("the finale is scored", f"{_TRAINER}.score", "after", Phase.DECIDED)
    yield from place.around("the test text is scored", f"{_TRAINER}.score_test", _same(Phase.DECIDED))
    yield from place.around("a final score is stored", f"{_STORE}.finish_measurement", _same(Phase.DECIDED))
    yield from place.around(
        "the incumbent's final score", f"{_STORE}.finish_measurement", _same(Phase.DECIDED), count=2
    )
    yield from place.around("the result is stored", "graph.campaign.result:_store", _same(Phase.DECIDED))
    yield place.at("before the commit of the end", COMMIT, "before", Phase.DECIDED)
    yield place.at("after the commit of the end", COMMIT, "after", Phase.DECIDED, ended=True)
    yield place.at("the end is published", _PUBLISH, "after", Phase.DECIDED, ended=True)


def _falling() -> Iterator[Point]:
    """The incumbent is found to cheat when the result is measured, and its keep undone."""
    place = _Place("fall", FINALE)
    yield place.at("found out", f"{_STORE}.finish_measurement", "after", Phase.DECIDED, count=2)
    yield place.at("the undone keep is written", f"{_STORE}.undo_keep", "after", Phase.DECIDED)
    yield from place.around("the keep is undone in git", f"{_RATCHET}.take_back", _same(Phase.DECIDED))
    yield from place.around("train.py is taken back", f"{_WORKTREE}._project_source", _same(Phase.DECIDED))
    yield from place.around("the index is taken back", f"{_WORKTREE}._project_index", _same(Phase.DECIDED))
    yield from place.around("the branch is taken back", f"{_REPO}.move_ref", _same(Phase.DECIDED))
    yield from place.around("all is projected after an undone keep", f"{_RATCHET}.project", _same(Phase.DECIDED))
    yield place.at("the keep before is to be measured", f"{_STORE}.open_measurement", "before", Phase.DECIDED, count=3)


def _going_on() -> Iterator[Point]:
    place = _Place("", OPENING)
    yield place.at("the store is open again", f"{_STORE}.open", "after", None)
    yield from place.around("the branch is rolled forward", f"{_RATCHET}.resume", _same(None))
    yield place.at("the campaign is running again", f"{_STORE}.update_campaign", "after", None)
    yield from place.around("candidates are dropped", f"{_RATCHET}.drop_candidates", _same(None))
    yield from place.around("all is projected again", f"{_RATCHET}.project", _same(None))
    yield place.at("one file of the new snapshot", f"{_SNAPSHOT}:_write", "after", None)
    yield from place.around("the new manifest is renamed", f"{_SNAPSHOT}:write_manifest", _same(None))
    yield from place.around("leftovers are cleared", "graph.campaign.circumstances:clear_leftovers", _same(None))
    yield from place.around("the last decision is projected again", "graph.runner:project", _same(None))
    yield place.at("the loop says that it goes on", f"{_TELLER}.campaign_started", "before", None)
    place = _Place("", ANY)
    yield place.at("the next file is replaced", "os:replace", "before", None, count=2)
    yield place.at("the next snapshot is published", f"{_SNAPSHOT}:write_manifest", "after", None, count=2)


def _folding() -> Iterator[Point]:
    place = _Place("", OPENING)
    yield from place.around("what the killed loop wrote is folded", "memory.database.opening:fold", _same(None))


POINTS: Final[tuple[Point, ...]] = (
    *_opening(),
    *_proposing(),
    *_railing(),
    *_training(),
    *_evaluating(),
    *_curating(),
    *_ending(),
    *_falling(),
)
"""Where a loop is killed for the first time."""

_QUICK = "first"
"""The chapter that is walked each time: what a kill is held against is made once a chapter, in ten seconds."""

_AFTER_COMMITS = [
    point for point in POINTS if point.target == COMMIT and point.when == "after" and point.chapter == _QUICK
]
_EACH_TIME = {point.into: point for point in reversed(_AFTER_COMMITS)}.values()

RECOVERY: Final[tuple[Point, ...]] = tuple(_going_on())
"""Where it is killed again, while it goes on. Their chapter is that of the first kill."""


FOLDING: Final[tuple[Point, ...]] = tuple(_folding())
"""The same, after a loop that had written something since somebody asked the store."""


def walked(points: Sequence[Point]) -> list[Any]:
    """Points as parameters of a test: of the baseline, the first after a commit into each phase each time.

    With --all after every commit, and of the rest one in sixty; all of them with --runslow, which is how the list is
    walked before a release.
    """
    rest = [point for point in points if point.target != COMMIT or point.when == "before"]
    sample = {point.name for point in rest[::60]}
    return [
        pytest.param(point, id=point.name.replace(" ", "-"), marks=_marks(point, point.name in sample))
        for point in points
    ]


def _marks(point: Point, sampled: bool) -> list[pytest.MarkDecorator]:
    if point in _EACH_TIME:
        return []
    wanted = sampled or (point.target == COMMIT and point.when == "after")
    return [pytest.mark.system if wanted else pytest.mark.slow]
