#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks qemu-patches/ as far as that goes without QEMU's source: the series names every patch once
and in order, each patch says what has to be known of it, and KNOWN has versions with checksums.

usage: check_patches.py [root]
"""

import re
import sys
from pathlib import Path

SAYS = ("Subject: [PATCH ", "\nUpstream: ", "\nTo be dropped: ",
        "\nSPDX-License-Identifier: GPL-2.0-or-later\n")
KNOWN_LINE = re.compile(r"1:10\.0\.\S+ [0-9a-f]{64}")


def lines_of(path):
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


def check(folder):
    problems = []
    series = lines_of(folder / "series")
    patches = sorted(path.name for path in folder.glob("*.patch"))
    if series != patches:
        problems.append(f"series names {series}, and there are {patches}")
    for number, name in enumerate(patches, start=1):
        message = (folder / name).read_text(encoding="utf-8").split("\ndiff --git ")[0]
        problems += [f"{name}: \"{words.strip()}\" is missing" for words in SAYS
                     if words not in message]
        subject = f"[PATCH {number}/{len(patches)}]"
        if subject not in message or not name.startswith(f"{number:04}-"):
            problems.append(f"{name} is number {number} of {len(patches)}, and does not say so")
    problems += [f"KNOWN: {line}: a version and a SHA-256 are needed"
                 for line in lines_of(folder / "KNOWN") if not KNOWN_LINE.fullmatch(line)]
    return problems, len(patches)


if __name__ == "__main__":
    found, count = check(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve() / "qemu-patches")
    for problem in found:
        print(problem)
    print(f"patches: {f'{len(found)} problems' if found else 'ok'} ({count} patches)")
    sys.exit(1 if found else 0)
