#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a booted box shows, judged by unmodified programs in the guest: cxl, numactl, stress-ng,
memtester, and the bytes themselves. Boots several VMs, some minutes in all.

usage: GODBOX_PROGRAM=... guest_test.py [-v] [name of a test]
"""

import json
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from machine import SKIPPED, Box, Machine, die_with_parent, why_not, why_not_patched

GODBOX = os.path.abspath(os.environ["GODBOX_PROGRAM"])
MIB = 1 << 20
TIB = 1 << 40


def run_in_new(options, command, limit_s=400):
    """One boot for one command; its output."""
    result = subprocess.run([GODBOX, "vm", "run", "--name", f"once-{os.getpid()}", "--timeout",
                             str(limit_s), *options, "--",
                             *command],
                            stdout=subprocess.PIPE, text=True, timeout=limit_s + 60, check=False,
                            preexec_fn=die_with_parent)
    assert result.returncode == 0, (options, command, result.returncode, result.stdout)
    return result.stdout


def plan_of(options):
    text = subprocess.run([GODBOX, "vm", "plan", "--json", *options], stdout=subprocess.PIPE,
                          text=True, check=True).stdout
    return json.loads(text)


def channel_files(machine):
    """The memory behind the devices, by device: descriptors of the process that runs the VM. Of
    devices that have one memory in common, by the first of them."""
    arguments = Path(f"/proc/{machine.qemu()}/cmdline").read_text().split("\0")
    files = {}
    for argument in arguments:
        found = re.match(r"memory-backend-file,.*id=dram(\d+),", argument + ",")
        path = re.search(r"mem-path=([^,]+)", argument)
        if found and path:
            files[int(found.group(1))] = path.group(1)
    return files


def map_file(path, size):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
    finally:
        os.close(descriptor)


class FullSize(unittest.TestCase):
    def test_channels_of_one_and_two_tebibytes(self):
        for size, options in ((TIB, []), (2 * TIB, ["--channel-size", "2TiB"])):
            listed = json.loads(run_in_new(["--preset", "emfasys18", *options],
                                           ["cxl", "list", "-M"]))
            print(f"{len(listed)} devices of {listed[0]['ram_size'] // TIB} TiB (emulated)")
            self.assertEqual(len(listed), 18)
            self.assertEqual({device["ram_size"] for device in listed}, {size})
            self.assertEqual(len({device["serial"] for device in listed}), 18)


class NumaNodes(unittest.TestCase):
    def test_unmodified_programs_on_a_node(self):
        start = time.monotonic()
        with Machine(GODBOX, ["--preset", "laptop", "--guest-memory", "2GiB"]) as machine:
            # Before memory that devices cannot reach comes on line, programs go to node 0's memory.
            machine.output(["sh", "-c", STAGE])
            machine.output([GODBOX, "cxl", "up", "--as", "numa"])
            nodes = machine.output(["numactl", "-H"])
            print(nodes.splitlines()[0], f"after {time.monotonic() - start:.0f} s")
            self.assertIn("available: 19 nodes (0-18)", nodes)
            again = machine.output([GODBOX, "cxl", "up", "--as", "numa"])
            self.assertIn("nothing to do", again)
            for command in ("stress-ng --vm 1 --vm-bytes 1M --vm-ops 200 --verify",
                            "memtester 32K 1"):
                command = f"numactl --membind=1 {command}"
                begin = time.monotonic()
                output = machine.output(
                    ["sh", "-c", f"cd /dev/shm/stage && {staged(command)} 2>&1"], 600)
                print(command, f"ok in {time.monotonic() - begin:.0f} s (emulated)")
                self.assertNotIn("FAILURE", output)
            self.check_access_figures(machine)
            machine.output([GODBOX, "cxl", "down"])
            self.assertIn("available: 1 nodes (0)", machine.output(["numactl", "-H"]))

    def check_access_figures(self, machine):
        """access0 of each region is the configured sum and minimum, as Linux adds them up."""
        for index, region in enumerate(plan_of(["--preset", "laptop"])["regions"]):
            folder = f"/sys/bus/cxl/devices/region{index}/access0"
            text = machine.output(["sh", "-c", f"cd {folder} && cat read_latency read_bandwidth"])
            latency_ns, bandwidth = (float(word) for word in text.split())
            planned = region["access0"]
            self.assertAlmostEqual(latency_ns, planned["linux_read_latency_ns"], delta=1)
            self.assertAlmostEqual(bandwidth, planned["read_bandwidth_mb_per_s"],
                                   delta=0.01 * planned["read_bandwidth_mb_per_s"])
        print(f"access0: {latency_ns:.0f} ns, {bandwidth:.0f} MB/s of 18 regions (modelled);",
              f"configured sum {planned['read_latency_ns']} ns")


# Copies of the programs and of what they load, with a way to start them.
PROGRAMS = ("numactl", "stress-ng", "memtester", "sh")
STAGE = ("mkdir -p /dev/shm/stage && cd /dev/shm/stage && for name in " + " ".join(PROGRAMS) +
         "; do path=$(readlink -f $(command -v $name)); cp $path $name; "
         "cp -n $(ldd $path | grep -o '/[^ ]*') . ; done; ls")


def staged(command):
    """The command with each program started from the stage, by the loader that lies there."""
    loader = "./ld-linux-x86-64.so.2 --library-path ."
    return " ".join(f"{loader} ./{word}" if word in PROGRAMS else word
                    for word in command.split())


# Compiled, linked and run with all its memory on CXL nodes; tells where its own code is.
COMPILE_AND_RUN = r"""
mkdir -p /tmp/program && cd /tmp/program && cat >sum.c <<'END'
#include <stdio.h>
#include <string.h>
int main(void) {
  static unsigned char bytes[4 << 20];
  unsigned long sum = 0;
  char line[512];
  for (unsigned long i = 0; i < sizeof bytes; ++i) bytes[i] = (unsigned char)(i * 7);
  for (unsigned long i = 0; i < sizeof bytes; ++i) sum += bytes[i];
  printf("sum %lu\n", sum);
  FILE* maps = fopen("/proc/self/numa_maps", "r");
  while (fgets(line, sizeof line, maps)) if (strstr(line, "/sum")) fputs(line, stdout);
  return 0;
}
END
cc -O1 -o sum sum.c && ./sum
"""


class PatchedQemu(unittest.TestCase):
    def setUp(self):
        if why_not_patched():
            self.skipTest(why_not_patched())

    def on_all_nodes(self, machine, command, limit_s):
        begin = time.monotonic()
        output = machine.output(["numactl", "--membind=1-18", "bash", "-c", command + " 2>&1"],
                                limit_s)
        print(command.strip().splitlines()[0], f"ok in {time.monotonic() - begin:.0f} s (emulated)",
              flush=True)
        return output

    def test_unmodified_programs_on_all_18_nodes(self):
        options = ["--preset", "laptop", "--guest-memory", "2GiB", "--up", "numa"]
        with Machine(GODBOX, options) as machine:
            self.assertIn("available: 19 nodes (0-18)", machine.output(["numactl", "-H"]))
            output = self.on_all_nodes(machine, COMPILE_AND_RUN, 600)
            self.assertIn(f"sum {sum(i * 7 % 256 for i in range(256)) * (4 * MIB // 256)}", output)
            code = [line for line in output.splitlines() if "/sum" in line]
            self.assertTrue(code)
            for line in code:
                self.assertNotRegex(line, r"\bN0=")
            output = self.on_all_nodes(
                machine, "stress-ng --vm 2 --vm-bytes 64M --vm-ops 2000 --verify", 1200)
            self.assertNotIn("fail", output.lower().replace("failed: 0", ""))
            output = self.on_all_nodes(machine, "memtester 64M 1", 1800)
            self.assertNotIn("FAILURE", output)
            self.assertIn("Done.", output)
            self.assertEqual(machine.tell("status")["qemu_messages"], "")

    # The DPA of a byte of an x2 region at 256 B, by hand: granules go to the channels in turn.
    LINE = 0x340  # in the fourth granule: of the second channel, its second one
    LINE_DPA = 0x140

    def read(self, machine, device, offset, size=8):
        """What a program reads there; 135: it was ended by SIGBUS."""
        result = machine.run(["python3", "-c", READ, device, str(offset), str(size)])
        return result.stdout.strip() if result.returncode == 0 else result.returncode

    def channels(self, machine, *options):
        return {channel["serial"]: channel
                for channel in machine.tell("channel", *options)["channels"]}

    def start_pair(self):
        return Machine(GODBOX, ["--preset", "laptop", "--super-nics", "1", "--channels", "2",
                                "--ports", "1", "--form", "super-nics", "--granularity", "256",
                                "--up", "dax"])

    def test_a_poisoned_line_of_an_interleaved_region_in_ram(self):
        with self.start_pair() as machine:
            channels = machine.json([GODBOX, "cxl", "status", "--json"])["channels"]
            device, serial = channels[1]["dax_device"], channels[1]["serial"]
            machine.output(["python3", "-c", WRITE_PATTERN, device, str(2 * MIB), "8", "0"])
            # It is RAM: nothing was counted.
            for channel in self.channels(machine).values():
                self.assertEqual((channel["bytes_read"], channel["bytes_written"]), (0, 0))
            machine.tell("poison", "--serial", serial, "--dpa", hex(self.LINE_DPA))
            for offset in (self.LINE - 8, self.LINE + 64):
                self.assertEqual(self.read(machine, device, offset), str(offset))
            self.assertEqual(self.read(machine, device, self.LINE + 56), 135)
            kernel = machine.output(["sh", "-c", "dmesg | grep -i 'memory failure' || true"])
            print("the guest's kernel:", kernel.strip().splitlines()[-1:])
            for offset in (self.LINE - 8, self.LINE + 64, self.LINE + 4096):
                self.assertEqual(self.read(machine, device, offset), str(offset))
            machine.tell("poison", "--serial", serial, "--dpa", hex(self.LINE_DPA), "--clear")
            self.assertEqual(self.read(machine, device, self.LINE), "0")
            machine.output(["python3", "-c", WRITE_PATTERN, device, str(2 * MIB), "8", "0"])
            for offset in (self.LINE - 8, self.LINE, self.LINE + 56, self.LINE + 64):
                self.assertEqual(self.read(machine, device, offset), str(offset))
            before = self.channels(machine)
            self.read(machine, device, self.LINE)
            self.assertEqual(self.channels(machine), before)  # RAM again
            self.assertEqual(machine.tell("status")["qemu_messages"], "")

    def test_faults_and_counters_of_channels(self):
        with self.start_pair() as machine:
            channels = machine.json([GODBOX, "cxl", "status", "--json"])["channels"]
            device, serial = channels[0]["dax_device"], channels[1]["serial"]
            number = int(serial, 16)
            machine.output(["python3", "-c", WRITE_PATTERN, device, str(2 * MIB), "8", "0"])
            for fault, mended in (("--link down", "--link up"), ("--media dead", "--media ok")):
                self.channels(machine, "--serial", serial, *fault.split())
                self.assertEqual(self.read(machine, device, 0), "0")  # the first channel's
                self.assertEqual(self.read(machine, device, 4096 + 256), 135)
                self.channels(machine, "--serial", serial, *mended.split())
                self.assertEqual(self.read(machine, device, 4096 + 256), str(4096 + 256))
            self.channels(machine, "--serial", serial, "--access", "counted")
            before = self.channels(machine)[number]["bytes_read"]
            self.read(machine, device, 0, 65536)
            counted = self.channels(machine)[number]["bytes_read"] - before
            print(f"of 65536 bytes of the region {counted} were counted on one of two channels")
            self.assertEqual(counted, 32768)
            begin = time.monotonic()
            self.channels(machine, "--serial", serial, "--delay-ns", "1000000")
            self.read(machine, device, 0, 16384)
            took = time.monotonic() - begin
            self.assertGreater(took, 16384 / 2 / 8 * 0.001)
            shown = self.channels(machine, "--serial", serial, "--delay-ns", "0", "--access",
                                  "direct")[number]
            self.assertEqual((shown["access"], shown["delay_ns"]), ("direct", 0))
            for bad, words in ((["--serial", serial, "--link", "sideways"], "--link"),
                               (["--serial", serial, "--media", "tired"], "--media"),
                               (["--serial", serial, "--access", "fast"], "--access"),
                               (["--serial", serial, "--delay-ns", "1000001"], "--delay-ns"),
                               (["--serial", "0x1", "--link", "down"], "no channel 0x1"),
                               (["--link", "down"], "serial number")):
                refused = subprocess.run([GODBOX, "vm", "channel", "--name", machine.name, *bad],
                                         capture_output=True, text=True, check=False)
                self.assertNotEqual(refused.returncode, 0)
                self.assertIn(words, refused.stderr)

    def test_a_box_that_goes_away_leaves_errors_and_a_vm_that_answers(self):
        with tempfile.TemporaryDirectory() as folder:
            box = Box(GODBOX, folder, "--map-memory", "cxl", "--form", "super-nics")
            options = ["--preset", "laptop", "--pool", box.socket, "--up", "dax"]
            try:
                with Machine(GODBOX, options) as machine:
                    channels = machine.json([GODBOX, "cxl", "status", "--json"])["channels"]
                    device = channels[0]["dax_device"]
                    self.assertNotEqual(self.read(machine, device, 0), 135)
                    box.process.kill()
                    end = time.monotonic() + 30
                    while time.monotonic() < end and any(
                            one["media"] == "ok" for one in self.channels(machine).values()):
                        time.sleep(0.2)
                    self.assertEqual(self.read(machine, device, 0), 135)
                    self.assertEqual(machine.output(["echo", "alive"]), "alive\n")
            finally:
                box.end()

    def test_a_bound_device_fails_at_a_lost_line_and_outlives_its_box(self):
        with tempfile.TemporaryDirectory() as folder:
            box = Box(GODBOX, folder)
            options = ["--preset", "laptop", "--form", "slots", "--hot-plug-slots", "2"]
            try:
                with Machine(GODBOX, options) as machine:
                    told = box.json("pool", "bind", "--vm", machine.name, "--size", "256MiB",
                                    "--up", "dax")
                    serial = hex(told["serial"])
                    device = next(channel["dax_device"] for channel
                                  in machine.json([GODBOX, "cxl", "status", "--json"])["channels"]
                                  if int(channel["serial"], 16) == told["serial"])
                    line = self.lose_a_line(box, machine, told["serial"])
                    for offset in (line - 8, line + 64):
                        self.assertEqual(self.read(machine, device, offset), "0")
                    self.assertEqual(self.read(machine, device, line), 135)
                    box.process.kill()
                    box.process.wait()
                    self.until_lost(machine)
                    # What the VM was given stays its own, as it is, until it is taken out.
                    machine.output(["python3", "-c", WRITE_PATTERN, device, str(2 * MIB), "8", "0"])
                    self.assertEqual(self.read(machine, device, MIB), str(MIB))
                    self.assertEqual(machine.run([GODBOX, "cxl", "down"]).returncode, 0)
                    machine.tell("detach", "--serial", serial)
                    self.assertEqual(machine.tell("status")["attached"], [])
                    self.assertEqual(machine.output(["echo", "alive"]), "alive\n")
            finally:
                box.end()

    def lose_a_line(self, box, machine, serial):
        """One of 64 bytes in DRAM channel 0, a MiB behind the beginning of a slab's piece, so some
        MiB behind the device's own; its DPA."""
        for address in range(MIB, 256 * MIB, 4 * MIB):
            result = box.run("pool", "poison", "--dram-channel", "0", "--address", hex(address),
                             "--json")
            if result.returncode == 3:
                self.assertIn("are no VM's", result.stderr)
                continue
            self.assertEqual(result.returncode, 0, result.stderr)
            [marked] = json.loads(result.stdout)["marked"]
            self.assertEqual((marked["vm"], marked["serial"], marked["length_bytes"]),
                             (machine.name, serial, 64))
            self.assertGreater(marked["dpa"], 2 * MIB)
            return marked["dpa"]
        raise AssertionError("no line of DRAM channel 0 is a VM's")

    def until_lost(self, machine):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            [attached] = machine.tell("status")["attached"]
            if attached["box_lost"]:
                return
            time.sleep(0.2)
        raise AssertionError("the VM does not say that its box is lost")


# Prints bytes of a device as a number.
READ = """
import mmap, os, sys
path, offset, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
file = os.open(path, os.O_RDWR)
begin = offset & -(2 << 20)
memory = mmap.mmap(file, 2 << 20, offset=begin)
offset -= begin
if size == 8:
    print(int.from_bytes(memory[offset:offset + 8], "little"))
else:  # in loads of eight bytes, none twice
    print(8 * len(memoryview(memory)[offset:offset + size].cast("Q").tolist()))
"""


class Dax(unittest.TestCase):
    def test_a_bench_stripes_over_18_devices(self):
        options = ["--preset", "laptop", "--up", "dax", "--guest-memory", "2GiB"]
        with Machine(GODBOX, options) as machine:
            result = machine.json([GODBOX, "bench", "--target", "dax", "--working-set", "64MiB",
                                   "--json", "--repeats", "1"])
            # What the devices got, counted by the kernel of this machine: memory is sparse.
            held = [os.stat(path).st_blocks * 512 for path in channel_files(machine).values()]
        for row in result["rows"]:
            print(row["workload"], row.get("op", ""), "imbalance", row["channel_imbalance"])
            self.assertLessEqual(row["channel_imbalance"], 1.05)
        print(f"the devices hold {min(held)} to {max(held)} bytes, {sum(held)} in all")
        self.assertEqual(len(held), 18)
        self.assertGreaterEqual(sum(held), 64 * MIB)
        self.assertLessEqual(max(held) / (sum(held) / 18), 1.05)

    def test_a_bench_s_box_has_18_devices(self):
        with Machine(GODBOX, ["--preset", "laptop"]) as machine:
            machine.output([GODBOX, "cxl", "up", "--as", "dax"])
            rows = machine.json([GODBOX, "bench", "--target", "box-dax", "--workload",
                                 "scatter,remote-page", "--sizes", "4KiB", "--pieces", "512",
                                 "--working-set", "4MiB", "--repeats", "1", "--transport",
                                 "local", "--json"])["rows"]
        print("a box over 18 devices dax:", [(row["workload"], row["op"], row["gb_per_s_median"])
                                             for row in rows])
        self.assertEqual(len(rows), 4)
        for row in rows:
            self.assertEqual((row["target"], row["channels"], row["wrong_bytes"]),
                             ("box-dax", 18, 0))
            self.assertGreaterEqual(row["bytes_checked"], 2 << 20)

    def test_a_box_serves_dax_devices(self):
        """The whole box in the guest, its DRAM channels the guest's CXL memory."""
        options = ["--preset", "laptop", "--up", "dax", "--guest-memory", "2GiB"]
        with Machine(GODBOX, options) as machine:
            machine.output(["sh", "-c", SERVE_DAX.replace("GODBOX", GODBOX)])
            held = [os.stat(path).st_blocks * 512 for path in channel_files(machine).values()]
        print(f"serve over dax: the devices hold {min(held)} to {max(held)} bytes")
        self.assertGreaterEqual(min(held), MIB // 18)


# Run in the guest, where two commands cannot run side by side.
SERVE_DAX = r"""
set -e
mkdir -p /tmp/box && cd /tmp/box
cat > box.toml <<END
memory = "device"
memory_path = "/dev/dax{}.0"
dram_channel_size = "256MiB"
END
GODBOX serve --preset laptop --config box.toml --control-socket ./control --tcp-port-base 0 \
    --json > ready.json &
box=$!
for try in $(seq 300); do [ -s ready.json ] && break; sleep 0.1; done
head -c 3000000 /dev/urandom > written
GODBOX put --connect "local:./control" object written
GODBOX get --connect "local:./control" object read
cmp written read
port=$(sed 's/.*"eth_ports":\["\([^"]*\)".*/\1/' ready.json)
GODBOX get --connect "$port" object over_tcp
cmp written over_tcp
kill $box && wait $box
"""


WRITE_PATTERN = """
import mmap, os, struct, sys
path, size, step, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
file = os.open(path, os.O_RDWR)
memory = mmap.mmap(file, size)
for offset in range(0, size, step):
    memory[offset:offset + 8] = struct.pack("<Q", seed << 48 | offset)
"""


class Forms(unittest.TestCase):
    def check(self, options):
        plan = plan_of(options)
        with Machine(GODBOX, options) as machine:
            machine.output([GODBOX, "cxl", "up", "--as", "dax"])
            regions = machine.json(["cxl", "list", "-R"])
            shown = sorted((region["size"], region["interleave_ways"]) for region in regions)
            self.assertEqual(shown, sorted((region["size_bytes"], region["ways"])
                                           for region in plan["regions"]))
            channels = machine.json([GODBOX, "cxl", "status", "--json"])["channels"]
            self.check_bytes(machine, plan, channels)
        print(" ".join(options), "->", len(regions), "regions,", len(plan["windows"]) + 1, "nodes")

    def check_bytes(self, machine, plan, channels):
        """Writes through each region in the guest, and finds each word where the plan has it."""
        files = channel_files(machine)
        by_channel = {channel["dram_channel"]: channel for channel in channels}
        for seed, region in enumerate(plan["regions"], start=1):
            members = [member["dram_channel"] for member in region["members"]]
            device = by_channel[members[0]]["dax_device"]
            for position, member in enumerate(members):
                self.assertEqual(by_channel[member]["dax_device"], device)
            granularity, ways = region["granularity_bytes"], region["ways"]
            size = 64 * granularity * ways
            size += -size % (2 * MIB)
            machine.output(["python3", "-c", WRITE_PATTERN, device, str(size), str(granularity),
                            str(seed)])
            memories = {member: map_file(files[member], size) for member in members
                        if member in files}
            # A patched QEMU has all of a region's channels in one memory, in its order.
            is_shared = len(memories) < ways
            for granule, offset in enumerate(range(0, size, granularity)):
                memory = memories[min(members) if is_shared else members[granule % ways]]
                at = offset if is_shared else granule // ways * granularity
                self.assertEqual(int.from_bytes(memory[at:at + 8], "little"), seed << 48 | offset,
                                 f"region {seed}, granule {granule}")

    def test_a_region_per_channel(self):
        self.check(["--preset", "laptop"])

    def test_a_region_per_super_nic(self):
        self.check(["--preset", "laptop", "--form", "super-nics"])

    def test_the_widest_regions(self):
        self.check(["--preset", "laptop", "--form", "widest"])

    def test_28_channels(self):
        small = ["--preset", "emfasys28", "--channel-size", "256MiB"]
        self.check(small)
        self.check([*small, "--form", "widest"])


class HotPlug(unittest.TestCase):
    def test_ten_times_in_and_out(self):
        options = ["--preset", "laptop", "--hot-plug-slots", "1"]
        with Machine(GODBOX, options) as machine:
            for turn in range(10):
                serial = machine.tell("attach")["serial"]
                listed = machine.json(["cxl", "list", "-M"])
                self.assertEqual(len(listed), 19)
                self.assertIn(serial, [device["serial"] for device in listed])
                if turn == 0:
                    self.check_in_use(machine, serial)
                machine.tell("detach", "--serial", hex(serial))
                self.assertEqual(len(machine.json(["cxl", "list", "-M"])), 18)
        print("attached and detached 10 times")

    def check_in_use(self, machine, serial):
        machine.output([GODBOX, "cxl", "up", "--as", "dax", "--serial", hex(serial)])
        refused = subprocess.run([GODBOX, "vm", "detach", "--name", machine.name],
                                 capture_output=True, text=True, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("in use", refused.stderr)
        machine.output([GODBOX, "cxl", "down", "--serial", hex(serial)])


# Takes memory of a node for as long as it runs, and looks at it again and again.
HOLD = ("setsid numactl --membind=1 stress-ng --vm 1 --vm-bytes {}m --vm-keep --vm-populate "
        "</dev/null >/dev/null 2>&1 & for try in $(seq 300); do "
        "[ $(cat /sys/devices/system/node/node1/meminfo | sed -n 's/.*MemUsed: *//p' | cut -d' ' "
        "-f1) -gt {}000 ] && exit 0; sleep 0.1; done; exit 1")
# As the kernel does that runs out of memory: when the first memory block is off line.
KILL_HALF_WAY = ("until grep -q offline /sys/devices/system/memory/memory*/state; do sleep 0.02; "
                 "done; pkill -9 -f '[c]xl down'")


class BoundNode(unittest.TestCase):
    """A logical device that is the guest's memory, and is to go."""

    def setUp(self):
        if why_not_patched():
            self.skipTest(why_not_patched())
        self.box = Box(GODBOX, self.enterContext(tempfile.TemporaryDirectory()))
        self.addCleanup(self.box.process.stdout.close)
        self.addCleanup(self.box.end)
        self.machine = self.enterContext(Machine(GODBOX, [
            "--preset", "laptop", "--form", "slots", "--hot-plug-slots", "1", "--guest-memory",
            "512MiB"]))
        self.number = str(self.box.json("pool", "bind", "--vm", self.machine.name, "--size",
                                        "256MiB", "--up", "numa")["logical_device"])
        self.assertIn("available: 2 nodes (0-1)", self.nodes())

    def nodes(self):
        return self.machine.output(["numactl", "-H"])

    def unbind(self, how):
        begin = time.monotonic()
        result = self.box.run("pool", "unbind", "--device", self.number, how)
        print(f"unbind {how}: {result.returncode} after {time.monotonic() - begin:.0f} s:",
              result.stderr.strip(), flush=True)
        return result

    def node_kib(self):
        """What node 1 has in all."""
        text = self.machine.output(["cat", "/sys/devices/system/node/node1/meminfo"])
        return int(re.search(r"MemTotal: *(\d+) kB", text).group(1))

    def test_unused_memory_is_taken_off_line_before_it_goes_by_force(self):
        self.assertEqual(self.unbind("--force").returncode, 0)
        self.assertIn("available: 1 nodes (0)", self.nodes())
        self.machine.output(["sh", "-c", "for try in $(seq 20); do ls / >/dev/null; done"])

    def test_a_down_that_is_killed_half_way_leaves_all_of_the_memory(self):
        before = self.node_kib()
        self.assertEqual(before, 256 * 1024)
        self.machine.output(["sh", "-c", HOLD.format(100, 100)])
        killer = subprocess.Popen([GODBOX, "vm", "exec", "--name", self.machine.name, "--", "sh",
                                   "-c", KILL_HALF_WAY], preexec_fn=die_with_parent)
        while not self.machine.tell("status")["busy"]:
            time.sleep(0.1)
        result = self.unbind("--down")
        self.assertEqual(killer.wait(60), 0)
        self.assertEqual(result.returncode, 5)
        self.assertIn("godbox cxl down ended with exit status 137 (SIGKILL", result.stderr)
        self.assertEqual(self.node_kib(), before)
        # Nobody stands in the way of the next one, for which node 0 has room.
        self.assertEqual(self.unbind("--down").returncode, 0)
        self.assertIn("available: 1 nodes (0)", self.nodes())


def ask_and_leave(name, arguments):
    """Asks the VM to run a command as `vm exec` does, and is gone before it begins."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(f"\0godbox-vm-{os.getuid()}-{name}")
        request = json.dumps({"do": "exec", "arguments": arguments, "folder": "/"}).encode()
        with open(os.devnull, "w", encoding="ascii") as nothing:
            socket.send_fds(asking, [request], [nothing.fileno(), nothing.fileno()])


PULL_UNDER_LOAD = r"""
cd /tmp
GODBOX bench --target dax --working-set 32MiB --repeats 1000 --json > bench.json 2> bench.err
status=$?
cat bench.err >&2
echo "status $status"
"""


class Faults(unittest.TestCase):
    def poison_lists(self, machine):
        channels = machine.json([GODBOX, "cxl", "status", "--health", "--json"])["channels"]
        return {channel["serial"]: [(entry["dpa"], entry["length_bytes"], entry["source"])
                                    for entry in channel["health"]["poison"]]
                for channel in channels}

    def test_poison_is_listed(self):
        with Machine(GODBOX, ["--preset", "laptop"]) as machine:
            lists = self.poison_lists(machine)
            self.assertEqual(len(lists), 18)
            self.assertEqual({len(entries) for entries in lists.values()}, {0})
            serial = sorted(lists)[3]
            machine.tell("poison", "--serial", serial, "--dpa", "0x10000", "--length", "128")
            machine.tell("poison", "--serial", serial, "--dpa", "268435392")  # the last 64 bytes
            lists = self.poison_lists(machine)
            print("poison listed:", lists[serial])
            self.assertEqual(sorted(lists.pop(serial)), [(0x10000, 128, "Internal"),
                                                         (268435392, 64, "Internal")])
            self.assertEqual({len(entries) for entries in lists.values()}, {0})
            for bad, words in ((["--serial", serial, "--dpa", "1"], "units of 64 bytes"),
                               (["--serial", serial, "--dpa", "0x10000000"], "has 0x10000000"),
                               (["--serial", "0x1", "--dpa", "0"], "no channel 0x1"),
                               (["--serial", "x", "--dpa", "0"], "--serial: \"x\" is no number")):
                refused = subprocess.run([GODBOX, "vm", "poison", "--name", machine.name, *bad],
                                         capture_output=True, text=True, check=False)
                self.assertNotEqual(refused.returncode, 0)
                self.assertIn(words, refused.stderr)

    def test_a_channel_is_pulled_under_load(self):
        options = ["--preset", "laptop", "--hot-plug-slots", "1", "--guest-memory", "2GiB"]
        with Machine(GODBOX, options) as machine:
            serial = hex(machine.tell("attach")["serial"])
            machine.output([GODBOX, "cxl", "up", "--as", "dax", "--serial", serial])
            load = subprocess.Popen([GODBOX, "vm", "exec", "--name", machine.name, "--", "sh",
                                     "-c", PULL_UNDER_LOAD.replace("GODBOX", GODBOX)],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    preexec_fn=die_with_parent)
            time.sleep(10)
            self.assertIsNone(load.poll(), "the load ended by itself")
            refused = subprocess.run([GODBOX, "vm", "detach", "--name", machine.name],
                                     capture_output=True, text=True, check=False)
            self.assertIn("is in use: the guest has it in a region", refused.stderr)
            machine.tell("detach", "--serial", serial, "--force")
            output, errors = load.communicate(timeout=120)
            print("pulled under load:", errors.strip().splitlines()[-1])
            self.assertNotIn("status 0", output)
            self.assertRegex(errors, "godbox: error: bench: ")
            self.assertEqual(len(machine.json(["cxl", "list", "-M"])), 18)
            # The slot takes another one, and the guest brings it up and uses it.
            serial = hex(machine.tell("attach")["serial"])
            machine.output([GODBOX, "cxl", "up", "--as", "dax", "--serial", serial])
            machine.output([GODBOX, "bench", "--target", "dax", "--working-set", "2MiB",
                            "--repeats", "1"])

    def test_a_command_ends_with_who_asked_for_it(self):
        with Machine(GODBOX, ["--preset", "laptop"]) as machine:
            for end in (signal.SIGINT, signal.SIGKILL):
                asking = subprocess.Popen([GODBOX, "vm", "exec", "--name", machine.name, "--",
                                           "sleep", "1000"], preexec_fn=die_with_parent)
                while not machine.tell("status")["busy"]:
                    time.sleep(0.1)
                asking.send_signal(end)
                asking.wait()
                limit = time.monotonic() + 20
                while machine.tell("status")["busy"] and time.monotonic() < limit:
                    time.sleep(0.1)
                self.assertEqual(machine.output(["echo", "next"]), "next\n")

    def test_a_command_whose_client_is_gone_at_once_ends_too(self):
        with Machine(GODBOX, ["--preset", "laptop"]) as machine:
            for _ in range(5):
                ask_and_leave(machine.name, ["sleep", "1000"])
            ask_and_leave(machine.name, ["sh", "-c", "(trap '' TERM; exec sleep 77) & "
                                                     "timeout 78 sleep 78; true"])
            limit = time.monotonic() + 30
            while machine.tell("status")["busy"] and time.monotonic() < limit:
                time.sleep(0.1)
            left = machine.output(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"])
            self.assertNotRegex(left, "sleep (77|78|1000)")
            # A command's signals are those of any other.
            self.assertIn("SigIgn:\t0000000000000000",
                          machine.output(["grep", "SigIgn", "/proc/self/status"]))

    def test_an_end_in_order_after_a_signal(self):
        machine = Machine(GODBOX, ["--preset", "laptop"])
        machine.wait()
        machine.process.send_signal(signal.SIGTERM)
        self.assertEqual(machine.process.wait(30), 0)

    def test_nothing_is_left_after_kill(self):
        machine = Machine(GODBOX, ["--preset", "laptop"])
        machine.wait()
        qemu = machine.qemu()
        machine.process.kill()
        machine.process.wait()
        end = time.monotonic() + 10
        while os.path.exists(f"/proc/{qemu}") and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse(os.path.exists(f"/proc/{qemu}"))
        stopped = subprocess.run([GODBOX, "vm", "stop", "--name", machine.name],
                                 capture_output=True, text=True, check=False)
        self.assertNotEqual(stopped.returncode, 0)
        self.assertIn("no VM named", stopped.stderr)


if __name__ == "__main__":
    reason = why_not(GODBOX)
    if reason:
        print(f"SKIPPED: {reason}")
        sys.exit(SKIPPED)
    unittest.main()
