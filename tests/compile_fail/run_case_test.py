#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that run_case.py accepts a sound case and refuses each kind of unsound one.

usage: run_case_test.py compiler
"""

import sys
import tempfile
import unittest
from pathlib import Path

import run_case

COMPILER = sys.argv.pop(1) if len(sys.argv) > 1 else "c++"
ASSIGNMENT = "#ifdef GODBOX_COMPILE_FAIL\nint* p = 1;\n#else\nint* p = nullptr;\n#endif\n"


class RunCaseTest(unittest.TestCase):
    def problem(self, text):
        with tempfile.TemporaryDirectory() as folder:
            case = Path(folder) / "case.cpp"
            case.write_text(text, encoding="utf-8")
            return run_case.problem_with(case, [COMPILER, "-std=c++20"])

    def test_sound_case(self):
        self.assertIsNone(self.problem("// expect-error: int\n" + ASSIGNMENT))

    def test_other_error(self):
        self.assertIn("no error matches", self.problem("// expect-error: lambda\n" + ASSIGNMENT))

    def test_bad_variant_compiles(self):
        text = "// expect-error: int\n#ifdef GODBOX_COMPILE_FAIL\n#endif\n"
        self.assertEqual(self.problem(text), "the bad variant compiles")

    def test_good_variant_does_not_compile(self):
        self.assertIn("the good variant", self.problem("// expect-error: int\nx;\n" + ASSIGNMENT))

    def test_no_expectation(self):
        self.assertIn("expect-error", self.problem(ASSIGNMENT))

    def test_no_bad_variant(self):
        self.assertIn("no bad variant", self.problem("// expect-error: int\nint a;\n"))


if __name__ == "__main__":
    unittest.main()
