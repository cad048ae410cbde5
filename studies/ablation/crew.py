"""The workers of a study, seen from their parent: started, fed, restarted when one dies, and ended."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from studies.ablation.campaign import Places
from studies.ablation.outcome import Outcome
from studies.ablation.plan import Job

ROOT = Path(__file__).resolve().parents[2]
"""Where our packages are found by a worker, wherever the parent was started."""


MODULE = "studies.ablation.worker"
"""What a worker runs."""


class Crew:
    """Runs jobs in several processes.

    Args:
        places: of the study.
        workers: how many processes.
        done: told of each outcome, in one thread at a time.
    """

    def __init__(self, places: Places, workers: int, done: Callable[[Job, Outcome], None]) -> None:
        self._places, self._workers, self._done = places, workers, done
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def run(self, jobs: Iterator[Job]) -> None:
        """Run all jobs, in this order as workers become free. Ctrl-C ends the workers at once and is raised again."""
        threads = [threading.Thread(target=self._serve, args=(n, jobs), daemon=True) for n in range(self._workers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # without a limit no signal would be heard
        finally:
            self._stopping.set()
            for process in list(self._processes.values()):
                process.kill()
            for thread in threads:
                thread.join()

    def _serve(self, number: int, jobs: Iterator[Job]) -> None:
        """Feed one worker until there is nothing left."""
        try:
            while not self._stopping.is_set():
                with self._lock:
                    job = next(jobs, None)
                if job is None:
                    break
                outcome = self._ask(number, job)
                if outcome is None:
                    break
                with self._lock:
                    self._done(job, outcome)
        finally:
            self._end(number)

    def _ask(self, number: int, job: Job) -> Outcome | None:
        """What a worker makes of a job; None when everything is to stop."""
        process = self._processes.get(number) or self._start(number)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(job.model_dump_json() + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except (OSError, ValueError):
            answer = ""
        if self._stopping.is_set():
            return None
        if answer:
            return Outcome.model_validate_json(self._places.result(job).read_text(encoding="utf-8"))
        status = process.wait()
        del self._processes[number]
        failed = f"its process ended with status {status}; {self._log(number)} may say why"
        return Outcome(pair=job.pair, arm=job.arm, seed=job.seed, failed=failed)

    def _start(self, number: int) -> subprocess.Popen[str]:
        memory = self._places.memory
        command = [sys.executable, "-m", MODULE, self._places.study, memory or ""]
        with self._log(number).open("a", encoding="utf-8") as log:
            self._processes[number] = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is the parent's to hear
            )
        return self._processes[number]

    def _log(self, number: int) -> Path:
        return self._places.study / f"worker-{number}.log"

    def _end(self, number: int) -> None:
        process = self._processes.pop(number, None)
        if process is None:
            return
        process.kill()
        process.communicate()
