# SPDX-License-Identifier: Apache-2.0
"""Time to the first token of a prompt, its KV computed or taken from the pool.

Whole: the GPU's cache holds the context. Layers are computed as they arrive. Capped: it holds the
KV of a few layers only, in two halves; each half is loaded while the other is computed with, and
what recomputes in so small a cache goes layer by layer too. Every time is that of a wall clock,
from the request to the token's number in the host's memory, this machine's own, and beside it
stands what a pinned copy does on it.
"""

import hashlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from decoder import Decoder, PagedCache, plan_chunks
from pool import Cache, Load, Pool

# torch.testing.assert_close's of the dtypes, here relative to the largest logit.
TOLERANCES = {torch.bfloat16: 1.6e-2, torch.float16: 1e-3, torch.float32: 1.3e-6}


@dataclass(frozen=True)
class Plan:
    chunk: int
    block_tokens: int
    object_tokens: int
    hits: Sequence[int]
    repeats: int
    capped_layers: int  # of one of the two halves
    seed: int
    seconds_max: float  # after which a length begins no further repeat


class Clock:
    """Waits for the device before it looks at the time: for the measured, not for the library."""

    def __init__(self, device: str):
        self.is_cuda = device.startswith("cuda")

    def now(self) -> float:
        if self.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def spread(seconds: Sequence[float]) -> dict:
    median = statistics.median(seconds)
    return {"repeats": len(seconds), "median_s": median, "min_s": min(seconds),
            "max_s": max(seconds),
            "mad_s": statistics.median(abs(one - median) for one in seconds)}


def chain_names(prompt: torch.Tensor, object_tokens: int, salt: str) -> list[str]:
    """A name for each object of the prompt, which says all tokens up to its end."""
    names, state = [], hashlib.sha256(salt.encode()).digest()
    tokens = prompt.to("cpu", torch.int32)
    for begin in range(0, len(tokens) - object_tokens + 1, object_tokens):
        part = tokens[begin:begin + object_tokens].numpy().tobytes()
        state = hashlib.sha256(state + part).digest()
        names.append(state.hex()[:40])
    return names


def digest(cache: PagedCache, layers: int, tokens: int) -> list[int]:
    """By layer, a sum that changes with any byte and most exchanges of bytes."""
    sums = []
    for layer in range(layers):
        total = 0
        for plane in cache.read(layer, tokens):
            words = plane.contiguous().view(torch.int16).flatten().to(torch.int64)
            places = torch.arange(len(words), device=words.device) % 65521 + 1
            total = (total * 31 + int((words * places).sum())) % (1 << 61)
        sums.append(total)
    return sums


def compare(logits: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype) -> dict:
    scale = wanted.abs().max().item()
    difference = (logits - wanted).abs().max().item()
    return {
        "max_abs_difference": difference if math.isfinite(difference) else None,
        "largest_logit": scale,
        "tolerance": TOLERANCES[dtype] * scale,
        "within_tolerance": difference <= TOLERANCES[dtype] * scale,  # not with a NaN
        "equal_bits": bool(torch.equal(logits, wanted)),
        "token": int(logits.argmax()), "token_equal": bool(logits.argmax() == wanted.argmax()),
    }


class Experiment:
    """One decoder and one pool; measure() gives the rows of one length of prompt."""

    def __init__(self, decoder: Decoder, pool: Pool, plan: Plan, say: Callable[[str], None]):
        self.decoder, self.pool, self.plan, self.say = decoder, pool, plan, say
        self.clock = Clock(decoder.device)
        self.geometry = decoder.geometry

    def measure(self, tokens: int) -> list[dict]:
        self.tokens = tokens
        generator = torch.Generator().manual_seed(self.plan.seed + tokens)
        self.prompt = torch.randint(self.geometry.vocabulary, (tokens,), generator=generator).to(
            self.decoder.device)
        unit = self.plan.object_tokens
        self.hit_tokens = {hit: tokens * hit // 100 // unit * unit for hit in self.plan.hits}
        self.steps = plan_chunks(tokens, self.plan.chunk, list(self.hit_tokens.values()))
        return self._whole() + (self._capped() if self.plan.capped_layers > 0 else [])

    # --- Shared. ---

    def _make_cache(self, layers: int) -> PagedCache:
        return PagedCache(self.geometry, layers, self.tokens, self.plan.block_tokens,
                          self.decoder.device, self.decoder.dtype, self.plan.seed)

    def _names(self, hit: int, salt: str = "") -> list[str]:
        """What a prompt asks for that shares so much of its beginning with the one that is
        stored, and nothing behind it."""
        shared = self.hit_tokens[hit] // self.plan.object_tokens
        stored = chain_names(self.prompt, self.plan.object_tokens, "kv")
        other = chain_names(self.prompt, self.plan.object_tokens, f"another prompt, {hit}")
        return [name + salt for name in stored[:shared] + other[shared:]]

    def _stored_names(self, salt: str = "") -> list[str]:
        return [name + salt for name in chain_names(self.prompt, self.plan.object_tokens, "kv")]

    def _suffix(self, hit_tokens: int) -> list[tuple[int, int]]:
        return [step for step in self.steps if step[0] >= hit_tokens] or self.steps[-1:]

    def _repeat(self, once: Callable[[], tuple[float, torch.Tensor]]) -> tuple[dict, torch.Tensor]:
        """The first pass warms up and does not count, but for one that takes so long that a cold
        start is nothing beside it."""
        times, logits = [], None
        begin = time.perf_counter()
        for repeat in range(self.plan.repeats + 1):
            seconds, logits = once()
            if repeat > 0 or seconds > self.plan.seconds_max / 2:
                times.append(seconds)
            if times and time.perf_counter() - begin > self.plan.seconds_max:
                break
        return spread(times), logits

    def _row(self, kind: str, hit: int, cache_bytes: int, recompute: dict, loaded: dict,
             compute: dict, load_bytes: int) -> dict:
        return {
            "cache": kind, "tokens": self.tokens, "hit_percent": hit,
            "hit_tokens": self.hit_tokens[hit], "steps": len(self.steps),
            "cache_bytes": cache_bytes, "load_bytes": load_bytes,
            "context_bytes": self.tokens * self.geometry.kv_bytes_per_token(
                torch.empty(0, dtype=self.decoder.dtype).element_size()),
            "recompute": recompute, "with_pool": loaded, "suffix_alone": compute,
            "of_recompute": loaded["median_s"] / recompute["median_s"],
        }

    def _first_token(self, compute: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
        begin = self.clock.now()
        logits = compute()
        logits.argmax().item()
        return self.clock.now() - begin, logits

    # --- The context fits the cache. ---

    def _whole(self) -> list[dict]:
        layers, decoder = self.geometry.layers, self.decoder
        cache = self._make_cache(layers)
        self.say(f"{self.tokens} tokens: recompute")
        recompute, wanted = self._repeat(lambda: self._first_token(
            lambda: decoder.prefill(self.prompt, self.steps, cache)))
        sums = digest(cache, layers, self.tokens - 1)
        with self.pool.open_cache(cache, self.geometry, self.plan.object_tokens) as pages:
            stored = self._store(pages, cache, self._stored_names())
            rows = [self._whole_hit(hit, cache, pages, recompute, wanted, sums)
                    for hit in self.plan.hits]
        for row in rows:
            row["store"] = stored
        return rows

    def _store(self, pages: Cache, cache: PagedCache, names: list[str]) -> dict:
        begin = self.clock.now()
        statuses = pages.store(names, self._blocks(cache, len(names)))
        seconds = self.clock.now() - begin
        moved = len(names) * pages.object_bytes
        return {"bytes": moved, "seconds": seconds, "gb_per_s": moved / seconds / 1e9,
                "failed": sum(status != "ok" for status in statuses),
                "statuses": sorted(set(statuses))}

    def _blocks(self, cache: PagedCache, objects: int) -> list[int]:
        return cache.block_list[:objects * self.plan.object_tokens // self.plan.block_tokens]

    def _whole_hit(self, hit: int, cache: PagedCache, pages: Cache, recompute: dict,
                   wanted: torch.Tensor, sums: list[int]) -> dict:
        self.say(f"{self.tokens} tokens: {hit} % from the pool")
        decoder, layers = self.decoder, self.geometry.layers
        names = self._names(hit)
        found_counts, failed = set(), [0]

        def once() -> tuple[float, torch.Tensor]:
            cache.spoil()
            load: list[Load] = []

            def compute() -> torch.Tensor:
                found = pages.find(names)
                found_counts.add(found)
                if found:
                    load.append(pages.begin_load(names[:found], self._blocks(cache, found)))
                return decoder.prefill(
                    self.prompt, self._suffix(found * self.plan.object_tokens), cache,
                    load[0].wait_layer if load else None)

            took = self._first_token(compute)
            failed[0] += sum(status != "ok" for one in load for status in one.finish())
            return took

        loaded, logits = self._repeat(once)
        kv_equal = digest(cache, layers, self.tokens - 1) == sums
        steps = self._suffix(self.hit_tokens[hit])
        alone = recompute
        if self.hit_tokens[hit] > 0:
            alone, _ = self._repeat(lambda: self._first_token(
                lambda: decoder.prefill(self.prompt, steps, cache)))
        row = self._row("whole", hit, cache.size_bytes, recompute, loaded, alone,
                        self.hit_tokens[hit] // self.plan.object_tokens * pages.object_bytes)
        row["logits"] = compare(logits, wanted, decoder.dtype)
        row["kv_equal"] = kv_equal
        row["objects_found"] = sorted(found_counts)
        row["objects_expected"] = self.hit_tokens[hit] // self.plan.object_tokens
        row["objects_failed"] = failed[0]
        row["first_step_share"] = (steps[0][1] - steps[0][0]) / sum(b - a for a, b in steps)
        return row

    # --- The cache holds a few layers of the context. ---

    def _capped(self) -> list[dict]:
        per_half, decoder = self.plan.capped_layers, self.decoder
        halves = [self._make_cache(per_half) for _ in range(2)]
        self.say(f"{self.tokens} tokens: recompute in a cache of {2 * per_half} layers")

        def cache_of(layer: int) -> tuple[PagedCache, int]:
            return halves[layer // per_half % 2], layer % per_half

        recompute, wanted = self._repeat(lambda: self._first_token(
            lambda: decoder.prefill_by_layer(self.prompt, self.steps, cache_of)))
        with self.pool.open_cache(halves[0], self.geometry, self.plan.object_tokens) as first, \
                self.pool.open_cache(halves[1], self.geometry, self.plan.object_tokens) as second:
            pages = (first, second)
            failed = []

            def after_layer(layer: int) -> None:
                if layer % per_half == per_half - 1:
                    group = layer // per_half
                    names = self._stored_names(f".g{group}")
                    self.clock.now()  # the pages are computed
                    statuses = pages[group % 2].store(names, self._blocks(halves[0], len(names)))
                    failed.extend(status for status in statuses if status != "ok")

            decoder.prefill_by_layer(self.prompt, self.steps, cache_of, after_layer)
            rows = [self._capped_hit(hit, halves, pages, recompute, wanted)
                    for hit in self.plan.hits]
        for row in rows:
            row["objects_failed"] += len(failed)
        return rows

    def _capped_hit(self, hit: int, halves: list[PagedCache], pages: tuple[Cache, Cache],
                    recompute: dict, wanted: torch.Tensor) -> dict:
        self.say(f"{self.tokens} tokens: {hit} % from the pool into the capped cache")
        per_half, decoder = self.plan.capped_layers, self.decoder
        groups = self.geometry.layers // per_half
        names = [self._names(hit, f".g{group}") for group in range(groups)]
        found_counts, failed = set(), [0]

        def once() -> tuple[float, torch.Tensor]:
            for half in halves:
                half.spoil()
            loads: dict[int, Load] = {}

            def begin(group: int, found: int) -> None:
                if found and group < groups:
                    loads[group] = pages[group % 2].begin_load(
                        names[group][:found], self._blocks(halves[0], found),
                        follows_engine=True)

            def compute() -> torch.Tensor:
                found = pages[0].find(names[0])
                found_counts.add(found)
                begin(0, found)

                def cache_of(layer: int) -> tuple[PagedCache, int]:
                    group = layer // per_half
                    if layer % per_half == 0:
                        # All that used the other half is queued: it may be overwritten behind that.
                        begin(group + 1, found)
                    if group in loads:
                        loads[group].wait_layer(layer % per_half)
                    return halves[group % 2], layer % per_half

                return decoder.prefill_by_layer(
                    self.prompt, self._suffix(found * self.plan.object_tokens), cache_of)

            took = self._first_token(compute)
            failed[0] += sum(status != "ok" for one in loads.values() for status in one.finish())
            return took

        loaded, logits = self._repeat(once)
        steps = self._suffix(self.hit_tokens[hit])
        alone = recompute
        if self.hit_tokens[hit] > 0:
            alone, _ = self._repeat(lambda: self._first_token(lambda: decoder.prefill_by_layer(
                self.prompt, steps,
                lambda layer: (halves[layer // per_half % 2], layer % per_half))))
        objects = self.hit_tokens[hit] // self.plan.object_tokens
        row = self._row("capped", hit, sum(half.size_bytes for half in halves), recompute, loaded,
                        alone, objects * groups * pages[0].object_bytes)
        row["logits"] = compare(logits, wanted, decoder.dtype)
        row["objects_found"] = sorted(found_counts)
        row["objects_expected"] = objects
        row["objects_failed"] = failed[0]
        row["first_step_share"] = 1.0  # each layer is computed for all steps at once
        return row


def copy_ceiling(device: str, size_bytes: int = 256 << 20, passes: int = 9) -> dict:
    """Large copies between pinned memory and the device, each way; without a GPU, of memory."""
    is_cuda = device.startswith("cuda")
    size_bytes = size_bytes if is_cuda else size_bytes // 8
    clock = Clock(device)
    host = torch.empty(size_bytes, dtype=torch.uint8, pin_memory=is_cuda).fill_(1)
    there = torch.empty(size_bytes, dtype=torch.uint8, device=device).fill_(2)
    rates = {}
    for name, to, source in (("to_device", there, host), ("from_device", host, there)):
        to.copy_(source, non_blocking=True)
        seconds = []
        for _ in range(passes):
            begin = clock.now()
            to.copy_(source, non_blocking=True)
            seconds.append(clock.now() - begin)
        rates[name + "_gb_per_s"] = size_bytes / statistics.median(seconds) / 1e9
    return {"what": "pinned copy" if is_cuda else "copy of memory, no GPU", **rates}
