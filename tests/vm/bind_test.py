#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One box, several VMs: random binds, unbinds under load, seals, shares and kills, against a model
that knows who has what. After every step, of each device: every byte of its memory is the one that
its own VM put there, or zero; the guest finds the same through CXL; and the box's books add up.

usage: bind_test.py GODBOX WORKER [--vms N] [--steps N] [--seed N] [--kills N] [--unbinds N]
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from machine import SKIPPED, Box, Machine, die_with_parent, why_not

MIB = 1 << 20
UNIT = 256 * MIB
SLAB = 72 * MIB  # of the laptop box: 18 pieces of 4 MiB
SLOTS = 2
BOOT = ["--preset", "laptop", "--form", "slots", "--hot-plug-slots", str(SLOTS), "--guest-memory",
        "256MiB", "--cpus", "1", "--no-network", "--boot-timeout", "900"]
DEVICE_GONE = 7  # the worker's exit status then
SETTLE_LIMIT_S = 30
# The box has room for 16; a seal may need one more for a while.
DEVICES_MAX = 14
LEAVING_MAX = 3  # that QEMUs keep mapped: one of these ends then


class Device:
    """A logical device as the model knows it."""

    def __init__(self, told, seed):
        self.number, self.seed = told["logical_device"], seed
        self.sealed = False

    def __repr__(self):
        return f"{'sealed ' if self.sealed else ''}device {self.number}"


class Vm:
    def __init__(self, godbox, number):
        self.godbox, self.number = godbox, number
        self.held = {}  # serial numbers of what the guest has, and their devices
        self.machine = None
        self.begin()

    def begin(self):
        self.held.clear()
        self.machine = Machine(self.godbox, BOOT)

    @property
    def name(self):
        return self.machine.name

    def work(self, worker, verb, serial, seed):
        return self.machine.run([worker, verb, hex(serial), str(seed)], limit_s=300)

    def __repr__(self):
        return f"VM {self.number}"


class Run:
    def __init__(self, options, folder):
        self.options = options
        self.random = random.Random(options.seed)
        self.box = Box(options.godbox, folder, "--backing-limit", "4GiB", "--vm-quota",
                       f"{DEVICES_MAX * 256}MiB")
        self.devices = []  # every one that the box has
        self.seeds = 0
        self.counts = {}
        self.vms = [Vm(options.godbox, i) for i in range(options.vms)]
        for vm in self.vms:
            vm.machine.wait()

    # --- Steps. Each says what it did, or nothing where it had nothing to do it with. ---

    def bind(self, vm=None):
        listed = self.box.json("pool", "list")["logical_devices"]
        if len(listed) >= DEVICES_MAX:
            return None
        vm = vm or self.one_of([v for v in self.vms if len(v.held) < SLOTS])
        if vm is None:
            return None
        told = self.box.json("pool", "bind", "--vm", vm.name, "--size", "256MiB", "--up", "dax")
        self.seeds += 1
        device = Device(told, self.seeds)
        self.devices.append(device)
        vm.held[told["serial"]] = device
        # Nothing of whoever had these bytes before, neither here nor there.
        self.on_host("empty", vm, told["serial"], 0)
        self.in_guest("zero", vm, told["serial"])
        self.in_guest("fill", vm, told["serial"])
        return f"{device} bound to {vm}"

    def unbind_idle(self, vm=None):
        vm, serial, device = self.some_own(vm)
        if vm is None:
            return None
        self.in_guest("check", vm, serial)
        result = self.box.run("pool", "unbind", "--device", str(device.number), "--down")
        assert result.returncode == 0, result.stderr
        self.forget(vm, serial)
        return f"{device} taken from {vm}"

    def unbind_under_load(self, vm=None):
        """Refused with the reason while the guest uses it, and done all the same on demand."""
        vm, serial, device = self.some_own(vm)
        if vm is None:
            return None
        load = (f"setsid sh -c '{self.options.worker} load {hex(serial)} {device.seed}; "
                "echo $? >/run/load.status' </dev/null >/dev/null 2>/run/load.words &")
        vm.machine.output(["sh", "-c", "rm -f /run/load.status; " + load])
        time.sleep(self.random.uniform(0.5, 2))
        number = str(device.number)
        refused = self.box.run("pool", "unbind", "--device", number)
        assert refused.returncode == 5 and "is in use" in refused.stderr, refused
        assert "in a region" in refused.stderr, refused
        kept = self.box.run("pool", "unbind", "--device", number, "--down")
        assert kept.returncode == 5, kept  # a process has the device file open
        self.check_vm(vm)
        taken = self.box.run("pool", "unbind", "--device", number, "--force")
        assert taken.returncode == 0, taken.stderr
        self.forget(vm, serial)
        status = vm.machine.output(
            ["sh", "-c", "for try in $(seq 100); do [ -s /run/load.status ] && break; sleep 0.1; "
                         "done; cat /run/load.status"], limit_s=300)
        words = vm.machine.output(["cat", "/run/load.words"]).strip()
        assert status.strip() == str(DEVICE_GONE), f"the load ended with {status}: {words}"
        if words:
            print(f"the load: {words}", flush=True)
        self.counts["unbinds under load"] = self.counts.get("unbinds under load", 0) + 1
        return f"{device} taken from {vm} under load"

    def seal(self, vm=None):
        vm, serial, device = self.some_own(vm)
        if vm is None:
            return None
        told = self.box.json("pool", "seal", "--device", str(device.number), "--down")
        del vm.held[serial]
        device.number, device.sealed = told["logical_device"], True
        return f"{device} sealed by {vm}"

    def share(self, vm=None):
        device = self.one_of([d for d in self.devices if d.sealed])
        vm = vm or self.one_of([v for v in self.vms
                                if len(v.held) < SLOTS and device not in v.held.values()])
        if vm is None or device is None:
            return None
        told = self.box.json("pool", "bind", "--vm", vm.name, "--device", str(device.number),
                             "--up", "dax")
        assert told["read_only"] and told["size_bytes"] == UNIT, told
        vm.held[told["serial"]] = device
        self.in_guest("check", vm, told["serial"])
        self.in_guest("store", vm, told["serial"])  # stores change nothing, and end nobody
        never_ram = vm.machine.run([self.options.godbox, "cxl", "up", "--as", "numa", "--serial",
                                    hex(told["serial"])])
        assert never_ram.returncode not in (0, 125), never_ram
        return f"{device} shared with {vm}"

    def drop(self):
        device = self.one_of([d for d in self.devices if d.sealed])
        if device is None:
            return None
        holders = [v for v in self.vms if device in v.held.values()]
        number = str(device.number)
        if holders:
            refused = self.box.run("pool", "drop", "--device", number)
            assert refused.returncode == 5 and holders[0].name in refused.stderr, refused
        result = self.box.run("pool", "drop", "--device", number, "--force")
        assert result.returncode == 0, result.stderr
        for vm in holders:
            vm.held = {serial: d for serial, d in vm.held.items() if d is not device}
        self.devices.remove(device)
        return f"{device} dropped, that {len(holders)} VMs had"

    def conflict(self):
        """What another VM has alone is nobody else's, whoever asks."""
        vm, serial, device = self.some_own(None)
        other = self.one_of([v for v in self.vms if v is not vm and len(v.held) < SLOTS])
        if vm is None or other is None:
            return None
        refused = self.box.run("pool", "bind", "--vm", other.name, "--device", str(device.number))
        assert refused.returncode == 5 and f"VM {vm.name}'s own" in refused.stderr, refused
        refused = self.box.run("pool", "unbind", "--vm", other.name, "--device",
                               str(device.number))
        assert refused.returncode == 3, refused
        beyond = self.box.run("pool", "bind", "--vm", vm.name, "--size", "512MiB")
        assert beyond.returncode == 6, beyond
        self.in_guest("check", vm, serial)
        return f"{other} refused what {vm} has"

    def some_keeper(self):
        """A VM whose QEMU keeps mapped what was dropped, where there is much of that."""
        listed = self.box.json("pool", "list")["logical_devices"]
        names = [name for one in listed if one["state"] == "leaving" for name in one["let_go"]]
        return self.one_of([vm for vm in self.vms if vm.name in names]) \
            if len(names) > LEAVING_MAX else None

    def kill(self, vm=None, how=None):
        vm = vm or self.some_keeper() or self.one_of(self.vms)
        how = how or self.random.choice(["QEMU", "launcher", "both", "QEMU in mid-bind",
                                         "launcher in mid-bind"])
        qemu, launcher = vm.machine.qemu(), vm.machine.process
        binding = None
        if "mid-bind" in how and len(vm.held) < SLOTS:
            binding = subprocess.Popen(
                [self.options.godbox, "pool", "bind", "--vm", vm.name, "--size", "256MiB", "--up",
                 "dax", "--connect", f"unix:{self.box.socket}"], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
            time.sleep(self.random.uniform(0, 1.5))
        if how.startswith("QEMU") or how == "both":
            os.kill(qemu, signal.SIGKILL)
        if how.startswith("launcher") or how == "both":
            launcher.send_signal(signal.SIGKILL)
        launcher.wait(60)
        if binding is not None:
            binding.wait(60)
        for device in vm.held.values():
            if not device.sealed:
                self.devices.remove(device)
        vm.held.clear()
        self.check_books()
        vm.begin()
        vm.machine.wait()
        self.counts["kills"] = self.counts.get("kills", 0) + 1
        return f"{vm} killed ({how})"

    # --- What is looked at ---

    def one_of(self, some):
        return self.random.choice(some) if some else None

    def some_own(self, vm):
        """A VM, and a device that it has alone."""
        vms = [vm] if vm else self.vms
        own = [(v, serial, device) for v in vms for serial, device in v.held.items()
               if not device.sealed]
        return self.one_of(own) or (None, None, None)

    def forget(self, vm, serial):
        self.devices.remove(vm.held.pop(serial))

    def in_guest(self, verb, vm, serial):
        result = vm.work(self.options.worker, verb, serial, vm.held[serial].seed)
        assert result.returncode == 0, (verb, vm, hex(serial), result.returncode)

    def on_host(self, verb, vm, serial, seed):
        [memory] = [one["memory"] for one in vm.machine.tell("status")["attached"]
                    if one["serial"] == serial]
        result = subprocess.run([self.options.worker, verb, memory, str(seed), str(UNIT)],
                                check=False, timeout=120)
        assert result.returncode == 0, (verb, vm, hex(serial))

    def check_vm(self, vm):
        """All bytes that the VM can reach: its own, and of what is shared what was sealed."""
        attached = vm.machine.tell("status")["attached"]
        assert {one["serial"] for one in attached} == set(vm.held), (vm, attached)
        for serial, device in vm.held.items():
            self.on_host("scan", vm, serial, device.seed)

    def check_books(self):
        """The box, the model and the VMs say the same; what is on its way back comes back."""
        end = time.monotonic() + SETTLE_LIMIT_S
        while True:
            wrong = self.wrong_in_books()
            if not wrong:
                return
            assert time.monotonic() < end, wrong
            time.sleep(0.2)

    def wrong_in_books(self):
        listed = self.box.json("pool", "list")["logical_devices"]
        have = {(one["logical_device"], one["state"], tuple(sorted(one["vms"])))
                for one in listed if one["state"] != "leaving"}
        want = {(device.number, "sealed" if device.sealed else "bound",
                 tuple(sorted(vm.name for vm in self.vms if device in vm.held.values())))
                for device in self.devices}
        if have != want:
            return f"the box has {sorted(have)}; the model {sorted(want)}"
        # What leaves is counted for as long as a QEMU keeps it mapped, and no longer.
        kept = [one for one in listed if one["state"] == "leaving"]
        if any(not one["let_go"] for one in kept):
            return f"leaving, and nobody's: {kept}"
        count = len(listed)
        status = self.box.json("status")
        slabs = count * -(-UNIT // SLAB)
        books = {"logical_devices": count, "bound_bytes": count * UNIT,
                 "bound_slab_bytes": slabs * SLAB, "reserved_bytes": slabs * SLAB,
                 "backed_bytes": count * UNIT}
        wrong = {key: (status[key], value) for key, value in books.items() if status[key] != value}
        channels = {channel["bound_bytes"] for channel in status["dram_channels"]}
        if channels != {slabs * SLAB // 18}:
            wrong["dram_channels"] = channels
        return wrong

    def step(self, number, name, *arguments):
        begin = time.monotonic()
        said = getattr(self, name)(*arguments)
        if said is None:
            return False
        self.check_books()
        touched = [vm for vm in self.vms if str(vm) in said]
        for vm in touched + [self.one_of(self.vms)]:
            self.check_vm(vm)
        print(f"step {number}: {said}; {len(self.devices)} devices "
              f"({time.monotonic() - begin:.1f} s)", flush=True)
        self.counts[name] = self.counts.get(name, 0) + 1
        return True

    def finish(self):
        """Each guest still finds its bytes; then all VMs end, and the box is as it was."""
        for vm in self.vms:
            self.check_vm(vm)
            for serial in vm.held:
                self.in_guest("check", vm, serial)
        for vm in self.vms:
            vm.machine.end()
            self.devices = [d for d in self.devices if d.sealed or d not in vm.held.values()]
            vm.held.clear()
        for device in self.devices:
            assert self.box.run("pool", "drop", "--device", str(device.number)).returncode == 0
        self.devices = []
        self.check_books()

    def end(self):
        for vm in self.vms:
            vm.machine.end()
        self.box.end()


# The same steps in each run of two VMs: each kind once.
SHORT = [("bind", 0), ("bind", 1), ("conflict",), ("unbind_under_load", 0), ("bind", 0),
         ("seal", 0), ("share", 1), ("unbind_idle", 1), ("kill", 1, "QEMU in mid-bind"), ("drop",)]


def run_short(run):
    for number, (name, *arguments) in enumerate(SHORT, start=1):
        if arguments:
            arguments[0] = run.vms[arguments[0]]
        assert run.step(number, name, *arguments), f"step {number}, {name}: nothing to do"


SPARE_STEPS = 5  # for kills that a full box asks for


def run_random(run):
    weights = {"bind": 9, "unbind_idle": 2, "unbind_under_load": 7, "seal": 2, "share": 3,
               "drop": 2, "conflict": 2, "kill": 3}
    number = 0
    while number < run.options.steps:
        # What has to happen so often happens in time.
        left = run.options.steps - number
        kills = max(0, run.options.kills - run.counts.get("kills", 0))
        unbinds = max(0, run.options.unbinds - run.counts.get("unbinds under load", 0))
        names = run.random.choices(list(weights), list(weights.values()))
        if run.some_keeper():
            names = ["kill"]
        elif kills + unbinds > 0 and kills + 2 * unbinds >= left - SPARE_STEPS:
            # An unbind takes two steps at most: where there is nothing to unbind, first a bind.
            names = run.random.choice([["kill"]] * kills +
                                      [["unbind_under_load", "bind", "drop"]] * 2 * unbinds)
        if any(run.step(number + 1, name) for name in names):
            number += 1
    for what, least in (("kills", run.options.kills), ("unbinds under load", run.options.unbinds)):
        assert run.counts.get(what, 0) >= least, run.counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("godbox", type=os.path.abspath)
    parser.add_argument("worker", type=os.path.abspath)
    parser.add_argument("--vms", type=int, default=2)
    parser.add_argument("--steps", type=int, default=0, help="random ones; 0: each kind once")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--unbinds", type=int, default=0)
    options = parser.parse_args()
    reason = why_not(options.godbox)
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    begin = time.monotonic()
    print(f"seed {options.seed}: {options.vms} VMs, {options.steps or len(SHORT)} steps",
          flush=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options, folder)
        print(f"booted after {time.monotonic() - begin:.0f} s", flush=True)
        try:
            run_random(run) if options.steps else run_short(run)
            run.finish()
        finally:
            run.end()
    print(f"one box, {options.vms} VMs: ok in {time.monotonic() - begin:.0f} s (emulated); "
          f"{json.dumps(run.counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
