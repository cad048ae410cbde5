"""The budget of the lineage block: never exceeded, lines whole, and what is left out is counted."""

import re

from hypothesis import given
from hypothesis import strategies as st

from memory.lineage.budget import Section, count_tokens, fit

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]), min_size=1, max_size=60)


def section(title: str, lines: list[str], priority: int = 1, more: int = 0) -> Section:
    return Section(title=title, priority=priority, lines=lines, order=list(range(len(lines)))[::-1], more=more)


@st.composite
def sections(draw: st.DrawFn) -> list[Section]:
    return [
        section(f"S{number}", [f"- {number}.{at} {draw(words)}" for at in range(draw(st.integers(0, 12)))], number + 1)
        for number in range(draw(st.integers(0, 5)))
    ]


@given(sections(), st.integers(40, 400))
def test_the_budget_holds_lines_are_whole_and_none_is_lost(parts: list[Section], budget: int) -> None:
    text = fit("# H", parts, budget)
    assert count_tokens(text) <= budget
    shown = text.splitlines()
    for part in parts:
        # A separator that Python splits lines at may stand inside a line.
        whole = [line for line in part.lines if f"\n{line}\n" in text]
        told = re.search(rf"## {part.title}\n(?:(?!## ).*\n)*?- … and (\d+) more\n", text)
        if f"## {part.title}" in shown:
            assert len(whole) + int(told[1] if told else 0) == len(part.lines)
        else:
            assert whole == []
            assert not part.lines or part.title in shown[-1]


def test_the_most_important_lines_stay_in_the_order_of_reading() -> None:
    part = section("S", [f"- line {number}" for number in range(9)])
    text = fit("# H", [part], 33)
    assert text == "# H\n\n## S\n- line 7\n- line 8\n- … and 7 more\n"


def test_what_always_fits_is_shown_and_others_share_the_rest() -> None:
    always = section("Best", ["- one", "- two"], priority=0)
    long, short = section("Long", ["- " + "word " * 10] * 20, 1), section("Short", ["- a", "- b", "- c"], 2)
    text = fit("# H", [long, short, always], 100)
    assert "- one\n- two\n" in text
    assert "- a\n- b\n- c\n" in text, "three lines of each before more of any"
    assert fit("# H", [always, long], 1).endswith("## Best\n- one\n- two\n\n(no room for: 1 of the sections)\n")
    assert fit("# H", [always, long], 40).endswith("## Best\n- one\n- two\n\n(no room for: Long)\n")


def test_lines_that_were_never_made_are_counted_too() -> None:
    assert fit("# H", [section("S", ["- a"], more=41)], 100).endswith("- a\n- … and 41 more\n")


def test_tokens_are_estimated_from_above() -> None:
    assert count_tokens("") == 0
    assert count_tokens("depth") == 1
    assert count_tokens("hyperparameter") == 3
    assert count_tokens("123456") == 2
    assert count_tokens("a b\nc") == 4
    assert count_tokens("→") == 2
    assert count_tokens("学习率") == 5, "letters beyond ASCII cost by their bytes"


@given(st.lists(words, max_size=6))
def test_the_estimate_adds_up_over_lines(lines: list[str]) -> None:
    assert count_tokens("".join(f"{line}\n" for line in lines)) == sum(count_tokens(line) + 1 for line in lines)
