"""A campaign without training: proposals are judged by the real rails, and what passes is entered as a discarded trial.

So the record grows as in a night in which nothing is kept, with its lineage block and its set of tried programs, and a
proposer is asked for the next trial each time. What the rails refuse is entered as blocked.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from agents.base import ProposalContext, Reply
from agents.transcript import CallInfo, Transcript
from memory.lineage.block import Lineage
from memory.records import Phase, Trial
from memory.statistics.noise import Noise
from rails.guard import CheckResult, RailContext, Rails
from rails.source.edits import program_key, read_knobs
from rails.status import Status
from rails.task import Task, load_task
from tests.support.histories import Told
from tests.support.rows import make_campaign, make_trial
from trainer.tasks.gpt import PROFILES, render_task_toml, render_train_py

PROFILE = PROFILES["cpu"]
PROGRAM_MD = Path(__file__).resolve().parents[2] / "graph" / "templates" / "program.md"
BASELINE_BPB, NOISE_SD = 2.77, 0.04


def knob_task(folder: Path, steps: int) -> Task:
    """The CPU task with edits of one knob alone: the old prompt with code in it fits no small context."""
    path = folder / "task.toml"
    text = render_task_toml(PROFILE)
    modes = next(line for line in text.splitlines() if line.startswith("modes"))
    path.write_text(text.replace(modes, 'modes = ["knob"]'))
    task = load_task(path)
    return task.model_copy(update={"planner": task.planner.model_copy(update={"steps": steps})})


@dataclass
class PretendCampaign:
    """Asks for one trial after the other, and remembers what became of each."""

    task: Task
    seed: int
    refused: Counter[str] = field(default_factory=Counter[str])
    """Refusals by rail."""
    repeats_refused: int = 0
    repeats_passed: int = 0
    """Proposals of an edit that was tried before, which the rails let through: they would have been trained."""
    valid: int = 0

    def __post_init__(self) -> None:
        self.source = render_train_py(PROFILE)
        self.rails = Rails(self.task.menu)
        self.rng = random.Random(self.seed)
        campaign = make_campaign("planner").model_copy(
            update={"task": self.task.model_dump(mode="json", by_alias=True)}
        )
        baseline = {"status": Status.BASELINE, "phase": Phase.DECIDED, "metric": BASELINE_BPB, "n_measurements": 3}
        self.campaign = campaign
        self.trials = [make_trial(campaign, 0, **baseline)]
        self.tried = {program_key(self.source): self.trials[0].trial_id}
        told = Told(self.trials, noise_=Noise(sd=NOISE_SD, df=6), campaign_=campaign)
        self.lineage = Lineage(told, campaign.campaign_id)

    def context(self, calls: list[CallInfo]) -> ProposalContext:
        """What the proposer of the next trial may know; its requests are appended to `calls`."""
        return ProposalContext(
            task=self.task,
            program_md=PROGRAM_MD.read_text(encoding="utf-8"),
            source=self.source,
            knobs=read_knobs(self.source, self.task.edit.class_name),
            menu=self.task.menu,
            lineage=self.lineage.render(),
            lineage_for=self._lineage_for,
            check=lambda raw: self.rails.check(raw, self._rail_context()).reason,
            trials=tuple(self.trials),
            trial_seq=len(self.trials),
            attempt=0,
            seed=self.seed,
            incumbent_metric=BASELINE_BPB,
            transcript=Transcript(write=calls.append),
        )

    def _lineage_for(self, specialist: str | None, knobs: tuple[str, ...], max_tokens: int) -> str:
        config = self.task.lineage.model_copy(update={"max_tokens": max_tokens})
        return self.lineage.render(specialist, knobs, config=config)

    def judge(self, reply: Reply) -> CheckResult:
        """Let the rails judge a first proposal, and enter the trial."""
        result = self.rails.check(reply.raw, self._rail_context())
        repeated = result.edit_key is not None and result.edit_key in {trial.edit_key for trial in self.trials}
        self.repeats_passed += repeated and result.ok
        self.repeats_refused += repeated and not result.ok
        if result.ok:
            self.valid += 1
        else:
            self.refused[str(result.rail)] += 1
        self.trials.append(self._trial(reply, result))
        if result.program_key is not None:
            self.tried.setdefault(result.program_key, self.trials[-1].trial_id)
        return result

    def _rail_context(self) -> RailContext:
        return RailContext(
            menu=self.task.menu,
            source=self.source,
            file_name=self.task.edit.file,
            class_name=self.task.edit.class_name,
            modes=tuple(self.task.edit.modes),
            tried=self.tried,
            novelty=self.task.rails.novelty,
        )

    def _trial(self, reply: Reply, result: CheckResult) -> Trial:
        columns: dict[str, object] = {"phase": Phase.DECIDED, "parent_trial_id": self.trials[0].trial_id}
        columns |= {"specialist": reply.specialist, "origin": reply.origin}
        if result.ok and result.proposal is not None:
            gain = self.rng.gauss(-0.02, 0.01)
            columns |= {
                "status": Status.DISCARD,
                "reason": "not better",
                "metric": BASELINE_BPB * (1 - gain),
                "gain": gain,
                "n_measurements": 1,
                "edit": result.proposal.edit.model_dump(),
                "edit_key": result.edit_key,
                "program_key": result.program_key,
                "hypothesis": result.proposal.hypothesis,
            }
        else:
            columns |= {"status": Status.RAIL_BLOCKED, "reason": f"{result.rail}: {result.reason}"}
        return make_trial(self.campaign, len(self.trials), **columns)
