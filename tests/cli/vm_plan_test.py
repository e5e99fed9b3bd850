# SPDX-License-Identifier: Apache-2.0
import shlex
import unittest
import xml.etree.ElementTree

from program import OK, USAGE, ProgramTest

SVG = "{http://www.w3.org/2000/svg}"

TWO_CHANNELS = """
[[host_bridge]]
name = "left"
root_ports = [0, 1]

[[device]]
name = "a"
host_bridge = "left"
port = 0

[[device]]
name = "b"
host_bridge = "left"
port = 1

[[window]]
name = "w"
host_bridges = ["left"]

[[region]]
name = "both"
window = "w"
devices = ["a", "b"]
"""


class VmPlanTest(ProgramTest):
    def plan(self, *options):
        document = self.run_json("vm", "plan", *options)
        self.assertEqual(document["schema"], "godbox-vm-plan-1")
        return document

    def test_the_default_is_9_times_2_times_1_tib(self):
        plan = self.plan("--preset", "emfasys18")
        self.assertEqual(plan["box"]["super_nics"], 9)
        self.assertEqual(plan["box"]["dram_channels_per_super_nic"], 2)
        self.assertEqual(plan["box"]["capacity_bytes"], 18 << 40)
        self.assertEqual(len(plan["host_bridges"]), 9)
        self.assertEqual([r["numa_node"] for r in plan["regions"]], list(range(1, 19)))
        for index, region in enumerate(plan["regions"]):
            self.assertEqual(region["size_bytes"], 1 << 40)
            self.assertEqual([m["dram_channel"] for m in region["members"]], [index])
            self.assertEqual(region["access0"], {
                "kind": "modelled", "read_latency_ns": 213, "write_latency_ns": 213,
                "linux_read_latency_ns": 215, "linux_write_latency_ns": 215,
                "read_bandwidth_mb_per_s": 26359, "write_bandwidth_mb_per_s": 23723})
        for index, device in enumerate(plan["devices"]):
            self.assertEqual(device["dram_channel"], index)
            self.assertEqual(device["super_nic"], index // 2)
            self.assertEqual(int(device["serial_number"], 16), 0x6762020000000000 | index)
        self.assertEqual(self.plan("--channel-size", "2TiB")["regions"][17]["size_bytes"], 2 << 40)

    def test_every_preset_in_every_form(self):
        regions = {
            ("emfasys18", "super-nics"): [2] * 9, ("emfasys18", "widest"): [16, 2],
            ("emfasys28", "channels"): [1] * 28, ("emfasys28", "super-nics"): [2] * 14,
            ("emfasys28", "widest"): [16, 8, 4], ("laptop", "channels"): [1] * 18,
            ("acf1", "channels"): [1] * 18, ("acf1", "widest"): [16, 2],
        }
        for (preset, form), ways in regions.items():
            with self.subTest(preset=preset, form=form):
                plan = self.plan("--preset", preset, "--form", form)
                self.assertEqual([r["ways"] for r in plan["regions"]], ways)
                channels = sorted(m["dram_channel"] for r in plan["regions"] for m in r["members"])
                self.assertEqual(channels, list(range(plan["box"]["dram_channels"])))

    def test_switches_hot_plug_slots_owner_and_guest(self):
        plan = self.plan("--form", "super-nics", "--switches", "--granularity", "256",
                         "--owner", "pool", "--box-id", "5", "--guest-memory", "2GiB",
                         "--cpus", "1")
        self.assertEqual(len(plan["switches"]), 9)
        self.assertEqual(plan["regions"][0]["granularity_bytes"], 256)
        self.assertEqual(plan["devices"][1]["serial_number"], "0x6762010000050001")
        self.assertEqual(plan["guest_memory_bytes"], 2 << 30)
        self.assertIn("node,nodeid=0,memdev=guest_ram,cpus=0", plan["qemu_arguments"])
        slots = self.plan("--preset", "laptop", "--hot-plug-slots", "2")["hot_plug_slots"]
        self.assertEqual([slot["numa_node"] for slot in slots], [19, 20])
        plan = self.plan("--form", "slots", "--hot-plug-size", "512MiB")
        self.assertEqual(plan["devices"], [])
        self.assertEqual([slot["numa_node"] for slot in plan["hot_plug_slots"]], [1, 2])
        self.assertEqual([window["size_bytes"] for window in plan["windows"]], [512 << 20] * 2)
        text = self.run_program("vm", "plan", "--form", "slots", "--svg", "-").stdout
        xml.etree.ElementTree.fromstring(text)
        self.assertIn(b"empty port", self.run_program("vm", "plan", "--form", "slots").stdout)

    def test_the_pictures_are_xml_and_show_every_channel(self):
        for options in ([], ["--preset", "emfasys28", "--form", "widest"],
                        ["--switches", "--preset", "emfasys28"]):
            path = self.folder / "plan.svg"
            self.run_program("vm", "plan", *options, "--svg", path)
            root = xml.etree.ElementTree.parse(path).getroot()
            self.assertEqual(root.tag, SVG + "svg")
            texts = [text.text for text in root.iter(SVG + "text")]
            channels = 28 if "emfasys28" in options else 18
            for index in range(channels):
                self.assertEqual(texts.count(f"DRAM {index}"), 1)
        drawn = self.run_program("vm", "plan", "--svg", "-").stdout
        xml.etree.ElementTree.fromstring(drawn)

    def test_the_text_and_the_command_line(self):
        text = self.run_program("vm", "plan", status=OK).stdout.decode()
        for word in ("18 TiB", "region17", "DRAM channels", "modelled", "26.36 GB/s"):
            self.assertIn(word, text)
        printed = self.run_program("vm", "plan", "--qemu").stdout.decode()
        command = shlex.split(printed.replace("\\\n", ""))
        self.assertEqual(command[0], "qemu-system-x86_64")
        self.assertEqual(command[1:], self.plan()["qemu_arguments"])
        self.assertEqual(sum(one.startswith("cxl-type3,") for one in command), 18)

    def test_a_written_topology(self):
        path = self.folder / "mine.toml"
        path.write_text(TWO_CHANNELS)
        plan = self.plan("--preset", "laptop", "--topology", path)
        self.assertEqual(plan["origin"], str(path))
        self.assertEqual(plan["regions"][0]["name"], "both")
        self.assertEqual(plan["regions"][0]["size_bytes"], 512 << 20)

    def test_illegal_topologies_name_their_rules(self):
        illegal = {
            "interleave-ways": ["--preset", "acf1", "--form", "super-nics"],
            "granularity-chain": ["--form", "widest", "--granularity", "4KiB"],
            "interleave-granularity": ["--form", "super-nics", "--granularity", "3000"],
            "hdm-decoder-count": ["--preset", "acf1", "--switches"],
            "bridge-count": ["--super-nics", "6", "--channels", "18", "--ports", "6", "--form",
                             "super-nics"],
        }
        for rule, options in illegal.items():
            with self.subTest(rule=rule):
                self.assert_fails(["vm", "plan", *options], USAGE, rule, "Legal")
        path = self.folder / "mine.toml"
        path.write_text(TWO_CHANNELS.replace("port = 1", "port = 0"))
        self.assert_fails(["vm", "plan", "--preset", "laptop", "--topology", path], USAGE,
                          "port-occupied", str(path))

    def test_wrong_options_are_answered(self):
        wrong = [
            (["--form", "rows"], "channels, super-nics, widest, slots"),
            (["--form", "slots", "--hot-plug-slots", "0"], "1 to 16"),
            (["--hot-plug-size", "1MiB"], "a positive multiple of 256MiB"),
            (["--hot-plug-size", "big"], "a size like"),
            (["--form", "widest", "--switches"], "without switches"),
            (["--owner", "me"], "bound, pool"),
            (["--granularity", "big"], "--granularity"),
            (["--guest-memory", "1MiB"], "256MiB"),
            (["--cpus", "0"], "1 to 64"),
            (["--hot-plug-slots", "17"], "0 to 16"),
            (["--topology", self.folder / "none.toml"], "none.toml"),
            (["--topology", "x", "--form", "widest"], "without --form"),
            (["--topology", "x", "--hot-plug-size", "1GiB"], "--hot-plug-size"),
        ]
        for options, words in wrong:
            with self.subTest(options=options):
                self.assert_fails(["vm", "plan", *options], USAGE, words)
        self.run_program("vm", status=USAGE)
        self.run_program("vm", "plan", "--json", "--qemu", status=USAGE)

    def test_a_guest_that_is_larger_than_the_machine_is_refused(self):
        self.assert_fails(["vm", "run", "--preset", "laptop", "--guest-memory", "1TiB", "--",
                           "true"], 125,
                          "the guest's memory is 1048576 MiB and this machine has")



if __name__ == "__main__":
    unittest.main()
