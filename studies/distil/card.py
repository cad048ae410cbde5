"""The card of a corpus: what is in it, and what a student of it cannot have learnt."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rails.status import Status
from studies.distil.corpus import CampaignCard, Corpus, Example, NoTarget, Pair

FEW_ROWS = 100
"""Fewer training rows than this are worth a warning."""

DOMINANT = 0.5
"""A target that makes up so much of the training keeps is worth one, too."""

TOP = 10


def corpus_card(corpus: Corpus) -> dict[str, Any]:
    """The figures of a corpus, and warnings in sentences."""
    both = [*corpus.train, *corpus.heldout]
    targets = [_pair(example) for example in corpus.train if example.target is not None]
    train_keeps = [example for example in corpus.train if example.kept]
    knobs = list(dict.fromkeys(name for campaign in corpus.campaigns for name in campaign.menu.knobs))
    touched = {example.choice[0] for example in corpus.train if example.choice is not None}
    figures: dict[str, Any] = {
        "train": len(corpus.train),
        "heldout": len(corpus.heldout),
        "train_keeps": len(train_keeps),
        "heldout_keeps": sum(example.kept for example in corpus.heldout),
        "campaigns": [_campaign(one) for one in corpus.campaigns],
        "targets": len(targets),
        "heldout_targets": sum(example.target is not None for example in corpus.heldout),
        "no_ops": sum(example.no_target is NoTarget.NO_OP for example in both),
        "no_ops_if_rolled": _rolled_no_ops(corpus),
        "no_target": dict(Counter(str(example.no_target) for example in both if example.no_target is not None)),
        "snapped": sum(example.snapped for example in both),
        "confirmed_keeps": sum(example.confirmed_gain is not None for example in corpus.train),
        "statuses": dict(Counter(str(example.status) for example in corpus.train)),
        "prompts": dict(Counter(example.prompt_from for example in both)),
        "options_mean": sum(len(example.options) for example in both) / max(len(both), 1),
        "target_entropy": _entropy(targets),
        "targets_distinct": len(set(targets)),
        "top_targets": _top(targets),
        "top_keeps": _top([_pair(example) for example in train_keeps]),
        "knobs": dict(Counter(name for name, _ in targets).most_common()),
        "untouched": [name for name in knobs if name not in touched],
    }
    return {**figures, "warnings": _warnings(figures, len(knobs))}


def _campaign(card: CampaignCard) -> dict[str, Any]:
    return {
        "source": card.source,
        "campaign_id": card.campaign_id,
        "proposer": card.proposer,
        "baseline": card.baseline,
        "split": card.split,
        "knobs": len(card.menu.knobs),
    }


def _pair(example: Example) -> Pair:
    return example.choice or ("", "")


def _entropy(targets: Sequence[Pair]) -> float:
    """In nats, of the distribution of targets."""
    counts = Counter(targets)
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values()) + 0.0 if total else 0.0


def _top(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    return [{"knob": knob, "value": value, "count": count} for (knob, value), count in Counter(pairs).most_common(TOP)]


def _rolled_no_ops(corpus: Corpus) -> int:
    """How many choices would change nothing, had every kept change stayed in."""
    found = 0
    for index, campaign in enumerate(corpus.campaigns):
        both = [*corpus.train, *corpus.heldout]
        mine = [one for one in both if one.campaign == index]
        knobs = dict(mine[0].knobs) if mine else dict(campaign.menu.defaults())
        for example in mine:
            if example.choice is None or example.choice[0] not in knobs:
                continue
            name, value = example.choice
            found += value == knobs[name]
            if example.status is Status.KEEP:
                knobs[name] = value
    return found


def _warnings(card: dict[str, Any], n_knobs: int) -> list[str]:
    said: list[str] = []
    keeps, top = card["train_keeps"], card["top_keeps"]
    if keeps >= 2 and top and top[0]["count"] >= DOMINANT * keeps:
        best = top[0]
        target = f"{best['knob']}={best['value']}"
        said.append(f"{best['count']} of {keeps} training keeps are one target ({target}): imitating them is collapse")
    if keeps == 0:
        said.append("nothing that is trained on was kept: there is no success to learn from")
    if card["train"] < FEW_ROWS:
        said.append(f"only {card['train']} training rows: a student learns little more than counts from them")
    if keeps and card["confirmed_keeps"] < keeps:
        rest = keeps - card["confirmed_keeps"]
        said.append(f"{rest} of {keeps} training keeps are unconfirmed: their gain may be luck")
    if card["no_ops"]:
        said.append(f"{card['no_ops']} choices are no-ops (the value that was there): they are no targets")
    if card["snapped"]:
        said.append(f"{card['snapped']} choices lie between options and are taught as the nearest one")
    if len(card["untouched"]) > n_knobs / 2:
        said.append(f"{len(card['untouched'])} of {n_knobs} knobs are never touched in what is trained on")
    if not card["heldout_targets"]:
        said.append("nothing is held out: a race on this corpus has nothing to race on")
    return said
