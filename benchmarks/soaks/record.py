"""What a campaign came to, as far as it must not depend on what happened to the process, the disk or the endpoint.

Left out are times and seconds, memory, ids and commit names: the ids of a campaign are drawn by chance, and commits
carry the time of their trial. In their place stands what the commits hold: the program, and which one is whose parent.
"""

import subprocess
from pathlib import Path
from typing import Any

from memory.reader import Reader
from memory.records import Campaign, Measurement, Trial

TRIAL_FIELDS = (
    "seq", "kind", "phase", "attempt", "repairs", "proposer", "hypothesis", "rationale", "edit", "edit_key",
    "program_key", "diff", "status", "reason", "metric", "gain", "gain_low", "gain_high", "p_improve", "n_measurements",
    "decision", "lesson",
)  # fmt: skip
MEASUREMENT_FIELDS = (
    "seed_index", "seed", "state", "purpose", "status", "reason", "score", "test_score", "total_nats", "total_bytes",
    "scored_tokens", "steps", "tokens", "params", "flops",
)  # fmt: skip
PROGRAM = "train.py"


class Record:
    """The published record of a workspace's latest campaign, and its git repository.

    Args:
        root: the workspace.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with Reader.open(root / ".nightshift" / "snapshot") as reader:
            campaign = reader.latest_campaign()
            assert campaign is not None, f"no campaign in {root}"
            self.campaign: Campaign = campaign
            self.trials: list[Trial] = reader.trials(campaign.campaign_id)
            self.measurements: list[Measurement] = reader.campaign_measurements(campaign.campaign_id)
            self.rows = {
                table: reader.query(f"SELECT count(*) FROM {table}").rows[0][0]
                for table in ("trials", "measurements", "calls", "verdicts", "lessons", "curves")
            }

    def digest(self) -> dict[str, Any]:
        """Equal for campaigns that came to the same."""
        seq = {trial.trial_id: trial.seq for trial in self.trials}
        places = {trial.commit_sha: trial.seq for trial in self.trials if trial.commit_sha}
        places[self.campaign.baseline_commit] = -1
        return {
            "trials": [
                {
                    **{name: getattr(trial, name) for name in TRIAL_FIELDS},
                    "parent": seq.get(trial.parent_trial_id or ""),
                    "parent_commit": places.get(trial.parent_commit or ""),
                    "candidate": self._program(trial.candidate_commit),
                    "kept": self._program(trial.commit_sha),
                }
                for trial in self.trials
            ],
            "measurements": sorted(
                (seq[m.trial_id], *(str(getattr(m, name)) for name in MEASUREMENT_FIELDS)) for m in self.measurements
            ),
            "incumbent": seq.get(self.campaign.incumbent_trial_id or ""),
            "head": places.get(self.campaign.head_commit),
            "branch": places.get(self._git("rev-parse", f"refs/heads/{self.campaign.branch}")),
            "stop_reason": self.campaign.stop_reason,
            "final": self.campaign.final,
            "rows": self.rows,
        }

    def doubled(self) -> list[str]:
        """Numbers and measurements that are there more than once, or not at all."""
        wrong: list[str] = []
        seqs = [trial.seq for trial in self.trials]
        if seqs != list(range(len(seqs))):
            wrong.append(f"trial numbers are not 0..{len(seqs) - 1}, once each")
        ids = [m.measurement_id for m in self.measurements]
        wrong += sorted({f"measurement {name} is there twice" for name in ids if ids.count(name) > 1})
        places = [(m.trial_id, m.seed_index, m.purpose) for m in self.measurements]
        wrong += sorted({f"measured twice: {place}" for place in places if places.count(place) > 1})
        return wrong

    def fsck(self) -> str:
        """What `git fsck --strict` complains of; objects that nothing points at any more are no complaint."""
        done = subprocess.run(
            ["git", "-C", str(self.root), "fsck", "--strict", "--no-dangling"], capture_output=True, text=True
        )
        return "" if done.returncode == 0 and not done.stdout.strip() else f"{done.stdout}{done.stderr}".strip()

    def _program(self, commit: str | None) -> str | None:
        return None if commit is None else self._git("rev-parse", f"{commit}:{PROGRAM}")

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(self.root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """In what two digests differ, a line each; empty when they are equal."""
    lines: list[str] = []
    for key, want in wanted.items():
        have = found[key]
        if have == want:
            continue
        if not isinstance(want, list):
            lines.append(f"{key}: {have!r} instead of {want!r}")
            continue
        if len(have) != len(want):
            lines.append(f"{key}: {len(have)} instead of {len(want)}")
        pairs = [(a, b) for a, b in zip(have, want, strict=False) if a != b]
        lines += [f"{key}: {_short(a, b)}" for a, b in pairs[:5]]
    return lines


def _short(found: Any, wanted: Any) -> str:
    if isinstance(found, dict):
        names = [name for name in wanted if found[name] != wanted[name]]
        return f"trial {wanted['seq']}: " + "; ".join(f"{n}: {found[n]!r} instead of {wanted[n]!r}" for n in names)
    return f"{found!r} instead of {wanted!r}"
