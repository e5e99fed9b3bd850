#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that perf/compare reads its peers' figures rightly, and divides the right ones."""

import contextlib
import io
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "perf" / "compare"))

import run  # noqa: E402
import stores  # noqa: E402
from contenders import (  # noqa: E402
    Case, Contender, Sample, Setting, parse_redis_benchmark, parse_ucx)

NAMES = ("avg_latency_ms", "min_latency_ms", "p50_latency_ms", "p95_latency_ms",
         "p99_latency_ms", "max_latency_ms")
CSV = "\n".join([
    ",".join(f'"{name}"' for name in ("test", "rps", *NAMES)),
    '"SET","1876.17","0.500","0.100","0.479","0.900","1.175","2.0"',
    '"GET","2930.40","0.300","0.100","0.295","0.600","0.735","1.0"', ""])
UCX = """+----+
| Test | # iterations |
     2000    342.745  1755.518  1907.339      569.63     524.29         570         524
"""


def contender(name, client, memory, rates, server_cpu):
    return Contender(name, client, None, Setting(), memory,
                     [Sample(rate, 10, 20, 0.2, server_cpu) for rate in rates])


class CompareTest(unittest.TestCase):
    def test_redis_benchmark(self):
        self.assertEqual(parse_redis_benchmark("WARNING: no config\n" + CSV, "get")["rps"],
                         "2930.40")
        self.assertEqual(parse_redis_benchmark(CSV, "set")["p99_latency_ms"], "1.175")

    def test_redis_benchmark_that_failed(self):
        for output in ("", "Could not connect to Redis\n", CSV.splitlines()[0]):
            with self.assertRaises(RuntimeError):
                parse_redis_benchmark(output, "get")
        with self.assertRaises(RuntimeError):
            parse_redis_benchmark(CSV, "lpush")

    def test_ucx_counts_in_powers_of_two(self):
        self.assertAlmostEqual(parse_ucx(UCX), 524.29 * 1048576 / 1e9)
        for output in ("", "Final: nothing", "perf failed: Destination is unreachable"):
            with self.assertRaises(RuntimeError):
                parse_ucx(output)

    def test_a_peer_stands_beside_what_uses_memory_as_it_does(self):
        case = Case("get", 1 << 20, 1 << 30, 1)
        rows = run.rows_of(case, [
            contender("godbox", "loop", "whole", [2, 2, 2], 0.3),
            contender("godbox", "loop", "reused", [3, 4, 8], 0.2),
            contender("memcached", "loop", "whole", [4, 2, 1], 0.15),
            contender("redis-benchmark", "redis-benchmark", "reused", [2, 2, 2], 0.4)])
        by_name = {row["contestant"]: row for row in rows if row["contestant"] != "godbox"}
        self.assertEqual(by_name["memcached"]["godbox_times"], 1)
        self.assertEqual(by_name["memcached"]["godbox_times_min"], 0.5)
        self.assertEqual(by_name["memcached"]["server_cpu_times"], 0.5)
        self.assertEqual(by_name["redis-benchmark"]["godbox_times"], 2)
        self.assertEqual(by_name["redis-benchmark"]["godbox_times_max"], 4)
        self.assertEqual(by_name["redis-benchmark"]["server_cpu_times"], 2)
        self.assertEqual(by_name["redis-benchmark"]["gb_per_s_median"], 2)
        self.assertIsNone(rows[0]["godbox_times"])

    def test_settings_stay_in_bounds(self):
        for size in (64 << 10, 512 << 10, 1 << 20, 4 << 20):
            for kind in ("godbox", "resp2"):
                settings = run.loop_settings(kind, size)
                self.assertTrue(settings)
                for setting in settings:
                    self.assertLessEqual(setting.in_flight * size, run.IN_FLIGHT_BYTES_MAX)
                    self.assertTrue(1 <= setting.batch <= setting.in_flight)

    def test_sizes(self):
        self.assertEqual(run.parse_size("512KiB"), 1 << 19)
        for text in ("", "1", "1MB", "0MiB", "-1KiB"):
            with self.assertRaises(run.argparse.ArgumentTypeError):
                run.parse_size(text)

    def test_the_table_has_a_line_for_each_row(self):
        case = Case("set", 64 << 10, 1 << 30, 2)
        rows = run.rows_of(case, [contender("godbox", "loop", "whole", [2], None)])
        lines = run.table_of(rows).splitlines()
        self.assertEqual(len(lines), 3)
        self.assertEqual(len({len(line) for line in lines}), 1)

    def test_processor_time_of_a_process(self):
        end = time.process_time() + 0.05
        before = stores.cpu_seconds(os.getpid())
        while time.process_time() < end:
            pass
        self.assertGreater(stores.cpu_seconds(os.getpid()) - before, 0.04)

    def test_output_that_cannot_be_written_is_refused_before_anything_is_measured(self):
        for path in ("/nowhere/peers.json", tempfile.gettempdir()):
            words = io.StringIO()
            with contextlib.redirect_stderr(words), self.assertRaises(SystemExit) as ended:
                run.parse_arguments(["--output", path])
            self.assertEqual(ended.exception.code, 2)
            self.assertIn(path, words.getvalue())

    def test_a_peer_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(stores.Missing, "no-such-server or no-such-check"):
            stores.find_program("no-such-server", "no-such-check")
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(stores.Missing):
                stores.Godbox(Path(folder) / "godbox", Path(folder), 1, 1)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()
