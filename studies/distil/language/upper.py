"""The adapted layers alone: what the frozen ones below them make of a row is computed once and kept.

Their weights never change, so neither does what they hand up. Training then costs the upper layers only.
"""

from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_BYTES = 1 << 30
"""Of what is kept; rows beyond that are computed each time."""


class _ReachedError(Exception):
    """The layer below which everything is frozen was reached."""


class UpperModel:
    """Stands in for a model in a forward pass, and runs only its upper layers where the rest is known.

    Args:
        model: a causal language model.
        frozen: how many of its first layers have nothing to train in or below them.
    """

    def __init__(self, model: Any, frozen: int) -> None:
        self.device, self.dtype, self.config = model.device, model.dtype, model.config
        self._model, self._frozen = model, frozen
        self._holder, self._name = find_layers(model)
        self._known: dict[bytes, Tensor] = {}
        self._bytes = 0

    def __call__(self, *, input_ids: "Tensor", position_ids: "Tensor", **arguments: Any) -> Any:
        """As the model's own forward pass."""
        import torch

        key = _key(input_ids, position_ids, arguments.get("attention_mask"))
        hidden = self._known.get(key)
        if hidden is None:
            hidden = self._below(input_ids=input_ids, position_ids=position_ids, **arguments)
            if self._bytes + hidden.nbytes <= MOST_BYTES:
                self._known[key] = hidden
                self._bytes += hidden.nbytes
        layers = getattr(self._holder, self._name)
        setattr(self._holder, self._name, torch.nn.ModuleList(list(layers)[self._frozen :]))
        try:
            return self._model(inputs_embeds=hidden, position_ids=position_ids, **arguments)
        finally:
            setattr(self._holder, self._name, layers)

    def _below(self, **arguments: Any) -> "Tensor":
        """What the first adapted layer is given."""
        import torch

        caught: list[Tensor] = []

        def stop(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append(args[0] if args else kwargs["hidden_states"])
            raise _ReachedError

        hook = getattr(self._holder, self._name)[self._frozen].register_forward_pre_hook(stop, with_kwargs=True)
        try:
            with torch.no_grad():
                self._model(**arguments)
        except _ReachedError:
            pass
        finally:
            hook.remove()
        return caught[0].detach()


def _key(input_ids: "Tensor", position_ids: "Tensor", mask: Any) -> bytes:
    """What tells one row from another: its tokens, where they stand, and who sees whom."""
    import torch

    masks = [] if mask is None else list(mask.values())[:1] if isinstance(mask, dict) else [mask]
    digest = sha256()
    for tensor in (input_ids, position_ids, *masks):
        digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def find_layers(model: "nn.Module") -> "tuple[nn.Module, str]":
    """The module that holds a model's layers, and the name of their list in it.

    Raises:
        ValueError: it has no such list.
    """
    import torch

    count = model.config.num_hidden_layers  # pyright: ignore[reportAttributeAccessIssue]
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ModuleList) and len(child) == count:
                return module, name
    raise ValueError("the model has no list of layers")
