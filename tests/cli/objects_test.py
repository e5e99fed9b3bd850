# SPDX-License-Identifier: Apache-2.0
import random
import unittest

from program import ALREADY_EXISTS, FAILURE, NO_ROOM, NOT_FOUND, UNREACHABLE, USAGE, ProgramTest

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


class FullBoxTest(ProgramTest):
    def test_a_full_box_says_so(self):
        with self.server("--eviction", "none", "--backing-limit", "64MiB") as server:
            at = ["--connect", server.address]
            big = bytes(40 << 20)
            self.run_program("put", "fits", "-", *at, stdin=big)
            result = self.run_program("put", "too much", "-", *at, stdin=big, status=NO_ROOM)
            self.assertIn(b"too much", result.stderr)
            self.assertEqual(self.run_program("get", "fits", *at).stdout, big)


class NoBoxTest(ProgramTest):
    def test_every_command_says_that_no_box_answers(self):
        where = f"unix:{self.folder}/nobody.sock"
        for command in (["status"], ["put", "x", "-"], ["get", "x"], ["ls"], ["rm", "x"]):
            self.assert_fails([*command, "--connect", where], UNREACHABLE, "nobody.sock")

    def test_the_default_address_is_the_default_socket(self):
        self.assert_fails(["ls"], UNREACHABLE, str(self.folder), "godbox serve")


if __name__ == "__main__":
    unittest.main()
