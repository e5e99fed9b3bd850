#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rxe against a RoCE port over a wire that loses frames: Linux's requester in a guest, a relay that
drops by a seed, and `godbox serve`. Each size is written and read by one request each at each path
MTU and each loss (pool_client), every byte compared; rxe's counters and the box's are consistent
with what the relay has dropped. The same grid between our own requester and responder is a unit
test (relay_test.cpp).

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


class Relay(threading.Thread):
    """Frames of each end to the other, but for those that are lost."""

    def __init__(self, folder, seed):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.loss = 0
        self.passed = self.lost = 0
        self.of_box, self.of_guest = (os.path.join(folder, name) for name in
                                      ("relay-of-box", "relay-of-guest"))
        self.sockets = []
        for path in (self.of_box, self.of_guest):
            self.sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self.sockets[-1].bind(path)
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self.sockets[-1].setsockopt(socket.SOL_SOCKET, buffer, 4 << 20)
        self.ends = [os.path.join(folder, name) for name in ("guest", "box")]

    def run(self):
        while True:
            for ready in select.select(self.sockets, [], [])[0]:
                frame = ready.recv(FRAME_BYTES_MAX)
                if self.random.random() < self.loss:
                    self.lost += 1
                    continue
                self.passed += 1
                try:
                    ready.sendto(frame, self.ends[self.sockets.index(ready)])
                except OSError:
                    self.lost += 1  # the guest has gone


def run_grid(guest, client, box, relay):
    sizes = " ".join(map(str, SIZES))
    assert box.extent_bytes >= LOOKED_AT_BYTES, box.extent_bytes
    place = " ".join([*box.numbers[:-1], f"{LOOKED_AT_BYTES:x}"])
    drops = {}
    for path_mtu, mtu in PATH_MTUS.items():
        guest.check(f"ip link set eth0 mtu {mtu}")
        for loss in LOSSES:
            relay.loss = loss
            before, begin = relay.lost, time.monotonic()
            out = guest.check(f"{client} {BOX} {place} {sizes}", LIMIT_S)
            relay.loss = 0
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
        finally:
            if guest is not None:
                guest.end()
            box.end()
    print(f"loss grid: ok, {len(SIZES)} sizes, {len(PATH_MTUS)} path MTUs, {len(LOSSES)} losses")
    return 0


if __name__ == "__main__":
    sys.exit(main())
