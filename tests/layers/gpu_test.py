#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/gpu says "ok" of a bar that was reached on a GPU, and of nothing else."""

import importlib.machinery
import importlib.util
import sys
import tempfile
import types
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
_loader = importlib.machinery.SourceFileLoader("gpu", str(ROOT / "scripts/gpu"))
gpu = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu", _loader))
_loader.exec_module(gpu)


def page_row(op, efficiency=0.95, **more):
    return {"workload": "device-pages", "model": "llama-3.1-70b", "transport": "local", "op": op,
            "crc": True, "efficiency": efficiency, "wrong_bytes": 0, "layer_0_share": 0.02,
            "path_asked": "direct", "path": "mapped-device", "pool_memory": "memfd", **more}


def kernel_row(op, crc, efficiency=0.9, **more):
    return {"workload": "device-kernel", "model": "llama-3.1-8b", "op": op, "crc": crc,
            "efficiency": efficiency, "wrong_bytes": 0,
            **({"crc_cost_percent": 2.0} if crc else {}), **more}


def good_bench():
    return [page_row("read"), page_row("write"),
            *(kernel_row(op, crc) for op in ("read", "write") for crc in (True, False)),
            *(page_row(op, pool_memory="hugetlbfs") for op in ("read", "write")),
            *(page_row(op, path_asked="staged", path="staged over local")
              for op in ("read", "write"))]


def first_token_row(**more):
    return {"cache": "whole", "tokens": 32768, "hit_percent": 90, "of_recompute": 0.2,
            "problems": [], **more}


def bars_of(bench, ttft, is_gpu=True, path="mapped-device"):
    bars = gpu.Bars(is_gpu)
    gpu.judge_bench(bars, {"rows": bench} if bench is not None else None)
    gpu.judge_ttft(bars, {"rows": ttft, **({"data_path": path} if ttft else {})}
                   if ttft is not None else None)
    return bars.rows


class BarsTest(unittest.TestCase):
    def missed(self, bench, ttft):
        return [row["what"] for row in bars_of(bench, ttft) if row["result"] == gpu.MISS]

    def test_all_reached_is_ok(self):
        results = {row["result"] for row in bars_of(good_bench(), [first_token_row()])}
        self.assertEqual(results, {gpu.OK})

    def test_a_staged_first_token_is_missed(self):
        rows = bars_of(good_bench(), [first_token_row()], path="staged over local: too large")
        missed = [row["what"] for row in rows if row["result"] == gpu.MISS]
        self.assertEqual(missed, ["first token: the pool is reached directly"])

    def test_nothing_measured_is_not_run(self):
        for bench, ttft in ((None, None), ([], [])):
            results = {row["result"] for row in bars_of(bench, ttft)}
            self.assertEqual(results, {gpu.NOT_RUN})

    def test_a_host_reaches_no_bar(self):
        rows = bars_of(good_bench(), [first_token_row()], is_gpu=False)
        self.assertEqual({row["result"] for row in rows}, {gpu.NOT_RUN})

    def test_each_bar_can_be_missed(self):
        for change, word in (
                (lambda rows: rows[0].update(efficiency=0.89), "pool to GPU"),
                (lambda rows: rows[1].update(efficiency=0.89), "GPU to pool"),
                (lambda rows: rows[6].update(efficiency=0.89), "hugetlbfs"),
                (lambda rows: rows[8].update(efficiency=0.89), "staged"),
                (lambda rows: rows[1].update(path="staged over local: 9 GiB"), "were staged"),
                (lambda rows: rows[0].update(layer_0_share=0.026), "layer 0"),
                (lambda rows: rows[1].update(wrong_bytes=1), "came back wrong"),
                (lambda rows: rows[2].update(efficiency=0.79), "unpack"),
                (lambda rows: rows[4].update(efficiency=0.79), "pack kernel"),
                (lambda rows: rows[2].update(wrong_bytes=65536), "CRCs"),
                (lambda rows: rows[4].update(crc_cost_percent=5.1), "CRC costs")):
            rows = good_bench()
            change(rows)
            missed = self.missed(rows, [first_token_row()])
            self.assertEqual(len(missed), 1, missed)
            self.assertIn(word, missed[0])

    def test_the_worst_row_counts(self):
        rows = [*good_bench(), kernel_row("read", False, model="deepseek-v3", efficiency=0.5)]
        self.assertEqual(len(self.missed(rows, [first_token_row()])), 1)

    def test_the_first_token_has_a_bar_and_may_not_be_wrong(self):
        for row, word in ((first_token_row(of_recompute=0.26), "first token"),
                          (first_token_row(problems=["another first token"]), "logits")):
            missed = self.missed(good_bench(), [row])
            self.assertEqual(len(missed), 1, missed)
            self.assertIn(word, missed[0])
        other = bars_of(good_bench(), [first_token_row(tokens=8192)])
        self.assertIn(gpu.NOT_RUN, {row["result"] for row in other})


class RunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="godbox-gpu-")
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name) / "out"
        self.run_ = gpu.Run(self.out)
        self.addCleanup(setattr, sys, "stdout", sys.stdout)
        sys.stdout = open("/dev/null", "w", encoding="utf-8")
        self.addCleanup(sys.stdout.close)

    def test_a_step_that_fails_or_overruns_says_why(self):
        self.assertTrue(self.run_.step("good", 10, ["true"]))
        self.assertFalse(self.run_.step("bad", 10, ["sh", "-c", "echo reason; exit 3"]))
        self.assertFalse(self.run_.step("slow", 2, ["sleep", "60"]))
        self.assertFalse(self.run_.step("none", 10, ["/no/such/program"]))
        whys = [(step["result"], step["why"]) for step in self.run_.steps]
        self.assertEqual(whys[0], (gpu.OK, ""))
        self.assertEqual(whys[1], ("FAILED", "exit status 3"))
        self.assertIn("over its limit", whys[2][1])
        self.assertEqual(whys[3][0], gpu.NOT_RUN)
        self.assertEqual((self.out / "bad.log").read_text(), "reason\n")

    def test_a_tool_that_refuses_the_device_was_not_run(self):
        script = 'echo "========= Error: Device not supported."; exit 1'
        self.assertFalse(self.run_.step("tool", 10, ["sh", "-c", script], refused=gpu.REFUSED))
        self.assertFalse(self.run_.step("bad", 10, ["sh", "-c", "echo ERROR SUMMARY: 1; exit 9"],
                                        refused=gpu.REFUSED))
        self.assertEqual([step["result"] for step in self.run_.steps], [gpu.NOT_RUN, "FAILED"])
        self.assertIn("Device not supported", self.run_.steps[0]["why"])

    def test_all_steps_at_their_limits_fit(self):
        self.assertLessEqual(sum(gpu.LIMITS_S.values()), gpu.TOTAL_S)

    def test_the_best_of_a_sweep_is_direct_and_by_direction(self):
        rows = [page_row("read", gb_per_s_median=2.0), page_row("write", gb_per_s_median=1.0)]
        found = gpu.sweep_rows({"rows": rows}, "N", 16)
        rows[0].update(gb_per_s_median=3.0)
        rows[1].update(gb_per_s_median=9.0, path="staged over local: no")
        found += gpu.sweep_rows({"rows": rows}, "N", 32)
        best = {one["op"]: one["value"] for one in gpu.best_of_sweep(found)}
        self.assertEqual(best, {"read": 32, "write": 16})
        self.assertEqual(gpu.sweep_rows(None, "N", 64), [])

    def test_no_step_begins_when_the_time_is_over(self):
        self.run_.begin -= gpu.TOTAL_S
        self.assertFalse(self.run_.step("late", 10, ["true"]))
        self.assertEqual(self.run_.steps[0]["result"], gpu.NOT_RUN)

    def test_tests_that_failed_miss_their_bar_and_absent_ones_are_not_run(self):
        options = types.SimpleNamespace(device="cuda", rehearse=False)
        self.assertEqual(gpu.judge(self.run_, options).rows[0]["result"], gpu.NOT_RUN)
        (self.out / "tests.log").write_text("97% tests passed, 1 tests failed out of 30\n")
        self.run_.steps.append({"name": "tests", "result": "FAILED", "why": "exit status 8"})
        row = gpu.judge(self.run_, options).rows[0]
        self.assertEqual((row["result"], row["value"]), (gpu.MISS, 1))

    def test_the_driver_of_the_tests_is_no_gpu(self):
        options = types.SimpleNamespace(device="cuda", rehearse=False)
        for name, expected in (("NVIDIA H200, driver 12.8", True),
                               ("fake GPU (kernels on the CPU), driver 13.0", False)):
            bench = {"rows": [{"device": name}]}
            self.assertEqual(gpu.is_real_gpu(options, bench), expected, name)

    def test_results_are_apart_from_what_is_said_beside_them(self):
        script = 'echo "busy" >&2; echo \'{"rows": [1]}\''
        self.assertTrue(self.run_.step("bench", 10, ["sh", "-c", script], result="bench.json"))
        self.assertEqual(gpu.document_of(self.out / "bench.json"), {"rows": [1]})
        self.assertEqual((self.out / "bench.log").read_text(), "busy\n")
        self.assertIsNone(gpu.document_of(self.out / "bench.log"))


if __name__ == "__main__":
    unittest.main()
