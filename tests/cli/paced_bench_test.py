# SPDX-License-Identifier: Apache-2.0
import unittest

from bench_rows import BenchRowsTest

# A box so slow that a busy machine keeps up with it.
PACED = ["bench", "--workload", "paced", "--mode", "paced", "--time-scale", "8000", "--repeats",
         "1", "--working-set", "8MiB", "--sizes", "64KiB"]


class PacedBenchTest(BenchRowsTest):
    def test_live_traffic_beside_the_timing_model(self):
        rows = self.rows("--channels", "1,2", small=PACED)
        parts = [(row["channels"], row["part"], row.get("traffic")) for row in rows]
        whole = [("throughput", "read"), ("throughput", "write"), ("throughput", "2:1")]
        self.assertEqual(parts, [(1, *one) for one in whole] + [(1, "small-reads", None)]
                         + [(2, *one) for one in whole]
                         + [(2, "slow-channel", "read"), (2, "slow-channel", "write"),
                            (2, "small-reads", None)])
        for row in rows:
            self.assertEqual((row["kind"], row["transport"], row["time_scale"]),
                             ("emulated", "tcp", 8000))
            self.assertGreaterEqual(row["bytes_checked"], row["working_set_bytes"])
            if row["part"] == "small-reads":
                self.assertGreater(row["operations"], 800)
                self.assertGreater(row["machine_reads_per_s"], 0)
                self.assertGreater(row["machine_p99_us"], 0)
                self.assertGreater(row["modelled_p99_us"], row["modelled_p50_us"])
                # A wide band: other tests run beside this one.
                self.assertGreater(row["of_modelled_p99"], 0.7)
                self.assertLess(row["of_modelled_p99"], 3)
            else:
                self.assertEqual(row["ceiling"], "model")
                self.assertAlmostEqual(row["efficiency"], 1, delta=0.15)
        by_part = {one: row for one, row in zip(parts, rows)}
        # 26.36 GB/s a channel, by the link (docs/model.md); two reads to a write share its DRAM.
        self.assertAlmostEqual(by_part[2, "throughput", "read"]["ceiling_gb_per_s"] * 8000,
                               2 * 26.36, delta=2)
        slow = by_part[2, "slow-channel", "read"]
        self.assertEqual((slow["fault"], slow["faulty_channel"]), ("slow:10%", 1))
        # Half of each stripe lies on the slow channel.
        self.assertAlmostEqual(slow["modelled_of_healthy"], 0.1, delta=0.01)
        self.assertAlmostEqual(slow["of_healthy"], 0.1, delta=0.03)


if __name__ == "__main__":
    unittest.main()
