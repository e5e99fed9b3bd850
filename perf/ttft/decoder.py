# SPDX-License-Identifier: Apache-2.0
"""A decoder of a real model's geometry with random weights, in plain PyTorch.

RMSNorm, rotary embedding, grouped-query attention, SwiGLU: what Llama-3.1 computes, without its
weights, which cost and move as many bytes as these. Nothing here knows of the pool; what it takes
from outside is a paged KV cache and, per layer, a call that returns once the layer may be used.

The logits of two runs can be compared to the bit only where both cut the prompt at the same
places: a matrix product of another shape may round differently. plan_chunks() cuts for all of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Geometry:
    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    rope_theta: float = 500000.0
    rms_epsilon: float = 1e-5

    @property
    def parameters(self) -> int:
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate) + (
            2 * self.vocabulary * self.hidden)

    def kv_bytes_per_token(self, element_bytes: int) -> int:
        return self.layers * 2 * self.kv_heads * self.head_dim * element_bytes


# From the models' config.json; the last two only for machines without a GPU.
GEOMETRIES = {one.name: one for one in (
    Geometry("llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256),
    Geometry("llama-3.2-3b", 28, 3072, 24, 8, 128, 8192, 128256),
    Geometry("llama-3.2-1b", 16, 2048, 32, 8, 64, 8192, 128256),
    Geometry("small", 8, 512, 8, 2, 64, 1536, 8192),
    Geometry("tiny", 4, 128, 4, 2, 32, 384, 1024),
)}


def plan_chunks(tokens: int, chunk: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    """[begin, end) of each step of a prefill: of `chunk` tokens at most, ending at every cut. The
    last token is a step of its own, as it is where all before it were loaded."""
    edges = sorted({0, tokens, tokens - 1, *(cut for cut in cuts if 0 < cut < tokens)})
    steps = []
    for begin, end in zip(edges, edges[1:]):
        steps += [(at, min(at + chunk, end)) for at in range(begin, end, chunk)]
    return steps


class PagedCache:
    """KV pages as vLLM's flash attention has them: per layer [2, blocks, block_tokens, kv_heads,
    head_dim]. One sequence has them, its blocks in an order that is nobody's."""

    def __init__(self, geometry: Geometry, layers: int, tokens: int, block_tokens: int,
                 device: str, dtype: torch.dtype, seed: int):
        self.block_tokens = block_tokens
        self.blocks = -(-tokens // block_tokens) + 1  # one is nobody's, as in engines
        self.pages = [
            torch.zeros(2, self.blocks, block_tokens, geometry.kv_heads, geometry.head_dim,
                        device=device, dtype=dtype) for _ in range(layers)]
        order = torch.randperm(self.blocks - 1, generator=torch.Generator().manual_seed(seed)) + 1
        self.block_list = order.tolist()
        self.table = order.to(device)

    @property
    def size_bytes(self) -> int:
        return sum(page.numel() * page.element_size() for page in self.pages)

    def write(self, layer: int, begin: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Puts [tokens, heads, dim] of the sequence's tokens from `begin` into their pages."""
        at = torch.arange(begin, begin + keys.shape[0], device=keys.device)
        slots = self.table[at // self.block_tokens] * self.block_tokens + at % self.block_tokens
        flat = self.pages[layer].view(2, -1, *self.pages[layer].shape[3:])
        flat[0].index_copy_(0, slots, keys)
        flat[1].index_copy_(0, slots, values)

    def read(self, layer: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """[tokens, heads, dim] of K and of V of the tokens before `end`."""
        blocks = self.table[:-(-end // self.block_tokens)]
        page = self.pages[layer]
        keys, values = (page[plane].index_select(0, blocks).flatten(0, 1)[:end]
                        for plane in (0, 1))
        return keys, values

    def spoil(self) -> None:
        for page in self.pages:
            page.fill_(float("nan"))


def plain_attention(query, key, value):
    """The definition, in float: [heads, queries, dim], [kv_heads, keys, dim]; the last query sees
    all keys, those before it one less each."""
    groups = query.shape[0] // key.shape[0]
    key = key.float().repeat_interleave(groups, 0)
    value = value.float().repeat_interleave(groups, 0)
    queries, keys = query.shape[1], key.shape[1]
    scores = query.float() @ key.transpose(1, 2) / math.sqrt(query.shape[2])
    hidden = torch.ones(queries, keys, dtype=torch.bool, device=query.device).triu(
        keys - queries + 1)
    weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    return (weights @ value).to(query.dtype)


def _lower_right(query, key, value):
    from torch.nn.attention.bias import causal_lower_right
    bias = causal_lower_right(query.shape[1], key.shape[1])
    return F.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=bias,
                                          enable_gqa=True)[0]


def _masked(query, key, value):
    groups = query.shape[0] // key.shape[0]
    seen = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool, device=query.device).tril(
        key.shape[1] - query.shape[1])
    return F.scaled_dot_product_attention(
        query[None], key.repeat_interleave(groups, 0)[None],
        value.repeat_interleave(groups, 0)[None], attn_mask=seen)[0]


def choose_attention(geometry: Geometry, device: str, dtype: torch.dtype) -> tuple[str, Callable]:
    """The fastest form that this PyTorch has and that agrees with the definition."""
    shape = dict(device=device, dtype=dtype)
    query = torch.randn(geometry.heads, 48, geometry.head_dim, **shape)
    key, value = (torch.randn(geometry.kv_heads, 144, geometry.head_dim, **shape) for _ in "kv")
    wanted = plain_attention(query, key, value).float()
    for name, form in (("sdpa, causal_lower_right, gqa", _lower_right), ("sdpa, mask", _masked)):
        try:
            error = (form(query, key, value).float() - wanted).abs().max().item()
        except (AttributeError, ImportError, TypeError, RuntimeError, NotImplementedError):
            continue
        if error <= 0.02:
            return name, form
    return "plain, in float", plain_attention


class Decoder:
    def __init__(self, geometry: Geometry, device: str, dtype: torch.dtype, seed: int):
        self.geometry, self.device, self.dtype = geometry, device, dtype
        self.attention_name, self.attention = choose_attention(geometry, device, dtype)
        generator = torch.Generator(device=device).manual_seed(seed)

        def matrix(rows: int, columns: int) -> torch.Tensor:
            weight = torch.empty(rows, columns, device=device, dtype=dtype)
            return weight.normal_(0, 1 / math.sqrt(columns), generator=generator)

        g = geometry
        self.embedding = matrix(g.vocabulary, g.hidden).mul_(math.sqrt(g.hidden))
        self.head = matrix(g.vocabulary, g.hidden)
        self.layers = [{
            "qkv": matrix((g.heads + 2 * g.kv_heads) * g.head_dim, g.hidden),
            "out": matrix(g.hidden, g.heads * g.head_dim),
            "gate_up": matrix(2 * g.intermediate, g.hidden),
            "down": matrix(g.hidden, g.intermediate),
        } for _ in range(g.layers)]
        steps = torch.arange(0, g.head_dim, 2, device=device, dtype=torch.float32)
        self.frequencies = g.rope_theta ** (-steps / g.head_dim)

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.geometry.rms_epsilon)
        return (wide * scale).to(x.dtype)

    def rotation(self, begin: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        at = torch.arange(begin, end, device=self.device, dtype=torch.float32)
        angles = torch.outer(at, self.frequencies)[:, None, :]
        return angles.cos(), angles.sin()

    @staticmethod
    def _rotate(x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        cos, sin = rotation
        first, second = x.float().chunk(2, -1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(x.dtype)

    def layer(self, number: int, x: torch.Tensor, begin: int, cache: PagedCache,
              cache_layer: int) -> torch.Tensor:
        """One layer over the tokens from `begin`, whose KV it adds to the cache."""
        g, weights = self.geometry, self.layers[number]
        tokens = x.shape[0]
        qkv = F.linear(self._norm(x), weights["qkv"]).view(tokens, -1, g.head_dim)
        query, key, value = qkv.split((g.heads, g.kv_heads, g.kv_heads), 1)
        rotation = self.rotation(begin, begin + tokens)
        cache.write(cache_layer, begin, self._rotate(key, rotation), value)
        keys, values = cache.read(cache_layer, begin + tokens)
        seen = self.attention(self._rotate(query, rotation).transpose(0, 1),
                              keys.transpose(0, 1), values.transpose(0, 1))
        x = x + F.linear(seen.transpose(0, 1).reshape(tokens, -1), weights["out"])
        gate, up = F.linear(self._norm(x), weights["gate_up"]).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, weights["down"])

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.embedding(tokens, self.embedding)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Of the last token."""
        return F.linear(self._norm(x[-1:]), self.head)[0].float()

    @torch.inference_mode()
    def prefill(self, prompt: torch.Tensor, steps: Sequence[tuple[int, int]], cache: PagedCache,
                before_layer: Callable[[int], None] | None = None) -> torch.Tensor:
        """Step by step through all layers; before_layer(n) comes before layer n's first use."""
        for begin, end in steps:
            x = self.embed(prompt[begin:end])
            for number in range(self.geometry.layers):
                if before_layer is not None:
                    before_layer(number)
                x = self.layer(number, x, begin, cache, number)
            before_layer = None  # what was loaded is there for all later steps
        return self.logits(x)

    @torch.inference_mode()
    def prefill_by_layer(self, prompt: torch.Tensor, steps: Sequence[tuple[int, int]],
                         cache_of: Callable[[int], tuple[PagedCache, int]],
                         after_layer: Callable[[int], None] | None = None) -> torch.Tensor:
        """Layer by layer through all steps, so that one layer's KV is enough: cache_of(layer)
        gives the cache and the layer's number in it, once it may be used. The same products of the
        same shapes as prefill(), so the same logits."""
        parts = [self.embed(prompt[begin:end]) for begin, end in steps]
        for number in range(self.geometry.layers):
            cache, cache_layer = cache_of(number)
            for i, (begin, _) in enumerate(steps):
                parts[i] = self.layer(number, parts[i], begin, cache, cache_layer)
            if after_layer is not None:
                after_layer(number)
        return self.logits(parts[-1])
