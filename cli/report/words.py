"""The sentences of the report: the result first, and honestly how it is known."""

from agents.registry import STUDENT
from cli.report import text
from memory.figures.campaign import MeasuredGain, ReportData, Result
from memory.figures.costs import Costs
from memory.figures.findings import CriticRecord
from memory.figures.seconds import TimeSpent
from rails.status import Status
from rails.text import UNCORRECTED
from studies.distil.card import FEW_ROWS


def headline(data: ReportData, result: Result, time: TimeSpent, costs: Costs) -> str:
    """The sentence a person wants first."""
    trials = text.counted(len(data.search), "trial")
    simpler = len(data.keeps) - len(data.gains)
    keeps = text.counted(len(data.gains), "keep") + (f" and {simpler:,} kept as simpler" if simpler else "")
    spent = ["time not measured" if time.active_s is None else text.duration(time.active_s)]
    spent.append("energy not measured" if costs.energy.total is None else text.energy(costs.energy.total))
    match result.kind:
        case "unmeasured":
            lead = f"No baseline yet: {trials}" if data.search else "No trial has been measured yet"
        case "nothing":
            lead = f"Nothing was kept in {trials}" if data.search else "Only the baseline has been measured"
            if data.undone:
                lead = f"What was kept was disqualified: nothing is left of {trials}"
        case _:
            lead = f"{_gain(result.told)} over the baseline, {keeps} in {trials}"
    return f"{lead}, {', '.join(spent)}"


def _gain(found: MeasuredGain | None) -> str:
    return "An unknown gain" if found is None else text.gain(found.gain, found.margin)


def how_known(data: ReportData, result: Result) -> list[str]:
    """What stands behind the headline: one paragraph a claim."""
    match result.kind:
        case "unmeasured":
            return ["The baseline has no score yet, so nothing can be compared with it."]
        case "nothing":
            told = [_nothing(data)]
        case "fresh":
            told = _fresh(result)
        case _:
            told = _searched(data, result)
    return told + _undone(data) + _looks(result)


def _undone(data: ReportData) -> list[str]:
    return [
        f"Trial {trial.seq} was kept in the search, and disqualified when the result was measured, so its keep was "
        f"undone: {text.line_of(trial.reason or '', 300)}."
        for trial in data.undone
    ]


def _looks(result: Result) -> list[str]:
    if not result.test_looks:
        return []
    return [
        f"The held-back test text of this corpus had been scored {_times(result.test_looks)} by then, over all "
        "campaigns in this store; each look makes the next less of a test."
    ]


def _nothing(data: ReportData) -> str:
    known = data.noise.sd is not None
    scale = f" One measurement spreads by {text.metric(data.noise.sd)} (sd)." if known else ""
    return f"The program is still the one that the night began with; no gain over it was proven.{scale}"


def _fresh(result: Result) -> list[str]:
    fresh, test = result.fresh, result.test
    assert fresh is not None
    seeds = text.counted(fresh.n_incumbent, "fresh seed")
    if result.true:
        return [
            f"Trial {result.trial} and the baseline by their true means, over all seeds that the table records: "
            f"{text.metric(fresh.incumbent)} against {text.metric(fresh.baseline)}, gain {text.percent(fresh.gain)}."
        ]
    told = [
        f"Trial {result.trial} and the baseline were measured again after the search, on {seeds} that decided nothing: "
        f"{text.metric(fresh.incumbent)} against {text.metric(fresh.baseline)}, gain {_with_interval(fresh)}."
        f"{_doubt(fresh)}"
    ]
    if test is not None:
        told.append(
            f"On the held-back test text: {_with_interval(test)} "
            f"({text.metric(test.incumbent)} against {text.metric(test.baseline)}).{_doubt(test)}"
        )
    return told


def _searched(data: ReportData, result: Result) -> list[str]:
    search = result.search
    why = why_not_fresh(data)
    if search is None:
        return [f"Trial {result.trial} was kept, but no measurement of it can be compared with the baseline. {why}"]
    counts = f"{_times(search.n_incumbent)} against {_times(search.n_baseline)} for the baseline"
    told = f"Estimated in the search, not re-measured: trial {result.trial}, measured {counts}"
    numbers = f"{text.metric(search.incumbent)} against {text.metric(search.baseline)}, gain {_with_interval(search)}"
    chosen = f"{UNCORRECTED}: it was kept because it looked good, so expect less"
    lines = [f"{told}, {numbers}, {chosen}.{_doubt(search)} {why}"]
    return lines + _as_stated(data, search)


def _as_stated(data: ReportData, search: MeasuredGain) -> list[str]:
    """The same gain as `nightshift analyze` has it, where a log's own baseline is not the mean of its draws."""
    start = None if data.baseline is None else data.baseline.metric
    if data.campaign.source is None or not start or start == search.baseline:
        return []
    gain = (start - search.incumbent if data.direction == "minimize" else search.incumbent - start) / abs(start)
    return [f"Over the one baseline that the log states, {text.metric(start)}, it is {text.percent(gain)}."]


def why_not_fresh(data: ReportData) -> str:
    """Why there is no result on fresh seeds."""
    final, campaign = data.campaign.final, data.campaign
    if campaign.source is not None:
        return "This is another loop's log: nothing was measured on fresh seeds."
    if final is not None and final.get("state") == "running":
        return "It is being measured again on fresh seeds."
    if final is not None:
        failures = text.listed(text.line_of(failure, 160) for failure in final.get("failures") or ())
        return f"Measuring it again failed{f': {failures}' if failures else ''}."
    if campaign.stop_reason is None or campaign.stop_reason.startswith("interrupted"):
        return "The campaign is not over: fresh seeds come at its end."
    return "No fresh seeds were asked for ([final] seeds is 0), or it ended before they could be measured."


def _doubt(found: MeasuredGain) -> str:
    if found.gain_low is None:
        return " How much of it is noise is not known."
    return "" if found.proven else " Its interval includes zero: this may be noise."


def _with_interval(found: MeasuredGain) -> str:
    if found.gain_low is None:
        return text.percent(found.gain)
    low, high = found.gain_low, found.gain_high
    return f"{text.estimate(found.gain, low, high)} {text.interval(low, high)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


ENOUGH_CHOICES = FEW_ROWS
"""From so many choices on the card of a corpus does not warn that they are few."""


def to_learn_from(data: ReportData) -> str:
    """Whether this campaign alone is enough record for a student, or for the one that proposed to be trained again."""
    choices = [trial for trial in data.search if (trial.edit or {}).get("kind") == "knob" and trial.gain is not None]
    kept = sum(trial.status is Status.KEEP for trial in choices)
    student = data.campaign.proposer.startswith(STUDENT)
    what = f"train {text.line_of(data.campaign.proposer, 60)} again" if student else "train a student on them"
    if len(choices) >= ENOUGH_CHOICES:
        enough = f"Enough to {what}"
    else:
        enough = f"Too few to {what}: {ENOUGH_CHOICES} are wanted, of several nights together if need be"
    return f"{text.counted(len(choices), 'change')} of one knob, {kept:,} of them kept, could be learnt from. {enough}."


def costs_lines(costs: Costs) -> list[tuple[str, str]]:
    """Name and value of what the night cost."""
    return [
        ("energy of the whole campaign", text.energy(costs.energy.total)),
        ("energy per confirmed keep", _per_keep(costs, text.energy(costs.joules_per_confirmed), costs.energy.total)),
        ("price of energy", _price(costs)),
        ("cost of energy", _money(costs, costs.energy_usd)),
        (
            "energy cost per confirmed keep",
            _per_keep(costs, _money(costs, costs.energy_usd_per_confirmed), costs.energy_usd),
        ),
        ("models, over their API", _api(costs)),
        ("models per confirmed keep", _per_keep(costs, _api_each(costs), costs.api_usd)),
    ]


def critic_lines(critic: CriticRecord) -> list[tuple[str, str]]:
    """Name and value of what the critic did, and what it cost."""
    redrafts = critic.redrafts
    became = f"{redrafts.keeps} kept, {redrafts.discarded} discarded, {redrafts.failed} failed"
    gain = f"; {text.percent(redrafts.gain)} confirmed" if redrafts.confirmed else ""
    rows = [
        ("asked about", text.counted(critic.asked, "proposal")),
        ("let pass", f"{critic.passed:,}"),
        ("asked for another draft", f"{critic.revise:,}"),
        ("vetoed", f"{critic.vetoed:,}"),
        ("drafts that were changed", f"{redrafts.trials:,}" + (f": {became}{gain}" if redrafts.trials else "")),
        ("requests", f"{critic.calls:,} in {text.duration(critic.seconds)}"),
    ]
    if critic.prompt_tokens is not None or critic.completion_tokens is not None:
        rows.append(("tokens", f"{critic.prompt_tokens or 0:,} in, {critic.completion_tokens or 0:,} out"))
    return rows if critic.usd is None else [*rows, ("cost", text.dollars(critic.usd))]


def _per_keep(costs: Costs, shown: str, total: float | None) -> str:
    if total is None:
        return shown
    return shown if costs.confirmed else "no keep is confirmed"


def _price(costs: Costs) -> str:
    if costs.usd_per_kwh is None:
        return "not known: [energy] usd_per_kwh in task.toml, or --usd-per-kwh"
    return f"${costs.usd_per_kwh:g} per kWh"


def _money(costs: Costs, usd: float | None) -> str:
    if costs.energy.total is None:
        return "energy was not measured"
    return "its price is not known" if costs.usd_per_kwh is None else text.dollars(usd)


def _api(costs: Costs) -> str:
    if costs.api_requests == 0 and not costs.api_usd:
        return "$0.00: no model was asked"
    if costs.api_usd is None:
        asked = "" if costs.api_requests is None else f": {text.counted(costs.api_requests, 'request')} without a price"
        return f"not known{asked}"
    asked = "" if not costs.api_requests else f" for {text.counted(costs.api_requests, 'request')}"
    lacking = f", {costs.api_unpriced:,} of them without a price" if costs.api_unpriced else ""
    return f"{'at least ' if costs.api_unpriced else ''}{text.dollars(costs.api_usd)}{asked}{lacking}"


def _api_each(costs: Costs) -> str:
    return text.dollars(costs.api_usd_per_confirmed)
