#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that perf/handover/run.py tells a hand-over that holds from one that does not."""

import copy
import importlib.util
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "perf/handover/run.py"
SPEC = importlib.util.spec_from_file_location("handover_run", SOURCE)
handover = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(handover)

RUN = {"ratio": 1.1, "layers_out_of_order": 0, "wrong_bytes": 0}
RESULTS = {"cases": [{"layer_ms": 10, "runs": [{**RUN, "ratio": ratio}
                                               for ratio in (1.0, 1.1, 1.15)]}],
           "killed": {"layers": 40, "status": "not_found", "seconds": 0.1,
                      "bytes_checked": 4096, "wrong_bytes": 0, "afterwards": "not_found"}}


class HandoverTest(unittest.TestCase):
    def misses(self, change=None, with_times=True):
        results = copy.deepcopy(RESULTS)
        if change is not None:
            change(results["cases"][0]["runs"][1], results["killed"])
        return [what for what, holds in handover.judge(results, with_times) if not holds]

    def test_each_promise_can_be_missed(self):
        self.assertEqual(self.misses(), [])
        for change, word in (
                (lambda run, killed: run.update(ratio=2.0, wrong_bytes=8), "no wrong byte"),
                (lambda run, killed: run.update(layers_out_of_order=1), "1 layers after"),
                (lambda run, killed: killed.update(wrong_bytes=8), "none wrong"),
                (lambda run, killed: killed.update(bytes_checked=0, wrong_bytes=None), "0 bytes"),
                (lambda run, killed: killed.update(status="ok"), "then ok"),
                (lambda run, killed: killed.update(seconds=6), "6.00 s")):
            missed = self.misses(change)
            self.assertEqual(len(missed), 1, missed)
            self.assertIn(word, missed[0])

    def test_a_small_run_is_judged_by_its_bytes_alone(self):
        def slow(run, _):
            run.update(ratio=9.0, layers_out_of_order=3)
        self.assertEqual(self.misses(slow, with_times=False), [])

    def test_rows_have_the_spread_and_what_the_killed_one_compared(self):
        paced, killed = handover.rows_of(RESULTS)
        self.assertEqual((paced["ratio_min"], paced["ratio"], paced["ratio_max"]),
                         (1.0, 1.1, 1.15))
        self.assertAlmostEqual(paced["ratio_mad"], 0.05)
        nothing = {**RESULTS, "killed": {**RESULTS["killed"], "wrong_bytes": None}}
        self.assertEqual(killed["wrong_bytes"], 0)
        self.assertIsNone(handover.rows_of(nothing)[-1]["wrong_bytes"])


if __name__ == "__main__":
    unittest.main()
