"""How much an endpoint really reads: a prompt of known length, held against the tokens that it says it has read.

A server may have a shorter context than models.toml states. Some refuse what is too long and say how much they take;
some drop the middle or the beginning of the prompt and answer all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agents.base import NoReplyError
from agents.model.endpoint import RequestRejectedError
from agents.model.refusals import Refusal

MAX_TRIED_TOKENS = 16_384
"""A longer context is not tried out: it may cost money, and prompts that are made to fit are shorter."""

_SAMPLE_WORDS = 300
_REPLY_TOKENS = 64
"""Left free beside the prompt, for the shortest answer and the template around the prompt."""
_CUT_SHARE = 0.9
"""A server that reports less than this share of a prompt has cut it; the estimate is far better than that."""
_SAFETY = 3.0
"""A long prompt takes more time a token than a short one."""
_AIM = 0.94
"""Of the stated context: the estimate may be some per cent off, and what does not fit by that would be refused."""
_STEP_TOKENS = 256
_FRAME_TOKENS = 12
"""Of a prompt, besides its words and what the endpoint puts around everything."""
_WORDS = ("river", "stone", "cloud", "metal", "grass", "light", "sound", "table", "paper", "glass", "water", "house")


class ContextVerdict(StrEnum):
    """What became of the long prompt."""

    TAKEN = "taken"
    CUT = "cut in silence"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """There was no answer, no count of tokens in it, or no time to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How long a prompt was by the endpoint's own count, and how long the answer took."""

    tokens: int | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextFinding:
    """What the endpoint's context is known to be."""

    verdict: ContextVerdict
    tried_tokens: int
    """Estimated length of the longest prompt that was sent."""
    read_tokens: int | None
    """What the endpoint says it has read of it."""
    limit_tokens: int | None
    """What fits, where a prompt was cut, or refused in favour of so much; None where nothing shows a limit."""
    note: str
    """The finding in a sentence, for people."""


def probe_context(
    read: Callable[[str], Reading], empty_tokens: int, context_tokens: int, seconds_left: Callable[[], float]
) -> tuple[ContextFinding, float | None]:
    """Send a short prompt for measure and one that should just fit; if that is refused without a reason, half of it.

    Args:
        read: sends a prompt.
        empty_tokens: what the endpoint counts for a prompt with next to nothing in it: its template.
        context_tokens: what models.toml states.
        seconds_left: until the probe has to end: a prompt that would take longer is made shorter.

    Returns:
        The finding, and the prompt tokens read per second (of the longest prompt that was read whole).
    """
    try:
        sample = read(_prompt(_SAMPLE_WORDS))
    except (NoReplyError, RequestRejectedError) as error:
        return _unknown(f"a prompt of {_SAMPLE_WORDS} words got no answer ({error})"), None
    if not sample.tokens or sample.tokens < _SAMPLE_WORDS:
        return _unknown("the endpoint does not say how many tokens it has read"), None
    rate = sample.tokens / max(sample.seconds, 1e-3)
    wanted = min(context_tokens, MAX_TRIED_TOKENS)
    affordable = int(rate * seconds_left() / _SAFETY)
    tokens = min(int(_AIM * wanted), affordable) - _REPLY_TOKENS
    if tokens <= sample.tokens:
        return _unknown(f"no time for a longer prompt than {sample.tokens} tokens, at {rate:.0f} a second"), rate
    around = min(empty_tokens + _FRAME_TOKENS, sample.tokens // 2)
    length = _Length(around, (sample.tokens - around) / _SAMPLE_WORDS)
    finding, reading = _try(read, tokens, length)
    if finding.verdict is ContextVerdict.REFUSED and finding.limit_tokens is None:
        half, half_reading = _try(read, tokens // 2 - _REPLY_TOKENS, length)
        if half.verdict is ContextVerdict.TAKEN:
            finding, reading = _refused_but(tokens, half), half_reading
    if finding.verdict is ContextVerdict.TAKEN and tokens + _REPLY_TOKENS < context_tokens:
        finding = _taken(tokens, finding.read_tokens, f"; {context_tokens} were not tried")
    if reading is not None and finding.verdict is not ContextVerdict.CUT and reading.tokens:
        rate = reading.tokens / max(reading.seconds, 1e-3)
    return finding, rate


def _prompt(words: int) -> str:
    return " ".join(_WORDS[n % len(_WORDS)] for n in range(words)) + "\n\nAnswer with the one word: yes"


@dataclass(frozen=True, slots=True)
class _Length:
    """How many tokens a prompt of so many words has, as measured on the short one."""

    around: int
    a_word: float

    def words(self, tokens: int) -> int:
        """The words of a prompt of so many tokens."""
        return int((tokens - self.around) / self.a_word)


def _try(read: Callable[[str], Reading], tokens: int, length: _Length) -> tuple[ContextFinding, Reading | None]:
    """Send a prompt of about so many tokens."""
    try:
        reading = read(_prompt(length.words(tokens)))
    except RequestRejectedError as error:
        return _refused(tokens, error.refusal), None
    except NoReplyError as error:
        return _unknown(f"a prompt of about {tokens} tokens got no answer ({error.what})", tokens), None
    if reading.tokens is None:
        return _unknown("the endpoint does not say how many tokens it has read", tokens), reading
    if reading.tokens < _CUT_SHARE * tokens:
        limit = max(_STEP_TOKENS, reading.tokens // _STEP_TOKENS * _STEP_TOKENS)
        note = f"of a prompt of about {tokens} tokens it read {reading.tokens}, without a word"
        cut = ContextVerdict.CUT
        found = ContextFinding(
            verdict=cut, tried_tokens=tokens, read_tokens=reading.tokens, limit_tokens=limit, note=note
        )
        return found, reading
    return _taken(tokens, reading.tokens, ""), reading


def _taken(tokens: int, read_tokens: int | None, more: str) -> ContextFinding:
    note = f"a prompt of {read_tokens} tokens was read whole{more}"
    verdict = ContextVerdict.TAKEN
    return ContextFinding(verdict=verdict, tried_tokens=tokens, read_tokens=read_tokens, limit_tokens=None, note=note)


def _refused(tokens: int, why: Refusal) -> ContextFinding:
    note = f"a prompt of about {tokens} tokens was refused ({why.what})"
    verdict = ContextVerdict.REFUSED
    return ContextFinding(
        verdict=verdict, tried_tokens=tokens, read_tokens=None, limit_tokens=why.context_tokens, note=note
    )


def _refused_but(tokens: int, half: ContextFinding) -> ContextFinding:
    limit = half.read_tokens
    note = f"a prompt of about {tokens} tokens was refused; one of {limit} was read whole"
    verdict = ContextVerdict.REFUSED
    return ContextFinding(verdict=verdict, tried_tokens=tokens, read_tokens=limit, limit_tokens=limit, note=note)


def _unknown(note: str, tried_tokens: int = 0) -> ContextFinding:
    verdict = ContextVerdict.UNKNOWN
    return ContextFinding(verdict=verdict, tried_tokens=tried_tokens, read_tokens=None, limit_tokens=None, note=note)
