"""The rails as plain functions over one inspection. Each says why the proposal fails, or None.

They run in the order of `RAILS` and stop at the first failure, so each may rely on what those before it found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rails.checks.context import RailContext
from rails.checks.replies import ReplyError, parse_reply, refuse_text, split_reply
from rails.expressions import ExpressionError
from rails.menu import KnobValue
from rails.proposal import (
    Proposal,
    ProposalError,
    RawCode,
    RawKnob,
    RawKnobs,
    code_proposal,
    is_header,
    knob_proposal,
    knobs_proposal,
    read_raw,
)
from rails.source.code_reply import apply_code
from rails.source.contract import broken_contract
from rails.source.diffs import changed_lines, unified_diff
from rails.source.edits import changed_knobs, edit_key
from rails.source.lint import forbidden_use
from rails.source.names import undefined_use
from rails.source.program import EditError, Literal, Program, parse_program
from rails.source.surface import knob_problem, rule_problem
from rails.text import closest, quote


@dataclass(slots=True)
class Inspection:
    """One proposal under inspection: what is known of it so far."""

    context: RailContext
    program: Program | None
    """The incumbent; None without a source."""
    knobs: dict[str, Literal]
    """Knob values: the incumbent's, then the candidate's once they are known."""
    raw: RawKnob | RawKnobs | RawCode | None = None
    proposal: Proposal | None = None
    candidate_source: str | None = None
    program_key: str | None = None
    idea_key: str | None = None
    edit_key: str | None = None
    diff: str | None = None
    passed_over: set[str] = field(default_factory=set[str])
    """Rails that had nothing to judge: they are not reported as passed."""


def inspect_in(context: RailContext) -> Inspection:
    """Begin an inspection.

    Raises:
        EditError: the incumbent itself is not a program with a knobs class.
    """
    knobs: dict[str, Literal] = dict(context.menu.defaults())
    if context.source is None:
        return Inspection(context, None, knobs)
    program = parse_program(context.source)
    knobs |= {name: found.value for name, found in program.knobs(context.class_name).items()}
    return Inspection(context, program, knobs)


def judge_schema(inspection: Inspection, raw: str) -> str | None:
    """One strict JSON object in one of the allowed forms, and behind it nothing but the edit that it announces."""
    modes = inspection.context.modes
    try:
        found, behind = split_reply(raw) if "diff" in modes else (parse_reply(raw), "")
        if not is_header(found, modes):
            refuse_text(behind)
        inspection.raw = read_raw(found, behind, modes)
    except (ReplyError, ProposalError) as error:
        return error.what
    if isinstance(inspection.raw, RawCode):
        _propose_code(inspection, inspection.raw, inspection.raw.diff)
    return None


def judge_menu(inspection: Inspection, _: str) -> str | None:
    """The knobs are in the menu."""
    raw = inspection.raw
    if not isinstance(raw, RawKnob | RawKnobs):
        return _pass_over(inspection, "menu")
    known = inspection.context.menu.knobs
    unknown = next((name for name in _asked(raw) if name not in known), None)
    if unknown is None:
        return None
    return f"there is no knob {quote(unknown, 40)}{closest(unknown, known)}; the knobs are {', '.join(known)}"


def judge_range(inspection: Inspection, _: str) -> str | None:
    """The values are ones that the knobs may take."""
    raw = inspection.raw
    if not isinstance(raw, RawKnob | RawKnobs):
        return _pass_over(inspection, "range")
    menu = inspection.context.menu
    values: dict[str, KnobValue] = {}
    for name, asked in _asked(raw).items():
        knob = menu.knobs[name]
        given = knob.read(asked)
        reason = knob.check(given)
        if reason is not None:
            return reason
        values[name] = knob.normalise(given)
    if isinstance(raw, RawKnob):
        inspection.proposal = knob_proposal(raw, values[raw.knob])
    else:
        inspection.proposal = knobs_proposal(raw, {name: values[name] for name in menu.knobs if name in values})
    inspection.edit_key = edit_key(inspection.proposal.edit, menu)
    return None


def judge_cross(inspection: Inspection, _: str) -> str | None:
    """The cross constraints hold for the incumbent's knobs with these changed."""
    if not isinstance(inspection.raw, RawKnob | RawKnobs):
        return _pass_over(inspection, "cross")
    return rule_problem(inspection.context.menu, inspection.knobs | _change(inspection))


def judge_diff(inspection: Inspection, _: str) -> str | None:
    """The edit applies to the incumbent and leaves a program whose knobs the menu allows."""
    try:
        if isinstance(inspection.raw, RawKnob | RawKnobs):
            return _make_knob_candidate(inspection)
        return _make_code_candidate(inspection)
    except EditError as error:
        return error.what


def judge_novelty(inspection: Inspection, _: str) -> str | None:
    """The edit changes something, and the program it leaves was not tried before."""
    context, program = inspection.context, inspection.program
    if program is not None:
        same = inspection.program_key == program.key
    else:
        same = all(inspection.knobs[name] == value for name, value in _change(inspection).items())
    if same:
        return f"the proposal changes nothing: {_unchanged(inspection)}"
    inspection.knobs |= _change(inspection)
    if program is not None and inspection.idea_key == program.idea_key:
        return "the proposal changes nothing: only names, annotations or the order of definitions are others"
    key = inspection.program_key or inspection.edit_key
    if context.novelty and key is not None and key in context.tried:
        return f"this was tried before in {_told(context.tried[key])}"
    idea = inspection.idea_key
    if context.novelty and idea is not None and idea in context.tried:
        return f"this was tried before, under other names, in {_told(context.tried[idea])}"
    return None


def judge_size(inspection: Inspection, _: str) -> str | None:
    """The program is estimated to fit in memory."""
    context = inspection.context
    try:
        return context.menu.size_problem(inspection.knobs, limit_bytes=context.size_limit_bytes)
    except ExpressionError as error:
        return f"its size cannot be estimated: {error.what}"


def judge_outside(inspection: Inspection, _: str) -> str | None:
    """The program can be measured: a recorded table has its configuration."""
    outside = inspection.context.outside
    return _pass_over(inspection, "outside") if outside is None else outside(inspection.knobs)


Judge = Callable[[Inspection, str], str | None]
JUDGES: Mapping[str, Judge] = {
    "schema": judge_schema,
    "menu": judge_menu,
    "range": judge_range,
    "cross": judge_cross,
    "diff": judge_diff,
    "novelty": judge_novelty,
    "size": judge_size,
    "outside": judge_outside,
}


def _pass_over(inspection: Inspection, rail: str) -> None:
    inspection.passed_over.add(rail)


def _change(inspection: Inspection) -> dict[str, Literal]:
    """The knobs that a proposal sets, with their normalised values; nothing for a diff."""
    edit = inspection.proposal.edit if inspection.proposal is not None else None
    return dict(changed_knobs(edit)) if edit is not None else {}


def _asked(raw: RawKnob | RawKnobs) -> dict[str, bool | int | float | str]:
    """What a reply wants knobs to be, as it says so."""
    return {raw.knob: raw.new_value} if isinstance(raw, RawKnob) else raw.knobs


def _unchanged(inspection: Inspection) -> str:
    change = [f"{name} is already {quote(value)}" for name, value in _change(inspection).items()]
    return ", ".join(change[:3]) if change else "the program means the same without it"


def _make_knob_candidate(inspection: Inspection) -> None:
    """Raises EditError when the knobs class has no such field, or one of another type."""
    context, program = inspection.context, inspection.program
    if program is None or context.source is None:
        return
    variant = program.with_knobs(context.class_name, _change(inspection))
    inspection.candidate_source = variant.source
    inspection.program_key, inspection.idea_key = variant.key, variant.idea_key
    inspection.diff = unified_diff(context.source, variant.source, context.file_name)


def _make_code_candidate(inspection: Inspection) -> str | None:
    context, program, raw = inspection.context, inspection.program, inspection.raw
    assert isinstance(raw, RawCode)
    if program is None or context.source is None:
        return f"there is no {context.file_name} to edit: only proposals of knobs can be checked here"
    source = apply_code(context.source, raw.diff, context.file_name)
    diff = unified_diff(context.source, source, context.file_name)
    if diff:
        _propose_code(inspection, raw, diff)
    changed = changed_lines(diff)
    if changed > context.max_diff_lines:
        return f"the edit changes {changed} lines; at most {context.max_diff_lines} are allowed"
    candidate = parse_program(source)
    knobs = {name: found.value for name, found in candidate.knobs(context.class_name).items()}
    problem = (
        knob_problem(context.menu, knobs)
        or rule_problem(context.menu, knobs)
        or forbidden_use(program, candidate)
        or undefined_use(program, candidate)
        or broken_contract(program, candidate, context.class_name)
    )
    if problem is None:
        inspection.candidate_source, inspection.diff, inspection.knobs = source, diff, knobs
        inspection.program_key, inspection.idea_key = candidate.key, candidate.idea_key
    return problem


def _propose_code(inspection: Inspection, raw: RawCode, diff: str) -> None:
    """Make the proposal of an edit of code: with its own text, and once it is known with the diff that it comes to."""
    inspection.proposal = code_proposal(raw, diff)
    inspection.edit_key = edit_key(inspection.proposal.edit, inspection.context.menu)


def _told(outcome: str) -> str:
    return quote(outcome, 160)[1:-1]
