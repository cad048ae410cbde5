"""A worker of a study: reads jobs on stdin, a line each, runs them, and answers each with a line on stdout.

It is reused from campaign to campaign, because importing what a loop needs takes seconds. When stdin ends (its parent
stopped or was killed) it ends at once, as if killed itself: a campaign goes on from there, or is run again.
"""

import os
import sys
import threading
import traceback
from pathlib import Path
from queue import SimpleQueue

from memory.atomic import atomic_write_text
from rails.errors import NightshiftError
from studies.ablation.campaign import Places, run_job
from studies.ablation.outcome import Outcome
from studies.ablation.plan import Job


def main(study: str, memory: str) -> None:
    """Work until stdin ends.

    Args:
        study: the study's folder.
        memory: a folder in memory, or nothing.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # whatever libraries print is no answer
    places, lines = Places(Path(study), Path(memory) if memory else None), SimpleQueue[str]()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while True:
        job = Job.model_validate_json(lines.get())
        outcome = _outcome(job, places)
        atomic_write_text(places.result(job), outcome.model_dump_json(indent=1) + "\n")
        answers.write(f"{job.name}\n")


def _read(lines: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _outcome(job: Job, places: Places) -> Outcome:
    """What the campaign came to; a failure is an outcome, too, and says so."""
    try:
        return run_job(job, places)
    except NightshiftError as error:
        failed = str(error)
    except Exception as error:  # noqa: BLE001 - one campaign of many: the others go on, and the report names this one
        traceback.print_exc()
        failed = f"{type(error).__name__}: {error}"
    return Outcome(pair=job.pair, arm=job.arm, seed=job.seed, failed=failed)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
