"""A fresh adapter on the last layers of any causal language model."""

import warnings
from typing import Any

from rails.errors import UserError
from studies.distil.language.recipe import LanguageRecipe
from studies.distil.language.upper import find_layers


def add_adapter(model: Any, recipe: LanguageRecipe) -> Any:
    """The model with a fresh adapter (LoRA) on every linear map of its last layers.

    Args:
        model: a causal language model.
        recipe: rank, number of layers, and the seed that the adapter's weights are drawn with.

    Raises:
        UserError: the model has no layers that could be told apart.
    """
    import peft
    import torch

    try:
        holder, name = find_layers(model)
    except ValueError as error:
        raise UserError(f"the model cannot be adapted: {error}", fix="use another model") from error
    layers = getattr(holder, name)
    maps = {path.rpartition(".")[2] for path, module in layers[-1].named_modules() if _is_linear(module)}
    config = peft.LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=sorted(maps),
        layers_to_transform=list(range(first_adapted(model, recipe), len(layers))),
        layers_pattern=name,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(recipe.seed)
        return peft.get_peft_model(model, config)


def first_adapted(model: Any, recipe: LanguageRecipe) -> int:
    """The number of the first layer that has an adapter."""
    return max(model.config.num_hidden_layers - recipe.layers, 0)


def _is_linear(module: Any) -> bool:
    """GPT-2 and its like have linear maps of a class of their own."""
    return type(module).__name__ in ("Linear", "Conv1D")
