"""Numbers, drawings and the picture of the report."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from cli.report import small, svg, text
from cli.report.png import draw_png
from memory.figures.trajectory import trajectory_of
from rails.status import Status
from tests.support.report_data import FINAL, Night, many_trials_data

NBSP, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (text.gain(0.008, 0.002), "+0.80 % ± 0.20"),
        (text.gain(-0.1234, 0.05), f"{MINUS}12.3 % ± 5.0"),
        (text.gain(0.008, None), "+0.80 %"),
        (text.estimate(0.19034, 0.176, 0.2044), "+19.0 %"),
        (text.interval(-0.0122, 0.03), f"[{MINUS}1.2, +3.0]"),
        (text.interval(None, 0.1), "–"),
        (text.percent(-0.00001), "0.00 %"),
        (text.percent(0.00001), "0.00 %"),
        (text.metric(1.10604), "1.1060"),
        (text.metric(0.0049), "0.0049"),
        (text.metric(None), "–"),
        (text.duration(0.04), "<0.1 s"),
        (text.duration(38), "38 s"),
        (text.duration(2500), "42 min"),
        (text.duration(25_560), "7.1 h"),
        (text.duration(400_000), "4.6 days"),
        (text.energy(640), "640 J"),
        (text.energy(11_000), "3.1 Wh"),
        (text.energy(1.116e6), "0.31 kWh"),
        (text.energy(None), "not measured"),
        (text.dollars(0.00427), "$0.0043"),
        (text.dollars(12.4), "$12.40"),
        (text.dollars(0), "$0.00"),
        (text.dollars(None), "not known"),
        (text.share(0.999), ">99 %"),
        (text.share(0.001), "<1 %"),
        (text.share(1.0), "100 %"),
        (text.share(None), "–"),
        (text.counted(1, "keep"), "1 keep"),
        (text.counted(10_000, "trial"), "10,000 trials"),
        (text.listed(["a", "b", "c"]), "a, b and c"),
        (text.value(True), "true"),
        (text.value(-3), f"{MINUS}3"),
    ],
)
def test_numbers_read_well(shown: str, wanted: str) -> None:
    assert shown.replace(NBSP, " ") == wanted


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300))
def test_no_number_is_too_odd_to_be_shown(value: float, margin: float) -> None:
    for shown in (
        text.gain(value, margin),
        text.metric(value),
        text.duration(margin),
        text.energy(margin),
        text.dollars(margin),
    ):
        assert shown and "nan" not in shown


@given(st.text(), st.text())
def test_text_and_attributes_of_a_drawing_are_escaped(words: str, value: str) -> None:
    made = svg.tag("text", words, class_=value)
    assert isinstance(made, Markup)
    assert made.count("<") == (2 if text.seen(words) else 1) and made.count('"') == 2


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9), st.integers(2, 10))
def test_ticks_are_round_numbers_within_the_ends(low: float, span: float, about: int) -> None:
    high = low + span
    values = svg.ticks(low, high, about)
    assert len(values) <= 3 * about + 1
    slack = 1e-6 * (abs(low) + span)
    assert all(low - slack <= value <= high + slack for value in values)
    assert len({svg.tick_text(value, values) for value in values}) == len(values) or span < 1e-6 * abs(low)


def test_a_scale_stays_within_its_ends() -> None:
    scale = svg.Scale(1.0, 100.0, 0.0, 200.0, logarithmic=True)
    assert (scale(1), scale(10), scale(100)) == (0.0, pytest.approx(100.0), 200.0)
    assert (scale(-5), scale(1e9)) == (0.0, 200.0)
    assert svg.Scale(3, 3, 0, 10)(3) == 5.0


def test_an_interval_in_a_row_lies_on_the_shared_scale() -> None:
    ends = small.forest_ends([(0.01, -0.02, 0.04), (0.02, None, None)])
    assert ends == (-0.02, 0.04)
    drawn = str(small.forest(0.01, -0.02, 0.04, ends))
    assert 'x1="2.0%" x2="98.0%"' in drawn and 'cx="50.0%"' in drawn


def test_many_windows_of_repeats_are_averaged() -> None:
    drawn = str(small.windows([1.0] * 1000))
    assert drawn.count('class="bar"') <= 60 and "proposals 9,1" not in drawn
    assert str(small.windows([0.5, 1.0])).count('class="bar"') == 2


@pytest.mark.parametrize("trials", [0, 3, 60, 3000])
def test_the_picture_is_a_png_of_the_same_data(trials: int) -> None:
    picture = draw_png(trajectory_of(many_trials_data(trials)), "a headline with $\\frac{1}{0}$ and <b>")
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height > 700) == (1500, True)
    assert len(picture) < 300_000


def test_the_picture_needs_no_font_of_the_machine() -> None:
    # Without a font all text is left out, and both pictures are the same.
    nothing = trajectory_of(many_trials_data(0))
    assert draw_png(nothing, "one headline") != draw_png(nothing, "another headline")


def test_a_long_headline_is_wrapped() -> None:
    def height(headline: str) -> int:
        return struct.unpack(">I", draw_png(trajectory_of(many_trials_data(0)), headline)[20:24])[0]

    assert height("word " * 60) > height("word " * 20) == height("word")


def test_the_picture_of_a_night_with_everything_in_it_and_of_one_with_nothing() -> None:
    night = Night([2.0, 2.02, 1.98])
    night.add(Status.KEEP, [1.94], gain=0.03, gain_low=0.01, gain_high=0.05, edit_key="$x^{")
    night.add(Status.KEEP, [1.93], gain=0.01, gain_low=-0.01, gain_high=0.03)
    night.add(Status.DISCARD, [900.0])
    night.add(Status.CRASH, [])
    assert draw_png(trajectory_of(night.data(final=FINAL)), "everything")
    assert draw_png(
        trajectory_of(night.data(task={"metric": {"name": "\N{PILE OF POO} $^"}})), "\x1b[31m \N{PILE OF POO}"
    )
    night.trials.clear()
    assert draw_png(trajectory_of(night.data()), "nothing")


def test_higher_is_better_turns_the_picture_over() -> None:
    night = Night([0.5, 0.52], task={"metric": {"name": "accuracy", "direction": "maximize"}})
    night.add(Status.KEEP, [0.6], gain=0.2, gain_low=0.1, gain_high=0.3)
    night.add(Status.DISCARD, [0.001])
    assert draw_png(trajectory_of(night.data()), "up")
    assert math.isclose(trajectory_of(night.data()).steps[-1].metric, 0.6)
