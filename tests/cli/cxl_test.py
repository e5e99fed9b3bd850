# SPDX-License-Identifier: Apache-2.0
import os
import unittest

from program import FAILURE, OK, USAGE, ProgramTest

ROOT = "sys/devices/platform/ACPI0017:00/root0"
BOUND, POOL = 0x6762020000010000, 0x6762010000010000


class CxlTest(ProgramTest):
    """The machine's CXL bus is a folder: nothing here needs one."""

    def setUp(self):
        super().setUp()
        self.root = self.folder / "root"
        self.root.mkdir()

    def put(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def link(self, path, target):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(self.root / target, file)

    def make_bus(self, *serials):
        """A host bridge with a window and a root port for each device."""
        bus = "sys/bus/cxl/devices"
        bridge = "sys/devices/pci0000:10"
        self.put(f"{bridge}/uevent", "")
        self.put(f"{ROOT}/port1/uevent", "")
        self.link(f"{ROOT}/port1/uport", bridge)
        self.link(f"{ROOT}/dport16", bridge)
        self.link(f"{bus}/port1", f"{ROOT}/port1")
        for i, serial in enumerate(serials):
            memdev = f"{bridge}/0000:10:0{i}.0/0000:11:0{i}.0/mem{i}"
            for name, text in (("serial", hex(serial)), ("ram/size", "0x10000000"),
                               ("pmem/size", "0x0"), ("numa_node", "-1")):
                self.put(f"{memdev}/{name}", text)
            endpoint = f"{ROOT}/port1/endpoint{i + 5}"
            self.put(f"{endpoint}/decoder{i + 5}.0/dpa_size", "0x0")
            self.link(f"{endpoint}/uport", memdev)
            window = f"{ROOT}/decoder0.{i}"
            for name, text in (("start", hex(0x100000000 + i * 0x10000000)),
                               ("size", "0x10000000"), ("interleave_ways", "1"),
                               ("interleave_granularity", "256"), ("target_list", "16"),
                               ("cap_type3", "1"), ("create_ram_region", "region0")):
                self.put(f"{window}/{name}", text)
            for name, target in ((f"mem{i}", memdev), (f"endpoint{i + 5}", endpoint),
                                 (f"decoder0.{i}", window),
                                 (f"decoder{i + 5}.0", f"{endpoint}/decoder{i + 5}.0")):
                self.link(f"{bus}/{name}", target)

    def make_region(self, driver):
        """The first device's region, as a dax device of that driver."""
        region = f"{ROOT}/decoder0.0/region0"
        for name, text in (("interleave_ways", "1"), ("interleave_granularity", "256"),
                           ("size", "0x10000000"), ("resource", "0x100000000"), ("commit", "1"),
                           ("target0", "decoder5.0")):
            self.put(f"{region}/{name}", text)
        self.link("sys/bus/cxl/devices/region0", region)
        dax = f"{region}/dax_region0/dax0.0"
        self.put(f"{dax}/size", "268435456")
        self.put(f"{dax}/target_node", "3")
        self.put(f"sys/bus/dax/drivers/{driver}/bind", "")
        self.link(f"{dax}/driver", f"sys/bus/dax/drivers/{driver}")
        self.link("sys/bus/dax/devices/dax0.0", dax)

    def cxl(self, *arguments, **more):
        return self.run_program("cxl", *arguments, "--sysfs-root", self.root, **more)

    def assert_cxl_fails(self, arguments, status, *words):
        self.assert_fails(["cxl", *arguments, "--sysfs-root", self.root], status, *words)

    def test_a_machine_without_cxl_is_told_so(self):
        for arguments in (["status"], ["status", "--json"], ["up", "--as", "dax"], ["down"]):
            self.assert_cxl_fails(
                arguments, FAILURE, "this machine has no CXL bus: /sys/bus/cxl is not there")

    def test_status_lists_channels_by_serial_number(self):
        self.make_bus(BOUND + 1, POOL, 7)
        status = self.run_json("cxl", "status", "--sysfs-root", self.root)
        self.assertEqual(status["schema"], "godbox-cxl-1")
        channels = status["channels"]
        self.assertEqual([c["memdev"] for c in channels], ["mem2", "mem1", "mem0"])
        self.assertEqual([c["owner"] for c in channels], [None, "pool", "bound"])
        self.assertEqual([c["dram_channel"] for c in channels], [None, 0, 1])
        self.assertEqual(channels[2]["serial"], "0x6762020000010001")
        self.assertEqual(channels[2]["pci_address"], "0000:11:00.0")
        self.assertEqual(channels[2]["mode"], "none")
        self.assertEqual(channels[2]["size_bytes"], 256 << 20)
        self.assertEqual(channels[2]["windows"], ["decoder0.0", "decoder0.1", "decoder0.2"])
        self.assertIsNone(channels[2]["numa_node"])
        text = self.cxl("status").stdout.decode()
        self.assertIn("0x6762020000010001", text)
        self.assertIn("256 MiB", text)

    def test_status_says_what_a_channel_is(self):
        self.make_bus(BOUND)
        self.make_region("device_dax")
        channel = self.run_json("cxl", "status", "--sysfs-root", self.root)["channels"][0]
        self.assertEqual((channel["mode"], channel["dax_device"], channel["numa_node"]),
                         ("devdax", "/dev/dax0.0", 3))
        self.assertEqual((channel["region"], channel["region_ways"]), ("region0", 1))
        up = self.run_json("cxl", "up", "--as", "dax", "--sysfs-root", self.root)
        self.assertEqual(up["already_up"], ["0x6762020000010000"])
        self.assertEqual(up["brought_up"], [])
        self.assertIn(b"nothing to do", self.cxl("up", "--as", "dax", status=OK).stdout)
        self.assert_cxl_fails(["up", "--as", "numa"], USAGE, "region0", "down first")

    def test_a_pool_channel_is_refused_as_numa_memory(self):
        self.make_bus(POOL + 4)
        for more in ([], ["--serial", hex(POOL + 4)], ["--all-devices"], ["--owner", "pool"]):
            self.assert_cxl_fails(
                ["up", "--as", "numa", *more], FAILURE, "DRAM channel 4", "pool", "access_denied")

    def test_what_is_missing_is_named(self):
        self.make_bus(BOUND)
        self.assert_cxl_fails(["up", "--as", "dax"], FAILURE, "cxl_region")
        self.put("sys/bus/cxl/drivers/cxl_region/bind", "")
        self.assert_cxl_fails(["up", "--as", "dax"], FAILURE, "modprobe device_dax")
        self.assert_cxl_fails(["up", "--as", "numa"], FAILURE, "modprobe kmem")

    def test_garbage_in_a_file_is_an_error_that_names_it(self):
        self.make_bus(BOUND)
        self.put("sys/bus/cxl/devices/mem0/serial", "none")
        self.assert_cxl_fails(["status"], FAILURE, "mem0/serial", "none")

    def test_wrong_command_lines_name_what_is_allowed(self):
        self.make_bus(BOUND)
        for arguments, *words in (
            (["up"], "--as"),
            (["up", "--as", "disk"], "--as", "disk"),
            (["up", "--as", "dax", "--serial", "three"], "--serial", "three"),
            (["up", "--as", "dax", "--serial", "5"], "0x5"),
            (["up", "--as", "dax", "--owner", "me"], "--owner", "me"),
            (["up", "--as", "dax", "--serial", "5", "--all-devices"], "--all-devices"),
            (["up", "--as", "dax", "--region", "decoder0.0"], "--region", "WINDOW"),
            (["up", "--as", "dax", "--region", "decoder0.0:256:x"], "--region", "x"),
            (["up", "--as", "dax", "--region", f"decoder0.9:256:{BOUND}"], "decoder0.9"),
            (["status", "--health"], "--sysfs-root"),
        ):
            with self.subTest(arguments=arguments):
                self.assert_cxl_fails(arguments, USAGE, *words)
        self.assert_fails(["cxl"], USAGE, "subcommand")


if __name__ == "__main__":
    unittest.main()
