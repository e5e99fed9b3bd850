# SPDX-License-Identifier: Apache-2.0
"""The box at its full size, 18 TiB, on a machine that has a thousandth of it."""

import subprocess
import time
import unittest

from program import NO_ROOM, OK, PROGRAM, STOP_SECONDS_MAX, ProgramTest, Server

STATUS_SECONDS_MAX = 1.0
RESIDENT_BYTES_MAX = 256_000_000
STARTS = 3  # the best of them counts: other tests may run beside this one
FULL_SIZE = ["--preset", "emfasys18"]
CAPACITY_BYTES = 18 << 40
OBJECT = bytes(range(256)) * (8 << 12)  # 8 MiB
OBJECTS_MAX = 100


class CapacityTest(ProgramTest):
    def start_and_ask(self):
        """Seconds from the start of the box to its first answer, and what it answered."""
        socket = self.folder / "control.sock"
        begin = time.monotonic()
        process = subprocess.Popen(
            [PROGRAM, "serve", *FULL_SIZE, "--tcp-port-base", "0", "--control-socket", str(socket)],
            stdout=subprocess.DEVNULL)
        try:
            while True:
                result = subprocess.run(
                    [PROGRAM, "status", "--json", "--connect", f"unix:{socket}"],
                    capture_output=True)
                took = time.monotonic() - begin
                if result.returncode == OK or took > 10 * STATUS_SECONDS_MAX:
                    self.assertEqual(result.returncode, OK, result.stderr)
                    return took, result.stdout, self.resident_bytes(process.pid)
        finally:
            process.terminate()
            process.wait(STOP_SECONDS_MAX)

    @staticmethod
    def resident_bytes(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def test_it_answers_within_a_second_and_is_small(self):
        times = []
        for _ in range(STARTS):
            took, answer, resident = self.start_and_ask()
            times.append(took)
            self.assertIn(str(CAPACITY_BYTES), answer.decode())
            self.assertLess(resident, RESIDENT_BYTES_MAX)
        self.assertLess(min(times), STATUS_SECONDS_MAX, times)

    def fill(self, at):
        """Puts until the box refuses; the names that it took, and the refusal."""
        names = []
        while len(names) < OBJECTS_MAX:
            name = f"fill/{len(names):03}"
            result = subprocess.run(
                [PROGRAM, "put", name, "-", *at], input=OBJECT, capture_output=True)
            if result.returncode != OK:
                return names, result
            names.append(name)
        raise AssertionError("the box never refused")

    def test_filled_until_it_refuses_it_lives_and_gives_the_space_back(self):
        options = [*FULL_SIZE, "--backing-limit", "64MiB", "--eviction", "none"]
        with Server(self.folder, *options) as server:
            at = ["--connect", server.address]
            for _ in range(2):  # the second time in the space of the first
                names, refusal = self.fill(at)
                self.assertGreater(len(names), 3)
                self.assertEqual(refusal.returncode, NO_ROOM)
                self.assertIn(b"backing_full", refusal.stderr)
                for name in (names[0], names[-1]):
                    self.assertEqual(self.run_program("get", name, *at).stdout, OBJECT)
                self.run_program("rm", *names, *at)
                status = self.run_json("status", *at)
                self.assertEqual((status["objects"], status["reserved_bytes"]), (0, 0))
            self.run_program("put", "again", "-", *at, stdin=OBJECT)
            self.assertEqual(self.run_program("get", "again", *at).stdout, OBJECT)
            self.assertEqual(server.stop(), OK)


if __name__ == "__main__":
    unittest.main()
