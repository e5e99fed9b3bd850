# SPDX-License-Identifier: Apache-2.0
"""What the tests of `godbox bench` share: the rows of a small run, checked for what all have."""

from program import ProgramTest

SMALL = ["bench", "--working-set", "8MiB", "--sizes", "1MiB", "--repeats", "2"]

# Fields that every row has; scripts and perf/compare rely on them.
FIELDS = (
    "workload transport mode op size_bytes channels ports lanes crc working_set_bytes "
    "gb_per_s_median gb_per_s_min gb_per_s_max ceiling_gb_per_s efficiency cpu_seconds_per_gb "
    "p50_us p99_us channel_imbalance kind seed result_hash bytes_checked wrong_bytes"
).split()


class BenchRowsTest(ProgramTest):
    def rows(self, *options, small=SMALL):
        document = self.run_json(*small, *options)
        self.assertEqual(document["schema"], "godbox-bench-1")
        for key in ("commit", "machine", "build_type", "begun"):
            self.assertIn(key, document)
        for row in document["rows"]:
            for field in FIELDS:
                self.assertIn(field, row)
            self.assertEqual(row["wrong_bytes"], 0)
        return document["rows"]
