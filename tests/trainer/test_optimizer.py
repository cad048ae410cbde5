"""Muon and AdamW: what an update looks like, and which parameter gets which."""

import pytest
import torch
from torch import nn

from tests.support.tiny_session import VOCAB, tiny_knobs
from trainer import train
from trainer.train import GPT, Muon, MuonAdamW


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 64, 96), (2, 32, 128), (1, 1, 8)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(train.orthogonalize(torch.randn(shape).to(dtype) * 1e-3, 5).float())
    assert values.min() > 0.75 and values.max() < 1.25


def test_orthogonalised_matrices_keep_their_directions() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(4, 48, 96)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    nearest = left @ right
    fresh = matrices / matrices.norm(dim=(1, 2), keepdim=True)
    errors = [
        (x - nearest).norm().item() / nearest.norm().item()
        for x in (fresh, train.orthogonalize(matrices, 3), train.orthogonalize(matrices, 5))
    ]
    assert errors[0] > errors[1] > 0.2 > errors[2]


def test_muon_treats_a_stack_like_its_matrices_one_by_one() -> None:
    torch.manual_seed(0)
    stack, tall = torch.randn(3, 32, 32), torch.randn(96, 32)
    together = [nn.Parameter(stack.clone()), nn.Parameter(tall.clone()), nn.Parameter(tall.mT.clone())]
    alone = [nn.Parameter(x.clone()) for x in (*stack, tall, tall.mT)]
    optimizers = [Muon(together, 0.1, 0.9, 0.1, 5), *(Muon([param], 0.1, 0.9, 0.1, 5) for param in alone)]
    for step in range(3):
        torch.manual_seed(step)
        grads = torch.randn(3, 32, 32), torch.randn(96, 32), torch.randn(32, 96)
        for param, grad in zip(together, grads, strict=True):
            param.grad = grad.clone()
        for param, grad in zip(alone, (*grads[0], *grads[1:]), strict=True):
            param.grad = grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    expected = [torch.stack([param.detach() for param in alone[:3]]), alone[3].detach(), alone[4].detach()]
    for param, wanted in zip(together, expected, strict=True):
        torch.testing.assert_close(param.detach(), wanted, atol=2e-2, rtol=0)


def test_muon_steps_equally_far_in_every_direction_and_decays_apart_from_it() -> None:
    torch.manual_seed(0)
    param = nn.Parameter(torch.eye(16))
    rotation, _ = torch.linalg.qr(torch.randn(16, 16))
    param.grad = rotation @ torch.diag(torch.logspace(-0.5, 0.5, 16))
    Muon([param], lr=0.1, momentum=0.95, weight_decay=0.5, ns_steps=5).step()
    moved = torch.linalg.svdvals(param.detach() - torch.eye(16) * (1 - 0.1 * 0.5))
    assert moved.min() > 0.07 and moved.max() < 0.13


def test_every_parameter_is_in_exactly_one_of_the_four_groups() -> None:
    model = GPT(tiny_knobs(value_embeds="all"), VOCAB, 32, torch.float32, seed=0)
    optimizer = MuonAdamW(model, tiny_knobs())
    assert len(optimizer.adamw.param_groups) == 3
    grouped = [param for group in optimizer.groups for param in group["params"]]
    assert {id(param) for param in grouped} == {id(param) for param in model.parameters()}
    assert len(grouped) == len(list(model.parameters()))
    by_muon = {id(param) for group in optimizer.muon.param_groups for param in group["params"]}
    names = {name.split(".")[-1] for name, param in model.named_parameters() if id(param) in by_muon}
    assert names == {"qkv", "out", "up", "down"}


def test_embeddings_head_and_scalars_move_as_under_torch_adamw() -> None:
    knobs = tiny_knobs()
    scale = (knobs.width / 768) ** -0.5
    for index, rate in enumerate((knobs.embedding_lr, knobs.unembedding_lr, knobs.scalar_lr)):
        model = GPT(knobs, VOCAB, 32, torch.float32, seed=0)
        optimizer = MuonAdamW(model, knobs)
        ours = optimizer.adamw.param_groups[index]["params"][0]
        copy = nn.Parameter(ours.detach().clone())
        other = torch.optim.AdamW([copy], betas=(knobs.adam_beta1, knobs.adam_beta2), eps=1e-10, weight_decay=0)
        for step in range(4):
            for param in model.parameters():
                param.grad = torch.zeros_like(param)
            ours.grad = torch.randn(ours.shape, generator=torch.Generator().manual_seed(step))
            copy.grad = ours.grad.clone()
            other.param_groups[0]["lr"] = rate * scale * 0.5
            other.step()
            optimizer.step(0.5)
        torch.testing.assert_close(ours.detach(), copy.detach())
