"""A student's adapter as llama.cpp reads it: one GGUF file, to be put beside the base's own.

The form is that of llama.cpp's own converter: `general.type` is `adapter`, each map has a tensor `….lora_a` and one
`….lora_b`, in single precision. For models of the family Llama, llama.cpp keeps the rows of the query and key maps in
another order than Hugging Face (the two halves that rotary embeddings turn lie side by side there), and so must the
adapter's.
"""

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agents.local.card import read_card
from agents.local.language_base import load_base
from memory.atomic import disk_errors
from rails.errors import UserError

FAMILIES = {"llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}
"""Hugging Face's name of a family of models, and llama.cpp's."""

_PREFIX = "base_model.model."
_HEADS = {".q_proj": "num_attention_heads", ".k_proj": "num_key_value_heads"}


def export_gguf(student: Path, out: Path) -> int:
    """Write a student's adapter as a GGUF file.

    Args:
        student: its folder.
        out: the file; its folder is made.

    Returns:
        How many maps it adapts.

    Raises:
        UserError: the student is no adapter, its base cannot be loaded, or is of a family that is not known here.
        HaltError: the disk is full or the file cannot be written.
    """
    card = read_card(student)
    if not (student / "adapter_config.json").is_file():
        fix = "train one: `nightshift distill train --base MODEL`"
        raise UserError("this student is no adapter of a language model", where=str(student), fix=fix)
    config = load_base(card.base).model.config
    if config.model_type not in FAMILIES:
        what = f"how llama.cpp names the parts of a model of the family {config.model_type} is not known here"
        fix = f"use a model of {', '.join(FAMILIES)}, or llama.cpp's own convert_lora_to_gguf.py"
        raise UserError(what, where=card.base, fix=fix)
    import gguf

    arch = gguf.MODEL_ARCH[FAMILIES[config.model_type]]
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    settings = json.loads((student / "adapter_config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(None, gguf.MODEL_ARCH_NAMES[arch])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(settings["lora_alpha"]))
    tensors = _tensors(student / "adapter_model.safetensors")
    for key, values in tensors.items():
        path, part = key.removeprefix(_PREFIX).removesuffix(".weight").rsplit(".", 1)
        name = names.get_name(path)
        if name is None:
            raise UserError(f"llama.cpp has no name for {path}", where=str(student), fix="adapt another model")
        if part == "lora_B" and FAMILIES[config.model_type] == "LLAMA":
            values = _as_llama_cpp_orders(values, path, config)
        writer.add_tensor(f"{name}.weight.{part.lower()}", values)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        writer.write_header_to_file(out)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return len(tensors) // 2


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    """An adapter's tensors by name, in single precision."""
    import torch
    from safetensors.torch import load_file

    return {key: tensor.to(torch.float32).contiguous().numpy() for key, tensor in sorted(load_file(str(path)).items())}


def _as_llama_cpp_orders(rows: NDArray[Any], path: str, config: Any) -> NDArray[Any]:
    """The rows of a query or key map, [out, rank], as llama.cpp has them; those of other maps as they are."""
    heads = next((getattr(config, field) for end, field in _HEADS.items() if path.endswith(end)), None)
    if heads is None:
        return rows
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape).copy()
