"""Run programs through the real loop: a workspace, a scripted proposer, one trial for each."""

import json
import math
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agents.base import NoReplyError, ProposalContext, ScriptedReply
from agents.scripted import ScriptedProposer
from cli.attacks.attack import Arena, Attack
from cli.attacks.controls import ARENA_KNOBS, Control
from cli.attacks.splice import edited
from cli.attacks.stage import PACKAGES, Stage
from graph.campaign.open import open_campaign
from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.services import Services
from graph.watching.events import Observer
from graph.workspace import Workspace
from memory.git.ratchet import init_workspace
from memory.records import Trial, TrialKind
from rails.errors import TrialError
from rails.source.diffs import unified_diff
from rails.source.edits import set_knobs
from rails.status import Status
from rails.task import GptTask, load_task
from tools.gpt import GptBackend
from trainer.data.prepare import DataSpec, prepare
from trainer.data.shards import load_eval_set
from trainer.scoring.blind import BLIND_ROWS
from trainer.sight import seen_by_trials

STEPS, SECONDS = 30, 1.0
"""Budgets of the campaigns."""
CLEARLY = 0.9
"""A relative gain on a budget of time that no luck explains: a busy machine is worth a factor of five in steps."""
CHANCE = 0.03
"""A relative gain on the library's text that what it shares with other Python code by chance is not worth."""
MARGINS: dict[Arena, float] = {
    "steps": 0.0,
    "seconds": CLEARLY,
    "cpu_seconds": CLEARLY,
    "final": 0.0,
    "library": CHANCE,
}
_BUDGETS: dict[Arena, tuple[str, int, int]] = {
    "steps": (f'kind = "steps"\namount = {STEPS}', 512, 8192),
    "seconds": (f'kind = "seconds"\namount = {SECONDS}', 512, 8192),
    "cpu_seconds": (f'kind = "cpu_seconds"\namount = {SECONDS}', 512, 8192),
    "final": (f'kind = "steps"\namount = {STEPS}', 512, 16384),
    "library": ('kind = "steps"\namount = 10', 256, 2**20),
}
"""With the size of the vocabulary, and how many tokens are scored: of the library all; of a test text enough for a
program that is honest for a while."""
_TASK = """
name = "arena"
[budget]
{budget}
startup_s = 60
score_s = {score_s}
[data]
corpus = "{corpus}"
vocab_size = {vocab_size}
eval_seq_len = 64
eval_tokens = {eval_tokens}
[trial]
device = "cpu"
threads = 1
[baseline]
seeds = 1
[keep]
{keep}
[early_stop]
enabled = false
[final]
seeds = {final_seeds}
[rails]
corrections = 0
repairs = 0
max_diff_lines = 10000
[limits]
failures_in_a_row = 1000000
[menu.knobs]
depth = {{ type = "int", range = [1, 8], default = 1, doc = "blocks" }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fought:
    """One trial of an attack or a control: what the loop made of it.

    Attributes:
        isolation: the level it ran at.
        baseline: the metric to beat.
        naive: what a careless evaluator would have said, in bits per byte; None when there is none to fool.
        touched: what it got hold of and should not have.
        tried: how many things outside its own business it tried.
        refused: how many of them it was refused.
        residue: what was left of it on the machine when it was over.
        signals: how often it signalled the loop.
        ended_loop: the exception with which it ended the loop; empty when the loop went on.
    """

    name: str
    isolation: str
    status: Status
    reason: str
    metric: float | None
    baseline: float
    naive: float | None = None
    touched: tuple[str, ...] = ()
    tried: int = 0
    refused: int = 0
    residue: tuple[str, ...] = ()
    signals: int = 0
    seconds: float = 0.0
    ended_loop: str = ""


Told = Callable[[Fought], None]


def arena_program() -> str:
    """The honest program of every arena: the real train.py with a tiny model."""
    source = (PACKAGES / "trainer" / "train.py").read_text(encoding="utf-8")
    return set_knobs(source, "Knobs", dict(ARENA_KNOBS))


def make_arena(stage: Stage, arena: Arena, name: str) -> Path:
    """A workspace for one campaign; its corpus is the stage's, or the standard library."""
    budget, vocab_size, eval_tokens = _BUDGETS[arena]
    margin = MARGINS[arena]
    keep = f'rule = "threshold"\nmin_gain = {margin}' if margin else 'rule = "strict"'
    score_s = 60 if arena == "library" else 6
    corpus = "stdlib" if arena == "library" else str(stage.corpus)
    root = stage.folder / name
    files = {
        ".gitignore": ".nightshift/\n",
        "program.md": "# Policy\n\nLower is better.\n",
        "task.toml": _TASK.format(
            budget=budget,
            keep=keep,
            corpus=corpus,
            vocab_size=vocab_size,
            eval_tokens=eval_tokens,
            score_s=score_s,
            final_seeds=int(arena == "final"),
        ),
        "train.py": arena_program(),
    }
    init_workspace(root, files)
    return root


def fight(stage: Stage, arena: Arena, attacks: Sequence[Attack], told: Told) -> list[Fought]:
    """Run the attacks, one trial each, in one campaign.

    One that is kept, or ends the loop, ends it; the rest start in a new workspace. Where the result is measured each
    has a campaign of its own, which it ends as whatever it is then.
    """
    done: list[Fought] = []
    while len(done) < len(attacks):
        pending = attacks[len(done) :] if arena != "final" else [attacks[len(done)]]
        root = make_arena(stage, arena, f"{arena}-{len(done)}")
        programs = {attack.name: attack_program(stage, root, attack) for attack in pending}
        replies = [_reply(programs[attack.name], attack.what, until_kept=True) for attack in pending]
        with _campaign(root, replies, seed=0) as services:
            _try_nothing_out(services)
            watcher = _Watcher(services, pending, told, stage)
            services.observer = watcher
            try:
                Runner(services).run()
            except NoReplyError:
                if not watcher.fought:
                    raise
            except Exception as error:  # noqa: BLE001 — whatever it is: a trial that ends the loop has won
                watcher.lost(error)
            fooled = (naive_score(services, attack, programs[attack.name]) for attack in pending[: len(watcher.fought)])
            done += [replace(fought, naive=naive) for fought, naive in zip(watcher.fought, fooled, strict=True)]
    return done


def play_fair(root: Path, controls: Sequence[Control], seed: int, told: Told) -> list[Fought]:
    """Run honest controls, one trial each, in one campaign."""
    source = arena_program()
    replies = [_reply(control.program(source), control.name, until_kept=False) for control in controls]
    with _campaign(root, replies, seed=seed) as services:
        watcher = _Watcher(services, controls, told, None)
        services.observer = watcher
        Runner(services).run()
    return watcher.fought


def attack_program(stage: Stage, root: Path, attack: Attack) -> str:
    """The attack as a whole train.py, knowing this machine and the workspace's prepared data."""
    whole = load_task(root / "task.toml")
    assert isinstance(whole, GptTask)
    task = whole.data
    data = prepare(
        DataSpec(corpus=task.corpus, vocab_size=task.vocab_size),
        in_sight=seen_by_trials("cpu"),
        pins=Workspace(root).state_dir,
    )
    texts = (load_eval_set(data.private_dir, split, task.eval_seq_len, task.eval_tokens) for split in ("val", "test"))
    val_rows, test_rows = (len(text.rows) - min(BLIND_ROWS, len(text.rows) // 4) for text in texts)
    params = {
        **stage.params(attack.name, root),
        "train_dir": str(data.train_dir),
        "private_dir": str(data.private_dir),
        "hidden": [str(path) for path in data.hidden],
        "val_rows": val_rows,
        "test_rows": test_rows,
    }
    return edited(arena_program(), attack.program, params)


def _try_nothing_out(services: Services) -> None:
    """Let every program go straight to its training: a cheat may behave well for the one step that comes before."""
    assert isinstance(services.trainer, GptBackend)
    services.trainer.tries_out = False


def naive_score(services: Services, attack: Attack, program: str) -> float | None:
    """Bits per byte by the careless evaluator that the attack is made for; None when there is none to be had."""
    if attack.naive is None:
        return None
    try:
        return _believed(services, attack, program)
    except TrialError:
        return None


def _believed(services: Services, attack: Attack, program: str) -> float | None:
    seed = services.trainer.training_seed(services.campaign.seed, 0)  # that of the baseline, which it is held against
    with services.trainer.train(program, seed, lambda progress: None) as model:
        if attack.naive == "printed":
            found = re.search(r"val_bpb: (\S+)", model.outcome.log_tail)
            return float(found[1]) if found else None
        if attack.naive == "believed":
            assert isinstance(services.task, GptTask)
            rows = np.zeros((1, services.task.data.eval_seq_len), np.int32)
            return -float(model.process.ask(rows).mean())
        score = services.trainer.score(model).value
        return services.trainer.score_test(model) if attack.arena == "final" else score


@contextmanager
def _campaign(root: Path, replies: Sequence[ScriptedReply], *, seed: int) -> Generator[Services]:
    options = RunOptions(trials=len(replies), fresh=True, seed=seed, lineage=False)
    with open_campaign(root, options, Observer(), ScriptedProposer(replies)) as services:
        yield services


def _reply(program: str, hypothesis: str, *, until_kept: bool) -> ScriptedReply:
    """Propose `program` as a diff of whatever the incumbent is."""

    def propose(context: ProposalContext) -> str:
        if until_kept and any(trial.status is Status.KEEP for trial in context.trials):
            raise NoReplyError("an attack was kept: the rest needs a fresh baseline")
        diff = unified_diff(context.source, program, "train.py")
        return json.dumps({"diff": diff, "hypothesis": hypothesis, "expected_delta": -0.01, "reason": hypothesis})

    return propose


class _Watcher(Observer):
    """Notes what became of each trial, at the moment that it is decided."""

    def __init__(
        self, services: Services, programs: Sequence[Attack] | Sequence[Control], told: Told, stage: Stage | None
    ) -> None:
        self._services, self._names, self._told, self._stage = services, [each.name for each in programs], told, stage
        self.fought: list[Fought] = []

    def decided(self, trial: Trial) -> None:
        """One more is over."""
        if trial.kind is TrialKind.BASELINE or trial.status in {None, Status.HARNESS_ABORT, Status.INTERRUPTED}:
            return
        name, stage = self._names[len(self.fought)], self._stage
        store = self._services.store
        baseline = store.trial_by_seq(trial.campaign_id, 0)
        measurements = store.measurements(trial.trial_id)
        log = (measurements[-1].log_tail or "") if measurements else ""
        fought = Fought(
            name=name,
            isolation=self._services.campaign.isolation,
            status=Status(str(trial.status)),
            reason=trial.reason or "",
            metric=trial.metric,
            baseline=baseline.metric or math.nan if baseline else math.nan,
            touched=tuple(dict.fromkeys(re.findall(r"^attack: touched (.*)$", log, re.MULTILINE))),
            tried=len(re.findall(r"^attack: (?:touched|left|refused) ", log, re.MULTILINE)),
            refused=len(re.findall(r"^attack: refused ", log, re.MULTILINE)),
            residue=tuple(stage.residue(name)) if stage else (),
            signals=stage.signals if stage else 0,
            seconds=trial.total_s or 0.0,
        )
        if stage:
            stage.signals = 0
        self.fought.append(fought)
        self._told(fought)

    def keep_undone(self, trial: Trial, incumbent: Trial) -> None:
        """One was kept, and is no more: that is how it ended."""
        was = self.fought[trial.seq - 1]
        now = replace(was, status=Status(str(trial.status)), reason=trial.reason or "", metric=trial.metric)
        self.fought[trial.seq - 1] = now
        self._told(now)

    def lost(self, error: Exception) -> None:
        """The loop has ended in the trial that is next to be over; without a baseline it is no attack's doing."""
        baseline = self._services.store.trial_by_seq(self._services.campaign.campaign_id, 0)
        if baseline is None or baseline.metric is None:
            raise error
        ended = f"{type(error).__name__}: {error}"
        self.fought.append(
            Fought(
                name=self._names[len(self.fought)],
                isolation=self._services.campaign.isolation,
                status=Status.CRASH,
                reason=ended,
                metric=None,
                baseline=baseline.metric,
                ended_loop=ended,
            )
        )
        self._told(self.fought[-1])
