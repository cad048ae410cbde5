"""The learning rate over the budget."""

from hypothesis import given
from hypothesis import strategies as st

from trainer.train import Knobs, lr_scale

unit = st.floats(0, 1, allow_nan=False)


def test_it_rises_stays_and_falls() -> None:
    knobs = Knobs(warmup_frac=0.1, warmdown_frac=0.5, final_lr_frac=0.2)
    shape = [round(lr_scale(progress, knobs), 6) for progress in (0.0, 0.05, 0.1, 0.3, 0.5, 0.75, 1.0)]
    assert shape == [0.0, 0.5, 1.0, 1.0, 1.0, 0.6, 0.2]


def test_without_warm_up_and_warm_down_it_is_flat() -> None:
    knobs = Knobs(warmup_frac=0.0, warmdown_frac=0.0)
    assert [lr_scale(progress, knobs) for progress in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


@given(unit, unit, unit, unit)
def test_it_stays_within_bounds_and_never_jumps(progress: float, warmup: float, share: float, final: float) -> None:
    warmup, share = 0.05 + 0.9 * warmup, 0.01 + 0.98 * share
    knobs = Knobs(warmup_frac=warmup, warmdown_frac=share * (1 - warmup), final_lr_frac=final)
    steepest = 1 / min(warmup, knobs.warmdown_frac)
    here, there = lr_scale(progress, knobs), lr_scale(min(1.0, progress + 1e-4), knobs)
    assert 0.0 <= here <= 1.0
    assert abs(here - there) <= 1.01e-4 * steepest + 1e-9
