#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the golden CDAT tables, tests/vectors/cdat/*.hex.

Written from the CDAT specification 1.03 and the figures of docs/vm.md alone: it shares no code with
Godbox. Run it without arguments after either changed, or with --check to compare what it makes with
what is checked in. A .hex file holds bytes as two-digit hexadecimal numbers; "#" begins a comment.
"""

import argparse
import pathlib
import struct
import sys

OUT = pathlib.Path(__file__).resolve().parent / "cdat"


def dsmas(size):
    return struct.pack("<BxHBBHQQ", 0, 24, 0, 0, 0, 0, size), "DSMAS: handle 0, volatile, all DPAs"


def dslbis(kind, unit, value, what):
    return struct.pack("<BxHBBBxQHHHH", 1, 24, 0, 0, kind, unit, value, 0, 0, 0), f"DSLBIS: {what}"


def dsemts(size):
    return struct.pack("<BxHBBHQQ", 4, 24, 0, 1, 0, 0, size), "DSEMTS: EFI_MEMORY_SP"


def sslbis(kind, unit, value, what):
    return (struct.pack("<BxHB3xQHHHH", 5, 24, kind, unit, 0x0100, 0xFFFF, value, 0),
            f"SSLBIS: {what}, upstream port to any")


def device(size, latency_ns, read_megabytes_per_s, write_megabytes_per_s):
    return [
        dsmas(size),
        dslbis(1, 1000, latency_ns, f"read latency {latency_ns} ns"),
        dslbis(2, 1000, latency_ns, f"write latency {latency_ns} ns"),
        dslbis(4, 1, read_megabytes_per_s, f"read bandwidth {read_megabytes_per_s} MB/s"),
        dslbis(5, 1, write_megabytes_per_s, f"write bandwidth {write_megabytes_per_s} MB/s"),
        dsemts(size),
    ]


VECTORS = {
    # DDR5-5600 behind Gen5 x8, as `godbox model explain` and `explain --write` say it: 31.4 ns DRAM
    # + 81.5 ns controller, crossings and three flits; the CXL link's rate.
    "laptop_channel": device(256 << 20, 113, 26359, 23723),
    "emfasys18_channel": device(1 << 40, 113, 26359, 23723),
    "switch": [
        sslbis(1, 1000, 80, "read latency 80 ns"),
        sslbis(2, 1000, 80, "write latency 80 ns"),
        sslbis(4, 1, 63000, "read bandwidth 63000 MB/s"),
        sslbis(5, 1, 63000, "write bandwidth 63000 MB/s"),
    ],
}


def table(structures):
    body = b"".join(data for data, _ in structures)
    head = bytearray(struct.pack("<IBB6xI", 16 + len(body), 2, 0, 0))
    head[5] = -sum(head + body) & 0xFF
    return [(bytes(head), "header: length, revision 2, checksum, sequence 0"), *structures]


def text(structures):
    lines = ["# Made by make_cdat_vectors.py"]
    for data, comment in table(structures):
        lines.append(f"# {comment}")
        lines.append(data.hex(" "))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, structures in VECTORS.items():
        path = OUT / f"{name}.hex"
        made = text(structures)
        if not check:
            path.write_text(made)
        elif not path.is_file() or path.read_text() != made:
            stale.append(path.name)
    stale += [p.name for p in OUT.glob("*.hex") if p.stem not in VECTORS]
    if stale:
        print(f"not what the specification says: {', '.join(sorted(stale))}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
