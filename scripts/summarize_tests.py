#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sums up the JUnit files that ctest wrote: what failed, what was skipped or not run and why, and
one line.

usage: summarize_tests.py <folder of JUnit files> [--not-run=<what>: <why>...] [failed step...]
A failed step (a build, a group of tests without results) counts as a failed test; what was not run
counts as nothing.
"""

import argparse
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

OUTPUT_LINES_MAX = 40
# unittest -v: "test_x (module.Class.test_x) ... skipped 'why'"; our own programs: "skipped: why".
UNITTEST_SKIP = re.compile(r"""\.\.\. skipped (['"])(?P<why>.*)\1$""")
OWN_SKIP = re.compile(r"^\s*skipped: (?P<why>.+)$")


def skip_reasons(output: str) -> list[str]:
    """Catch2 prints "SKIPPED:", then "explicitly with message:", then the message."""
    reasons = []
    lines = output.splitlines()
    for index, line in enumerate(lines):
        if line.rstrip().endswith("SKIPPED:"):
            message = [text.strip() for text in lines[index + 1:index + 3]]
            reasons.append(message[-1] if message else "no reason given")
        elif found := UNITTEST_SKIP.search(line.rstrip()) or OWN_SKIP.match(line.rstrip()):
            reasons.append(found["why"])
    return reasons


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--not-run", action="append", default=[])
    arguments.add_argument("failed_steps", nargs="*")
    options = arguments.parse_intermixed_args()
    test_count = 0
    failures: list[tuple[str, str]] = []
    skips: list[str] = []
    for file in sorted(options.folder.glob("*.xml")):
        group = file.stem.removeprefix("test-")
        for case in ElementTree.parse(file).getroot().iter("testcase"):
            test_count += 1
            name = f"{group}: {case.get('name')}"
            output = case.findtext("system-out") or ""
            if case.get("status") == "fail" or case.find("failure") is not None:
                failures.append((name, output))
            elif case.get("status") != "run":
                skips.append(f"{name}: {'; '.join(skip_reasons(output)) or last_line(output)}")
            else:
                skips += [f"{name}: in part: {reason}" for reason in skip_reasons(output)]
    for what in options.not_run:
        print(f"not run: {what}")
    return print_summary(test_count, failures, skips, options.failed_steps)


def last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else "no reason given"


def print_summary(
    test_count: int, failures: list[tuple[str, str]], skips: list[str], failed_steps: list[str]
) -> int:
    for name, output in failures:
        print(f"==> FAILED: {name}; the end of its output:")
        for line in output.splitlines()[-OUTPUT_LINES_MAX:]:
            print(f"    | {line}")
    for skip in skips:
        print(f"skipped: {skip}")
    for step in failed_steps:
        print(f"failed: {step}")
    for name, _ in failures:
        print(f"failed: {name}")
    failed_count = len(failures) + len(failed_steps)
    total_count = test_count + len(failed_steps)
    if total_count == 0:
        print("no test ran")
        return 1
    # Rounded down, as only a run without failures is a hundred per cent.
    passed_per_cent = 100 * (total_count - failed_count) // total_count
    print(
        f"{passed_per_cent}% tests passed, {failed_count} tests failed out of {total_count}"
    )
    return 1 if failed_count else 0


if __name__ == "__main__":
    sys.exit(main())
