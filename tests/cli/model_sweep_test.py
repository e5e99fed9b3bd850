# SPDX-License-Identifier: Apache-2.0
import json
import unittest

from program import FAILURE, USAGE, ProgramTest


class ModelSweepTest(ProgramTest):
    def sweep(self, *options):
        return self.run_json("model", "sweep", *options)

    def trace(self):
        """A minute of two chats, each with three turns of 20, 40 and 60 blocks."""
        path = self.folder / "trace.jsonl"
        lines = []
        for turn in (1, 2, 3):
            for chat in (0, 1):
                lines.append({"timestamp": 20_000 * turn, "input_length": 20 * 512 * turn,
                              "output_length": 1,
                              "hash_ids": [1000 * chat + i for i in range(20 * turn)]})
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    def test_each_point_is_what_replay_says_of_it(self):
        trace = self.trace()
        document = self.sweep(trace, "--hosts", "2", "--vary", "super-nics=1,3", "--vary",
                              "link.lanes=4,16")
        self.assertEqual((document["schema"], document["kind"]),
                         ("godbox-model-sweep-1", "modelled"))
        self.assertEqual([point["values"] for point in document["points"]],
                         [{"super-nics": nics, "link.lanes": lanes}
                          for nics in ("1", "3") for lanes in ("4", "16")])
        for point in document["points"]:
            alone = self.run_json("model", "replay", trace, "--hosts", "2", "--super-nics",
                                  point["values"]["super-nics"], "--set",
                                  f"link.lanes={point['values']['link.lanes']}")
            self.assertEqual(point["figures"], alone["figures"])
            self.assertEqual(point["bound_by"], alone["bound_by"])
            self.assertEqual(point["box"], alone["box"])

    def test_the_smallest_box_that_meets_a_target_is_found(self):
        # Two hosts read 40 blocks of 160 MiB each at the same time: 13.4 GB at 26.3 GB/s a link.
        document = self.sweep(self.trace(), "--hosts", "2", "--vary", "super-nics=6,5,1..4",
                              "--vary", "channels-per-super-nic=1", "--target",
                              "load_p99_s<=0.2", "--target", "hit_share>=0.4")
        reads = {point["values"]["super-nics"]: point["figures"]["load_p99_s"]
                 for point in document["points"]}
        enough = [int(nics) for nics, read_s in reads.items() if read_s <= 0.2]
        self.assertTrue(0 < len(enough) < 6, reads)
        self.assertEqual(document["smallest"],
                         {"super-nics": str(min(enough)), "channels-per-super-nic": "1"})
        for point in document["points"]:
            self.assertEqual(point["meets_targets"],
                             int(point["values"]["super-nics"]) in enough)
        none = self.sweep(self.trace(), "--vary", "super-nics=1,2", "--target", "hit_share>=0.9")
        self.assertIsNone(none["smallest"])

    def test_a_knee_is_where_more_is_worth_less(self):
        # Ports of 25 Gb/s bound the reads until there are as many as carry what two links do.
        document = self.sweep(self.trace(), "--hosts", "2", "--super-nics", "1", "--port-gbit",
                              "50", "--vary", "ports-per-super-nic=1..16", "--figure",
                              "load_mean_s,hit_share")
        knees = {knee["figure"]: knee["at"] for knee in document["knees"]}
        self.assertIn(int(knees["load_mean_s"]), range(3, 7))
        self.assertIsNone(knees["hit_share"])
        flat = {point["values"]["ports-per-super-nic"]: point["figures"]["load_mean_s"]
                for point in document["points"]}
        self.assertAlmostEqual(flat["16"] / flat["12"], 1, delta=0.02)
        self.assertGreater(flat["1"] / flat["2"], 1.9)

    def test_a_pool_has_a_knee_by_its_size_with_units(self):
        # A turn finds 40 blocks of 160 MiB at most, in each of two chats: 12.5 GiB are enough.
        document = self.sweep(self.trace(), "--hosts", "2", "--vary",
                              "pool-size=5GiB,10GiB,15GiB,20GiB,40GiB,80GiB,160GiB", "--figure",
                              "hit_share")
        (knee,) = document["knees"]
        self.assertEqual((knee["figure"], knee["parameter"]), ("hit_share", "pool-size"))
        self.assertIn(knee["at"], ("10GiB", "15GiB"))

    def test_words_can_be_varied_too(self):
        document = self.sweep(self.trace(), "--hosts", "2", "--vary", "preset=emfasys18,acf1",
                              "--vary", "model=llama-3.1-70b,llama-3.1-8b", "--figure",
                              "port_busy_share,link_busy_share")
        points = {(point["values"]["preset"], point["values"]["model"]): point
                  for point in document["points"]}
        self.assertEqual(len(points), 4)
        for (preset, model), point in points.items():
            alone = self.run_json("model", "replay", self.trace(), "--hosts", "2", "--preset",
                                  preset, "--model", model)
            self.assertEqual(point["figures"], alone["figures"])
            self.assertEqual(point["box"], alone["box"])

    def test_a_straight_line_has_no_knee(self):
        document = self.sweep("--generate", "multi-turn", "--requests", "50", "--hosts", "64",
                              "--vary", "speed=0.1,0.2,0.3,0.4,0.5", "--figure",
                              "write_bytes_per_s")
        values = [point["figures"]["write_bytes_per_s"] for point in document["points"]]
        self.assertGreater(values[4] / values[0], 4.5)
        self.assertEqual([knee["at"] for knee in document["knees"]], [None])

    def test_a_figure_without_a_sample_is_none_and_meets_no_target(self):
        # Six different prompts: nothing is read.
        path = self.folder / "trace.jsonl"
        path.write_text("".join(json.dumps({"timestamp": 1000 * i, "input_length": 512,
                                            "output_length": 1, "hash_ids": [i]}) + "\n"
                                for i in range(6)))
        for comparison in ("<=1000", ">=0"):
            document = self.sweep(path, "--vary", "super-nics=1,2", "--target",
                                  "load_p99_s" + comparison)
            self.assertIsNone(document["smallest"])
            for point in document["points"]:
                self.assertEqual((point["figures"]["load_p99_s"], point["meets_targets"]),
                                 (None, False))
                self.assertGreater(point["figures"]["put_p99_s"], 0)
        text = self.run_program("model", "replay", path).stdout.decode()
        self.assertRegex(text, r"read of what is found +0 +- +- +-\n")
        text = self.run_program("model", "sweep", path, "--vary", "super-nics=1,2", "--figure",
                                "load_p99_s").stdout.decode()
        self.assertRegex(text, r" 2 +\d+ +4 +8 +- +")

    def test_the_same_sweep_gives_the_same_bytes(self):
        options = ("model", "sweep", "--generate", "multi-turn", "--vary", "hosts=1,2", "--json")
        self.assertEqual(*[self.run_program(*options).stdout for _ in range(2)])

    def test_the_table_for_people_says_what_it_found(self):
        text = self.run_program("model", "sweep", self.trace(), "--vary", "super-nics=1..3",
                                "--target", "load_p99_s<=10").stdout.decode()
        self.assertTrue(text.startswith("modelled, stripes in step: "), text)
        for words in ("knee of load_p99_s over super-nics: ", "bound by",
                      "smallest box with load_p99_s <= 10: super-nics=1"):
            self.assertIn(words, text)

    def test_what_cannot_be_is_refused_before_anything_is_run(self):
        def refused(says, *options):
            self.assert_fails(["model", "sweep", "--generate", "multi-turn", *options], USAGE, says)

        refused("--vary is required")
        refused("rack.boxes: allowed are keys of a box", "--vary", "rack.boxes=1..8")
        refused("--set network.spines: allowed are keys of a box", "--vary", "hosts=1", "--set",
                "network.spines=2")
        refused("there is none of that name", "--vary", "preset=emfasys18,acf2")
        refused("allowed is PARAMETER=VALUES", "--vary", "super-nics")
        refused("parameter \"colour\": allowed are super-nics,", "--vary", "colour=1")
        refused("super-nics = \"many\": allowed is a number", "--vary", "super-nics=many")
        refused("super-nics=65: --super-nics 65: allowed is", "--vary", "super-nics=2,65")
        refused("= 66: allowed is at most 64 DRAM channels", "--vary", "super-nics=32,33")
        refused(f"pool-size=1MiB: --pool-size: {1 << 20} bytes; allowed is at least a block",
                "--vary", "pool-size=1MiB,1TiB")
        refused("link.lanes = 5: allowed are 4, 8, 16", "--vary", "link.lanes=4,5")
        refused("strip=32MiB: --strip 32MiB: allowed is 64 to", "--vary", "strip=64KiB,32MiB")
        refused("--vary hosts: given 2 times; allowed is once", "--vary", "hosts=1", "--vary",
                "hosts=2")
        for bound in ("nan", "inf"):
            refused("allowed is FIGURE<=NUMBER", "--vary", "hosts=1", "--target",
                    "load_p99_s<=" + bound)
        refused("more than 512 points", "--vary", "hosts=1..100", "--vary", "nics=1..16")
        refused("figure \"speed\": allowed are read_bytes_per_s,", "--vary", "hosts=1",
                "--figure", "speed")
        refused("allowed is FIGURE<=NUMBER", "--vary", "hosts=1", "--target", "load_p99_s=1")
        refused("figure \"load\": allowed are", "--vary", "hosts=1", "--target", "load<=1")

    def test_a_sweep_that_is_too_long_says_how_far_it_came(self):
        self.assert_fails(["model", "sweep", "--generate", "conversation", "--vary", "hosts=4,8",
                           "--limit", "0.00001"], FAILURE, "point 1 of 2, hosts=4: ")


if __name__ == "__main__":
    unittest.main()
