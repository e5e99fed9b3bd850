#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same bytes through every door: what a host writes over TCP, a guest reads through CXL, and
the other way round, while both keep writing other objects. One boot of 18 channels for each form
of the box: the interleaved ones with the QEMU of qemu-patches/ only.

usage: cross_door_test.py GODBOX WORKER
"""

import json
import os
import signal
import subprocess
import sys
import tempfile

from machine import SKIPPED, Box, Machine, die_with_parent, why_not, why_not_patched

OBJECTS = 1000
GUEST_LIMIT_S = 240


def check(what, result, objects=OBJECTS):
    assert result.returncode == 0, f"{what}: exit status {result.returncode}: {result.stdout}"
    tally = json.loads(result.stdout.splitlines()[-1])
    print(f"{what}: {tally['objects']} objects, {tally['bytes']} bytes, {tally['wrong']} wrong, "
          f"{tally['seconds']} s (emulated)", flush=True)
    assert tally["objects"] == objects and tally["wrong"] == 0, tally


def host(worker, *arguments):
    return subprocess.run([worker, *arguments], stdout=subprocess.PIPE, text=True, check=False,
                          timeout=GUEST_LIMIT_S, preexec_fn=die_with_parent)


# In the guest another worker keeps writing through dax while the one that is looked at runs. It has
# names of its own: the objects that it was ended with are still there the next time.
def guest(machine, worker, address, verb, prefix):
    churn = (f"'{worker}' churn {address} guest-churn-{verb} 20 256 4096 >/run/churn.json & "
             f"'{worker}' {verb} {address} {prefix} {OBJECTS}; status=$?; "
             "kill $!; wait $! || status=99; cat /run/churn.json >&2; "
             "grep -q '\"objects\": [1-9]' /run/churn.json || status=98; exit $status")
    return machine.run(["bash", "-c", churn])


def cross_doors(godbox, worker, folder, form=()):
    box = Box(godbox, folder, "--map-memory", "cxl", *form)
    machine = Machine(godbox, ["--preset", "laptop", "--pool", box.socket, "--up", "dax"])
    churn = None
    try:
        tcp = f"tcp:127.0.0.1:{box.port}"
        dax = f"dax:10.0.2.2:{box.port}"
        check("host writes over TCP", host(worker, "write", tcp, "from-host", str(OBJECTS)))
        machine.wait()
        churn = subprocess.Popen([worker, "churn", tcp, "host-churn", "50"],
                                 stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        check("guest reads through CXL", guest(machine, worker, dax, "read", "from-host"))
        check("guest writes through CXL", guest(machine, worker, dax, "write", "from-guest"))
        check("host reads over TCP", host(worker, "read", tcp, "from-guest", str(OBJECTS)))
        churn.send_signal(signal.SIGTERM)
        text = churn.communicate(timeout=60)[0]
        tally = json.loads(text)
        print("meanwhile, host:", text.strip())
        assert churn.returncode == 0 and tally["wrong"] == 0 and tally["objects"] > 0, text
        # The pool's bytes never become the guest's RAM.
        refused = machine.run([godbox, "cxl", "up", "--as", "numa"])
        assert refused.returncode not in (0, 125), refused
        nodes = machine.run(["sh", "-c", "cat /sys/devices/system/node/has_memory"])
        assert nodes.stdout.strip() == "0", nodes.stdout
    finally:
        if churn is not None and churn.poll() is None:
            churn.kill()
        machine.end()
        box.end()


def main():
    godbox, worker = (os.path.abspath(path) for path in sys.argv[1:3])
    reason = why_not(godbox)
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    # By a patched QEMU the regions are RAM, in the form that the box was made in.
    forms = [()]
    if why_not_patched():
        print("interleaved forms are left out:", why_not_patched())
    else:
        forms += [("--form", "super-nics"), ("--form", "widest", "--granularity", "256")]
    for form in forms:
        print("box", " ".join(form) or "--form channels", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            cross_doors(godbox, worker, folder, form)
    print("cross door: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
