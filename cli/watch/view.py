"""The picture that `nightshift watch` draws: lines of text that fit a terminal of any size, and rely on no colour."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from textwrap import wrap

from rich.cells import cell_len, set_cell_size

from cli.show.status import has_result, result_lines, state_text
from cli.terminal.output import gain_text, percent, printable, score_text, seconds
from cli.terminal.plot import Frame, Series, plot
from cli.watch.watcher import JOULES_PER_KWH, Record, Sight, remaining, trials_per_hour
from graph.watching.live import LiveState, LiveTraining
from memory.records import CampaignState, Event, Trial
from memory.records.metric import metric_of
from rails.clocks import counts_time
from rails.status import FINISHED
from rails.text import UNCORRECTED

_PLAIN = str.maketrans(
    {"·": "|", "–": "-", "…": "~", "±": "+-", "│": "|", "─": "-", "×": "x", "“": '"', "”": '"', "’": "'"}
)
_SMALLEST_PLOT, _LARGEST_PLOT = 3, 14
_NOTE_S = 60.0
"""How long something that was said is shown, when it is not an event."""
_WIDE = 100
"""From this width on gains have their interval, and failures their reason."""


@dataclass(frozen=True, slots=True)
class Size:
    """What there is to draw on."""

    width: int
    height: int
    plain: bool = False
    """Use nothing but ASCII."""
    once: bool = False
    """Printed and left, not drawn again and again: no more lines than there is something to say."""


def picture(sight: Sight, size: Size) -> list[str]:
    """Lines for the whole terminal: at most `size.height`, none wider than `size.width` (20 at least)."""
    width = max(20, size.width)
    head, foot = _head(sight, width), _foot(sight, size)
    room = size.height - len(head) - len(foot)
    trials = [] if sight.record is None else [t for t in sight.record.trials if t.status is not None]
    body: list[str] = []
    if sight.live is not None:
        title, curve = _now(sight, sight.live, width), 0
        if room >= _SMALLEST_PLOT + 5:
            curve = max(_SMALLEST_PLOT, min(_LARGEST_PLOT, 6 * (room - 5) // 11))
        body += ["", *title]
        body += _curve(sight, Size(width, curve, size.plain)) if curve else []
    table = _trials(trials, width, room - len(body) - 1)
    body += ["", *table] if table else []
    if not size.once:
        body += [""] * (room - len(body))
    lines = [*head, *body[: max(0, room)], *foot][: size.height]
    return [_fitted(line.translate(_PLAIN) if size.plain else line, width, size.plain) for line in lines]


def _fitted(line: str, width: int, plain: bool) -> str:
    """A line without anything that could act on a terminal, cut to its width."""
    line = printable(line.replace("\n", " ").replace("\t", " "))
    line = ascii(line)[1:-1].replace("\\'", "'").replace("\\\\", "\\") if plain and not line.isascii() else line
    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + ("~" if plain else "…")


def _between(left: str, right: str, width: int) -> str:
    """Two texts at the two ends of a line; the left one gives way."""
    room = width - cell_len(right) - 2
    return f"{set_cell_size(left, max(0, room))}  {right}" if room > 0 else right


def _head(sight: Sight, width: int) -> list[str]:
    """Who works on what, since when, and what has come of it."""
    state, active_s = sight.state, sight.active_s
    clock = state if active_s is None else f"{state} {seconds(active_s)}"
    if sight.record is None:
        text = "the loop is starting" if sight.at_work else "no campaign has begun here yet; waiting for one"
        return [_between("nightshift", clock if sight.at_work else "", width), text]
    campaign = sight.record.campaign
    lineage = "on" if campaign.lineage else "off"
    settings = (
        f"{campaign.proposer} · lineage {lineage} · rule {campaign.keep_rule} · isolation {campaign.isolation}"
        f"{' · ' + str(campaign.hardware['device_name']) if campaign.hardware.get('device_name') else ''}"
    )
    lines = [_between(f"nightshift {campaign.branch}", clock, width), settings, *_best(sight.record)]
    lines += [_rates(sight.record), _spent(sight, sight.record)]
    if sight.live is None:
        at = {**sight.record.document, "state": state}
        told = result_lines(campaign.final, metric_of(campaign.task).decimals)
        said = [*told, "the loop is starting" if state == "starting" else state_text(at)]
        lines += [part for line in said for part in wrap(line, width)]
    return lines


def _best(record: Record) -> Iterator[str]:
    baseline, incumbent = record.document["baseline"], record.document["incumbent"]
    if baseline is None:
        yield "baseline: not measured yet"
        return
    decimals = metric_of(record.campaign.task).decimals
    spread = "" if baseline["sd"] is None else f" ± {score_text(baseline['sd'], decimals)}"
    text = f"baseline {score_text(baseline['score'], decimals)}{spread}"
    if incumbent is None or incumbent["trial"] == 0:
        yield f"{text} · nothing is kept yet"
        return
    best = f"{text} · best {score_text(incumbent['score'], decimals)}, trial {incumbent['trial']}"
    if has_result(record.campaign.final):
        yield best
        return
    gain = gain_text(incumbent["gain"], incumbent["gain_low"], incumbent["gain_high"])
    yield f"{best}: {gain}, {UNCORRECTED}"


def _rates(record: Record) -> str:
    statuses, pace = record.document["statuses"], trials_per_hour(record.trials)
    done = sum(statuses.values())
    kept = f" · keep rate {100 * statuses.get('keep', 0) / done:.1f} %" if done else ""
    rate = "" if pace is None else f" · {pace:.3g} an hour"
    often = sorted(statuses.items(), key=lambda item: -item[1])
    counts = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in often)
    return f"{done} trial{'' if done == 1 else 's'}{kept}{rate}{f': {counts}' if counts else ''}"


def _spent(sight: Sight, record: Record) -> str:
    """Money, energy, and how long it is to the next limit. What no meter counts is said to be so."""
    joules, usd = sight.joules, sight.usd
    parts = ["no model costs" if usd is None else f"{usd:.4g} usd"]
    parts.append("energy not measured" if joules is None else _energy(joules, record))
    left = remaining(record.campaign.limits, record.trials, sight.active_s or 0.0, usd, joules)
    if left is not None and sight.live is not None and not sight.live.result:
        parts.append(_eta(left.what, left.seconds, sight.live.state is CampaignState.PAUSED))
    return " · ".join(parts)


def _energy(joules: float, record: Record) -> str:
    kwh, price = joules / JOULES_PER_KWH, (record.campaign.task.get("energy") or {}).get("usd_per_kwh")
    return f"{kwh:.3g} kWh" + ("" if price is None else f" ({kwh * price:.2g} usd)")


def _eta(what: str, left_s: float | None, paused: bool) -> str:
    if left_s is None:
        return f"{what} left"
    then = "" if paused else f", {datetime.now().astimezone() + timedelta(seconds=left_s):%a %H:%M}"
    return f"{what} left: about {seconds(left_s)}{then}"


def _now(sight: Sight, live: LiveState, width: int) -> list[str]:
    """What the loop does at this moment."""
    since_s = None if live.phase_since_s is None else max(0.0, sight.now_s - live.phase_since_s)
    if live.state in {CampaignState.PAUSED, CampaignState.WAITING}:
        held_s = 0.0 if live.state_since_s is None else max(0.0, sight.now_s - live.state_since_s)
        return [f"{live.state} for {seconds(held_s)}: {live.state_reason or ''}"]
    if live.trial is None:
        return [f"preparing data: {live.preparing}" if live.preparing else "starting"]
    who = f"result: trial {live.trial}" if live.result else f"trial {live.trial}"
    edit = f" {live.edit}" if live.edit else ""
    attempt = f", attempt {live.attempt + 1}" if live.attempt else ""
    training = live.training
    if live.phase == "training" and training is not None:
        again = "" if training.measured == live.trial else f" trial {training.measured} again"
        return [_between(f"{who}{edit}: training{again}, seed {training.seed_index}", _progress(live, training), width)]
    doing = "between two trials" if live.phase == "between" else live.phase
    step = f" · {live.planning}" if live.phase == "proposing" and live.planning else ""
    return [_between(f"{who}{edit}: {doing}{attempt}{step}", f"for {seconds(since_s)}", width)]


def _progress(live: LiveState, training: LiveTraining) -> str:
    kind, amount = live.budget.get("kind"), live.budget.get("amount")
    used = f"step {training.step}"
    if counts_time(kind) and amount is not None:
        unit = "CPU s" if kind == "cpu_seconds" else "s"
        used = f"step {training.step}, {training.elapsed_s:.1f} of {amount:g} {unit}"
    elif kind == "steps" and amount is not None:
        used = f"step {training.step} of {amount:g}, {training.elapsed_s:.1f} s"
    loss = "" if training.loss is None else f"  loss {training.loss:.4f}"
    return f"{100 * training.fraction:3.0f} %  {used}{loss}"


def _curve(sight: Sight, size: Size) -> list[str]:
    """The curve of the training in hand, over the incumbent's; as many lines as there is room for it."""
    live, record = sight.live, sight.record
    training = None if live is None else live.training
    points = [] if training is None else [(at, loss) for at, loss in training.curve if loss is not None]
    best = () if record is None or not points else record.best_curve
    right = "100 % of the budget" + ("; dotted: the best so far" if best else "")
    frame = Frame(size.width, size.height, 0.0, 1.0, "0 %", right, size.plain)
    lines = plot([Series(best, dotted=True), Series(points)], frame)
    return lines or [""] * (size.height + 1)


def _trials(trials: Sequence[Trial], width: int, room: int) -> list[str]:
    """The last trials, oldest first, under a header; empty without room for one."""
    if room < 2 or not trials:
        return []
    shown = trials[-(room - 1) :]
    wide = width >= _WIDE
    rows = [("trial", "status", "edit", "score", f"gain on parent, {UNCORRECTED}" if wide else "gain", "n", "time")]
    rows += [
        (
            str(t.seq),
            str(t.ended_as).replace("_", " "),
            t.edit_key or ("the baseline" if t.seq == 0 else "–"),
            score_text(t.metric),
            gain_text(t.gain, t.gain_low, t.gain_high) if wide else percent(t.gain),
            str(t.n_measurements),
            seconds(t.total_s),
        )
        for t in shown
    ]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    widths[1] = min(widths[1], 16)
    taken = sum(widths) - widths[2] + 2 * (len(widths) - 1)
    widths[2] = max(4, min(widths[2], width - taken))
    left = {1, 2, 4}
    lines: list[str] = []
    for number, row in enumerate(rows):
        cells = [_cell(text, widths[c], c in left) for c, text in enumerate(row)]
        why = f"  {_why(shown[number - 1])}" if wide and number else ""
        lines.append("  ".join(cells).rstrip() + why)
    return lines


def _cell(text: str, width: int, left: bool) -> str:
    text = printable(text.replace("\n", " "))
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return set_cell_size(text, width) if left else " " * (width - cell_len(text)) + text


def _why(trial: Trial) -> str:
    return "" if trial.status in FINISHED and trial.metric is not None else trial.reason or ""


def _foot(sight: Sight, size: Size) -> list[str]:
    """What happened to the loop, and how to leave."""
    lines: list[str] = []
    events: list[Event] = [] if sight.record is None else sight.record.document["events"]
    lines += [_event(event) for event in events[-(1 if size.height < 32 else 4) :]]
    note = _fresh_note(sight)
    if note is not None and not any(note == event.text for event in events):
        lines = [*lines, note] if size.height >= 32 else [note]
    if sight.trouble is not None:
        lines.append(f"the snapshot cannot be read just now: {sight.trouble}")
    if not size.once:
        lines.append("q quits")
    return ["", *lines] if len(lines) > 1 or size.once else lines


def _fresh_note(sight: Sight) -> str | None:
    """What the loop said lately."""
    live = sight.live
    if live is None or live.note_since_s is None or sight.now_s - live.note_since_s >= _NOTE_S:
        return None
    return live.note


def _event(event: Event) -> str:
    return f"{event.created_at.astimezone():%H:%M} {event.kind.replace('_', ' ')}: {event.text}"
