"""The trainer tool: what trains and scores programs. Behind this seam lies all that only one kind of task has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from rails.source.program import Literal
from trainer.trial.wire import Progress

if TYPE_CHECKING:
    from trainer.scoring.probes import Depth
    from trainer.scoring.report import ProbeReport
    from trainer.scoring.witness import Witness

__all__ = ["Backend", "Progress", "Score", "Trained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a trained program scored, as the side that is trusted counted it."""

    value: float
    """In the task's metric."""
    parts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else is known of the measurement, by its columns in the store."""


class Trained(Protocol):
    """A trained program that waits to be scored. Closing it ends whatever it keeps running."""

    @property
    def startup_s(self) -> float:
        """Seconds before the budget's clock started."""
        ...

    @property
    def train_s(self) -> float:
        """Seconds of training."""
        ...

    @property
    def curve(self) -> Sequence[Progress]:
        """Its training curve."""
        ...

    @property
    def witnesses(self) -> "Mapping[str, Witness]":
        """What it answered about each text that it was scored on; empty where nothing is probed."""
        ...

    def close(self) -> None:
        """End it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Beside(Protocol):
    """Trainings that run beside the one that is waited for, on cores that it has no use for."""

    @property
    def room(self) -> int:
        """How many there may be."""
        ...

    def begin(self, program: str, seed: int) -> None:
        """Begin one before the next `train`, unless it is begun already or there is no room.

        Raises:
            TrialError: interrupted.
        """
        ...

    def drop(self) -> None:
        """End all that were begun and not taken."""
        ...


T = TypeVar("T", bound=Trained)


class Backend(Protocol[T]):
    """Trains and scores the programs of one task on one machine.

    Graph, rails, store, keep rule and ratchet are the same for all; what they must know of a kind of task they ask it.
    """

    @property
    def wall_clock(self) -> bool:
        """Whether the budget counts time, by whichever clock: then the machine is part of the noise."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether a program and a seed have one score and take one time, whenever and wherever they are asked for.

        Then a trial took what its measurements say, and not what a clock says.
        """
        ...

    @property
    def reports_progress(self) -> bool:
        """Whether a training can be watched, and so be stopped early."""
        ...

    @property
    def probes(self) -> bool:
        """Whether a score is to be believed only after `probe`."""
        ...

    @property
    def isolation(self) -> str:
        """The level at which programs run, as it is stored."""
        ...

    @property
    def memory_limit_bytes(self) -> int | None:
        """What one training may use; None: nothing limits it."""
        ...

    def clock_s(self) -> float:
        """Seconds since some moment in the past, by the clock that limits and waste are counted by."""
        ...

    def seeds(self, program: str) -> int | None:
        """With how many seeds a program can be measured; None: with as many as anybody wants."""
        ...

    def true_score(self, program: str) -> float | None:
        """What a program scores without noise; None where only measuring tells."""
        ...

    @property
    def outside(self) -> Callable[[Mapping[str, Literal]], str | None] | None:
        """Says why a program with these knobs cannot be measured, though the menu allows it; None: all can be."""
        ...

    def fraction(self, progress: Progress) -> float:
        """The share of the budget that a training has used, 0 to 1."""
        ...

    def training_seed(self, campaign_seed: int, seed_index: int) -> int:
        """The seed of a training, always the same for one campaign seed and index."""
        ...

    def warm_up(self, program: str) -> object:
        """Make ready whatever the first training would have to wait for."""
        ...

    def try_out(self, program: str, seed: int) -> None:
        """Have new code make one step, before a training is spent on it. Only where programs hold code.

        Raises:
            TrialError: it cannot.
        """
        ...

    def train(self, program: str, seed: int, on_progress: Callable[[Progress], None]) -> T:
        """Train a program and leave it waiting to be scored.

        Raises:
            TrialError: it crashed, diverged, overran its budget or was interrupted.
        """
        ...

    @property
    def beside(self) -> Beside | None:
        """Trainings that are begun before they are asked for; None where there is one at a time."""
        ...

    def take_trained(self, program: str, seed: int) -> T | None:
        """What `train` would give, of a training that was begun beside another; None when there is none.

        Raises:
            TrialError: as for `train`.
        """
        ...

    def score(self, model: T) -> Score:
        """Score a trained program on what decides.

        Raises:
            TrialError: it cannot be scored.
        """
        ...

    def score_test(self, model: T) -> float | None:
        """Its score on what was held back for the end of a campaign; None where nothing was. Before `probe`.

        Raises:
            TrialError: it cannot be scored.
        """
        ...

    def probe(self, model: T, depths: "Mapping[str, Depth]", tolerance_nats: float) -> "list[ProbeReport]":
        """See whether the scores just given were honest. Only where `probes` says so.

        Raises:
            ProbeError: they were not.
            TrialError: it could not be seen.
        """
        ...

    def stop(self, scoring_grace_s: float = 0.0) -> None:
        """End what runs, and start nothing any more. Safe from a signal handler.

        Args:
            scoring_grace_s: how long what is trained already may still be scored.
        """
        ...

    def close(self) -> None:
        """Let go of what trainings are started from."""
        ...
