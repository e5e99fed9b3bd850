# SPDX-License-Identifier: Apache-2.0
import re
import unittest

from program import FAILURE, USAGE, ProgramTest

BLOCK_BYTES = 160 << 20  # 512 tokens of Llama-3.1-70B in bf16
BOXES = 8
MASK = (1 << 64) - 1


def splitmix64(x):
    """The first number of the generator of that name with the seed x (Steele et al., 2014)."""
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def places(block, boxes, copies):
    """Rendezvous hashing, written from docs/model.md."""
    scores = sorted(((splitmix64((block + splitmix64(box)) & MASK), -box) for box in boxes),
                    reverse=True)
    return {-box for _, box in scores[:copies]}


class ModelRackTest(ProgramTest):
    def rack(self, *options):
        return self.run_json("model", "rack", "--requests", "2000", *options)

    def test_blocks_lie_where_another_program_says_and_only_a_lost_boxs_move(self):
        blocks, hot, copies, lost = 5000, 1000, 3, 5
        document = self.rack("--blocks", blocks, "--hot-blocks", hot, "--copies", copies, "--lose",
                             f"box:{lost}")
        before, after = [0] * BOXES, [0] * BOXES
        moved = without_copy = 0
        for block in range(blocks):
            count = copies if block < hot else 1
            old = places(block, range(BOXES), count)
            new = places(block, [box for box in range(BOXES) if box != lost], count)
            for box in old:
                before[box] += 1
            for box in new:
                after[box] += 1
            self.assertLessEqual(old - {lost}, new)
            moved += len(new - old)
            without_copy += old == {lost}
        self.assertEqual([box["blocks"] for box in document["boxes"]], before)
        self.assertEqual([box["blocks_after"] for box in document["boxes"]], after)
        self.assertEqual([box["is_lost"] for box in document["boxes"]],
                         [box == lost for box in range(BOXES)])
        moves = document["moves"]
        self.assertEqual((moves["copies_lost"], moves["copies_moved"], moves["blocks_lost"]),
                         (before[lost], moved, without_copy))
        self.assertEqual(moved, before[lost])
        self.assertEqual(moves["boxes_cut_off"], 1)

    def test_the_json_has_all_figures_and_each_request_is_counted_once(self):
        document = self.rack("--read-share", "0.8", "--zipf", "0.9", "--lose", "box:2", "--at",
                             "0.05")
        self.assertEqual((document["schema"], document["kind"], document["fidelity"]),
                         ("godbox-model-rack-1", "modelled", "in step"))
        self.assertEqual(document["block_bytes"], BLOCK_BYTES)
        self.assertEqual(document["found"] + document["put"] + document["recomputed"] +
                         document["given_up"], document["requests"])
        self.assertGreaterEqual(document["bytes_read"], document["found"] * BLOCK_BYTES)
        self.assertEqual(sum(box["requests"] for box in document["boxes"]), 2000)
        for flow in ("read", "written"):
            moved = document[f"bytes_{flow}"]
            self.assertEqual(sum(box[f"bytes_{flow}"] for box in document["boxes"]), moved)
            self.assertEqual(sum(document[f"bin_bytes_{flow}"]), moved)
            for part, count in (("box-leaf", 9), ("host-leaf", 16), ("spine", 13)):
                through = [one[f"bytes_{flow}"] for one in document["switches"]
                           if one["part"] == part]
                self.assertEqual(len(through), count)
                self.assertAlmostEqual(sum(through) / moved, 1, delta=1e-9)
        for stage in document["stages"]:
            self.assertTrue(0 <= stage["busy_share"] <= stage["busy_share_max"] * 1.001 <= 1.001)
        figures = document["figures"]
        self.assertLess(figures["read_before_p99_s"], figures["disturbed_p50_s"])
        # From a loss to its notice an IBTA time-out; what is lost is computed again.
        self.assertGreater(figures["disturbed_p999_s"], document["rack"]["notice_s"])
        self.assertEqual(document["lost"], "box:2")

    def test_nothing_lost_is_nothing_moved(self):
        document = self.rack()
        self.assertEqual(set(document["moves"].values()), {0})
        self.assertIsNone(document["lost"])
        self.assertIsNone(document["figures"]["put_p50_s"])
        self.assertEqual(document["recomputed"], 0)
        figures = document["figures"]
        self.assertEqual(figures["read_before_p99_s"], figures["read_p99_s"])
        # 18 links of PCIe 5.0 x8 each, eight boxes: bound by what `explain` says of one.
        explained = self.run_json("model", "explain", "--preset", "emfasys18")
        stages = explained["rows"][0]["stages"]
        link = next(stage for stage in stages if stage["name"] == "CXL link")
        self.assertEqual(document["bound_by"], "CXL link")
        self.assertAlmostEqual(document["bound_bytes_per_s"] / link["limited_bytes_per_s"], 8,
                               delta=1e-4)

    def test_copies_of_hot_blocks_spread_their_load(self):
        options = ("--zipf", "1.1", "--load", "0.25", "--hot-blocks", "200", "--copies")
        alone, spread = self.rack(*options, "1"), self.rack(*options, "8")
        self.assertGreater(alone["figures"]["imbalance"], 1.3)
        self.assertLess(spread["figures"]["imbalance"], 1.2)
        self.assertLess(spread["figures"]["read_p99_s"], alone["figures"]["read_p99_s"])

    def test_an_oversubscribed_network_is_the_bound(self):
        options = ("--preset", "acf1", "--load", "0.9")
        full, thin = (self.rack(*options, "--set", f"network.oversubscription={by}")
                      for by in (1, 4))
        self.assertEqual((full["bound_by"], thin["bound_by"]), ("Ethernet port", "leaf to spine"))
        self.assertAlmostEqual(full["bound_bytes_per_s"] / thin["bound_bytes_per_s"], 4, delta=1e-3)
        leaf = max(one["busy_share"] for one in thin["switches"] if one["part"] == "box-leaf")
        self.assertTrue(0.7 < leaf <= 1, leaf)

    def test_the_same_choice_gives_the_same_bytes(self):
        options = ("model", "rack", "--requests", "1000", "--zipf", "1", "--read-share", "0.7",
                   "--lose", "port:3.17", "--json")
        runs = {self.run_program(*options).stdout for _ in range(2)}
        self.assertEqual(len(runs), 1)
        self.assertNotIn(self.run_program(*options, "--seed", "2").stdout, runs)

    def test_the_table_for_people_says_that_it_is_modelled_and_what_moved(self):
        text = self.run_program("model", "rack", "--requests", "1000", "--lose",
                                "box:1").stdout.decode()
        self.assertTrue(text.startswith("modelled, stripes in step: 1,000 requests of 160 MiB"),
                        text)
        for word in ("bound by CXL link", "p999", "1, lost", "moved:", "spines", "leaf to spine",
                     "lost: box 1 at"):
            self.assertIn(word, text)

    def test_the_report_has_every_plot_and_refers_to_nothing_else(self):
        page = self.folder / "rack.html"
        self.rack("--lose", "spine:3", "--report", page)
        text = page.read_text()
        self.assertEqual(set(re.findall('data-plot="([^"]+)"', text)),
                         {"rack-bytes", "rack-boxes", "rack-times", "rack-slow", "rack-busy",
                          "rack-switches"})
        self.assertNotRegex(text, r'(src|href)="')
        self.assertIn("spine 3, lost", text)

    def test_a_parameter_file_describes_the_rack(self):
        mine = self.folder / "mine.toml"
        text = self.run_program("model", "device", "emfasys").stdout.decode()
        mine.write_text(text.replace("boxes = 8 ", "boxes = 4 ").replace("hosts = 64 ",
                                                                         "hosts = 16 "))
        document = self.rack("--device", mine)
        self.assertEqual((document["rack"]["boxes"], document["rack"]["hosts"],
                          len(document["boxes"])), (4, 16, 4))
        # A device without these sections has the defaults.
        self.assertEqual(self.rack("--device", "vistara")["rack"]["boxes"], 8)

    def test_where_every_request_is_given_up_there_are_figures_all_the_same(self):
        lost = ["model", "rack", "--requests", "1", "--set", "rack.hosts=2", "--set",
                "network.host_leaves=2", "--nics", "1", "--lose", "host-leaf:0", "--at", "0",
                "--seed", "7"]
        page = self.folder / "rack.html"
        text = self.run_program(*lost, "--report", page).stdout
        for output in (text, page.read_bytes()):
            self.assertNotIn(b"nan", output.lower().replace(b"nanosecond", b""))

    def test_what_cannot_be_is_refused_with_what_is_allowed(self):
        def refused(says, *options):
            self.assert_fails(["model", "rack", "--requests", "10", *options], USAGE, says)

        refused("--lose \"boxes:1\": allowed are box:BOX, port:BOX.PORT", "--lose", "boxes:1")
        refused("--lose \"port:1\": allowed are", "--lose", "port:1")
        refused("--lose \"box:-1\": allowed are", "--lose", "box:-1")
        refused("loss of box 8: allowed is 0 to 7", "--lose", "box:8")
        refused("loss of port 0 of box 9: allowed is box 0 to 7", "--lose", "port:9.0")
        refused("--copies: allowed only with --hot-blocks", "--copies", "2")
        refused("when about the last request comes", "--lose", "box:1", "--at", "1000")
        refused("--at: allowed only with --lose", "--at", "1")
        refused("--copies 1.5: allowed is a whole number", "--copies", "1.5")
        refused("load = 5: allowed is", "--load", "5")
        refused("zipf = 9: allowed is 0 to 4", "--zipf", "9")
        refused("what fits into its", "--blocks", "10000000")
        refused("block_bytes = 167772160: allowed is 301989888", "--strip", "16MiB")
        refused("network.box_leaves = 4: a leaf of 72 ports", "--set", "network.box_leaves=4")
        refused("network.spines = 3: uplinks of", "--set", "network.spines=3")
        refused("set:1: network.spine = 3: unknown key", "--set", "network.spine=3")
        refused("network.oversubscription = 0.5: allowed is 1 to 64", "--set",
                "network.oversubscription=0.5")

    def test_a_run_that_is_too_long_says_how_far_it_came(self):
        self.assert_fails(["model", "rack", "--limit", "0.000001"], FAILURE,
                          "stopped at its limit of time: ", " of 100000 requests")


if __name__ == "__main__":
    unittest.main()
