#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the golden frames of RoCEv2, tests/vectors/roce/*.hex, and a session of requests with the
answers that a responder has no choice about, tests/vectors/roce/session/*.hex. Also those saved
inputs of the fuzz target roce_fuzz that are sessions, tests/fuzz/corpus/roce_fuzz/, of the steps
that tests/support/roce/include/godbox_test/roce_steps.h tells of.

Written from IBTA volume 1 (chapter 9, annex A17) with struct and zlib: it shares no code with
Godbox. Its ICRC reproduces that of a frame captured from a ConnectX-4 Lx (CNP below). Run it without arguments
to write the files, or with --check to compare what it makes with what is checked in.

A .hex file holds the bytes of one frame as two-digit hexadecimal numbers; "#" begins a comment, line
breaks and spaces mean nothing.
"""

import argparse
import pathlib
import struct
import sys
import zlib

OUT = pathlib.Path(__file__).resolve().parent / "roce"
SEEDS = OUT.parent.parent / "fuzz" / "corpus" / "roce_fuzz"
HOST, BOX = "10.0.0.1", "10.0.0.2"
HOST6 = bytes.fromhex("fd000000000000000000000000000001")
BOX6 = bytes.fromhex("fd000000000000000000000000000002")
HOST_MAC, BOX_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
# Captured from a ConnectX-4 Lx.
CAPTURED_CNP = bytes.fromhex(
    "e41d2dab2bc27cfe90643b32080045c2003c718c400040119161 0a0011010a001201"
    "000012b7002800008100ffff400001180000000000000000000000000000000000000000 82fd002a"
    .replace(" ", ""))


def icrc(packet: bytes) -> bytes:
    """Of bytes from the IP header to the padding."""
    masked = bytearray(packet)
    if masked[0] >> 4 == 4:
        udp = (masked[0] & 15) * 4
        for at in (1, 8, 10, 11):
            masked[at] = 0xFF
    else:
        udp = 40
        masked[0] |= 0x0F
        for at in (1, 2, 3, 7):
            masked[at] = 0xFF
    for at in (udp + 6, udp + 7, udp + 12):
        masked[at] = 0xFF
    return struct.pack("<I", zlib.crc32(bytes(masked), zlib.crc32(b"\xff" * 8)))


assert icrc(CAPTURED_CNP[14:-4]) == CAPTURED_CNP[-4:]


def checksum(header: bytes) -> int:
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, destination: str, udp_bytes: int, tos: int, identification: int) -> bytes:
    def address(text: str) -> bytes:
        return bytes(int(part) for part in text.split("."))
    header = struct.pack(">BBHHHBBH4s4s", 0x45, tos, 20 + udp_bytes, identification, 0x4000, 64, 17, 0,
                         address(source), address(destination))
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:]


def ipv6(source: bytes, destination: bytes, udp_bytes: int, traffic_class: int, flow: int) -> bytes:
    return struct.pack(">IHBB", 6 << 28 | traffic_class << 20 | flow, udp_bytes, 17, 64) \
        + source + destination


def bth(opcode: int, qp: int, psn: int, pad: int = 0, ack: bool = False, solicited: bool = False,
        migrated: bool = False) -> bytes:
    flags = solicited << 7 | migrated << 6 | pad << 4
    return struct.pack(">BBHII", opcode, flags, 0xFFFF, qp, ack << 31 | psn)


def reth(address: int, key: int, length: int) -> bytes:
    return struct.pack(">QII", address, key, length)


def aeth(syndrome: int, msn: int) -> bytes:
    return struct.pack(">I", syndrome << 24 | msn)


def frame(packet: bytes, port: int, to_box: bool, version: int = 4, vlan: int | None = None,
          tos: int = 0, identification: int = 0, flow: int = 0) -> bytes:
    """`packet` from the BTH to the padding."""
    udp_bytes = 8 + len(packet) + 4
    if version == 4:
        ends = (HOST, BOX) if to_box else (BOX, HOST)
        ip, ether = ipv4(*ends, udp_bytes, tos, identification), 0x0800
    else:
        ends = (HOST6, BOX6) if to_box else (BOX6, HOST6)
        ip, ether = ipv6(*ends, udp_bytes, tos, flow), 0x86DD
    macs = BOX_MAC + HOST_MAC if to_box else HOST_MAC + BOX_MAC
    tag = struct.pack(">HH", 0x8100, vlan) if vlan is not None else b""
    covered = ip + struct.pack(">HHHH", port, 4791, udp_bytes, 0) + packet
    return macs + tag + struct.pack(">H", ether) + covered + icrc(covered)


def vectors() -> dict[str, bytes]:
    key, base = 0x1234, 0x10000000
    to_box, from_box = {"port": 0xC000, "to_box": True}, {"port": 0xC001, "to_box": False}
    add = struct.pack(">QIQQ", base + 16, key, 1, 0)
    swap = struct.pack(">QIQQ", base + 24, key, 0x1122334455667788, 7)
    full = bytes(range(256))
    return {
        "read_request": frame(bth(0x0C, 0x11, 0x100, ack=True) + reth(base, key, 5), **to_box),
        "read_response_only": frame(
            bth(0x10, 0x12, 0x100, pad=3) + aeth(0x1F, 1) + b"hello\0\0\0", **from_box),
        "write_only": frame(
            bth(0x0A, 0x11, 0x101, ack=True) + reth(base + 8, key, 4) + b"ABCD", **to_box),
        "acknowledge": frame(bth(0x11, 0x12, 0x101) + aeth(0x1F, 2), **from_box),
        "nak_access": frame(bth(0x11, 0x12, 0x102) + aeth(0x62, 2), **from_box),
        "fetch_add": frame(bth(0x14, 0x11, 0x103, ack=True) + add, **to_box),
        "compare_swap": frame(bth(0x13, 0x11, 0x104, ack=True) + swap, **to_box),
        "atomic_acknowledge": frame(
            bth(0x12, 0x12, 0x103) + aeth(0x1F, 3) + struct.pack(">Q", 41), **from_box),
        "write_first": frame(bth(0x06, 0x11, 0x105) + reth(base, key, 600) + full, **to_box),
        "write_middle": frame(bth(0x07, 0x11, 0x106) + full, **to_box),
        "write_last": frame(bth(0x08, 0x11, 0x107, ack=True) + full[:88], **to_box),
        "write_last_immediate": frame(
            bth(0x09, 0x11, 0x108, pad=1, ack=True, solicited=True) + struct.pack(">I", 0xDEADBEEF)
            + b"abc\0", **to_box),
        "write_only_immediate": frame(
            bth(0x0B, 0x11, 0x109, ack=True) + reth(base, key, 0) + struct.pack(">I", 42), **to_box),
        "send_only": frame(
            bth(0x04, 0xABCDEF, 0xFFFFFF, pad=2, ack=True, migrated=True) + b"xy\0\0", **to_box),
        "send_only_immediate": frame(
            bth(0x05, 0x11, 0x10A) + struct.pack(">I", 1) + b"", **to_box),
        "send_last_invalidate": frame(
            bth(0x16, 0x11, 0x10B, pad=3) + struct.pack(">I", key) + b"z\0\0\0", **to_box),
        "read_response_first": frame(bth(0x0D, 0x12, 0x10C) + aeth(0x1F, 9) + full, **from_box),
        "read_response_middle": frame(bth(0x0E, 0x12, 0x10D) + full, **from_box),
        "read_response_last": frame(
            bth(0x0F, 0x12, 0x10E, pad=3) + aeth(0x1F, 9) + b"q\0\0\0", **from_box),
        "atomic_write": frame(
            bth(0x1D, 0x11, 0x10F, ack=True) + reth(base + 32, key, 8) + b"12345678", **to_box),
        "flush": frame(
            bth(0x1C, 0x11, 0x110, ack=True) + struct.pack(">I", 0x11) + reth(base, key, 64),
            **to_box),
        "rnr_nak": frame(bth(0x11, 0x12, 0x111) + aeth(0x2C, 9), **from_box),
        "ud_send_only": frame(
            bth(0x64, 1, 0x10) + struct.pack(">II", 0x80010000, 1) + full, **to_box),
        "read_request_ipv6": frame(
            bth(0x0C, 0x11, 0x100, ack=True) + reth(base, key, 5), version=6, tos=0x2A,
            flow=0x54321, **to_box),
        "read_request_vlan": frame(
            bth(0x0C, 0x11, 0x100, ack=True) + reth(base, key, 5), vlan=0x6064, tos=0x6A,
            identification=0xBEEF, **to_box),
        "captured_cnp": CAPTURED_CNP,
    }


def udp_source_port(local_qp: int, remote_qp: int) -> int:
    """As Linux has it: rdma_flow_label_to_udp_sport of rdma_calc_flow_label."""
    label = local_qp * remote_qp
    label ^= label >> 20
    label ^= label >> 40
    label &= 0xFFFFF
    return ((label & 0x3FFF) ^ ((label & 0xFC000) >> 14)) | 0xC000


def session() -> dict[str, bytes]:
    """Queue pair 0x11 of the box, 0x12 of the host, path MTU 256, first PSN 0x100, a region of zeros
    at `base` that the key opens. Files are taken in the order of their names; a request is followed
    by its answers."""
    key, base, wrong_key = 0x1234, 1 << 36, 0x4321
    ask = {"port": 0xC000, "to_box": True}
    answer = {"port": udp_source_port(0x11, 0x12), "to_box": False}
    frames: list[tuple[str, bytes]] = []

    def request(name: str, packet: bytes) -> None:
        frames.append((f"{name}_request", frame(packet, **ask)))

    def reply(name: str, packet: bytes) -> None:
        frames.append((f"{name}_answer", frame(packet, **answer)))

    def read(name: str, psn: int, address: int, length: int, msn: int, data: bytes) -> None:
        request(name, bth(0x0C, 0x11, psn, ack=True) + reth(address, key, length))
        pieces = [data[at:at + 256] for at in range(0, len(data), 256)]
        for i, piece in enumerate(pieces):
            opcode = 0x10 if len(pieces) == 1 else 0x0D if i == 0 \
                else 0x0F if i == len(pieces) - 1 else 0x0E
            head = b"" if opcode == 0x0E else aeth(0x1F, msn)
            pad = -len(piece) % 4
            reply(name, bth(opcode, 0x12, psn + i, pad=pad) + head + piece + bytes(pad))

    def atomic(name: str, opcode: int, psn: int, swap: int, compare: int, before: int, msn: int) -> None:
        request(name, bth(opcode, 0x11, psn, ack=True) + struct.pack(">QIQQ", base, key, swap, compare))
        reply(name, bth(0x12, 0x12, psn) + aeth(0x1F, msn) + struct.pack(">Q", before))

    counted = bytes(range(256)) + bytes(range(256)) + bytes(range(88))
    value = 0x1122334455667788
    request("write_only", bth(0x0A, 0x11, 0x100, ack=True) + reth(base + 8, key, 4) + b"ABCD")
    reply("write_only", bth(0x11, 0x12, 0x100) + aeth(0x1F, 1))
    read("read_only", 0x101, base + 8, 5, 2, b"ABCD\0")
    request("write_first", bth(0x06, 0x11, 0x102) + reth(base + 256, key, 600) + counted[:256])
    request("write_middle", bth(0x07, 0x11, 0x103) + counted[256:512])
    request("write_last", bth(0x08, 0x11, 0x104, ack=True) + counted[512:])
    reply("write_last", bth(0x11, 0x12, 0x104) + aeth(0x1F, 3))
    read("read_three", 0x105, base + 256, 600, 4, counted)
    atomic("fetch_add", 0x14, 0x108, 1, 0, 0, 5)
    atomic("swap", 0x13, 0x109, value, 1, 1, 6)
    atomic("no_swap", 0x13, 0x10A, 5, 1, value, 7)
    request("atomic_write", bth(0x1D, 0x11, 0x10B, ack=True) + reth(base + 16, key, 8) + b"12345678")
    reply("atomic_write", bth(0x10, 0x12, 0x10B) + aeth(0x1F, 8))
    # Words are the host's: of a little-endian one here.
    read("read_words", 0x10C, base, 24, 9, struct.pack("<Q", value) + b"ABCD\0\0\0\0" + b"12345678")
    request("write_nothing", bth(0x0A, 0x11, 0x10D, ack=True) + reth(0, wrong_key, 0))
    reply("write_nothing", bth(0x11, 0x12, 0x10D) + aeth(0x1F, 10))
    # The second response of READ 0x105 was lost: it goes on in the middle.
    request("read_rest", bth(0x0C, 0x11, 0x106, ack=True) + reth(base + 512, key, 344))
    reply("read_rest", bth(0x0D, 0x12, 0x106) + aeth(0x1F, 10) + counted[256:512])
    reply("read_rest", bth(0x0F, 0x12, 0x107) + aeth(0x1F, 10) + counted[512:])
    # Asked again, an atomic is not done again.
    request("fetch_add_again",
            bth(0x14, 0x11, 0x108, ack=True) + struct.pack(">QIQQ", base, key, 1, 0))
    reply("fetch_add_again", bth(0x12, 0x12, 0x108) + aeth(0x1F, 10) + struct.pack(">Q", 0))
    # Of a WRITE that was done before: all that has been done since.
    request("write_again", bth(0x0A, 0x11, 0x100, ack=True) + reth(base + 8, key, 4) + b"WXYZ")
    reply("write_again", bth(0x11, 0x12, 0x10D) + aeth(0x1F, 10))
    request("gap", bth(0x0C, 0x11, 0x111, ack=True) + reth(base, key, 8))
    reply("gap", bth(0x11, 0x12, 0x10E) + aeth(0x60, 10))
    request("behind_gap", bth(0x0C, 0x11, 0x112, ack=True) + reth(base, key, 8))
    request("wrong_key", bth(0x0C, 0x11, 0x10E, ack=True) + reth(base, wrong_key, 8))
    reply("wrong_key", bth(0x11, 0x12, 0x10E) + aeth(0x62, 10))
    return {f"session/{i:02}_{name}": data for i, (name, data) in enumerate(frames)}


class Steps:
    """A saved input: roce_steps.h says what each step is. Key and base stand for the memory's."""

    KEY, BASE, MEMORY_BYTES = 0x1234, 1 << 36, 192 << 10

    def __init__(self) -> None:
        self.data = b""

    def add(self, operation: int, size: int, data: bytes = b"") -> None:
        self.data += struct.pack(">BH", operation, size) + data

    def wait(self, milliseconds: int) -> None:
        self.add(4, milliseconds)

    def receive(self, size: int) -> None:
        self.add(6, size)

    def ask(self, op: int, size: int, immediate: int | None = None) -> None:
        data = struct.pack(">BH", op, size)
        data += b"" if immediate is None else struct.pack(">I", immediate)
        self.add(7, len(data), data)

    def fill_wire(self, is_full: bool) -> None:
        self.add(8, int(is_full))

    def packet(self, opcode: int, psn: int, headers: bytes = b"", payload: bytes = b"") -> None:
        pad = -len(payload) % 4
        data = bth(opcode, 0x11, psn, pad=pad, ack=True) + headers + payload + bytes(pad)
        self.add(3, len(data), data)

    def at(self, offset: int, length: int) -> bytes:
        return reth(self.BASE + offset, self.KEY, length)

    def read(self, psn: int, offset: int, length: int) -> None:
        self.packet(0x0C, psn, self.at(offset, length))

    def write(self, psn: int, offset: int, payload: bytes) -> None:
        self.packet(0x0A, psn, self.at(offset, len(payload)), payload)

    def atomic(self, opcode: int, psn: int, offset: int, swap: int, compare: int = 0) -> None:
        place = struct.pack(">QI", self.BASE + offset, self.KEY)
        self.packet(opcode, psn, place + struct.pack(">QQ", swap, compare))


def saved_reads() -> Steps:
    """One of several windows, one of nothing, the rest of the first one again; one over the end."""
    steps = Steps()
    steps.read(0x100, 5, 150_000)  # 586 packets
    steps.read(0x34A, 0, 0)
    steps.read(0x100 + 400, 5 + 400 * 256, 150_000 - 400 * 256)
    steps.read(0x34B, steps.MEMORY_BYTES - 4, 8)
    return steps


def saved_writes() -> Steps:
    """Of three packets and its last one again, with immediate data, one that stalls, one over the
    end."""
    steps = Steps()
    full = bytes(range(256))
    steps.receive(64)
    steps.receive(64)
    steps.packet(0x06, 0x100, steps.at(1000, 600), full)
    steps.packet(0x07, 0x101, payload=full)
    steps.packet(0x08, 0x102, payload=full[:88])
    steps.packet(0x08, 0x102, payload=full[:88])
    steps.packet(0x0B, 0x103, steps.at(4096, 4) + struct.pack(">I", 42), b"ABCD")
    steps.packet(0x06, 0x104, steps.at(8192, 300), full)
    steps.packet(0x09, 0x105, struct.pack(">I", 43), full[:44])
    steps.packet(0x06, 0x106, steps.at(131_000, 400), full)
    steps.wait(300)
    steps.packet(0x08, 0x107, payload=full[:144])
    steps.write(0x108, steps.MEMORY_BYTES - 4, full[:8])
    return steps


def saved_atomics() -> Steps:
    """Each of them, and again; one that is on no word."""
    steps = Steps()
    for _ in range(2):
        steps.atomic(0x14, 0x100, 64, 41)
    for _ in range(2):
        steps.atomic(0x13, 0x101, 64, 7, 41)
    for _ in range(2):
        steps.packet(0x1D, 0x102, steps.at(72, 8), b"12345678")
    steps.atomic(0x14, 0x103, 65, 1)
    return steps


def saved_sends() -> Steps:
    """Before there is memory for one; of one packet, with immediate data, of three; the first
    again; one that is too long."""
    steps = Steps()
    full = bytes(range(256))
    steps.packet(0x04, 0x100, payload=full[:13])
    for size in (64, 64, 700, 16):
        steps.receive(size)
    steps.packet(0x04, 0x100, payload=full[:13])
    steps.packet(0x05, 0x101, struct.pack(">I", 1), full[:64])
    steps.packet(0x00, 0x102, payload=full)
    steps.packet(0x01, 0x103, payload=full)
    steps.packet(0x03, 0x104, struct.pack(">I", 2), full[:88])
    steps.packet(0x04, 0x100, payload=full[:13])
    steps.packet(0x04, 0x105, payload=full[:17])
    return steps


def saved_held() -> Steps:
    """Nothing leaves until all has come, some of it twice."""
    steps = Steps()
    steps.fill_wire(True)
    steps.read(0x100, 0, 700)  # 3 packets
    steps.write(0x103, 100, b"ABCD")
    steps.atomic(0x14, 0x104, 64, 1)
    steps.read(0x101, 256, 444)
    steps.atomic(0x14, 0x104, 64, 1)
    steps.read(0x105, 140_000, 1000)
    steps.fill_wire(False)
    return steps


def saved_asked() -> Steps:
    """What this end asks for, and the answers: of a READ with one missing first, of a WRITE, of a
    SEND that nothing waited for, and of what changes a word."""
    steps = Steps()
    full = bytes(range(256))
    send, read, write, compare_swap, fetch_add, atomic_write = range(6)
    steps.ask(read, 600)
    steps.packet(0x0D, 0x100, aeth(0x1F, 1), full)
    steps.packet(0x0F, 0x102, aeth(0x1F, 1), full[:88])
    steps.packet(0x0D, 0x101, aeth(0x1F, 1), full)
    steps.packet(0x0F, 0x102, aeth(0x1F, 1), full[:88])
    steps.ask(write, 300, immediate=7)
    steps.packet(0x11, 0x104, aeth(0x1F, 2))
    steps.ask(fetch_add, 8)
    steps.packet(0x12, 0x105, aeth(0x1F, 3) + struct.pack(">Q", 41))
    steps.ask(send, 10)
    steps.packet(0x11, 0x106, aeth(0x21, 3))
    steps.wait(1)
    steps.packet(0x11, 0x106, aeth(0x1F, 4))
    steps.ask(atomic_write, 8)
    steps.packet(0x10, 0x107, aeth(0x1F, 5))
    steps.ask(compare_swap, 8)
    steps.packet(0x11, 0x108, aeth(0x60, 5))
    steps.packet(0x12, 0x108, aeth(0x1F, 6) + struct.pack(">Q", 40))
    steps.ask(send, 8)
    steps.wait(1000)
    steps.packet(0x11, 0x109, aeth(0x1F, 7))
    return steps


def seeds() -> dict[str, bytes]:
    golden = Steps()
    before, behind = 14 + 20 + 8, 4  # headers up to UDP's, and the ICRC
    for name, data in session().items():
        if name.endswith("_request"):
            golden.add(3, len(data) - before - behind, data[before:-behind])
    return {"session": golden.data, "reads": saved_reads().data, "writes": saved_writes().data,
            "atomics": saved_atomics().data, "sends": saved_sends().data,
            "held": saved_held().data, "asked": saved_asked().data}


def text_of(name: str, data: bytes) -> str:
    lines = [f"# SPDX-License-Identifier: Apache-2.0\n# {name}: {len(data)} bytes"]
    for at in range(0, len(data), 16):
        lines.append(" ".join(f"{byte:02x}" for byte in data[at:at + 16]))
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    made = {f"{name}.hex": text_of(name, data) for name, data in (vectors() | session()).items()}
    (OUT / "session").mkdir(parents=True, exist_ok=True)
    there = {str(path.relative_to(OUT)): path.read_text() for path in OUT.rglob("*.hex")}
    if check:
        wrong = sorted(OUT / name for name in made.keys() | there.keys()
                       if made.get(name) != there.get(name))
        wrong += sorted(SEEDS / name for name, data in seeds().items()
                        if not (SEEDS / name).exists() or (SEEDS / name).read_bytes() != data)
        for path in wrong:
            print(f"{path}: differs from what the script makes")
        print(f"{len(made)} frames and {len(seeds())} saved inputs, {len(wrong)} wrong")
        return 1 if wrong else 0
    for name in there.keys() - made.keys():
        (OUT / name).unlink()
    for name, text in made.items():
        (OUT / name).write_text(text)
    for name, data in seeds().items():
        (SEEDS / name).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
