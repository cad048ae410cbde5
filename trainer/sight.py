"""What trials see of this machine, for whoever prepares their data: the sandbox knows it, the data does not."""

from trainer.data.in_sight import InSight
from trainer.sandbox.permissions import out_of_sight, readable_paths


def seen_by_trials(device: str) -> InSight:
    """What any trial on `device` may read, whatever its corpus.

    Args:
        device: `cpu` or `cuda`; others are read like `cpu`.
    """
    readable = readable_paths(device)
    return InSight(readable=readable, hidden=out_of_sight(readable, ()))
