# SPDX-License-Identifier: Apache-2.0
"""Speaks the native protocol over a plain socket, rightly or wrongly, for the tests of this folder.

Frames come from tests/vectors/make_wire_vectors.py, which shares no code with godbox.
"""

import json
import mmap
import os
import select
import socket
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vectors"))

from make_wire_vectors import HEADER_BYTES, Vector, crc32c, frame  # noqa: E402

REPLY_SECONDS_MAX = 10
CONTROL, LANE = 0, 1


def connect(address):
    """A socket to "unix:PATH" or "tcp:HOST:PORT"."""
    kind, where = address.split(":", 1)
    if kind == "unix":
        made = socket.socket(socket.AF_UNIX)
        made.connect(where)
        return made
    host, port = where.rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def hello(kind=CONTROL, session=0, secret=(0, 0), tenant=""):
    body = Vector()
    body.u16(1, "version_min").u16(1, "version_max").u8(kind, "kind").u8(0, "auth_method")
    body.u16(0, "lane").u64(session, "session")
    body.u64(secret[0], "secret").u64(secret[1], "secret")
    body.text(tenant, "tenant").u16(0, "auth: length")
    return frame("hello", body, request_id=0, epoch=0).bytes()


def spoil_header(data, offset, value):
    """The same frame with other bytes in its header, and a header CRC that fits again."""
    changed = bytearray(data)
    changed[offset:offset + len(value)] = value
    changed[60:64] = struct.pack("<I", crc32c(bytes(changed[:60])))
    return bytes(changed)


def receive(peer, size):
    data = b""
    while len(data) < size:
        piece = peer.recv(size - len(data))
        if not piece:
            raise ConnectionError("the box closed")
        data += piece
    return data


def is_closed(peer, seconds):
    """Whether the box closes within that time; what it still says is thrown away."""
    peer.settimeout(seconds)
    try:
        while peer.recv(65536):
            pass
    except (ConnectionError, BrokenPipeError):
        return True
    except TimeoutError:
        return False
    return True


def has_hung_up(peer):
    """Whether the box has closed, found without reading what it sent."""
    poll = select.poll()
    poll.register(peer, select.POLLRDHUP)
    return any(event & (select.POLLRDHUP | select.POLLHUP | select.POLLERR)
               for _, event in poll.poll(0))


class Bound:
    """A logical device in this process's hands."""

    def __init__(self, device, sealed, size, descriptor, slabs):
        self.device, self.sealed, self.size, self.slabs = device, sealed, size, slabs
        self.descriptor = descriptor

    def map(self, writable=True):
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        return mmap.mmap(self.descriptor, self.size, mmap.MAP_SHARED, protection)

    def close(self):
        os.close(self.descriptor)


class RawSession:
    """A control connection that has said HELLO."""

    def __init__(self, address, tenant=""):
        self.socket = connect(address)
        self.socket.settimeout(REPLY_SECONDS_MAX)
        self.socket.sendall(hello(tenant=tenant))
        status, body = self.reply()
        assert status == 0, status
        self.session, *self.secret, self.epoch = struct.unpack_from("<QQQQ", body, 8)

    def request(self, op, body=None, **more):
        return frame(op, body or Vector(), request_id=1, epoch=self.epoch, **more).bytes()

    def send(self, op, body=None, **more):
        self.socket.sendall(self.request(op, body, **more))

    def reply(self):
        header = receive(self.socket, HEADER_BYTES)
        status, = struct.unpack_from("<H", header, 6)
        body_bytes, payload_bytes = struct.unpack_from("<II", header, 24)
        body = receive(self.socket, body_bytes)
        receive(self.socket, payload_bytes)
        return status, body

    def reply_with_descriptors(self):
        """The same, and what rode along."""
        data, descriptors, _, _ = socket.recv_fds(self.socket, 1 << 20, 64)
        while len(data) < HEADER_BYTES or \
                len(data) < HEADER_BYTES + struct.unpack_from("<I", data, 24)[0]:
            data += receive(self.socket, 1)
        return struct.unpack_from("<H", data, 6)[0], data[HEADER_BYTES:], descriptors

    def bind(self, vm, size=0, device=0):
        """BIND of docs/wire-protocol.md, 9.7: a status, and what came of it."""
        self.send("bind", Vector().u64(size, "size").u16(device, "device").text(vm, "vm"))
        status, body, descriptors = self.reply_with_descriptors()
        if status != 0:
            assert not descriptors
            return status, body[4:].decode()
        device, flags, size, count = struct.unpack_from("<HHQI", body)
        return status, Bound(device, bool(flags), size, descriptors[0],
                             struct.unpack_from(f"<{count}I", body, 16))

    def change(self, op, device):
        """UNBIND, SEAL or DROP: a status and a sentence."""
        self.send(op, Vector().u16(device, "device"))
        status, body = self.reply()
        return status, body[4:].decode()

    def box_status(self):
        """What STATUS answers; opens no lane, so that its own traffic is on one port only."""
        self.send("status")
        status, body = self.reply()
        assert status == 0, status
        return json.loads(body[4:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
