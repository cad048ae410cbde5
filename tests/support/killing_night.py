"""The night that is killed everywhere: a scripted campaign in which everything happens that can happen to a trial.

It is told in chapters, so that a kill need not wait for a whole night: each begins where the one before was stopped by
a signal. A chapter killed and gone on with must end like the same chapter undisturbed, to the last row and name.
"""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import graph.campaign.intent
import graph.campaign.open
import graph.runner
import trainer.trial.process
from agents.base import ProposalContext, Reply, local_call
from agents.transcript import CallInfo, Transcript
from graph.campaign.options import RunOptions
from graph.night import run_night
from graph.state import Node
from graph.watching.events import Observer
from memory.records import Campaign, Trial
from memory.store import Store
from rails.errors import TrialError
from rails.status import Status
from tests.support.git_workspace import git
from tests.support.killing import FINALE, NOW, Point, arm
from tests.support.workspaces import code, make_standin_workspace
from tools.gpt import GptBackend

WHEN: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When every trial was opened: the date of its commits, and so in their names."""


def knob(name: str, value: float) -> str:
    """A reply that sets one knob."""
    return json.dumps({"knob": name, "new_value": value, "reason": "because"})


BROKEN: Final = code("model.learn(inputs", "model.learns(inputs")
"""New code that names what is not there."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of a night.

    Args:
        name: of the chapter, and of the reference that it must end like.
        begins: the workspace that it begins in: `bare`, or that of the chapter that it follows.
        tag: of its campaign.
        last: the trial after which a signal stops it; None: it goes on to the limit. A loop that dies when
            this trial is decided would go on with the next one, so chapters end with one that is not worth dying in.
    """

    name: str
    begins: str
    tag: str
    last: int | None


HISTORY: Final = Chapter("history", "bare", "before", None)
"""An earlier campaign in the same store, from which is known when a training is hopeless."""
FIRST: Final = Chapter("first", "bare", "first", 1)
"""The first campaign of a new workspace, with its baseline."""
NIGHT: Final = (
    Chapter("start", "history", "night", 1),
    Chapter("easy", "start", "night", 3),
    Chapter("hard", "easy", "night", 6),
    Chapter("keep", "hard", "night", 8),
    Chapter("late", "keep", "night", 9),
    Chapter("end", "late", "night", None),
)
FALL: Final = (Chapter("climb", "bare", "falls", 3), Chapter("fall", "climb", "falls", None))
"""Another night: its last keep is found to cheat when the result is measured."""
WHOLE: Final = Chapter("whole", "history", "night", None)
"""The same night without chapters."""
CHAPTERS: Final = {chapter.name: chapter for chapter in (HISTORY, FIRST, *NIGHT, *FALL, WHOLE)}

SCRIPTS: Final[dict[str, dict[int, list[str]]]] = {
    "before": {seq: [knob("smoothing", 4.0 + 0.01 * seq)] for seq in range(1, 11)},
    "first": {1: [knob("rows", 3), knob("nonsense", 1)]},
    "falls": {
        1: [knob("rows", 16)],  # kept
        2: [knob("rows", 32)],  # kept, until its test score is asked for
        3: [knob("rows", 3), knob("nonsense", 1)],  # blocked for good
    },
    "night": {
        1: [knob("smoothing", 4.2)],  # discarded
        2: [knob("smoothing", 1000.0), knob("smoothing", 4.3)],  # out of range, then corrected: discarded
        3: [knob("rows", 3), knob("nonsense", 1)],  # blocked for good
        4: [knob("decay", 0.5)],  # hopeless: discarded midway
        5: [BROKEN, code("smoothing: float = 4.0", "smoothing: float = 4.4")],  # crashes when tried out, is repaired
        6: [knob("smoothing", 0.0), knob("smoothing", 0.0)],  # crashes, and again: a crash
        7: [knob("rows", 32)],  # measured again, the incumbent too: kept
        8: [knob("rows", 3), knob("nonsense", 1)],
        9: [knob("buckets", 64)],  # discarded, against the new incumbent
    },
}
"""Tag to trial to what is answered to each attempt at it."""


class Proposer:
    """Answers by the script, whatever was asked before the process died, and keeps a list of what it was asked."""

    name = "scripted"
    repairs_crashes = True

    def __init__(self, script: dict[int, list[str]], asked: Path) -> None:
        self._script, self._asked = script, asked

    def check_ready(self) -> None:
        """Always."""

    def propose(self, context: ProposalContext) -> Reply:
        """The answer to this attempt at this trial."""
        with self._asked.open("a") as file:
            file.write(f"{context.trial_seq}.{context.attempt}\n")
        raw = self._script[context.trial_seq][context.attempt]
        return Reply(raw=raw, calls=(local_call(raw, 0.0),))


class NoteTaker:
    """Writes lessons as a model would, and keeps a list of what it was asked, too."""

    name = "notes"

    def __init__(self, asked: Path) -> None:
        self._asked = asked

    def write(self, trial: Trial, rule: str, transcript: Transcript, stopping: Callable[[], bool]) -> str | None:
        """The rule's line, from the transcript if it is there."""
        call = transcript.next_answer()
        if call is None:
            call = self.ask(trial, rule)
            transcript.record(call)
        return f"In short: {call.raw_reply}"[:160]

    def ask(self, trial: Trial, rule: str) -> CallInfo:
        """What a request to an endpoint would be."""
        with self._asked.open("a") as file:
            file.write(f"lesson.{trial.seq}\n")
        return local_call(rule, 0.0)


CHEATS: Final = {"falls": 2}
"""Tag to the trial that is found to cheat on the test text."""


class Teller(Observer):
    """Knows which trial is in hand, and stops the night where its chapter ends, as a person does."""

    def __init__(self, last: int | None) -> None:
        self._last = last
        self.final_target: int | None = None
        """The trial that is measured for the result."""

    def trial_opened(self, trial: Trial) -> None:
        NOW.stage = trial.seq

    def decided(self, trial: Trial) -> None:
        if trial.seq == self._last:
            os.kill(os.getpid(), signal.SIGINT)

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        NOW.stage = FINALE
        self.final_target = target.seq


def make_bare(folder: Path) -> Path:
    """A workspace without a store in `folder`/night, and its corpus beside it."""
    root = make_standin_workspace(folder, rule="threshold", max_measurements=2, final_seeds=1)
    change_task(root, "eval_tokens = 2048", "eval_tokens = 1024")
    change_task(
        root,
        "[baseline]\nseeds = 3",
        '[rails]\ncorrections = 1\nrepairs = 1\n\n[proposer]\nstand_in = ""\n\n[baseline]\nseeds = 1',
    )
    return root


def change_task(root: Path, old: str, new: str) -> None:
    """A person changes task.toml and commits it, on main."""
    path = root / "task.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    git(root, "commit", "--quiet", "--all", "-m", "change the task")


def run_chapter(chapter: Chapter, root: Path, point: Point | None) -> Campaign:
    """Run `nightshift run` in this process until the chapter ends; with a point, until it dies there."""
    _make_repeatable()
    _watch_nodes()
    arm(point, root.parent / "died")
    script = SCRIPTS[chapter.tag]
    trials = max(script, default=1)
    proposer, notes = Proposer(script, root.parent / "asked"), NoteTaker(root.parent / "asked")

    def take_notes(name: str, *, workspace: Path) -> NoteTaker:
        return notes

    replace(graph.campaign.open, "make_curator", take_notes)
    options, teller = RunOptions(trials=trials, tag=chapter.tag), Teller(chapter.last)
    _find_out(CHEATS.get(chapter.tag), teller)
    return run_night(root, options, teller, proposer)


def _find_out(cheat: int | None, teller: Teller) -> None:
    """Have a trial's program disqualified when it is scored on the test text."""
    score_test = GptBackend.score_test

    def found_out(self: GptBackend, *arguments: Any) -> Any:
        if cheat is not None and teller.final_target == cheat:
            raise TrialError(Status.DISQUALIFIED, "it looks at the next token")
        return score_test(self, *arguments)

    replace(GptBackend, "score_test", found_out)


def _make_repeatable() -> None:
    """Two runs must give equal names to equal commits: what is in them and depends on clock or chance is set."""

    class Fixed:
        hex = "0" * 32

    def one_time() -> datetime:
        return WHEN

    def same_memory(self: Store, campaign_id: str) -> dict[str, int]:
        return {}

    def one_core() -> int:
        return 1  # two workers of the suite share the machine: threads that wait for each other take ten times as long

    replace(graph.runner, "utc_now", one_time)
    replace(trainer.trial.process, "usable_cores", one_core)
    replace(graph.campaign.intent, "uuid4", Fixed)
    replace(Store, "peak_bytes", same_memory)


def replace(holder: Any, name: str, new: Any) -> None:
    """Set an attribute that must be there already."""
    getattr(holder, name)
    setattr(holder, name, new)


def _watch_nodes() -> None:
    for node, function in list(graph.runner.NODE_FUNCTIONS.items()):
        graph.runner.NODE_FUNCTIONS[node] = _watched(node, function)


def _watched(node: Node, function: Any) -> Any:
    def run(services: Any, state: Any) -> Any:
        NOW.node = node
        try:
            return function(services, state)
        finally:
            NOW.node = None

    return run
