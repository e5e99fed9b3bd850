# SPDX-License-Identifier: Apache-2.0
"""`godbox bench` over wires of its own that are no sockets: interfaces of the kernel, and devices
of DPDK. In a network of the test's own, with both ends of a veth pair."""

import ctypes
import functools
import os
import signal
import socket
import struct
import subprocess
import unittest

import program
from program import FAILURE, SMALL_BOX, USAGE, ProgramTest

CLONE_NEWNET = 0x40000000
PR_CAPBSET_DROP = 24
CAPABILITIES = 41
SOL_PACKET, PACKET_AUXDATA = 263, 8
ETH_P_ALL = 3
ARP, VLAN = 0x0806, 0x8100
MTU = 4200
BOX_END, HERE_END = "gbbox", "gbhere"
SMALL = ["--workload", "page", "--sizes", "64KiB", "--working-set", "2MiB", "--repeats", "1",
         "--verify"]


class OwnNetwork:
    """A network namespace for this process and those it starts, until the end of the with block."""

    def __enter__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        self.set_network = libc.setns
        self.before = os.open("/proc/self/ns/net", os.O_RDONLY)
        if libc.unshare(CLONE_NEWNET) != 0:
            os.close(self.before)
            raise unittest.SkipTest("needs the right to make network namespaces")
        try:
            self.lay_cable()
        except BaseException:
            self.__exit__()
            raise
        return self

    @staticmethod
    def lay_cable():
        # Without IPv6 the kernel says nothing there by itself.
        script = (
            f"ip link set lo up && ip link add {BOX_END} mtu {MTU} type veth peer name {HERE_END} "
            f"mtu {MTU} && for end in {BOX_END} {HERE_END}; do "
            "echo 1 >/proc/sys/net/ipv6/conf/$end/disable_ipv6; ip link set $end up; done")
        made = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        if made.returncode != 0:
            raise unittest.SkipTest(f"needs veth pairs, and ip of iproute2: {made.stderr}")

    def __exit__(self, *_):
        failed = self.set_network(self.before, CLONE_NEWNET)
        os.close(self.before)
        assert not failed, "the network of before is gone"


def asked_in_vlan(vlan, address):
    """Who has the address? The tag of the answer (None: it has none), and its ARP."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
        wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        wire.bind((HERE_END, ETH_P_ALL))
        wire.settimeout(10)
        own = wire.getsockname()[4]
        request = struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, own,
                              socket.inet_aton("10.0.7.9"), bytes(6), socket.inet_aton(address))
        wire.send(b"\xff" * 6 + own + struct.pack(">HHH", VLAN, vlan, ARP) + request)
        while True:
            frame, (aside, *_), _, (_, _, way, *_) = wire.recvmsg(2000, 1000)
            if way != socket.PACKET_OUTGOING and frame[12:14] == struct.pack(">H", ARP):
                # struct tpacket_auxdata; the kernel takes the tag out, and tells it here.
                status, _, _, _, _, control, kind = struct.unpack("=3I4H", aside[2])
                valid = 1 << 4 | 1 << 6  # TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID
                return (kind, control) if status & valid == valid else None, frame[14:42]


def without_rights():
    """For a child before its program: that has no right that other users than root have not."""
    libc = ctypes.CDLL(None)
    for number in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)  # of others than root it has none anyway


def needs_dpdk(test):
    @functools.wraps(test)
    def run(self):
        try:
            test(self)
        except AssertionError as error:
            if "without DPDK" not in str(error):
                raise
            self.skipTest("this build has no DPDK")
    return run


class RoceWiresTest(ProgramTest):
    def check_bench(self, box, *wires):
        """Reads and writes arrive as they were sent, all of them over RoCE."""
        address = "roce:" + box.ready["eth_ports"][0].removeprefix("tcp:")
        options = [word for wire in wires for word in ("--wire", wire)]
        rows = self.run_json("bench", "--connect", address, *options, *SMALL)["rows"]
        self.assertEqual([(row["transport"], row["op"]) for row in rows],
                         [("roce", "read"), ("roce", "write")])
        for row in rows:
            self.assertEqual((row["wrong_bytes"], row["ports"]), (0, 1))
            self.assertGreaterEqual(row["bytes_checked"], 2 << 20)
            self.assertGreaterEqual(sum(row["port_bytes"]), 2 << 20)
        port, = self.run_json("status", "--connect", box.address)["roce_ports"]
        for wrong in ("dropped_icrc", "dropped_malformed", "naks_access", "naks_invalid",
                      "connections_rejected"):
            self.assertEqual(port[wrong], 0, (wrong, port))

    def test_several_ports_and_the_first_of_them(self):
        """One of two ports is in a wire's network: it is the first that can be reached."""
        ends = [(self.folder / f"box{n}", self.folder / f"here{n}") for n in range(2)]
        ports = [word for n, (box, here) in enumerate(ends)
                 for word in ("--roce", f"10.0.{n}.2/24@dgram:{box},{here}")]
        with self.server(*ports) as box:
            address = "roce:" + box.ready["eth_ports"][0].removeprefix("tcp:")
            row, = self.run_json(
                "bench", "--connect", address, "--wire",
                f"10.0.1.9/24@dgram:{ends[1][1]},{ends[1][0]}", "--ports", "1", "--sizes", "1MiB",
                "--working-set", "1MiB", "--repeats", "1", "--op", "read")["rows"]
            self.assertGreater(row["port_bytes"][1], 0)

    def test_an_interface_of_the_kernel(self):
        with OwnNetwork(), self.server("--roce", f"10.0.7.2/24@packet:{BOX_END}") as box:
            self.check_bench(box, f"10.0.7.9/24@packet:{HERE_END}")

    def test_a_host_in_a_vlan_is_answered_there(self):
        with OwnNetwork(), self.server("--roce", f"10.0.7.2/24@packet:{BOX_END}") as box:
            vlan = 3 << 13 | 5  # priority 3
            tag, arp = asked_in_vlan(vlan, "10.0.7.2")
            self.assertEqual(tag, (VLAN, vlan))
            answer, sender = arp[6:8], arp[8:14]
            self.assertEqual((answer, arp[14:18]), (b"\0\2", socket.inet_aton("10.0.7.2")))
            self.assertEqual(sender.hex(":"), box.ready["roce_ports"][0]["mac"])

    @unittest.skipUnless(os.access("/dev/net/tun", os.W_OK), "needs /dev/net/tun")
    def test_the_far_end_of_a_tap_interface(self):
        """The kernel's end is a host's, which a packet socket plays."""
        for end in ("box", "here"):
            wires = {"box": f"tap:{BOX_END}tap", "here": f"packet:{BOX_END}tap"}
            with self.subTest(end), OwnNetwork():
                if end == "here":  # the other way round
                    subprocess.run(["ip", "tuntap", "add", f"{BOX_END}tap", "mode", "tap"],
                                   check=True)
                    subprocess.run(["ip", "link", "set", f"{BOX_END}tap", "mtu", "4200", "up"],
                                   check=True)
                    wires = {"box": wires["here"], "here": wires["box"]}
                with self.server("--roce", f"10.0.7.2/24,mtu=4200@{wires['box']}") as box:
                    self.check_bench(box, f"10.0.7.9/24@{wires['here']}")

    @needs_dpdk
    def test_an_interface_of_the_kernel_through_dpdk(self):
        with OwnNetwork(), self.server("--roce", f"10.0.7.2/24,mtu=1500@packet:{BOX_END}") as box:
            self.check_bench(box, f"10.0.7.9/24@dpdk:net_af_packet0,iface={HERE_END}")

    def check_refused(self, wire, status, *words, rights=True):
        """A box and a client say what is wrong with a wire, and name it and its option."""
        control = ["--control-socket", str(self.folder / "control.sock")]
        for option, command in (("--roce", ["serve", "--json", *SMALL_BOX, *control]),
                                ("--wire", ["ls", "--connect", "roce:127.0.0.1:1"])):
            result = subprocess.run(
                [program.PROGRAM, *command, option, wire], capture_output=True, text=True,
                timeout=program.START_SECONDS_MAX, preexec_fn=None if rights else without_rights)
            for word in (option, wire, *words):
                self.assertIn(word, result.stderr)
            self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)

    def test_a_right_that_is_missing_is_named_with_what_needs_none(self):
        for wire, right in (("packet:lo", "net_raw"), ("tap:gbtap", "net_admin")):
            with self.subTest(wire):
                if "tap" in wire and not os.access("/dev/net/tun", os.W_OK):
                    self.skipTest("needs /dev/net/tun")
                self.check_refused(
                    f"10.0.7.2/24@{wire}", FAILURE, "permission_denied", f"CAP_{right.upper()}",
                    f"setcap cap_{right}+ep", "dgram:SOCKET,PEER-SOCKET needs no right",
                    rights=False)

    @needs_dpdk
    def test_so_are_the_rights_that_devices_of_dpdk_take(self):
        for device, right in (("net_af_packet0,iface=lo", "CAP_NET_RAW"),
                              ("net_af_xdp0,iface=lo", "CAP_BPF"),
                              ("net_tap0,iface=gbtap", "CAP_NET_ADMIN")):
            with self.subTest(device):
                if "tap" in device and not os.access("/dev/net/tun", os.W_OK):
                    continue
                self.check_refused(
                    f"10.0.7.2/24@dpdk:{device}", FAILURE, "permission_denied", right, "setcap",
                    "dgram:SOCKET,PEER-SOCKET needs no right", rights=False)

    @needs_dpdk
    def test_an_address_of_the_kernels_is_refused_where_it_hears_the_frames_too(self):
        with OwnNetwork():
            subprocess.run(["ip", "address", "add", "10.0.7.2/24", "dev", BOX_END], check=True)
            for wire in (f"packet:{BOX_END}", f"dpdk:net_af_packet0,iface={BOX_END}",
                         "tap:gbtap", f"dpdk:net_af_xdp0,iface={BOX_END}",
                         f"dpdk:net_pcap0,iface={BOX_END}",
                         "dpdk:net_tap0,iface=gbtap"):
                with self.subTest(wire):
                    self.check_refused(f"10.0.7.2/24@{wire}", USAGE, "10.0.7.2/24 is this host's "
                                       f"own, on {BOX_END}")
            # A wire that the kernel hears nothing of may have it.
            with self.server("--roce", f"10.0.7.2/24@dgram:{self.folder}/a,{self.folder}/b"):
                pass

    @needs_dpdk
    def test_shared_memory_of_dpdk(self):
        memif = f"id=0,socket-abstract=no,socket={self.folder}/memif"
        # What a box that was killed has left does not keep the next one from starting.
        for ending in (signal.SIGKILL, signal.SIGTERM):
            with self.server("--roce", f"10.0.7.2/24@dpdk:net_memif0,role=server,{memif}") as box:
                self.check_bench(box, f"10.0.7.9/24@dpdk:net_memif0,role=client,{memif}")
                box.stop(ending)


if __name__ == "__main__":
    unittest.main()
