# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import unittest
from collections import OrderedDict

from program import OK, USAGE, PROGRAM, ProgramTest


def prompts():
    """Sessions that grow turn by turn behind one system prompt, three times over."""
    for turn in range(1, 13):
        for session in range(30):
            yield [0, *range(1000 * (session + 1), 1000 * (session + 1) + 2 * turn)]


def hits_of_a_textbook_lru(blocks):
    """Leading hits where each prompt uses its blocks from the last to the first."""
    cache, hits = OrderedDict(), 0
    for prompt in prompts():
        count = next((i for i, block in enumerate(prompt) if block not in cache), len(prompt))
        hits += count
        for block in reversed(prompt[:count]):
            cache.move_to_end(block)
        fresh = []
        for block in prompt[count:]:
            if block not in cache:
                if len(cache) + len(fresh) == blocks:
                    cache.popitem(last=False)
                fresh.append(block)
        cache.update((block, None) for block in reversed(fresh))
    return hits


class ReplayTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.trace = self.folder / "trace.jsonl"
        self.trace.write_text("".join(
            json.dumps({"timestamp": i, "input_length": 512 * len(blocks), "output_length": 1,
                        "hash_ids": blocks}) + "\n" for i, blocks in enumerate(prompts())))

    def test_hit_shares_are_those_of_an_exact_lru(self):
        rows = self.run_json("replay", str(self.trace), "--index-only", "--pool-blocks",
                             "100,300,unbounded")["rows"]
        references = sum(len(blocks) for blocks in prompts())
        for row, blocks in zip(rows, (100, 300, 10**9)):
            self.assertEqual(row["block_references"], references)
            self.assertEqual(row["prefix_hits"], hits_of_a_textbook_lru(blocks), row)
        self.assertEqual(rows[-1]["evictions"], 0)
        self.assertEqual(rows[-1]["pool_blocks"], 1 + 30 * 24)

    def test_a_trace_is_made_up(self):
        document = self.run_json("replay", "--generate", "conversation", "--requests", "500",
                                 "--index-only")
        self.assertTrue(document["generated"])
        self.assertEqual(document["rows"][0]["requests"], 500)
        self.assertGreater(document["rows"][0]["prefix_hits"], 500 - 1)

    def test_whole_blocks_are_compared(self):
        row = self.run_json("replay", str(self.trace), "--requests", "90", "--pool-size", "256MiB",
                            "--block-size", "3MiB")["rows"][0]
        self.assertEqual(row["requests"], 90)
        self.assertGreater(row["bytes_read"], 0)
        self.assertEqual(row["wrong_bytes"], 0)
        self.assertLessEqual(row["channel_imbalance"], 1.05)
        self.assertLessEqual(row["block_imbalance_max"], 1.05)
        self.assertEqual(sum(row["channel_bytes"]), row["bytes_read"] + row["bytes_written"])
        self.assertGreater(row["gb_per_s"], 0)
        self.assertGreater(row["checking_seconds"], 0)

    def test_a_document_says_where_and_when(self):
        document = self.run_json("replay", str(self.trace), "--index-only")
        self.assertGreater(document["machine"]["cores"], 0)
        self.assertLessEqual(document["begun"], document["ended"])
        self.assertEqual(document["rows"][0]["kind"], "real")

    def test_speed_keeps_to_the_times_of_the_trace(self):
        row = self.run_json("replay", str(self.trace), "--index-only", "--speed", "0.5")["rows"][0]
        self.assertGreaterEqual(row["seconds"], 2 * 0.359)

    def test_mistakes_are_named(self):
        bad = self.folder / "bad.jsonl"
        bad.write_text(self.trace.read_text().splitlines()[0] + "\n{\n")
        for arguments, words in (
            ([str(bad)], "line 2"),
            (["/nowhere"], "/nowhere"),
            ([str(self.folder)], str(self.folder)),
            ([str(self.trace), "--index-only", "--pool-blocks", "0"], "0 blocks"),
            ([str(self.trace), "--index-only", "--pool-blocks", "many"], "many"),
            ([str(self.trace), "--pool-size", "1MiB,2MiB"], "one size"),
            ([str(self.trace), "--block-size", "x"], "--block-size"),
            ([str(self.trace), "--block-size", "3MiB", "--pool-size", "2MiB"], "no room"),
            ([str(self.trace), "--pool-size", "900TiB"], "--pool-size: 900 TiB"),
            ([str(self.trace), "--pool-size", "1MiB", "--block-size", "1"],
             "--pool-size: backing_limit = 1048576"),
            ([str(self.trace), "--pool-blocks", "7"], "with --index-only"),
            ([str(self.trace), "--index-only", "--pool-size", "1GiB"], "without --index-only"),
            ([str(self.trace), "--index-only", "--block-size", "1MiB"], "without --index-only"),
            (["/dev/zero"], "line 1: the line: longer than"),
            ([str(self.trace), "--speed", "-1"], "--speed"),
            ([str(self.trace), "--generate", "synthetic"], "either"),
            (["--generate", "toolagent"], "conversation, synthetic"),
        ):
            result = subprocess.run([PROGRAM, "replay", *arguments], capture_output=True,
                                    text=True, check=False, timeout=60)
            self.assertNotEqual(result.returncode, OK, arguments)
            self.assertIn(words, result.stderr, arguments)
        result = subprocess.run([PROGRAM, "replay"], capture_output=True, check=False, timeout=60)
        self.assertEqual(result.returncode, USAGE)


if __name__ == "__main__":
    unittest.main()
