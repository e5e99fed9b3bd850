#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy over all files that a build tree compiles, each once.

usage: tidy_all.py <build folder with compile_commands.json>
A file is looked at again when something that clang-tidy sees of it has changed: its text after the
preprocessor with comments and macros, the checks, or clang-tidy itself. What passed before is known
by empty files in $GODBOX_TIDY_CACHE, or ${XDG_CACHE_HOME:-~/.cache}/godbox/tidy; without it, or
clang++, all files are looked at. Exit status 1 when a file has findings or cannot be looked at.
"""

import concurrent.futures
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT_SECONDS = 60 * 86400


def cache_folder() -> Path | None:
    home = os.environ.get("HOME") or "/nonexistent"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    folder = Path(os.environ.get("GODBOX_TIDY_CACHE") or os.path.join(base, "godbox", "tidy"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for known in folder.iterdir():
            if time.time() - known.stat().st_mtime > KEPT_SECONDS:
                known.unlink(missing_ok=True)
    except OSError as why:
        print(f"   no cache: {why}", flush=True)
        return None
    return folder


def configurations() -> list[Path]:
    """The checks of the whole tree, and what folders change of them."""
    found = [ROOT / ".clang-tidy"]
    for folder, names, files in os.walk(ROOT):
        names[:] = sorted(name for name in names if name not in ("build", ".git"))
        if folder != str(ROOT) and ".clang-tidy" in files:
            found.append(Path(folder) / ".clang-tidy")
    return found


def clang_arguments(command: str) -> list[str]:
    """Of a compile command, without the compiler and what it writes."""
    kept, skip = [], False
    for argument in shlex.split(command)[1:]:
        if skip or argument in ("-o", "-c", "-MF", "-MT", "-MD"):
            skip = not skip and argument in ("-o", "-MF", "-MT")
        else:
            kept.append(argument)
    return kept


class Tidy:
    def __init__(self, build: Path):
        self.build = build
        self.cache = cache_folder()
        version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True)
        self.basis = version.stdout + b"".join(path.read_bytes() for path in configurations())

    def marker(self, entry: dict) -> Path | None:
        """The file that is there when this text has passed."""
        if self.cache is None:
            return None
        try:
            seen = subprocess.run(["clang++", "-E", "-C", "-dD", "-w",
                                   *clang_arguments(entry["command"])],
                                  cwd=entry["directory"], capture_output=True, check=False)
        except OSError:
            return None
        if seen.returncode != 0:
            return None  # clang-tidy says why
        text = seen.stdout.replace(os.fsencode(ROOT), b"")
        return self.cache / hashlib.sha256(self.basis + text).hexdigest()

    def look_at(self, entry: dict) -> tuple[bool, int, str]:
        """Whether it was known, clang-tidy's status, its findings."""
        marker = self.marker(entry)
        if marker is not None and marker.exists():
            marker.touch()
            return True, 0, ""
        done = subprocess.run(["clang-tidy", "-p", str(self.build), "--quiet", entry["file"]],
                              capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode == 0 and marker is not None:
            marker.touch()
        return False, done.returncode, done.stdout or (done.stderr if done.returncode else "")


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 2
    build = Path(sys.argv[1]).resolve()
    commands = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    entries = {entry["file"]: entry for entry in commands
               if not os.path.relpath(entry["file"], ROOT).startswith("build/")}
    tidy = Tidy(build)
    known, failed = 0, []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {pool.submit(tidy.look_at, entry): file for file, entry in sorted(entries.items())}
        for job in concurrent.futures.as_completed(jobs):
            was_known, status, findings = job.result()
            known += was_known
            if status != 0:
                failed.append(jobs[job])
                print(findings, end="" if findings.endswith("\n") else "\n", flush=True)
    print(f"   {len(entries)} files, {known} known to pass, {len(failed)} with findings")
    for file in sorted(failed):
        print(f"   {os.path.relpath(file, ROOT)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
