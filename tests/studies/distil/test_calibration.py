"""The temperature of an adapter: found where there are rows enough, and never much below 1 where there are few."""

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


def test_without_choices_it_is_one() -> None:
    assert fit_temperature([]) == 1.0


def test_a_few_misses_make_a_model_less_sure_and_a_few_hits_hardly_surer() -> None:
    logits = np.array([3.0, 2.0, 0.0, 0.0])
    assert fit_temperature([(logits, 3)] * 3) > 2
    assert 0.6 < fit_temperature([(logits, 0)] * 3) < 1
