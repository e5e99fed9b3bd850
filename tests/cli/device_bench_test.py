# SPDX-License-Identifier: Apache-2.0
"""`godbox bench --device`: pages in the memory of a device. Here that is the host's own, and each
row has to say so."""

import json
import os
import subprocess
import unittest

from bench_rows import BenchRowsTest
from program import FAILURE, PROGRAM, USAGE

SMALL = ["bench", "--device", "host", "--working-set", "4MiB", "--repeats", "2"]


def has_gpu():
    return any(name.startswith("nvidia") and name[6:].isdecimal() for name in os.listdir("/dev"))


class DeviceBenchTest(BenchRowsTest):
    def device_rows(self, *options):
        return self.rows(*options, small=SMALL)

    def of(self, rows, workload, **fields):
        return [row for row in rows if row["workload"] == workload and
                all(row.get(key) == value for key, value in fields.items())]

    def test_every_row_names_its_device(self):
        for row in self.device_rows("--models", "llama-3.1-8b"):
            self.assertEqual((row["kind"], row["device_kind"]), ("real", "host"))
            self.assertIn("no GPU", row["device"])
            self.assertEqual(row["model"], "llama-3.1-8b")
            self.assertGreater(row["efficiency"], 0)
            self.assertEqual(row["repeats"], 2)

    def test_kernels_pack_and_unpack_what_the_processor_checks(self):
        rows = self.device_rows("--models", "llama-3.1-8b,deepseek-v3", "--transport", "local")
        for model, layers, page in (("llama-3.1-8b", 32, 64 << 10), ("deepseek-v3", 61, 18 << 10)):
            kernels = self.of(rows, "device-kernel", model=model)
            self.assertEqual({(row["op"], row["crc"]) for row in kernels},
                             {(op, crc) for op in ("read", "write") for crc in (True, False)})
            for row in kernels:
                self.assertEqual((row["layers"], row["page_bytes"]), (layers, page))
                self.assertEqual(row["ceiling"], "device-copy")
                self.assertEqual(row["working_set_bytes"], row["blocks"] * layers * page)
                self.assertGreaterEqual(row["bytes_checked"], row["working_set_bytes"])
                self.assertEqual("crc_cost_percent" in row, row["crc"])

    def test_pages_go_to_the_pool_and_back_over_each_path(self):
        rows = self.device_rows("--models", "llama-3.1-8b", "--crc", "on")
        pages = self.of(rows, "device-pages")
        paths = {(row["transport"], row["path"], row["op"]) for row in pages}
        self.assertEqual({one[0] for one in paths}, {"local", "tcp"})
        for op in ("read", "write"):
            self.assertIn(("local", "mapped-device", op), paths)
            asked = {row["path_asked"] for row in pages if row["path"] == "mapped-device"}
            self.assertEqual(asked, {"direct"})
            self.assertIn(("local", "staged over local", op), paths)
            self.assertIn(("tcp", "staged over tcp", op), paths)
        for row in pages:
            self.assertEqual(row["ceiling"], "pinned-copy")
            self.assertEqual((row["pool_memory"], row["pool_page_bytes"]),
                             ("memfd", os.sysconf("SC_PAGE_SIZE")))
            self.assertGreaterEqual(row["pool_bytes"], 3 * row["working_set_bytes"])
            self.assertGreater(row["start_seconds"], 0)
            self.assertGreaterEqual(row["bytes_checked"], row["working_set_bytes"])
            if row["op"] == "read":
                self.assertLessEqual(row["layer_0_us"], row["last_layer_us"])
                self.assertGreater(row["layer_0_share"], 0)

    def test_one_path_alone(self):
        for path, start in (("direct", "mapped-device"), ("staged", "staged over local")):
            rows = self.device_rows("--models", "llama-3.1-8b", "--crc", "on", "--transport",
                                    "local", "--path", path)
            paths = {row["path"] for row in self.of(rows, "device-pages")}
            self.assertEqual(paths, {start})

    def test_a_timeline_has_kernels_copies_and_layers(self):
        report = self.folder / "report.html"
        rows = self.device_rows("--models", "llama-3.1-8b", "--transport", "tcp", "--crc", "on",
                                "--timeline", "--report", report)
        for row in self.of(rows, "device-pages"):
            timeline = row["device_timeline"]
            self.assertEqual({span[0] for span in timeline["spans"]}, {"kernel", "copy"})
            for _, _, begin, end, size in timeline["spans"]:
                self.assertLessEqual(begin, end)
                self.assertGreater(size, 0)
            ports = timeline["ports"]
            self.assertEqual(len(ports["bytes"]), row["ports"])
            self.assertGreaterEqual(sum(one[-1] for one in ports["bytes"]),
                                    row["working_set_bytes"])
            if row["op"] == "read":
                self.assertEqual(len(timeline["layers_ms"]), row["layers"])
        text = report.read_text()
        for name in ("device-kernel", "device-pages", "device-timeline-0", "layers in place",
                     "lanes"):
            self.assertIn(name, text)

    def test_auto_says_what_it_took(self):
        result = subprocess.run(
            [PROGRAM, "bench", "--device", "auto", "--models", "llama-3.1-8b", "--working-set",
             "2MiB", "--repeats", "1", "--transport", "local", "--crc", "on", "--json"],
            capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("auto took", result.stderr)
        for row in json.loads(result.stdout)["rows"]:
            self.assertIn(row["device_kind"], ("host", "cuda"))

    @unittest.skipIf(has_gpu(), "this machine has a GPU")
    def test_a_gpu_that_is_asked_for_and_absent_is_an_error(self):
        self.assert_fails(["bench", "--device", "cuda"], FAILURE, "--device cuda", "device_missing")

    def test_wrong_options_are_refused_by_name(self):
        for options, word in (
                (["--device", "tpu"], "auto, host, cuda"),
                (["--models", "llama-3.1-8b"], "--device"),
                (["--path", "direct"], "--device"),
                (["--hugetlbfs", "/"], "--device"),
                (["--device", "host", "--path", "round"], "--path"),
                (["--device", "host", "--hugetlbfs", "/no/such"], "/no/such"),
                (["--device", "host", "--models", "llama-9"], "llama-9"),
                (["--device", "host", "--models", ""], "--models"),
                (["--device", "host", "--ports", "3"], "--ports"),
                (["--device", "host", "--sizes", "1MiB"], "--sizes"),
                (["--device", "host", "--workload", "page"], "--workload"),
                (["--device", "host", "--target", "numa"], "--target"),
                (["--device", "host", "--mode", "paced"], "--mode"),
                (["--device", "host", "--transport", "pigeon"], "--transport"),
                (["--device", "host", "--working-set", "1MiB,2MiB"], "--working-set")):
            self.assert_fails(["bench", *options], USAGE, word)


if __name__ == "__main__":
    unittest.main()
