"""The error tree.

NightshiftError                what happened, where, what to do next; exit code 1
├── UserError                  the person's input or machine is not as it must be
├── BusyError                  another loop owns this workspace; exit code 75
├── HaltError                  the loop must stop now: nothing is lost, a person has to look
│   ├── DiskFullError          no room to write: the loop pauses until there is
│   └── DamagedStoreError      the store's file is damaged: `nightshift restore` rebuilds it (memory/database/errors.py)
├── ProposerError              no proposal could be had (endpoint refused, recording used up)
└── TrialError                 this trial is over, with a status; the loop goes on
"""

from rails.status import Status


class NightshiftError(Exception):
    """A failure with a name, told to a person in one sentence: what happened, where, and the way out.

    Args:
        what: what happened, without a final full stop.
        where: the place (file, line, key, address); empty when `what` already names it.
        fix: what to do next, as an instruction; empty when there is nothing to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        way_out = f" — {self.fix}" if self.fix else ""
        return f"{place}{self.what}{way_out}"


class UserError(NightshiftError):
    """Something the person gave (a file, a flag, a folder, a machine) is not as it must be."""


class BusyError(NightshiftError):
    """Another loop holds this workspace."""

    exit_code = 75


class HaltError(NightshiftError):
    """The loop cannot go on safely (disk full, branch moved by a person). Everything recorded survives."""


class DiskFullError(HaltError):
    """There is no room to write. Nothing recorded is lost; the loop pauses until there is room again."""


class ProposerError(NightshiftError):
    """The proposer could not answer at all. A bad answer is not this: the rails judge it."""


class TrialError(NightshiftError):
    """The trial in hand is over.

    Args:
        status: the failure status to record; never a finished one.
        what: the reason, stored with the trial and shown to the next proposer.
        detail: the tail of the log or traceback, for a repair round.
    """

    def __init__(self, status: Status, what: str, *, detail: str = "") -> None:
        self.status, self.detail = status, detail
        super().__init__(what)
