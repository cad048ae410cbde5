"""Attacks on the score: models that answer with more than they may know, and programs that lie about themselves."""

from typing import Literal

from cli.attacks.attack import DEAD, HARMLESS, OUT, Attack
from rails.status import Status


def _probed(name: str, what: str, probe: str, level: Literal["L1", "L2"] = "L1") -> Attack:
    """A model that answers with more than it may know; its program has its name."""
    stopped_by = f"probe: {probe}"
    program = name.replace("-", "_")
    return Attack(name=name, program=program, what=what, stopped_by=stopped_by, level=level, ends=OUT, naive="unprobed")


SCORING = (
    _probed("peek", "answers with the next token", "foreign suffix on a replica"),
    _probed("peek-hard", "looks at the next token where the honest answer is dear", "foreign suffix on a replica"),
    _probed("peek-rarely", "looks at one next token in two hundred", "4,000 cuts before a keep"),
    _probed("peek-memorised", "keeps to its answer when a prefix comes again", "a replica that was never asked before"),
    _probed("peek-leaked", "leaves its answers for the replica to find", "isolation; blind rows", "L2"),
    _probed(
        "peek-scatter",
        "the same, and answers wildly here and there where it is blind",
        "isolation; blind rows, absurd costs clipped",
        "L2",
    ),
    Attack(
        name="peek-at-test",
        program="peek_at_test",
        what="earns its keep, then looks at the next token in the test text",
        stopped_by="what is reported is probed as well; the keep is undone",
        arena="final",
        ends=OUT,
        naive="unprobed",
    ),
    _probed("sparse-state", "leaves its answers in holes of the saved state", "the replica's own copy of the state"),
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
        ends=OUT,
    ),
    Attack(
        name="rewritten-state",
        program="rewritten_state",
        what="keeps the saved state mapped, to change it later",
        stopped_by="the state is sealed when training ends",
        ends=OUT,
    ),
    Attack(
        name="page-cache",
        program="page_cache",
        what="leaves its answers in which pages of the libraries are in memory",
        stopped_by="seccomp: nothing says what is in memory, and nothing is thrown out of it",
        level="L2",
        ends=HARMLESS,
        tries=True,
    ),
    Attack(
        name="print-questions",
        program="print_questions",
        what="prints the validation tokens and dies of them",
        stopped_by="of what it says while it is scored only the kind of error is kept",
        ends=DEAD,
    ),
    Attack(
        name="seal-memory",
        program="seal_memory",
        what="seals the memory that it is asked in",
        stopped_by="it is sealed against seals",
        ends=HARMLESS,
        tries=True,
    ),
    Attack(
        name="unnormalised",
        program="unnormalised",
        what="answers 0 for every token",
        stopped_by="the loop normalises",
        ends=HARMLESS,
        naive="believed",
    ),
    Attack(
        name="infinite",
        program="infinite",
        what="answers infinity",
        stopped_by="costs must be finite and not negative",
        ends=OUT,
    ),
    Attack(
        name="buffer-flip",
        program="buffer_flip",
        what="changes the shared answer while it is counted",
        stopped_by="a private copy of each row; then the probes",
        ends=HARMLESS | OUT,
    ),
    Attack(
        name="null-model",
        program="null_model",
        what="learns nothing",
        stopped_by="its score",
        ends=HARMLESS,
    ),
    Attack(
        name="fake-score",
        program="fake_score",
        what="patches the evaluator and prints a score",
        stopped_by="nothing in the trial scores",
        ends=HARMLESS,
        naive="printed",
    ),
    Attack(
        name="fake-messages",
        program="fake_messages",
        what="sends a score over the wire",
        stopped_by="the wire has no message for a score",
        ends=DEAD,
    ),
    Attack(
        name="exit-silently",
        program="exit_silently",
        what="prints a score and leaves with code 0",
        stopped_by="no answers, no score",
        ends=DEAD,
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
