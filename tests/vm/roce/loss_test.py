#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rxe against a RoCE port over a wire that has faults: Linux's requester in a guest, a relay whose
faults a seed and the clock make, and `godbox serve`. Each size is written and read by one request
each at each path MTU and each loss (pool_client), every byte compared; rxe's counters and the box's
are consistent with what the relay has dropped. Then with frames that are doubled, overtaken,
damaged and, while the path's MTU is smaller, lost: each by itself, and all at once. The same
between our own requester and responder is a unit test (relay_test.cpp).

usage: loss_test.py GODBOX POOL_CLIENT [--seed N]
"""

import argparse
import os
import random
import select
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from judges_test import rxe_counters  # noqa: E402
from roce_test import BOX, Box, Guest, why_not  # noqa: E402
from machine import SKIPPED  # noqa: E402

SIZES = (0, 1, 255, 256, 257, 1023, 1024, 1025, 4096, 65536, 1048576)
# Of the guest's network card, for path MTUs of 256 to 4096 (Linux's rdma_cm leaves 96 bytes for
# headers).
PATH_MTUS = {256: 360, 512: 620, 1024: 1140, 2048: 2160, 4096: 4200}
LOSSES = (0, 0.001, 0.01)
REGION_BYTES = 4 << 20  # its first extent is longer than what is looked at
LOOKED_AT_BYTES = SIZES[-1] + 4096
FRAME_BYTES_MAX = 16384
LIMIT_S = 240
RETRIES = ("completer_retry_err", "out_of_seq_request", "rcvd_seq_err", "duplicate_request")


# Shares of the frames, and for how much of which time frames of more than so many bytes are lost.
FAULTS = ("lost", "doubled", "overtaken", "damaged")
NARROW_BYTES, NARROW_S, NARROW_EVERY_S, HELD_S = 700, 0.02, 0.1, 0.003
FAULT_PATH_MTU = 1024
FAULT_RUNS = {"doubled": {"doubled": 0.02}, "overtaken": {"overtaken": 0.01},
              "damaged": {"damaged": 0.01}, "narrow": {"narrow": True},
              "all": {"lost": 0.001, "doubled": 0.01, "overtaken": 0.01, "damaged": 0.001,
                      "narrow": True}}
# Where an Ethernet frame says that it is IPv4, with UDP in it, to the port of RoCE.
IPV4, UDP, ROCE_PORT = (12, b"\x08\0"), (23, b"\x11"), (36, (4791).to_bytes(2, "big"))
IPV4_BEGIN = 14


def is_roce(frame):
    return all(frame[at:at + len(what)] == what for at, what in (IPV4, UDP, ROCE_PORT))


class Relay(threading.Thread):
    """Frames of each end to the other, with the faults of `shares` (of FAULTS; others do not
    happen) and, with `narrow`, none of more than NARROW_BYTES for NARROW_S of NARROW_EVERY_S.
    Only those of RoCE are damaged: nothing guards the bytes of ARP, so that it would be believed.
    """

    def __init__(self, folder, seed):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.shares = {}
        self.passed = 0
        self.counts = dict.fromkeys((*FAULTS, "narrow"), 0)
        self.held = []  # (until, socket, frame): behind those that come meanwhile
        self.of_box, self.of_guest = (os.path.join(folder, name) for name in
                                      ("relay-of-box", "relay-of-guest"))
        self.sockets = []
        for path in (self.of_box, self.of_guest):
            self.sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self.sockets[-1].bind(path)
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self.sockets[-1].setsockopt(socket.SOL_SOCKET, buffer, 4 << 20)
        self.ends = [os.path.join(folder, name) for name in ("guest", "box")]

    @property
    def lost(self):
        return self.counts["lost"]

    def happens(self, fault):
        if self.random.random() >= self.shares.get(fault, 0):
            return False
        self.counts[fault] += 1
        return True

    def carry(self, ready, frame):
        if self.happens("lost"):
            return
        if (self.shares.get("narrow") and len(frame) > NARROW_BYTES
                and time.monotonic() % NARROW_EVERY_S < NARROW_S):
            self.counts["narrow"] += 1
            return
        for _ in range(2 if self.happens("doubled") else 1):
            copy = frame
            if is_roce(frame) and self.happens("damaged"):
                bit = self.random.randrange(IPV4_BEGIN * 8, len(frame) * 8)
                copy = bytearray(frame)
                copy[bit // 8] ^= 1 << bit % 8
            if self.happens("overtaken"):
                self.held.append((time.monotonic() + HELD_S, ready, copy))
            else:
                self.send(ready, copy)

    def send(self, ready, frame):
        self.passed += 1
        try:
            ready.sendto(frame, self.ends[self.sockets.index(ready)])
        except OSError:
            self.counts["lost"] += 1  # the guest has gone

    def run(self):
        while True:
            wait = max(0, self.held[0][0] - time.monotonic()) if self.held else None
            for ready in select.select(self.sockets, [], [], wait)[0]:
                self.carry(ready, ready.recv(FRAME_BYTES_MAX))
            while self.held and self.held[0][0] <= time.monotonic():
                _, ready, frame = self.held.pop(0)
                self.send(ready, frame)


def run_grid(guest, client, box, relay):
    sizes = " ".join(map(str, SIZES))
    assert box.extent_bytes >= LOOKED_AT_BYTES, box.extent_bytes
    place = " ".join([*box.numbers[:-1], f"{LOOKED_AT_BYTES:x}"])
    drops = {}
    for path_mtu, mtu in PATH_MTUS.items():
        guest.check(f"ip link set eth0 mtu {mtu}")
        for loss in LOSSES:
            relay.shares = {"lost": loss}
            before, begin = relay.lost, time.monotonic()
            out = guest.check(f"{client} {BOX} {place} {sizes}", LIMIT_S)
            relay.shares = {}
            drops[path_mtu, loss] = relay.lost - before
            assert f"path MTU {path_mtu}\n" in out, out
            assert out.split("\n")[1:-1] == [f"{size} bytes" for size in SIZES], out
            print(f"path MTU {path_mtu}, loss {loss:.1%}: {len(SIZES)} sizes in "
                  f"{time.monotonic() - begin:.1f} s, {drops[path_mtu, loss]} frames lost",
                  flush=True)
            if loss == 0:
                rxe = rxe_counters(guest)
                if path_mtu == min(PATH_MTUS):
                    assert not any(rxe[name] for name in RETRIES), rxe
    return drops


def run_faults(guest, client, box, relay):
    """Every transfer ends right, whatever the wire does; what it did, by run."""
    sizes = " ".join(map(str, SIZES))
    place = " ".join([*box.numbers[:-1], f"{LOOKED_AT_BYTES:x}"])
    guest.check(f"ip link set eth0 mtu {PATH_MTUS[FAULT_PATH_MTU]}")
    for name, shares in FAULT_RUNS.items():
        before, begin, passed = dict(relay.counts), time.monotonic(), relay.passed
        relay.shares = shares
        out = guest.check(f"{client} {BOX} {place} {sizes}", LIMIT_S)
        relay.shares = {}
        assert f"path MTU {FAULT_PATH_MTU}\n" in out, out
        assert out.split("\n")[1:-1] == [f"{size} bytes" for size in SIZES], out
        happened = {fault: relay.counts[fault] - before[fault] for fault in shares}
        print(f"{name}: {len(SIZES)} sizes in {time.monotonic() - begin:.1f} s, of "
              f"{relay.passed - passed} frames {happened}", flush=True)
        # Of what is rare there may be none.
        assert all(count > 0 for fault, count in happened.items() if fault == "narrow"
                   or shares[fault] >= 0.01), happened


def check_counts(drops, rxe, counted):
    print("box:", {name: value for name, value in counted.items() if value}, flush=True)
    assert all(drops[mtu, loss] > 0 for mtu in PATH_MTUS for loss in LOSSES[2:]), drops
    assert all(count == 0 for (_, loss), count in drops.items() if loss == 0), drops
    # What was lost was asked for again: gaps on either side, and repeated requests at the box.
    assert rxe["completer_retry_err"] > 0 and rxe["rcvd_seq_err"] + rxe["out_of_seq_request"] > 0, \
        rxe
    assert counted["naks_sequence"] > 0 and counted["duplicates"] > 0, counted
    assert counted["naks_sequence"] <= sum(drops.values()), (counted, drops)
    for wrong in ("dropped_icrc", "dropped_malformed", "wire_receive_drops", "naks_access",
                  "naks_invalid", "naks_operational"):
        assert counted[wrong] == 0, (wrong, counted)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("client")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    client = os.path.abspath(options.client)
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        relay = Relay(folder, options.seed)
        box = Box(os.path.abspath(options.program), folder, False, REGION_BYTES,
                  (relay.of_box, relay.of_guest))
        relay.start()
        guest = None
        try:
            guest = Guest(folder, box.network())
            guest.check("modprobe -a crc32_generic rdma_rxe rdma_ucm ib_uverbs && "
                        "rdma link add rxe0 type rxe netdev eth0 && "
                        "tc qdisc replace dev eth0 root pfifo limit 10000")
            drops = run_grid(guest, client, box, relay)
            check_counts(drops, rxe_counters(guest), box.counted())
            run_faults(guest, client, box, relay)
            counted = box.counted()
            print("box:", {name: value for name, value in counted.items() if value}, flush=True)
            assert counted["dropped_icrc"] > 0, counted
            for wrong in ("naks_access", "naks_invalid", "naks_operational"):
                assert counted[wrong] == 0, (wrong, counted)
        finally:
            if guest is not None:
                guest.end()
            box.end()
    print(f"loss grid: ok, {len(SIZES)} sizes, {len(PATH_MTUS)} path MTUs, {len(LOSSES)} losses, "
          f"{len(FAULT_RUNS)} other faults")
    return 0


if __name__ == "__main__":
    sys.exit(main())
