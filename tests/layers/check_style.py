#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what a reader relies on in every source file: size, licence line, header prose, nothing
left for later.

usage: check_style.py [root]
"""

import re
import sys
from pathlib import Path

import tree

FILE_LINES_MAX = 1000
LINE_COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
PROSE_LINES_MIN = 3

LICENCE = "SPDX-License-Identifier: Apache-2.0"
# Spelled apart, so that this file passes its own check.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
FIRST_TYPE = re.compile(r"^\s*(template|class|struct|enum|union|using)\b")
PREPROCESSOR_IF = re.compile(r"^\s*#\s*(if|ifdef|ifndef)\b")
# Include guards, and what lets C++ read a header of C.
ALLOWED_IF = re.compile(r"#\s*(ifndef\s+GODBOX_\w+_H_?|ifdef\s+__cplusplus)\s*$")
NOT_A_FUNCTION = re.compile(
    r"^\s*(namespace|class|struct|enum|union|extern|if|else|for|while|switch|do|try|catch|return"
    r"|case)\b"
)
LITERALS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'|//.*$')


def check_text(name: Path, lines: list[str]) -> list[str]:
    problems = []
    if len(lines) > FILE_LINES_MAX:
        problems.append(f"{name}: {len(lines)} lines, at most {FILE_LINES_MAX}")
    if not any(LICENCE in line for line in lines[:3]):
        problems.append(f"{name}:1: '{LICENCE}' is missing")
    for number, line in enumerate(lines, start=1):
        if len(line) > LINE_COLUMNS_MAX:
            problems.append(f"{name}:{number}: {len(line)} columns, at most {LINE_COLUMNS_MAX}")
        if UNFINISHED.search(line):
            problems.append(f"{name}:{number}: unfinished work belongs in an issue")
    return problems


def check_public_header(name: Path, lines: list[str]) -> list[str]:
    problems = []
    first_type = next((i for i, line in enumerate(lines) if FIRST_TYPE.match(line)), len(lines))
    prose = [line for line in lines[:first_type] if line.startswith("//") and LICENCE not in line]
    prose = [line for line in prose if line.strip("/ ")]
    if len(prose) < PROSE_LINES_MIN:
        problems.append(f"{name}:1: fewer than {PROSE_LINES_MIN} lines of prose before its types")
    if "thread" not in " ".join(prose).lower():
        problems.append(f"{name}:1: its prose does not say how thread-safe it is")
    for number, line in enumerate(lines, start=1):
        if PREPROCESSOR_IF.match(line) and not ALLOWED_IF.search(line):
            problems.append(f"{name}:{number}: no #if in a public header")
    return problems


def check_function_lengths(name: Path, lines: list[str]) -> list[str]:
    """Measures from the line with a function's opening brace to its closing one. It relies on
    clang-format's layout: a brace that opens a function ends its line."""
    problems = []
    depth = 0
    start = start_depth = None
    signature = ""
    for number, raw in enumerate(lines, start=1):
        line = LITERALS.sub("", raw).rstrip()
        signature = line if _starts_statement(signature) else signature + line
        if start is None and line.endswith("{") and ")" in signature:
            if not NOT_A_FUNCTION.match(signature) and "=" not in signature.split("(")[0]:
                start, start_depth = number, depth
        depth += line.count("{") - line.count("}")
        if start is not None and depth <= start_depth:
            length = number - start + 1
            if length > FUNCTION_LINES_MAX:
                problems.append(
                    f"{name}:{start}: function of {length} lines, at most {FUNCTION_LINES_MAX}"
                )
            start = None
    return problems


def _starts_statement(before: str) -> bool:
    return before == "" or before.endswith(("{", "}", ";", ":")) or before.lstrip().startswith("#")


def check(root: Path) -> tuple[list[str], int]:
    problems = []
    count = 0
    for name in tree.tree_files(root):
        if not tree.is_code(root, name):
            continue
        count += 1
        lines = (root / name).read_text(encoding="utf-8").splitlines()
        if not name.suffix == ".in":
            problems += check_text(name, lines)
        if name.suffix in tree.CXX_SUFFIXES:
            problems += check_function_lengths(name, lines)
        if name.suffix == ".h" and "include" in name.parts and name.parts[0] != "tests":
            problems += check_public_header(name, lines)
    return problems, count


if __name__ == "__main__":
    found, count = check(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
    sys.exit(tree.report(found, "style", count))
