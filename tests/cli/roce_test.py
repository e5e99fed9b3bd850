# SPDX-License-Identifier: Apache-2.0
"""RoCE ports of `godbox serve`, with a host that is played by hand at the other end of the wire."""

import struct
import subprocess
import unittest
from pathlib import Path

import program
from program import (
    FAILURE, IN_USE, OK, SMALL_BOX, UNREACHABLE, USAGE, ProgramTest, wait_until)
from raw_client import RawSession, Vector
from raw_rdma import (
    ACKNOWLEDGE, BOX, BOX_MAC, DREP, DREQ, READ_REQUEST, READ_RESPONSE_ONLY, REJ, WRITE_ONLY,
    RoceHost)

ACCESS_DENIED = 112


def allocate(session, size):
    """A region of one extent: its key and virtual address."""
    session.send("allocate_region", Vector().u64(size, "size"))
    status, body = session.reply()
    assert status == 0, status
    key, count, slab, length, offset = struct.unpack_from("<IIIIQ", body)
    assert count == 1 and length == size, (count, length)
    return key, (slab & (1 << 28) - 1) << 36 | offset


def text_at(body, at):
    length, = struct.unpack_from("<H", body, at)
    return body[at + 2:at + 2 + length].decode(), at + 2 + length


def eth_ports(body):
    """Of INFO: id, SuperNIC and address of each."""
    at = 3 * 8
    for _ in ("box_name", "mode"):
        _, at = text_at(body, at)
    count, = struct.unpack_from("<I", body, at)
    at, ports = at + 4, []
    for _ in range(count):
        number, super_nic = struct.unpack_from("<HH", body, at)
        address, at = text_at(body, at + 4)
        ports.append((number, super_nic, address))
    return ports


def own_address():
    """One of this host's, but for its loopback; None: it has no other."""
    with open("/proc/net/fib_trie", encoding="ascii") as lines:
        address = None
        for line in lines:
            word = line.split()[-1]
            if "LOCAL" in line and not address.startswith("127."):
                return address
            address = word if "|--" in line else address
    return None


def super_nic_of(box, eth_port):
    return eth_port * box.ready["super_nics"] // len(box.ready["eth_ports"])


class RoceTest(ProgramTest):
    def port(self, server):
        return self.run_json("status", "--connect", server.address)["roce_ports"][0]

    def test_the_ready_line_the_status_and_info_name_the_port(self):
        with RoceHost(self.folder) as host, \
                self.server("--roce", host.option(",fd00::2/64,mtu=4200,port=3,name=left")) as box:
            expected = {"eth_port": 3, "name": "left", "wire": f"datagram {host.box}",
                        "mac": BOX_MAC.hex(":"), "mtu_bytes": 4200, "queues": 1,
                        "addresses": [f"{BOX}/24", "fd00::2/64"]}
            self.assertEqual(box.ready["roce_ports"], [expected])
            port = self.port(box)
            self.assertEqual({key: port[key] for key in expected}, expected)
            text = self.run_program("status", "--connect", box.address).stdout.decode()
            self.assertIn("left", text)
            self.assertIn(f"{BOX}/24", text)
            with RawSession(box.address) as session:
                session.send("info")
                status, body = session.reply()
            self.assertEqual(status, 0)
            told = [port for port in eth_ports(body) if port[2].startswith("roce:")]
            ends = f",mac={BOX_MAC.hex(':')},mtu=4200"
            self.assertEqual(told, [(3, super_nic_of(box, 3), f"roce:{BOX}/24{ends}"),
                                    (3, super_nic_of(box, 3), f"roce:fd00::2/64{ends}")])
            self.assertEqual(len(eth_ports(body)), len(box.ready["eth_ports"]) + 2)
            # A client over TCP passes over what it does not speak.
            self.run_program("put", "object", "-", "--connect", box.address, stdin=b"bytes")
            self.assertEqual(self.run_program("get", "object", "--connect", box.address).stdout,
                             b"bytes")
            self.assertEqual(host.arp(), BOX_MAC)

    def test_the_file_names_ports_too_and_options_add_to_them(self):
        config = self.folder / "box.toml"
        other = self.folder / "other"
        other.mkdir()
        with RoceHost(self.folder) as left, RoceHost(other) as right:
            config.write_text(f'roce_ports = ["{left.option(",port=2")}"]\n')
            with self.server("--config", str(config), "--roce", right.option()) as box:
                self.assertEqual([(port["eth_port"], port["wire"]) for port in
                                  box.ready["roce_ports"]],
                                 [(2, f"datagram {left.box}"), (0, f"datagram {right.box}")])
                self.assertEqual(left.arp(), BOX_MAC)
        config.write_text('roce_ports = ["10.0.2.2@wire:x"]\n')
        self.assert_fails(["serve", "--preset", "laptop", "--config", str(config)], USAGE,
                          "roce_ports", "10.0.2.2@wire:x", "verbs:RDMA-DEVICE")

    def test_without_ports_there_are_none(self):
        with self.server() as box:
            self.assertEqual(box.ready["roce_ports"], [])
            self.assertEqual(self.run_json("status", "--connect", box.address)["roce_ports"], [])

    def test_a_client_over_rdma_says_what_is_missing(self):
        with RoceHost(self.folder) as host, self.server("--roce", host.option()) as box:
            address = "verbs:" + box.ready["eth_ports"][0].removeprefix("tcp:")
            for command in (["ls"], ["bench", "--working-set", "1MiB", "--sizes", "1MiB"]):
                # Here is no RDMA device, none that reaches BOX, or a build without the libraries.
                self.assert_fails([*command, "--connect", address], FAILURE, "device_missing",
                                  "RDMA")
        with self.server() as box:
            tcp = box.ready["eth_ports"][0]
            self.assert_fails(["put", "x", program.__file__, "--connect",
                               "verbs:" + tcp.removeprefix("tcp:")], FAILURE, "unsupported",
                              tcp, "offers no RoCE port", "serve --roce")
        self.assert_fails(["ls", "--connect", "verbs:" + tcp.removeprefix("tcp:")], UNREACHABLE,
                          "no box answers", tcp)

    def test_bench_over_wires_of_its_own(self):
        serve, wires = [], []
        for number in range(2):
            box, here = (self.folder / f"{end}{number}" for end in ("box", "here"))
            network = f"10.0.{number}"
            serve += ["--roce", f"{network}.2/24,mtu=4200,port={number}@dgram:{box},{here}"]
            wires += ["--wire", f"{network}.9/24,mtu=4200@dgram:{here},{box}"]
        working_set, repeats = 2 << 20, 2
        with self.server(*serve) as box:
            tcp = box.ready["eth_ports"][0]
            rows = self.run_json(
                "bench", "--connect", tcp, "--transport", "tcp,roce", *wires, "--workload", "page",
                "--sizes", "64KiB", "--working-set", str(working_set), "--repeats", str(repeats),
                "--verify")["rows"]
            self.assertEqual([(row["transport"], row["op"]) for row in rows],
                             [("tcp", "read"), ("tcp", "write"),
                              ("roce", "read"), ("roce", "write")])
            for tcp_row, row in zip(rows[:2], rows[2:]):
                self.assertEqual(row["result_hash"], tcp_row["result_hash"])
                self.assertEqual((row["ports"], row["lanes"], row["size_bytes"], row["kind"]),
                                 (2, 1, 64 << 10, "real"))
                self.assertEqual(row["wrong_bytes"], 0)
                self.assertGreaterEqual(row["bytes_checked"], working_set)
                self.assertGreater(row["gb_per_s_median"], 0)
                self.assertLessEqual(row["p50_us"], row["p99_us"])
                self.assertIsNone(row["ceiling"])
                self.assertGreaterEqual(sum(row["port_bytes"][:2]), repeats * working_set)
                self.assertGreater(min(row["port_bytes"][:2]), 0)
                self.assertFalse(any(row["port_bytes"][2:]))
            for port in self.run_json("status", "--connect", box.address)["roce_ports"]:
                for wrong in ("dropped_icrc", "dropped_malformed", "naks_access", "naks_invalid",
                              "connections_rejected"):
                    self.assertEqual(port[wrong], 0, (wrong, port))
            # One wire is enough, and the table says over how many ports the bytes went.
            text = self.run_program(
                "bench", "--connect", tcp.replace("tcp:", "roce:"), *wires[:2], "--sizes", "1MiB",
                "--working-set", "2MiB", "--repeats", "1", "--op", "read").stdout.decode()
            self.assertIn("roce", text)

    def test_bench_over_wires_says_what_is_missing(self):
        small = ["--sizes", "1MiB", "--working-set", "1MiB"]
        box_end, here, other = (self.folder / name for name in ("box", "here", "other"))
        wire = f"dgram:{here},{box_end}"
        silent = f"10.0.2.2/24@dgram:{box_end},{other}"
        with self.server("--roce", silent) as box:
            address = "roce:" + box.ready["eth_ports"][0].removeprefix("tcp:")
            for wires, status, *words in (
                    ([f"10.0.2.9/24@{wire}"], UNREACHABLE, "lane_timeout",
                     "10.0.2.2: nobody answers"),
                    ([f"10.0.3.9/24@{wire}"], FAILURE, "device_missing", "10.0.2.2",
                     "10.0.3.9/24"),
                    ([f"10.0.2.2/24@{wire}"], USAGE, "10.0.2.2", "address of the box's port"),
                    (["10.0.2.9/24@packet:no-such-if"], FAILURE, "--wire", "no-such-if"),
                    ([f"10.0.2.9/24,mtu=100@{wire}"], USAGE, "--wire", "mtu", "100"),
                    ([f"10.0.2.9/24,port=1@{wire}"], USAGE, "--wire", "port"),
                    (["10.0.2.9/24@verbs:mlx5_0"], USAGE, "--wire", "verbs"),
                    ([f"10.0.2.9/24@{wire}"] * 2, USAGE, "--wire", "10.0.2.9/24"),
                    (["10.0.2.9/24@dgram:/no/such/folder,/tmp/b"], FAILURE, "--wire",
                     "/no/such/folder")):
                with self.subTest(wires):
                    options = [word for text in wires for word in ("--wire", text)]
                    self.assert_fails(["bench", "--connect", address, *options, *small], status,
                                      *words)
        with self.server() as box:
            address = "roce:" + box.ready["eth_ports"][0].removeprefix("tcp:")
            self.assert_fails(["bench", "--connect", address, "--wire", f"10.0.2.9/24@{wire}",
                               *small], FAILURE, "unsupported", "offers no RoCE port",
                              "serve --roce")
            self.assert_fails(["put", "x", program.__file__, "--connect", address], USAGE,
                              "roce", "--wire", "10.0.2.9/24")
            tcp = box.ready["eth_ports"][0]
            self.assert_fails(["get", "x", "--connect", tcp, "--wire", f"10.0.2.9/24@{wire}"],
                              USAGE, "--wire", f"10.0.2.9/24@{wire}", "does nothing",
                              "--connect roce:")
            self.assert_fails(["ls", "--connect", address, "--wire", "10.0.2.9/24@packet:no-such"],
                              FAILURE, "--wire", "no-such")

    def test_objects_go_over_wires_of_the_program_s_own(self):
        box_end, here = (self.folder / end for end in ("box", "here"))
        wire = ["--wire", f"10.0.2.9/24,mtu=4200@dgram:{here},{box_end}"]
        content = bytes(range(256)) * 4100  # 1 MiB and some
        copy = self.folder / "copy"
        with self.server("--roce", f"10.0.2.2/24,mtu=4200@dgram:{box_end},{here}") as box:
            tcp = box.ready["eth_ports"][0]
            over_roce = ["--connect", tcp.replace("tcp:", "roce:"), *wire]
            self.run_program("put", "object", "-", *over_roce, stdin=content)
            self.assertEqual(self.port(box)["bytes_written"], len(content))
            self.run_program("get", *over_roce, "object", str(copy))
            self.assertEqual(copy.read_bytes(), content)
            self.assertEqual(self.port(box)["bytes_read"], len(content))
            self.assertEqual(self.run_program("get", "object", "--connect", tcp).stdout, content)
            self.assertEqual(self.port(box)["bytes_read"], len(content))
            listed = self.run_json("ls", *over_roce)["objects"]
            self.assertEqual([entry["name"] for entry in listed], ["object"])
            self.assertFalse(here.exists())

    def test_a_connection_is_a_lane_of_its_session(self):
        with RoceHost(self.folder) as host, self.server("--roce", host.option()) as box:
            session = RawSession(box.address)
            key, address = allocate(session, 4096)
            host.connect(session.session, session.secret)
            self.assertEqual(host.eth_port, 0)
            self.assertEqual(host.ask(WRITE_ONLY, key, address + 100, 8, b"godbox!!")[:2],
                             (ACKNOWLEDGE, 0x1F))
            opcode, syndrome, data = host.ask(READ_REQUEST, key, address + 98, 12)
            self.assertEqual((opcode, syndrome, data),
                             (READ_RESPONSE_ONLY, 0x1F, b"\0\0godbox!!\0\0"))
            port = self.port(box)
            self.assertEqual((port["queue_pairs_open"], port["connections_established"],
                              port["bytes_written"], port["bytes_read"]), (1, 1, 8, 12))
            # The session's end is the lane's, and its key opens nothing any more.
            session.socket.close()
            attribute, message = host.mad()
            self.assertEqual(attribute, DREQ)
            host.send_mad(DREP, struct.pack(">II", *struct.unpack_from(">II", message)[::-1]))
            self.assertTrue(wait_until(lambda: self.port(box)["queue_pairs_open"] == 0))
            self.assertEqual(self.port(box)["connections_closed"], 1)

    def test_a_wrong_secret_opens_no_lane(self):
        with RoceHost(self.folder) as host, self.server("--roce", host.option()) as box, \
                RawSession(box.address) as session:
            first, second = session.secret
            attribute, message = host.request(session.session, (first ^ 1, second))
            self.assertEqual(attribute, REJ)
            reason, = struct.unpack_from(">H", message, 10)
            self.assertEqual((reason, struct.unpack_from(">HH", message, 84)),
                             (28, (1, ACCESS_DENIED)))
            self.assertEqual(self.port(box)["connections_rejected"], 1)

    def test_ports_have_wires_of_their_own_and_the_box_stops_with_lanes_open(self):
        other = self.folder / "other"
        other.mkdir()
        with RoceHost(self.folder) as left, RoceHost(other) as right, \
                self.server("--roce", left.option(), "--roce", right.option()) as box, \
                RawSession(box.address) as session:
            key, address = allocate(session, 4096)
            left.connect(session.session, session.secret)
            right.connect(session.session, session.secret)
            self.assertEqual((left.eth_port, right.eth_port), (0, 1))
            left.ask(WRITE_ONLY, key, address, 4, b"left")
            self.assertEqual(right.ask(READ_REQUEST, key, address, 4)[2], b"left")
            self.assertEqual(box.stop(), OK)
            self.assertEqual(box.errors, "")
            self.assertFalse(Path(left.box).exists() or Path(right.box).exists())

    def test_a_device_of_dpdk_is_a_wire(self):
        option = f"10.0.0.2/24,mtu=9000@dpdk:net_vhost0,iface={self.folder}/port0"
        try:
            box = self.server("--roce", option)
        except AssertionError as error:
            if "without DPDK" not in str(error):
                raise
            self.skipTest("this build has no DPDK")
        with box:
            self.assertTrue((self.folder / "port0").is_socket())
            port = self.port(box)
            self.assertEqual((port["wire"], port["mtu_bytes"]), ("dpdk net_vhost0", 9000))
            self.assertEqual(box.stop(), OK)
            self.assertEqual(box.errors, "")

    def test_a_port_has_as_many_queues_as_its_device(self):
        device = f"net_vhost0,iface={self.folder}/port0"
        option = f"10.0.0.2/24,queues=4@dpdk:{device}"
        try:
            box = self.server("--threads", "3", "--roce", f"{option},queues=4")
        except AssertionError as error:
            if "without DPDK" not in str(error):
                raise
            self.skipTest("this build has no DPDK")
        with box:
            port = self.port(box)
            self.assertEqual((port["wire"], port["queues"], port["frames_given"]),
                             ("dpdk net_vhost0", 4, 0))
            names = [path.read_text().strip()
                     for path in Path(f"/proc/{box.ready['pid']}/task").glob("*/comm")]
            self.assertEqual(sorted(name for name in names if name.startswith("godbox-roce")),
                             ["godbox-roce-0", "godbox-roce-1", "godbox-roce-2"])
            self.assertEqual(box.stop(), OK)
            self.assertEqual(box.errors, "")
        # The device was not told of them.
        self.assert_fails(["serve", *SMALL_BOX, "--roce", option], USAGE, "--roce", option,
                          "queues = 4", "net_vhost0 has 1", "queues=4")

    def test_what_cannot_be_is_refused_by_name(self):
        there = self.folder / "box.frames"
        there.write_text("somebody's file")
        wire = f"dgram:{self.folder}/a,{self.folder}/b"
        kernels = own_address()
        for option, status, *words in (
                (wire, USAGE, "WIRE"),
                (f"@{wire}", USAGE, "address is missing"),
                (f"10.0.0.256@{wire}", USAGE, "10.0.0.256"),
                (f"10.0.0.2/33@{wire}", USAGE, "10.0.0.2/33", "/32"),
                (f"224.0.0.1@{wire}", USAGE, "224.0.0.1"),
                (f"10.0.0.2,mtu=100@{wire}", USAGE, "mtu", "100"),
                (f"10.0.0.2,port=9999@{wire}", USAGE, "9999"),
                (f"10.0.0.2,mac=01:00:00:00:00:00@{wire}", USAGE, "mac"),
                (f"10.0.0.2,speed=9@{wire}", USAGE, "speed"),
                ("10.0.0.2@vhost:a", USAGE, "vhost", "dgram:"),
                ("10.0.0.2@packet:no-such-if", FAILURE, "no-such-if"),
                (f"10.0.0.2,mtu=9500@{wire}", USAGE, "9500"),
                (f"10.0.0.2,queues=2@{wire}", USAGE, "queues", "dpdk"),
                (f"10.0.0.2@dgram:{there},{self.folder}/b", IN_USE, str(there)),
                *([(f"{kernels}@packet:lo", USAGE, "this host's own")] if kernels else []),
                ("10.0.0.2@dpdk:net_nothing0", None)):
            with self.subTest(option):
                result = subprocess.run(
                    [program.PROGRAM, "serve", "--json", *SMALL_BOX, "--control-socket",
                     str(self.folder / "control.sock"), "--roce", option],
                    capture_output=True, timeout=program.START_SECONDS_MAX)
                # A build has DPDK and refuses the device, or has none.
                self.assertIn(result.returncode, [FAILURE, USAGE] if status is None else [status])
                errors = result.stderr.decode()
                for word in ("--roce", option, *words):
                    self.assertIn(word, errors)
                self.assertEqual(result.stdout, b"")

    def test_a_port_on_an_rdma_device_cannot_be_silent(self):
        """Its frames are not the box's: that is said, and before the device is looked for."""
        for fault in ("silent", "flap-silent:1s"):
            self.assert_fails(
                ["serve", *SMALL_BOX, "--roce", "10.0.0.2/24,port=3@verbs:no-device",
                 "--port-fault", f"3={fault}"], USAGE, f"port_faults = \"3={fault}\"",
                "Ethernet port 3 cannot be silent", "--roce 10.0.0.2/24,port=3@verbs:no-device")

    def test_errors_name_options_that_there_are(self):
        wire = f"dgram:{self.folder}/a,{self.folder}/b"
        for options, *words in (
                (["--roce", f"10.0.0.2@{wire}", "--dpdk-huge-pages"], "--dpdk-huge-pages"),
                (["--roce", "10.0.0.2,mtu=9600@dpdk:net_memif0"], "mtu = 9600", "68 to 1500"),
                (["--roce", "10.0.0.2@dpdk:0000:ff:1f.7,dev=1"], "0000:ff:1f.7")):
            with self.subTest(options):
                result = subprocess.run(
                    [program.PROGRAM, "serve", "--json", *SMALL_BOX, "--control-socket",
                     str(self.folder / "control.sock"), *options],
                    capture_output=True, timeout=program.START_SECONDS_MAX)
                self.assertNotEqual(result.returncode, OK)
                errors = result.stderr.decode()
                if "without DPDK" in errors:
                    continue
                for word in words:
                    self.assertIn(word, errors)
                for word in ("mtu_bytes", "pci_addresses", "huge_pages ="):
                    self.assertNotIn(word, errors)


if __name__ == "__main__":
    unittest.main()
