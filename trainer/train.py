"""Train a small GPT under a fixed budget: the one file that an agent may change.

Read it from top to bottom: knobs, model, loss, optimizer, schedule, loop. The session (data, clock, reporting) is not
ours to change: it hands out batches, says how far the budget is used up (`session.progress`), and after training asks
for the logits of token batches. Scoring happens in another process; nothing in here can state a score.

Shape suffixes: B rows, T positions, N = B*T tokens, D width, H heads, K head size, F MLP width, V vocabulary,
S stacked matrices, R rows and C columns of a matrix (R <= C). `x_BTD` has shape [B, T, D].
"""

import gc
import hashlib
import math
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.session import Session


@dataclass
class Knobs:
    """Everything one proposal may set to another value. Literal defaults only: tools read and write them as text."""

    # model
    depth: int = 2  # transformer blocks
    width: int = 128  # size of the residual stream; a multiple of head_dim
    head_dim: int = 64  # size of one attention head; heads = width / head_dim
    mlp_ratio: int = 4  # MLP hidden size / width
    window_pattern: str = "L"  # one letter a layer, repeated: S sees short_window tokens, L all; the last layer is L
    short_window: int = 64  # tokens that an S layer sees, its own included
    value_embeds: str = "alternate"  # layers with token embeddings added to their values: none, alternate, all
    softcap: float = 15.0  # logits are squeezed into (-softcap, softcap)
    rope_base: float = 10000.0  # base of the rotary wave lengths
    # batch
    seq_len: int = 256  # tokens of one training row
    batch_tokens: int = 2048  # tokens of one optimizer step
    device_batch_tokens: int = 8192  # at most this many tokens a pass; larger steps accumulate gradients
    # optimizer: AdamW rates are for width 768 and scale with (width / 768) ** -0.5
    matrix_lr: float = 0.04  # Muon: attention and MLP matrices
    embedding_lr: float = 0.6  # AdamW: token and value embeddings
    unembedding_lr: float = 0.016  # AdamW: output head
    scalar_lr: float = 0.05  # AdamW: mixing weights and gates
    weight_decay: float = 0.2  # matrices only, decoupled
    adam_beta1: float = 0.8
    adam_beta2: float = 0.95
    muon_momentum: float = 0.95
    ns_steps: int = 5  # orthogonalisation steps of Muon
    # schedule, as fractions of the budget
    warmup_frac: float = 0.05  # learning rate rises linearly from 0
    warmdown_frac: float = 0.5  # learning rate falls linearly at the end
    final_lr_frac: float = 0.0  # what is left of the learning rate at the very end
    # initial weights
    embed_std: float = 1.0  # token embeddings
    head_std: float = 0.001  # output head: near 0, so the first loss is log(vocabulary)
    matrix_scale: float = 1.0  # matrices, as a multiple of the variance-preserving size
    shift_init: float = 0.0  # share of the previous token's embedding added to each token's
    x0_init: float = 0.1  # share of the token embedding mixed into every layer's input


# ----------------------------------------------------------------------------------------------------------------------
# Model


class RMSNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2)) over the last axis, without a gain (https://arxiv.org/abs/1910.07467).

    Written out because the derivative that autograd builds from single operations costs three times as much on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Normalise the last axis of x (any leading shape)."""
        at_least_float32 = torch.promote_types(x.dtype, torch.float32)
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=at_least_float32)
        scale = scale.square_().div_(x.size(-1)).add_(1e-6).rsqrt_().to(x.dtype)
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """d/dx of y = x * scale(x): the part of the gradient along y drops out."""
        (dy,), (y, scale) = grads, ctx.saved_tensors
        along = torch.linalg.vecdot(dy, y).unsqueeze(-1)
        return torch.addcmul(dy, y, along, value=-1.0 / y.size(-1)).mul_(scale)


def norm(x: Tensor) -> Tensor:
    """RMS norm of the last axis."""
    return RMSNorm.apply(x)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """The product x @ weight.T in the precision of x; weights are kept in float32."""
    return F.linear(x, weight.to(x.dtype))


def rotary(positions: int, head_dim: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, 1, K] of the angles by which `rotate` turns: position times frequency."""
    frequencies = base ** -torch.linspace(0, 1, head_dim // 2 + 1)[:-1]
    angles = torch.outer(torch.arange(positions), frequencies).unsqueeze(1)
    return angles.cos().repeat(1, 1, 2), torch.cat([angles.sin(), -angles.sin()], dim=-1)


def rotate(x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate channels k and k + K/2 by their position's angle (RoPE, https://arxiv.org/abs/2104.09864)."""
    return torch.addcmul(x_BTHK * cos, x_BTHK.roll(x_BTHK.size(-1) // 2, dims=-1), sin)


def attention_mask(positions: int, window: int) -> Tensor:
    """[T, T] of 0 where position t may look at s (t - window < s <= t), -inf elsewhere; added to the scores."""
    visible_TT = torch.ones(positions, positions, dtype=torch.bool).tril().triu(1 - window)
    return torch.zeros(positions, positions).masked_fill_(~visible_TT, -torch.inf)


def attend(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, mask_TT: Tensor, window: int | None) -> Tensor:
    """Causal attention over the last `window` positions (None: all), as `mask_TT` says too: [B, H, T, K]."""
    if q_BHTK.device.type == "cpu":
        return attend_in_blocks(q_BHTK, k_BHTK, v_BHTK, mask_TT, window or mask_TT.size(0))
    mask = None if window is None else mask_TT
    return F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, attn_mask=mask, is_causal=mask is None)


def attend_in_blocks(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, mask_TT: Tensor, window: int) -> Tensor:
    """The same from plain operations, a block of queries at a time against the keys that it can see.

    On a CPU this takes less than half the time of the fused kernel.
    """
    B, H, T, K = q_BHTK.shape
    q_STK, k_STK, v_STK = (x.reshape(B * H, T, K) for x in (q_BHTK, k_BHTK, v_BHTK))
    blocks: list[Tensor] = []
    for start in range(0, T, 128):
        queries = slice(start, min(start + 128, T))
        seen = slice(max(0, start - window + 1), queries.stop)
        scores = torch.baddbmm(mask_TT[queries, seen], q_STK[:, queries], k_STK[:, seen].mT, alpha=K**-0.5)
        blocks.append(torch.bmm(scores.softmax(-1), v_STK[:, seen]))
    return torch.cat(blocks, dim=1).view(B, H, T, K)


GATE_CHANNELS = 32
"""Leading channels of the residual stream that open and close the value embeddings."""


class Attention(nn.Module):
    """Causal self-attention with rotary positions, normalised queries and keys, and gated value embeddings."""

    def __init__(self, knobs: Knobs, window: int | None, value_embeds: bool) -> None:
        super().__init__()
        D, self.head_dim, self.window = knobs.width, knobs.head_dim, window
        self.heads = D // knobs.head_dim
        self.qkv = nn.Parameter(torch.empty(3, D, D))
        self.out = nn.Parameter(torch.zeros(D, D))
        self.gate = nn.Parameter(torch.zeros(self.heads, min(GATE_CHANNELS, D))) if value_embeds else None

    def forward(self, x_BTD: Tensor, value_BTD: Tensor | None, turn: tuple[Tensor, Tensor], mask_TT: Tensor) -> Tensor:
        """Mix positions: [B, T, D] to [B, T, D].

        `value_BTD`: this layer's value embeddings, if it has any; `turn`: cosines and sines [T, 1, K] of rotations.
        """
        B, T, D = x_BTD.shape
        H, K = self.heads, self.head_dim
        qk_BTHK, v_BTHK = linear(x_BTD, self.qkv.flatten(0, 1)).view(B, T, 3 * H, K).split([2 * H, H], dim=2)
        # Queries and keys go through the same steps: take them as 2H heads. Normalising them bounds the attention
        # scores (https://arxiv.org/abs/2010.04245).
        q_BHTK, k_BHTK = rotate(norm(qk_BTHK), *turn).transpose(1, 2).chunk(2, dim=1)
        if self.gate is not None and value_BTD is not None:
            # Value residuals from the token itself (https://arxiv.org/abs/2410.17897), opened per head and position.
            gate_BTH = 2 * torch.sigmoid(linear(x_BTD[..., : self.gate.size(1)], self.gate))
            v_BTHK = v_BTHK + gate_BTH.unsqueeze(-1) * value_BTD.view(B, T, H, K)
        y_BHTK = attend(q_BHTK, k_BHTK, v_BTHK.transpose(1, 2), mask_TT, self.window)
        return linear(y_BHTK.transpose(1, 2).reshape(B, T, D), self.out)


class MLP(nn.Module):
    """Two matrices around a squared ReLU (https://arxiv.org/abs/2109.08668)."""

    def __init__(self, knobs: Knobs) -> None:
        super().__init__()
        D, F_ = knobs.width, knobs.width * knobs.mlp_ratio
        self.up = nn.Parameter(torch.empty(F_, D))
        self.down = nn.Parameter(torch.zeros(D, F_))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D], each position by itself."""
        return linear(F.relu(linear(x_BTD, self.up)).square(), self.down)


class GPT(nn.Module):
    """Decoder-only transformer (https://arxiv.org/abs/2005.14165) with the changes named at each part.

    Args:
        knobs: the shape.
        vocab_size: V.
        positions: the longest row that it will be asked about.
        dtype: of all activations; weights are float32.
        seed: of the initial weights.
    """

    def __init__(self, knobs: Knobs, vocab_size: int, positions: int, dtype: torch.dtype, seed: int) -> None:
        super().__init__()
        self.knobs, self.dtype, L, D = knobs, dtype, knobs.depth, knobs.width
        self.windows, with_values = layer_windows(knobs), value_layers(knobs)
        cos, sin = rotary(positions, knobs.head_dim, knobs.rope_base)
        self.cos, self.sin = (nn.Buffer(part.to(dtype), persistent=False) for part in (cos, sin))
        self.all_TT = nn.Buffer(attention_mask(positions, positions).to(dtype), persistent=False)
        self.short_TT = nn.Buffer(attention_mask(positions, knobs.short_window).to(dtype), persistent=False)
        self.embed = nn.Parameter(torch.empty(vocab_size, D))
        self.value_embeds = nn.ParameterDict({str(i): nn.Parameter(torch.empty(vocab_size, D)) for i in with_values})
        self.attentions = nn.ModuleList(Attention(knobs, self.windows[i], i in with_values) for i in range(L))
        self.mlps = nn.ModuleList(MLP(knobs) for _ in range(L))
        self.head = nn.Parameter(torch.empty(vocab_size, D))
        self.shift = nn.Parameter(torch.full((D,), knobs.shift_init))
        self.x_mix = nn.Parameter(torch.ones(L))
        self.x0_mix = nn.Parameter(torch.full((L,), knobs.x0_init))
        self.init_weights(seed)

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Draw the weights. Matrices that write to the residual stream start at 0: every block begins as identity."""
        bound = self.knobs.matrix_scale * math.sqrt(3.0 / self.knobs.width)  # uniform with variance scale^2 / D
        for name, param in self.named_parameters():
            draws = generator(name, seed)
            if name == "embed":
                param.normal_(std=self.knobs.embed_std, generator=draws)
            elif name == "head":
                param.normal_(std=self.knobs.head_std, generator=draws)
            elif name.startswith("value_embeds.") or name.endswith((".qkv", ".up")):
                param.uniform_(-bound, bound, generator=draws)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Features [B, T, D] that the head turns into logits; position t knows tokens 0..t only."""
        T = tokens_BT.size(1)
        turn = self.cos[:T], self.sin[:T]
        x_BTD = norm(F.embedding(tokens_BT, self.embed).to(self.dtype))
        # A learned share of the token before, channel by channel (https://arxiv.org/abs/2305.13048): looking back by
        # one is what the first attention layer would otherwise spend most of a short training on.
        x_BTD = x0_BTD = x_BTD + self.shift.to(self.dtype) * F.pad(x_BTD, (0, 0, 1, -1))
        for i, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            # Each layer may take from the token embedding directly, and damp what came before it.
            x_BTD = self.x_mix[i] * x_BTD + self.x0_mix[i] * x0_BTD
            value = self.value_embeds.get(str(i))
            value_BTD = None if value is None else F.embedding(tokens_BT, value).to(self.dtype)
            mask_TT = self.all_TT if self.windows[i] is None else self.short_TT
            x_BTD = x_BTD + attention(norm(x_BTD), value_BTD, turn, mask_TT[:T, :T])
            x_BTD = x_BTD + mlp(norm(x_BTD))
        return norm(x_BTD)

    @torch.inference_mode()
    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Next-token logits [B, T, V] in float32, for scoring."""
        # `self.forward`, not `self`: what was compiled for the shape of training would be compiled again.
        cap, raw_BTV = self.knobs.softcap, linear(self.forward(tokens_BT), self.head).float()
        return raw_BTV.mul_(2 / cap).sigmoid_().mul_(2 * cap).sub_(cap)  # in place: cap * tanh(raw / cap)

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Mean cross-entropy of the next tokens, in nats."""
        x_BTD = self(tokens_BT)
        return SoftcapCrossEntropy.apply(x_BTD.flatten(0, 1), self.head, targets_BT.flatten(), self.knobs.softcap)


def generator(name: str, seed: int) -> torch.Generator:
    """Random numbers of one parameter, whatever others there are.

    Two programs with one seed start from the same weights wherever they have the same parameters, so their difference
    is what the edit did and not what the dice did (common random numbers).
    """
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8]))


def layer_windows(knobs: Knobs) -> list[int | None]:
    """Attention window of each layer (https://arxiv.org/abs/2004.05150); None sees everything, as the last layer."""
    letters = [knobs.window_pattern[i % len(knobs.window_pattern)] for i in range(knobs.depth)]
    return [knobs.short_window if letter == "S" else None for letter in letters[:-1]] + [None]


def value_layers(knobs: Knobs) -> list[int]:
    """Layers that have value embeddings: `alternate` counts back from the last one."""
    step = {"none": 0, "alternate": 2, "all": 1}[knobs.value_embeds]
    return list(range(knobs.depth - 1, -1, -step)) if step else []


# ----------------------------------------------------------------------------------------------------------------------
# Loss


class SoftcapCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of softcapped logits, without ever holding all logits.

    The gradient is worked out next to the loss, a slice of tokens at a time: a slice stays in the cache, and the
    [N, V] matrix, the largest of the whole step, never exists. Softcap: https://arxiv.org/abs/2408.00118.
    """

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, head_VD: Tensor, targets_N: Tensor, softcap: float) -> Tensor:
        """Scalar loss in nats, float32."""
        N, V = x_ND.size(0), head_VD.size(0)
        slice_bytes = 2**21 if x_ND.device.type == "cpu" else 2**29
        size = max(1, slice_bytes // (4 * V))
        # cap * tanh(l / cap) = 2 * cap * sigmoid(2 * l / cap) - cap, and softmax ignores the constant. The sigmoid is
        # several times faster than the tanh on a CPU. Its factor 2 / cap goes into the small matrix.
        w_VD = (head_VD * (2.0 / softcap)).to(x_ND.dtype)
        dx_ND, dw_VD = torch.empty_like(x_ND), torch.zeros_like(head_VD)
        total = torch.zeros((), device=x_ND.device)
        for x, targets, dx in zip(x_ND.split(size), targets_N.split(size), dx_ND.split(size), strict=True):
            open_nV = (x @ w_VD.mT).float().sigmoid_()
            p_nV = (open_nV * (2.0 * softcap)).softmax(-1)
            rows = torch.arange(x.size(0), device=x.device)
            total -= p_nV[rows, targets].clamp_min(1e-38).log().sum()
            p_nV[rows, targets] -= 1.0  # d loss / d capped logit; the next line goes on through 2 * cap * sigmoid
            d_nV = p_nV.mul_(open_nV.addcmul_(open_nV, open_nV, value=-1.0)).mul_(2.0 * softcap / N).to(x.dtype)
            torch.matmul(d_nV, w_VD, out=dx)
            dw_VD += d_nV.mT @ x
        ctx.save_for_backward(dx_ND, dw_VD.mul_(2.0 / softcap))
        return total / N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Scale the gradients that forward has already computed."""
        dx_ND, dw_VD = ctx.saved_tensors
        return dx_ND * grads[0].to(dx_ND.dtype), dw_VD * grads[0], None, None


# ----------------------------------------------------------------------------------------------------------------------
# Optimizer

POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
"""Coefficients of the odd polynomials, one a step, that drive singular values to 1 fastest in bf16: the Polar Express
(https://arxiv.org/abs/2505.16932)."""


def orthogonalize(g_SRC: Tensor, steps: int) -> Tensor:
    """The nearest matrices with all singular values 1 (roughly), for R <= C, by a Newton-Schulz iteration."""
    x = g_SRC / (torch.linalg.matrix_norm(g_SRC, keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS[:steps]:
        gram_SRR = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram_SRR, gram_SRR, gram_SRR, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Momentum, then orthogonalisation: every direction of a matrix gets an equally large update.

    Muon is by Keller Jordan (https://kellerjordan.github.io/posts/muon/; scaled up in https://arxiv.org/abs/2502.16982).
    Matrices of one shape are stacked and treated in one go; tall ones are laid on their side to lie with the flat ones.

    Args:
        params: matrices [R, C] or stacks of matrices [S, R, C].
        lr: size of an update; a matrix with more rows than columns gets sqrt(rows / columns) times as much.
        momentum: of the gradient's running mean; the update looks one step ahead (Nesterov).
        weight_decay: decoupled: weights shrink by lr * weight_decay a step.
        ns_steps: orthogonalisation steps.
    """

    def __init__(
        self, params: list[nn.Parameter], lr: float, momentum: float, weight_decay: float, ns_steps: int
    ) -> None:
        by_shape: dict[tuple[int, ...], list[nn.Parameter]] = defaultdict(list)
        for param in params:
            by_shape[tuple(sorted(param.shape[-2:]))].append(param)
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "ns_steps": ns_steps}
        super().__init__([{"params": same_shape} for same_shape in by_shape.values()], defaults)

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # no closure
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            params = group["params"]
            grads_SRC = torch.cat([stacked(param.grad) for param in params])
            mean_SRC = self.state[params[0]].setdefault("mean", torch.zeros_like(grads_SRC))
            mean_SRC.lerp_(grads_SRC, 1 - group["momentum"])
            ahead_SRC = grads_SRC.lerp_(mean_SRC, group["momentum"])
            updates_SRC = orthogonalize(ahead_SRC.to(fast_dtype(ahead_SRC.device)), group["ns_steps"])
            counts = [param.numel() // param.size(-1) // param.size(-2) for param in params]
            for param, update_SRC in zip(params, updates_SRC.split(counts), strict=True):
                rows, columns = param.shape[-2:]
                update = (update_SRC.mT if rows > columns else update_SRC).reshape(param.shape)
                param.mul_(1 - group["lr"] * group["weight_decay"])
                param.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def stacked(matrices: Tensor) -> Tensor:
    """View one matrix or a stack of them as [S, R, C] with R <= C."""
    stack = matrices.reshape(-1, *matrices.shape[-2:])
    return stack.mT if stack.size(-2) > stack.size(-1) else stack


class MuonAdamW:
    """Four groups of parameters: matrices by Muon; embeddings, unembedding and scalars by AdamW.

    AdamW (https://arxiv.org/abs/1711.05101) moves every number by about its rate, so a vector of width D moves by
    sqrt(D) times that: its rates are stated for width 768 and scaled by (width / 768) ** -0.5.
    """

    def __init__(self, model: GPT, knobs: Knobs) -> None:
        scale = (knobs.width / 768) ** -0.5
        blocks = [*model.attentions.named_parameters(), *model.mlps.named_parameters()]
        gates = [param for name, param in blocks if name.endswith("gate")]
        matrices = [param for name, param in blocks if not name.endswith("gate")]
        groups = [
            {"params": [model.embed, *model.value_embeds.values()], "lr": knobs.embedding_lr * scale},
            {"params": [model.head], "lr": knobs.unembedding_lr * scale},
            {"params": [model.shift, model.x_mix, model.x0_mix, *gates], "lr": knobs.scalar_lr * scale},
        ]
        betas = (knobs.adam_beta1, knobs.adam_beta2)
        self.adamw = torch.optim.AdamW(groups, betas=betas, eps=1e-10, weight_decay=0.0, fused=True)
        self.muon = Muon(matrices, knobs.matrix_lr, knobs.muon_momentum, knobs.weight_decay, knobs.ns_steps)
        self.groups = self.muon.param_groups + self.adamw.param_groups
        for group in self.groups:
            group["full_lr"] = group["lr"]

    def step(self, share: float) -> None:
        """Update all parameters with `share` of the full learning rates, and drop the gradients."""
        for group in self.groups:
            group["lr"] = group["full_lr"] * share
        self.muon.step()
        self.adamw.step()
        self.muon.zero_grad()
        self.adamw.zero_grad()


# ----------------------------------------------------------------------------------------------------------------------
# Schedule, device and cost


def lr_scale(progress: float, knobs: Knobs) -> float:
    """Share of the full learning rate at `progress` in [0, 1]: rise, stay, fall (https://arxiv.org/abs/2405.18392)."""
    if progress < knobs.warmup_frac:
        return progress / knobs.warmup_frac
    if progress <= 1 - knobs.warmdown_frac:
        return 1.0
    left = (1 - progress) / knobs.warmdown_frac
    return left + (1 - left) * knobs.final_lr_frac


@lru_cache
def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster than float32: asked of the hardware, not assumed."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32
    return torch.float32


def flops_per_token(knobs: Knobs, vocab_size: int) -> float:
    """Floating-point operations to train on one token, as PaLM counts them (https://arxiv.org/abs/2204.02311, B).

    6 for each weight of a matrix product, and 12 * D for each position seen by each layer, not halved for causality.
    """
    D = knobs.width
    weights = knobs.depth * (4 + 2 * knobs.mlp_ratio) * D * D + vocab_size * D
    gates = len(value_layers(knobs)) * (D // knobs.head_dim) * min(GATE_CHANNELS, D)
    seen = sum(min(window or knobs.seq_len, knobs.seq_len) for window in layer_windows(knobs))
    return 6.0 * (weights + gates) + 12.0 * D * seen


# ----------------------------------------------------------------------------------------------------------------------
# The run


def build(knobs: Knobs, session: Session) -> GPT:
    """The model on its device, with weights drawn from the session's seed."""
    torch.manual_seed(session.seed)
    if session.threads:
        torch.set_num_threads(session.threads)
    torch.set_float32_matmul_precision("high")  # TF32 for what is left in float32 on CUDA
    device = torch.device(session.device)
    positions = max(knobs.seq_len, session.eval_seq_len)
    return GPT(knobs, session.vocab_size, positions, fast_dtype(device), session.seed).to(device)


def to_device(batch_BT: np.ndarray[Any, np.dtype[np.int64]], device: torch.device) -> Tensor:
    """Tokens as a tensor on the device; the copy to a GPU runs beside its work."""
    tokens_BT = torch.from_numpy(batch_BT)
    return tokens_BT.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tokens_BT.to(device)


def train(model: GPT, knobs: Knobs, session: Session) -> None:
    """Train the model until the session's budget is spent, save it and report its summary."""
    device = model.embed.device
    optimizer = MuonAdamW(model, knobs)
    step_tokens = min(knobs.batch_tokens, knobs.device_batch_tokens)
    passes = knobs.batch_tokens // step_tokens
    batches = session.batches(step_tokens // knobs.seq_len, knobs.seq_len)
    if worth_compiling(session):
        model.compile(dynamic=False)
    warm_up(model, step_tokens // knobs.seq_len, knobs.seq_len)

    with no_garbage_collection():
        params = sum(param.numel() for param in model.parameters())
        session.start(params=params, flops_per_token=flops_per_token(knobs, session.vocab_size))
        while not session.done:
            share = lr_scale(session.progress, knobs)
            loss = torch.zeros((), device=device)
            for _ in range(passes):
                tokens_BT, targets_BT = (to_device(part, device) for part in next(batches))
                part = model.loss(tokens_BT, targets_BT) / passes
                part.backward()
                loss += part.detach()
            optimizer.step(share)
            session.step(loss.item(), knobs.batch_tokens)  # ends the run when the loss is NaN or explodes
    session.finish(summary(knobs, device), save=lambda file: torch.save(model.state_dict(), file))


def load(model: GPT, session: Session) -> None:
    """Give the model the weights that `train` saved in another process: they must be all that it has learned."""
    model.load_state_dict(torch.load(session.saved_state(), map_location=model.embed.device, weights_only=True))


def worth_compiling(session: Session) -> bool:
    """Compiling takes about a minute before the clock starts: only where it pays, and where its compiler exists."""
    long = session.budget.kind != "seconds" or session.budget.amount >= 120
    return session.device == "cuda" and long and find_spec("triton") is not None


def warm_up(model: GPT, rows: int, seq_len: int) -> None:
    """Run both directions once, so that compiling and first allocations stay outside the clock; nothing is learned."""
    tokens_BT = torch.zeros(rows, seq_len, dtype=torch.int64, device=model.embed.device)
    for _ in range(2):
        model.loss(tokens_BT, tokens_BT).backward()
    model.zero_grad()


@contextmanager
def no_garbage_collection() -> Generator[None]:
    """Training makes no reference cycles worth collecting: a pause in the middle of a step only costs time."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def summary(knobs: Knobs, device: torch.device) -> dict[str, Any]:
    """What a person may want to read at the end, next to the session's own numbers."""
    vram = {"peak_vram_mb": torch.cuda.max_memory_allocated() / 2**20} if device.type == "cuda" else {}
    return {**vram, "depth": knobs.depth, "precision": str(fast_dtype(device)).removeprefix("torch.")}


def main() -> None:
    """Train, or load what was trained, then answer the parent's questions until it has a score."""
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session)
    if session.replica:
        load(model, session)
    else:
        train(model, knobs, session)
    model.eval()

    def logits(tokens_BT: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        return model.logits(to_device(tokens_BT, model.embed.device)).cpu().numpy()

    session.serve(logits)


if __name__ == "__main__":
    main()
