#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that scripts/check_figures.py tells a figure that holds from one that misses its bar."""

import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import check_figures  # noqa: E402

BLOCK = {"workload": "block", "transport": "tcp", "op": "read", "size_bytes": 1 << 20,
         "temperature": "cold"}


def misses(judge, rows):
    return [figure.what for figure in judge(rows) if not figure.holds]


class FiguresTest(unittest.TestCase):
    def test_local_blocks_have_a_bar_with_and_one_without_crc(self):
        rows = [{**BLOCK, "crc": True, "efficiency": 0.85}, {**BLOCK, "crc": False,
                                                            "efficiency": 0.85}]
        self.assertEqual(len(misses(check_figures.judge_local, rows)), 1)
        self.assertIn("CRC off", misses(check_figures.judge_local, rows)[0])

    def tcp_rows(self, widest_gb_per_s, widest_ceiling):
        figures = {1: (2.0, 2.2), 2: (3.0, 3.3), 4: (2.9, 3.2),
                   9: (widest_gb_per_s, widest_ceiling)}
        return [{**BLOCK, "ports": ports, "efficiency": 0.9, "gb_per_s_median": rate,
                 "ceiling_gb_per_s": ceiling} for ports, (rate, ceiling) in figures.items()]

    def test_nine_ports_may_lose_what_the_sockets_lose_too(self):
        self.assertEqual(misses(check_figures.judge_tcp, self.tcp_rows(2.0, 2.2)), [])
        missed = misses(check_figures.judge_tcp, self.tcp_rows(2.0, 3.3))
        self.assertEqual(len(missed), 1)
        self.assertIn("9 ports over 2", missed[0])

    def test_tcp_beside_raw_sockets(self):
        rows = self.tcp_rows(3.0, 3.3)
        rows[1]["efficiency"] = 0.84
        self.assertEqual(len(misses(check_figures.judge_tcp, rows)), 1)

    def test_lookups(self):
        def rows(few_us, many_us, index_bytes):
            return [{"keys": 1000, "objects": objects, "pattern": "all_present", "p50_us": us,
                     "index_bytes_per_object": index_bytes}
                    for objects, us in ((10_000, few_us), (10_000_000, many_us))]
        self.assertEqual(misses(check_figures.judge_lookup, rows(300, 550, 290)), [])
        self.assertEqual(len(misses(check_figures.judge_lookup, rows(300, 650, 290))), 1)
        self.assertEqual(len(misses(check_figures.judge_lookup, rows(900, 1100, 290))), 1)
        self.assertEqual(len(misses(check_figures.judge_lookup, rows(300, 550, 310))), 1)

    def test_balance(self):
        row = {**BLOCK, "channels": 18, "block_imbalance_max": 1.04, "channel_imbalance": 1.06}
        self.assertEqual(len(misses(check_figures.judge_balance, [row])), 1)

    def test_scattered_pieces_beside_blocks(self):
        row = {**BLOCK, "workload": "scatter", "pieces": 30208}
        self.assertEqual(misses(check_figures.judge_scatter, [{**row, "of_block_rate": 0.71}]), [])
        self.assertEqual(len(misses(check_figures.judge_scatter, [{**row, "of_block_rate": 0.69}])),
                         1)

    def test_one_page_beside_a_ping_pong(self):
        row = {**BLOCK, "workload": "remote-page", "ping_pong_p50_us": 7.0}
        self.assertEqual(misses(check_figures.judge_page, [{**row, "of_ping_pong_p50": 1.29}]), [])
        self.assertEqual(len(misses(check_figures.judge_page, [{**row, "of_ping_pong_p50": 1.31}])),
                         1)

    def test_rdma_beside_memcpy(self):
        block = {"op": "read", "size_bytes": 1 << 20, "temperature": "cold",
                 "requests_per_s_median": 4000.0, "of_ceiling_median": 0.61}
        small = {**block, "size_bytes": 64, "requests_per_s_median": 1.1e6,
                 "of_ceiling_median": 0.01}
        self.assertEqual(misses(check_figures.judge_roce, [block, small]), [])
        slow = [{**block, "op": "write", "of_ceiling_median": 0.59},
                {**small, "requests_per_s_median": 0.9e6}]
        self.assertEqual(len(misses(check_figures.judge_roce, slow)), 2)

    def test_a_handover_has_its_bars(self):
        row = {"layer_ms": 10, "ratio": 1.1, "layers_out_of_order": 0}
        judge = check_figures.judge_handover
        self.assertEqual(misses(judge, [row]), [])
        self.assertEqual(len(misses(judge, [{**row, "ratio": 1.21}])), 1)
        self.assertEqual(len(misses(judge, [{**row, "layers_out_of_order": 1}])), 1)
        killed = {"status": "not_found", "seconds": 0.1, "afterwards": "not_found",
                  "bytes_checked": 8}
        self.assertEqual(misses(judge, [killed]), [])
        self.assertEqual(len(misses(judge, [{**killed, "status": "ok"}])), 1)
        self.assertEqual(len(misses(judge, [{**killed, "seconds": 6}])), 1)
        self.assertEqual(len(misses(judge, [{**killed, "bytes_checked": 0}])), 1)

    def test_peers_have_bars_by_size(self):
        row = {"contestant": "redis-benchmark", "op": "get", "threads": 1, "temperature": "cold",
               "godbox_times": 1.4, "server_cpu_times": 2.5}
        judge = check_figures.judge_peers
        self.assertEqual(misses(judge, [{**row, "size_bytes": 64 << 10}]), [])
        self.assertEqual(len(misses(judge, [{**row, "size_bytes": 1 << 20}])), 1)
        cpu = misses(judge, [{**row, "size_bytes": 64 << 10, "server_cpu_times": 1.9}])
        self.assertEqual(len(cpu), 1)
        self.assertIn("server's CPU", cpu[0])
        memcached = {**row, "contestant": "memcached", "size_bytes": 512 << 10}
        self.assertEqual(misses(judge, [memcached]), [])
        self.assertEqual(len(misses(judge, [{**memcached, "godbox_times": 0.9}])), 1)
        ucx = {**row, "contestant": "ucx", "op": "read", "size_bytes": 1 << 20}
        self.assertEqual(len(misses(judge, [{**ucx, "godbox_times": 2.9}])), 1)
        self.assertEqual(misses(judge, [{**ucx, "godbox_times": 3.1}]), [])
        self.assertEqual(list(judge([{**row, "contestant": "godbox", "size_bytes": 1 << 20,
                                      "godbox_times": None}])), [])

    def test_hit_shares_miss_on_either_side(self):
        judge = check_figures.judge_hits_of("synthetic")
        for share, count in ((0.43, 0), (0.42, 0), (0.435, 1), (0.41, 1)):
            row = {"unbounded": False, "pool_blocks": 10000, "prefix_hit_share": share}
            self.assertEqual(len(misses(judge, [row])), count, share)
        row = {"unbounded": True, "pool_blocks": 43000, "prefix_hit_share": 0.62}
        self.assertIn("no bound", misses(judge, [row])[0])
        with self.assertRaises(KeyError):
            list(judge([{"unbounded": False, "pool_blocks": 77, "prefix_hit_share": 0.4}]))

    def test_hit_shares_of_the_published_trace_have_a_narrower_bar(self):
        row = {"unbounded": False, "pool_blocks": 10000, "prefix_hit_share": 0.2175}
        self.assertEqual(misses(check_figures.judge_hits_of("conversation"), [row]), [])
        groups = check_figures.groups_of(Path("trace.jsonl"))
        self.assertEqual(len(misses(groups["trace"].judge, [row])), 1)
        self.assertEqual(misses(groups["trace"].judge, [{**row, "prefix_hit_share": 0.2155}]), [])
        for name in ("trace", "trace-whole"):
            self.assertEqual(groups[name].options[0], "trace.jsonl")
            self.assertNotIn(name, check_figures.groups_of(None))

    def test_published_hit_shares_are_those_of_the_generators_test(self):
        source = (ROOT / "tests/unit/apps/replay/generator_test.cpp").read_text()
        lists = [[float(share) for share in found.split(",")]
                 for found in re.findall(r"\{([\d., ]+)\}\}[,}]", source)]
        self.assertEqual(lists, [list(shares.values())
                                 for shares in check_figures.HIT_SHARE_PERCENT.values()])

    def test_whole_blocks_are_moved_and_balanced(self):
        row = {"requests": 300, "block_bytes": 160 << 20, "block_imbalance_max": 1.04,
               "channel_imbalance": 1.04, "bytes_read": 1, "refused_puts": 0, "lost_hits": 0}
        judge = check_figures.judge_whole_blocks
        self.assertEqual(misses(judge, [row]), [])
        for change in ({"block_imbalance_max": 1.06}, {"channel_imbalance": 1.06},
                       {"bytes_read": 0}, {"refused_puts": 1}, {"lost_hits": 1},
                       {"requests": 299}):
            self.assertEqual(len(misses(judge, [{**row, **change}])), 1, change)
        with self.assertRaises(ValueError):  # nothing was moved
            list(judge([{**row, "channel_imbalance": None}]))

    def port_fault_row(self, **changes):
        return {"ports": 9, "fault": "dead", "efficiency": 0.85, "half_load_p99_factor": 1.9,
                "recovery_s_max": 0.9, "healed_share": 0.96, **changes}

    def test_each_cost_of_a_faulty_port_has_a_bar(self):
        judge = check_figures.judge_port_fault
        self.assertEqual(misses(judge, [self.port_fault_row()]), [])
        for change in ({"efficiency": 0.84}, {"half_load_p99_factor": 2.1},
                       {"recovery_s_max": 1.1}, {"healed_share": 0.94}):
            self.assertEqual(len(misses(judge, [self.port_fault_row(**change)])), 1, change)

    def test_of_36_ports_one_may_cost_two_per_cent_more_than_its_share(self):
        for share, count in ((0.953, 0), (0.951, 1)):
            rows = [self.port_fault_row(ports=36, efficiency=share)]
            self.assertEqual(len(misses(check_figures.judge_port_fault, rows)), count, share)

    def test_many_hosts_are_served_alike_and_no_slower_than_one(self):
        row = {"hosts": 8, "size_bytes": 160 << 20, "jain_min": 0.96,
               "aggregate_over_best_host": 0.91}
        self.assertEqual(misses(check_figures.judge_incast, [row]), [])
        for change in ({"jain_min": 0.94}, {"aggregate_over_best_host": 0.89}):
            self.assertEqual(len(misses(check_figures.judge_incast, [{**row, **change}])), 1)

    def test_emulated_figures_miss_on_either_side(self):
        for error, count in ((4.9, 0), (-4.9, 0), (5.1, 1), (-5.1, 1)):
            row = {"op": "read", "sweep": "channels", "channels": 28, "ports": 9,
                   "proportionality_error_percent": error}
            self.assertEqual(len(misses(check_figures.judge_scaling, [row])), count, error)
        for efficiency, count in ((0.96, 0), (1.04, 0), (0.94, 1), (1.06, 1)):
            row = {**BLOCK, "efficiency": efficiency}
            self.assertEqual(len(misses(check_figures.judge_one_channel, [row])), count)

    def test_paced_traffic_follows_the_model_on_either_side(self):
        row = {"part": "throughput", "traffic": "2:1", "channels": 28, "efficiency": 1}
        slow = {**row, "part": "slow-channel", "fault": "slow:10%"}
        for efficiency, count in ((0.951, 0), (1.049, 0), (0.949, 1), (1.051, 1)):
            for one in (row, slow):
                rows = [{**one, "efficiency": efficiency}]
                self.assertEqual(len(misses(check_figures.judge_paced, rows)), count, efficiency)
        for ratio, count in ((0.81, 0), (1.19, 0), (0.79, 1), (1.21, 1)):
            small = {"part": "small-reads", "size_bytes": 4096, "channels": 9,
                     "of_modelled_p99": ratio}
            self.assertEqual(len(misses(check_figures.judge_paced, [small])), count, ratio)


if __name__ == "__main__":
    unittest.main()
