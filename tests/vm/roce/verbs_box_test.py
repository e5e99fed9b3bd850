#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A box with RDMA devices, in a guest that has two rxe devices: box and clients there, as elsewhere
nothing has one. verbs_contract keeps the contract of transports with such a box; `godbox serve`
with a port on each device is read and written by `godbox bench --transport verbs`, every byte
compared, and objects go through it and come back over TCP and the mapped pool; what is missing is
named.

usage: verbs_box_test.py GODBOX VERBS_CONTRACT [FILTER]
GODBOX is built with libibverbs and librdmacm.
"""

import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from roce_test import MTU, Guest, why_not  # noqa: E402
from machine import SKIPPED  # noqa: E402

PORTS = 2
TCP_PORT = 7400
WORKING_SET = 4 << 20
SIZES = (4096, 65536)
REPEATS = 2
OBJECT_BYTES = 3_000_017  # no multiple of anything
CONTRACT_LIMIT_S = 600
SOCKET = "/tmp/box.control"


def address(port):
    return f"10.0.{20 + port}.15"


def ready_guest(folder):
    begin = time.monotonic()
    qemu = []
    for port in range(PORTS):
        qemu += ["-netdev", f"hubport,id=net{port},hubid={port}", "-device",
                 f"virtio-net-pci,netdev=net{port},host_mtu={MTU},mac=52:54:00:00:01:{port:02x},"
                 "romfile="]
    guest = Guest(folder, qemu)
    print(f"the guest is ready after {time.monotonic() - begin:.1f} s", flush=True)
    try:
        guest.check("modprobe -a crc32_generic rdma_rxe rdma_ucm ib_uverbs; ip link set lo up")
        for port in range(PORTS):
            guest.check(f"ip link set eth{port} up && ip address add {address(port)}/24 "
                        f"dev eth{port} && rdma link add rxe{port} type rxe netdev eth{port}")
    except BaseException:
        guest.end()
        raise
    return guest


def contract(guest, program, words):
    out = guest.check(f"GODBOX_VERBS_BOX='{address(0)}/24@verbs:rxe0' {program} '[box]' "
                      f"--durations yes {words}", CONTRACT_LIMIT_S)
    print(out)
    assert "All tests passed" in out, out


def serve(guest, program):
    ports = " ".join(f"--roce {address(port)}/24,port={port}@verbs:rxe{port}"
                     for port in range(PORTS))
    guest.check("touch /tmp/faults.toml")
    guest.check(f"setsid -f {program} serve --json --preset laptop --tcp-port-base {TCP_PORT} "
                f"--backing-limit 128MiB --control-socket {SOCKET} --config /tmp/faults.toml "
                f"{ports} > /tmp/ready 2> /tmp/serve.err < /dev/null")
    guest.check("timeout 60 sh -c 'until [ -s /tmp/ready ]; do sleep 0.1; done'; "
                "cat /tmp/serve.err >&2")
    ready = json.loads(guest.check("cat /tmp/ready"))
    assert [port["wire"] for port in ready["roce_ports"]] == \
        [f"verbs rxe{port}" for port in range(PORTS)], ready
    return ready


def bench(guest, program):
    out = guest.check(
        f"{program} bench --connect tcp:127.0.0.1:{TCP_PORT} --transport verbs --workload page "
        f"--sizes {','.join(map(str, SIZES))} --working-set {WORKING_SET} --repeats {REPEATS} "
        "--verify --json", 300)
    rows = json.loads(out)["rows"]
    assert [(row["size_bytes"], row["op"]) for row in rows] == \
        [(size, op) for size in SIZES for op in ("read", "write")], rows
    for row in rows:
        print(f"{row['op']} {row['size_bytes']} over {row['ports']} ports: "
              f"{row['gb_per_s_median']} GB/s, by port {row['port_bytes']}", flush=True)
        assert (row["transport"], row["ports"]) == ("verbs", PORTS), row
        assert row["wrong_bytes"] == 0 and row["bytes_checked"] >= WORKING_SET, row
        assert min(row["port_bytes"][:PORTS]) > 0 and not any(row["port_bytes"][PORTS:]), row


def objects(guest, program):
    """What one door takes, the others give."""
    doors = {"verbs": f"verbs:127.0.0.1:{TCP_PORT}", "tcp": f"tcp:127.0.0.1:{TCP_PORT}",
             "mapped": f"local:{SOCKET}"}
    for writer, to in doors.items():
        digest = guest.check(
            f"head -c {OBJECT_BYTES} /dev/urandom > /tmp/a && "
            f"{program} put by-{writer} /tmp/a --connect {to} && sha256sum < /tmp/a").split()[0]
        for reader, of in doors.items():
            got = guest.check(f"{program} get by-{writer} --connect {of} | sha256sum").split()[0]
            assert got == digest, (writer, reader)


def status(guest, program, which="roce_ports"):
    return json.loads(guest.check(f"{program} status --json --connect unix:{SOCKET}"))[which]


def check_counts(counted):
    for port in counted:
        print("box:", {name: value for name, value in port.items() if value}, flush=True)
        assert port["connections_established"] > 0 and port["connections_rejected"] == 0, port
        assert port["reads"] > 0 and port["writes"] > 0, port
        assert port["bytes_read"] > WORKING_SET and port["bytes_written"] > WORKING_SET, port
        for wrong in ("orders_malformed", "lanes_failed", "queue_pairs_open"):
            assert port[wrong] == 0, (wrong, port)


def refused(guest, command, *words):
    code, out, err = guest.run(command)
    print(f"guest: {code}: {err.strip()} {out.strip()}", flush=True)
    assert code not in (0, 124) and all(word in err + out for word in words), (code, out, err)


def wrong_port(guest, program, text, *words):
    """It says what is wrong with it, and by which option."""
    refused(guest, f"timeout 30 {program} serve --preset laptop --tcp-port-base 0 "
            f"--control-socket /tmp/other --roce {text}", f"--roce {text}", *words)


def dead_port(guest, program, box):
    """A port that dies on purpose costs its share, and comes back when it is healed. Not that of
    TCP_PORT, which takes control connections."""
    dead = 1

    def fault(text, expected):
        guest.check(f"echo 'port_faults = [{text}]' > /tmp/faults.toml && kill -HUP {box['pid']}")
        limit = time.monotonic() + 10
        while status(guest, program, "eth_ports")[dead]["fault"] != expected:
            assert time.monotonic() < limit, "the port's fault stays as it was"

    before = status(guest, program)
    fault(f'"{dead}=dead"', "dead")
    read = f"{program} get by-tcp --connect verbs:127.0.0.1:{TCP_PORT} | sha256sum"
    expected = guest.check(f"{program} get by-tcp --connect local:{SOCKET} | sha256sum")
    assert guest.check(read, 60) == expected
    during = status(guest, program)
    fault("", "healthy")
    assert guest.check(read, 60) == expected
    after = status(guest, program)

    def gained(name, port, since, until):
        return until[port][name] - since[port][name]

    assert gained("bytes_read", dead, before, during) == 0, (before, during)
    assert gained("connections_rejected", dead, before, during) > 0, (before, during)
    assert gained("bytes_read", 0, before, during) >= OBJECT_BYTES, (before, during)
    assert gained("bytes_read", dead, during, after) > 0, (during, after)


def main():
    program, verbs_contract = (os.path.abspath(path) for path in sys.argv[1:3])
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        guest = None
        try:
            guest = ready_guest(folder)
            contract(guest, verbs_contract, " ".join(sys.argv[3:]))
            if sys.argv[3:]:
                return 0
            wrong_port(guest, program, "10.9.9.9/24@verbs:rxe0",
                       "10.9.9.9: no RDMA device here has that address")
            box = serve(guest, program)
            wrong_port(guest, program, f"{address(0)}/24@verbs:rxe0",
                       "another program listens there")
            bench(guest, program)
            objects(guest, program)
            check_counts(status(guest, program))
            dead_port(guest, program, box)
        finally:
            if guest is not None:
                guest.end()
    print("a box with RDMA devices: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
