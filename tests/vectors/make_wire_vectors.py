#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the golden vectors of the native protocol, tests/vectors/wire/*.hex.

Written from docs/wire-protocol.md alone: it shares no code with Godbox, so that a mistake in the
codec and one here do not agree. Run it without arguments after the document changed, or with --check
to compare what it makes with what is checked in.

A .hex file holds the bytes of one frame as two-digit hexadecimal numbers; "#" begins a comment, line
breaks and spaces mean nothing. The same frames are the seeds of tests/fuzz/wire_fuzz.cpp, and the
requests among them those of tests/fuzz/door_fuzz.cpp (vector_*), beside a few scenes.
"""

import argparse
import pathlib
import struct
import sys

OUT = pathlib.Path(__file__).resolve().parent / "wire"
CORPUS = OUT.parent.parent / "fuzz" / "corpus"
SEEDS = CORPUS / "wire_fuzz"
DOOR_SEEDS = CORPUS / "door_fuzz"
HEADER_BYTES = 64


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


class Vector:
    """Bytes with a comment for each field."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, str]] = []

    def add(self, data: bytes, comment: str) -> "Vector":
        self.fields.append((data, comment))
        return self

    def u8(self, value: int, comment: str) -> "Vector":
        return self.add(struct.pack("<B", value), f"{comment} = {value}")

    def u16(self, value: int, comment: str) -> "Vector":
        return self.add(struct.pack("<H", value), f"{comment} = {value}")

    def u32(self, value: int, comment: str) -> "Vector":
        return self.add(struct.pack("<I", value), f"{comment} = {value}")

    def u32x(self, value: int, comment: str) -> "Vector":
        return self.add(struct.pack("<I", value), f"{comment} = 0x{value:08x}")

    def u64(self, value: int, comment: str) -> "Vector":
        return self.add(struct.pack("<Q", value), f"{comment} = {value}")

    def u64x(self, value: int, comment: str) -> "Vector":
        return self.add(struct.pack("<Q", value), f"{comment} = 0x{value:016x}")

    def text(self, value: str, comment: str) -> "Vector":
        data = value.encode()
        self.u16(len(data), f"{comment}: length")
        return self.add(data, f"{comment}: {value!r}") if data else self

    def reserved(self, size: int) -> "Vector":
        return self.add(bytes(size), "reserved")

    def extent(self, slab: int, length: int, offset: int) -> "Vector":
        return self.u32(slab, "extent: slab").u32(length, "length").u64(offset, "offset")

    def bytes(self) -> bytes:
        return b"".join(data for data, _ in self.fields)

    def lines(self) -> list[str]:
        lines = []
        for data, comment in self.fields:
            pieces = [data[i : i + 16] for i in range(0, len(data), 16)]
            for i, piece in enumerate(pieces):
                lines.append(f"{piece.hex(' '):<48}" + (f"# {comment}" if i == 0 else ""))
        return [line.rstrip() for line in lines]


OPS = {
    "hello": 1, "ping": 2, "goodbye": 3, "read": 16, "write": 17, "fence": 18, "info": 32, "describe_slabs": 33,
    "map_memory": 34, "reserve": 40, "commit": 41, "abort": 42, "lookup": 43, "release": 44,
    "remove": 45, "list": 46, "status": 47, "allocate_region": 48, "free_region": 49,
    "retain": 50, "usage": 51, "wait": 52, "commit_layer": 53, "events": 54,
    "bind": 55, "unbind": 56, "seal": 57, "drop": 58, "list_bound": 59,
}

CLASSES = {"foreground": 0, "prefetch": 1, "write_back": 2}

EPOCH = 0x0807060504030201


def frame(op: str, body: Vector, *, request_id: int, response: bool = False, status: int = 0,
          epoch: int = EPOCH, deadline_ms: int = 0, payload: bytes = b"",
          traffic_class: str = "foreground") -> Vector:
    body_bytes = body.bytes()
    header = Vector()
    header.add(b"GBX1", "magic")
    header.u8(OPS[op], f"op {op}")
    header.u8(1 if response else 0, "flags: response" if response else "flags: request")
    header.u16(status, "status")
    header.u64(request_id, "request_id")
    header.u64x(epoch, "epoch")
    header.u32(len(body_bytes), "body_bytes")
    header.u32(len(payload), "payload_bytes")
    header.u32(deadline_ms, "deadline_ms")
    header.u32x(crc32c(body_bytes) if body_bytes else 0, "body_crc32c")
    header.u8(CLASSES[traffic_class], f"traffic_class {traffic_class}").reserved(19)
    header.u32x(crc32c(header.bytes()), "header_crc32c")
    whole = Vector()
    whole.fields = header.fields + body.fields
    if payload:
        whole.add(payload, "payload")
    return whole


def hello() -> dict[str, Vector]:
    control = Vector()
    control.u16(1, "version_min").u16(1, "version_max").u8(0, "kind: control")
    control.u8(0, "auth_method: none").u16(0, "lane").u64(0, "session")
    control.u64(0, "secret").u64(0, "secret")
    control.text("tenant-a", "tenant").u16(0, "auth: length")
    lane = Vector()
    lane.u16(1, "version_min").u16(3, "version_max").u8(1, "kind: lane")
    lane.u8(0, "auth_method: none").u16(7, "lane").u64x(0x1122334455667788, "session")
    lane.u64x(0x0123456789ABCDEF, "secret").u64x(0xFEDCBA9876543210, "secret")
    lane.text("", "tenant").u16(0, "auth: length")
    resume = Vector()
    resume.u16(1, "version_min").u16(1, "version_max").u8(2, "kind: resume")
    resume.u8(0, "auth_method: none").u16(0, "lane").u64x(0x1122334455667788, "session")
    resume.u64x(0x0123456789ABCDEF, "secret").u64x(0xFEDCBA9876543210, "secret")
    resume.text("tenant-a", "tenant").u16(0, "auth: length").u32(3, "attempt")
    token = Vector()
    token.u16(1, "version_min").u16(1, "version_max").u8(0, "kind: control")
    token.u8(2, "auth_method: a reserved one").u16(0, "lane").u64(0, "session")
    token.u64(0, "secret").u64(0, "secret").text("", "tenant")
    token.u16(3, "auth: length").add(b"\x00\x80\xff", "auth")
    reply = Vector()
    reply.u16(1, "version").u16(5, "eth_port").u16(2, "super_nic").u16(2000, "resume_ms")
    reply.u64x(0x1122334455667788, "session")
    reply.u64x(0x0123456789ABCDEF, "secret").u64x(0xFEDCBA9876543210, "secret")
    reply.u64x(EPOCH, "epoch").u64(33554432, "bytes_in_flight_max")
    reply.u32(64, "requests_in_flight_max").u32(30000, "lease_ms_max")
    reply.u32(10000, "session_timeout_ms").u32(9, "lane_token")
    return {
        "hello_control_request": frame("hello", control, request_id=0, epoch=0),
        "hello_lane_request": frame("hello", lane, request_id=0, epoch=0),
        "hello_resume_request": frame("hello", resume, request_id=0),
        "hello_token_request": frame("hello", token, request_id=0, epoch=0),
        "hello_response": frame("hello", reply, request_id=0, response=True),
    }


def data() -> dict[str, Vector]:
    segments = Vector()
    segments.u32x(0xA1B2C3D4, "segment 0: rkey").u32(3, "slab").u64(65536, "offset")
    segments.u32(5, "length").reserved(4)
    segments.u32x(0x00000001, "segment 1: rkey").u32x(0xFFFFFFFE, "slab")
    segments.u64x(0x0000123456789ABC, "offset").u32(3, "length").reserved(4)
    lanes = Vector().u32(2, "count").u32(9, "lane_token").u32x(0xFFFFFFFF, "lane_token")
    none = Vector()
    return {
        "ping_request": frame("ping", none, request_id=9),
        "ping_response": frame("ping", none, request_id=9, response=True),
        "goodbye_request": frame("goodbye", none, request_id=10),
        "read_request": frame("read", segments, request_id=0x0102030405060708, deadline_ms=250),
        "read_prefetch_request": frame("read", segments, request_id=14,
                                       traffic_class="prefetch"),
        "read_response": frame("read", none, request_id=0x0102030405060708, response=True,
                               payload=b"abcdefgh"),
        "write_request": frame("write", segments, request_id=12, payload=b"abcdefgh"),
        "write_back_request": frame("write", segments, request_id=15, payload=b"abcdefgh",
                                    traffic_class="write_back"),
        "write_response": frame("write", none, request_id=12, response=True),
        "write_error_response": frame("write", none, request_id=12, response=True, status=111),
        "fence_request": frame("fence", lanes, request_id=13),
        "fence_response": frame("fence", none, request_id=13, response=True, status=114),
    }


def box() -> dict[str, Vector]:
    none = Vector()
    info = Vector()
    info.u64(268435456, "dram_channel_size").u64(805306368, "capacity")
    info.u64(402653184, "backing_limit").text("box-1", "box_name").text("free", "mode")
    info.u32(2, "eth_ports: count")
    info.u16(0, "id").u16(0, "super_nic").text("tcp:127.0.0.1:7401", "address")
    info.u16(1, "id").u16(1, "super_nic").text("tcp:[::1]:7402", "address")
    info.u32(3, "dram_channel_super_nic: count")
    info.u16(0, "DRAM channel 0").u16(0, "DRAM channel 1").u16(1, "DRAM channel 2")
    slab_ids = Vector().u32(2, "count").u32(1, "slab").u32x(0xFFFFFFFF, "slab")
    slabs = Vector().u32(1, "count")
    slabs.u32(1, "id").u32(4096, "strip_bytes").u64(1048576, "piece_size").u32(1, "rotation")
    slabs.u32(3, "members: count")
    for channel, offset in ((2, 0), (0, 1048576), (1, 5 << 40)):
        slabs.u64(offset, "offset").u16(channel, "dram_channel").reserved(2).reserved(4)
    memory = Vector().u32(1, "flags: writable").u32(2, "count")
    memory.u64(268435456, "DRAM channel 0").u64(1 << 40, "DRAM channel 1")
    placed = Vector().u32(3, "flags: writable, placements").u32(3, "count")
    placed.u64(268435456, "DRAM channel 0").u64(268435456, "DRAM channel 1")
    placed.u64(1 << 40, "DRAM channel 2")
    placed.u16(0, "descriptor").u8(2, "ways").u8(1, "position").u32(4096, "granularity")
    placed.u16(0, "descriptor").u8(2, "ways").u8(0, "position").u32(4096, "granularity")
    placed.u16(1, "descriptor").u8(1, "ways").u8(0, "position").u32(256, "granularity")
    status = Vector().u32(11, "length").add(b'{"slabs":1}', "text")
    refused = Vector().u32(24, "length").add(b"memory is not offered by", "text")
    return {
        "info_request": frame("info", none, request_id=20),
        "info_response": frame("info", info, request_id=20, response=True),
        "describe_slabs_request": frame("describe_slabs", slab_ids, request_id=21),
        "describe_slabs_response": frame("describe_slabs", slabs, request_id=21, response=True),
        "map_memory_request": frame("map_memory", none, request_id=22),
        "map_memory_pinned_request": frame("map_memory", Vector().u32(1, "flags: pins"),
                                           request_id=22),
        "map_memory_response": frame("map_memory", memory, request_id=22, response=True),
        "map_memory_placed_response": frame("map_memory", placed, request_id=22, response=True),
        "map_memory_error_response": frame("map_memory", refused, request_id=22, response=True,
                                           status=116),
        "status_request": frame("status", none, request_id=23),
        "status_response": frame("status", status, request_id=23, response=True),
    }


def puts() -> dict[str, Vector]:
    reserve = Vector().u32(1500, "deadline_ms").u32(3, "count")
    reserve.u64(163840, "size").u8(2, "flags: rebinds").u8(2, "pin: hard").u16(80, "layers")
    reserve.u32(60000, "soft_ttl_ms").u32(3600000, "hard_ttl_ms").text("kv/0", "name")
    reserve.u64(1 << 40, "size").u8(1, "flags: sparse").u8(1, "pin: soft").u16(0, "layers")
    reserve.u32(0, "soft_ttl_ms").u32(0, "hard_ttl_ms").text("kv/sparse", "name")
    reserve.u64(0, "size").u8(0, "flags").u8(0, "pin: none").u16(0, "layers")
    reserve.u32(0, "soft_ttl_ms").u32(0, "hard_ttl_ms").text("", "name")
    answers = Vector().u32(3, "count")
    answers.u64x(0xCAFE, "reservation").u32x(0xDEADBEEF, "write_key").u16(0, "status")
    answers.u16(2, "extent_count").extent(1, 131072, 0).extent(2, 32768, 1 << 33)
    answers.u64x(0xCAFF, "reservation").u32(0, "write_key").u16(0, "status")
    answers.u16(1, "extent_count").extent(3, 4294967295, 0)
    answers.u64(0, "reservation").u32(0, "write_key").u16(102, "status").u16(0, "extent_count")
    commit = Vector().u32(2, "count")
    commit.u64x(0xCAFE, "reservation").u32(3, "crc_count")
    commit.u32x(0x8A9136AA, "crc32c").u32x(0x62A8AB43, "crc32c").u32x(0x46DD794E, "crc32c")
    commit.u64x(0xCAFF, "reservation").u32(0, "crc_count")
    layers = Vector().u32(2, "count")
    layers.u64x(0xCAFE, "reservation").u32(79, "layer").u32(1, "crc_count").u32x(0x8A9136AA, "crc32c")
    layers.u64x(0xCAFF, "reservation").u32(0, "layer").u32(0, "crc_count")
    statuses = Vector().u32(3, "count").u16(0, "status").u16(114, "status").u16(405, "status")
    abort = Vector().u32(1, "count").u64x(0xCAFE, "reservation")
    aborted = Vector().u32(1, "count").u16(100, "status")
    return {
        "reserve_request": frame("reserve", reserve, request_id=30, deadline_ms=2000),
        "reserve_response": frame("reserve", answers, request_id=30, response=True),
        "commit_request": frame("commit", commit, request_id=31),
        "commit_response": frame("commit", statuses, request_id=31, response=True),
        "commit_layer_request": frame("commit_layer", layers, request_id=33),
        "commit_layer_response": frame("commit_layer", statuses, request_id=33, response=True),
        "abort_request": frame("abort", abort, request_id=32),
        "abort_response": frame("abort", aborted, request_id=32, response=True),
    }


def gets() -> dict[str, Vector]:
    lookup = Vector().u32(1, "flags: prefix").u32(5000, "lease_ms").u32(2, "count")
    lookup.text("kv/0", "name").text("kv/\u00e9", "name")
    found = Vector().u64x(0x77, "lease").u32(5000, "lease_ms")
    found.u32(3, "object_count").u32(3, "extent_count").u32(3, "crc_count")
    found.u16(0, "object 0: status").u8(0, "flags").reserved(1).u32x(0x01020304, "read_key")
    found.u64(163840, "size").u32(2, "extent_count").u32(3, "crc_count")
    found.u16(80, "layers").u16(80, "layers_ready")
    found.u16(100, "object 1: status").u8(0, "flags").reserved(1).u32(0, "read_key")
    found.u64(0, "size").u32(0, "extent_count").u32(0, "crc_count")
    found.u16(0, "layers").u16(0, "layers_ready")
    found.u16(108, "object 2: status").u8(1, "flags: sparse").reserved(1).u32(5, "read_key")
    found.u64(4096, "size").u32(1, "extent_count").u32(0, "crc_count")
    found.u16(0, "layers").u16(0, "layers_ready")
    found.extent(1, 131072, 0).extent(2, 32768, 1 << 33).extent(9, 4096, 8192)
    found.u32x(0x8A9136AA, "crc32c").u32x(0x62A8AB43, "crc32c").u32x(0x46DD794E, "crc32c")
    release = Vector().u32(2, "count").u64x(0x77, "lease").u64x(0xFFFFFFFFFFFFFFFF, "lease")
    remove = Vector().u32(2, "count").text("kv/0", "name").text("kv/1", "name")
    removed = Vector().u32(2, "count").u16(0, "status").u16(100, "status")
    listing = Vector().u32(1000, "names_max").text("kv/", "prefix").text("kv/0", "after")
    listed = Vector().u32(1, "flags: more").u32(2, "count")
    listed.u64(163840, "size").text("kv/1", "name").u64(0, "size").text("kv/2", "name")
    waiting = Vector().u32(3, "layer").u32(5000, "lease_ms").u32(250, "wait_ms").u32(1, "count")
    waiting.text("kv/0", "name")
    partly = Vector().u64(0, "lease").u32(0, "lease_ms")
    partly.u32(1, "object_count").u32(1, "extent_count").u32(1, "crc_count")
    partly.u16(108, "object 0: status").u8(0, "flags").reserved(1).u32x(0x01020304, "read_key")
    partly.u64(163840, "size").u32(1, "extent_count").u32(1, "crc_count")
    partly.u16(80, "layers").u16(4, "layers_ready")
    partly.extent(1, 163840, 0).u32x(0x8A9136AA, "crc32c")
    none = Vector()
    return {
        "wait_request": frame("wait", waiting, request_id=44, deadline_ms=1000),
        "wait_response": frame("wait", partly, request_id=44, response=True),
        "lookup_request": frame("lookup", lookup, request_id=40, deadline_ms=1),
        "lookup_response": frame("lookup", found, request_id=40, response=True),
        "release_request": frame("release", release, request_id=41),
        "release_response": frame("release", none, request_id=41, response=True),
        "remove_request": frame("remove", remove, request_id=42),
        "remove_response": frame("remove", removed, request_id=42, response=True),
        "list_request": frame("list", listing, request_id=43),
        "list_response": frame("list", listed, request_id=43, response=True),
    }


def regions() -> dict[str, Vector]:
    allocate = Vector().u64(196608, "size")
    region = Vector().u32x(0x5EED5EED, "key").u32(2, "count")
    region.extent(4, 131072, 0).extent(5, 65536, 262144)
    free = Vector().u32x(0x5EED5EED, "key")
    none = Vector()
    return {
        "allocate_region_request": frame("allocate_region", allocate, request_id=50),
        "allocate_region_response": frame("allocate_region", region, request_id=50, response=True),
        "free_region_request": frame("free_region", free, request_id=51),
        "free_region_response": frame("free_region", none, request_id=51, response=True),
    }


def tenants() -> dict[str, Vector]:
    retain = Vector().u32(2, "count")
    retain.u8(2, "pin: hard").reserved(3).u32(0, "soft_ttl_ms").u32(0, "hard_ttl_ms")
    retain.text("kv/0", "name")
    retain.u8(0, "pin: none").reserved(3).u32(1000, "soft_ttl_ms").u32x(0xFFFFFFFF, "hard_ttl_ms")
    retain.text("kv/1", "name")
    retained = Vector().u32(2, "count").u16(404, "status").u16(100, "status")
    usage = Vector().u64(1 << 30, "quota").u64(163840, "reserved").u64(4096, "held")
    usage.u64(3, "objects").u64(17, "evictions").u64(1000, "names_found").u64(9, "names_missed")
    wanted = Vector().u64(41, "after").u32(0b1011, "kinds: put, rebind, evict")
    wanted.u32(100, "events_max").u32(30000, "wait_ms")
    events = Vector().u64(45, "next").u64(2, "lost").u32(2, "count")
    events.u64(44, "sequence").u64(163840, "size").u8(0, "kind: put").reserved(1)
    events.text("kv/0", "name")
    events.u64(45, "sequence").u64(4096, "size").u8(3, "kind: evict").reserved(1)
    events.text("kv/\u00e9", "name")
    none = Vector()
    return {
        "retain_request": frame("retain", retain, request_id=60),
        "retain_response": frame("retain", retained, request_id=60, response=True),
        "usage_request": frame("usage", none, request_id=61),
        "usage_response": frame("usage", usage, request_id=61, response=True),
        "events_request": frame("events", wanted, request_id=62),
        "events_response": frame("events", events, request_id=62, response=True),
    }


def devices() -> dict[str, Vector]:
    none = Vector()
    new = Vector().u64(1 << 28, "size").u16(0, "device: a new one").text("vm-a", "vm")
    sealed = Vector().u64(0, "size").u16(7, "device").text("vm-b", "vm")
    bound = Vector().u16(7, "device").u16(0, "flags").u64(1 << 28, "size")
    bound.u32(4, "slabs: count").u32(65, "slab").u32(66, "slab").u32(3, "slab").u32(4, "slab")
    shared = Vector().u16(7, "device").u16(1, "flags: sealed").u64(1 << 28, "size")
    shared.u32(1, "slabs: count").u32(65, "slab")
    refused = Vector().u32(30, "length").add(b"VM vm-a has 1 GiB of its 1 GiB", "text")
    one = Vector().u16(0x7FFF, "device")
    listed = Vector().u32(3, "count")
    listed.u16(7, "device").u8(1, "state: sealed").reserved(1).u64(1 << 28, "size")
    listed.text("tenant-a", "tenant").u32(2, "holders: count")
    listed.u8(0, "flags").text("vm-a", "vm").u8(1, "flags: has let go").text("vm-b", "vm")
    listed.u16(8, "device").u8(0, "state: bound").reserved(1).u64(1 << 29, "size")
    listed.text("", "tenant").u32(1, "holders: count").u8(0, "flags").text("vm-c", "vm")
    listed.u16(0x7FFF, "device").u8(2, "state: leaving").reserved(1).u64(1 << 40, "size")
    listed.text("", "tenant").u32(0, "holders: count")
    return {
        "bind_request": frame("bind", new, request_id=70),
        "bind_sealed_request": frame("bind", sealed, request_id=71),
        "bind_response": frame("bind", bound, request_id=70, response=True),
        "bind_sealed_response": frame("bind", shared, request_id=71, response=True),
        "bind_error_response": frame("bind", refused, request_id=70, response=True, status=404),
        "unbind_request": frame("unbind", one, request_id=72),
        "unbind_response": frame("unbind", none, request_id=72, response=True),
        "seal_request": frame("seal", one, request_id=73),
        "seal_response": frame("seal", none, request_id=73, response=True),
        "drop_request": frame("drop", one, request_id=74),
        "drop_response": frame("drop", none, request_id=74, response=True),
        "list_bound_request": frame("list_bound", none, request_id=75),
        "list_bound_response": frame("list_bound", listed, request_id=75, response=True),
    }


def seeds_of(name: str, data: bytes) -> dict[str, bytes]:
    """What tests/fuzz/wire_fuzz.cpp takes: operation and flags, then a body; zeros, then a header."""
    header = data[:HEADER_BYTES]
    body_bytes = struct.unpack_from("<I", header, 24)[0]
    seeds = {f"{name}_header": b"\0\0" + header}
    if body_bytes:
        seeds[f"{name}_body"] = header[4:6] + data[HEADER_BYTES : HEADER_BYTES + body_bytes]
    return seeds


# The clients of tests/fuzz/door_fuzz.cpp, and the records that its inputs are lists of.
LANE, CONTROL, STRANGER = range(3)


def door_frame(peer: int, op: int, body: bytes) -> bytes:
    return struct.pack("<BBBH", 1 | peer << 3, op, 0, len(body)) + body


def door_time(peer: int, milliseconds: int) -> bytes:
    return struct.pack("<BH", 3 | peer << 3, milliseconds)


def door_takeover(attempt: int) -> bytes:
    return struct.pack("<BBH", 6 | CONTROL << 3, 128, attempt - 1)


def door_close(peer: int) -> bytes:
    return struct.pack("<B", 7 | peer << 3)


def door_seed(name: str, data: bytes) -> dict[str, bytes]:
    """A request from the client that sends such ones."""
    op, flags = data[4], data[5]
    if flags & 1:
        return {}
    body_bytes = struct.unpack_from("<I", data, 24)[0]
    body = data[HEADER_BYTES : HEADER_BYTES + body_bytes]
    peers = {OPS["hello"]: STRANGER, OPS["read"]: LANE, OPS["write"]: LANE}
    return {f"vector_{name}": door_frame(peers.get(op, CONTROL), op, body)}


def door_scenes() -> dict[str, bytes]:
    """What takes several requests: waits, lanes that are given up, a session that goes on."""
    waiting = Vector().u32(3, "layer").u32(5000, "lease_ms").u32(250, "wait_ms").u32(1, "count")
    waiting.text("kv/0", "name")
    begin = Vector().u64(0, "after").u32(0x3F, "kinds").u32(10, "events_max").u32(0, "wait_ms")
    # The fuzz target puts the last position that it was given in the place of this one.
    behind = Vector().u64x(0xFFFFFFFFFFFFFFFF, "after").u32(0x3F, "kinds")
    behind.u32(10, "events_max").u32(250, "wait_ms")
    lanes = Vector().u32(3, "count").u32(1, "lane_token").u32(2, "lane_token").u32(3, "lane_token")
    retain = Vector().u32(1, "count").u8(1, "pin: soft").reserved(3)
    retain.u32(10, "soft_ttl_ms").u32(20, "hard_ttl_ms").text("kv/0", "name")

    def ask(peer: int, op: str, body: Vector) -> bytes:
        return door_frame(peer, OPS[op], body.bytes())

    none = Vector()
    wait = ask(CONTROL, "wait", waiting)
    events = ask(CONTROL, "events", begin) + ask(CONTROL, "events", behind)
    cut_short = door_frame(CONTROL, OPS["wait"], waiting.bytes()[:-1])
    return {
        "waits_time_out": wait + events + door_time(CONTROL, 1000) + events,
        "waits_beyond_limit": 6 * wait + 6 * events + door_time(CONTROL, 1000),
        "waits_hang_up": wait + events + door_close(CONTROL) + door_time(LANE, 1000),
        "waits_then_none": wait + events + cut_short + door_time(LANE, 1000),
        "fence_on_lane": ask(LANE, "fence", lanes) + ask(CONTROL, "fence", lanes)
        + ask(LANE, "ping", none) + door_time(LANE, 1000),
        "taken_over": wait + events + door_takeover(1) + ask(STRANGER, "ping", none)
        + ask(STRANGER, "wait", waiting) + ask(STRANGER, "events", begin)
        + ask(STRANGER, "usage", none) + ask(CONTROL, "ping", none) + door_time(STRANGER, 3000),
        "taken_over_late": door_close(CONTROL) + door_time(LANE, 1500) + door_takeover(3)
        + ask(STRANGER, "retain", retain) + ask(STRANGER, "fence", lanes)
        + door_time(STRANGER, 5000),
        "taken_over_too_late": door_close(CONTROL) + door_time(LANE, 2500) + door_takeover(1)
        + ask(STRANGER, "usage", none),
        "taken_over_twice": door_takeover(2) + door_takeover(1) + ask(STRANGER, "ping", none),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check

    files: dict[pathlib.Path, bytes] = {}
    for part in (hello(), data(), box(), puts(), gets(), regions(), tenants(), devices()):
        for name, vector in part.items():
            title = f"# {name.replace('_', ' ')}: {len(vector.bytes())} bytes"
            lines = ["# SPDX-License-Identifier: Apache-2.0", title, *vector.lines()]
            files[OUT / f"{name}.hex"] = ("\n".join(lines) + "\n").encode()
            for seed, content in seeds_of(name, vector.bytes()).items():
                files[SEEDS / seed] = content
            for seed, content in door_seed(name, vector.bytes()).items():
                files[DOOR_SEEDS / seed] = content
    for seed, content in door_scenes().items():
        files[DOOR_SEEDS / seed] = content
    wrong = [path for path in OUT.glob("*.hex") if path not in files]
    for path, content in files.items():
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            wrong.append(path)
    for path in wrong:
        print(f"not what this script makes of the document: {path}", file=sys.stderr)
    print(f"{len(files)} files {'checked' if check else 'written'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
