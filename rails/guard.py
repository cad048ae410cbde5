"""The guard: registered validators in one guardrails-ai Guard over the raw reply.

What guardrails 0.11 does is used with care. The guard is one for strings: given a pydantic model it would parse the
JSON itself, leniently ("1" becomes 1, unknown keys pass, the last of two equal keys wins), so the `schema` rail parses
and validates with the strict models instead. Verdicts are read from the guard's own log of its validators, where no
failure is missing.
"""

from typing import Any

from rails.checks.context import RAILS, CheckResult, RailContext, RailVerdict, blocked_status
from rails.checks.judges import Inspection, inspect_in
from rails.menu import Menu

__all__ = ["RAILS", "CheckResult", "RailContext", "RailVerdict", "Rails", "blocked_status"]


class Rails:
    """The rails of one menu. Building them imports guardrails (seconds, once); a check then takes about a millisecond.

    Args:
        menu: the menu of every context that will be checked.
    """

    def __init__(self, menu: Menu) -> None:
        # Imported here: `nightshift status` and other commands that check nothing must not wait for guardrails.
        from rails.checks.validators import INSPECTION, make_validators  # isort: skip
        from guardrails import Guard

        self._menu = menu
        self._metadata_key = INSPECTION
        self._guard: Any = Guard.for_string(make_validators(), name="nightshift rails")
        self._guard.configure(allow_metrics_collection=False)

    def check(self, raw: str, context: RailContext) -> CheckResult:
        """Judge one raw reply.

        Raises:
            EditError: the incumbent in the context is itself not a program with a knobs class.
            ValueError: the context is about another menu.
        """
        if context.menu is not self._menu and context.menu != self._menu:
            raise ValueError("the context has another menu than these rails")
        inspection = inspect_in(context)
        # guardrails keeps the reply in pydantic models, which refuse half surrogate pairs. Escaped, the reply reads
        # the same to a JSON decoder, and the schema rail refuses it.
        text = raw.encode("utf-8", "backslashreplace").decode()
        self._guard.validate(text, metadata={self._metadata_key: inspection}, num_reasks=0)
        logs = self._guard.history.last.iterations.last.validator_logs
        verdicts = tuple(_verdict(log) for log in logs if log.registered_name not in inspection.passed_over)
        return _result(inspection, verdicts)


def _verdict(log: Any) -> RailVerdict:
    result = log.validation_result
    ok = result.outcome == "pass"
    return RailVerdict(rail=log.registered_name, ok=ok, reason=None if ok else result.error_message)


def _result(inspection: Inspection, verdicts: tuple[RailVerdict, ...]) -> CheckResult:
    failed = next((verdict for verdict in verdicts if not verdict.ok), None)
    return CheckResult(
        ok=failed is None,
        proposal=inspection.proposal,
        candidate_source=inspection.candidate_source,
        edit_key=inspection.edit_key,
        program_key=inspection.program_key,
        idea_key=inspection.idea_key,
        diff=inspection.diff,
        verdicts=verdicts,
        rail=failed.rail if failed is not None else None,
        reason=failed.reason if failed is not None else None,
    )
