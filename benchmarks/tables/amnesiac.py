"""A scripted model that remembers nothing: what it answers depends on the request in hand alone."""

import hashlib
import json
import math
import re
from typing import Any

from tests.support.chat_server import Received

Move = tuple[str, Any]

_NEVER = re.compile(r"^## Knobs never tried\n((?:- .*\n?)+)", re.MULTILINE)
_TRIED = re.compile(r"^## Tried values by knob, best first\n((?:- .*\n?)+)", re.MULTILINE)
_BEST = re.compile(r"^- (\w+): .*?([+-]\d+\.\d+) %", re.MULTILINE)
_SINCE = re.compile(r"^- trial \d+: (\w+)=\S+ → (?:.*?([+-]\d+\.\d+) %)?", re.MULTILINE)


def reply_to(request: Received) -> str:
    """The proposal, as the planner's JSON: see `benchmarks/tables/studies.py` for the policy."""
    text = "\n".join(str(message["content"]) for message in request.messages)
    moves = _offered(request)
    chosen = _lot(text, _worth_a_look(text, moves) or moves)
    return json.dumps({"knob": chosen[0], "new_value": chosen[1], "reason": "as the prompt says"})


def _offered(request: Received) -> list[Move]:
    """The moves that the reply's schema lists, nearest values first."""
    schema = request.body["response_format"]["json_schema"]["schema"]
    branches = (branch["properties"] for branch in schema.get("anyOf", [schema]))
    knobs = [branch for branch in branches if "enum" in branch.get("new_value", {})]
    return [(knob["knob"]["const"], value) for knob in knobs for value in knob["new_value"]["enum"]]


def _worth_a_look(text: str, moves: list[Move]) -> list[Move]:
    """By the lineage block: moves on knobs never tried, else on the knob whose best move gained most; none without."""
    since = _SINCE.findall(text.partition("\n## Since then\n")[2].partition("\n## ")[0])
    never = {name for block in _NEVER.findall(text) for name in re.findall(r"\w+", block)}
    never -= {name for name, _ in since}
    if untouched := [move for move in moves if move[0] in never]:
        return untouched
    gains = {name: float(gain) for block in _TRIED.findall(text) for name, gain in _BEST.findall(block)}
    for name, gain in since:
        gains[name] = max(gains.get(name, -math.inf), float(gain or "-inf"))
    promising = sorted((name for name in gains if gains[name] > 0), key=gains.__getitem__, reverse=True)
    return next((found for name in promising if (found := [move for move in moves if move[0] == name][:1])), [])


def _lot(text: str, moves: list[Move]) -> Move:
    return moves[int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % len(moves)]
