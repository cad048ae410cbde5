"""Raw replies as models write them, each with the rail that must refuse it (None: it must pass).

The menu is the kind that a GPT trainer has; the replies are in the shapes seen in recorded runs, and every way past a
naive checker is among them.
"""

import functools
import json
from dataclasses import dataclass
from typing import Any

from rails.guard import Rails
from rails.menu import Menu

MENU_FILE: dict[str, Any] = {
    "_doc": "notes for people are ignored",
    "_history": ["so", "is", "this"],
    "knobs": {
        "n_layer": {"type": "int", "range": [4, 48], "default": 24, "doc": "blocks"},
        "n_head": {"type": "int", "choices": [3, 4, 8, 16, 32], "default": 16, "doc": "attention heads"},
        "d_model": {"type": "int", "choices": [256, 512, 768, 1024, 1536, 2048], "default": 1024, "doc": "width"},
        "d_ff": {"type": "int", "choices": [1024, 2048, 4096, 6144, 8192], "default": 4096, "doc": "MLP width"},
        "lr": {"type": "float", "range": [1e-5, 1e-2], "default": 3e-4, "doc": "peak learning rate"},
        "lr_warmup": {"type": "int", "range": [0, 50], "default": 5, "doc": "steps"},
        "grad_clip": {"type": "float", "range": [0.1, 5.0], "default": 1.0, "doc": "norm"},
        "weight_decay": {"type": "float", "range": [0.0, 0.5], "default": 0.0, "doc": "AdamW"},
        "beta1": {"type": "float", "range": [0.5, 0.99], "default": 0.9, "doc": "AdamW"},
        "beta2": {"type": "float", "range": [0.8, 0.9999], "default": 0.95, "doc": "AdamW"},
        "batch_size": {"type": "int", "choices": [2, 4, 8, 16], "default": 16, "doc": "rows"},
        "seq_len": {"type": "int", "choices": [512, 1024, 2048], "default": 1024, "doc": "tokens"},
        "precision": {"type": "str", "choices": ["bf16", "fp8"], "default": "fp8", "doc": "compute"},
    },
    "cross_constraints": [
        {"id": "head_divides_model", "rule": "d_model % n_head == 0", "doc": "heads are equal"},
        {"id": "warmup_leaves_steps", "rule": "lr_warmup + 5 <= 30", "doc": "30 steps are run"},
    ],
}


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    raw: str
    rail: str | None


def knob(name: object, value: object, reason: object = "it may help") -> str:
    return json.dumps({"knob": name, "new_value": value, "reason": reason})


_GOOD = knob("lr", 1e-3)

PASSING = [
    Case("int in range", knob("n_layer", 12), None),
    Case("lowest value", knob("n_layer", 4), None),
    Case("highest value", knob("n_layer", 48), None),
    Case("float", knob("lr", 0.001), None),
    Case("lowest float", '{"knob": "lr", "new_value": 1e-5, "reason": "r"}', None),
    Case("int for a float", knob("grad_clip", 2), None),
    Case("choice", knob("d_model", 768), None),
    Case("whole float for an int", knob("n_layer", 12.0), None),
    Case("number as text", knob("n_layer", " 12 "), None),
    Case("float as text", knob("lr", "1e-3"), None),
    Case("whole float as text for an int", knob("d_model", "768.0"), None),
    Case("longest reason", knob("lr", 1e-3, "x" * 1_000), None),
    Case("text choice", knob("precision", "bf16"), None),
    Case("other key order", '{"reason": "r", "new_value": 8, "knob": "n_head"}', None),
    Case("white space", f"\n\t {_GOOD} \n", None),
    Case("byte order mark", f"\ufeff{_GOOD}", None),
    Case("fenced as json", f"```json\n{_GOOD}\n```", None),
    Case("fenced", f"```\n{_GOOD}\n```\n", None),
    Case("prose first", f"I propose a larger rate.\n\n{_GOOD}", None),
    Case("prose and fence", f"Here it is:\n```json\n{_GOOD}\n```", None),
    Case("reasoning first", f"<think>\nmaybe {{lr}}?\n</think>\n{_GOOD}", None),
    Case("reasoning whose start was cut", f"so I raise it</think>{_GOOD}", None),
    Case("warm-up at the edge of a rule", knob("lr_warmup", 25), None),
    Case("escaped and non-Latin reason", knob("lr", 2e-3, "größer → besser 学習率"), None),
    Case("fence inside the reason", knob("lr", 2e-3, "as in ```code```"), None),
    Case("brace inside the reason", knob("lr", 2e-3, "like {x}"), None),
]

BLOCKED = [
    Case("empty", "", "schema"),
    Case("blank", " \n\t ", "schema"),
    Case("refusal", "I'm sorry, I can't help with that.", "schema"),
    Case("truncated", _GOOD[:-9], "schema"),
    Case("not JSON", "{'knob': 'lr', 'new_value': 0.001, 'reason': 'x'}", "schema"),
    Case("trailing comma", _GOOD[:-1] + ",}", "schema"),
    Case("a list of proposals", f"[{_GOOD}, {_GOOD}]", "schema"),
    Case("two objects", f"{_GOOD}\n{_GOOD}", "schema"),
    Case("two fences", f"```json\n{_GOOD}\n```\n```json\n{_GOOD}\n```", "schema"),
    Case("text behind", f"{_GOOD}\nThis should help.", "schema"),
    Case("open fence", f"```json\n{_GOOD}\n", "schema"),
    Case("endless reasoning", "<think>well {maybe", "schema"),
    Case("a bare number", "3", "schema"),
    Case("a wrapped proposal", json.dumps({"proposal": json.loads(_GOOD)}), "schema"),
    Case("missing reason", '{"knob": "lr", "new_value": 0.001}', "schema"),
    Case("missing value", '{"knob": "lr", "reason": "r"}', "schema"),
    Case("additional key", '{"knob": "lr", "new_value": 0.001, "reason": "r", "confidence": 1}', "schema"),
    Case("misspelt key", '{"knob": "lr", "value": 0.001, "reason": "r"}', "schema"),
    Case("knob is no text", knob(3, 0.001), "schema"),
    Case("reason is no text", knob("lr", 0.001, ["a"]), "schema"),
    Case("endless reason", knob("lr", 0.001, "x" * 1_001), "schema"),
    Case("empty reason", knob("lr", 0.001, " \n "), "schema"),
    Case("value is null", knob("lr", None), "schema"),
    Case("value is a list", knob("lr", [0.001]), "schema"),
    Case("value is an object", knob("lr", {"to": 0.001}), "schema"),
    Case("NaN", '{"knob": "lr", "new_value": NaN, "reason": "r"}', "schema"),
    Case("infinity", '{"knob": "lr", "new_value": -Infinity, "reason": "r"}', "schema"),
    Case("a number too large for a float", '{"knob": "lr", "new_value": 1e999, "reason": "r"}', "schema"),
    Case("duplicate key", '{"knob": "lr", "new_value": 0.001, "new_value": 9, "reason": "r"}', "schema"),
    Case("duplicate key by escape", '{"knob": "lr", "\\u006bnob": "d_ff", "new_value": 1, "reason": "r"}', "schema"),
    Case("escaped half surrogate", '{"knob": "lr", "new_value": 0.001, "reason": "\\ud800"}', "schema"),
    Case("raw half surrogate", '{"knob": "lr", "new_value": 0.001, "reason": "\udc80"}', "schema"),
    Case("half surrogate as knob", '{"knob": "\\udfff", "new_value": 0.001, "reason": "r"}', "schema"),
    Case("newline in a string", '{"knob": "lr", "new_value": 0.001, "reason": "a\nb"}', "schema"),
    Case("deep nesting", '{"knob": ' + "[" * 30_000 + "]" * 30_000 + "}", "schema"),
    Case("a little deep nesting", '{"knob": ' + "[" * 20 + "]" * 20 + "}", "schema"),
    Case("5,000 digits", '{"knob": "n_layer", "new_value": ' + "9" * 5_000 + ', "reason": "r"}', "schema"),
    Case("100 digits", '{"knob": "n_layer", "new_value": ' + "9" * 100 + ', "reason": "r"}', "schema"),
    Case("oversize", knob("lr", 0.001, "x" * 70_000), "schema"),
    Case("diff in a form of neither", '{"diff": "x", "reason": "r"}', "schema"),
    Case("unknown knob", knob("dropout", 0.1), "menu"),
    Case("knob in other case", knob("LR", 0.001), "menu"),
    Case("knob with blanks", knob(" lr ", 0.001), "menu"),
    Case("look-alike knob", knob("ｌｒ", 0.001), "menu"),
    Case("empty knob", knob("", 0.001), "menu"),
    Case("code as knob", knob("lr; import os", 0.001), "menu"),
    Case("attribute as knob", knob("__class__", 0.001), "menu"),
    Case("below the range", knob("n_layer", 3), "range"),
    Case("above the range", knob("lr", 0.5), "range"),
    Case("barely above the range", knob("lr", 0.010000000000000002), "range"),
    Case("negative", knob("weight_decay", -0.1), "range"),
    Case("not a choice", knob("n_head", 12), "range"),
    Case("text as number", knob("precision", 8), "range"),
    Case("other digits", knob("n_layer", "１２"), "range"),
    Case("digits with an underscore", knob("n_layer", "1_2"), "range"),
    Case("endless text", knob("lr", "inf"), "range"),
    Case("text choice in other case", knob("precision", "BF16"), "range"),
    Case("true for a float", knob("weight_decay", True), "range"),
    Case("false for an int", knob("lr_warmup", False), "range"),
    Case("float for an int", knob("n_layer", 12.5), "range"),
    Case("expression as value", knob("lr", "1e-3*2"), "range"),
    Case("40 digits", '{"knob": "lr", "new_value": ' + "9" * 40 + ', "reason": "r"}', "range"),
    Case("heads do not divide the width", knob("n_head", 3), "cross"),
    Case("warm-up leaves no steps", knob("lr_warmup", 26), "cross"),
    Case("the default again", knob("lr", 3e-4), "novelty"),
    Case("the default, spelt otherwise", '{"knob": "lr", "new_value": 0.03e-2, "reason": "r"}', "novelty"),
    Case("the default as an int", knob("grad_clip", 1), "novelty"),
    Case("minus zero for zero", knob("weight_decay", -0.0), "novelty"),
]

CASES = PASSING + BLOCKED


@functools.cache
def corpus_menu() -> Menu:
    return Menu.model_validate({key: value for key, value in MENU_FILE.items() if not key.startswith("_")})


@functools.cache
def corpus_rails() -> Rails:
    return Rails(corpus_menu())


def corpus_source() -> str:
    """A training script whose knobs are the menu's, at their defaults."""
    fields = "\n".join(f"    {name}: {field.type} = {field.default!r}" for name, field in corpus_menu().knobs.items())
    return (
        '"""A script."""\n'
        "import math\n"
        "from dataclasses import dataclass\n\n\n"
        f"@dataclass\nclass Knobs:\n{fields}\n\n\n"
        "def schedule(knobs: Knobs, progress: float) -> float:\n"
        "    # half a cosine\n"
        "    return knobs.lr * (1 + math.cos(math.pi * progress)) / 2\n"
    )
