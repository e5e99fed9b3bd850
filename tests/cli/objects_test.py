# SPDX-License-Identifier: Apache-2.0
import os
import pty
import random
import resource
import signal
import subprocess
import unittest

from program import (ALREADY_EXISTS, FAILURE, NO_ROOM, NOT_FOUND, OK, PROGRAM, UNREACHABLE, USAGE,
                     ProgramTest, wait_until)

SEED = 20250729


def random_bytes(size):
    return random.Random(SEED + size).randbytes(size)


class ObjectsTest(ProgramTest):
    def setUp(self):
        super().setUp()
        server = self.server()
        self.addCleanup(server.__exit__)
        self.box = server
        self.at = ["--connect", server.address]

    def put(self, name, data, **more):
        return self.run_program("put", name, "-", *self.at, stdin=data, **more)

    def get(self, name, **more):
        return self.run_program("get", name, *self.at, **more).stdout

    def test_what_is_put_is_got_at_every_size(self):
        for size in (1, 4095, 4096, 65536, 1179648, 1179649, 20 * 1024 * 1024 + 1):
            data = random_bytes(size)
            self.put(f"size/{size}", data)
            self.assertEqual(self.get(f"size/{size}"), data, size)

    def test_files_are_read_and_replaced(self):
        data = random_bytes(100000)
        source, target = self.folder / "in.bin", self.folder / "out.bin"
        source.write_bytes(data)
        target.write_bytes(b"something else")
        self.run_program("put", "a file", source, *self.at)
        self.run_program("get", "a file", target, *self.at)
        self.assertEqual(target.read_bytes(), data)
        self.assertEqual(sorted(p.name for p in self.folder.glob("out.bin*")), ["out.bin"])

    def test_every_door_gives_the_same_bytes(self):
        data = random_bytes(3 << 20)
        self.put("doors", data)
        for address in (f"local:{self.box.socket}", self.box.ready["eth_ports"][0]):
            result = self.run_program("get", "doors", "--connect", address)
            self.assertEqual(result.stdout, data, address)
            self.run_program("put", address, "-", "--connect", address, stdin=data)
            self.assertEqual(self.get(address), data, address)

    def test_input_that_comes_slower_than_a_session_lasts_is_stored(self):
        config = self.folder / "box.toml"
        config.write_text('session_timeout = "300ms"\n')
        with self.server("--config", config, "--control-socket",
                         self.folder / "other.sock") as box:
            at = ["--connect", box.address]
            client = subprocess.Popen([PROGRAM, "put", "slow", "-", *at], stdin=subprocess.PIPE,
                                      stderr=subprocess.PIPE)
            client.stdin.write(b"begun, ")
            client.stdin.flush()
            wait_until(lambda: False, 1.5)
            _, errors = client.communicate(b"and done", timeout=10)
            self.assertEqual(client.returncode, OK, errors)
            self.assertEqual(self.run_program("get", "slow", *at).stdout, b"begun, and done")

    def test_a_name_is_put_once(self):
        self.put("once", b"first")
        self.put("once", b"second", status=ALREADY_EXISTS)
        self.assertEqual(self.get("once"), b"first")

    def test_a_missing_name_is_told_by_exit_code(self):
        result = self.run_program("get", "nobody", *self.at, status=NOT_FOUND)
        self.assertEqual(result.stdout, b"")
        self.assertIn(b"nobody", result.stderr)
        target = self.folder / "out.bin"
        self.run_program("get", "nobody", target, *self.at, status=NOT_FOUND)
        self.assertFalse(target.exists())

    def test_ls_lists_sorted_by_prefix(self):
        for name in ("b/2", "a/1", "b/1"):
            self.put(name, b"12345")
        lines = self.run_program("ls", *self.at).stdout.decode().splitlines()
        self.assertEqual([line.strip().split("\t") for line in lines],
                         [["5 B", "a/1"], ["5 B", "b/1"], ["5 B", "b/2"]])
        listed = self.run_json("ls", "b/", *self.at)["objects"]
        self.assertEqual(listed, [{"name": "b/1", "size_bytes": 5},
                                  {"name": "b/2", "size_bytes": 5}])
        self.assertEqual(self.run_program("ls", "c", *self.at).stdout, b"")
        self.assertEqual(self.run_json("ls", "c", *self.at), {"objects": []})

    def test_rm_removes_what_is_there_and_tells_what_is_not(self):
        for name in ("x", "y"):
            self.put(name, b"1")
        result = self.run_program("rm", "x", "nobody", "y", *self.at, status=NOT_FOUND)
        self.assertIn(b"nobody", result.stderr)
        self.assertEqual(self.run_json("ls", *self.at)["objects"], [])
        self.put("x", b"again")
        self.assertEqual(self.run_json("rm", "x", *self.at),
                         {"removed": [{"name": "x", "status": "ok"}]})

    def test_json_tells_sizes_and_rates(self):
        source = self.folder / "in.bin"
        source.write_bytes(b"x" * 1000)
        put = self.run_json("put", "figures", source, *self.at)
        self.assertEqual((put["op"], put["name"], put["size_bytes"]), ("put", "figures", 1000))
        self.assertGreater(put["gb_per_s"], 0)
        get = self.run_json("get", "figures", self.folder / "out.bin", *self.at)
        self.assertEqual((get["op"], get["size_bytes"]), ("get", 1000))
        self.assert_fails(["get", "figures", "--json", *self.at], USAGE, "--json")

    def test_a_file_that_is_not_there_is_named(self):
        self.assert_fails(["put", "x", "/not/there", *self.at], FAILURE, "/not/there")
        self.put("x", b"1")
        self.assert_fails(["get", "x", "/not/there/out", *self.at], FAILURE, "/not/there/out")

    def test_names_that_the_box_refuses(self):
        self.put("", b"1", status=USAGE)
        self.put("n" * 513, b"1", status=USAGE)
        self.put("n" * 512, b"1")
        self.assertEqual(self.get("n" * 512), b"1")
        for command in ("get", "rm"):
            for name in ("", "n" * 513):
                self.assert_fails([command, name, *self.at], USAGE, f"NAME has {len(name)} bytes",
                                  "1 to 512")
        self.assert_fails(["ls", "n" * 513, *self.at], USAGE, "PREFIX has 513 bytes", "0 to 512")

    def test_a_link_and_a_device_are_written_and_not_replaced(self):
        data = random_bytes(70000)
        self.put("linked", data)
        target, link = self.folder / "target.bin", self.folder / "link.bin"
        target.write_bytes(b"old" * 100000)
        link.symlink_to(target)
        self.run_program("get", "linked", link, *self.at)
        self.assertTrue(link.is_symlink())
        self.assertEqual(target.read_bytes(), data)
        # What /dev/stdout is: a link to a link to whatever standard output is.
        stdout = self.folder / "stdout"
        stdout.symlink_to("/dev/stdout")
        result = self.run_program("get", "linked", stdout, *self.at)
        self.assertEqual(result.stdout, data)
        self.assertTrue(stdout.is_symlink())

    def test_a_replaced_file_keeps_its_mode(self):
        self.put("mode", b"new")
        target = self.folder / "out.bin"
        target.write_bytes(b"old")
        for mode in (0o600, 0o755):
            target.chmod(mode)
            self.run_program("get", "mode", target, *self.at)
            self.assertEqual(target.read_bytes(), b"new")
            self.assertEqual(target.stat().st_mode & 0o7777, mode)

    def test_a_file_that_cannot_be_written_to_its_end_is_left_as_it_was(self):
        self.put("long", random_bytes(100000))
        target = self.folder / "out.bin"
        target.write_bytes(b"old")

        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))

        result = subprocess.run([PROGRAM, "get", "long", str(target), *self.at],
                                capture_output=True, preexec_fn=small_files, timeout=60)
        self.assertEqual(result.returncode, FAILURE, result.stderr)
        self.assertIn(b"out.bin", result.stderr)
        self.assertIn(b"File too large", result.stderr)
        self.assertEqual(target.read_bytes(), b"old")
        self.assertEqual([p.name for p in self.folder.glob("out.bin*")], ["out.bin"])

    def test_output_that_does_not_arrive_is_a_failure(self):
        self.put("x", b"1" * 100)
        at = [str(argument) for argument in self.at]
        for command in (["ls", *at], ["ls", "--json", *at], ["status", *at], ["get", "x", *at],
                        ["--help"], ["--version"], ["put", "y", "-", "--json", *at]):
            with self.subTest(command=command), open("/dev/full", "wb") as full:
                result = subprocess.run([PROGRAM, *command], input=b"1", stdout=full,
                                        stderr=subprocess.PIPE, timeout=60)
                self.assertEqual(result.returncode, FAILURE, result.stderr)
                self.assertIn(b"No space left on device", result.stderr)
        result = self.run_program("get", "x", "/dev/full", *self.at, status=FAILURE)
        self.assertIn(b"No space left on device", result.stderr)

    def test_output_that_no_buffer_holds_and_does_not_arrive_is_named(self):
        for letter in "abcdefghijklmnopqrst":
            self.put(letter * 500, b"1")
        for command in (["ls"], ["ls", "--json"], ["status", "--json"]):
            with self.subTest(command=command), open("/dev/full", "wb") as full:
                result = subprocess.run([PROGRAM, *command, *self.at], stdout=full,
                                        stderr=subprocess.PIPE, timeout=60)
                self.assertEqual(result.returncode, FAILURE, result.stderr)
                self.assertIn(b"error: cannot write to standard output: No space left on device",
                              result.stderr)

    def test_a_stream_that_is_closed_is_no_socket_of_the_program(self):
        self.put("x", b"1" * 100)
        for command, closed, word in ((["get", "x"], 1, b"cannot write"),
                                      (["ls"], 1, b"cannot write to standard output"),
                                      (["put", "y", "-"], 0, b"cannot read")):
            with self.subTest(command=command):
                result = subprocess.run(
                    [PROGRAM, *command, *self.at], stderr=subprocess.PIPE, timeout=60,
                    stdin=None, preexec_fn=lambda number=closed: os.close(number))
                self.assertEqual(result.returncode, FAILURE, result.stderr)
                self.assertIn(word, result.stderr)
                self.assertIn(b"Bad file descriptor", result.stderr)

    def test_names_that_are_no_utf8_are_told_in_valid_json(self):
        name = b"a\\b/\xff\xc3"
        self.put(name, b"123")
        entry = {"name": "a\\\\b/\\xff\\xc3", "name_hex": name.hex(), "size_bytes": 3}
        listed = self.run_json("ls", *self.at)["objects"]
        self.assertEqual(listed, [entry])
        self.assertEqual(bytes.fromhex(listed[0]["name_hex"]), name)
        got = self.run_json("get", name, self.folder / "out.bin", *self.at)
        self.assertEqual((got["name"], got["name_hex"]), (entry["name"], entry["name_hex"]))
        removed, = self.run_json("rm", name, *self.at)["removed"]
        self.assertEqual(removed["name_hex"], name.hex())
        self.put("caf\u00e9\\", b"123")  # is UTF-8: left as it is
        self.assertEqual(self.run_json("ls", *self.at)["objects"],
                         [{"name": "caf\u00e9\\", "size_bytes": 3}])

    def test_ls_writes_names_as_they_are_but_no_commands_to_a_terminal(self):
        name = "a\x1b[31m\n\u00e9"
        self.put(name, b"123")
        self.assertEqual(self.run_program("ls", *self.at).stdout.decode().split("\t")[1],
                         name + "\n")
        master, slave = pty.openpty()
        try:
            subprocess.run([PROGRAM, "ls", *self.at], stdout=slave, check=True, timeout=30)
            self.assertIn("\ta\\x1b[31m\\x0a\u00e9", os.read(master, 65536).decode())
        finally:
            os.close(slave)
            os.close(master)

    def test_an_empty_file_is_refused_in_words(self):
        empty = self.folder / "empty.bin"
        empty.write_bytes(b"")
        self.assert_fails(["put", "x", empty, *self.at], USAGE, "empty.bin", "empty",
                          "at least 1 byte")

    def test_status_counts_what_was_moved(self):
        self.put("counted", random_bytes(4 << 20))
        status = self.run_json("status", *self.at)
        self.assertEqual(status["objects"], 1)
        self.assertEqual(len(status["dram_channels"]), 18)
        self.assertEqual(len(status["eth_ports"]), 9)
        self.assertGreaterEqual(sum(c["bytes_written"] for c in status["dram_channels"]), 4 << 20)
        text = self.run_program("status", *self.at).stdout.decode()
        for word in ("DRAM channel", "Ethernet port", "objects", "real memory"):
            self.assertIn(word, text)


class TenantsTest(ProgramTest):
    def test_each_tenant_has_names_and_a_quota_of_its_own(self):
        with self.server("--tenant-quota", "alice=5MiB", "--eviction", "none") as server:
            alice, bob = (["--connect", server.address, "--tenant", who]
                          for who in ("alice", "bob"))
            self.run_program("put", "x", "-", *alice, stdin=b"alice's")
            self.run_program("put", "x", "-", *bob, stdin=b"bob's")
            for who, data in ((alice, b"alice's"), (bob, b"bob's")):
                self.assertEqual(self.run_program("get", "x", *who).stdout, data)
            self.assertEqual(self.run_program("ls", "--connect", server.address).stdout, b"")
            big = bytes(6 << 20)
            self.run_program("put", "big", "-", *bob, stdin=big)
            result = self.run_program("put", "big", "-", *alice, stdin=big, status=NO_ROOM)
            self.assertIn(b"quota_exceeded", result.stderr)


class FullBoxTest(ProgramTest):
    def test_what_is_pinned_stays_and_what_has_a_ttl_goes(self):
        with self.server("--backing-limit", "64MiB") as server:
            at = ["--connect", server.address]
            part, pinned = bytes(20 << 20), bytes(12 << 20)  # a quarter at most may be pinned
            self.run_program("put", "pinned", "-", "--pin", "hard", *at, stdin=pinned)
            self.run_program("put", "plain", "-", *at, stdin=part)
            self.run_program("put", "short", "-", "--ttl", "0.05", *at, stdin=bytes(1000))
            for i in range(3):
                self.run_program("put", f"more {i}", "-", *at, stdin=part)
            names = self.run_program("ls", *at).stdout.decode()
            self.assertIn("pinned", names)
            self.assertNotIn("plain", names)
            self.assertNotIn("short", names)
            self.assertEqual(self.run_program("get", "pinned", *at).stdout, pinned)
        self.assert_fails(["put", "x", "-", "--pin", "firm"], USAGE, "--pin")
        self.assert_fails(["put", "x", "-", "--ttl", "-1"], USAGE, "--ttl -1: allowed is 0")

    def test_a_full_box_says_so(self):
        with self.server("--eviction", "none", "--backing-limit", "64MiB") as server:
            at = ["--connect", server.address]
            big = bytes(40 << 20)
            self.run_program("put", "fits", "-", *at, stdin=big)
            result = self.run_program("put", "too much", "-", *at, stdin=big, status=NO_ROOM)
            self.assertIn(b"too much", result.stderr)
            self.assertEqual(self.run_program("get", "fits", *at).stdout, big)

    def test_what_no_box_has_memory_for_is_not_read(self):
        with self.server("--backing-limit", "64MiB") as server:
            self.assert_fails(["put", "x", "/dev/zero", "--connect", server.address], NO_ROOM,
                              "/dev/zero", "64 MiB")


class BoxThatEndsTest(ProgramTest):
    def test_a_box_that_is_killed_under_a_put_is_said_to_have_ended(self):
        with self.server("--mode", "paced", "--time-scale", "200000") as server:
            put = subprocess.Popen(
                [PROGRAM, "put", "x", "-", "--connect", server.address], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            put.stdin.write(random_bytes(20 << 20))
            put.stdin.close()
            put.stdin = None
            wait_until(lambda: self.run_json("status", "--connect", server.address)
                       ["reservations"] > 0)
            server.process.kill()
            server.process.wait()
            _, words = put.communicate(timeout=60)
        self.assertEqual(put.returncode, UNREACHABLE, words)
        self.assertIn(b"the box has ended", words)


class SlowBoxTest(ProgramTest):
    # 18 channels at a small share of their rate of about 500 GB/s.
    def test_a_call_that_takes_too_long_says_so_and_that_the_box_is_there(self):
        with self.server("--mode", "paced", "--time-scale", "40000") as server:
            at = ["--connect", server.address]
            data = random_bytes(20 << 20)
            result = self.run_program("put", "slow", "-", "--timeout", "0.2", *at, stdin=data,
                                      status=FAILURE)
            for word in (b"slow", b"0.2 s", b"--timeout", b"still stands"):
                self.assertIn(word, result.stderr)
            self.run_program("put", "slow", "-", *at, stdin=data)
            result = self.run_program("get", "slow", "--timeout", "0.2", *at, status=FAILURE)
            self.assertIn(b"0.2 s", result.stderr)
            self.assertEqual(self.run_program("get", "slow", *at).stdout, data)

    def test_a_long_transfer_shows_a_bar_but_not_on_a_dumb_terminal(self):
        with self.server("--mode", "paced", "--time-scale", "200000") as server:
            at = ["--connect", server.address]
            for terminal, is_shown in (("xterm", True), ("dumb", False)):
                shown = self.errors_on_terminal(terminal, "put", terminal, "-", *at,
                                                stdin=random_bytes(8 << 20))
                self.assertEqual(b"storing 8 MiB" in shown, is_shown, shown)
                self.assertEqual(b"\x1b" in shown, is_shown, shown)

    def errors_on_terminal(self, terminal, *arguments, stdin):
        """What the program writes on a standard error that is a terminal of that type."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=slave,
            env={**os.environ, "TERM": terminal, "COLORTERM": "truecolor"})
        os.close(slave)
        try:
            process.stdin.write(stdin)
            process.stdin.close()
            shown = b""
            try:
                while part := os.read(master, 65536):
                    shown += part
            except OSError:
                pass  # the other end is closed
            self.assertEqual(process.wait(timeout=30), 0, shown)
        finally:
            process.kill()
            process.wait()
            os.close(master)
        return shown


class NoBoxTest(ProgramTest):
    def test_every_command_says_that_no_box_answers(self):
        where = f"unix:{self.folder}/nobody.sock"
        for command in (["status"], ["put", "x", "-"], ["get", "x"], ["ls"], ["rm", "x"]):
            self.assert_fails([*command, "--connect", where], UNREACHABLE, "nobody.sock")

    def test_the_default_address_is_the_default_socket(self):
        self.assert_fails(["ls"], UNREACHABLE, str(self.folder), "godbox serve")


if __name__ == "__main__":
    unittest.main()
