# SPDX-License-Identifier: Apache-2.0
import os
import socket
import subprocess
import unittest

from bench_rows import SMALL, BenchRowsTest
from program import FAILURE, OK, UNREACHABLE, USAGE


class BenchTest(BenchRowsTest):
    def test_blocks_over_both_transports(self):
        rows = self.rows("--crc", "both", "--verify")
        self.assertEqual(len(rows), 8)
        for row in rows:
            self.assertEqual(row["kind"], "real")
            self.assertIn(row["temperature"], ("hot", None))
            self.assertEqual(row["working_set_bytes"], 8 << 20)
            self.assertGreater(row["gb_per_s_min"], 0)
            self.assertLessEqual(row["gb_per_s_min"], row["gb_per_s_median"])
            self.assertLessEqual(row["gb_per_s_median"], row["gb_per_s_max"])
            self.assertGreater(row["efficiency"], 0)
            self.assertGreaterEqual(row["bytes_checked"], 8 << 20)
            self.assertLessEqual(row["block_imbalance_max"], 1.05)
            ceiling = {"local": "memcpy", "tcp": "sockets"}[row["transport"]]
            self.assertEqual(row["ceiling"], ceiling)
        for row in rows:
            if row["transport"] == "tcp":
                self.assertLessEqual(row["channel_imbalance"], 1.05)

    def test_a_box_that_is_served_elsewhere(self):
        with self.server() as box:
            ports = len(box.ready["eth_ports"])
            self.run_program("put", "mine", "-", "--connect", box.address, stdin=b"bytes")
            rows = self.rows("--connect", box.address, "--crc", "both", "--verify")
            self.assertEqual([(row["op"], row["crc"]) for row in rows],
                             [("read", True), ("write", True), ("read", False), ("write", False)])
            for row in rows:
                self.assertEqual((row["transport"], row["kind"], row["ports"], row["box"]),
                                 ("tcp", "real", ports, box.ready["name"]))
                self.assertEqual(row["channels"], box.ready["dram_channels"])
                self.assertGreaterEqual(row["bytes_checked"], 8 << 20)
                self.assertEqual(row["server_threads"], 0)
                self.assertEqual(len(row["port_bytes"]), ports)
                self.assertGreater(sum(count > 0 for count in row["port_bytes"]), 1)
                self.assertGreater(sum(row["port_bytes"]), 2 * (8 << 20))
                self.assertLessEqual(row["channel_imbalance"], 1.05)
                for field in ("ceiling", "efficiency", "ceiling_gb_per_s", "block_imbalance_max"):
                    self.assertIsNone(row[field], field)
            one, = self.rows("--connect", box.ready["eth_ports"][2], "--ports", "2", "--lanes",
                             "3", "--op", "read")
            self.assertEqual((one["ports"], one["lanes"]), (2, 3))
            self.assertGreater(sum(one["port_bytes"][:2]), 2 * (8 << 20))
            self.assertLess(sum(one["port_bytes"][2:]), 1 << 20)  # control
            self.assertEqual(one["result_hash"], rows[0]["result_hash"])
            # Nothing is left, and what was there is.
            listed = self.run_json("ls", "--connect", box.address)["objects"]
            self.assertEqual([entry["name"] for entry in listed], ["mine"])

    def test_a_box_elsewhere_that_is_paced_gives_emulated_figures(self):
        with self.server("--mode", "paced", "--time-scale", "2000") as box:
            row, = self.rows("--connect", box.address, "--op", "read", "--repeats", "1")
            self.assertEqual((row["kind"], row["mode"], row["time_scale"]),
                             ("emulated", "paced", 2000))
            self.assertGreater(row["unscaled_gb_per_s"], row["gb_per_s_median"])

    def test_a_box_elsewhere_that_is_not_there_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"tcp:127.0.0.1:{taken.getsockname()[1]}"
        self.assert_fails([*SMALL, "--connect", address], UNREACHABLE, address)

    def test_the_same_seed_gives_the_same_result_hash(self):
        options = ("--transport", "tcp", "--op", "read")
        first = self.rows(*options, "--seed", "5")[0]["result_hash"]
        self.assertEqual(self.rows(*options, "--seed", "5")[0]["result_hash"], first)
        self.assertNotEqual(self.rows(*options, "--seed", "6")[0]["result_hash"], first)

    def test_pages_in_batches(self):
        rows = self.rows("--workload", "page", "--sizes", "4KiB,64KiB", "--batch", "8",
                         "--transport", "tcp", "--op", "read")
        self.assertEqual([row["size_bytes"] for row in rows], [4096, 65536])
        self.assertEqual(rows[0]["batch"], 8)

    def test_lookups(self):
        rows = self.rows("--workload", "lookup", "--objects", "2000", "--keys", "100",
                         small=["bench", "--repeats", "2"])
        self.assertEqual([row["pattern"] for row in rows],
                         ["all_present", "miss_at_half", "random_order"])
        for row in rows:
            self.assertEqual(row["objects"], 2000)
            self.assertGreater(row["p50_us"], 0)
            self.assertGreater(row["index_bytes_per_object"], 0)
            for field in ("ceiling", "result_hash", "working_set_bytes", "crc", "size_bytes"):
                self.assertIsNone(row[field], field)

    def test_one_channel_gets_the_rate_of_one(self):
        row, = self.rows("--workload", "one-channel", "--mode", "paced", "--time-scale", "1000",
                         "--op", "read", "--channels", "4", "--working-set", "256MiB")
        self.assertEqual(row["kind"], "emulated")
        # What the model moves in a second, not the working set; and a hash of those bytes.
        self.assertLessEqual(row["working_set_bytes"], 64 << 20)
        self.assertEqual(row["bytes_checked"], row["working_set_bytes"])
        self.assertNotIn(row["result_hash"], (None, "00000000"))
        self.assertAlmostEqual(row["channel_imbalance"], 4, places=3)
        self.assertAlmostEqual(row["efficiency"], 1, delta=0.15)

    def test_one_channel_stands_beside_a_ceiling_of_its_own_working_set(self):
        row, = self.rows("--workload", "one-channel", "--op", "read", "--channels", "4")
        self.assertEqual((row["kind"], row["ceiling"]), ("real", "sockets"))
        self.assertEqual(row["working_set_bytes"], 2 << 20)
        self.assertGreater(row["efficiency"], 0)

    def test_a_box_has_no_more_server_threads_than_ports(self):
        row, = self.rows("--transport", "tcp", "--op", "read", "--ports", "2", "--server-threads",
                         "8")
        self.assertEqual(row["server_threads"], 2)

    def test_sockets_of_runs_that_were_killed_are_swept(self):
        folder = self.folder / "godbox"
        folder.mkdir(mode=0o700)
        dead = subprocess.Popen(["true"])
        dead.wait()
        left, kept = folder / f"rig-{dead.pid}-0.sock", folder / "other.sock"
        for path in (left, kept):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        self.rows("--transport", "local", "--op", "read")
        self.assertEqual([p.name for p in folder.iterdir()], ["other.sock"])

    def test_paced_rows_say_that_they_are_emulated(self):
        row, = self.rows("--mode", "paced", "--time-scale", "5000", "--transport", "tcp", "--op",
                         "read")
        self.assertEqual((row["kind"], row["ceiling"]), ("emulated", "model"))
        self.assertAlmostEqual(row["unscaled_gb_per_s"], row["gb_per_s_median"] * 5000, delta=1)

    def test_a_faulty_port_stands_beside_the_healthy_box(self):
        row, = self.rows("--workload", "port-fault", "--mode", "paced", "--fault", "flap:250ms",
                         "--ports", "4", "--repeats", "1", small=["bench", "--working-set",
                                                                  "64MiB", "--sizes", "1MiB"])
        self.assertEqual((row["kind"], row["ceiling"], row["fault"]),
                         ("emulated", "healthy", "flap:250ms"))
        self.assertGreater(row["efficiency"], 0.5)
        self.assertLess(row["efficiency"], 1)
        for field in ("half_load_p99_us_healthy", "half_load_p99_us_faulty", "recovery_s_max",
                      "healed_share", "bytes_checked"):
            self.assertGreater(row[field], 0, field)
        # What those leave out; of a flapping port's rate nothing is.
        for when in ("healthy", "faulty"):
            self.assertEqual(row[f"settling_operations_{when}"] > 0,
                             row[f"settling_p99_us_{when}"] is not None)
        self.assertIsNone(row["settling_share_min"])

    def test_many_hosts_on_one_block(self):
        row, = self.rows("--workload", "incast", "--hosts", "3", "--repeats", "1",
                         small=["bench", "--working-set", "64MiB", "--sizes", "16MiB"])
        self.assertEqual((row["kind"], row["ceiling"], row["hosts"]), ("real", "best-host", 3))
        self.assertEqual(row["bytes_checked"], 3 * 16 << 20)
        self.assertGreater(row["jain_min"], 1 / 3)
        self.assertLessEqual(row["jain_min"], 1)

    def test_without_json_it_prints_a_table(self):
        text = self.run_program(*SMALL, "--transport", "local", status=OK).stdout.decode()
        for word in ("efficiency", "local", "1 MiB", "real"):
            self.assertIn(word, text)

    def stand_ins(self, count, size):
        """Files that stand for devices dax."""
        paths = []
        for i in range(count):
            path = self.folder / f"dax{i}.0"
            with path.open("wb") as file:
                file.truncate(size)
            paths += ["--dax-device", str(path)]
        return paths

    def test_devices_are_striped_over_evenly_and_every_byte_is_checked(self):
        rows = self.rows("--target", "dax", *self.stand_ins(18, 2 << 20), "--crc", "both",
                         "--threads", "2")
        self.assertEqual([row["op"] for row in rows], ["write", "read"] * 2)
        for row in rows:
            self.assertEqual((row["target"], row["channels"]), ("dax", 18))
            self.assertIsNone(row["ceiling"])
            self.assertGreater(row["gb_per_s_median"], 0)
            self.assertGreaterEqual(row["bytes_checked"], 8 << 20)
            self.assertLessEqual(row["channel_imbalance"], 1.05)
            self.assertEqual(len(row["channel_bytes"]), 18)
            self.assertEqual(sum(row["channel_bytes"]), 2 * (8 << 20))

    def test_software_coherence_and_blocks_of_every_size(self):
        rows = self.rows("--target", "dax", *self.stand_ins(7, 4 << 20), "--dax-coherence",
                         "software", "--sizes", "100KiB,3MiB,17MiB", "--working-set", "20MiB",
                         "--op", "read", "--time-limit", "0.000001", small=["bench"])
        self.assertEqual([row["size_bytes"] for row in rows], [100 << 10, 3 << 20, 17 << 20])
        self.assertEqual([row["repeats"] for row in rows], [1, 1, 1])

    def test_pages_and_a_session_over_devices(self):
        devices = self.stand_ins(18, 2 << 20)
        rows = self.rows("--target", "dax", *devices, "--workload", "page",
                         "--working-set", "16MiB", small=["bench"])
        self.assertEqual([(row["id"], row["size_bytes"]) for row in rows],
                         [("W1", size << 10) for size in (4, 4, 64, 64, 288, 288)])
        rows = self.rows("--target", "dax", *devices, "--workload", "session",
                         "--working-set", "20MiB", small=["bench"])
        self.assertEqual([(row["id"], row["op"], row["size_bytes"]) for row in rows],
                         [("W3", op, 20 << 20) for op in ("write", "read")])
        for row in rows:
            self.assertLessEqual(row["channel_imbalance"], 1.05)
            self.assertEqual(row["wrong_bytes"], 0)

    def test_traces_are_replayed_through_a_pool_that_is_too_small(self):
        rows = self.rows("--workload", "replay", "--sizes", "64KiB", "--working-set", "64MiB",
                         small=["bench", "--repeats", "1"])
        self.assertEqual([(row["id"], row["transport"], row["trace"]) for row in rows],
                         [("W6", transport, trace) for transport in ("local", "tcp")
                          for trace in ("conversation", "synthetic")])
        for row in rows:
            self.assertEqual(row["requests"], 200)
            self.assertGreater(row["prefix_hit_share"], 0)
            self.assertGreater(row["evictions"], 0)
            self.assertGreater(row["bytes_checked"], 0)
            self.assertEqual((row["wrong_bytes"], row["refused_puts"]), (0, 0))
        for row in rows[2:]:
            self.assertLessEqual(row["channel_imbalance"], 1.05)
        # What the pool keeps does not depend on the way to it.
        self.assertEqual(rows[0]["prefix_hits"], rows[2]["prefix_hits"])
        self.assert_fails(["bench", "--requests", "5"], USAGE, "--requests")
        self.assert_fails(["bench", "--workload", "replay", "--mode", "paced"], USAGE, "--mode")

    def test_a_numa_node_is_a_channel(self):
        if not os.path.exists("/sys/devices/system/node/node0"):
            self.skipTest("needs a kernel with NUMA")
        rows = self.rows("--target", "numa", "--numa-nodes", "0")
        self.assertEqual([row["channels"] for row in rows], [1, 1])

    def test_wrong_targets_are_refused_by_name(self):
        devices = self.stand_ins(2, 1 << 20)
        for options, word in (
                (["--target", "disk"], "box, dax, numa"),
                (["--numa-nodes", "0"], "--target"),
                (["--target", "dax", *devices, "--ports", "3"], "--ports"),
                (["--target", "dax", *devices, "--pieces", "3"], "--pieces"),
                (["--target", "dax", *devices, "--layers", "3"], "--layers"),
                (["--target", "dax", *devices, "--fault", "dead"], "--fault"),
                (["--target", "dax", *devices, "--hosts", "3"], "--hosts"),
                (["--target", "dax", *devices, "--requests", "3"], "--requests"),
                (["--target", "dax", *devices, "--working-set", "900TiB"],
                 "--working-set: 900 TiB needs 1 times"),
                (["--target", "numa", "--numa-nodes", "0", "--working-set", "900TiB"],
                 "--working-set: 900 TiB needs 2 times"),
                (["--target", "dax", *devices, "--transport", "tcp"], "--transport"),
                (["--target", "dax", *devices, "--workload", "incast"], "block, page, session"),
                (["--target", "dax", *devices, "--workload", "session", "--sizes", "1MiB"],
                 "--sizes"),
                (["--target", "numa", "--numa-nodes", "3-1"], "--numa-nodes"),
                (["--target", "numa", "--numa-nodes", "0", *devices], "--dax-device")):
            self.assert_fails(["bench", *options], USAGE, word)
        self.assert_fails(["bench", "--target", "dax", *devices], FAILURE, "channel 0")
        self.assert_fails(["bench", "--target", "dax", "--dax-device", "/dev/dax99.9"],
                          FAILURE, "dax99.9")


if __name__ == "__main__":
    unittest.main()
