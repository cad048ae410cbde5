"""What programs' answers cost by token, in files beside the store: what blind scoring compares a candidate with.

Kept of the baseline and of what was kept, as long as the campaign is the workspace's newest. Nothing depends on their
being there: without them costs are compared instead of differences of costs, which shows larger leaks only.
"""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np

from memory.atomic import atomic_write_bytes
from trainer.scoring.blind import Costs, mean_costs

MOST_FILES = 4
"""Measurements of a program whose costs are kept: the mean of more is hardly less noisy."""


class CostFiles:
    """The costs of one campaign's programs.

    Args:
        folder: of all campaigns; those of others than this one are removed.
        campaign_id: this one.
    """

    def __init__(self, folder: Path, campaign_id: str) -> None:
        self._folder = folder / campaign_id
        self._means = dict[tuple[str, str], Costs | None]()
        for other in folder.iterdir() if folder.is_dir() else ():
            if other.name != campaign_id:
                shutil.rmtree(other, ignore_errors=True)

    def add(self, trial_id: str, measurement_id: str, text: str, costs: Costs) -> None:
        """Keep what one measurement found on one text (`val` or `test`), unless there is enough.

        Raises:
            HaltError: the disk is full.
        """
        path = self._folder / trial_id / f"{text}-{measurement_id}.npz"
        if len(self._files(trial_id, text)) >= MOST_FILES and not path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        np.savez(file, shown=costs.shown, blind=costs.blind)
        atomic_write_bytes(path, file.getvalue(), flush=False)
        self._means.pop((trial_id, text), None)

    def mean(self, trial_id: str | None, text: str) -> Costs | None:
        """The mean over a program's measurements; None where there are none."""
        if trial_id is None:
            return None
        if (trial_id, text) not in self._means:
            found = [costs for path in self._files(trial_id, text) if (costs := _read(path)) is not None]
            alike = [costs for costs in found if costs.shown.shape == found[0].shown.shape]
            self._means[trial_id, text] = mean_costs(alike)
        return self._means[trial_id, text]

    def forget(self, trial_id: str) -> None:
        """Remove those of a program that was not kept."""
        shutil.rmtree(self._folder / trial_id, ignore_errors=True)
        for text in ("val", "test"):
            self._means.pop((trial_id, text), None)

    def _files(self, trial_id: str, text: str) -> list[Path]:
        return sorted((self._folder / trial_id).glob(f"{text}-*.npz"))


def _read(path: Path) -> Costs | None:
    """None for what a dying machine left by halves."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return Costs(found["shown"], found["blind"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
