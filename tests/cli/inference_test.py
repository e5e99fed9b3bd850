# SPDX-License-Identifier: Apache-2.0
"""examples/inference as it runs on any machine: without CXL nodes, against a box through each kind
of door; and what it answers to what means nothing."""

import json
import os
import signal
import subprocess
import time
import unittest

from program import ProgramTest

HOST = os.environ["GODBOX_INFERENCE_HOST"]
WRONG, USAGE, FAILED = 1, 2, 3
SMALL = ["--prompt-tokens", "40", "--prefix-tokens", "32", "--output-tokens", "12",
         "--turn-tokens", "4", "--repeats", "1"]


class InferenceTest(ProgramTest):
    def run_host(self, *arguments, status=0):
        result = subprocess.run([HOST, *arguments], capture_output=True, text=True, timeout=100)
        self.assertEqual(result.returncode, status, (arguments, result.stdout, result.stderr))
        return result

    def figures(self, command, *arguments):
        path = self.folder / "figures.json"
        result = self.run_host(command, *SMALL, "--nodes", "0", "--json", str(path), *arguments)
        return json.loads(path.read_text()), result.stdout

    def test_two_hosts_share_a_prefix_through_every_pair_of_doors(self):
        with self.server("--map-memory", "trusted") as box:
            doors = [f"local:{box.socket}", box.ready["eth_ports"][0], f"unix:{box.socket}"]
            connect = [word for door in doors for word in ("--connect", door)]
            first, text = self.figures("decode", *connect)
            self.assertEqual(first["problems"], [])
            self.assertEqual(first["schema"], "godbox-inference-1")
            self.assertEqual(first["mode"], "real")
            self.assertIn("times are real", text)
            self.assertEqual(len(first["tokens"]), 12)
            self.assertEqual([one["tokens_per_s"]["repeats"] for one in first["memories"]], [1, 1])
            self.assertEqual(len(first["rounds"]), 3)
            for one, to, source in zip(first["rounds"], doors, doors[1:] + doors[:1]):
                self.assertEqual((one["spill_to"], one["fetch_from"]), (to, source))
                self.assertTrue(one["equal"])
                self.assertEqual(one["spills"], 6)
                self.assertGreater(one["blocks_stored"], 0)
                self.assertGreater(one["blocks_fetched"], 0)
                # The second conversation finds the prefix of the first, which spills before it.
                self.assertEqual(one["blocks_missed"], 2)
            second, text = self.figures("reuse", *connect)
            self.assertEqual(second["problems"], [])
            self.assertEqual([one["address"] for one in second["doors"]], doors)
            for one in second["doors"]:
                self.assertEqual(one["blocks_fetched"], 2)
                self.assertTrue(one["equal"])
            # Another model's blocks are none of this one's.
            path = self.folder / "other.json"
            self.run_host("reuse", *SMALL, "--seed", "2", "--nodes", "0", "--json", str(path),
                          *connect[:2], status=WRONG)
            self.assertIn("0 blocks fetched, not 2", json.loads(path.read_text())["problems"][0])

    def test_without_a_box_it_decodes_and_says_so(self):
        figures, text = self.figures("decode")
        self.assertIn("no --connect: nothing is spilled", text)
        self.assertNotIn("rounds", figures)
        figures, text = self.figures("reuse")
        self.assertIn("no --connect: no prefix is reused", text)
        self.assertEqual(figures["doors"], [])

    def test_a_box_that_stands_still_costs_the_timeout_and_no_token(self):
        with self.server() as box:
            doors = [word for port in box.ready["eth_ports"][:2] for word in ("--connect", port)]
            host = subprocess.Popen(
                [HOST, "decode", "--nodes", "0", "--timeout", "1", "--repeats", "1",
                 "--prompt-tokens", "100", "--prefix-tokens", "64", "--output-tokens", "400",
                 "--turn-tokens", "100", *doors], stdout=subprocess.PIPE, text=True)
            try:
                while "spill to" not in host.stdout.readline():  # the first of two rounds
                    self.assertIsNone(host.poll())
                time.sleep(0.3)
                box.process.send_signal(signal.SIGSTOP)
                output = host.communicate(timeout=100)[0]
            finally:
                box.process.send_signal(signal.SIGCONT)
                host.kill()
                host.wait()
            # It had connected and went on alone, or could not connect any more.
            self.assertIn(host.returncode, (WRONG, FAILED), output)
            self.assertIn("blocks were lost" if host.returncode == WRONG else "", output)
            self.assertNotIn("other tokens", output)
            self.assertNotIn("other logits", output)

    def test_what_means_nothing_is_refused(self):
        for arguments, status, words in (
                ([], USAGE, "subcommand is required"),
                (["encode"], USAGE, "subcommand is required"),
                (["decode", "--repeats", "x"], USAGE, "--repeats"),
                (["decode", "--repeats", "0"], USAGE, "--repeats: 0 is not allowed"),
                (["decode", "--nodes", "77"], USAGE, '--nodes: "77" is not allowed'),
                (["decode", "--model", "huge"], USAGE, 'model "huge" is not known'),
                (["reuse", "--prefix-tokens", "160"], USAGE, "--prefix-tokens: 160"),
                (["reuse", *SMALL, "--connect", "nonsense"], FAILED, "is no address of a box"),
                (["reuse", *SMALL, "--connect", "tcp:127.0.0.1:1"], FAILED, "connect_failed"),
                (["reuse", *SMALL, "--connect", "tcp:192.0.2.1:1"], FAILED, "only loopback"),
                (["decode", *SMALL, "--json", "/nowhere/x"], FAILED, "--json: /nowhere/x")):
            result = self.run_host(*arguments, status=status)
            self.assertIn(words, result.stderr + result.stdout, arguments)


if __name__ == "__main__":
    unittest.main()
