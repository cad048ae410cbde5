"""Whether a student may be given a name: stated gates, each passed or failed by so much."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rails.errors import UserError
from studies.distil.race import MARGINAL

REGRET_MARGIN = 0.02
"""How far above the teacher's the upper end of the live regret's interval may lie, of what there is to win."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition of a promotion."""

    name: str
    passed: bool
    value: float | None
    """What was measured; None where it was not."""
    limit: float
    says: str
    """For a person: what was asked, and by how much it was missed."""

    def as_dict(self) -> dict[str, Any]:
        """For the student's card and for JSON."""
        return {
            "name": self.name,
            "passed": self.passed,
            "value": self.value,
            "limit": self.limit,
            "says": self.says,
        }


def replay_gates(proposers: Mapping[str, Mapping[str, Any]], student: str) -> list[Gate]:
    """The gates on the record: all of its draws are valid, and it predicts better than counts do.

    Args:
        proposers: figures of a race.
        student: its name in there.
    """
    ours, counts = proposers[student], proposers[MARGINAL]
    validity, nll, limit = float(ours["validity"] or 0.0), ours["nll"], counts["nll"]
    gates = [
        Gate(
            name="validity",
            passed=validity >= 1.0,
            value=validity,
            limit=1.0,
            says=f"{100 * validity:.1f} % of its proposals are valid, and all must be",
        )
    ]
    if nll is None or limit is None:
        passed, by = False, "not comparable with"
    else:
        passed, by = nll < limit, f"{abs(nll - limit):.3f} nats {'below' if nll < limit else 'above'}"
    gates.append(
        Gate(
            name="nll",
            passed=passed,
            value=nll,
            limit=float(limit or 0.0),
            says=f"its negative log-likelihood of held-out choices is {by} that of counts alone, and must be below",
        )
    )
    return gates


def live_gate(live: Mapping[str, Any] | None) -> Gate:
    """The gate on live campaigns against its teacher, paired on the same tasks.

    Args:
        live: `{"regret_difference": {"mean", "low", "high"}, …}`, student less teacher; None: there was no live race.
    """
    name, limit = "live_regret", REGRET_MARGIN
    if live is None:
        return Gate(name=name, passed=False, value=None, limit=limit, says="the live gate was not run")
    high = float(live["regret_difference"]["high"])
    says = f"its regret may be up to {high:+.3f} above its teacher's, and at most {limit:+.3f} is allowed"
    return Gate(name=name, passed=high < limit, value=high, limit=limit, says=says)


def read_live(path: Path) -> dict[str, Any]:
    """The result of a live race in a file: that of `nightshift race --live TABLE --out`, or its part `live`.

    Raises:
        UserError: it cannot be read, or is no such result.
    """
    fix = "make one: `nightshift race STUDENT TEACHER --live TABLE --out FOLDER`, which leaves race.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found = found.get("live", found)
        for end in ("mean", "low", "high"):
            float(found["regret_difference"][end])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the live race cannot be read ({error!r})", where=str(path), fix=fix) from error
    return found


def judge(gates: list[Gate], *, replay_only: bool) -> list[Gate]:
    """The gates that count, when they are all passed.

    Args:
        gates: of replay and live.
        replay_only: do without the live gate where it was not run.

    Raises:
        UserError: one failed: which, and by how much.
    """
    waived = [gate for gate in gates if replay_only and gate.name == "live_regret" and gate.value is None]
    failed = [gate for gate in gates if not gate.passed and gate not in waived]
    if not failed:
        return gates
    what = "it is not promoted: " + "; ".join(f"{gate.name}: {gate.says}" for gate in failed)
    only_live = [gate.name for gate in failed] == ["live_regret"] and failed[0].value is None
    fix = "run a live race and give it with --live FILE, or say --replay-only" if only_live else "train a better one"
    raise UserError(what, fix=fix)
