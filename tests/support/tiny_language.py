"""A causal language model of some thousand random weights with a tokenizer of single characters, in a folder.

Where the extra `distil` is not installed, `tiny_model` skips the test with the reason.
"""

from pathlib import Path
from typing import Any

import pytest

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
