# SPDX-License-Identifier: Apache-2.0
"""Godbox's C API (godbox/godbox.h) by ctypes, as far as the experiment needs it.

The library drives each pool in a thread of its own, so calls here may wait, and a transfer goes on
while Python does something else. Errors of a call are PoolError with the library's sentence;
outcomes per name are returned by name ("ok", "not_found").
"""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path

import torch

from decoder import Geometry, PagedCache

WAIT_MS = 120_000


class PoolError(RuntimeError):
    pass


class Options(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("tenant", c_char_p), ("device", c_char_p),
                ("device_ordinal", c_int32), ("lanes_per_eth_port", c_uint32),
                ("timeout_ms", c_uint64), ("lease_ms", c_uint64), ("copy_threads", c_uint32)]


class Names(ctypes.Structure):
    _fields_ = [("data", POINTER(c_char_p)), ("sizes", POINTER(c_size_t)), ("count", c_size_t)]

    @classmethod
    def of(cls, names: Sequence[str]) -> "Names":
        return cls((c_char_p * len(names))(*(name.encode() for name in names)), None, len(names))


class Blocks(ctypes.Structure):
    _fields_ = [("data", POINTER(c_uint32)), ("count", c_size_t)]

    @classmethod
    def of(cls, blocks: Sequence[int]) -> "Blocks":
        return cls((c_uint32 * len(blocks))(*blocks), len(blocks))


class Tensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("size_bytes", c_uint64)]


class KvCache(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("layers", c_uint32), ("planes", c_uint32),
                ("blocks", c_uint32), ("block_tokens", c_uint32), ("heads", c_uint32),
                ("head_dim", c_uint32), ("dtype", c_char_p), ("layout", c_char_p),
                ("tensors", POINTER(Tensor)), ("tensor_count", c_size_t),
                ("plane_list", c_void_p), ("plane_count", c_size_t),
                ("blocks_per_object", c_uint32), ("pool_order", c_char_p),
                ("window_bytes", c_uint64), ("call_bytes", c_uint64)]


class TransferOptions(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("timeout_ms", c_uint64), ("background", c_int32),
                ("any_order", c_int32), ("follow_stream", POINTER(c_void_p))]


class Library:
    """The functions that answer a status raise where it is not ok."""

    POINTER_RESULTS = ("godbox_status_name", "godbox_last_error", "godbox_device_name",
                       "godbox_device_reason")
    PLAIN = {"godbox_kv_layer_bytes": c_uint64, "godbox_close": None, "godbox_kv_close": None,
             "godbox_store_free": None, "godbox_load_free": None}

    def __init__(self, path: Path):
        self._library = ctypes.CDLL(str(path))
        for name in self.POINTER_RESULTS:
            getattr(self._library, name).restype = c_char_p
        for name, result in self.PLAIN.items():
            getattr(self._library, name).restype = result

    def call(self, name: str, *arguments) -> None:
        if getattr(self._library, name)(*arguments) != 0:
            raise PoolError(f"{name}: {self._library.godbox_last_error().decode()}")

    def plain(self, name: str, *arguments):
        return getattr(self._library, name)(*arguments)

    def names_of(self, statuses) -> list[str]:
        return [self._library.godbox_status_name(status).decode() for status in statuses]


def _dtype_name(dtype: torch.dtype) -> bytes:
    return str(dtype).removeprefix("torch.").encode()


class Load:
    def __init__(self, library: Library, handle: c_void_p, count: int):
        self._library, self._handle, self._count = library, handle, count

    def wait_layer(self, layer: int) -> None:
        """Until the layer's pages are in place; its event is then done, so work that is queued
        from now on sees them."""
        self._library.call("godbox_load_wait_layer", self._handle, c_uint32(layer),
                           c_uint64(WAIT_MS))

    def finish(self) -> list[str]:
        statuses = (c_int32 * self._count)()
        self._library.call("godbox_load_wait", self._handle, c_uint64(WAIT_MS), statuses)
        self._library.plain("godbox_load_free", self._handle)
        return self._library.names_of(statuses)


class Cache:
    """The pages of a PagedCache, known to the pool."""

    def __init__(self, library: Library, pool: c_void_p, cache: PagedCache, geometry: Geometry,
                 object_tokens: int):
        self._library = library
        self._is_cuda = cache.pages[0].is_cuda
        tensors = (Tensor * len(cache.pages))(
            *(Tensor(page.data_ptr(), page.numel() * page.element_size()) for page in cache.pages))
        described = KvCache(
            size=ctypes.sizeof(KvCache), layers=len(cache.pages), planes=2, blocks=cache.blocks,
            block_tokens=cache.block_tokens, heads=geometry.kv_heads, head_dim=geometry.head_dim,
            dtype=_dtype_name(cache.pages[0].dtype), layout=b"vllm-flash-attn", tensors=tensors,
            tensor_count=len(tensors), blocks_per_object=object_tokens // cache.block_tokens)
        self._handle = c_void_p()
        library.call("godbox_kv_open", pool, byref(described), byref(self._handle))
        self.object_bytes = len(cache.pages) * library.plain("godbox_kv_layer_bytes", self._handle)
        self._layers = len(cache.pages)

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_) -> None:
        self._library.plain("godbox_kv_close", self._handle)

    def find(self, names: Sequence[str]) -> int:
        """How many leading names the pool has, in one round trip."""
        found = c_size_t()
        self._library.call("godbox_kv_lookup_prefix", self._handle, byref(Names.of(names)),
                           byref(found))
        return found.value

    def store(self, names: Sequence[str], blocks: Sequence[int]) -> list[str]:
        """All layers, whose pages are computed. Waits for the end."""
        store = c_void_p()
        self._library.call("godbox_store_begin", self._handle, byref(Names.of(names)),
                           byref(Blocks.of(blocks)), None, byref(store))
        statuses = (c_int32 * len(names))()
        try:
            for layer in range(self._layers):
                self._library.call("godbox_store_layer", store, c_uint32(layer), None)
            self._library.call("godbox_store_wait", store, c_uint64(WAIT_MS), statuses)
        finally:
            self._library.plain("godbox_store_free", store)
        return self._library.names_of(statuses)

    def begin_load(self, names: Sequence[str], blocks: Sequence[int],
                   follows_engine: bool = False) -> Load:
        """follows_engine: nothing is overwritten before what PyTorch has queued by now is done."""
        options = TransferOptions(size=ctypes.sizeof(TransferOptions))
        if follows_engine and self._is_cuda:
            stream = c_void_p(torch.cuda.current_stream().cuda_stream or None)
            options.follow_stream = ctypes.pointer(stream)
        load = c_void_p()
        self._library.call("godbox_load_begin", self._handle, byref(Names.of(names)),
                           byref(Blocks.of(blocks)), byref(options), byref(load))
        return Load(self._library, load, len(names))


class Pool:
    def __init__(self, library: Path, address: str, device: str):
        self._library = Library(library)
        options = Options(size=ctypes.sizeof(Options), timeout_ms=WAIT_MS,
                          device=b"cuda" if device.startswith("cuda") else b"host")
        self._handle = c_void_p()
        self._library.call("godbox_connect", address.encode(), byref(options),
                           byref(self._handle))

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_) -> None:
        self._library.plain("godbox_close", self._handle)

    @property
    def device_name(self) -> str:
        return self._library.plain("godbox_device_name", self._handle).decode()

    def open_cache(self, cache: PagedCache, geometry: Geometry, object_tokens: int) -> Cache:
        return Cache(self._library, self._handle, cache, geometry, object_tokens)
