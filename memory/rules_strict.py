"""Keep rule `strict`: any improvement counts. What other loops do, and the control for our own rules."""

from memory.rules_base import Decision, Evidence, conclude, estimate, first_step


class StrictRule:
    """Keeps iff the candidate's mean over the shared seeds is better, by however little."""

    name = "strict"

    def decide(self, evidence: Evidence) -> Decision:
        """One shared measurement, then keep or discard."""
        early = first_step(evidence, self.name)
        if early is not None:
            return early
        found = estimate(evidence)
        return conclude("keep" if found.better else "discard", found, evidence, "", rule=self.name)
