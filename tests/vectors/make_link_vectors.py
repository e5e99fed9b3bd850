#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/vectors/link/*.hex: what hosts ask a port of the box, and what it has to answer,
frame by frame, as scapy builds them (Debian's python3-scapy; BOX below is the box). Run it without
arguments to write the files, or with --check to compare what it makes with what is checked in;
without scapy --check is skipped (exit status 77).

A .hex file holds the bytes of one frame as two-digit hexadecimal numbers.
"""

import argparse
import pathlib
import sys

try:
    from scapy.layers.inet import ICMP, IP
    from scapy.layers.inet6 import (ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS,
                                    ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6)
    from scapy.layers.l2 import ARP, Dot1Q, Ether
    from scapy.packet import Raw
except ImportError:
    print("SKIPPED: needs python3-scapy")
    sys.exit(77)

OUT = pathlib.Path(__file__).resolve().parent / "link"
HOST_MAC, BOX_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
HOST, BOX = "10.0.0.1", "10.0.0.2"
HOST6, BOX6, HOST_LOCAL = "fd00::1", "fd00::2", "fe80::ff:fe00:1"
GROUP, GROUP_MAC = "ff02::1:ff00:2", "33:33:ff:00:00:02"  # where BOX6 is asked for
TO_BOX = Ether(src=HOST_MAC, dst=BOX_MAC)
FROM_BOX = Ether(src=BOX_MAC, dst=HOST_MAC)
PING = Raw(bytes(range(57)))  # an odd number of bytes, for the checksum


def advertisement(to, solicited):
    return IPv6(src=BOX6, dst=to, hlim=255) / ICMPv6ND_NA(tgt=BOX6, R=0, S=solicited, O=1) \
        / ICMPv6NDOptDstLLAddr(lladdr=BOX_MAC)


def solicitation(source, to):
    return IPv6(src=source, dst=to, hlim=255) / ICMPv6ND_NS(tgt=BOX6)


def frames():
    broadcast = Ether(src=HOST_MAC, dst="ff:ff:ff:ff:ff:ff")
    who_has = ARP(op="who-has", hwsrc=HOST_MAC, psrc=HOST, pdst=BOX)
    is_at = ARP(op="is-at", hwsrc=BOX_MAC, psrc=BOX, hwdst=HOST_MAC, pdst=HOST)
    yield "arp", broadcast / who_has, FROM_BOX / is_at
    yield "arp_unicast", TO_BOX / who_has, FROM_BOX / is_at
    vlan = Dot1Q(vlan=100, prio=3)
    yield "arp_vlan", broadcast / vlan / who_has, FROM_BOX / vlan / is_at
    # RFC 5227: whether an address is in use.
    probe = ARP(op="who-has", hwsrc=HOST_MAC, psrc="0.0.0.0", pdst=BOX)
    yield "arp_probe", broadcast / probe, FROM_BOX / ARP(
        op="is-at", hwsrc=BOX_MAC, psrc=BOX, hwdst=HOST_MAC, pdst="0.0.0.0")
    to_group = Ether(src=HOST_MAC, dst=GROUP_MAC)
    option = ICMPv6NDOptSrcLLAddr(lladdr=HOST_MAC)
    yield "neighbour", to_group / solicitation(HOST6, GROUP) / option, \
        FROM_BOX / advertisement(HOST6, 1)
    yield "neighbour_local", to_group / solicitation(HOST_LOCAL, GROUP) / option, \
        FROM_BOX / advertisement(HOST_LOCAL, 1)
    # RFC 4861, 7.3: whether it is still there; no option is needed.
    yield "neighbour_unicast", TO_BOX / solicitation(HOST6, BOX6), \
        FROM_BOX / advertisement(HOST6, 1)
    # RFC 4862, 5.4: whether the address is in use.
    yield "neighbour_duplicate", to_group / solicitation("::", GROUP), \
        Ether(src=BOX_MAC, dst="33:33:00:00:00:01") / advertisement("ff02::1", 0)
    yield "echo", TO_BOX / IP(src=HOST, dst=BOX, id=0x1234, tos=0x20) / ICMP(id=7, seq=9) / PING, \
        FROM_BOX / IP(src=BOX, dst=HOST, id=0, flags="DF", tos=0x20) \
        / ICMP(type="echo-reply", id=7, seq=9) / PING
    yield "echo_v6", TO_BOX / IPv6(src=HOST6, dst=BOX6) / ICMPv6EchoRequest(id=7, seq=9) / PING, \
        FROM_BOX / IPv6(src=BOX6, dst=HOST6) / ICMPv6EchoReply(id=7, seq=9) / PING


def text(frame: bytes) -> str:
    return "".join(frame[at:at + 16].hex(" ") + "\n" for at in range(0, len(frame), 16))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wrong = []
    for name, asked, answer in frames():
        for kind, frame in (("asked", asked), ("answer", answer)):
            path = OUT / f"{name}_{kind}.hex"
            if check:
                wrong += [] if path.exists() and path.read_text() == text(bytes(frame)) else [path]
            else:
                OUT.mkdir(exist_ok=True)
                path.write_text(text(bytes(frame)))
    for path in wrong:
        print(f"{path} is not what this script makes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
