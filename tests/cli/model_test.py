# SPDX-License-Identifier: Apache-2.0
import unittest

from program import USAGE, ProgramTest

# Channels of each preset.
PRESETS = {"emfasys18": 18, "emfasys28": 28, "acf1": 18, "laptop": 18}


class ModelTest(ProgramTest):
    def table(self, *options):
        document = self.run_json("model", "time-table", *options)
        self.assertEqual(document["schema"], "godbox-time-table-1")
        self.assertEqual(document["kind"], "modelled")
        return document["rows"]

    def test_every_row_is_within_5_percent_of_its_slowest_stage(self):
        for options in ([], ["--write"], ["--protocol", "tcp", "--mtu", "1500"]):
            rows = self.table(*options)
            for row in rows:
                with self.subTest(options=options, preset=row["preset"],
                                  channels=row["dram_channels"], ports=row["eth_ports"]):
                    slowest = min(row["stages"], key=lambda stage: stage["limited_bytes_per_s"])
                    ideal = row["bytes"] / slowest["limited_bytes_per_s"]
                    self.assertEqual(row["bytes"], 100e9)
                    self.assertEqual(row["bottleneck"], slowest["name"])
                    self.assertLess(abs(row["seconds"] / ideal - 1), 0.05)
                    self.assertGreater(row["seconds"], row["raw_seconds"])
                    for stage in row["stages"]:
                        self.assertLessEqual(stage["limited_bytes_per_s"],
                                             stage["raw_bytes_per_s"])
                        self.assertTrue(0 < stage["utilisation"] <= 1, stage)

    def test_the_rows_are_those_that_each_preset_has(self):
        rows = self.table()
        for preset, channels in PRESETS.items():
            counts = {row["dram_channels"] for row in rows if row["preset"] == preset}
            self.assertEqual(counts, {n for n in (1, 2, 9, 18, 28) if n <= channels})
        # One port, one of each SuperNIC, all of the SuperNICs in use.
        ports = [row["eth_ports"] for row in rows
                 if row["preset"] == "emfasys18" and row["dram_channels"] == 9]
        self.assertEqual(ports, [1, 5, 20])

    def test_the_raw_bounds_are_the_published_arithmetic(self):
        raw = {(row["preset"], row["dram_channels"], row["eth_ports"]): row["raw_seconds"]
               for row in self.table()}
        self.assertAlmostEqual(raw["emfasys18", 1, 4], 3.17, delta=0.01)
        self.assertAlmostEqual(raw["emfasys18", 18, 36], 0.176, delta=0.001)
        self.assertAlmostEqual(raw["emfasys28", 28, 56], 0.113, delta=0.001)
        self.assertAlmostEqual(raw["emfasys18", 18, 1], 1.0, delta=0.001)
        self.assertAlmostEqual(raw["acf1", 18, 32], 0.25, delta=0.001)

    def test_the_table_for_people_says_that_it_is_modelled(self):
        text = self.run_program("model", "time-table", "--preset", "acf1").stdout.decode()
        self.assertTrue(text.startswith("modelled: read "), text)
        self.assertIn("Ethernet port", text)

    def test_explain_shows_each_stage(self):
        text = self.run_program(
            "model", "explain", "--preset", "emfasys18", "--channels", "2").stdout.decode()
        for stage in ("DRAM channel", "CXL link", "SuperNIC path", "Ethernet port", "host NIC",
                      "host PCIe", "bound by CXL link"):
            self.assertIn(stage, text)
        document = self.run_json("model", "explain", "--hosts", "1")
        self.assertEqual(document["rows"][0]["bottleneck"], "host NIC")

    def test_explain_draws_where_the_time_goes(self):
        options = ("model", "explain", "--preset", "emfasys18", "--size", "20MiB")
        text = self.run_program(*options).stdout.decode()
        (row,) = self.run_json(*options)["rows"]
        way, busy = text.split("the first byte, stage by stage")[1].split("busy, of all the time")
        width = 50
        at = 0
        for stage in row["stages"]:
            with self.subTest(stage=stage["name"]):
                line = next(line for line in way.splitlines() if stage["name"] in line)
                drawn = line.split(" ns", 1)[1]
                share = stage["latency_ns"] / row["first_byte_ns"]
                self.assertAlmostEqual(drawn.count("#"), share * width, delta=1)
                if drawn.count("#"):  # each begins where the one before ends
                    begin = len(drawn) - len(drawn.lstrip()) - (len(drawn.rstrip()) and 2)
                    self.assertAlmostEqual(begin, at * width, delta=1)
                at += share
                line = next(line for line in busy.splitlines() if stage["name"] in line)
                self.assertAlmostEqual(line.count("#"), stage["utilisation"] * width, delta=1)

    def test_ports_that_a_smaller_box_lacks_leave_it_out(self):
        rows = self.table("--ports", "8")
        self.assertTrue(rows)
        self.assertEqual({row["eth_ports"] for row in rows}, {8})
        # Four ports of each of emfasys18's SuperNICs, two channels of each.
        self.assertEqual([row["dram_channels"] for row in rows if row["preset"] == "emfasys18"],
                         [9, 18])
        document = self.run_json("model", "time-table", "--ports", "8")
        self.assertGreater(document["left_out"], 0)
        self.assertEqual(self.run_json("model", "time-table")["left_out"], 0)
        text = self.run_program("model", "time-table", "--ports", "8").stdout.decode()
        self.assertIn("left out: ", text)
        self.assertIn("fewer than 8 ports", text)

    def test_keys_and_ports_can_be_replaced(self):
        options = ["--preset", "emfasys18", "--channels", "18", "--ports", "1"]
        (one,) = self.table(*options)
        (slower,) = self.table(*options, "--port-gbit", "400")
        self.assertAlmostEqual(slower["raw_seconds"] / one["raw_seconds"], 2, places=6)
        options = ["--preset", "emfasys18", "--channels", "18"]
        wide = self.table(*options, "--set", "link.lanes=16")[-1]
        self.assertEqual(wide["bottleneck"], "DRAM channel")
        few = self.table(*options, "--set", "link.data_credits=4")[-1]
        self.assertEqual(few["bottleneck"], "CXL link")
        self.assertGreater(few["seconds"], 2 * self.table(*options)[-1]["seconds"])

    def test_a_report_is_one_page(self):
        for command in ("time-table", "explain"):
            page = self.folder / f"{command}.html"
            self.run_program("model", command, "--report", page)
            text = page.read_text()
            self.assertIn("Every figure is modelled", text)
            self.assertNotIn("http", text.replace("http://www.w3.org", ""))
            self.assert_fails(["model", command, "--report", self.folder], USAGE,
                              "is a folder; give a file")

    def test_a_device_file_can_be_taken_changed_and_used(self):
        text = self.run_program("model", "device", "emfasys").stdout.decode()
        mine = self.folder / "mine.toml"
        mine.write_text(text.replace("lanes = 8\n", "lanes = 16\n", 1))
        options = ["--preset", "emfasys18", "--channels", "18"]
        wide = self.table("--device", mine, *options)[-1]
        self.assertEqual(wide["bottleneck"], "DRAM channel")
        self.assertLess(wide["seconds"], self.table(*options)[-1]["seconds"])
        mine.write_text("[link]\nlanes = 9\n")
        self.check_usage(["time-table", "--device", mine], "link.lanes = 9: allowed are 4, 8, 16")

    def test_a_curve_rises_and_both_fidelities_agree(self):
        options = ("model", "curve", "--device", "vistara", "--read-share", "0.67")
        fast, detailed = (self.run_json(*options, *more) for more in ([], ["--detailed"]))
        self.assertEqual([fast["fidelity"], detailed["fidelity"]], ["fast", "detailed"])
        for curve in (fast, detailed):
            self.assertEqual((curve["schema"], curve["kind"]),
                             ("godbox-latency-curve-1", "modelled"))
            latencies = [point["read_mean_ns"] for point in curve["points"]]
            self.assertEqual(latencies, sorted(latencies))
            self.assertEqual(len(latencies), 10)
        for mine, other in zip(fast["points"], detailed["points"]):
            self.assertAlmostEqual(mine["read_mean_ns"] / other["read_mean_ns"], 1, delta=0.06)
        text = self.run_program("model", "curve").stdout.decode()
        self.assertTrue(text.startswith("modelled, fast: "), text)

    def check_usage(self, arguments, says):
        self.assert_fails(["model", *arguments], USAGE, says)

    def test_wrong_words_are_answered_with_what_is_allowed(self):
        self.check_usage(["time-table", "--device", "nothing"],
                         "there is none of that name; allowed: emfasys, vistara")
        self.check_usage(["time-table", "--preset", "acf2"], "there is none of that name")
        self.check_usage(["time-table", "--preset", "acf1", "--channels", "28"],
                         "no preset of these has so many")
        self.check_usage(["time-table", "--channels", "0"], "--channels")
        self.check_usage(["time-table", "--preset", "emfasys18", "--ports", "5", "--channels", "2"],
                         "eth_ports = 5: allowed is 1 to 4")
        self.check_usage(["explain", "--mtu", "1500"], "allowed with roce are 256")
        self.check_usage(["explain", "--size", "much"], "--size")
        self.check_usage(["explain", "--port-gbit", "1601"],
                         "--port-gbit 1601: allowed is 1 to 1600")
        self.check_usage(["explain", "--set", "rack.boxes=2"], "allowed are keys of a box")
        self.check_usage(["time-table", "--set", "link.lane=2"], "link.lane")
        self.check_usage(["device", "cray"], "allowed: emfasys, vistara")
        self.check_usage(["curve", "--read-share", "0"], "load.read_share = 0")
        self.check_usage(["curve", "--read-share", "2"], "load.read_share = 2: allowed is 0 to 1")
        self.run_program("model", status=USAGE)


if __name__ == "__main__":
    unittest.main()
