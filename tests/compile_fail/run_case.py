#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles one case twice: as it is, and with GODBOX_COMPILE_FAIL defined.

usage: run_case.py case.cpp compiler [flag...]
"""

import re
import subprocess
import sys
from pathlib import Path

EXPECTED = re.compile(r"^// expect-error: (.+)$", re.MULTILINE)
BAD_VARIANT = "GODBOX_COMPILE_FAIL"


def problem_with(case: Path, compiler: list[str]) -> str | None:
    text = case.read_text(encoding="utf-8")
    expected = EXPECTED.findall(text)
    if not expected:
        return "it has no line '// expect-error: <regular expression>'"
    if BAD_VARIANT not in text:
        return f"it has no bad variant under {BAD_VARIANT}"
    good = _compile(case, compiler)
    if good.returncode != 0:
        return f"the good variant does not compile:\n{good.stderr}"
    bad = _compile(case, compiler + [f"-D{BAD_VARIANT}"])
    if bad.returncode == 0:
        return "the bad variant compiles"
    # Only what the compiler reports: it also quotes the source, with this very comment in it.
    errors = "\n".join(line for line in bad.stderr.splitlines() if "error:" in line)
    if not any(re.search(pattern, errors) for pattern in expected):
        return f"no error matches any of {expected}:\n{bad.stderr}"
    return None


def _compile(case: Path, compiler: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        compiler + ["-fsyntax-only", str(case)],
        capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )


def main() -> int:
    case = Path(sys.argv[1])
    problem = problem_with(case, sys.argv[2:])
    print(f"{case.name}: {problem or 'ok'}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
