#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records tests/vectors/pcap/rxe_to_rxe.pcap: what two Linux kernels say to each other when both
ends are rxe. Two guests of Debian's kernel, their network cards joined by datagram sockets, run
perftest and rping against each other; of the frames that QEMU's filter-dump has seen, those of RoCE
are kept. rxe_trace_test.cpp replays them through our responder and our requester.

usage: record_rxe.py [FILE]
Numbers of queue pairs, keys, addresses and first PSNs are random: each recording is another one.
"""

import os
import struct
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "vm", "roce"))
from roce_test import MTU, Guest, why_not  # noqa: E402

FILE = os.path.join(HERE, "pcap", "rxe_to_rxe.pcap")
SERVER = "10.0.2.2"
PCAP_HEADER, FRAME_HEADER = 24, struct.Struct("<IIII")
ROCE_PORT = 4791
# Each of them with few and short messages: several packets, one, and not a whole number of words.
PROGRAMS = (
    "ib_write_bw -d rxe0 -u 18 -F -n 5 -s 5001 -m 1024 -t 1",
    "ib_write_bw -d rxe0 -u 18 -F -n 5 -s 64 -m 256 -t 1",
    "ib_read_bw -d rxe0 -u 18 -F -n 5 -s 5001 -m 1024 -t 1",
    "ib_read_bw -d rxe0 -u 18 -F -n 5 -s 9000 -m 4096 -t 1",
    "ib_send_bw -d rxe0 -u 18 -F -n 5 -s 5001 -m 2048 -t 1",
    "ib_atomic_bw -d rxe0 -u 18 -F -n 5 -t 1",
    "ib_atomic_bw -d rxe0 -u 18 -F -n 5 -t 1 -A CMP_AND_SWAP",
)
RPING = ("rping -s -a {server} -C 3 -S 3000", "rping -c -a {server} -C 3 -S 3000 -V")


def network(folder, own, peer, mac, dump=None):
    arguments = ["-netdev", "dgram,id=net0,local.type=unix,local.path=" + os.path.join(folder, own)
                 + ",remote.type=unix,remote.path=" + os.path.join(folder, peer),
                 "-device", f"virtio-net-pci,netdev=net0,host_mtu={MTU},mac={mac},romfile="]
    if dump:
        arguments += ["-object", f"filter-dump,id=dump,netdev=net0,file={dump},maxlen=65536"]
    return arguments


def run(server, client, of_server, of_client):
    server.check(f"setsid -f sh -c '{of_server} > /tmp/out 2>&1' < /dev/null")
    client.check(f"for i in 1 2 3 4 5 6 7 8 9; do sleep 1; {of_client} && exit 0; done; exit 1")
    time.sleep(1)


def is_roce(frame):
    return frame[12:14] == b"\x08\0" and frame[23] == 17 and \
        frame[36:38] == ROCE_PORT.to_bytes(2, "big")


def keep_roce(dump, kept):
    """The frames of RoCE with times from 0, so that nothing is said of when they were recorded."""
    with open(dump, "rb") as file:
        data = file.read()
    out, at, count, begin = [data[:PCAP_HEADER]], PCAP_HEADER, 0, None
    while at + FRAME_HEADER.size <= len(data):
        seconds, micros, size, original = FRAME_HEADER.unpack_from(data, at)
        frame = data[at + FRAME_HEADER.size:at + FRAME_HEADER.size + size]
        at += FRAME_HEADER.size + size
        if len(frame) == original and is_roce(frame):
            begin = seconds if begin is None else begin
            out.append(FRAME_HEADER.pack(seconds - begin, micros, size, original) + frame)
            count += 1
    with open(kept, "wb") as file:
        file.write(b"".join(out))
    return count


def main():
    kept = sys.argv[1] if len(sys.argv) > 1 else FILE
    reason = why_not("ib_write_bw", "rping")
    if reason:
        print(f"record_rxe: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        dump, guests = os.path.join(folder, "frames.pcap"), []
        try:
            for own, peer in ("ba", "ab"):
                mac = f"02:00:00:00:00:0{own}"
                os.mkdir(os.path.join(folder, f"guest-{own}"))
                guests.append(Guest(os.path.join(folder, f"guest-{own}"), network(
                    folder, own, peer, mac, dump if own == "a" else None)))
            server, client = guests
            server.check(f"ip addr flush dev eth0; ip addr add {SERVER}/24 dev eth0")
            for guest in guests:
                guest.check(f"ip link set eth0 mtu {MTU}; "
                            "modprobe -a crc32_generic rdma_rxe rdma_ucm ib_uverbs && "
                            "rdma link add rxe0 type rxe netdev eth0")
            for program in PROGRAMS:
                run(server, client, program, f"{program} {SERVER}")
            run(server, client, *(words.format(server=SERVER) for words in RPING))
        finally:
            for guest in guests:
                guest.end()
        count = keep_roce(dump, kept)
    print(f"{kept}: {count} frames, {os.path.getsize(kept)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
