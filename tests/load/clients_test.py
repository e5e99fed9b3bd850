# SPDX-License-Identifier: Apache-2.0
"""Many clients at once: what is refused has a named reason, and the box's memory is bounded."""

import json
import os
import re
import subprocess
import threading
import time
import unittest

from program import OK, PROGRAM, SMALL_BOX, STOP_SECONDS_MAX, ProgramTest

LOAD = os.environ["GODBOX_CLIENT_LOAD"]
# What the process of the box may take for itself, beside the pool's memory: tables, and for each
# client a session and ten connections with what they have under way.
BYTES_MAX = 16 << 20
BYTES_PER_CLIENT_MAX = 128 << 10
GROWTH_MAX = 1.1  # the most of the second half of the run over the most of the first
SAMPLE_SECONDS = 0.5


def own_memory_bytes(pid):
    """Memory of a process that is no file's: not the pool's."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"RssAnon:\s+(\d+) kB", file.read()).group(1)) * 1024


class Sampler(threading.Thread):
    """Looks at a process's memory until it is told to stop."""

    def __init__(self, pid):
        super().__init__()
        self.pid = pid
        self.samples = []
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(SAMPLE_SECONDS):
            self.samples.append((time.monotonic(), own_memory_bytes(self.pid)))

    def stop(self):
        self.stopping.set()
        self.join()


class ClientsTest(ProgramTest):
    def check_clients(self, clients, seconds):
        with self.server("--backing-limit", "1GiB") as server:
            before = own_memory_bytes(server.process.pid)
            sampler = Sampler(server.process.pid)
            sampler.start()
            result = subprocess.run(
                [LOAD, str(server.socket), str(clients), str(seconds), "2", "1"],
                capture_output=True, text=True, timeout=seconds + 150)
            sampler.stop()
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            found = json.loads(result.stdout)
            self.assertTrue(self.sessions_end(server.address))
            self.assertEqual(server.stop(), OK, server.errors)
        self.report(found, before, [size for _, size in sampler.samples])
        self.assertEqual(found["connected"], clients)
        self.assertEqual(found["lanes_up"], clients * 9)
        self.assertEqual((found["without_reason"], found["wrong_objects"]), (0, 0))
        for what in ("put:ok", "get:ok", "lookup:ok", "remove:ok"):
            self.assertGreater(found["answers"].get(what, 0), clients, what)
        self.check_memory(before, clients, seconds, sampler.samples)

    def sessions_end(self, address):
        """All that clients held is given back."""
        for _ in range(50):
            status = self.run_json("status", "--connect", address)
            if (status["sessions"], status["leases"], status["reservations"]) == (1, 0, 0):
                return True
            time.sleep(0.1)
        return False

    def check_memory(self, before, clients, seconds, samples):
        most = max(size for _, size in samples)
        self.assertLess(most - before, BYTES_MAX + clients * BYTES_PER_CLIENT_MAX)
        last = samples[-1][0]
        halves = [[size for when, size in samples
                   if begin <= last - when < begin + seconds / 2] for begin in (seconds / 2, 0)]
        if all(halves):
            self.assertLess(max(halves[1]), max(halves[0]) * GROWTH_MAX)

    @staticmethod
    def report(found, before, sizes):
        quarters = [sizes[(len(sizes) - 1) * quarter // 4] for quarter in range(1, 5)]
        print(json.dumps({**found, "box_bytes_before": before, "box_bytes_most": max(sizes),
                          "box_bytes_by_quarter": quarters, "box_bytes_per_client":
                          (max(sizes) - before) // found["clients"]}), flush=True)

    def test_some_clients(self):
        self.check_clients(64, 4)

    def test_refused_clients(self):
        """A box with descriptors for a third of them serves these, and tells the others why."""
        socket = self.folder / "control.sock"
        box = subprocess.Popen(
            ["prlimit", "--nofile=400:400", PROGRAM, "serve", "--json", *SMALL_BOX,
             "--control-socket", str(socket)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            self.assertIn("ready", box.stdout.readline())
            result = subprocess.run([LOAD, str(socket), "64", "2", "2", "1"], capture_output=True,
                                    text=True, timeout=60)
        finally:
            box.terminate()
            _, errors = box.communicate(timeout=STOP_SECONDS_MAX)
        self.assertEqual((result.returncode, box.returncode), (0, OK), result.stdout + errors)
        answers = json.loads(result.stdout)["answers"]
        self.assertGreater(answers["connect:ok"], 10)
        self.assertGreater(answers["connect:limit_exceeded"], 10)
        self.assertGreater(answers["get:ok"], 100)

    def test_1000_clients(self):
        self.check_clients(1000, 60)


if __name__ == "__main__":
    unittest.main()
