"""A causal language model of some thousand random weights with a tokenizer of single characters, and what to teach it.

Where the extra `distil` is not installed, `tiny_model` skips the test with the reason.
"""

import random
from pathlib import Path
from typing import Any

import pytest

from memory.record_set import RecordSet
from rails.status import Status
from studies.distil.build import Recorded, build_corpus
from studies.distil.corpus import Corpus
from tests.support.histories import BASELINE, history_campaign, knob_trial
from tests.support.proposals import make_task

TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>\n{% endfor %}"
    "{{ '<s>assistant\n' }}"
)


def tiny_model(folder: Path, *, kind: str = "llama", layers: int = 3, template: str | None = TEMPLATE) -> Path:
    """Write the model.

    Args:
        folder: to write into.
        kind: the architecture's name in transformers.
        layers: how many.
        template: the tokenizer's chat template; None: a model that was never taught to chat.
    """
    torch = pytest.importorskip("torch")
    transformers: Any = pytest.importorskip("transformers", reason="needs the extra distil: transformers")
    pytest.importorskip("peft", reason="needs the extra distil: peft")
    sizes: dict[str, Any] = {"vocab_size": 128, "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2}
    if kind == "gpt2":
        config = transformers.GPT2Config(n_embd=32, n_layer=layers, n_head=2, **sizes)
    else:
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
        config = transformers.AutoConfig.for_model(
            kind, hidden_size=32, intermediate_size=48, num_hidden_layers=layers, **heads, **sizes
        )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    _tokenizer(transformers, template).save_pretrained(folder)
    return folder


def teacher_corpus(trials: int, holdout: int) -> Corpus:
    """Choices of a teacher that only ever steps the learning rate or the width, and gains by the former alone."""
    rng = random.Random(0)
    rows = [BASELINE]
    for seq in range(1, trials + 1):
        steps = rng.random() < 0.6
        knob, value = ("matrix_lr", rng.choice([0.01, 0.04])) if steps else ("width", rng.choice([64, 192, 256]))
        rows.append(knob_trial(seq, knob, value, Status.DISCARD, gain=0.01 if steps else -0.02))
    records = RecordSet(campaign=history_campaign(), trials=rows)
    return build_corpus([Recorded(source="night", records=records, menu=make_task().menu)], holdout=holdout)


def _tokenizer(transformers: Any, template: str | None) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    characters = [chr(code) for code in range(32, 127)] + ["\n"]
    special = ["<unk>", "<s>", "</s>"]
    whole = Tokenizer(models.WordLevel({token: i for i, token in enumerate([*special, *characters])}, "<unk>"))
    whole.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")  # pyright: ignore[reportAttributeAccessIssue]
    whole.decoder = decoders.Fuse()  # pyright: ignore[reportAttributeAccessIssue]
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=whole, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    made.chat_template = template
    return made
