#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A port that dies under load costs its share: a guest writes and reads a region of the pool over
four rxe devices to four RoCE ports of `godbox serve` (verbs_load, every byte compared), and one of
the ports falls silent. Work goes on over the others within three seconds, at three quarters of the
rate but for noise, without an error or a wrong byte; and over all four once the port is back.

usage: dead_port_test.py GODBOX VERBS_LOAD
GODBOX is built with libibverbs and librdmacm.
"""

import os
import signal
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_test import PORTS, Box, ready_guest, wires  # noqa: E402
from judges_test import HOST  # noqa: E402
from roce_test import why_not  # noqa: E402
from machine import SKIPPED  # noqa: E402

REGION_BYTES = 1 << 20
DEAD_PORT = 1
PHASE_S = 15
STOP_LIMIT_S = 3
# Of the turns' median time: with a quarter of the wires gone 4/3 of before, and the guest's noise.
SLOWER_MAX = 2.0
OUTPUT = "/tmp/load.out"


def set_faults(box, path, faults):
    with open(path, "w", encoding="ascii") as file:
        file.write(f"port_faults = [{', '.join(faults)}]\n")
    box.process.send_signal(signal.SIGHUP)


def port_bytes(box):
    return [port["bytes_written"] + port["bytes_read"] for port in box.counted()]


def moved(box, seconds):
    """What goes over each port meanwhile."""
    before = port_bytes(box)
    time.sleep(seconds)
    return [after - first for first, after in zip(before, port_bytes(box))]


def turns_of(guest):
    """(when it ended, how long it took) of each, in seconds."""
    *lines, last = guest.check(f"cat {OUTPUT}").splitlines()
    assert last == "ok", lines[-3:] + [last]
    return [tuple(int(word) / 1000 for word in line.split()) for line in lines]


def judge(turns, died, back):
    """Of a load that began at 0; the port died and came back at these times."""
    before = [took for at, took in turns if 2 < at < died]
    dead = [took for at, took in turns if died + STOP_LIMIT_S < at < back]
    stop = max(took for at, took in turns if died <= at <= back)
    ratio = statistics.median(dead) / statistics.median(before)
    print(f"a turn takes {statistics.median(before):.3f} s ({len(before)} of them), with a port "
          f"dead {statistics.median(dead):.3f} s ({len(dead)}), {ratio:.2f} times; the longest "
          f"{stop:.3f} s (emulated)", flush=True)
    assert len(before) >= 10 and len(dead) >= 10, turns
    assert stop < STOP_LIMIT_S, stop
    assert ratio < SLOWER_MAX, ratio
    return stop


def load(guest, program, box, config):
    seconds = 3 * PHASE_S + 5
    guest.check(f"setsid -f sh -c '{program} verbs:{HOST}:{box.port()} {seconds} {REGION_BYTES} "
                f"> {OUTPUT} 2>&1' < /dev/null; "
                f"timeout 60 sh -c 'until [ -s {OUTPUT} ]; do sleep 0.1; done'")
    begin = time.monotonic()
    healthy = moved(box, PHASE_S)
    died = time.monotonic() - begin
    set_faults(box, config, [f'"{DEAD_PORT}=silent"'])
    time.sleep(STOP_LIMIT_S)
    dead = moved(box, PHASE_S - STOP_LIMIT_S)
    back = time.monotonic() - begin
    set_faults(box, config, [])
    time.sleep(5)
    again = moved(box, PHASE_S - 5)
    print("bytes by port:", healthy, "one dead:", dead, "back:", again, flush=True)
    guest.check(f"timeout {seconds} sh -c 'until tail -n 1 {OUTPUT} | grep -v [0-9]; do sleep 0.2; "
                "done'", seconds + 20)
    turns = turns_of(guest)
    assert min(healthy) > 0 and min(again) > 0, (healthy, again)
    assert [count == 0 for count in dead] == [port == DEAD_PORT for port in range(PORTS)], dead
    return turns, died, back


def main():
    program, verbs_load = (os.path.abspath(path) for path in sys.argv[1:3])
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "box.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write("port_faults = []\n")
        serve, qemu = wires(folder)
        box = Box(program, folder, "--config", config, *serve)
        guest = None
        try:
            guest = ready_guest(folder, qemu)
            judge(*load(guest, verbs_load, box, config))
        finally:
            if guest is not None:
                guest.end()
            box.end()
    print("a dead port under load: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
