"""The clock of one training: what start-up took, what was spent since, and when it is over; all by the parent."""

import time

from rails.status import Status
from trainer.budget import Budget, Caps
from trainer.trial.conversation import Limit, Phase
from trainer.trial.cpu_meter import CpuMeter


class TrainingClock:
    """Counts the wall's seconds and CPU seconds side by side, and goes by the one that the budget counts.

    Args:
        budget: of the training.
        caps: the parent's limits.
        meter: of the trial's CPU time, which begins with its launch.
        launched: when that was, by the monotonic clock.

    Attributes:
        startup_s: seconds until `start`.
        startup_cpu_s: CPU seconds until then.
        charged_s: what of these the budget pays for.
        train_s: seconds from there to `stop`.
    """

    def __init__(self, budget: Budget, caps: Caps, meter: CpuMeter, launched: float) -> None:
        self._budget, self._caps, self._meter = budget, caps, meter
        self._launched = self._started = launched
        self.startup_s = self.startup_cpu_s = self.charged_s = self.train_s = 0.0
        self._stopped_cpu_s: float | None = None
        self._longest_step_s = self._looked_at = 0.0

    def start(self) -> None:
        """The budget's clock starts now."""
        self.startup_cpu_s = self._meter.read_before_start()
        self._started = time.monotonic()
        self.startup_s = self._started - self._launched
        used_s = self.startup_cpu_s if self._budget.on_cpu_clock else self.startup_s
        self.charged_s = self._looked_at = self._caps.charged_s(self._budget, used_s)

    def stop(self) -> None:
        """What is trained is sealed."""
        self.train_s = time.monotonic() - self._started
        self._stopped_cpu_s = self._meter.read()

    def spent_s(self) -> float:
        """Seconds of the budget's clock: since `start`, and what start-up was charged."""
        if self._budget.on_cpu_clock:
            return self._meter.read() - self.startup_cpu_s + self.charged_s
        return time.monotonic() - self._started + self.charged_s

    def note_steps(self, steps: int) -> float:
        """So many steps were made since the last report: see how long one takes at most. Returns what is spent."""
        now = self.spent_s()
        self._longest_step_s = max(self._longest_step_s, (now - self._looked_at) / max(1, steps))
        self._looked_at = now
        return now

    def starting(self) -> Phase:
        """Until `start`."""
        cap_s = self._caps.startup_s
        return Phase(
            during="before training started",
            deadline=self._launched + cap_s,
            overdue=f"killed: training had not started within {cap_s:g} s",
            overdue_status=Status.PREFLIGHT_CRASH,
            crash_status=Status.PREFLIGHT_CRASH,
        )

    def training(self) -> Phase:
        """From there to `stop`, as far as it can be seen now how long steps take."""
        on_cpu_clock = self._budget.on_cpu_clock
        wall_s = self._caps.train_s if on_cpu_clock else self._limit_s - self.charged_s
        why = " by the wall clock ([budget] wall_s)" if on_cpu_clock else ""
        return Phase(
            during="during training",
            deadline=self._started + wall_s,
            overdue=f"killed: still training {wall_s:.4g} s after its start{why}, with "
            f"{self._budget.told(self.charged_s)}",
            overdue_status=Status.TRAIN_BUDGET_OVERRUN,
            also=self.cpu_limit if on_cpu_clock else None,
        )

    @property
    def _limit_s(self) -> float:
        return self._caps.train_limit_s(self._budget, self._longest_step_s)

    def cpu_limit(self) -> Limit:
        """How near a training on a budget of CPU seconds is to its end, now or when it was stopped."""
        spent_s = self.spent_s()
        counted = (
            "" if self._meter.counted else f" (not all can be counted here, so {self._meter.cores} for each second)"
        )
        spent = f"{spent_s - self.charged_s:.4g} CPU s{counted}"
        told = f"killed: it used {spent} after its start, with {self._budget.told(self.charged_s)}"
        return Limit(left_s=(self._limit_s - spent_s) / self._meter.cores, overdue=told)

    @property
    def cpu_s(self) -> float | None:
        """CPU seconds between `start` and `stop`; None where they cannot all be counted."""
        stopped = self._stopped_cpu_s
        return None if stopped is None or not self._meter.counted else stopped - self.startup_cpu_s

    def answer_cpu_s(self) -> float:
        """CPU seconds since `stop`."""
        return self._meter.read() - (self._stopped_cpu_s or 0.0)

    def answer_limit(self) -> Limit:
        """How near a trained process is to what it may use until its first answer."""
        cap_s, used_s = self._caps.answer_cpu_s, self.answer_cpu_s()
        overdue = f"killed: it used more than {cap_s:.3g} CPU s until its first answer"
        return Limit(left_s=(cap_s - used_s) / self._meter.cores, overdue=overdue)
