"""What every stored row is: immutable, strict, times in UTC."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict


def utc_now() -> datetime:
    """The current time of day, in UTC, to the microsecond (what DuckDB keeps)."""
    return datetime.now(UTC)


class Record(BaseModel):
    """Base of every stored row: immutable, no unknown fields, no coercion, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def percent(share: float, digits: int = 1) -> str:
    """A share as people read it: `12.5 %`."""
    return f"{100 * share:.{digits}f} %"
