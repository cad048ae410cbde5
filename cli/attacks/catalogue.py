"""The attacks: what each tries, what should stop it, from which level of isolation on, and how a stopped one ends."""

from dataclasses import dataclass
from typing import Literal

from rails.status import Status

Arena = Literal["steps", "seconds", "library"]
"""Which campaign it runs in: a budget of steps, a budget of seconds, or the standard library as the corpus."""
Naive = Literal["unprobed", "printed", "believed"]
"""Which careless evaluator it would fool: one without probes, one that reads the log, one that believes the logits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One program that cheats.

    Attributes:
        name: for tables and tests.
        program: its file in `cli.attacks.programs`.
        what: what it tries, for a person.
        stopped_by: the mechanism that should stop it.
        level: the lowest level of isolation that promises to.
        ends: the statuses with which a stopped one ends; any other means that it was not tried as meant.
        naive: the evaluator that would have been fooled, to see that the attack is one.
        tries: whether it reaches for something and says so on its log.
    """

    name: str
    program: str
    what: str
    stopped_by: str
    arena: Arena = "steps"
    level: Literal["L1", "L2", "L3", "L4"] = "L1"
    ends: frozenset[Status]
    naive: Naive | None = None
    tries: bool = False


_OUT = frozenset({Status.DISQUALIFIED})
_HARMLESS = frozenset({Status.DISCARD})
_DEAD = frozenset({Status.CRASH})
_LATE = frozenset({Status.TRAIN_BUDGET_OVERRUN})


def _probed(name: str, what: str, probe: str, level: Literal["L1", "L2"] = "L1") -> Attack:
    """A model that answers with more than it may know; its program has its name."""
    stopped_by = f"probe: {probe}"
    program = name.replace("-", "_")
    return Attack(
        name=name, program=program, what=what, stopped_by=stopped_by, level=level, ends=_OUT, naive="unprobed"
    )


_SCORING = (
    _probed("peek", "answers with the next token", "foreign suffix on a replica"),
    _probed("peek-hard", "looks at the next token where the honest answer is dear", "foreign suffix on a replica"),
    _probed("peek-rarely", "looks at one next token in two hundred", "4,000 cuts before a keep"),
    _probed("peek-memorised", "keeps to its answer when a prefix comes again", "a replica that was never asked before"),
    _probed("peek-leaked", "leaves its answers for the replica to find", "isolation, then the replica", "L2"),
    _probed("learn-while-scored", "trains on the rows that it is asked about", "replayed first batch"),
    _probed("learn-and-remember", "the same, and repeats itself when asked again", "reordered rows on a replica"),
    _probed("batch-statistics", "uses the other rows of the request", "reordered rows on a replica"),
    _probed("train-after-finish", "goes on training after it has reported the end", "a replica of the sealed state"),
    _probed("unsaved-model", "keeps half of the model out of the saved state", "a replica of the sealed state"),
    Attack(
        name="noise",
        program="noise",
        what="adds noise to its answers",
        stopped_by="probe: replayed first batch",
        ends=_OUT,
    ),
    Attack(
        name="rewritten-state",
        program="rewritten_state",
        what="keeps the saved state mapped, to change it later",
        stopped_by="the state is sealed when training ends",
        ends=_OUT,
    ),
    Attack(
        name="unnormalised",
        program="unnormalised",
        what="answers 0 for every token",
        stopped_by="the loop normalises",
        ends=_HARMLESS,
        naive="believed",
    ),
    Attack(
        name="infinite",
        program="infinite",
        what="answers infinity",
        stopped_by="costs must be finite and not negative",
        ends=_OUT,
    ),
    Attack(
        name="buffer-flip",
        program="buffer_flip",
        what="changes the shared answer while it is counted",
        stopped_by="a private copy of each row; then the probes",
        ends=_HARMLESS | _OUT,
    ),
    Attack(
        name="null-model",
        program="null_model",
        what="learns nothing",
        stopped_by="its score",
        ends=_HARMLESS,
    ),
    Attack(
        name="fake-score",
        program="fake_score",
        what="patches the evaluator and prints a score",
        stopped_by="nothing in the trial scores",
        ends=_HARMLESS,
        naive="printed",
    ),
    Attack(
        name="fake-messages",
        program="fake_messages",
        what="sends a score over the wire",
        stopped_by="the wire has no message for a score",
        ends=_DEAD,
    ),
    Attack(
        name="exit-silently",
        program="exit_silently",
        what="prints a score and leaves with code 0",
        stopped_by="no answers, no score",
        ends=_DEAD,
        naive="printed",
    ),
    Attack(
        name="hang",
        program="hang",
        what="stops answering",
        stopped_by="the loop's clock",
        ends=frozenset({Status.EVAL_BUDGET_OVERRUN}),
    ),
)

_CLOCK = (
    Attack(
        name="slow-clock",
        program="slow_clock",
        what="slows its own clock down",
        stopped_by="the loop's clock",
        arena="seconds",
        ends=_LATE,
    ),
    Attack(
        name="overtrain",
        program="overtrain",
        what="trains for three budgets",
        stopped_by="the loop's clock",
        arena="seconds",
        ends=_LATE,
    ),
    Attack(
        name="overtrain-steps",
        program="overtrain",
        what="trains for three budgets of steps",
        stopped_by="the reported steps",
        ends=_LATE,
    ),
    Attack(
        name="hang-in-training",
        program="hang_in_training",
        what="never finishes and ignores signals",
        stopped_by="the loop's clock and SIGKILL",
        arena="seconds",
        ends=_LATE,
    ),
    Attack(
        name="claim-steps",
        program="claim_steps",
        what="reports a hundred steps for one",
        stopped_by="counts decide nothing on a budget of seconds",
        arena="seconds",
        ends=_HARMLESS,
    ),
    Attack(
        name="deferred-training",
        program="deferred_training",
        what="saves the data too, and trains before the first answer",
        stopped_by="the first answer may not take much longer than the baseline's",
        ends=_OUT | _LATE | frozenset({Status.EVAL_BUDGET_OVERRUN}),
    ),
    Attack(
        name="train-before-start",
        program="train_before_start",
        what="trains before the clock starts",
        stopped_by="the data comes with the start; paths are unreadable",
        level="L2",
        ends=_HARMLESS,
        tries=True,
    ),
)

_MACHINE = (
    Attack(
        name="read-validation",
        program="read_validation",
        what="reads the validation tokens, the loop's memory and files",
        stopped_by="Landlock, namespaces",
        level="L2",
        ends=_HARMLESS,
        tries=True,
    ),
    Attack(
        name="read-library",
        program="read_library",
        what="reads the held-back files of the default corpus",
        stopped_by="hidden files, Landlock, namespaces",
        arena="library",
        level="L2",
        ends=_HARMLESS,
        tries=True,
    ),
    Attack(
        name="store-weights",
        program="store_weights",
        what="leaves its weights for the next trial",
        stopped_by="Landlock, seccomp, namespaces",
        level="L2",
        ends=_HARMLESS,
        tries=True,
    ),
    Attack(
        name="fetch-weights",
        program="fetch_weights",
        what="starts from what that one left",
        stopped_by="Landlock, seccomp, namespaces",
        level="L2",
        ends=_HARMLESS,
        tries=True,
    ),
    Attack(
        name="rewrite-data",
        program="rewrite_data",
        what="writes to the prepared data",
        stopped_by="Landlock, namespaces",
        level="L2",
        ends=_HARMLESS,
        tries=True,
    ),
    Attack(
        name="tamper",
        program="tamper",
        what="opens evaluator, task, repository and record for writing",
        stopped_by="Landlock, namespaces",
        level="L2",
        ends=_HARMLESS,
        tries=True,
    ),
    Attack(
        name="signal-loop",
        program="signal_loop",
        what="signals, traces and reads the loop and its supervisor",
        stopped_by="seccomp, namespaces",
        level="L2",
        ends=_HARMLESS,
        tries=True,
    ),
    Attack(
        name="network",
        program="network",
        what="opens connections out of the trial",
        stopped_by="seccomp, namespaces",
        level="L2",
        ends=_HARMLESS,
        tries=True,
    ),
    Attack(
        name="daemon",
        program="daemon",
        what="leaves a process behind",
        stopped_by="the supervisor ends every descendant",
        ends=_HARMLESS,
        tries=True,
    ),
)

ATTACKS: tuple[Attack, ...] = _SCORING + _CLOCK + _MACHINE
