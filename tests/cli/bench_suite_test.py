# SPDX-License-Identifier: Apache-2.0
"""The suite's workloads, reports, and comparisons of results."""

import json
import unittest

from bench_rows import SMALL, BenchRowsTest
from program import FAILURE, OK, USAGE, WORSE


class BenchSuiteTest(BenchRowsTest):
    def test_one_page_of_remote_memory_stands_beside_a_ping_pong(self):
        rows = self.rows("--workload", "remote-page", "--transport", "both", "--sizes", "4KiB")
        self.assertEqual([row["ceiling"] for row in rows],
                         ["memcpy", "memcpy", "ping-pong", "ping-pong"])
        for row in rows[2:]:
            self.assertEqual((row["id"], row["depth"], row["operations"]), ("W1", 1, 2 * 2000))
            self.assertGreater(row["of_ping_pong_p50"], 0)
            self.assertLessEqual(row["of_ping_pong_p50_min"], row["of_ping_pong_p50"])
            curve = row["latency_us_at_percent"]
            self.assertEqual(curve, sorted(curve))
            median = dict(curve)[50]
            self.assertAlmostEqual(median, row["p50_us"], delta=median * 0.001)

    def test_scattered_pieces_stand_beside_blocks(self):
        rows = self.rows("--workload", "scatter", "--sizes", "4KiB", "--pieces", "500,2048")
        self.assertEqual(len(rows), 2 * 2 * 2)
        for row in rows:
            self.assertIn(row["pieces"], (500, 2048))
            self.assertEqual(row["request_bytes"], row["pieces"] * 4096)
            self.assertEqual(row["bytes_checked"], row["request_bytes"])
            self.assertGreater(row["of_block_rate"], 0)

    def test_layers_tell_when_each_was_there(self):
        for row in self.rows("--workload", "layers", "--sizes", "18KiB", "--layers", "16"):
            self.assertEqual((row["layers"], len(row["layer_done_us"])), (16, 16))
            self.assertGreater(row["layer_0_us"], 0)
            self.assertGreater(row["last_layer_us"], 0)
            self.assertGreaterEqual(max(row["layer_done_us"]), row["layer_0_us"])

    def test_a_session_has_the_model_s_answer_for_100_gb(self):
        rows = self.rows("--workload", "session", "--transport", "tcp", "--op", "read")
        modelled = [row for row in rows if row["kind"] == "modelled"]
        self.assertEqual([row["kind"] for row in rows if row not in modelled], ["real"])
        seconds = {(row["box"], row["channels"]): row["modelled_seconds"] for row in modelled}
        self.assertAlmostEqual(seconds["emfasys18", 18] * 18, seconds["emfasys18", 1], delta=0.05)
        self.assertGreater(seconds["acf1", 18], seconds["emfasys18", 18])  # its ports are the bound
        for row in modelled:
            self.assertIsNone(row["gb_per_s_median"])

    def test_a_foreground_is_measured_alone_and_beside_others(self):
        rows = self.rows("--workload", "mixed", small=["bench", "--working-set", "64MiB",
                                                       "--repeats", "1"])
        self.assertEqual([row["class"] for row in rows], ["foreground", "write-back", "prefetch"])
        self.assertGreater(rows[0]["leakage_p50"], 0)
        self.assertGreater(rows[0]["leakage_p50_unclassed"], 0)
        self.assertGreater(rows[0]["total_of_unclassed"], 0)
        self.assertGreater(rows[1]["unclassed_gb_per_s_median"], 0)
        self.assertLessEqual(rows[0]["slo_attainment"], 1)
        for row in rows:
            self.assertEqual(row["bytes_checked"], row["working_set_bytes"])
            self.assertEqual(row["wrong_bytes"], 0)

    def test_sizes_that_nothing_divides_are_compared_byte_by_byte(self):
        rows = self.rows("--workload", "odd-sizes", "--transport", "both",
                         small=["bench", "--repeats", "1"])
        self.assertEqual([row["shape"] for row in rows], ["objects", "region"] * 2)
        for row in rows:
            self.assertGreater(row["bytes_checked"], 10 << 20)

    def test_sizes_grow_with_the_working_set(self):
        small, large = (self.rows("--workload", "odd-sizes", "--transport", "local",
                                  small=["bench", "--repeats", "1", "--working-set", size])
                        for size in ("8MiB", "80MiB"))
        self.assertEqual(small[0]["working_set_bytes"], (5 << 20) + 1)
        self.assertEqual(large[0]["working_set_bytes"], (20 << 20) + 1)
        self.assertEqual(large[0]["bytes_checked"] - small[0]["bytes_checked"],
                         3 * ((8 << 20) + (20 << 20)))

    def devices(self, size=64 << 20, count=3):
        """Files that stand for devices dax, and the options that name them."""
        files = [self.folder / f"dax{i}.0" for i in range(count)]
        for file in files:
            with open(file, "wb") as made:
                made.truncate(size)
        return files, [word for file in files for word in ("--dax-device", str(file))]

    def test_a_box_has_devices_as_its_channels(self):
        small = ["bench", "--target", "box-dax", "--working-set", "8MiB", "--repeats", "1"]
        for workload, options in (("block", ["--sizes", "1MiB"]), ("page", ["--sizes", "4KiB"]),
                                  ("remote-page", []), ("layers", ["--layers", "16"]),
                                  ("scatter", ["--pieces", "200"]),
                                  ("session", ["--sizes", "1MiB"]),
                                  ("replay", ["--working-set", "64MiB"]), ("odd-sizes", []),
                                  ("incast", ["--sizes", "1MiB"]), ("lookup", []),
                                  ("mixed", ["--working-set", "64MiB"])):
            with self.subTest(workload):
                files, devices = self.devices()
                rows = [row for row in self.rows("--workload", workload, *options, *devices,
                                                 small=small)
                        if row["kind"] == "real"]
                self.assertEqual({row["target"] for row in rows}, {"box-dax"})
                self.assertEqual({row["channels"] for row in rows}, {3})
                if workload != "lookup":  # its objects have no bytes
                    self.assertGreater(min(row["bytes_checked"] for row in rows), 0)
                    # All of them have been written to, and none grew.
                    for file in files:
                        self.assertEqual(file.stat().st_size, 64 << 20)
                        self.assertTrue(any(file.read_bytes()), file)

    def test_a_box_over_devices_refuses_what_it_cannot_be(self):
        _, devices = self.devices()
        _, small = self.devices(1 << 20)
        box = ["bench", "--target", "box-dax", *devices]
        for options, word in (([*box, "--channels", "3"], b"--channels"),
                              ([*box, "--connect", "tcp:127.0.0.1:7400"], b"--connect"),
                              ([*box, "--workload", "scaling", "--mode", "paced"], b"scaling"),
                              ([*box, "--numa-nodes", "1"], b"--numa-nodes"),
                              ([*box, "--time-limit", "3"], b"--time-limit"),
                              ([*box, "--dax-coherence", "none"], b"--dax-coherence"),
                              (["bench", "--target", "box-dax", *small], b"1048576 bytes"),
                              (["bench", "--dax-device", "/dev/dax0.0"], b"--dax-device")):
            with self.subTest(options):
                self.assertIn(word, self.run_program(*options, status=USAGE).stderr)
        self.assert_fails(["bench", "--target", "box-dax", "--dax-device",
                           str(self.folder / "none")], FAILURE, "none")
        # Less room than the blocks need.
        files, devices = self.devices(4 << 20)
        box = ["bench", "--target", "box-dax", *devices]
        self.assert_fails([*box, "--working-set", "64MiB"], USAGE, "--working-set", "12 MiB")
        # One device by two names, and no name.
        link = self.folder / "link"
        link.symlink_to(files[0])
        self.assert_fails([*box, "--dax-device", str(link)], USAGE, "--dax-device", "link")
        self.assert_fails([*box, "--dax-device", ""], USAGE, "--dax-device")
        for words in (["--dax-device", str(files[0])], ["--time-limit", "1"],
                      ["--numa-nodes", "1"]):
            self.assert_fails(["bench", "--suite", "quick", *words], USAGE, words[0])

    def test_memory_that_other_hosts_use_goes_over_tcp(self):
        _, devices = self.devices()
        software = ["--target", "box-dax", *devices, "--dax-coherence", "software"]
        rows = self.rows(*software)
        self.assertEqual({row["transport"] for row in rows}, {"tcp"})
        self.assert_fails(["bench", *software, "--transport", "local"], USAGE, "--transport",
                          "map")
        self.assert_fails(["bench", *software, "--threads", "2"], USAGE, "--threads")

    def test_a_timeline_counts_what_the_row_moved(self):
        row, = self.rows("--transport", "tcp", "--op", "read", "--timeline")
        timeline = row["timeline"]
        self.assertEqual(len(timeline["channel_bytes"]), 18)
        self.assertEqual(len(timeline["port_bytes"]), 9)
        self.assertEqual(timeline["t_ms"], sorted(timeline["t_ms"]))
        # 2 repeats of 8 MiB.
        self.assertEqual(sum(one[-1] for one in timeline["channel_bytes"]), 16 << 20)
        self.assertGreaterEqual(sum(one[-1] for one in timeline["port_bytes"]), 16 << 20)

    def test_a_report_is_made_at_once_or_from_the_result_later(self):
        at_once, later, result = (self.folder / name for name in ("a.html", "b.html", "r.json"))
        out = self.run_program(*SMALL, "--transport", "tcp", "--timeline", "--json", "--report",
                               str(at_once), status=OK).stdout
        result.write_bytes(out)
        self.run_program("bench", "report", str(result), "--output", str(later), status=OK)
        self.assertEqual(at_once.read_text(), later.read_text())
        for plot in ("timeline-channel_bytes-real-read", "efficiency-sockets"):
            self.assertIn(f'data-plot="{plot}"', later.read_text())

    def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(self):
        for path, status, word in (("/nowhere/a.html", FAILURE, "/nowhere/a.html"),
                                   (str(self.folder), USAGE, "folder"),
                                   ("-", USAGE, "standard output")):
            self.assert_fails([*SMALL, "--report", path], status, word)

    def test_a_report_destroys_nothing(self):
        result, report = self.folder / "r.json", self.folder / "r.html"
        text = json.dumps({"schema": "godbox-bench-1", "rows": []})
        result.write_text(text)
        make = ["bench", "report", str(result), "--output"]
        link, hard = self.folder / "link", self.folder / "hard"
        link.symlink_to(result)
        hard.hardlink_to(result)
        for path in (result, link, hard, self.folder / "." / "r.json"):
            self.assert_fails([*make, str(path)], USAGE, "--output", str(path))
        self.assertEqual(result.read_text(), text)
        # What lies beside it is another's; a link is written through.
        beside = self.folder / "r.html.part"
        beside.write_text("mine")
        elsewhere = self.folder / "elsewhere.html"
        report.symlink_to(elsewhere)
        self.run_program(*make, str(report), status=OK)
        self.assertEqual(beside.read_text(), "mine")
        self.assertTrue(report.is_symlink())
        self.assertIn("</html>", elsewhere.read_text())
        # A report that is there keeps its mode.
        elsewhere.chmod(0o600)
        self.run_program(*make, str(elsewhere), status=OK)
        self.assertEqual(elsewhere.stat().st_mode & 0o777, 0o600)
        self.assertEqual(len(list(self.folder.iterdir())), 6)

    def compare(self, a, b, *options, status):
        paths = []
        for name, text in (("a.json", a), ("b.json", b)):
            path = self.folder / name
            path.write_text(text if isinstance(text, str) else json.dumps(text))
            paths.append(str(path))
        return self.run_program("bench", "compare", *paths, *options, status=status)

    def test_two_results_are_compared_row_by_row(self):
        a = self.run_json(*SMALL, "--transport", "tcp")
        self.compare(a, a, status=OK)
        b = json.loads(json.dumps(a))
        b["rows"][0]["gb_per_s_median"] *= 0.85
        ended = self.compare(a, b, status=WORSE)
        self.assertIn(b"1 of 2 rows are worse", ended.stderr)
        self.compare(a, b, "--threshold", "20", status=OK)
        self.compare(b, a, status=OK)
        document = json.loads(self.compare(a, b, "--json", status=WORSE).stdout)
        self.assertEqual((document["schema"], document["worse"]), ("godbox-compare-1", 1))
        self.assertEqual([(row["figure"], row["verdict"], row["threshold"])
                          for row in document["rows"]],
                         [("gb_per_s_median", "worse", 0.1), ("p99_us", "same", 0.5),
                          ("gb_per_s_median", "same", 0.1), ("p99_us", "same", 0.5)])
        self.assertAlmostEqual(document["rows"][0]["ratio"], 0.85, places=3)
        # A tail alone fails where it takes more than twice as long.
        for factor, status in ((1.9, OK), (2.1, WORSE)):
            b = json.loads(json.dumps(a))
            b["rows"][0]["p99_us"] *= factor
            self.compare(a, b, status=status)
        document = json.loads(self.compare(a, b, "--json", status=WORSE).stdout)
        self.assertEqual((document["worse"], document["beside"]["worse"]), (0, 1))

    def test_boxes_of_other_settings_are_other_subjects(self):
        paced = [*SMALL, "--mode", "paced", "--time-scale", "5000", "--op", "read"]
        a = self.run_json(*paced)
        b = self.run_json(*paced, "--set", "link.lanes=4", "--port-rate", "50GB/s")
        row, = b["rows"]
        self.assertEqual((row["device_settings"], row["port_rate_gbit_per_s"]),
                         (["link.lanes=4"], 400))
        for field in ("device_settings", "port_rate_gbit_per_s"):
            self.assertIsNone(a["rows"][0][field])
        ended = self.compare(a, b, status=WORSE)
        self.assertIn(b"1 of A's are not in B", ended.stderr)
        self.assertIn(b"link.lanes=4", ended.stdout)
        self.compare(b, b, status=OK)

    def test_a_row_that_is_gone_or_stalled_is_no_pass(self):
        row = {"workload": "block", "kind": "real", "gb_per_s_median": 2.0}
        two = {"schema": "godbox-bench-1", "rows": [row, {**row, "ports": 4}]}
        one = {**two, "rows": [row]}
        self.assertIn(b"1 of A's are not in B", self.compare(two, one, status=WORSE).stderr)
        document = json.loads(self.compare(two, one, "--json", status=WORSE).stdout)
        self.assertEqual((document["only_in_a"], document["only_in_b"]), (1, 0))
        none = {**one, "rows": [{**row, "ports": 8}]}
        self.assertIn(b"2 of A's are not in B", self.compare(two, none, status=WORSE).stderr)
        self.compare(one, two, status=OK)
        stalled = {**two, "rows": [row, {**row, "ports": 4, "gb_per_s_median": 0}]}
        self.assertIn(b"gb_per_s_median is 0", self.compare(two, stalled, status=USAGE).stderr)
        slow = {**one, "rows": [{**row, "gb_per_s_median": 0.2}]}
        self.assertIn(b"--threshold",
                      self.compare(one, slow, "--threshold", "nan", status=USAGE).stderr)
        debug = {**one, "build_type": "Debug"}
        self.assertIn(b"build_type", self.compare(one, debug, status=USAGE).stderr)
        self.compare(one, debug, "--force", status=OK)

    def test_what_cannot_be_compared_is_refused(self):
        a = {"schema": "godbox-bench-1", "rows": []}
        for b, word in ((a, b"no row of one subject"), ("{", b"b.json"), ("[]", b"b.json"),
                        ({"schema": "x", "rows": []}, b"schema")):
            self.assertIn(word, self.compare(a, b, status=USAGE).stderr)
        self.run_program("bench", "compare", "/nowhere.json", "/nowhere.json", status=FAILURE)
        self.assert_fails(["bench", "compare", "/dev/zero", "/dev/zero"], USAGE, "/dev/zero",
                          "67108864")

    def test_a_suite_refuses_what_it_chooses_itself(self):
        for options, word in ((["--suite", "slow"], b"slow"),
                              (["--suite", "quick", "--sizes", "1MiB"], b"--sizes"),
                              (["--suite", "quick", "--target", "numa"], b"--target")):
            self.assertIn(word, self.run_program("bench", *options, status=USAGE).stderr)

    def test_new_workloads_refuse_what_they_cannot_do(self):
        for options, word in (
                (["--workload", "scatter", "--pieces", "30208", "--working-set", "64MiB"],
                 b"--pieces"),
                (["--workload", "layers", "--layers", "80", "--working-set", "1MiB"], b"--layers"),
                (["--workload", "layers", "--op", "write"], b"--op"),
                (["--workload", "mixed", "--transport", "local"], b"--transport"),
                (["--workload", "mixed", "--working-set", "59MiB"], b"60 MiB"),
                (["--workload", "lookup", "--objects", "1..100000000"], b"4096"),
                (["--workload", "odd-sizes", "--sizes", "1MiB"], b"--sizes"),
                (["--workload", "remote-page", "--mode", "paced"], b"--mode"),
                (["--workload", "block", "--pieces", "3"], b"--pieces")):
            self.assertIn(word, self.run_program("bench", *options, status=USAGE).stderr)


if __name__ == "__main__":
    unittest.main()
