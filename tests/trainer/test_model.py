"""The model: causality, windows, gradients, precision, and what it costs."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from tests.support.tiny_session import VOCAB, TinySession, tiny_knobs, train_tiny
from tests.support.variants import first
from trainer import train
from trainer.train import GPT, Knobs, SoftcapCrossEntropy


def lively_model(dtype: torch.dtype = torch.float32, **values: Any) -> GPT:
    """A model whose every weight does something: fresh ones have zeros where blocks write to the residual stream."""
    torch.manual_seed(0)
    model = GPT(tiny_knobs(**values), VOCAB, 48, dtype, seed=0)
    with torch.no_grad():
        for param in model.parameters():
            param.add_(torch.randn_like(param) * 0.1)
    return model


def some_tokens(rows: int = 2, length: int = 32) -> torch.Tensor:
    return torch.randint(0, VOCAB, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("values", [{}, {"window_pattern": "SL"}, {"value_embeds": "all"}, {"value_embeds": "none"}])
def test_a_future_token_never_changes_past_logits(values: dict[str, Any]) -> None:
    model, tokens = lively_model(**values), some_tokens()
    before = model.logits(tokens)
    for position in (1, 17, 31):
        changed = tokens.clone()
        changed[:, position:] = (changed[:, position:] + 1) % VOCAB
        after = model.logits(changed)
        assert torch.equal(after[:, :position], before[:, :position])
        assert not torch.equal(after[:, position:], before[:, position:])


def test_a_prefix_alone_gets_the_same_logits_as_within_a_longer_row() -> None:
    model, tokens = lively_model(), some_tokens(length=48)  # longer than the training rows, too
    whole, prefix = model.logits(tokens), model.logits(tokens[:, :20])
    torch.testing.assert_close(prefix, whole[:, :20])


def test_rows_do_not_see_each_other() -> None:
    model, tokens = lively_model(), some_tokens(rows=3)
    torch.testing.assert_close(model.logits(tokens)[1:2], model.logits(tokens[1:2]))


@pytest.mark.parametrize("window", [1, 8, 128, 200, None])
def test_attention_agrees_with_a_masked_softmax(window: int | None) -> None:
    T = 300  # three blocks of queries
    q, k, v = (torch.randn(2, 3, T, 16) for _ in range(3))
    position = torch.arange(T)
    distance = position[:, None] - position[None, :]
    scores = (q @ k.mT / 4.0).masked_fill((distance < 0) | (distance >= (window or T)), -torch.inf)
    mask = train.attention_mask(T, window or T)
    ours = train.attend(q, k, v, mask, window)
    torch.testing.assert_close(ours, scores.softmax(-1) @ v)
    fused = F.scaled_dot_product_attention(
        q, k, v, attn_mask=None if window is None else mask, is_causal=window is None
    )
    torch.testing.assert_close(ours, fused)


def test_windows_follow_the_pattern_and_the_last_layer_sees_all() -> None:
    windows = {
        pattern: train.layer_windows(Knobs(depth=5, window_pattern=pattern, short_window=9))
        for pattern in ("L", "SL", "SSL", "S")
    }
    assert windows["L"] == [None] * 5
    assert windows["SL"] == [9, None, 9, None, None]
    assert windows["SSL"] == [9, 9, None, 9, None]
    assert windows["S"] == [9, 9, 9, 9, None]


def test_value_embeddings_sit_where_they_should() -> None:
    layers = {kind: train.value_layers(Knobs(depth=5, value_embeds=kind)) for kind in ("none", "alternate", "all")}
    assert layers == {"none": [], "alternate": [4, 2, 0], "all": [4, 3, 2, 1, 0]}


def test_rotation_keeps_lengths_and_depends_on_distance_only() -> None:
    q, k = torch.randn(2, 1, 1, 1, 16)
    cos, sin = train.rotary(20, 16, 10000.0)
    turned = [train.rotate(x.expand(1, 20, 1, 16), cos, sin)[0, :, 0] for x in (q, k)]
    torch.testing.assert_close(turned[0].norm(dim=-1), q.norm().expand(20))
    scores = turned[0] @ turned[1].T
    torch.testing.assert_close(scores.diagonal(3), scores[0, 3].expand(17))
    torch.testing.assert_close(scores.diagonal(-5), scores[5, 0].expand(15))


def test_norm_and_its_gradient_agree_with_torch() -> None:
    x = torch.randn(4, 7, 16, dtype=torch.float64, requires_grad=True)
    grad = torch.randn_like(x)
    expected = torch.autograd.grad(F.rms_norm(x, (16,), eps=1e-6), x, grad)
    torch.testing.assert_close(train.norm(x), F.rms_norm(x, (16,), eps=1e-6))
    torch.testing.assert_close(torch.autograd.grad(train.norm(x), x, grad), expected)


@pytest.mark.parametrize("softcap", [5.0, 15.0, 60.0])
def test_sliced_loss_and_gradients_agree_with_the_plain_formula(softcap: float) -> None:
    N, D, V = 300, 16, 4096  # several slices, the last one shorter
    x, head = torch.randn(N, D, requires_grad=True), torch.randn(V, D, requires_grad=True)
    targets = torch.randint(0, V, (N,))
    plain = F.cross_entropy(softcap * torch.tanh(x @ head.T / softcap), targets)
    sliced = SoftcapCrossEntropy.apply(x, head, targets, softcap)
    torch.testing.assert_close(sliced, plain)
    expected = torch.autograd.grad(3 * plain, (x, head))
    torch.testing.assert_close(torch.autograd.grad(3 * sliced, (x, head)), expected, rtol=1e-4, atol=1e-6)


def test_training_loss_is_the_loss_of_the_served_logits() -> None:
    model, tokens = lively_model(), some_tokens(length=33)
    logits = model.logits(tokens[:, :-1])
    assert logits.abs().max() < model.knobs.softcap and logits.dtype == torch.float32
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(model.loss(tokens[:, :-1], tokens[:, 1:]).detach(), loss)


def test_bfloat16_stays_close_to_float32() -> None:
    tokens = some_tokens()
    full, half = (lively_model(dtype).logits(tokens) for dtype in (torch.float32, torch.bfloat16))
    assert half.dtype == torch.float32
    assert (full - half).abs().mean() < 0.05 * full.abs().mean()


def test_a_fresh_model_guesses_uniformly() -> None:
    model, tokens = GPT(tiny_knobs(), VOCAB, 32, torch.float32, seed=0), some_tokens()
    assert model.loss(tokens, tokens).item() == pytest.approx(math.log(VOCAB), abs=0.01)


@pytest.mark.parametrize("values", [{}, {"depth": 3, "mlp_ratio": 3, "value_embeds": "none"}, {"seq_len": 64}])
def test_flops_per_token_are_what_the_operations_count(values: dict[str, Any]) -> None:
    knobs = tiny_knobs(**values)
    model, tokens = GPT(knobs, VOCAB, 64, torch.float32, seed=0), some_tokens(length=knobs.seq_len)
    with FlopCounterMode(display=False) as counter:
        model.loss(tokens, tokens).backward()
    assert train.flops_per_token(knobs, VOCAB) == pytest.approx(counter.get_total_flops() / tokens.numel())


@pytest.mark.parametrize(
    "values", [{"depth": 3}, {"value_embeds": "none"}, {"value_embeds": "all"}, {"mlp_ratio": 3}, {"head_dim": 16}]
)
def test_an_edit_leaves_the_first_values_of_all_other_parameters_as_they_were(values: dict[str, Any]) -> None:
    base, edited = (train.build(tiny_knobs(**each), TinySession(seed=5)).state_dict() for each in ({}, values))
    common = [name for name in base if name in edited and base[name].shape == edited[name].shape]
    assert len(common) > len(base) / 2
    assert all(torch.equal(base[name], edited[name]) for name in common)
    other = train.build(tiny_knobs(), TinySession(seed=6)).state_dict()
    drawn = {name for name in base if not torch.equal(base[name], other[name])}
    assert {"embed", "head", "attentions.1.qkv", "mlps.0.up", "value_embeds.1"} <= drawn
    assert not torch.equal(base["mlps.0.up"], base["mlps.1.up"])


def test_it_memorises_one_batch() -> None:
    session = TinySession(steps=60, memorise=True)
    train_tiny(tiny_knobs(), session)
    assert session.losses[0] > 4.0
    assert session.losses[-1] < 0.1


@pytest.mark.system
@pytest.mark.parametrize("threads", first(1, [2, 1]))
def test_same_seed_and_steps_give_the_same_bits(threads: int) -> None:
    def weights(seed: int) -> tuple[list[torch.Tensor], list[float]]:
        session = TinySession(steps=5, seed=seed, threads=threads)
        model = train_tiny(tiny_knobs(width=128, batch_tokens=1024, device_batch_tokens=512), session)
        return [param.detach() for param in model.parameters()], session.losses

    (first, losses), (second, same_losses), (other, other_losses) = weights(3), weights(3), weights(4)
    assert losses == same_losses and losses != other_losses
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_accumulated_passes_are_one_batch() -> None:
    losses: list[list[float]] = []
    for at_once in (128, 32):
        session = TinySession(steps=4)
        train_tiny(tiny_knobs(batch_tokens=128, device_batch_tokens=at_once), session)
        losses.append(session.losses)
    assert losses[0] == pytest.approx(losses[1], rel=0.005)
