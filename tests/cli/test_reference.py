"""docs/cli.md is what the commands say of themselves."""

from pathlib import Path

from cli.reference import render


def test_the_reference_is_up_to_date() -> None:
    written = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == render(), "run `python -m cli.reference > docs/cli.md`"
