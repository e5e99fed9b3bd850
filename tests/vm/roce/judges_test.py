#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Other people's RDMA programs as judges, unmodified, in a guest with a rxe device: perftest and
the examples of librdmacm, each to its own success, against a RoCE port (roce_server). Afterwards
the guest's hardware counters, the port's and tshark say whether anything was lost, repeated or
wrong.

usage: judges_test.py ROCE_SERVER [--all] [--vhost] [--frames FILE]
Without --all only a few of them. --vhost: the frames go by DPDK's net_vhost (and past tshark).
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from roce_test import BOX, MTU, Guest, judge_frames, why_not  # noqa: E402
from machine import SKIPPED, die_with_parent  # noqa: E402

MAC = "52:54:00:00:00:0f"
HOST = "10.0.3.2"  # this machine's loopback addresses, as the guest reaches them through QEMU
SIZE = 65536
COUNTERS = "/sys/class/infiniband/rxe0/ports/1/hw_counters"
# What a run without losses leaves at zero (Linux, drivers/infiniband/sw/rxe/rxe_hw_counters.c).
ERRORS = ("duplicate_request", "out_of_seq_request", "rcvd_rnr_err", "send_rnr_err", "rcvd_seq_err",
          "retry_exceeded_err", "retry_rnr_exceeded_err", "completer_retry_err", "send_err",
          "link_downed")


class Judge:
    """A command, what it says at its end, and what the box has to have counted by then."""

    def __init__(self, command, says, **counts):
        self.command, self.says, self.counts = command, says, counts

    def run(self, guest, _server):
        self.hear(guest.check(self.command))

    def hear(self, out):
        """Its verdict is the line that begins so; nothing, where its exit status is."""
        said = re.search(self.says, out, re.MULTILINE)
        assert said, f"{self.command} says:\n{out[-2000:]}"
        line = out[said.start():].split("\n", 1)[0].strip()
        print(f"ok: {self.command}: {line or 'exit status 0'}", flush=True)


class AskedJudge(Judge):
    """A program of the guest that waits for a connection, which the box asks for."""

    OUTPUT = "/tmp/asked.out"

    def run(self, guest, server):
        guest.check(f"setsid -f sh -c '{self.command} > {self.OUTPUT} 2>&1' < /dev/null")
        guest.check("timeout 60 sh -c 'until rdma resource show cm_id | grep LISTEN;"
                    " do sleep 0.1; done'")
        server.ask()
        self.hear(
            guest.check(f"timeout 60 sh -c 'until grep end {self.OUTPUT}; do sleep 0.1; done'"))


def perftest(name, rounds, size, tcp_port, options="", pairs=1, **counts):
    """Its last line is the result: size, rounds and figures."""
    return Judge(f"{name} -d rxe0 -u 18 -F -n {rounds} -p {tcp_port} {options} {HOST}",
                 rf"^ *{size} +{rounds * pairs} +[0-9.]+ +[0-9.]+", **counts)


def of_size(name, rounds, size, tcp_port, options="", **counts):
    return perftest(name, rounds, size, tcp_port, f"-s {size} {options}", **counts)


def rping(size, rounds):
    """It compares the bytes that come back, says nothing, and its exit status is the verdict."""
    return Judge(f"rping -c -a {BOX} -C {rounds} -S {size} -V", r"\A\Z",
                 connections=1, reads=rounds, writes=rounds, sends=2 * rounds)


def few(tcp_port):
    return [
        of_size("ib_read_bw", 50, SIZE, tcp_port, pool_read=50 * SIZE),
        of_size("ib_write_bw", 50, SIZE, tcp_port, pool_written=50 * SIZE),
        rping(4096, 10),
        AskedJudge("rdma_server", "^rdma_server: end 0$", connections=1, answered=1, sends=1)]


def many(tcp_port, latency_tcp_port):
    # Two queue pairs, and messages that are no whole number of packets.
    two = {"options": "-m 1024 -q 2", "pairs": 2}
    return [
        *few(tcp_port),
        of_size("ib_read_bw", 40, 5000, tcp_port, **two, pool_read=2 * 40 * 5000),
        of_size("ib_write_bw", 40, 5000, tcp_port, **two, pool_written=2 * 40 * 5000),
        of_size("ib_send_bw", 100, SIZE, tcp_port, sends=100),
        of_size("ib_read_lat", 100, 4096, tcp_port, pool_read=100 * 4096),
        of_size("ib_write_lat", 100, 64, latency_tcp_port, pool_written=100 * 64),
        perftest("ib_atomic_bw", 200, 8, tcp_port, atomics=200),
        perftest("ib_atomic_bw", 200, 8, tcp_port, "-A CMP_AND_SWAP", atomics=200),
        rping(65535, 50),
        Judge(f"rdma_client -s {BOX}", "^rdma_client: end 0$", connections=1, answers=1, sends=1),
        Judge(f"cmtime -s {BOX} -c 100", "^disconnect ", connections=100)]


class Server:
    def __init__(self, program, folder, is_vhost):
        self.here, self.there = os.path.join(folder, "box"), os.path.join(folder, "guest")
        self.frames = os.path.join(folder, "frames.pcap")
        self.is_vhost = is_vhost
        ends = ["vhost", self.there] if is_vhost else [self.here, self.there]
        self.process = subprocess.Popen([program, *ends, BOX, str(MTU), MAC], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        preexec_fn=die_with_parent)
        name, *self.tcp_ports = self.process.stdout.readline().split() or [""]
        self.is_skipped = not name and self.process.wait(20) == SKIPPED
        assert self.is_skipped or name == "perftest", name
        self.session = self.process.stdout.readline().split()[1:]  # number and secret

    def network(self):
        if self.is_vhost:
            wire = ["-object", "memory-backend-memfd,id=ram,size=512M,share=on",
                    "-numa", "node,memdev=ram", "-chardev", f"socket,id=net0,path={self.there}",
                    "-netdev", "vhost-user,id=net0,chardev=net0"]
        else:
            wire = ["-netdev", f"dgram,id=net0,local.type=unix,local.path={self.there},"
                    f"remote.type=unix,remote.path={self.here}", "-object",
                    f"filter-dump,id=dump,netdev=net0,file={self.frames},maxlen=65536"]
        return [*wire, "-device", f"virtio-net-pci,netdev=net0,host_mtu={MTU},mac={MAC},romfile=",
                "-netdev", f"user,id=net1,net=10.0.3.0/24,host={HOST}",
                "-device", "virtio-net-pci,netdev=net1,romfile="]

    def ask(self):
        self.process.stdin.write("connect\n")
        self.process.stdin.flush()

    def end(self):
        out = self.process.communicate("", timeout=20)[0]
        print("server:", out.strip(), flush=True)
        assert self.process.returncode == 0, self.process.returncode
        return json.loads(out)


def ready_guest(folder, server):
    """With rxe0 over the box's wire, and a way to this machine's loopback addresses."""
    begin = time.monotonic()
    guest = Guest(folder, server.network())
    print(f"the guest is ready after {time.monotonic() - begin:.1f} s", flush=True)
    try:
        guest.check("modprobe -a crc32_generic rdma_rxe rdma_ucm ib_uverbs")
        guest.check("rdma link add rxe0 type rxe netdev eth0 && rdma link show")
        # Its default, fq_codel, drops on purpose.
        guest.check("tc qdisc replace dev eth0 root pfifo limit 10000")
        guest.check("ip link set eth1 up && ip address add 10.0.3.15/24 dev eth1")
    except BaseException:
        guest.end()
        raise
    return guest


def rxe_counters(guest):
    lines = guest.check(f"cd {COUNTERS} && grep . *").split()
    counters = {name: int(value) for name, value in (line.split(":") for line in lines)}
    print("rxe:", counters, flush=True)
    return counters


def check_counts(judges, counted, rxe):
    for name in ("connections", "reads", "writes", "answers", "answered", "sends", "atomics",
                 "pool_written", "pool_read"):
        wanted = sum(judge.counts.get(name, 0) for judge in judges)
        assert counted[name] == wanted, (name, counted[name], wanted)
    assert counted["established"] == counted["closed"] == counted["connections"], counted
    for name in ("failures", "naks", "duplicates", "retransmits", "dropped_icrc",
                 "dropped_malformed", "receive_drops", "send_drops", "rejected"):
        assert counted[name] == 0, (name, counted)
    assert all(rxe[name] == 0 for name in ERRORS), rxe


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--vhost", action="store_true")
    parser.add_argument("--frames")
    options = parser.parse_args()
    missing = [name for name in ("rping", "ib_read_bw") if not shutil.which(name)]
    reason = why_not() or (f"{missing[0]} is missing; scripts/setup installs it" if missing else "")
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        server = Server(os.path.abspath(options.server), folder, options.vhost)
        if server.is_skipped:
            print("SKIPPED: built without DPDK")
            return SKIPPED
        judges = many(*server.tcp_ports) if options.all else few(server.tcp_ports[0])
        guest = None
        try:
            guest = ready_guest(folder, server)
            for judge in judges:
                judge.run(guest, server)
            rxe = rxe_counters(guest)
        finally:
            if guest is not None:
                guest.end()
            counted = server.end()
        if not options.vhost:
            if options.frames:
                shutil.copy(server.frames, options.frames)
            judge_frames(server.frames, sum(judge.counts.get("connections", 0) for judge in judges))
    check_counts(judges, counted, rxe)
    print(f"judges: ok, {len(judges)} of them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
