# SPDX-License-Identifier: Apache-2.0
"""A host of the Ethernet of a RoCE port that is a pair of datagram sockets, played by hand.

Frames come from tests/vectors/make_roce_vectors.py, which shares no code with godbox; connection
management is written from IBTA volume 1, 12.6.
"""

import select
import socket
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vectors"))

from make_roce_vectors import BOX, BOX_MAC, HOST, HOST_MAC, bth, frame, icrc, reth  # noqa: E402

ANSWER_SECONDS_MAX = 10
REQ, REJ, REP, RTU, DREQ, DREP = 0x10, 0x12, 0x13, 0x14, 0x15, 0x16
READ_REQUEST, WRITE_ONLY, READ_RESPONSE_ONLY, ACKNOWLEDGE = 0x0C, 0x0A, 0x10, 0x11
DATAGRAM, Q_KEY, OUR_QP, COMM_ID = 0x64, 0x80010000, 0x12, 0x11223344
# The box's end as RoceHost expects it, for `serve --roce`; the peer's address and MAC are HOST's.
BOX_PORT = f"{BOX}/24,mac={BOX_MAC.hex(':')}"


def mapped(address):
    return bytes(10) + b"\xff\xff" + socket.inet_aton(address)


class RoceHost:
    def __init__(self, folder):
        self.box, self.here = str(Path(folder) / "box.frames"), str(Path(folder) / "host.frames")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.here)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def option(self, more=""):
        return f"{BOX_PORT}{more}@dgram:{self.box},{self.here}"

    def send(self, data):
        self.socket.sendto(data, self.box)

    def receive(self):
        readable, _, _ = select.select([self.socket], [], [], ANSWER_SECONDS_MAX)
        assert readable, "the box says nothing"
        return self.socket.recv(65536)

    def packet(self):
        """Opcode, PSN and what follows the BTH of the next packet."""
        data = self.receive()
        assert data[:14] == HOST_MAC + BOX_MAC + b"\x08\x00", data[:14]
        assert icrc(data[14:-4]) == data[-4:]
        flags, psn, after = data[43], struct.unpack_from(">I", data, 50)[0] & 0xFFFFFF, data[54:-4]
        return data[42], psn, after[:len(after) - (flags >> 4 & 3)]

    # --- Connection management ---

    def send_mad(self, attribute, message):
        mad = struct.pack(">BBBBHHQHHI", 1, 7, 2, 3, 0, 0, 77, attribute, 0, 0)
        mad += message + bytes(232 - len(message))
        self.send(frame(bth(DATAGRAM, 1, 0) + struct.pack(">II", Q_KEY, 1) + mad, port=0xC000,
                        to_box=True))

    def mad(self):
        opcode, _, after = self.packet()
        assert opcode == DATAGRAM, opcode
        transaction, attribute = struct.unpack_from(">QH", after, 8 + 8)
        return attribute, after[8 + 24:]

    def request(self, session, secret, service=7400):
        """A REQ with the proof of a session; what is answered."""
        path = struct.pack(">HH", 0xFFFF, 0xFFFF) + mapped(HOST) + mapped(BOX)
        path += struct.pack(">IBBBB", 0, 0, 64, 0, 14 << 3)
        hello = struct.pack(">HHIQQQ", 1, 0, 0, session, *secret)
        names = struct.pack(">BBH", 0, 0x40, 40000) + bytes(12) + socket.inet_aton(HOST) \
            + bytes(12) + socket.inet_aton(BOX)
        message = struct.pack(">IIQQII", COMM_ID, 0, 0x01060000 | service, 0x020000FFFE000001, 0, 0)
        message += struct.pack(">III", OUR_QP << 8 | 16, 16, 20 << 3)
        message += struct.pack(">IHBB", 0x100 << 8 | 20 << 3 | 7, 0xFFFF, 3 << 4 | 7, 15 << 4)
        message += path + bytes(44) + names + hello
        self.send_mad(REQ, message)
        return self.mad()

    def connect(self, session, secret):
        """The box's queue pair, and the lane."""
        attribute, reply = self.request(session, secret)
        assert attribute == REP, (attribute, reply)
        self.comm_id, asked, _, number = struct.unpack_from(">IIII", reply)
        assert asked == COMM_ID
        self.number, self.psn = number >> 8, 0x100
        # PSNs of what this end sends begin where the REP says.
        self.psn = struct.unpack_from(">I", reply, 20)[0] >> 8
        version, self.eth_port, lane = struct.unpack_from(">HHI", reply, 36)
        assert version == 1
        self.send_mad(RTU, struct.pack(">II", COMM_ID, self.comm_id))
        return self.number, lane

    # --- Requests ---

    def ask(self, opcode, key, address, length, payload=b""):
        packet = bth(opcode, self.number, self.psn, ack=True) + reth(address, key, length)
        self.send(frame(packet + payload, port=0xC000, to_box=True))
        opcode, psn, after = self.packet()
        assert psn == self.psn, (psn, self.psn)
        self.psn = self.psn + 1 & 0xFFFFFF
        return opcode, after[0], after[4:]

    # --- The link ---

    def arp(self):
        """The MAC address that the box says is BOX's."""
        ask = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + HOST_MAC + socket.inet_aton(HOST)
        self.send(b"\xff" * 6 + HOST_MAC + b"\x08\x06" + ask + bytes(6) + socket.inet_aton(BOX))
        data = self.receive()
        assert data[12:22] == b"\x08\x06" + struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2), data
        return data[22:28]
