# SPDX-License-Identifier: Apache-2.0
"""godbox pool, and the box behind it: who gets a logical device, with which bytes, and what brings
it back. A client that speaks the protocol by itself stands for a VM's process; VMs are in
tests/vm."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import unittest
from pathlib import Path

import program
from program import (ALREADY_EXISTS, NO_ROOM, NOT_FOUND, OK, UNREACHABLE, USAGE, ProgramTest,
                     wait_until)
from raw_client import RawSession

MIB = 1 << 20
UNIT = 256 * MIB
SLAB = 72 * MIB  # of the laptop box: 18 pieces of 4 MiB
PAGE = 4096

# Statuses of docs/wire-protocol.md, section 4.
(REFUSED_NOT_FOUND, REFUSED_EXISTS, REFUSED_ARGUMENT, REFUSED_DENIED, REFUSED_IN_FLIGHT,
 REFUSED_UNSUPPORTED, REFUSED_BACKING, REFUSED_QUOTA) = 100, 101, 102, 112, 114, 116, 403, 404

# Binds a device, says so, and stays.
HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from raw_client import RawSession
session = RawSession(sys.argv[2])
status, bound = session.bind("held", 256 << 20)
memory = bound.map()
memory[0:4] = b"mine"
print(status, bound.device, flush=True)
time.sleep(1000)
"""


def is_zero(memory):
    return memory[:].count(0) == len(memory)


class PoolTest(ProgramTest):
    def box(self, *options):
        return self.server("--backing-limit", "1GiB", *options)

    def listed(self, box):
        return self.run_json("pool", "list", "--connect", box.address)["logical_devices"]

    def check_books(self, box, sizes):
        """What the box says of itself adds up to these devices, at the latest after a moment."""
        def status():
            return self.run_json("status", "--connect", box.address)

        wait_until(lambda: status()["logical_devices"] == len(sizes))
        now = status()
        slabs = sum(-(-size // SLAB) for size in sizes)
        self.assertEqual(now["logical_devices"], len(sizes))
        self.assertEqual(now["bound_bytes"], sum(sizes))
        self.assertEqual(now["bound_slab_bytes"], slabs * SLAB)
        self.assertEqual(now["reserved_bytes"], slabs * SLAB)
        self.assertEqual(now["backed_bytes"], sum(sizes))
        self.assertEqual({channel["bound_bytes"] for channel in now["dram_channels"]},
                         {slabs * SLAB // 18})

    def test_a_device_is_bound_listed_and_taken_back(self):
        with self.box() as box:
            self.assertEqual(self.listed(box), [])
            self.check_books(box, [])
            with RawSession(box.address, "tenant-a") as holder:
                status, bound = holder.bind("vm-a", UNIT)
                self.assertEqual((status, bound.size, bound.sealed), (OK, UNIT, False))
                self.assertEqual(len(bound.slabs), 4)
                self.check_books(box, [UNIT])
                [listed] = self.listed(box)
                self.assertEqual(listed["serial"] & 0xFFFF, 0x8000 | bound.device)
                self.assertEqual(listed["serial"] >> 40, 0x676202)
                del listed["serial"]
                self.assertEqual(listed, {
                    "logical_device": bound.device, "state": "bound", "size_bytes": UNIT,
                    "tenant": "tenant-a", "vms": ["vm-a"], "let_go": []})
                text = self.run_program("pool", "list", "--connect", box.address).stdout.decode()
                self.assertRegex(text, r"256 MiB +bound +tenant-a +vm-a")
                with bound.map() as memory:
                    self.assertTrue(is_zero(memory))
                status, other = holder.bind("vm-a", 2 * UNIT)
                self.assertEqual(status, OK)
                self.check_books(box, [UNIT, 2 * UNIT])
                self.assertEqual(holder.change("unbind", other.device), (OK, ""))
                self.check_books(box, [UNIT])
            self.check_books(box, [])
            self.assertEqual(self.listed(box), [])

    def test_nobody_finds_anothers_bytes_whatever_he_kept(self):
        with self.box() as box:
            first = RawSession(box.address)
            _, bound = first.bind("vm-a", UNIT)
            kept = bound.map()
            kept[0:PAGE] = b"\x01" * PAGE
            kept[UNIT - PAGE:] = b"\x01" * PAGE
            self.assertEqual(first.change("unbind", bound.device)[0], OK)
            self.assertTrue(is_zero(kept))  # emptied under him
            kept[PAGE:2 * PAGE] = b"\x01" * PAGE  # and he writes on
            with RawSession(box.address) as second:
                _, fresh = second.bind("vm-b", UNIT)
                with fresh.map() as memory:
                    self.assertTrue(is_zero(memory))
                    memory[0:4] = b"mine"
                    self.assertEqual(kept[0:4], bytes(4))
            first.socket.close()

    def test_what_a_killed_holder_had_comes_back(self):
        with self.box() as box:
            for how in (signal.SIGKILL, signal.SIGTERM):
                holder = subprocess.Popen(
                    [sys.executable, "-B", "-c", HOLD, str(Path(__file__).parent), box.address],
                    stdout=subprocess.PIPE, text=True)
                self.assertEqual(holder.stdout.readline().split()[0], "0")
                self.check_books(box, [UNIT])
                holder.send_signal(how)
                holder.wait()
                holder.stdout.close()
                self.check_books(box, [])

    def test_a_holder_that_is_silent_keeps_what_it_has(self):
        config = self.folder / "box.toml"
        config.write_text('session_timeout = "300ms"\n')
        with self.box("--config", config) as box:
            holder = RawSession(box.address)
            self.assertEqual(holder.bind("vm-a", UNIT)[0], OK)
            self.assertTrue(wait_until(
                lambda: self.run_json("status", "--connect", box.address)["sessions"] >= 1))
            wait_until(lambda: False, 1)
            self.check_books(box, [UNIT])
            holder.socket.close()
            self.check_books(box, [])

    def test_a_box_that_is_gone_leaves_its_holders_their_memory(self):
        box = self.box()
        holder = RawSession(box.address)
        _, bound = holder.bind("vm-a", UNIT)
        memory = bound.map()
        memory[0:4] = b"mine"
        box.process.kill()
        box.process.wait()
        box.stop()
        memory[UNIT - 4:] = b"mine"
        self.assertEqual(memory[0:4] + memory[UNIT - 4:], b"mine" * 2)
        with self.box() as again:
            self.assertEqual(self.listed(again), [])  # another box, with other numbers
            with RawSession(again.address) as new:
                self.assertEqual(new.bind("vm-a", UNIT)[0], OK)
            self.assertEqual(memory[0:4], b"mine")
        memory.close()
        holder.socket.close()

    def test_a_sealed_device_is_shared_and_outlives_its_maker(self):
        with self.box() as box:
            maker = RawSession(box.address, "t")
            _, bound = maker.bind("vm-a", UNIT)
            memory = bound.map()
            memory[0:6] = b"prefix"
            status, why = maker.change("seal", bound.device)
            self.assertEqual((status, "mapped for writing" in why), (REFUSED_IN_FLIGHT, True))
            memory[6:8] = b"es"  # nothing has changed
            memory.close()
            self.assertEqual(maker.change("seal", bound.device), (OK, ""))
            maker.socket.close()
            self.check_books(box, [UNIT])
            [listed] = self.listed(box)
            self.assertEqual((listed["state"], listed["vms"]), ("sealed", []))
            self.assertEqual(listed["serial"] >> 40, 0x676203)

            readers = [RawSession(box.address, "t") for _ in range(2)]
            for number, reader in enumerate(readers):
                status, shared = reader.bind(f"vm-{number}", device=bound.device)
                self.assertEqual((status, shared.sealed, shared.size), (OK, True, UNIT))
                with self.assertRaises(PermissionError):
                    shared.map()
                with shared.map(writable=False) as memory:
                    self.assertEqual(memory[0:8], b"prefixes")
                with self.assertRaises(PermissionError):
                    os.pwrite(shared.descriptor, b"x", 0)
            with RawSession(box.address, "other") as stranger:
                self.assertEqual(stranger.bind("vm-x", device=bound.device)[0], REFUSED_DENIED)
                self.assertEqual(stranger.change("drop", bound.device)[0], REFUSED_DENIED)
            self.assert_fails(["pool", "drop", "--connect", box.address, "--device",
                               str(bound.device)], ALREADY_EXISTS, "bound to VMs vm-0, vm-1")
            self.assertEqual(readers[0].change("unbind", bound.device)[0], OK)
            self.assertEqual(self.listed(box)[0]["let_go"], ["vm-0"])
            readers[1].socket.close()
            wait_until(lambda: self.listed(box)[0]["vms"] == [])
            self.run_program("pool", "drop", "--connect", box.address, "--device", bound.device)
            self.assertEqual(self.listed(box)[0]["state"], "leaving")
            readers[0].socket.close()
            self.check_books(box, [])

    def test_conflicts_and_nonsense_are_answered_with_the_reason(self):
        with self.box("--vm-quota", "512MiB", "--vm-quota", "none=0", "--tenant-quota",
                      "t=768MiB") as box:
            a, b = RawSession(box.address, "t"), RawSession(box.address, "t")
            _, bound = a.bind("vm-a", UNIT)
            for session, arguments, status, words in (
                    (b, ("vm-b", 0, bound.device), REFUSED_EXISTS, "VM vm-a's own"),
                    (a, ("vm-a", 0, bound.device), REFUSED_EXISTS, "VM vm-a's own"),
                    (b, ("vm-b", 0, 77), REFUSED_NOT_FOUND, "no logical device 77"),
                    (b, ("vm-b", UNIT, bound.device), REFUSED_DENIED, "VM vm-a's"),
                    (b, ("vm-b", 0, 0), REFUSED_ARGUMENT, "a positive multiple of 268435456"),
                    (b, ("vm-b", UNIT + 1, 0), REFUSED_ARGUMENT, "a positive multiple"),
                    (b, ("vm-b", 1 << 63, 0), 104, "the box has 4608 MiB"),
                    (b, ("", UNIT, 0), REFUSED_ARGUMENT, "the VM's name has 0 bytes"),
                    (b, ("\x1b[2J", UNIT, 0), REFUSED_ARGUMENT, "letters, digits"),
                    (b, ("none", UNIT, 0), REFUSED_QUOTA, "its quota is 0 MiB"),
                    (b, ("vm-a", 2 * UNIT, 0), REFUSED_QUOTA, "VM vm-a has 256 MiB and asks"),
                    (b, ("vm-b", 3 * UNIT, 0), REFUSED_QUOTA, "VM vm-b"),
            ):
                with self.subTest(arguments=arguments):
                    vm, size, device = arguments
                    got, why = session.bind(vm, size, device)
                    self.assertEqual((got, words in why), (status, True), why)
            self.assertEqual(b.bind("vm-b", 2 * UNIT)[0], OK)
            status, why = b.bind("vm-c", UNIT)
            self.assertEqual((status, "the tenant has 768 MiB" in why), (REFUSED_QUOTA, True), why)
            with RawSession(box.address) as other:
                self.assertEqual(other.bind("vm-d", UNIT)[0], OK)
                status, why = other.bind("vm-e", UNIT)
                self.assertEqual((status, "backing_limit" in why), (REFUSED_BACKING, True), why)
            for op, status in (("unbind", REFUSED_NOT_FOUND), ("seal", REFUSED_DENIED),
                               ("drop", REFUSED_EXISTS)):
                self.assertEqual(b.change(op, bound.device)[0], status, op)
                self.assertEqual(b.change(op, 4242)[0], REFUSED_NOT_FOUND, op)
            with RawSession(box.ready["eth_ports"][0]) as port:
                self.assertEqual(port.bind("vm-x", UNIT)[0], REFUSED_UNSUPPORTED)
            a.socket.close()
            b.socket.close()
            self.check_books(box, [])


class FakeVm:
    """Answers one request at a time as a VM of `godbox vm run` of that name does."""

    def __init__(self, name, answer):
        self.requests = []
        self.answer = answer
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(f"\0godbox-vm-{os.getuid()}-{name}")
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer:
                request = json.loads(peer.recv(1 << 17))
                self.requests.append(request)
                answer = json.dumps(self.answer(request)).encode()
                try:
                    peer.send(answer)
                except BrokenPipeError:
                    pass  # who asked did not wait

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


class PoolCommandTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.name = f"pool-{os.getpid()}"

    def test_wrong_command_lines_are_refused(self):
        with self.server() as box:
            here = ["--connect", box.address]
            for arguments, words in (
                    ([], "subcommand is required"),
                    (["bind", *here, "--size", "256MiB"], "--vm is required"),
                    (["bind", *here, "--vm", "a"], "--size"),
                    (["bind", *here, "--vm", "a", "--size", "1GiB", "--device", "1"], "--size"),
                    (["bind", *here, "--vm", "a", "--size", "big"], '--size: "big"'),
                    (["bind", *here, "--vm", "a", "--size", "0"], "--size"),
                    (["bind", *here, "--vm", "a", "--device", "0"], "--device"),
                    (["bind", *here, "--vm", "a", "--device", "32768"], "--device"),
                    (["bind", *here, "--vm", "a", "--size", "1GiB", "--up", "ram"], "--up"),
                    (["bind", *here, "--vm", "a b", "--size", "1GiB"], "is no name for a VM"),
                    (["unbind", *here], "--device is required"),
                    (["poison", *here, "--dram-channel", "0", "--address", "3"], "units of 64"),
                    (["poison", *here, "--dram-channel", "0", "--address", "0", "--length", "3"],
                     "3 bytes from 0x0 of DRAM channel 0"),
                    (["list", "--connect", "tcp:127.0.0.1:1"], "unix:PATH"),
                    (["list", "--connect", "local:x"], "unix:PATH"),
            ):
                with self.subTest(arguments=arguments):
                    self.assert_fails(["pool", *arguments], USAGE, words)

    def test_what_is_not_there_is_named(self):
        nowhere = f"unix:{self.folder}/none.sock"
        for verb in (["list"], ["bind", "--vm", "a", "--size", "1GiB"], ["seal", "--device", "1"],
                     ["unbind", "--device", "1"], ["drop", "--device", "1"]):
            self.assert_fails(["pool", *verb, "--connect", nowhere], UNREACHABLE, "no box answers",
                              "none.sock")
        with self.server("--backing-limit", "1GiB") as box:
            here = ["--connect", box.address]
            for verb in ("seal", "unbind", "drop"):
                self.assert_fails(["pool", verb, *here, "--device", "5"], NOT_FOUND,
                                  "the box has no logical device 5")
            self.assert_fails(["pool", "bind", *here, "--vm", self.name, "--size", "256MiB"],
                              UNREACHABLE, f'no VM named "{self.name}" runs')
            with RawSession(box.address) as holder:
                _, bound = holder.bind(self.name, UNIT)
                device = str(bound.device)
                self.assert_fails(["pool", "unbind", *here, "--device", device], UNREACHABLE,
                                  f'no VM named "{self.name}" runs')
                self.assert_fails(["pool", "unbind", *here, "--device", device, "--vm", "other"],
                                  NOT_FOUND, "VM other has not got logical device")
                self.assertEqual(holder.change("seal", bound.device)[0], OK)
                self.assert_fails(["pool", "unbind", *here, "--device", device], NOT_FOUND,
                                  "godbox pool drop")
                self.assert_fails(["pool", "seal", *here, "--device", device], ALREADY_EXISTS,
                                  "is sealed")

    def test_a_vm_is_asked_as_the_command_says(self):
        def answer(request):
            if request["do"] == "bind" and request.get("size_bytes") == 4 * UNIT:
                return {"error": {"code": 404, "detail": "the quota of it"}}
            return {"slot": 0, "logical_device": 3, "size_bytes": UNIT, "read_only": False,
                    "slabs": 4, "dram_channels": 18, "serial": 0x6762020000018003,
                    "copied": False}

        with self.server("--backing-limit", "1GiB") as box, FakeVm(self.name, answer) as vm:
            here = ["--connect", f"unix:{os.path.relpath(box.socket)}"]
            told = self.run_json("pool", "bind", *here, "--vm", self.name, "--size", "256MiB",
                                 "--tenant", "t", "--up", "dax")
            self.assertEqual(told["logical_device"], 3)
            self.assertEqual(vm.requests.pop(), {
                "do": "bind", "box": str(box.socket.resolve()), "tenant": "t", "size_bytes": UNIT,
                "up": "dax"})
            text = self.run_program("pool", "bind", *here, "--vm", self.name, "--device", "9")
            self.assertIn(b"256 MiB in 4 slabs over 18 DRAM channels, bound to VM", text.stdout)
            self.assertEqual(vm.requests.pop()["logical_device"], 9)
            self.assert_fails(["pool", "bind", *here, "--vm", self.name, "--size", "1GiB"], NO_ROOM,
                              "the quota of it")
            vm.requests.clear()
            with RawSession(box.address) as holder:
                _, bound = holder.bind(self.name, UNIT)
                self.run_program("pool", "unbind", *here, "--device", bound.device, "--down")
                request = vm.requests.pop()
                self.assertEqual((request["do"], request["down"], request["force"]),
                                 ("unbind", True, False))
                self.assertEqual(request["serial"] & 0xFFFF, 0x8000 | bound.device)
                self.run_program("pool", "seal", *here, "--device", bound.device, "--force")
                self.assertEqual(vm.requests.pop()["do"], "seal")

    def test_a_bind_that_takes_too_long_names_the_device(self):
        sessions, answered = [], threading.Event()

        def answer(request):
            if "size_bytes" in request:
                sessions.append(RawSession(box.address))
                sessions[0].bind(self.name, UNIT)
            answered.wait(30)
            return {}

        with self.server("--backing-limit", "1GiB") as box, FakeVm(self.name, answer) as vm:
            bind = ["pool", "bind", "--connect", box.address, "--vm", self.name, "--timeout", "3"]
            self.assert_fails([*bind, "--size", "256MiB"], UNREACHABLE,
                              f"VM {self.name}: the VM did not answer within 3 s",
                              "logical device 1 is taken back")
            self.assertEqual(vm.requests.pop()["size_bytes"], UNIT)
            answered.set()
            for session in sessions:
                session.socket.close()


if __name__ == "__main__":
    unittest.main()
