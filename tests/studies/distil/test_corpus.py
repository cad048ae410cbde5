"""Corpora: what was chosen among what, from logs and from workspaces' records, and nothing of it leaks."""

import json
from pathlib import Path

import pytest

from agents.statistical.moves import config_key
from cli.inputs.corpora import make_corpus
from memory.record_set import RecordSet
from memory.records import Call, Trial
from rails.errors import UserError
from rails.menu import load_menu
from rails.status import Status
from studies.distil.build import Recorded, build_corpus
from studies.distil.corpus import Corpus, NoTarget
from studies.distil.files import read_corpus, write_corpus
from studies.distil.views import heldout_choices, training_choices
from tests.support.foreign_logs import CONFIG, HEADER, MENU, iteration
from tests.support.histories import BASELINE, CAMPAIGN, code_trial, knob_trial, trial_id
from tests.support.rows import START

LOG = [
    iteration(1, "width", 512, 4.90, "keep"),
    iteration(2, "lr", 0.002, 5.04),
    iteration(3, "width", 512, 4.94, "keep"),
    iteration(4, "lr", 0.003, 5.02),
    iteration(5, "dtype", "bf16", 5.01),
    iteration(6, "layers", 4, 4.97),
    iteration(7, "width", 128, 5.2),
    iteration(8, "lr", 0.0005, 4.99),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [HEADER, *LOG]))
    return path


@pytest.fixture
def menu(tmp_path: Path) -> Path:
    path = tmp_path / "menu.json"
    path.write_text(json.dumps(MENU))
    return path


def of_log(log: Path, menu: Path, holdout: int = 2) -> Corpus:
    return make_corpus([str(log)], menu, holdout=holdout)


def test_a_log_becomes_choices_with_what_could_be_chosen(log: Path, menu: Path) -> None:
    corpus = of_log(log, menu)
    assert [example.seq for example in corpus.train] == [1, 2, 3, 4, 5, 6]
    assert [example.seq for example in corpus.heldout] == [7, 8]
    assert corpus.campaigns[0].baseline == "fixed"
    known = load_menu(menu)
    for example in corpus.train:
        assert example.knobs == {name: CONFIG[name] for name in known.knobs}  # never rolled forward
        assert example.prompt_from == "rebuilt (fixed baseline)" and example.prompt
        for name, value in example.options:
            assert known.knobs[name].check(value) is None and example.knobs[name] != value
            assert known.broken_rule({**example.knobs, name: value}) is None
    assert corpus.train[0].gain == pytest.approx(0.02)


def test_a_choice_off_the_ladder_is_taught_as_the_nearest_and_is_an_option_afterwards(log: Path, menu: Path) -> None:
    corpus = of_log(log, menu)
    odd = corpus.train[3]
    assert odd.snapped and odd.target is not None
    assert odd.options[odd.target] in [("lr", 0.002), ("lr", 0.004)] and ("lr", 0.003) not in odd.options
    assert ("lr", 0.003) in corpus.train[4].options
    assert not corpus.train[0].snapped


def test_a_no_op_is_no_target(log: Path, menu: Path) -> None:
    found = of_log(log, menu).train[4]
    assert found.no_target is NoTarget.NO_OP and found.target is None


def test_nothing_that_is_trained_on_knows_of_what_is_held_out(log: Path, menu: Path, tmp_path: Path) -> None:
    whole = of_log(log, menu)
    changed = [{**line, "proposal": {"knob": "width", "new_value": 128, "reason": "other"}} for line in LOG[6:]]
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(line) + "\n" for line in [HEADER, *LOG[:6], *changed]))
    assert training_choices(of_log(other, menu)) == training_choices(whole)
    for choices in (training_choices(whole), heldout_choices(whole)):
        for choice in choices:
            assert all(outcome.seq < choice.example.seq for outcome in choice.situation.outcomes)
            assert all(example.seq < choice.example.seq for example in choice.before)
    held = heldout_choices(whole)
    assert [outcome.seq for outcome in held[0].situation.outcomes] == [1, 2, 3, 4, 5, 6]
    assert config_key({**held[0].situation.knobs, "width": 512}) in held[0].situation.tried


def test_the_same_campaign_in_two_places_is_refused(log: Path, menu: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_text(log.read_text() + "\n")  # another file, and other ids
    with pytest.raises(UserError, match=r"same campaign as .*log.jsonl.*trained on and held out"):
        make_corpus([str(log)], menu, held_out=[str(copy)])


def test_a_whole_campaign_can_be_held_out(log: Path, menu: Path, tmp_path: Path) -> None:
    renumbered = [{**line, "iter": 9 - line["iter"]} for line in LOG]
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(line) + "\n" for line in [HEADER, *renumbered]))
    corpus = make_corpus([str(log)], menu, holdout=0, held_out=[str(other)])
    assert {example.campaign for example in corpus.train} == {0}
    assert {example.campaign for example in corpus.heldout} == {1}
    assert heldout_choices(corpus)[0].situation.outcomes == ()  # nothing of the other campaign
    assert [card.split for card in corpus.campaigns] == ["time", "campaign"]


def test_without_a_menu_or_targets_there_is_no_corpus(log: Path, menu: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not say which knobs .* --menu FILE"):
        make_corpus([str(log)], None)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("".join(json.dumps(line) + "\n" for line in [HEADER, LOG[4]]))
    with pytest.raises(UserError, match="nothing to train on"):
        make_corpus([str(empty)], menu)


def test_the_card_counts_and_warns(log: Path, menu: Path, tmp_path: Path) -> None:
    card = write_corpus(tmp_path / "corpus", of_log(log, menu))
    figures = {key: card[key] for key in ("train", "heldout", "train_keeps", "heldout_keeps", "no_ops")}
    assert figures == {"train": 6, "heldout": 2, "train_keeps": 2, "heldout_keeps": 0, "no_ops": 1}
    assert card["no_ops_if_rolled"] == 2  # width=512 a second time
    assert card["untouched"] == []
    assert any(said.startswith("2 of 2 training keeps are one target (width=512)") for said in card["warnings"])
    read = read_corpus(tmp_path / "corpus")
    again = of_log(log, menu)
    assert (read.campaigns, read.train, read.heldout) == (again.campaigns, again.train, again.heldout)
    assert training_choices(read) == training_choices(again)
    (tmp_path / "corpus" / "train.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"train.jsonl: the corpus cannot be read"):
        read_corpus(tmp_path / "corpus")


def own_trials() -> list[Trial]:
    return [
        BASELINE,
        knob_trial(1, "width", 256, Status.KEEP, gain=0.02, gain_low=0.01),
        code_trial(2, {"depth": (2, 4)}, parent_trial_id=trial_id(1)),
        knob_trial(3, "matrix_lr", 0.04, gain=-0.01, parent_trial_id=trial_id(1)),
        knob_trial(4, "width", 256, Status.RAIL_BLOCKED, parent_trial_id=trial_id(1)),
        knob_trial(5, "depth", 4, Status.CRASH, parent_trial_id=trial_id(1)),
    ]


def call(trial: int, attempt: int, position: int, text: str) -> Call:
    return Call(
        call_id=f"{trial}-{attempt}-{position}",
        trial_id=trial_id(trial),
        attempt=attempt,
        position=position,
        proposer="m",
        model="m",
        prompt=[{"role": "system", "content": "rules"}, {"role": "user", "content": text}],
        raw_reply="{}",
        latency_s=1.0,
        created_at=START,
    )


POLICY = "# Research policy (program.md)\n\nSECRET\n\n# Menu of knobs SECRET too\n\n# Menu of knobs\n\nthe rest"


def test_our_own_record_rolls_forward_and_keeps_the_prompts_that_were_sent() -> None:
    calls = [call(3, 0, 0, "first"), call(3, 1, 1, "later"), call(3, 1, 0, POLICY)]
    recorded = Recorded(source="night", records=RecordSet(campaign=CAMPAIGN, trials=own_trials(), calls=calls))
    corpus = build_corpus([recorded], holdout=0)
    assert corpus.campaigns[0].baseline == "rolling"
    assert [example.knobs["width"] for example in corpus.train] == [128, 256, 256, 256, 256]
    assert [example.no_target for example in corpus.train] == [None, "not_a_knob", None, "no_op", None]
    assert corpus.train[0].confirmed_gain == 0.02 and corpus.train[2].confirmed_gain is None
    assert [example.prompt_from for example in corpus.train][2] == "call"
    said = json.dumps(corpus.train[2].prompt)
    assert "SECRET" not in said and "the rest" in said and "rules" in said
    private = build_corpus([recorded], holdout=0, private=True)
    assert "SECRET too" in json.dumps(private.train[2].prompt)


def test_the_policy_is_cut_out_of_the_planners_own_prompt() -> None:
    from agents.planner.prompts import Briefing, build_messages
    from studies.distil.prompts import sent_prompt
    from tests.support.proposals import make_context

    messages = build_messages(
        make_context(program_md="SECRET one\n\n# Menu of knobs\n\nSECRET two"), Briefing(room_tokens=20_000)
    )
    assert "SECRET" in json.dumps(messages)
    asked = call(1, 0, 0, "").model_copy(update={"prompt": messages})
    cut = json.dumps(sent_prompt([asked], private=False))
    assert "SECRET" not in cut and "# Menu of knobs" in cut and "depth" in cut and "# Task" in cut
