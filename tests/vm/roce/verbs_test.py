#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Godbox's own transport over RDMA keeps the contract of transports: verbs_contract runs in a guest
with a rxe device, against a RoCE port (roce_server), whose commands reach it over TCP.

usage: verbs_test.py ROCE_SERVER VERBS_CONTRACT [FILTER]
"""

import os
import socket
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from judges_test import HOST, Server, ready_guest  # noqa: E402
from roce_test import BOX, why_not  # noqa: E402
from machine import SKIPPED  # noqa: E402

LIMIT_S = 1000


def forward(listener, server):
    """Lines of a client to the server's standard input, and its answers back."""
    while True:
        try:
            client = listener.accept()[0]
        except OSError:
            return
        with client, client.makefile("rw") as lines:
            for line in lines:
                server.process.stdin.write(line)
                server.process.stdin.flush()
                lines.write(server.process.stdout.readline())
                lines.flush()


def main():
    program, contract = (os.path.abspath(path) for path in sys.argv[1:3])
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder, \
            socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(program, folder, is_vhost=False)
        threading.Thread(target=forward, args=(listener, server), daemon=True).start()
        box = " ".join([BOX, *server.session, HOST, str(listener.getsockname()[1])])
        guest = None
        try:
            guest = ready_guest(folder, server)
            out = guest.check(f"GODBOX_ROCE_BOX='{box}' {contract} --durations yes "
                              f"{' '.join(sys.argv[3:]) or '[contract]'}", LIMIT_S)
            print(out)
            assert "All tests passed" in out, out
        finally:
            if guest is not None:
                guest.end()
            counted = server.end()
    for name in ("dropped_icrc", "dropped_malformed", "receive_drops"):
        assert counted[name] == 0, (name, counted)
    print("verbs: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
