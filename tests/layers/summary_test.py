#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that scripts/summarize_tests.py lets no failure, no skip and no omission pass unsaid."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "summarize_tests.py"

GOOD = '<testcase name="good" status="run"><system-out>fine</system-out></testcase>'
BAD = '<testcase name="bad" status="fail"><failure/><system-out>broken</system-out></testcase>'
SKIPS = """<testcase name="partly" status="run"><system-out>
test_a (serve_test.ServeTest.test_a) ... skipped "needs somebody's disk"
a_test.cpp:3: SKIPPED:
explicitly with message:
  needs huge pages
skipped: needs a browser
</system-out></testcase>"""


class SummaryTest(unittest.TestCase):
    def summarize(self, cases, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "test-dev-unit.xml").write_text(
                f"<testsuite>{cases}</testsuite>", encoding="utf-8")
            result = subprocess.run(
                [sys.executable, "-B", SCRIPT, folder, *arguments], text=True, capture_output=True)
        return result.returncode, result.stdout.splitlines()

    def test_a_good_run_ends_as_ctest_does(self):
        status, lines = self.summarize(GOOD)
        self.assertEqual((status, lines[-1]), (0, "100% tests passed, 0 tests failed out of 1"))

    def test_a_failed_test_and_a_failed_step_are_named_and_counted(self):
        status, lines = self.summarize(GOOD + BAD, "build of preset tsan")
        self.assertEqual((status, lines[-1]), (1, "33% tests passed, 2 tests failed out of 3"))
        self.assertIn("failed: dev-unit: bad", lines)
        self.assertIn("failed: build of preset tsan", lines)

    def test_what_was_not_run_is_said_and_counts_as_nothing(self):
        status, lines = self.summarize(GOOD, "--not-run=tsan: no time", "--not-run=fuzz: no time")
        self.assertEqual((status, lines[-1]), (0, "100% tests passed, 0 tests failed out of 1"))
        self.assertIn("not run: tsan: no time", lines)
        self.assertIn("not run: fuzz: no time", lines)

    def test_a_failed_step_beside_one_that_was_not_run(self):
        status, lines = self.summarize(GOOD, "--not-run=tsan: no time", "build of preset dev")
        self.assertEqual((status, lines[-1]), (1, "50% tests passed, 1 tests failed out of 2"))

    def test_every_way_of_skipping_is_said_with_its_reason(self):
        _, lines = self.summarize(SKIPS)
        for reason in ("needs somebody's disk", "needs huge pages", "needs a browser"):
            self.assertIn(f"skipped: dev-unit: partly: in part: {reason}", lines)

    def test_nothing_at_all_is_a_failure(self):
        self.assertEqual(self.summarize(""), (1, ["no test ran"]))


if __name__ == "__main__":
    unittest.main()
