"""Who takes part in a race: whatever has a distribution, whatever proposes, and what was recorded."""

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from agents.base import KnobValue, NoReplyError, Proposer
from agents.local.proposer import draw
from agents.local.scorer import OptionScorer, probabilities
from rails.errors import UserError
from rails.expressions import ExpressionError
from rails.menu import Menu
from studies.distil.contexts import context_of, task_of
from studies.distil.corpus import Corpus, Pair
from studies.distil.measures import Prediction
from studies.distil.views import Choice


class Racer(Protocol):
    """Somebody who says what it would have chosen."""

    @property
    def name(self) -> str:
        """As the race calls it."""
        ...

    def predict(self, choice: Choice, place: int, samples: int, seed: int) -> Prediction:
        """What it says of one held-out choice.

        Args:
            choice: with its situation; what was chosen is not looked at.
            place: among the held-out choices, from 0.
            samples: how many draws to make.
            seed: for the draws.
        """
        ...


class DistributionRacer:
    """A scorer: its own distribution, and draws from it. What was tried is not masked: repeats were choices, too."""

    def __init__(self, name: str, scorer: OptionScorer, temperature: float = 1.0) -> None:
        self.name = name
        self._scorer, self._temperature = scorer, temperature

    def predict(self, choice: Choice, place: int, samples: int, seed: int) -> Prediction:
        """See `Racer.predict`."""
        started = time.perf_counter()
        chances = probabilities(self._scorer.logits(choice.situation), temperature=self._temperature)
        took_s = time.perf_counter() - started
        rng = random.Random(f"{seed}:{self.name}:{place}")
        options = choice.situation.options
        drawn = [options[draw(chances, rng)] for _ in range(samples)]
        allowed = [allows(choice.situation.menu, choice.example.knobs, pair) for pair in drawn]
        modal = options[int(chances.argmax())]
        return Prediction(samples=drawn, valid=allowed, modal=modal, chances=chances, latency_s=took_s)


class ProposerRacer:
    """A proposer by name: it is asked several times, with as many seeds. It shows no distribution.

    Args:
        name: as it was asked for.
        proposer: it.
        corpus: for the menus of its campaigns.
    """

    def __init__(self, name: str, proposer: Proposer, corpus: Corpus) -> None:
        self.name = name
        self._proposer = proposer
        self._tasks = [
            task_of(card.menu, limit=card.limit, size_limit_bytes=card.size_limit_bytes) for card in corpus.campaigns
        ]

    def predict(self, choice: Choice, place: int, samples: int, seed: int) -> Prediction:
        """See `Racer.predict`."""
        task = self._tasks[choice.example.campaign]
        drawn: list[Pair | None] = []
        took_s: list[float] = []
        for number in range(samples):
            started = time.perf_counter()
            try:
                raw = self._proposer.propose(context_of(choice, task, seed=seed * 10_000 + number)).raw
            except NoReplyError:
                raw = ""
            took_s.append(time.perf_counter() - started)
            drawn.append(read_pair(raw))
        return _of_draws(choice, drawn, sorted(took_s)[len(took_s) // 2])


class RecordedRacer:
    """Predictions that were made elsewhere: a JSONL file, a line for each held-out choice in order.

    A line is one raw reply, as `--proposer replay:FILE` takes it, or `{"samples": [reply, …], "latency_s": …}`.

    Args:
        name: as it was asked for.
        path: the file.

    Raises:
        UserError: it cannot be read.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        try:
            lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
            self._lines: list[Any] = [json.loads(line) for line in lines]
        except (OSError, ValueError, RecursionError) as error:
            fix = "write one reply as JSON a line"
            raise UserError(f"the predictions cannot be read ({error})", where=str(path), fix=fix) from error

    def predict(self, choice: Choice, place: int, samples: int, seed: int) -> Prediction:
        """See `Racer.predict`.

        Raises:
            UserError: there are fewer lines than held-out choices.
        """
        if place >= len(self._lines):
            what = f"there are only {len(self._lines)} predictions, and choice {place + 1} is raced"
            raise UserError(what, where=str(self._path), fix="record one line for each held-out choice")
        took_s: float | None = None
        match self._lines[place]:
            case {"samples": [*replies], **rest}:
                drawn = [read_pair(reply) for reply in replies]
                latency = rest.get("latency_s")
                took_s = float(latency) if isinstance(latency, int | float) else None
            case {"raw": reply}:
                drawn = [read_pair(reply)]
            case reply:
                drawn = [read_pair(reply)]
        return _of_draws(choice, drawn, took_s)


def read_pair(reply: Any) -> Pair | None:
    """Knob and value in a raw reply or in its object; None where there is none."""
    if isinstance(reply, str):
        try:
            reply = json.loads(reply)
        except (ValueError, RecursionError):
            return None
    match reply:
        case {"knob": str(knob), "new_value": int() | float() | str() as value}:
            return knob, value
        case _:
            return None


def allows(menu: Menu, knobs: dict[str, KnobValue], pair: Pair | None) -> bool:
    """Whether the menu and its rules allow a move; one that changes nothing is allowed, too."""
    if pair is None or pair[0] not in menu.knobs or menu.knobs[pair[0]].check(pair[1]) is not None:
        return False
    try:
        return menu.broken_rule({**knobs, pair[0]: pair[1]}) is None
    except ExpressionError:
        return False


def _of_draws(choice: Choice, drawn: Sequence[Pair | None], took_s: float | None) -> Prediction:
    common = Counter(pair for pair in drawn if pair is not None).most_common(1)
    return Prediction(
        samples=drawn,
        valid=[allows(choice.situation.menu, choice.example.knobs, pair) for pair in drawn],
        modal=common[0][0] if common else None,
        latency_s=took_s,
    )
