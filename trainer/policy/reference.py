"""A second set of adapter weights for a moment: what the reference policy says, without a second model in memory."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rails.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class LoraReferenceSnapshot:
    """A copy of a model's trainable weights on the CPU, swapped into the live model inside a `with` block.

    Works for adapters and for whole models. Leave the block before `backward()`: with gradient checkpointing the
    forward pass is computed again then, and needs the live weights.

    Args:
        model: the live model. Its trainable weights are restored when the block ends, also by an exception.
        snapshot: weights by the live model's names of parameters; None: a copy of what is trainable now. Names that
            the model does not have are passed over, as adapters are often saved from slightly different builds.

    Raises:
        ValueError: nothing in the snapshot belongs to the model: the block would compare the policy with itself.
    """

    def __init__(self, model: "nn.Module", *, snapshot: "Mapping[str, Tensor] | None" = None) -> None:
        self._model = model
        live = dict(model.named_parameters())
        if snapshot is None:
            snapshot = {name: parameter for name, parameter in live.items() if parameter.requires_grad}
        self._snapshot: dict[str, Tensor] = {
            name: tensor.detach().cpu().clone() for name, tensor in snapshot.items() if name in live
        }
        if not self._snapshot:
            raise ValueError("the snapshot is empty: no parameter is trainable, or none of its names is the model's")
        for name, tensor in self._snapshot.items():
            if tensor.shape != live[name].shape:
                shapes = f"{tuple(tensor.shape)} in the snapshot, {tuple(live[name].shape)} in the model"
                raise ValueError(f"{name} has another shape: {shapes}")
        self._before: dict[str, Tensor] | None = None

    @classmethod
    def from_disk(
        cls,
        model: "nn.Module",
        adapter_dir: str | Path,
        *,
        adapter_name: str = "default",
        weights_filename: str = "adapter_model.safetensors",
    ) -> Self:
        """The weights of a saved adapter as a reference for a live model.

        Args:
            model: the live model, with an adapter of this name.
            adapter_dir: the folder that peft saved.
            adapter_name: stands in the live names, `….lora_A.<adapter_name>.weight`, and not in the file's.
            weights_filename: the file in that folder.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: the package safetensors is missing.
            ValueError: nothing in the file belongs to the model (another adapter name, another architecture).
        """
        path = Path(adapter_dir) / weights_filename
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no saved adapter")
        try:
            from safetensors.torch import load_file  # here: only adapters on disk need it
        except ImportError as error:
            fix = "install it: pip install safetensors"
            raise UserError("reading an adapter needs the package safetensors", where=str(path), fix=fix) from error
        live = dict(model.named_parameters())
        found = {_live_name(key, adapter_name, live): tensor for key, tensor in load_file(path).items()}
        try:
            return cls(model, snapshot=found)
        except ValueError as error:
            raise ValueError(f"{path} as adapter {adapter_name!r}: {error}") from error

    def __len__(self) -> int:
        """How many tensors the snapshot holds."""
        return len(self._snapshot)

    def __enter__(self) -> Self:
        """Swap the snapshot in.

        Raises:
            RuntimeError: it is in already.
        """
        if self._before is not None:
            raise RuntimeError("the snapshot is swapped in already: blocks cannot be nested")
        live = dict(self._model.named_parameters())
        self._before = {name: live[name].detach().clone() for name in self._snapshot}
        try:
            self._write(self._snapshot)
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            self._write(before)

    def _write(self, tensors: "Mapping[str, Tensor]") -> None:
        import torch  # here: importing the package costs nothing where nothing is trained

        live = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, tensor in tensors.items():
                live[name].copy_(tensor)


def _live_name(key: str, adapter_name: str, live: "Mapping[str, Tensor]") -> str:
    """The live model's name of a tensor in a saved adapter; the file's own name where there is none."""
    stem, dot, last = key.rpartition(".")
    placed = f"{stem}.{adapter_name}.{last}" if dot else key
    return placed if placed in live else key
