#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples/inference in two guests of one box: with CXL NUMA nodes, and with their own DRAM alone.
Four boots, some minutes.

usage: GODBOX_PROGRAM=... GODBOX_INFERENCE_HOST=... inference_test.py [-v] [name of a test]
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from machine import SKIPPED, die_with_parent, why_not

GODBOX = os.path.abspath(os.environ["GODBOX_PROGRAM"])
HOST = os.path.abspath(os.environ["GODBOX_INFERENCE_HOST"])
RUN = Path(__file__).resolve().parents[2] / "examples" / "inference" / "run.py"
LIMIT_S = 1400
# A fifth of the demo's work.
SMALL = ["--prompt-tokens", "80", "--prefix-tokens", "64", "--output-tokens", "16",
         "--turn-tokens", "8", "--repeats", "3"]


class Inference(unittest.TestCase):
    def run_two_guests(self, *options):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "figures.json"
            result = subprocess.run(
                [sys.executable, "-B", RUN, "--program", GODBOX, "--host", HOST, "--channels", "4",
                 "--json", path, *options, "--", *SMALL],
                stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False,
                preexec_fn=die_with_parent)
            print(result.stdout, flush=True)
            self.assertEqual(result.returncode, 0)
            figures = json.loads(path.read_text())
        self.assertEqual(figures["problems"], [])
        self.check_first(figures["first"])
        self.check_second(figures["second"])
        return figures

    def check_first(self, figures):
        self.assertEqual(figures["mode"], "emulated")
        self.assertEqual(len(figures["tokens"]), 16)
        for memory in figures["memories"]:
            self.assertGreater(memory["tokens_per_s"]["median"], 0)
        doors = [(one["spill_to"].split(":")[0], one["fetch_from"].split(":")[0])
                 for one in figures["rounds"]]
        self.assertEqual(doors, [("dax", "tcp"), ("tcp", "dax")])
        for one in figures["rounds"]:
            self.assertTrue(one["equal"])
            self.assertEqual(one["spills"], 4)
            # Of both conversations: what was spilled after eight tokens, and the common prefix.
            self.assertEqual(one["blocks_fetched"], 2 * 5 + 4)
            # The second prompt's question and, before anything was spilled, all of the first.
            self.assertEqual(one["blocks_missed"], 5 + 1)

    def check_second(self, figures):
        self.assertEqual([one["address"].split(":")[0] for one in figures["doors"]],
                         ["dax", "tcp"])
        for one in figures["doors"]:
            self.assertTrue(one["equal"])
            self.assertEqual(one["blocks_fetched"], 3 * 4)
            self.assertLess(one["of_computed"], 1)

    def test_with_cxl_nodes(self):
        figures = self.run_two_guests("--nodes", "2")
        # The channels' windows come first.
        self.assertEqual(figures["first"]["nodes"], [5, 6])
        self.assertRegex(figures["first"]["memories"][1]["placement"],
                         r"^\d+ KiB on node 5, \d+ KiB on node 6$")
        self.assertRegex(figures["first"]["memories"][0]["placement"], r"^\d+ KiB on node 0$")

    def test_with_the_guests_own_dram_alone(self):
        figures = self.run_two_guests("--nodes", "0")
        self.assertEqual(figures["first"]["nodes"], [])
        self.assertRegex(figures["first"]["memories"][1]["placement"], r"^\d+ KiB on node 0$")


if __name__ == "__main__":
    reason = why_not(GODBOX)
    if reason:
        print(f"SKIPPED: {reason}")
        sys.exit(SKIPPED)
    unittest.main()
