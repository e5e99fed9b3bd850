#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does what a failing seed says: runs its printed "replay:" line, and finds the same again.

usage: replay_test.py <sim_runner>
"""

import re
import shlex
import subprocess
import sys

# What goes wrong on purpose, in seeds of which none is the first that the line could guess.
CASES = [
    ["--seed", "46", "--seeds", "2", "--operations", "400", "--faults", "3",
     "--inject-bug", "lose-callback"],
    ["--seed", "7", "--seeds", "1", "--operations", "600", "--faults", "0",
     "--inject-bug", "forget-remove"],
]
RUN_SECONDS_MAX = 120


def run(command: list[str]) -> str:
    result = subprocess.run(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=RUN_SECONDS_MAX,
    )
    if result.returncode != 1:
        sys.exit(f"{command} ended with {result.returncode}, not 1: {result.stdout[-2000:]}")
    return result.stdout


def check(command: list[str]) -> int:
    """How many failing seeds the command printed; each was replayed."""
    output = run(command)
    findings = re.findall(r"^seed (\d+): (.+)\nreplay: (.+)$", output, re.MULTILINE)
    for seed, finding, replay in findings:
        again = run(shlex.split(replay))
        if f"seed {seed}: {finding}\n" not in again:
            sys.exit(f"not found again: seed {seed}: {finding}\nby: {replay}\n{again[-2000:]}")
        print(f"replayed seed {seed}: {finding}")
    return len(findings)


def main() -> None:
    for case in CASES:
        wanted = int(case[case.index("--seeds") + 1])
        replayed = check([sys.argv[1], *case])
        if replayed != wanted:
            sys.exit(f"{case}: {replayed} seeds printed a finding and a replay line, not {wanted}")
    print("replay: ok")


if __name__ == "__main__":
    main()
