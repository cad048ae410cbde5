"""Finding the one object in a raw reply: total, strict, and lenient only about wrapping."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rails.checks.replies import MAX_REPLY_BYTES, ReplyError, parse_reply

SCALARS = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=30)
OBJECTS = st.dictionaries(TEXT, SCALARS | TEXT, max_size=5)


@given(OBJECTS)
def test_an_object_reads_as_itself(found: dict[str, object]) -> None:
    assert parse_reply(json.dumps(found)) == found


@given(OBJECTS, st.sampled_from(["", "\ufeff"]), st.sampled_from(["", "<think>a {b} c</think>"]), st.booleans())
def test_wrapping_is_taken_off_once(found: dict[str, object], mark: str, thinking: str, fenced: bool) -> None:
    text = json.dumps(found)
    wrapped = f"```json\n{text}\n```" if fenced else text
    assert parse_reply(f"{mark}{thinking}\n{wrapped}\n") == found


@given(
    st.text(alphabet=st.characters(exclude_categories=())) | st.text(alphabet='{}[]",:0123456789eE.-+`\\untr <think>/')
)
@example("{" * 5_000)
@example('{"a":' * 5_000)
@example('{"a": 1' + "0" * 5_000 + "}")
@example('{"a": -' + "1" * 5_000 + "}")
@example('{"a": ' + "1" * 60_000 + ".5}")
def test_any_text_gives_an_object_or_a_reason(raw: str) -> None:
    try:
        found = parse_reply(raw)
    except ReplyError as error:
        assert 0 < len(error.what) < 240
        assert error.what.isprintable()
    else:
        json.dumps(found, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "empty"),
        ("no object here", "no JSON object"),
        ('{"a": 1, "a": 2}', "same key appears twice"),
        ('{"a": {"b": 1, "b": 1}}', "same key appears twice"),
        ('{"a": NaN}', "NaN and Infinity"),
        ('{"a": 1e400}', "too large to be finite"),
        ('{"a": "\\ud83d"}', "half of a surrogate pair"),
        ('{"\\ud83d": 1}', "half of a surrogate pair"),
        ('{"a": ' + "1" * 41 + "}", "an integer of 41 digits"),
        ('{"a": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}', "nested deeper"),
        ('{"a": 1} {"b": 2}', "text after the JSON object"),
        ('{"a": 1} thanks', "text after the JSON object"),
        ('```\n{"a": 1}', "not closed"),
        ('{"a": 1}\n```', "text after the JSON object"),
        ("<think>hm", "reasoning never ends"),
        ('{"a" 1}', "Expecting ':' delimiter at character 6"),
        ('{"a": "' + "é" * (MAX_REPLY_BYTES // 2) + '"}', "longer than 64 KiB"),
    ],
)
def test_what_is_wrong_is_said(raw: str, reason: str) -> None:
    with pytest.raises(ReplyError, match=reason):
        parse_reply(raw)


def test_a_whole_surrogate_pair_is_text() -> None:
    assert parse_reply('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


def test_a_reply_of_the_largest_size_is_read() -> None:
    raw = '{"a": "' + "x" * (MAX_REPLY_BYTES - 9) + '"}'
    assert len(raw) == MAX_REPLY_BYTES
    assert len(parse_reply(raw)["a"]) == MAX_REPLY_BYTES - 9
