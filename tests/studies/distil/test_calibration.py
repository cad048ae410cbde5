"""The temperature of an adapter: found where there are rows enough, held near 1 where there are few."""

import numpy as np
import pytest

from agents.local.scorer import Vector
from studies.distil.language.calibration import fit_temperature


def drawn(rows: int, sureness: float) -> list[tuple[Vector, int]]:
    """Choices by true logits, with the logits of somebody who is so many times surer."""
    rng = np.random.default_rng(0)
    found: list[tuple[Vector, int]] = []
    for _ in range(rows):
        true = rng.normal(0, 1.5, size=20)
        chances = np.exp(true) / np.exp(true).sum()
        found.append((sureness * true + 7, int(rng.choice(20, p=chances))))
    return found


@pytest.mark.parametrize("sureness", [0.5, 1.0, 2.0])
def test_it_is_found_from_many_choices(sureness: float) -> None:
    assert fit_temperature(drawn(2000, sureness)) == pytest.approx(sureness, rel=0.1)


def test_few_choices_change_little_and_none_nothing() -> None:
    assert fit_temperature([]) == 1.0
    assert 1.0 < fit_temperature(drawn(3, 3.0)) < 2.5 < fit_temperature(drawn(2000, 3.0))
