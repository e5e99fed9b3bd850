# SPDX-License-Identifier: Apache-2.0
"""Godbox from Python, by ctypes over libgodbox.so (godbox/godbox.h): no dependency, no build.

    import godbox
    pool = godbox.Pool("unix:", device="auto")
    kv = pool.kv_cache(layout="vllm-flash-attn", dtype="bf16", layers=32, blocks=4096,
                       block_tokens=16, heads=8, head_dim=128, tensors=kv_caches)
    store = kv.store(names, block_ids)             # begins
    for layer in range(32):
        ...                                        # the engine computes it
        store.layer(layer, stream=stream)          # follows torch.cuda.Stream.cuda_stream
    store.wait()                                   # a status per name
    load = kv.load(names, block_ids)
    for layer in range(32):
        load.wait_layer(layer)                     # pages are in place
        ...
    recompute = load.failed_blocks()

Tensors are PyTorch's (data_ptr(), nbytes), or (address, size in bytes). They must outlive the
KvCache, and their pages must not be used for other things while a transfer uses them.
Threads: as godbox.h says; calls give up the GIL while they wait. Errors: godbox.Error, with
.status and .name; per name, statuses are returned.
The library is looked for at $GODBOX_LIBRARY, then where the loader looks for libgodbox.so.0.
"""

import collections
import ctypes
import os
from ctypes import (POINTER, Structure, byref, c_char_p, c_int32, c_size_t, c_uint32, c_uint64,
                    c_void_p, sizeof)

OK, NOT_FOUND, ALREADY_EXISTS, INVALID_ARGUMENT = 0, 100, 101, 102
DEADLINE_EXCEEDED, CANCELLED, SESSION_LOST = 105, 106, 401
FOREVER_MS = 2**64 - 1


class _Options(Structure):
    _fields_ = [("size", c_size_t), ("tenant", c_char_p), ("device", c_char_p),
                ("device_ordinal", c_int32), ("lanes_per_eth_port", c_uint32),
                ("timeout_ms", c_uint64), ("lease_ms", c_uint64), ("copy_threads", c_uint32)]


class _Names(Structure):
    _fields_ = [("data", POINTER(c_char_p)), ("sizes", POINTER(c_size_t)), ("count", c_size_t)]


class _Retention(Structure):
    _fields_ = [("size", c_size_t), ("pin", c_int32), ("soft_ttl_ms", c_uint32),
                ("hard_ttl_ms", c_uint32)]


class _Event(Structure):
    _fields_ = [("sequence", c_uint64), ("kind", c_int32), ("name", c_void_p),
                ("name_size", c_size_t), ("size_bytes", c_uint64)]


class _TenantUsage(Structure):
    _fields_ = [("size", c_size_t), ("quota_bytes", c_uint64), ("reserved_bytes", c_uint64),
                ("held_bytes", c_uint64), ("objects", c_uint64), ("evictions", c_uint64),
                ("names_found", c_uint64), ("names_missed", c_uint64)]


class _Tensor(Structure):
    _fields_ = [("data", c_void_p), ("size_bytes", c_uint64)]


class _Plane(Structure):
    _fields_ = [("tensor", _Tensor), ("base", c_void_p), ("block_stride_bytes", c_uint64),
                ("token_stride_bytes", c_uint64), ("head_stride_bytes", c_uint64)]


class _KvCache(Structure):
    _fields_ = [("size", c_size_t), ("layers", c_uint32), ("planes", c_uint32),
                ("blocks", c_uint32), ("block_tokens", c_uint32), ("heads", c_uint32),
                ("head_dim", c_uint32), ("dtype", c_char_p), ("layout", c_char_p),
                ("tensors", POINTER(_Tensor)), ("tensor_count", c_size_t),
                ("plane_list", POINTER(_Plane)), ("plane_count", c_size_t),
                ("blocks_per_object", c_uint32), ("pool_order", c_char_p),
                ("window_bytes", c_uint64), ("call_bytes", c_uint64)]


class _Blocks(Structure):
    _fields_ = [("data", POINTER(c_uint32)), ("count", c_size_t)]


class _TransferOptions(Structure):
    _fields_ = [("size", c_size_t), ("timeout_ms", c_uint64), ("background", c_int32),
                ("any_order", c_int32), ("follow_stream", POINTER(c_void_p))]


_PINS = {None: 0, "soft": 1, "hard": 2}
_EVENT_KINDS = ("put", "rebind", "remove", "evict", "expire", "lose")
_OnEvent = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Event))

# What has happened to an object: name in bytes, kind "put" (it can be got), "rebind" (likewise, and
# another has lost the name to it), "remove", "evict" (to make room), "expire" (by its hard TTL) or
# "lose" (the memory has lost bytes of it). Sequences grow.
Event = collections.namedtuple("Event", "sequence kind name size_bytes")
# What a tenant has in the pool, in bytes that objects take there. quota_bytes 0: none; held: of
# what is reserved, by leases and hard pins; names found and missed by lookups.
Usage = collections.namedtuple("Usage", [name for name, _ in _TenantUsage._fields_[1:]])

_FUNCTIONS = {
    "version": (c_char_p, []),
    "status_name": (c_char_p, [c_int32]),
    "last_error": (c_char_p, []),
    "connect": (c_int32, [c_char_p, POINTER(_Options), POINTER(c_void_p)]),
    "close": (None, [c_void_p]),
    "device_name": (c_char_p, [c_void_p]),
    "device_reason": (c_char_p, [c_void_p]),
    "data_path": (c_char_p, [c_void_p]),
    "put": (c_int32, [c_void_p, POINTER(_Names), POINTER(c_void_p), POINTER(c_size_t),
                      POINTER(c_int32)]),
    "rebind": (c_int32, [c_void_p, POINTER(_Names), POINTER(c_void_p), POINTER(c_size_t),
                         POINTER(c_int32)]),
    "get": (c_int32, [c_void_p, POINTER(_Names), POINTER(c_void_p), POINTER(c_size_t),
                      POINTER(c_int32)]),
    "lookup_prefix": (c_int32, [c_void_p, POINTER(_Names), POINTER(c_size_t)]),
    "wait": (c_int32, [c_void_p, POINTER(_Names), c_uint32, c_uint64, POINTER(c_int32)]),
    "retain": (c_int32, [c_void_p, POINTER(_Names), POINTER(_Retention), POINTER(c_int32)]),
    "remove": (c_int32, [c_void_p, POINTER(_Names), POINTER(c_int32)]),
    "events": (c_int32, [c_void_p, POINTER(c_uint64), c_uint64, _OnEvent, c_void_p,
                         POINTER(c_uint64)]),
    "usage": (c_int32, [c_void_p, POINTER(_TenantUsage)]),
    "kv_open": (c_int32, [c_void_p, POINTER(_KvCache), POINTER(c_void_p)]),
    "kv_close": (None, [c_void_p]),
    "kv_layer_bytes": (c_uint64, [c_void_p]),
    "kv_suffix": (c_char_p, [c_void_p]),
    "kv_lookup_prefix": (c_int32, [c_void_p, POINTER(_Names), POINTER(c_size_t)]),
    "kv_wait": (c_int32, [c_void_p, POINTER(_Names), c_uint32, c_uint64, POINTER(c_int32)]),
    "store_begin": (c_int32, [c_void_p, POINTER(_Names), POINTER(_Blocks),
                              POINTER(_TransferOptions), POINTER(c_void_p)]),
    "store_layer": (c_int32, [c_void_p, c_uint32, POINTER(c_void_p)]),
    "store_wait": (c_int32, [c_void_p, c_uint64, POINTER(c_int32)]),
    "store_free": (None, [c_void_p]),
    "load_begin": (c_int32, [c_void_p, POINTER(_Names), POINTER(_Blocks),
                             POINTER(_TransferOptions), POINTER(c_void_p)]),
    "load_wait_layer": (c_int32, [c_void_p, c_uint32, c_uint64]),
    "load_layer_event": (c_void_p, [c_void_p, c_uint32]),
    "load_wait": (c_int32, [c_void_p, c_uint64, POINTER(c_int32)]),
    "load_failed_blocks": (c_size_t, [c_void_p, POINTER(c_uint32), c_size_t]),
    "load_free": (None, [c_void_p]),
}


class Error(Exception):
    """A call that failed: .status is its number, .name "not_found" and the like."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.name = status, status_name(status)


class _Library:
    def __init__(self):
        path = os.environ.get("GODBOX_LIBRARY", "libgodbox.so.0")
        self.handle = ctypes.CDLL(path)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self.handle, "godbox_" + name, None)
            if function is None:
                raise ImportError(f"{path} has no godbox_{name}: another version")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)


_lib = _Library()


def version():
    return _lib.version().decode()


def status_name(status):
    return _lib.status_name(status).decode()


def _check(status):
    if status != OK:
        raise Error(status, _lib.last_error().decode(errors="replace"))


def _encoded(text):
    return None if text is None else text.encode() if isinstance(text, str) else text


class _NameList:
    """A _Names and all it points to."""

    def __init__(self, names):
        encoded = [_encoded(name) for name in names]
        self.count = len(encoded)
        self._data = (c_char_p * self.count)(*encoded)
        self._sizes = (c_size_t * self.count)(*map(len, encoded))
        self.value = _Names(self._data, self._sizes, self.count)


def _wait(call, handle, names, layer, timeout_ms):
    names = _NameList(names)
    statuses = (c_int32 * names.count)()
    _check(call(handle, byref(names.value), layer, timeout_ms, statuses))
    return list(statuses)


def _stream_argument(stream):
    """None: no stream; a number is a CUstream, 0 the default one."""
    return None if stream is None else byref(c_void_p(stream))


def _tensor(tensor):
    if hasattr(tensor, "data_ptr"):
        size = tensor.numel() * tensor.element_size()
        return _Tensor(tensor.data_ptr(), size)
    return _Tensor(*tensor)


class Pool:
    def __init__(self, address, tenant="", device="none", device_ordinal=0, lanes_per_eth_port=0,
                 timeout_ms=0, lease_ms=0, copy_threads=0):
        options = _Options(sizeof(_Options), _encoded(tenant), _encoded(device), device_ordinal,
                           lanes_per_eth_port, timeout_ms, lease_ms, copy_threads)
        self._handle = c_void_p()
        _check(_lib.connect(_encoded(address), byref(options), byref(self._handle)))

    def close(self):
        handle, self._handle = self._handle, c_void_p()
        _lib.close(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def device_name(self):
        return _lib.device_name(self._handle).decode()

    @property
    def device_reason(self):
        return _lib.device_reason(self._handle).decode()

    @property
    def data_path(self):
        return _lib.data_path(self._handle).decode()

    def put(self, objects, rebind=False):
        """{name: bytes}; returns {name: status}. rebind: a name that is there is taken from the
        object that has it."""
        names = _NameList(objects)
        buffers = [ctypes.create_string_buffer(bytes(data), len(data)) if data else
                   ctypes.create_string_buffer(1) for data in objects.values()]
        data = (c_void_p * names.count)(*(ctypes.addressof(buffer) for buffer in buffers))
        sizes = (c_size_t * names.count)(*map(len, objects.values()))
        statuses = (c_int32 * names.count)()
        put = _lib.rebind if rebind else _lib.put
        _check(put(self._handle, byref(names.value), data, sizes, statuses))
        return dict(zip(objects, statuses))

    def get(self, sizes_by_name):
        """{name: size in bytes}; returns {name: bytes, or None where the status is not OK}."""
        names = _NameList(sizes_by_name)
        buffers = [ctypes.create_string_buffer(max(size, 1)) for size in sizes_by_name.values()]
        data = (c_void_p * names.count)(*(ctypes.addressof(buffer) for buffer in buffers))
        sizes = (c_size_t * names.count)(*sizes_by_name.values())
        statuses = (c_int32 * names.count)()
        _check(_lib.get(self._handle, byref(names.value), data, sizes, statuses))
        return {name: buffer.raw[:size] if status == OK else None
                for (name, size), buffer, status in zip(sizes_by_name.items(), buffers, statuses)}

    def lookup_prefix(self, names):
        names, found = _NameList(names), c_size_t()
        _check(_lib.lookup_prefix(self._handle, byref(names.value), byref(found)))
        return found.value

    def wait(self, names, layer=0, timeout_ms=FOREVER_MS):
        """Until that layer of each object is written, or 10 minutes; a status for each name."""
        return _wait(_lib.wait, self._handle, names, layer, timeout_ms)

    def retain(self, names, pin=None, soft_ttl_ms=0, hard_ttl_ms=0):
        """How long these objects are kept from now on: pin None, "soft" (evicted after all that
        have none) or "hard" (never); a soft TTL's end makes them the first to be evicted, a hard
        one's removes them. A status for each name."""
        if pin not in _PINS:
            raise ValueError(f"pin: {pin!r}; allowed are None, 'soft', 'hard'")
        for ttl_ms in (soft_ttl_ms, hard_ttl_ms):
            if not 0 <= ttl_ms < 1 << 32:
                raise ValueError(f"TTL: {ttl_ms} ms; allowed are 0 to 2**32 - 1")
        names = _NameList(names)
        statuses = (c_int32 * names.count)()
        retention = _Retention(sizeof(_Retention), _PINS[pin], soft_ttl_ms, hard_ttl_ms)
        _check(_lib.retain(self._handle, byref(names.value), byref(retention), statuses))
        return list(statuses)

    def events(self, position=0, timeout_ms=0):
        """What has happened to the tenant's objects behind this position, by whomever; waits for
        the first where there is none. 0: the position of what happens from now on. Returns
        ([Event, ...], the position behind them, how many were lost before)."""
        events, position, lost = [], c_uint64(position), c_uint64()

        def on_event(_, event):
            event = event.contents
            known = 0 <= event.kind < len(_EVENT_KINDS)
            events.append(Event(event.sequence,
                                _EVENT_KINDS[event.kind] if known else str(event.kind),
                                ctypes.string_at(event.name, event.name_size), event.size_bytes))

        _check(_lib.events(self._handle, byref(position), timeout_ms, _OnEvent(on_event), None,
                           byref(lost)))
        return events, position.value, lost.value

    def usage(self):
        """What the tenant has in the pool, and what it may have: a Usage."""
        usage = _TenantUsage(sizeof(_TenantUsage))
        _check(_lib.usage(self._handle, byref(usage)))
        return Usage(*(getattr(usage, name) for name in Usage._fields))

    def remove(self, names):
        names = _NameList(names)
        statuses = (c_int32 * names.count)()
        _check(_lib.remove(self._handle, byref(names.value), statuses))
        return list(statuses)

    def kv_cache(self, **description):
        return KvCache(self, **description)


class KvCache:
    """A paged KV cache of an engine; godbox.h tells what each field means. planes_by_stride: a
    list of (tensor, base address, block stride, token stride, head stride) instead of a layout."""

    def __init__(self, pool, *, dtype, layers, blocks, block_tokens, heads, head_dim, planes=2,
                 layout=None, tensors=(), planes_by_stride=(), blocks_per_object=1,
                 pool_order=None, window_bytes=0, call_bytes=0):
        tensor_list = (_Tensor * len(tensors))(*map(_tensor, tensors))
        plane_list = (_Plane * len(planes_by_stride))(
            *(_Plane(_tensor(plane[0]), *plane[1:]) for plane in planes_by_stride))
        cache = _KvCache(
            sizeof(_KvCache), layers, planes, blocks, block_tokens, heads, head_dim,
            _encoded(str(dtype).removeprefix("torch.")), _encoded(layout), tensor_list,
            len(tensors), plane_list, len(planes_by_stride), blocks_per_object,
            _encoded(pool_order), window_bytes, call_bytes)
        self._handle = c_void_p()
        self._kept = (pool, list(tensors), list(planes_by_stride))
        _check(_lib.kv_open(pool._handle, byref(cache), byref(self._handle)))
        self.layer_bytes = _lib.kv_layer_bytes(self._handle)
        self.suffix = _lib.kv_suffix(self._handle).decode()

    def close(self):
        handle, self._handle = self._handle, c_void_p()
        _lib.kv_close(handle)

    def lookup_prefix(self, names):
        names, found = _NameList(names), c_size_t()
        _check(_lib.kv_lookup_prefix(self._handle, byref(names.value), byref(found)))
        return found.value

    def wait(self, names, layer=0, timeout_ms=FOREVER_MS):
        """Until that layer of each object is stored, by whomever, or 10 minutes.

        A status for each name."""
        return _wait(_lib.kv_wait, self._handle, names, layer, timeout_ms)

    def store(self, names, blocks, **options):
        return Store(self, names, blocks, **options)

    def load(self, names, blocks, **options):
        return Load(self, names, blocks, **options)


class _Transfer:
    _begin = _wait = _free = None

    def __init__(self, kv, names, blocks, timeout_ms=0, background=False, any_order=False,
                 stream=None):
        names = _NameList(names)
        blocks = [int(block) for block in blocks]
        data = (c_uint32 * len(blocks))(*blocks)
        place = c_void_p(stream)
        options = _TransferOptions(sizeof(_TransferOptions), timeout_ms, background, any_order,
                                   None if stream is None else ctypes.pointer(place))
        self.count, self._kv = names.count, kv
        self._handle = c_void_p()
        _check(self._begin(kv._handle, byref(names.value), byref(_Blocks(data, len(blocks))),
                           byref(options), byref(self._handle)))

    def wait(self, timeout_ms=FOREVER_MS):
        """Until it is done; a status per name."""
        statuses = (c_int32 * self.count)()
        _check(self._wait(self._handle, timeout_ms, statuses))
        return list(statuses)

    def close(self):
        """Cancels what is not done."""
        handle, self._handle = self._handle, c_void_p()
        self._free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None):
            self.close()


class Store(_Transfer):
    _begin, _wait, _free = _lib.store_begin, _lib.store_wait, _lib.store_free

    def layer(self, layer, stream=None):
        """The layer's pages are computed: now, or once what is queued on `stream` is done."""
        _check(_lib.store_layer(self._handle, layer, _stream_argument(stream)))


class Load(_Transfer):
    _begin, _wait, _free = _lib.load_begin, _lib.load_wait, _lib.load_free

    def wait_layer(self, layer, timeout_ms=FOREVER_MS):
        _check(_lib.load_wait_layer(self._handle, layer, timeout_ms))

    def layer_event(self, layer):
        """The CUevent of a layer that wait_layer() has told of, or None."""
        return _lib.load_layer_event(self._handle, layer)

    def failed_blocks(self):
        count = _lib.load_failed_blocks(self._handle, None, 0)
        while True:
            blocks = (c_uint32 * count)()
            now = _lib.load_failed_blocks(self._handle, blocks, count)
            if now <= count:
                return list(blocks[:now])
            count = now
