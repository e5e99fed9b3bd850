#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a VM's process does between a box, QEMU and a guest while devices come and go, with a QEMU
that is none (fake_qemu.py): so it needs no guest image, and every step can be held up."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import unittest.mock

from machine import Box, Machine, die_with_parent

GODBOX = os.environ["GODBOX_PROGRAM"]
LIMIT_S = 60
FORCE_LIMIT_S = 45  # 30 s for the guest, and what it takes to go on without it
# The guest's command that says how a device is used, and what that ends with.
USE_CHECK, IN_USE, IS_RAM = "drivers/kmem", 9, 10
LOOK_LIMIT_S = 8  # of vm status; a box that does not answer is waited for 20 s


class BindFlowTest(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        os.mkdir(f"{folder}/modules")
        for name in ("vmlinuz", "initramfs", "version"):
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write("kernel fake\n")
        self.folder, self.log = folder, f"{folder}/log"
        self.box = Box(GODBOX, folder, "--backing-limit", "2GiB")
        self.addCleanup(self.box.process.stdout.close)
        self.addCleanup(self.box.end)

    def vm(self, hangs="", statuses=None):
        """A guest in which commands with such words do not end, or end with such a status."""
        self.enterContext(unittest.mock.patch.dict(os.environ, {
            "FAKE_GUEST_LOG": self.log, "FAKE_GUEST_HANGS": hangs,
            "FAKE_GUEST_STATUSES": json.dumps(statuses or {})}))
        return self.enterContext(Machine(GODBOX, self.options("slots")))

    def options(self, form):
        return ["--preset", "laptop", "--form", form, "--accelerator", "tcg", "--no-network",
                "--guest-memory", "256MiB", "--guest-image", self.folder, "--qemu",
                os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake_qemu.py")]

    def start(self, *arguments):
        return subprocess.Popen([GODBOX, *arguments], stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.PIPE, preexec_fn=die_with_parent)

    def bind(self, vm, *options):
        return self.box.json("pool", "bind", "--vm", vm.name, *options)

    def listed(self):
        return self.box.json("pool", "list")["logical_devices"]

    def commands(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read()

    def wait_until(self, condition):
        end = time.monotonic() + LIMIT_S
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def test_a_sealed_device_costs_a_vm_no_more_each_time(self):
        vm = self.vm()
        number = str(self.bind(vm, "--size", "256MiB")["logical_device"])
        number = str(self.box.json("pool", "seal", "--device", number)["logical_device"])
        costs = []
        for _ in range(4):
            self.bind(vm, "--device", number)
            taken = self.box.run("pool", "unbind", "--device", number)
            self.assertEqual(taken.returncode, 0, taken.stderr)
            [device] = [one for one in self.listed() if str(one["logical_device"]) == number]
            self.assertEqual((device["vms"], device["let_go"]), ([], [vm.name]))
            process = f"/proc/{vm.process.pid}"
            costs.append([len(os.listdir(f"{process}/{what}")) for what in ("task", "fd")])
        self.assertEqual(costs[1:], costs[1:2] * 3)

    def test_a_box_that_stands_still_stops_no_vm(self):
        vm = self.vm()
        serial = self.bind(vm, "--size", "256MiB")["serial"]
        os.kill(self.box.process.pid, signal.SIGSTOP)
        try:
            detach = self.start("vm", "detach", "--name", vm.name, "--serial", hex(serial))
            self.wait_until(lambda: not vm.tell("status")["attached"])
            begin = time.monotonic()
            vm.tell("status")
            self.assertLess(time.monotonic() - begin, LOOK_LIMIT_S)
            self.assertIsNone(detach.poll())
        finally:
            os.kill(self.box.process.pid, signal.SIGCONT)
        self.assertEqual(detach.wait(LIMIT_S), 0, detach.communicate())
        self.assertEqual(self.listed(), [])

    def test_who_gives_up_a_bind_leaves_no_device_behind(self):
        vm = self.vm(hangs="'up'")
        for how in ("late", "killed"):
            limit = ["--timeout", "3"] if how == "late" else []
            bind = self.start("pool", "bind", "--vm", vm.name, "--size", "256MiB", "--up", "dax",
                              "--connect", f"unix:{self.box.socket}", *limit)
            self.wait_until(self.listed)
            if how == "killed":
                self.wait_until(lambda: vm.tell("status")["attached"])
                bind.kill()
            _, words = bind.communicate(timeout=LIMIT_S)
            if how == "late":
                self.assertEqual(bind.returncode, 4, words)
                self.assertRegex(words, r"logical device \d+ is taken back")
            self.wait_until(lambda: not self.listed() and not vm.tell("status")["attached"])
        self.assertEqual(self.commands().count("kill"), 2)
        self.assertEqual(self.commands().count("'down'"), 2)

    def verbs(self):
        """The guest's `godbox cxl` commands, in turn."""
        return re.findall(r"'cxl' '(\w+)'", self.commands())

    def test_by_force_is_after_the_guest_has_tried(self):
        vm = self.vm(statuses={"'down'": 1, USE_CHECK: IS_RAM})
        number = str(self.bind(vm, "--size", "256MiB", "--up", "numa")["logical_device"])
        taken = self.box.run("pool", "unbind", "--device", number, "--force")
        self.assertEqual(taken.returncode, 0, taken.stderr)
        self.assertEqual(self.verbs(), ["up", "down"])
        self.assertEqual(self.listed(), [])

    def test_by_force_is_soon_where_the_guest_does_not_answer(self):
        vm = self.vm(hangs="'down'")
        serial = self.bind(vm, "--size", "256MiB", "--up", "numa")["serial"]
        begin = time.monotonic()
        vm.tell("detach", "--serial", hex(serial), "--force")
        self.assertLess(time.monotonic() - begin, FORCE_LIMIT_S)
        self.assertEqual(self.verbs(), ["up", "down"])
        self.assertEqual(self.listed(), [])

    def test_what_could_not_go_off_line_comes_back(self):
        for use, verbs in ((IS_RAM, ["up", "down", "up"]), (IN_USE, ["up", "down"])):
            vm = self.vm(statuses={"'down'": 137, USE_CHECK: use})
            number = str(self.bind(vm, "--size", "256MiB", "--up", "numa")["logical_device"])
            kept = self.box.run("pool", "unbind", "--device", number, "--down")
            self.assertEqual(kept.returncode, 5, kept.stderr)
            self.assertIn("godbox cxl down ended with exit status 137 (SIGKILL, as the guest's "
                          "kernel does when it runs out of memory): guest: failed with 137",
                          kept.stderr)
            self.assertEqual(self.verbs(), verbs)
            self.assertEqual(len(self.listed()), 1)
            vm.end()
            self.wait_until(lambda: not self.listed())
            os.remove(self.log)

    def test_who_connects_and_says_nothing_keeps_nobody_waiting(self):
        vm = self.vm()
        name = f"\0godbox-vm-{os.getuid()}-{vm.name}"
        silent = []
        for _ in range(40):
            silent.append(self.enterContext(
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)))
            silent[-1].connect(name)
        begin = time.monotonic()
        vm.tell("status")
        self.assertLess(time.monotonic() - begin, LOOK_LIMIT_S)
        # The first ones are let go of; the last one is still heard.
        silent[0].settimeout(LIMIT_S)
        self.assertEqual(silent[0].recv(1), b"")
        silent[-1].settimeout(LIMIT_S)
        silent[-1].send(b'{"do": "status"}')
        self.assertEqual(json.loads(silent[-1].recv(1 << 17))["name"], vm.name)

    def test_no_command_comes_between_the_boot_and_what_brings_channels_up(self):
        with unittest.mock.patch.dict(os.environ, {"FAKE_GUEST_BOOT_S": "2",
                                                   "FAKE_GUEST_LOG": self.log}):
            name = f"boots-{os.getpid()}"
            vm = self.start("vm", "run", "--name", name, *self.options("channels"), "--up", "dax")
            self.addCleanup(vm.communicate)
            self.addCleanup(vm.terminate)
            answers = []
            while vm.poll() is None and not (answers and answers[-1][0] == 0):
                done = subprocess.run([GODBOX, "vm", "exec", "--name", name, "--", "true"],
                                      capture_output=True, text=True, check=False, timeout=LIMIT_S)
                answers.append((done.returncode, done.stderr))
                time.sleep(0.05)
        self.assertEqual(self.verbs(), ["up"])
        self.assertIn('the VM does "boot" just now', "".join(words for _, words in answers))
        self.assertLess(self.commands().index("'up'"), self.commands().index("'true'"))

    def test_poison_has_a_limit(self):
        vm = self.vm()
        serial = hex(self.bind(vm, "--size", "256MiB")["serial"])
        where = ["--serial", serial, "--dpa", "0"]
        for more in ([], ["--clear"]):
            refused = subprocess.run([GODBOX, "vm", "poison", "--name", vm.name, *where,
                                      "--length", str((1 << 20) + 64), *more],
                                     capture_output=True, text=True, check=False, timeout=LIMIT_S)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("units of 64 bytes, at most 1048576", refused.stderr)
            vm.tell("poison", *where, "--length", "1MiB", *more)
        self.assertEqual(self.commands().count("clear_poison"), 1)

    def test_devices_come_and_go_beside_a_command(self):
        vm = self.vm(hangs="'sleep'")
        command = self.start("vm", "exec", "--name", vm.name, "--", "sleep", "9")
        self.wait_until(lambda: "'sleep'" in self.commands())
        number = str(self.bind(vm, "--size", "256MiB", "--up", "dax")["logical_device"])
        taken = self.box.run("pool", "unbind", "--device", number, "--down")
        self.assertEqual(taken.returncode, 0, taken.stderr)
        refused = vm.run(["true"], quiet=True)
        self.assertEqual(refused.returncode, 125)
        self.assertIsNone(command.poll())
        self.assertGreaterEqual(self.commands().count("beside"), 4)
        command.terminate()
        command.communicate(timeout=LIMIT_S)
        vm.wait()


if __name__ == "__main__":
    unittest.main()
