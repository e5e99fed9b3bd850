# SPDX-License-Identifier: Apache-2.0
"""scripts/compare_base tells a change that costs half of the rate from one that costs nothing."""

import subprocess
import sys
import unittest
from pathlib import Path

from program import PROGRAM, RUN_SECONDS_MAX, ProgramTest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/compare_base"
# The real program, whose figures are changed on their way out.
CHANGED = """#!{python}
import json, subprocess, sys
ended = subprocess.run([{program!r}, *sys.argv[1:]], stdout=subprocess.PIPE)
if sys.argv[1] in ("bench", "replay") and sys.argv[2] == "--json":
    document = json.loads(ended.stdout)
    rows = document["rows"]
    rates = [row for row in rows if "gb_per_s_median" in row]
    {how}
    print(json.dumps(document))
else:
    sys.stdout.buffer.write(ended.stdout)
sys.exit(ended.returncode)
"""


class CompareBaseTest(ProgramTest):
    def compare(self, how, *options):
        change = self.folder / "change"
        change.write_text(CHANGED.format(python=sys.executable, program=PROGRAM, how=how))
        change.chmod(0o755)
        return subprocess.run(
            [sys.executable, "-B", str(SCRIPT), "--small", "--rounds", "2", "--threshold", "95",
             "--base-program", PROGRAM, "--change-program", str(change), *options],
            capture_output=True, text=True, timeout=RUN_SECONDS_MAX)

    def test_a_change_that_costs_nothing_passes(self):
        # On a busy machine two rounds of little data may differ by much.
        ended = self.compare("", "--rounds", "9", "--seconds", "0")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertIn("no more than 2 rounds fit", ended.stdout)
        self.assertNotIn("round 3", ended.stdout)
        self.assertIn("0 of 6 rows", ended.stderr)

    def test_a_change_that_costs_nearly_all_fails(self):
        ended = self.compare("for row in rows: row.update({k: row[k] / 50 "
                             "for k in ('gb_per_s_median', 'gb_per_s') if k in row})")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertIn("5 of 6 rows are worse", ended.stderr)  # not the replay's lookups

    def test_a_row_that_is_gone_is_no_pass(self):
        ended = self.compare("rows.pop()")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertIn("3 of A's are not in B", ended.stderr)  # two of them the replay's

    def test_what_cannot_be_measured_is_no_pass(self):
        for how, options in (("sys.exit(1)", ()),
                             ("for row in rates[:1]: row['gb_per_s_median'] = 0", ()),
                             ("for row in rates[:1]: row['gb_per_s_median'] = None", ()),
                             ("", ("--threshold", "nan"))):
            ended = self.compare(how, "--rounds", "1", *options)
            self.assertEqual(ended.returncode, 2, (how, ended.stdout, ended.stderr))
            self.assertIn("FAILED", ended.stdout)


if __name__ == "__main__":
    unittest.main()
