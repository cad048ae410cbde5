"""How many examples a property test tries: few each time, its full number with --all."""

from hypothesis import settings

FEW = 25
_PROFILE = "few"


def try_few() -> None:
    """Have every property test of this process try few examples. Called before the modules of tests are imported."""
    settings.register_profile(_PROFILE, settings(), max_examples=FEW)
    settings.load_profile(_PROFILE)


def examples(full: int) -> int:
    """What `max_examples` of a property test is to be, of which `full` are tried with --all."""
    return min(full, FEW) if settings.get_current_profile_name() == _PROFILE else full
