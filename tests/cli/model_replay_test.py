# SPDX-License-Identifier: Apache-2.0
import json
import time
import unittest

from program import FAILURE, NOT_FOUND, USAGE, ProgramTest

BLOCK_BYTES = 160 << 20  # 512 tokens of Llama-3.1-70B in bf16
CHANNELS = 18
PORTS = 36


def operations(fresh, cached):
    """Llama-3.1-70B: 70.6 billion parameters, 80 layers of 64 heads of 128 elements."""
    pairs = fresh * cached + fresh * (fresh + 1) / 2
    return 2 * 70.6e9 * fresh + 2 * 80 * 64 * 256 * pairs


class ModelReplayTest(ProgramTest):
    def replay(self, *options):
        return self.run_json("model", "replay", *options)

    def trace(self, *requests):
        """A file with (milliseconds, tokens, blocks) a line."""
        path = self.folder / "trace.jsonl"
        path.write_text("".join(
            json.dumps({"timestamp": at, "input_length": tokens, "output_length": 1,
                        "hash_ids": blocks}) + "\n" for at, tokens, blocks in requests))
        return path

    def test_two_turns_of_one_chat_are_what_one_computes_by_hand(self):
        first, second = list(range(10)), list(range(14))
        trace = self.trace((0, 5120, first), (60_000, 7168, second))
        document = self.replay(trace, "--hosts", "1")
        self.assertEqual((document["schema"], document["kind"]),
                         ("godbox-model-replay-1", "modelled"))
        self.assertEqual(document["prefix_hits"], 10)
        self.assertEqual(document["puts"], 14)
        self.assertEqual(document["bytes_read"], 10 * BLOCK_BYTES)
        self.assertEqual(document["bytes_written"], 14 * BLOCK_BYTES)
        rate = 8 * 400e12
        figures = document["figures"]
        # 10 blocks over 18 links of 26.3 GB/s.
        read_s = figures["load_p50_s"]
        self.assertAlmostEqual(read_s, 10 * BLOCK_BYTES / 474.5e9, delta=0.03 * read_s)
        without = operations(5120, 0) / rate, operations(7168, 0) / rate
        self.assertAlmostEqual(figures["recomputed_mean_s"], sum(without) / 2, delta=1e-5)
        with_pool = operations(2048, 5120) / rate + read_s
        self.assertAlmostEqual(figures["first_token_mean_s"], (without[0] + with_pool) / 2,
                               delta=1e-5)
        self.assertAlmostEqual(figures["first_token_saved_share"],
                               1 - (without[0] + with_pool) / sum(without), delta=1e-4)

    def test_each_request_is_bound_by_what_takes_it_longest(self):
        # The first computes, the second stands behind it, the third reads more than it computes.
        blocks = list(range(40))
        trace = self.trace((0, 20480, blocks), (1, 512, [99]), (3_600_000, 20480, blocks))
        slow = ("--hosts", "1", "--super-nics", "1", "--ports-per-super-nic", "1", "--port-gbit",
                "10")
        document = self.replay(trace, *slow)
        bounds = {(row["of"], row["name"]): row["requests"] for row in document["bottlenecks"]}
        self.assertEqual(bounds, {("first token", "GPUs of the hosts, computing"): 1,
                                  ("first token", "GPUs of the hosts, waited for"): 1,
                                  ("first token", "Ethernet port, read"): 1,
                                  ("put", "Ethernet port, write"): 2})
        read, = [row for row in document["bottlenecks"] if row["name"] == "Ethernet port, read"]
        self.assertGreater(read["p50_s"], document["figures"]["load_p50_s"])

    def test_a_host_takes_one_prompt_after_the_other(self):
        trace = self.trace(*[(0, 512, [i]) for i in range(4)])
        one, two, four = (self.replay(trace, "--hosts", n)["figures"]["first_token_mean_s"]
                          for n in (1, 2, 4))
        alone = operations(512, 0) / (8 * 400e12)
        self.assertAlmostEqual(four, alone, delta=1e-6)
        self.assertAlmostEqual(two, 1.5 * alone, delta=1e-6)
        self.assertAlmostEqual(one, 2.5 * alone, delta=1e-6)

    def test_a_pool_without_room_evicts_and_finds_nothing(self):
        # Two blocks that take turns in a pool of one.
        trace = self.trace(*[(60_000 * i, 512, [i % 2]) for i in range(6)])
        document = self.replay(trace, "--pool-size", "160MiB")
        self.assertEqual(document["box"]["pool_blocks"], 1)
        self.assertEqual((document["prefix_hits"], document["puts"], document["evictions"]),
                         (0, 6, 5))

    def test_every_byte_is_on_a_channel_and_went_through_a_port(self):
        document = self.replay("--generate", "conversation", "--requests", "300")
        moved = document["bytes_read"] + document["bytes_written"]
        self.assertGreater(document["bytes_read"], 0)
        self.assertEqual(sum(document["channel_bytes"]), moved)
        self.assertEqual(sum(document["second_bytes_read"]), document["bytes_read"])
        self.assertEqual(sum(document["second_bytes_written"]), document["bytes_written"])
        self.assertEqual(len(document["channel_bytes"]), CHANNELS)
        for flow in ("read", "written"):
            self.assertEqual(len(document[f"port_bytes_{flow}"]), PORTS)
            self.assertAlmostEqual(sum(document[f"port_bytes_{flow}"]) /
                                   document[f"bytes_{flow}"], 1, delta=1e-6)
        for stage in document["stages"]:
            self.assertTrue(0 <= stage["busy_share"] <= stage["busy_share_max"] * 1.001 <= 1.001)
        self.assertEqual(document["bound_by"], document["busy"][0]["name"])
        for of, count in (("first token", document["requests"]), ("put", None)):
            rows = [row for row in document["bottlenecks"] if row["of"] == of]
            self.assertTrue(rows)
            self.assertEqual(sum(row["requests"] for row in rows),
                             count or sum(row["requests"] for row in rows))
            for row in rows:
                self.assertTrue(0 < row["p50_s"] <= row["p99_s"] <= row["p999_s"], row)
        # What is claimed, as the documents have it: 22 times is 21 more, 525 % more is 5.25.
        self.assertEqual([(row["who"], row["what"], row["published_change"])
                          for row in document["published"]],
                         [("UCM", "first token", -0.9), ("UCM", "throughput", 21),
                          ("UCM, measured", "first token", -0.58),
                          ("Mooncake", "throughput", 5.25), ("Mooncake", "throughput", 0.75),
                          ("offload to SSDs", "first token", -0.66)])
        for row in document["published"]:
            self.assertTrue(row["assumes"] and row["source"] and row["modelled_for"], row)
        figures = document["figures"]
        for row in document["published"]:
            if row["modelled_for"].startswith("this trace"):
                modelled = (-figures["first_token_saved_share"] if row["what"] == "first token"
                            else figures["throughput_factor"] - 1)
                self.assertAlmostEqual(row["modelled_change"], modelled, places=5)
        # The same figures as of the stages themselves.
        for name, stage in (("dram", "DRAM channel"), ("link", "CXL link"),
                            ("path", "SuperNIC path"), ("port", "Ethernet port"),
                            ("nic", "host NIC"), ("pcie", "host PCIe")):
            busiest = max(row["busy_share"] for row in document["stages"] if row["name"] == stage)
            self.assertAlmostEqual(figures[f"{name}_busy_share"], busiest, places=6)
        channels = document["channel_bytes"]
        self.assertAlmostEqual(figures["channel_bytes_max_over_mean"],
                               max(channels) * len(channels) / sum(channels), places=5)

    def test_stripes_in_step_are_within_2_percent_of_strip_by_strip(self):
        # On a box that is the bound, and on one that is not.
        for box in ([], ["--super-nics", "1", "--ports-per-super-nic", "1", "--port-gbit", "100",
                         "--gpu-teraflops", "4000"]):
            options = ["--generate", "conversation", "--requests", "100", *box]
            fast, full = self.replay(*options), self.replay(*options, "--per-strip")
            self.assertGreater(full["strips"], 1.9 * fast["strips"])
            for name, value in full["figures"].items():
                self.assertAlmostEqual(fast["figures"][name], value, delta=0.02 * abs(value) + 1e-9,
                                       msg=f"{name} of {box}")
            for mine, other in zip(fast["stages"], full["stages"]):
                self.assertAlmostEqual(mine["busy_share"], other["busy_share"],
                                       delta=0.02 * other["busy_share"] + 1e-9)

    def test_large_strips_go_in_step_only_where_a_block_has_16_stripes_of_them(self):
        # 160 MiB over 18 channels; those in step are within 2 %, the others exact.
        for strip, fidelity in (("64KiB", "in step"), ("512KiB", "in step"), ("1MiB", "per strip"),
                                ("4MiB", "per strip"), ("16MiB", "per strip")):
            options = ["--generate", "conversation", "--requests", "60", "--strip", strip]
            fast, full = self.replay(*options), self.replay(*options, "--per-strip")
            self.assertEqual((fast["fidelity"], full["fidelity"]), (fidelity, "per strip"))
            for name, value in full["figures"].items():
                self.assertAlmostEqual(fast["figures"][name], value, delta=0.02 * abs(value) + 1e-9,
                                       msg=f"{name} at strips of {strip}")

    def test_the_same_choice_gives_the_same_bytes(self):
        options = ("model", "replay", "--generate", "synthetic", "--requests", "60", "--json")
        runs = {self.run_program(*options).stdout for _ in range(2)}
        self.assertEqual(len(runs), 1)
        self.assertNotIn(self.run_program(*options, "--seed", "2").stdout, runs)

    def test_a_smaller_box_is_slower_and_says_what_bounds_it(self):
        options = ("--generate", "conversation", "--requests", "200", "--gpu-teraflops", "10000")
        large = self.replay(*options)
        small = self.replay(*options, "--super-nics", "1", "--ports-per-super-nic", "1",
                            "--port-gbit", "10")
        self.assertEqual(small["bound_by"], "Ethernet port, write")
        self.assertGreater(small["figures"]["load_p99_s"], 10 * large["figures"]["load_p99_s"])
        self.assertGreater(small["busy"][0]["share"], 0.5)

    def test_the_table_for_people_says_that_it_is_modelled(self):
        text = self.run_program("model", "replay", "--generate", "multi-turn").stdout.decode()
        self.assertTrue(text.startswith("modelled, stripes in step: 200 requests"), text)
        for word in ("bound by", "first token, with the pool", "p999", "CXL link", "UCM",
                     "Mooncake", "first token: GPUs of the hosts, computing"):
            self.assertIn(word, text)

    def test_what_cannot_be_is_refused_with_what_is_allowed(self):
        def refused(says, *options, status=USAGE):
            self.assert_fails(["model", "replay", "--generate", "multi-turn", *options], status,
                              says)

        refused("--super-nics 65: allowed is a whole number, 1 to 64", "--super-nics", "65")
        refused("--gpu-teraflops 0: allowed is 1 to 10000", "--gpu-teraflops", "0")
        refused("--port-gbit 3200: allowed is 1 to 1600", "--port-gbit", "3200")
        refused("--strip 32: allowed is 64 to 16777216 bytes", "--strip", "32")
        refused("--nics 1.5: allowed is a whole number, 1 to 16", "--nics", "1.5")
        refused("--pool-size 19TiB: allowed is at most", "--pool-size", "19TiB")
        refused("link.lanes = 9: allowed are 4, 8, 16", "--set", "link.lanes=9")
        refused("--set link.generation=gen6: set:1: not TOML", "--set", "link.generation=gen6")
        refused("allowed is KEY=VALUE", "--set", "lanes=9")
        refused("model: \"gpt-2\" is not one of", "--model", "gpt-2", status=NOT_FOUND)
        refused("there is none of that name", "--preset", "acf2")
        self.assert_fails(["model", "replay"], USAGE, "give either a trace or --generate")

    def test_every_known_model_has_a_cost(self):
        trace = self.trace((0, 512, [1]))
        sooner = [self.replay(trace, "--model", model)["figures"]["recomputed_mean_s"]
                  for model in ("gpt-oss-120b", "llama-3.1-8b", "qwen3-8b", "qwen3-235b-a22b",
                                "kimi-k2", "qwen3-32b", "deepseek-v3", "llama-3.1-70b",
                                "llama-3.1-405b")]
        self.assertEqual(sooner, sorted(sooner))

    def test_a_trace_line_that_is_wrong_is_named(self):
        trace = self.trace((0, 512, [1]), (1, 512, [2]))
        trace.write_text(trace.read_text() + '{"timestamp": 2}\n')
        self.assert_fails(["model", "replay", trace], USAGE, "trace.jsonl, line 3: input_length")

    def test_a_load_beyond_the_virtual_time_is_refused_before_it_is_run(self):
        week = 7 * 24 * 3600
        allowed = f"allowed is at most {week} s of virtual time"

        def refused(says, *options):
            self.assert_fails(["model", "replay", *options], USAGE, says, allowed)

        # The second line is empty; these are above 2 ** 64 ps.
        for at_ms in (20_000_000_000, 1 << 42):
            trace = self.trace((0, 512, [1]), (at_ms, 512, [2]))
            trace.write_text(trace.read_text().replace("\n", "\n\n", 1))
            refused(f"line 3: timestamp {at_ms} at --speed 1 is ", trace)
        at_ms = 1000 * week
        self.replay(self.trace((0, 512, [1]), (at_ms - 60_000, 512, [2])))
        refused("line 2: timestamp", self.trace((0, 512, [1]), (at_ms + 1, 512, [2])))
        refused("line 1: input_length 4294967295 takes a host ",
                self.trace((0, 4294967295, [1])))
        # Each could be, but not one after the other: 24 million tokens take 2.7 days.
        long = [(0, 24_000_000, [i]) for i in range(4)]
        refused("line 3: its first token is there after", self.trace(*long), "--hosts", "1")
        refused(" at --speed 0.001 is ", "--generate", "conversation", "--speed", "0.001")

    def test_a_run_that_is_too_long_says_how_far_it_came(self):
        self.assert_fails(["model", "replay", "--generate", "conversation", "--limit", "0.00001"],
                          FAILURE, " requests, 0 of 3534 s of the trace")

    def test_the_limit_holds_within_one_request(self):
        # A read of 41 GB in strips of 64 bytes: far more events than go in a second.
        trace = self.trace((0, 131072, list(range(256))), (600_000, 131072, list(range(256))))
        begun = time.monotonic()
        self.assert_fails(["model", "replay", trace, "--strip", "64", "--per-strip", "--limit",
                           "1"], FAILURE, "stopped at its limit of time: ", " of 2 requests, ")
        self.assertLess(time.monotonic() - begun, 30)

    def test_a_block_is_found_once_its_put_has_ended_and_not_before(self):
        # A DRAM channel that is slower than its link: the last strip waits for those before it.
        slow = ["--super-nics", "1", "--channels-per-super-nic", "1", "--hosts", "2", "--pool-size",
                "16GiB", "--set", "dram.standard=\"DDR4\"", "--set", "dram.rate_mt_per_s=2400"]
        blocks = list(range(32))

        def hits_at(at_ms):
            trace = self.trace((0, 32 * 512, blocks), (at_ms, 32 * 512, blocks))
            return self.replay(trace, *slow)["prefix_hits"]

        alone = self.replay(self.trace((0, 32 * 512, blocks)), *slow)["figures"]
        put_s = alone["put_p50_s"]
        end_ms = 1000 * (alone["first_token_p50_s"] + put_s)
        self.assertGreater(put_s, 0.2)
        self.assertEqual([hits_at(int(end_ms - 100 * put_s)), hits_at(int(end_ms) - 1),
                          hits_at(int(end_ms) + 1)], [0, 0, 32])


if __name__ == "__main__":
    unittest.main()
