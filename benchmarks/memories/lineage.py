"""What the lineage block costs: counted on from trial to trial as the loop does it, and counted from nothing.

A real store holds so many trials; then trials are written one by one as a loop writes them, with a refreshed metric of
their incumbent, and after each the block is rendered both ways, from the rows that the store remembers. Both texts must
be the same. The block of a search that is stuck has suggestions in it, and costs more.

    python benchmarks/memories/lineage.py [--trials 100 1000 10000] [--steps 30] [--json]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from memory.lineage.block import Lineage, render_lineage  # noqa: E402
from memory.records import Measurement, MeasurementState  # noqa: E402
from memory.store import Store  # noqa: E402
from rails.task import LineageConfig  # noqa: E402
from tests.support.many_trials import fill_store, many_trials  # noqa: E402
from tests.support.rows import CampaignRecords, make_measurement, write_trial  # noqa: E402

MODES = {"searching": LineageConfig(stuck_after=1_000_000), "stuck": LineageConfig(stuck_after=1)}
PLAIN_EVERY = 5
"""Counting from nothing is slow, and always costs the same: it is timed at every fifth step."""

Times = dict[str, list[tuple[float, float]]]
"""What was done, to milliseconds by the clock and of the processor."""


def measure(trials: int, steps: int) -> dict[str, object]:
    """Milliseconds of both ways with so many trials in the store."""
    with tempfile.TemporaryDirectory() as folder:
        records = many_trials(trials + steps)
        first, later = split(records, trials + 1)
        with Store.open(fill_store(Path(folder) / "store.duckdb", first)) as store:
            spent = walk(store, records, later)
    return {name: summary(values) for name, values in spent.items()}


def split(records: CampaignRecords, at: int) -> tuple[CampaignRecords, CampaignRecords]:
    """The trials before a place with everything that hangs off them, and those after it."""
    early = {trial.trial_id for trial in records.trials[:at]}
    best = next(t for t in reversed(records.trials[:at]) if t.commit_sha or t.seq == 0)
    first = CampaignRecords(
        records.campaign.model_copy(update={"incumbent_trial_id": best.trial_id}),
        trials=records.trials[:at],
        measurements=[row for row in records.measurements if row.trial_id in early],
        calls=[row for row in records.calls if row.trial_id in early],
        verdicts=[row for row in records.verdicts if row.trial_id in early],
        lessons=[row for row in records.lessons if row.trial_id in early],
    )
    return first, CampaignRecords(records.campaign, trials=records.trials[at:])


def walk(store: Store, records: CampaignRecords, later: CampaignRecords) -> Times:
    """Write the later trials, and render after each."""
    campaign_id = records.campaign.campaign_id
    lineage = Lineage(store, campaign_id)
    spent: Times = {"first, rows from the tables": [timed(lambda: lineage.render(config=MODES["searching"]))[0]]}
    lineage.render(config=MODES["stuck"])
    for step, trial in enumerate(later.trials):
        write_trial(store, records, trial)
        refresh(store, campaign_id, step)
        for name, config in MODES.items():
            took, block = timed(lambda config=config: lineage.render(config=config))
            spent.setdefault(f"{name} incremental", []).append(took)
            if step % PLAIN_EVERY == 0:
                took, plain = timed(lambda config=config: render_lineage(store, campaign_id, config))
                spent.setdefault(f"{name} plain", []).append(took)
                assert plain == block, "both ways must come to the same text"
    return spent


def refresh(store: Store, campaign_id: str, step: int) -> None:
    """Measure the incumbent once more, as a decision may ask for, and ask for the noise, as every decision does."""
    best = store.trial(store.campaign(campaign_id).incumbent_trial_id or "")
    done = make_measurement(best, 100 + step, (best.metric or 1.8) + 1e-4)
    store.open_measurement(running(done))
    store.finish_measurement(done, None)
    store.noise(campaign_id)
    store.update_trial(best.trial_id, metric=done.score, n_measurements=best.n_measurements + 1)


def running(done: Measurement) -> Measurement:
    """A measurement as it was when it began."""
    return done.model_copy(update={"state": MeasurementState.RUNNING, "score": None, "finished_at": None})


def timed(work: Callable[[], str]) -> tuple[tuple[float, float], str]:
    """Milliseconds by the clock and of the processor, and what came of it."""
    started, busy = time.perf_counter(), time.process_time()
    result = work()
    return (1000 * (time.perf_counter() - started), 1000 * (time.process_time() - busy)), result


def summary(values: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Median and slowest, by the clock and of the processor: the latter is what a busy machine leaves comparable."""
    clock, busy = zip(*values, strict=True)
    return {
        "median_ms": round(statistics.median(clock), 2),
        "max_ms": round(max(clock), 2),
        "cpu_median_ms": round(statistics.median(busy), 2),
        "cpu_max_ms": round(max(busy), 2),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--steps", type=int, default=30, help="trials that are written and rendered after")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {str(trials): measure(trials, arguments.steps) for trials in arguments.trials}
    load = [round(value, 2) for value in os.getloadavg()]
    if arguments.json:
        print(json.dumps({**found, "load": load, "cores": os.cpu_count()}, indent=2))
        return
    for trials, ways in found.items():
        print(f"{trials} trials")
        for name, times in ways.items():
            print(f"  {name:<28} {times}")
    print(f"load {load} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
