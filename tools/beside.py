"""Trainings that run on threads of their own, beside the one that is waited for.

What is scored sees held-back text, and what still trains could learn it. So nothing that is trained is scored before
nothing trains any more; until then, and until its turn comes, it is held: it neither runs nor hears anything.
"""

import threading
from collections.abc import Callable

from rails.task import GptTask
from trainer.hardware import Hardware
from trainer.launch.launcher import can_fork
from trainer.trial.process import TrialProcess
from trainer.trial.spec import TrainOutcome


def room_beside(task: GptTask, hardware: Hardware) -> int:
    """How many trainings may run beside one: none where each would slow the other by the clock, or they share a GPU."""
    trial = task.trial
    if hardware.device != "cpu" or task.budget.kind == "seconds" or not can_fork():
        return 0
    return max(0, min(trial.side_by_side, hardware.cores // (trial.threads or hardware.cores)) - 1)


class TrainingsBeside:
    """Trainings that were begun before anybody asked for their models.

    Args:
        room: how many may run beside another.
        launch: starts the process that trains a program with a seed.
        ended: told how a process came out: True when it is trained, False when it is gone.
    """

    def __init__(
        self, room: int, launch: Callable[[str, int], TrialProcess], ended: Callable[[TrialProcess, bool], None]
    ) -> None:
        self.room, self._launch, self._ended = room, launch, ended
        self._begun = dict[tuple[str, int], _Training]()

    def begin(self, program: str, seed: int) -> None:
        """Begin one, unless it is begun already or there is no room. On the thread that trains the others.

        Raises:
            TrialError: interrupted.
            HaltError: the machine cannot start a process.
        """
        if len(self._begun) < self.room and (program, seed) not in self._begun:
            self._begun[program, seed] = _Training(self._launch(program, seed), self._ended)

    def take(self, program: str, seed: int) -> tuple[TrialProcess, TrainOutcome] | None:
        """The trained process of one that was begun, once nothing trains; None when there was none.

        Whoever takes it closes it.

        Raises:
            TrialError: how its training ended, if not well. The process is gone then.
        """
        training = self._begun.pop((program, seed), None)
        if training is None:
            return None
        outcome = training.outcome()
        self._settle()
        training.process.let_go()
        return training.process, outcome

    def wait(self, trained: TrialProcess) -> None:
        """Hold a trained process until nothing trains beside it.

        Raises:
            TrialError: it cannot be held (`crash`). The process is gone then.
        """
        if any(training.runs for training in self._begun.values()):
            trained.hold()
            self._settle()
            trained.let_go()

    def drop(self) -> None:
        """End all that were begun and not taken."""
        while self._begun:
            self._begun.popitem()[1].cancel()

    def _settle(self) -> None:
        for training in self._begun.values():
            training.join()


class _Training:
    """Follows a launched process to the end of its training, and holds it then."""

    def __init__(self, process: TrialProcess, ended: Callable[[TrialProcess, bool], None]) -> None:
        self.process, self._ended = process, ended
        self._outcome: TrainOutcome | BaseException | None = None
        self._thread = threading.Thread(target=self._follow, name="training beside", daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether it still trains."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait until it trains no more."""
        self._thread.join()

    def outcome(self) -> TrainOutcome:
        """How its training came out, once it has.

        Raises:
            TrialError: not well. The process is gone then.
        """
        self.join()
        if not isinstance(self._outcome, TrainOutcome):
            raise self._outcome or RuntimeError("a training ended without an outcome")
        return self._outcome

    def cancel(self) -> None:
        """End it, wherever it is."""
        self.process.stop()
        self.join()
        self.process.close()
        self._ended(self.process, False)

    def _follow(self) -> None:
        try:
            outcome = self.process.train()
            self.process.hold()
        except BaseException as error:  # noqa: BLE001 — it is raised where the model is asked for
            self.process.close()
            self._ended(self.process, False)
            self._outcome = error
        else:
            self._ended(self.process, True)
            self._outcome = outcome
