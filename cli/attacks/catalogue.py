"""All the attacks there are."""

from cli.attacks.attack import Attack
from cli.attacks.clock_attacks import CLOCK
from cli.attacks.machine_attacks import MACHINE
from cli.attacks.scoring_attacks import SCORING

ATTACKS: tuple[Attack, ...] = (*SCORING, *CLOCK, *MACHINE)
