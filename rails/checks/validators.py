"""The rails as guardrails-ai validators, under their stable names.

guardrails phones home unless told otherwise; `rails.bootstrap` must be imported before it. Importing it takes a second
or two: only `rails.guard.Rails` imports this module, when it is built.
"""

from typing import Any, ClassVar

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]  (silences guardrails: must come first)
from guardrails import settings
from guardrails.types.on_fail import OnFailAction
from guardrails.validator_base import FailResult, PassResult, ValidationResult, Validator, register_validator

from rails.checks.context import RAILS
from rails.checks.judges import JUDGES
from rails.text import REASON_LIMIT, shorten

settings.disable_tracing = True

INSPECTION = "inspection"
"""Key of the `Inspection` in the metadata that a guard hands to its validators."""


class RailValidator(Validator):
    """Base of all: asks the judge of its own name."""

    required_metadata_keys: ClassVar[list[str]] = [INSPECTION]

    def _validate(self, value: Any, metadata: dict[str, Any]) -> ValidationResult:
        reason = JUDGES[self.rail_alias](metadata[INSPECTION], value)
        # No metadata in the results: guardrails would replace what the next validator gets.
        return PassResult() if reason is None else FailResult(error_message=shorten(reason, REASON_LIMIT))


@register_validator(name="schema", data_type="string")
class SchemaValidator(RailValidator):
    """One strict JSON object in one of the allowed forms."""


@register_validator(name="menu", data_type="string")
class MenuValidator(RailValidator):
    """The knob is in the menu."""


@register_validator(name="range", data_type="string")
class RangeValidator(RailValidator):
    """The value is one that the knob may take."""


@register_validator(name="cross", data_type="string")
class CrossValidator(RailValidator):
    """The cross constraints hold."""


@register_validator(name="diff", data_type="string")
class DiffValidator(RailValidator):
    """The edit applies and leaves a program whose knobs the menu allows."""


@register_validator(name="novelty", data_type="string")
class NoveltyValidator(RailValidator):
    """The edit changes something and was not tried before."""


@register_validator(name="size", data_type="string")
class SizeValidator(RailValidator):
    """The program is estimated to fit in memory."""


@register_validator(name="outside", data_type="string")
class OutsideValidator(RailValidator):
    """The program can be measured."""


def make_validators() -> list[Validator]:
    """The validators, in order. Each ends the validation when it fails (REFRAIN stops guardrails' chain)."""
    classes = (
        SchemaValidator,
        MenuValidator,
        RangeValidator,
        CrossValidator,
        DiffValidator,
        NoveltyValidator,
        SizeValidator,
        OutsideValidator,
    )
    validators: list[Validator] = [validator(on_fail=OnFailAction.REFRAIN) for validator in classes]
    assert tuple(validator.rail_alias for validator in validators) == RAILS
    return validators
