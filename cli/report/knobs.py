"""One small drawing a knob: which values it was given, and what they brought."""

from collections.abc import Sequence

from markupsafe import Markup

from cli.report import svg, text
from memory.figures.knobs import KnobHistory, Outcome, Value
from memory.figures.trajectory import quantile
from rails.status import FINISHED, Status

WIDTH, HEIGHT = 300.0, 132.0
_TOP, _BOTTOM, _LEFT, _RIGHT = 8.0, 96.0, 42.0, 292.0
_MOST_DOTS = 150
"""More trials than this on one knob are summed up by value."""


def gain_range(knobs: Sequence[KnobHistory]) -> tuple[float, float]:
    """The gains that all small drawings reach over: the best, zero, and losses but for the worst tenth."""
    gains = sorted(o.gain for knob in knobs for o in knob.outcomes if o.gain is not None)
    if not gains:
        return -0.01, 0.01
    high = max(gains[-1], 0.0)
    low = min(quantile(gains, 0.1), 0.0)
    low = max(gains[0], low - 0.3 * (high - low)) if gains[0] < low else low
    pad = 0.08 * ((high - low) or 0.01)
    return low - pad, high + pad


def panel(number: int, knob: KnobHistory, gains: tuple[float, float]) -> Markup:
    """One knob: its values to the right, gains upwards, failures below; all in one scale with the other knobs."""
    y = svg.Scale(gains[0], gains[1], _BOTTOM, _TOP)
    places = _places(knob)
    made = _frame(y)
    made += _default(knob, places)
    many = knob.trials > _MOST_DOTS
    made += _summed(knob, places, y) if many else _dots(knob.outcomes, places, y)
    made += _value_axis(knob, places)
    title = f"{text.line_of(knob.name, 64)}: gain by value"
    return svg.figure(f"knob-{number}", (WIDTH, HEIGHT), title, _describe(knob), made)


class Places:
    """Where a knob's values are drawn: numbers on their range, choices side by side."""

    def __init__(self, scale: svg.Scale | None, choices: Sequence[object]) -> None:
        self._scale, self._choices = scale, [str(choice) for choice in choices]

    def __call__(self, value: object) -> float:
        """The middle of a value, in pixels."""
        if self._scale is not None:
            return self._scale(float(value)) if isinstance(value, int | float) else self._scale.start
        slots = max(1, len(self._choices))
        index = self._choices.index(str(value)) if str(value) in self._choices else slots - 1
        return _LEFT + (_RIGHT - _LEFT) * (index + 0.5) / slots


def _places(knob: KnobHistory) -> Places:
    if knob.numeric and knob.low is not None and knob.high is not None:
        return Places(svg.Scale(knob.low, knob.high, _LEFT + 10, _RIGHT - 10, knob.logarithmic), ())
    known = list(dict.fromkeys([*knob.choices, *(o.value for o in knob.outcomes)]))
    return Places(None, known)


def _describe(knob: KnobHistory) -> str:
    best = max((o for o in knob.outcomes if o.gain is not None), key=lambda o: o.gain or 0.0, default=None)
    words = f"{text.counted(knob.trials, 'trial')}, {text.counted(knob.keeps, 'keep')}"
    if best is None:
        return f"{words}; none has a gain."
    return f"{words}. The best gain is {text.percent(best.gain)} at {text.value(best.value)}, trial {best.trial}."


def _frame(y: svg.Scale) -> list[Markup]:
    made: list[Markup] = []
    values = svg.ticks(100 * y.low, 100 * y.high, 3)
    for value in values:
        at = y(value / 100)
        kind = "zero" if abs(value) < 1e-9 else "grid"
        made.append(svg.tag("path", d=f"M{svg.number(_LEFT)} {svg.number(at)}H{svg.number(_RIGHT)}", class_=kind))
        shown = svg.tick_text(value, values)
        made.append(svg.text(_LEFT - 5, at + 4, f"+{shown}" if value > 0 else shown, anchor="end", class_="tick"))
    return made


def _dots(outcomes: Sequence[Outcome], places: Places, y: svg.Scale) -> list[Markup]:
    """Every trial; those of a choice side by side, so that none hides another."""
    seen: dict[float, int] = {}
    made: list[Markup] = []
    for outcome in sorted(outcomes, key=lambda o: o.status is Status.KEEP):
        x = places(outcome.value)
        nth = seen[x] = seen.get(x, 0) + 1
        x += (nth // 2) * (3 if nth % 2 else -3) if nth < 12 else 0
        made.append(_dot(outcome, x, y))
    return made


def _dot(outcome: Outcome, x: float, y: svg.Scale) -> Markup:
    gain = "" if outcome.gain is None else f", {text.percent(outcome.gain)}"
    tip = svg.tag("title", f"trial {outcome.trial}: {text.value(outcome.value)}, {outcome.status}{gain}")
    if outcome.gain is None:
        made = svg.tag if outcome.status in FINISHED else svg.cross
        return svg.cross(x, _BOTTOM + 8, 2.5, tip) if made is svg.cross else svg.circle(x, _BOTTOM + 8, 2, tip)
    if outcome.status is Status.KEEP:
        return svg.diamond(x, y(outcome.gain), 5, tip)
    if not y.holds(outcome.gain):
        return svg.arrow(x, _BOTTOM - 7, tip, down=True)
    return svg.circle(x, y(outcome.gain), 2.6, tip)


def _summed(knob: KnobHistory, places: Places, y: svg.Scale) -> list[Markup]:
    """By value: a line from lowest to highest gain, a box around the middle half, a stroke at the median; keeps."""
    made: list[Markup] = []
    for value in knob.values:
        x = _middle(value, places)
        if value.gains is None:
            continue
        low, quarter, median, upper, high = (y(gain) for gain in value.gains)
        n = svg.number
        made.append(svg.tag("path", d=f"M{n(x)} {n(low)}V{n(high)}", class_="spread"))
        made.append(svg.tag("rect", x=x - 3, y=upper, width=6.0, height=max(0.5, quarter - upper), class_="half"))
        made.append(svg.tag("path", d=f"M{n(x - 4)} {n(median)}h8", class_="median"))
        if value.failures:
            made.append(svg.cross(x, _BOTTOM + 8, 2.5, svg.tag("title", text.counted(value.failures, "failure"))))
    keeps = [o for o in knob.outcomes if o.status is Status.KEEP and o.gain is not None][:60]
    return made + [_dot(outcome, places(outcome.value), y) for outcome in keeps]


def _middle(value: Value, places: Places) -> float:
    first = places(value.value)
    return first if value.last is None else (first + places(value.last)) / 2


def _default(knob: KnobHistory, places: Places) -> list[Markup]:
    """Where the program began: a dotted line."""
    if knob.default is None:
        return []
    x = svg.number(places(knob.default))
    return [svg.tag("path", d=f"M{x} {svg.number(_TOP)}V{svg.number(_BOTTOM)}", class_="default")]


def _value_axis(knob: KnobHistory, places: Places) -> list[Markup]:
    at = HEIGHT - 8
    if knob.numeric and knob.low is not None and knob.high is not None:
        ends = ((knob.low, "start", _LEFT), (knob.high, "end", _RIGHT))
        made = [svg.text(x, at, text.value(v), anchor=anchor, class_="tick") for v, anchor, x in ends]
        middle = "by ratio" if knob.logarithmic else ""
        return [*made, svg.text((_LEFT + _RIGHT) / 2, at, middle, anchor="middle", class_="tick")] if middle else made
    known = list(dict.fromkeys([*knob.choices, *(o.value for o in knob.outcomes)]))
    room = (_RIGHT - _LEFT) / max(1, len(known))
    shown = [text.value(value) for value in known]
    if max(map(len, shown), default=0) * 6.2 > room:
        shown = [_cut(word, int(room / 6.2)) for word in shown] if room > 25 else []
    return [svg.text(places(v), at, w, anchor="middle", class_="tick") for v, w in zip(known, shown, strict=False)]


def _cut(word: str, length: int) -> str:
    return word if len(word) <= length else word[: max(1, length - 1)] + "…"
