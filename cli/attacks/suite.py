"""The whole suite on this machine: every attack, then the honest controls."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from cli.attacks.arena import Fought, Told, fight, make_arena, play_fair
from cli.attacks.attack import Arena, Attack
from cli.attacks.catalogue import ATTACKS
from cli.attacks.controls import CONTROLS
from cli.attacks.judge import Judged, Verdict, fair, judge
from cli.attacks.stage import Stage, set_stage

_CONTROL_SEEDS = (1, 2)
"""Each half of the controls is a campaign with a seed of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the suite found.

    Attributes:
        isolation: the level that trials ran at.
        attacks: one row an attack, in the order of the catalogue.
        controls: the honest programs, with what was wrong (empty: nothing).
    """

    isolation: str
    attacks: tuple[Judged, ...]
    controls: tuple[tuple[Fought, str], ...]

    @property
    def passed(self) -> bool:
        """Whether no attack did what this level promises to prevent, and every honest program went through."""
        return all(row.verdict is not Verdict.FAILED for row in self.attacks) and not any(
            wrong for _, wrong in self.controls
        )

    def to_json(self) -> dict[str, Any]:
        """Stable keys: `isolation passed attacks controls`."""
        return {
            "isolation": self.isolation,
            "passed": self.passed,
            "attacks": [row.to_json() for row in self.attacks],
            "controls": [
                {"name": fought.name, "status": fought.status, "passed": not wrong, "why": wrong}
                for fought, wrong in self.controls
            ],
        }


def run_suite(told: Callable[[str], None]) -> Report:
    """Run the attacks and the controls through the real loop, in a temporary folder.

    Args:
        told: called with a sentence whenever something is over.

    Raises:
        NightshiftError: the loop itself cannot run here.
    """
    with tempfile.TemporaryDirectory(prefix="nightshift-attacks-") as name, set_stage(Path(name).resolve()) as stage:

        def tell(fought: Fought) -> None:
            told(f"{fought.name}: {fought.status} ({fought.reason})")

        attacks, controls = run_attacks(stage, ATTACKS, tell), run_controls(stage, tell)
    return Report(isolation=controls[0][0].isolation, attacks=attacks, controls=controls)


def run_attacks(stage: Stage, attacks: Sequence[Attack], told: Told) -> tuple[Judged, ...]:
    """Run attacks, those of one arena after the other; the rows are in the order of `attacks`."""
    rows: dict[str, Judged] = {}
    for arena in get_args(Arena):
        chosen = [attack for attack in attacks if attack.arena == arena]
        if chosen:
            rows.update({fought.name: judge(fought) for fought in fight(stage, arena, chosen, told)})
    return tuple(rows[attack.name] for attack in attacks)


def run_controls(stage: Stage, told: Told) -> tuple[tuple[Fought, str], ...]:
    """Run the honest programs; with each what was wrong, empty when nothing."""
    root = make_arena(stage, "steps", "controls")
    size = -(-len(CONTROLS) // len(_CONTROL_SEEDS))
    fought: list[Fought] = []
    for part, seed in enumerate(_CONTROL_SEEDS):
        fought += play_fair(root, CONTROLS[part * size : (part + 1) * size], seed, told)
    return tuple((one, fair(one)) for one in fought)
