#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CXL memory beside the guest's own DRAM, under QEMU with and without qemu-patches/: one boot for
each form, the two kinds of memory in turns. Emulated: the figures say how fast QEMU is, and nothing
of a box.

usage: run.py --program GODBOX --worker NODE_RATIO [--small | --forms "x1,x2 at 256"] [--json FILE]
              [--accelerator tcg]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

SKIPPED = 77
LEAST_RATIO = 0.9  # of a patched QEMU
REPEATS = 9
# Four ways at 16 KiB and eight at 8 KiB are more than Linux makes (rule selector-bits of vm plan).
LARGEST = {2: "16KiB", 4: "8KiB", 8: "4KiB"}
FORMS = [(1, None)] + [(ways, granularity) for ways, largest in LARGEST.items()
                       for granularity in dict.fromkeys(("256", "4KiB", largest))]
# Without the patches memory is written at 2 MB/s.
MEBIBYTES = {"patched": 48, "stock": 1}


def name_of(form):
    ways, granularity = form
    return f"x{ways}" if granularity is None else f"x{ways} at {granularity}"


def patched_qemu():
    cache = os.environ.get("GODBOX_QEMU") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "godbox", "qemu")
    return Path(cache) / "current" / "qemu-system-x86_64"


def measure(options, kind, qemu, form, mebibytes, repeats):
    ways, granularity = form
    command = [options.program, "vm", "run", "--name", f"ratio-{os.getpid()}", "--preset", "laptop",
               "--super-nics", "1", "--channels", str(ways), "--ports", "1", "--form", "super-nics",
               "--qemu", str(qemu), "--accelerator", options.accelerator, "--guest-memory", "1GiB",
               "--up", "numa", "--timeout", "900"]
    if granularity is not None:
        command += ["--granularity", granularity]
    command += ["--", options.worker, "0", "1", str(mebibytes), str(repeats)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        print(f"| {kind} | {name_of(form)} | exit status {result.returncode} | | |", flush=True)
        return None
    return json.loads(result.stdout)


def print_row(kind, form, figures):
    cells = [f"{one['second_mb_per_s']:.1f} of {one['first_mb_per_s']:.1f} ({one['ratio']:.3f})"
             for one in (figures[name] for name in ("memset", "memcpy", "random_read"))]
    print(f"| {kind} | {name_of(form)} | {' | '.join(cells)} |", flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, type=os.path.abspath)
    parser.add_argument("--worker", required=True, type=os.path.abspath)
    parser.add_argument("--accelerator", default="tcg")
    parser.add_argument("--small", action="store_true", help="two forms, patched alone, 3 repeats")
    parser.add_argument("--forms", help="a list of these alone, by their names in the table")
    parser.add_argument("--json", help="file for all figures")
    options = parser.parse_args()
    known = [name_of(form) for form in FORMS]
    for name in options.forms.split(",") if options.forms else []:
        if name not in known:
            parser.error(f"--forms: no form is called \"{name}\"; there are {', '.join(known)}")
    return options


def open_figures(path):
    """The file for all figures, before minutes of work are lost for it; None without one."""
    try:
        return open(path, "w", encoding="utf-8") if path else None
    except OSError as error:
        sys.exit(f"ratio: --json: {path} cannot be written: {error.strerror}")


def main():
    options = parse()
    file = open_figures(options.json)
    qemus = {"patched": patched_qemu(), "stock": "qemu-system-x86_64"}
    if not os.access(qemus["patched"], os.X_OK):
        print("SKIPPED: no patched QEMU; qemu-patches/build makes it")
        return SKIPPED
    forms, repeats = (FORMS, REPEATS) if not options.small else ([(1, None), (2, "256")], 3)
    if options.forms:
        forms = [form for form in FORMS if name_of(form) in options.forms.split(",")]
    if options.small:
        del qemus["stock"]
    print("CXL of the guest's DRAM in MB/s (ratio), medians of", repeats,
          f"in turns, emulated under {options.accelerator}")
    print("| QEMU | form | memset | memcpy | random 64 B reads |\n|---|---|---|---|---|")
    figures, wrong = [], []
    for form in forms:
        for kind, qemu in qemus.items():
            one = measure(options, kind, qemu, form, MEBIBYTES[kind], repeats)
            if one is None:
                wrong.append(f"{name_of(form)}, {kind}: not measured")
                continue
            print_row(kind, form, one)
            figures.append({"qemu": kind, "form": name_of(form), "figures": one})
            wrong += [f"{name_of(form)}: {name} {value['ratio']}, below {LEAST_RATIO}"
                      for name, value in one.items()
                      if kind == "patched" and name != "hash" and value["ratio"] < LEAST_RATIO]
    if file:
        try:
            with file:
                file.write(json.dumps(figures, indent=1) + "\n")
        except OSError as error:
            wrong.append(f"{options.json} cannot be written: {error.strerror}")
    print("ratio: " + ("; ".join(wrong) or "ok"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
