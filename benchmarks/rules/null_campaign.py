"""What each rule keeps when nothing helps: real campaigns in which every proposal changes a knob without effect.

The workspace is the CPU task with four more knobs that no line of train.py reads, and a menu of those alone. So every
candidate trains the same model as the incumbent, every difference is noise, and every keep is false. `strict` (any
lower number, as other loops keep) and `sequential` run one after the other, each in a workspace of its own, with the
same proposals; then incumbent and baseline are measured again on fresh seeds.

    python benchmarks/rules/null_campaign.py [--trials 40] [--seconds 5] [--rules strict sequential] [--json]

Takes a campaign for each rule: with the defaults about six minutes each on two cores. Use nothing else meanwhile.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from cli.show.status import status_document  # noqa: E402
from cli.terminal.output import gain_text  # noqa: E402
from graph.campaign.open import open_campaign  # noqa: E402
from graph.campaign.options import RunOptions  # noqa: E402
from graph.runner import Runner  # noqa: E402
from graph.watching.events import Observer  # noqa: E402
from memory.git.ratchet import init_workspace  # noqa: E402
from memory.records import Measurement, Purpose, Trial  # noqa: E402
from rails.status import Status  # noqa: E402
from trainer.tasks.gpt import PROFILES, render_task_toml, render_train_py  # noqa: E402

RULES = ("strict", "sequential")
KNOBS = ("noop_a", "noop_b", "noop_c", "noop_d")


class Progress(Observer):
    """One line a trial, on stderr."""

    def __init__(self, rule: str) -> None:
        self._rule = rule

    def note(self, text: str) -> None:
        """See `Observer`."""
        print(f"{self._rule}: {text}", file=sys.stderr, flush=True)

    def decided(self, trial: Trial) -> None:
        """See `Observer`."""
        self.note(f"trial {trial.seq}: {trial.status}: {trial.reason}")

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """See `Observer`."""
        if measurement.purpose is Purpose.FINAL:
            self.note(f"result: trial {trial.seq}, seed {measurement.seed_index}: {measurement.score}")


def make_null_workspace(root: Path, rule: str, seconds: float) -> None:
    """The CPU task on this budget, in which nothing that can be proposed has an effect."""
    profile = PROFILES["cpu"]
    knobs = "\n".join(f"    {name}: float = 0.5  # read by nobody" for name in KNOBS)
    source = render_train_py(profile)
    first = "    # model\n"
    assert source.count(first) == 1, "train.py has changed: where do its knobs begin?"
    task, _, _ = render_task_toml(profile).partition("# An estimate of the memory")
    task = _changed(task, f"amount = {profile.budget_s}", f"amount = {seconds}")
    task = _changed(task, 'rule = "sequential"', f'rule = "{rule}"')
    menu = "\n".join(
        f'{name} = {{ type = "float", range = [0.0, 1.0], default = 0.5, doc = "read by nobody" }}' for name in KNOBS
    )
    init_workspace(
        root,
        {
            ".gitignore": ".nightshift/\n",
            "program.md": "# Policy\n\nNothing here has an effect.\n",
            "task.toml": f"{task}[menu.knobs]\n{menu}\n",
            "train.py": source.replace(first, f"{knobs}\n\n{first}"),
        },
    )


def _changed(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} is not once in the profile's task.toml"
    return text.replace(old, new)


def run(rule: str, trials: int, seconds: float, folder: Path) -> dict[str, Any]:
    """One campaign under one rule, and what it came to."""
    root = folder / rule
    make_null_workspace(root, rule, seconds)
    options = RunOptions(trials=trials, proposer="random", seed=1)
    with open_campaign(root, options, Progress(rule)) as services:
        campaign = Runner(services).run()
        document = status_document(services.store, campaign)
        rows = [trial for trial in services.store.trials(campaign.campaign_id) if trial.seq > 0]
        measurements = services.store.campaign_measurements(campaign.campaign_id)
    baseline = {
        m.measurement_id
        for m in measurements
        if m.trial_id.endswith("-00000") and m.seed_index < PROFILES["cpu"].baseline_seeds
    }
    searched = [m for m in measurements if m.purpose is Purpose.SEARCH and m.measurement_id not in baseline]
    return {
        "trials": len(rows),
        "false_keeps": sum(trial.status is Status.KEEP for trial in rows),
        "statuses": document["statuses"],
        "measurements_per_trial": len(searched) / len(rows) if rows else None,
        "noise": document["noise"],
        "claimed": {key: document["incumbent"][key] for key in ("gain", "gain_low", "gain_high")},
        "claimed_by_adding_up": sum(t.gain or 0.0 for t in rows if t.status is Status.KEEP),
        "final": document["final"],
        "machine": document["machine"],
        "isolation": campaign.isolation,
        "elapsed_s": document["elapsed_s"],
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=PROFILES["cpu"].budget_s, help="budget of a trial")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nightshift-null-"))
    try:
        result = {rule: run(rule, arguments.trials, arguments.seconds, folder) for rule in arguments.rules}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{arguments.trials} trials of {arguments.seconds:g} s a rule, none of them with an effect\n")
    lines = {rule: _lines(row) for rule, row in result.items()}
    print(f"{'':44}" + "".join(f"{rule:>34}" for rule in lines))
    for label in next(iter(lines.values())):
        print(f"{label:44}" + "".join(f"{line[label]:>34}" for line in lines.values()))


def _lines(row: dict[str, Any]) -> dict[str, str]:
    final = row["final"]
    of_text = {text: final[text] if final else None for text in ("val", "test")}
    return {
        "false keeps": str(row["false_keeps"]),
        "measurements a trial": f"{row['measurements_per_trial']:.2f}",
        "gain claimed by adding up its keeps": gain_text(row["claimed_by_adding_up"], None, None),
        "gain of the incumbent in the search": _gain(row["claimed"]),
        "gain measured again, validation text": _gain(of_text["val"]),
        "gain measured again, test text": _gain(of_text["test"]),
        "noise sd (df)": f"{row['noise']['sd']:.4f} ({row['noise']['df']})" if row["noise"]["sd"] else "unknown",
        "minutes": f"{row['elapsed_s'] / 60:.1f}",
    }


def _gain(side: dict[str, Any] | None) -> str:
    return "nothing was kept" if side is None else gain_text(side["gain"], side["gain_low"], side["gain_high"])


if __name__ == "__main__":
    main()
