"""The result of a campaign whose task knows the truth: true means, with nothing measured for them."""

from typing import Any

from graph.services import Services
from memory.keep.comparable import evidence_of
from memory.keep.comparison import estimate
from memory.records import Trial
from memory.statistics.noise import Noise


def true_gain(services: Services, baseline: Trial, incumbent: Trial) -> dict[str, Any] | None:
    """What `Campaign.final` says of the incumbent, with how many seeds are behind it; None where nobody knows it."""
    programs = [services.source_of(trial) for trial in (baseline, incumbent)]
    before, after = (services.trainer.true_score(program) for program in programs)
    counts = [services.trainer.seeds(program) for program in programs]
    if before is None or after is None or None in counts:
        return None
    nothing = Noise(sd=None, df=0)
    found = estimate(evidence_of(services.campaign, nothing, ((0, after),), ((0, before),)))
    gain = found.gain
    return {
        "n": min(count for count in counts if count is not None),
        "val": {"baseline": before, "incumbent": after, "gain": gain, "gain_low": gain, "gain_high": gain},
    }
