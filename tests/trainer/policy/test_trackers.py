"""`WeightDeltaTracker` and `LoraReferenceSnapshot` on real modules, in memory and through a saved adapter."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainer.policy import LoraReferenceSnapshot, WeightDeltaTracker


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


class Adapted(nn.Module):
    """A frozen weight with a trainable adapter, named as peft names them."""

    def __init__(self, adapter: str = "default") -> None:
        super().__init__()
        self.base = nn.Linear(4, 4)
        self.base.requires_grad_(False)
        self.lora_A = nn.ModuleDict({adapter: nn.Linear(4, 2, bias=False)})
        self.lora_B = nn.ModuleDict({adapter: nn.Linear(2, 4, bias=False)})
        self.adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora_B[self.adapter](self.lora_A[self.adapter](x))


def shift(model: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by)


def test_nothing_has_moved_at_first_and_a_constant_shift_is_measured() -> None:
    model = two_layers()
    tracker = WeightDeltaTracker(model)
    assert len(tracker) == 4 and tracker.delta() == (0.0, 0.0)
    shift(model, 0.1)
    count = sum(parameter.numel() for parameter in model.parameters())
    l2, largest = tracker.delta()
    assert l2 == pytest.approx(math.sqrt(0.01 * count), rel=1e-5)
    assert largest == pytest.approx(0.1, rel=1e-5)


def test_only_what_was_trainable_at_first_is_measured() -> None:
    model = Adapted()
    tracker = WeightDeltaTracker(model)
    model.base.requires_grad_(True)
    with torch.no_grad():
        model.base.weight.add_(1.0)
    assert len(tracker) == 2 and tracker.delta() == (0.0, 0.0)
    frozen = two_layers().requires_grad_(False)
    assert len(WeightDeltaTracker(frozen)) == 0 and WeightDeltaTracker(frozen).delta() == (0.0, 0.0)


def test_a_real_optimizer_step_moves_the_weights() -> None:
    model = Adapted()
    tracker = WeightDeltaTracker(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()
    assert min(tracker.delta()) > 0


def test_the_reference_answers_inside_the_block_and_the_policy_outside() -> None:
    model, x = two_layers(), torch.ones(1, 4)
    before = model(x).detach()
    snapshot = LoraReferenceSnapshot(model)
    shift(model, 0.5)
    after = model(x).detach()
    with snapshot, torch.no_grad():
        assert torch.equal(model(x), before)
    assert torch.equal(model(x), after)
    with pytest.raises(ZeroDivisionError), snapshot:
        _ = 1 / 0
    assert torch.equal(model(x), after)


def test_blocks_cannot_be_nested_and_work_again_afterwards() -> None:
    model = two_layers()
    snapshot = LoraReferenceSnapshot(model)
    shift(model, 1.0)
    live = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(RuntimeError, match="nested"), snapshot, snapshot:
        pass
    assert all(torch.equal(a, b) for a, b in zip(live, model.parameters(), strict=True))
    with snapshot:
        pass


def test_training_goes_on_after_the_block() -> None:
    model = two_layers()
    snapshot = LoraReferenceSnapshot(model)
    tracker = WeightDeltaTracker(model)
    with snapshot, torch.no_grad():
        reference = model(torch.ones(1, 4))
    (model(torch.ones(1, 4)) - reference - 1).square().sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert min(tracker.delta()) > 0


def test_an_empty_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        LoraReferenceSnapshot(two_layers().requires_grad_(False))
    with pytest.raises(ValueError, match="empty"):
        LoraReferenceSnapshot(two_layers(), snapshot={"elsewhere": torch.zeros(1)})
    with pytest.raises(ValueError, match="another shape"):
        LoraReferenceSnapshot(two_layers(), snapshot={"0.bias": torch.zeros(7)})


def saved(model: Adapted, folder: Path) -> None:
    """As peft saves an adapter: its name is not part of the keys."""
    safetensors = pytest.importorskip("safetensors.torch")
    state = {name: tensor for name, tensor in model.state_dict().items() if "lora" in name}
    tensors = {name.replace(f".{model.adapter}.", "."): tensor for name, tensor in state.items()}
    safetensors.save_file(tensors, folder / "adapter_model.safetensors")


def test_a_saved_adapter_is_a_reference(tmp_path: Path) -> None:
    model, x = Adapted(), torch.ones(1, 4)
    saved(model, tmp_path)
    before = model(x).detach()
    shift(model, 0.5)
    snapshot = LoraReferenceSnapshot.from_disk(model, tmp_path)
    assert len(snapshot) == 2
    with snapshot, torch.no_grad():
        assert torch.equal(model(x), before)
    assert len(LoraReferenceSnapshot.from_disk(Adapted("other"), tmp_path, adapter_name="other")) == 2


def test_a_reference_that_matches_nothing_or_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no saved adapter"):
        LoraReferenceSnapshot.from_disk(Adapted(), tmp_path)
    saved(Adapted(), tmp_path)
    with pytest.raises(ValueError, match=r"as adapter 'wrong'.*empty"):
        LoraReferenceSnapshot.from_disk(Adapted(), tmp_path, adapter_name="wrong")
