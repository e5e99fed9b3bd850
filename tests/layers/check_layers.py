#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks every #include of the tree against cmake/layers.toml.

usage: check_layers.py [root]
"""

import re
import sys
import tomllib
from pathlib import Path

import tree

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
OWN = ("godbox/", "godbox_test/")


class Layers:
    def __init__(self, root: Path, files: list[Path]):
        with open(root / "cmake" / "layers.toml", "rb") as file:
            rules = tomllib.load(file)
        self.rooms = rules["rooms"]
        self.third_party = rules["third_party"]
        self.no_io = rules["no_io"]
        self.system = rules["system"]
        self.headers = [name for name in files if name.suffix == ".h"]
        self.header_set = set(self.headers)

    def room_of(self, name: Path) -> str | None:
        owners = [room for room in self.rooms if name.is_relative_to(room)]
        return max(owners, key=len, default=None)

    def resolve(self, includer: Path, target: str) -> Path | None:
        """The header of this tree that an include means: beside the includer first, then public
        headers, then private ones."""
        beside = Path(*_normal(includer.parent / target))
        if beside in self.header_set:
            return beside
        found = [header for header in self.headers if _ends_with(header, target)]
        # A header of the includer's own room comes first, as its include path does.
        own = self.room_of(includer)
        found.sort(key=lambda header: (self.room_of(header) != own, not _is_public(header)))
        return found[0] if found else None

    def problem_with(self, includer: Path, target: str, quoted: bool) -> str | None:
        room = self.room_of(includer)
        if room is None:
            return "the file is in no room of layers.toml"
        header = self.resolve(includer, target) if quoted or target.startswith(OWN) else None
        if header is not None:
            return self.problem_with_own(includer, room, header)
        if quoted or target.startswith(OWN):
            return "there is no such header in the tree"
        return self.problem_with_foreign(room, target)

    def problem_with_own(self, includer: Path, room: str, header: Path) -> str | None:
        owner = self.room_of(header)
        if owner is None:
            return f"{header} is in no room of layers.toml"
        if _is_public(includer) and not _is_public(header):
            return f"a public header may not include the private header {header}"
        if owner == room:
            return None
        uses = self.rooms[room]["uses"]
        if owner not in uses and "*" not in uses:
            return f"{room} may not include {owner}"
        if not _is_public(header) and not self.rooms[room].get("private", False):
            return f"{header} is private to {owner}"
        return None

    def problem_with_foreign(self, room: str, target: str) -> str | None:
        if room in self.no_io["rooms"] and _matches(target, self.no_io["headers"]):
            return f"{room} does no I/O"
        prefixes = [
            prefix for prefix in self.third_party
            if target == prefix or re.match(re.escape(prefix) + r"[/._]", target)
        ]
        if prefixes:
            allowed = self.third_party[max(prefixes, key=len)]
            if "*" in allowed or any(Path(room).is_relative_to(folder) for folder in allowed):
                return None
            return f"only {', '.join(allowed)} may include it"
        if "/" not in target and "." not in target:
            return None  # the C++ standard library
        if _matches(target, self.system["prefixes"]) or target in self.system["headers"]:
            return None
        return "it is not listed in cmake/layers.toml"


def _normal(path: Path) -> list[str]:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return parts


def _ends_with(header: Path, target: str) -> bool:
    wanted = Path(target).parts
    return header.parts[-len(wanted):] == wanted


def _is_public(name: Path) -> bool:
    return "include" in name.parts


def _matches(target: str, patterns: list[str]) -> bool:
    return any(
        target.startswith(pattern) if pattern.endswith("/") else target == pattern
        for pattern in patterns
    )


def check(root: Path) -> tuple[list[str], int]:
    files = tree.tree_files(root)
    layers = Layers(root, files)
    sources = [
        name for name in files if name.suffix in tree.CXX_SUFFIXES and not tree.is_data(name)
    ]
    problems = []
    for name in sources:
        text = (root / name).read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            match = INCLUDE.match(line)
            if not match:
                continue
            problem = layers.problem_with(name, match[2], match[1] == '"')
            if problem:
                problems.append(f"{name}:{number}: includes {match[2]}: {problem}")
    return problems, len(sources)


if __name__ == "__main__":
    found, count = check(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
    sys.exit(tree.report(found, "layers", count))
