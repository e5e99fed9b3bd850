#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`godbox` over RDMA against `godbox serve`: a guest with four rxe devices, each on a wire of its
own to one of four RoCE ports of a box. `godbox bench --transport verbs` writes and reads KV pages
over all four, every byte compared; objects put over RDMA are read over TCP, through the mapped pool
and, by a second guest, through CXL, and the other way round; what is missing is named. Control goes
over TCP, through QEMU's user network.

usage: bench_test.py GODBOX
GODBOX is built with libibverbs and librdmacm.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from judges_test import HOST  # noqa: E402
from roce_test import MTU, Guest, why_not  # noqa: E402
from machine import SKIPPED, Machine, die_with_parent  # noqa: E402

PORTS = 4
WORKING_SET = 4 << 20
SIZES = (4096, 65536)
REPEATS = 2
OBJECT_BYTES = 3_000_017  # no multiple of anything
CXL_SIZES = (1, 4095, 65537, 1_000_003, OBJECT_BYTES)
BENCH_LIMIT_S = 300


def network_of(port):
    """Its Ethernet: the box is .2 there, the guest .15."""
    return f"10.0.{20 + port}"


class Box:
    def __init__(self, program, folder, *options):
        self.program = program
        self.socket = os.path.join(folder, "box.control")
        self.process = subprocess.Popen(
            [program, "serve", "--json", "--preset", "laptop", "--tcp-port-base", "0",
             "--backing-limit", "256MiB", "--control-socket", self.socket, *options],
            stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self.ready = json.loads(self.process.stdout.readline())

    def port(self):
        return self.ready["eth_ports"][0].rpartition(":")[2]

    def here(self, *arguments, address=None):
        """Standard output of a command on this side."""
        return subprocess.run([self.program, *arguments, "--connect",
                               address or f"unix:{self.socket}"],
                              stdout=subprocess.PIPE, check=True, timeout=60).stdout

    def counted(self):
        return json.loads(self.here("status", "--json"))["roce_ports"]

    def end(self):
        self.process.terminate()
        assert self.process.wait(20) == 0, self.process.returncode


def wires(folder):
    """Options of the box, and of QEMU, for as many wires as there are ports."""
    serve, qemu = [], []
    for port in range(PORTS):
        box, guest = (os.path.join(folder, f"{end}{port}") for end in ("box", "guest"))
        serve += ["--roce", f"{network_of(port)}.2/24,mtu={MTU},port={port}@dgram:{box},{guest}"]
        qemu += ["-netdev", f"dgram,id=net{port},local.type=unix,local.path={guest},"
                 f"remote.type=unix,remote.path={box}", "-device",
                 f"virtio-net-pci,netdev=net{port},host_mtu={MTU},mac=52:54:00:00:01:{port:02x},"
                 "romfile="]
    qemu += ["-netdev", f"user,id=control,net=10.0.3.0/24,host={HOST}",
             "-device", "virtio-net-pci,netdev=control,romfile="]
    return serve, qemu


def ready_guest(folder, qemu):
    begin = time.monotonic()
    guest = Guest(folder, qemu, host=HOST)
    print(f"the guest is ready after {time.monotonic() - begin:.1f} s", flush=True)
    guest.check("modprobe -a crc32_generic rdma_rxe rdma_ucm ib_uverbs")
    for port in range(PORTS):
        # Its default, fq_codel, drops on purpose.
        guest.check(f"ip link set eth{port} up && ip address add {network_of(port)}.15/24 "
                    f"dev eth{port} && rdma link add rxe{port} type rxe netdev eth{port} && "
                    f"tc qdisc replace dev eth{port} root pfifo limit 10000")
    guest.check(f"ip link set eth{PORTS} up && ip address add 10.0.3.15/24 dev eth{PORTS}")
    return guest


def bench(guest, program, port):
    """Pages written and read over all ports."""
    out = guest.check(
        f"{program} bench --connect tcp:{HOST}:{port} --transport verbs --workload page --sizes "
        f"{','.join(map(str, SIZES))} --working-set {WORKING_SET} --repeats {REPEATS} --verify "
        "--json", BENCH_LIMIT_S)
    rows = json.loads(out)["rows"]
    assert [(row["size_bytes"], row["op"]) for row in rows] == \
        [(size, op) for size in SIZES for op in ("read", "write")], rows
    for row in rows:
        print(f"{row['op']} {row['size_bytes']} over {row['ports']} ports: "
              f"{row['gb_per_s_median']} GB/s, by port {row['port_bytes']}", flush=True)
        assert (row["transport"], row["ports"], row["lanes"]) == ("verbs", PORTS, 1), row
        assert row["wrong_bytes"] == 0 and row["bytes_checked"] >= WORKING_SET, row
        assert sum(row["port_bytes"][:PORTS]) >= REPEATS * WORKING_SET, row
        assert not any(row["port_bytes"][PORTS:]), row
    by_port = [sum(row["port_bytes"][port] for row in rows) for port in range(PORTS)]
    assert min(by_port) > 0, by_port
    return sum(by_port)


def objects(guest, program, box):
    """What one door takes, the others give."""
    verbs = f"verbs:{HOST}:{box.port()}"
    digest = guest.check(
        f"head -c {OBJECT_BYTES} /dev/urandom > /tmp/a && "
        f"{program} put over-verbs /tmp/a --connect {verbs} && sha256sum < /tmp/a").split()[0]
    doors = {"tcp": None, "tcp, control too": box.ready["eth_ports"][1],
             "mapped": f"local:{box.socket}"}
    for name, address in doors.items():
        got = box.here("get", "over-verbs", address=address)
        assert len(got) == OBJECT_BYTES and hashlib.sha256(got).hexdigest() == digest, name
    path = box.socket + ".object"
    with open(path, "wb") as file:
        file.write(os.urandom(OBJECT_BYTES))
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    box.here("put", "over-tcp", path)
    check_got(guest, program, box, digest)
    return digest


def put_for_cxl(guest, program, box):
    """Objects of several sizes, put over RDMA; their digests, by name."""
    digests = {}
    for size in CXL_SIZES:
        name = f"for-cxl-{size}"
        digests[name] = guest.check(
            f"head -c {size} /dev/urandom > /tmp/a && {program} put {name} /tmp/a --connect "
            f"verbs:{HOST}:{box.port()} && sha256sum < /tmp/a").split()[0]
    return digests


def read_through_cxl(program, box, digests):
    """A guest to which the pool's DRAM channels are CXL devices, 18 of them, and dax devices."""
    machine = Machine(program, ["--preset", "laptop", "--pool", box.socket, "--up", "dax"])
    try:
        machine.wait()
        for name, digest in digests.items():
            got = machine.output(
                ["sh", "-c", f"'{program}' get {name} --connect dax:10.0.2.2:{box.port()} "
                 "| sha256sum"]).split()[0]
            assert got == digest, (name, got, digest)
            print(f"through CXL: {name} is what was put over RDMA", flush=True)
    finally:
        machine.end()


def check_got(guest, program, box, digest):
    verbs = f"verbs:{HOST}:{box.port()}"
    got = guest.check(f"{program} get over-tcp --connect {verbs} | sha256sum").split()[0]
    assert got == digest, (got, digest)


def refused(guest, program, port, *words):
    status, out, err = guest.run(f"{program} ls --connect verbs:{HOST}:{port}")
    print(f"guest: {status}: {err.strip()}", flush=True)
    assert status == 1 and not out and all(word in err for word in words), (status, out, err)


def check_counts(counted, bench_bytes):
    for port in counted:
        print("box:", {name: value for name, value in port.items() if value}, flush=True)
        assert port["connections_established"] > 0, port
        for wrong in ("dropped_icrc", "dropped_malformed", "wire_receive_drops", "naks_access",
                      "naks_invalid", "connections_rejected"):
            assert port[wrong] == 0, (wrong, port)
    assert sum(port["bytes_written"] for port in counted) > OBJECT_BYTES, counted
    moved = sum(port["bytes_written"] + port["bytes_read"] for port in counted)
    assert moved >= bench_bytes + 2 * OBJECT_BYTES, (moved, bench_bytes)


def main():
    program = os.path.abspath(sys.argv[1])
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        serve, qemu = wires(folder)
        box = Box(program, folder, "--map-memory", "cxl", *serve)
        plain = Box(program, other)
        guest = None
        try:
            guest = ready_guest(folder, qemu)
            refused(guest, program, plain.port(), "unsupported", "the box offers no RoCE port")
            bench_bytes = bench(guest, program, box.port())
            digest = objects(guest, program, box)
            check_counts(box.counted(), bench_bytes)
            digests = put_for_cxl(guest, program, box)
            # One way is enough; without any, each address is named.
            guest.check("for i in 0 1 2; do rdma link delete rxe$i; done")
            check_got(guest, program, box, digest)
            guest.check("ip link set eth3 down")
            refused(guest, program, box.port(), "device_missing",
                    *(f"{network_of(port)}.2: no RDMA device here has a route there"
                      for port in range(PORTS)))
            guest.end()
            guest = None
            read_through_cxl(program, box, digests)
        finally:
            if guest is not None:
                guest.end()
            plain.end()
            box.end()
    print("bench over verbs: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
