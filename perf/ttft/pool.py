# SPDX-License-Identifier: Apache-2.0
"""What the experiment asks of godbox's Python module (bindings/python/godbox.py).

The library drives each pool in a thread of its own, so calls here may wait, and a transfer goes on
while Python does something else. Outcomes per name are texts ("ok", "not_found").
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from decoder import Geometry, PagedCache

ROOT = Path(__file__).resolve().parents[2]
WAIT_MS = 120_000


class Load:
    def __init__(self, load, status_name):
        self._load, self._status_name = load, status_name

    def wait_layer(self, layer: int) -> None:
        """Until the layer's pages are in place; its event is then done, so work that is queued
        from now on sees them."""
        self._load.wait_layer(layer, WAIT_MS)

    def finish(self) -> list[str]:
        with self._load as load:
            return [self._status_name(status) for status in load.wait(WAIT_MS)]


class Cache:
    """The pages of a PagedCache, known to the pool."""

    def __init__(self, godbox, pool, cache: PagedCache, geometry: Geometry, object_tokens: int):
        self._godbox, self._layers = godbox, len(cache.pages)
        self._is_cuda = cache.pages[0].is_cuda
        self._kv = pool.kv_cache(
            layout="vllm-flash-attn", dtype=str(cache.pages[0].dtype), layers=self._layers,
            blocks=cache.blocks, block_tokens=cache.block_tokens, heads=geometry.kv_heads,
            head_dim=geometry.head_dim, tensors=cache.pages,
            blocks_per_object=object_tokens // cache.block_tokens)
        self.object_bytes = self._layers * self._kv.layer_bytes

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_) -> None:
        self._kv.close()

    def find(self, names: Sequence[str]) -> int:
        """How many leading names the pool has, in one round trip."""
        return self._kv.lookup_prefix(names)

    def store(self, names: Sequence[str], blocks: Sequence[int]) -> list[str]:
        """All layers, whose pages are computed. Waits for the end."""
        with self._kv.store(names, blocks) as store:
            for layer in range(self._layers):
                store.layer(layer)
            return [self._godbox.status_name(status) for status in store.wait(WAIT_MS)]

    def begin_load(self, names: Sequence[str], blocks: Sequence[int],
                   follows_engine: bool = False) -> Load:
        """follows_engine: nothing is overwritten before what PyTorch has queued by now is done."""
        stream = None
        if follows_engine and self._is_cuda:
            stream = torch.cuda.current_stream().cuda_stream
        return Load(self._kv.load(names, blocks, stream=stream), self._godbox.status_name)


class Pool:
    def __init__(self, library: Path, address: str, device: str):
        os.environ["GODBOX_LIBRARY"] = str(library)
        sys.path.append(str(ROOT / "bindings/python"))
        self._godbox = importlib.import_module("godbox")
        self._pool = self._godbox.Pool(
            address, device="cuda" if device.startswith("cuda") else "host", timeout_ms=WAIT_MS)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_) -> None:
        self._pool.close()

    @property
    def device_name(self) -> str:
        return self._pool.device_name

    @property
    def data_path(self) -> str:
        return self._pool.data_path

    def open_cache(self, cache: PagedCache, geometry: Geometry, object_tokens: int) -> Cache:
        return Cache(self._godbox, self._pool, cache, geometry, object_tokens)
