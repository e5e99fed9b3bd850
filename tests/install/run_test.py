#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs a build into an empty prefix and uses it as its users do: by find_package, by
pkg-config, and header by header.

usage: run_test.py <source tree> <build tree> <scratch folder> <cmake> <compiler>
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
JOBS = min(os.cpu_count() or 1, 8)


def run(what: str, command: list[str], **options) -> str:
    print(f"-- {what}", flush=True)
    result = subprocess.run(
        [str(part) for part in command], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
    )
    if result.returncode != 0:
        print(result.stdout)
        sys.exit(f"FAILED ({result.returncode}): {what}")
    return result.stdout


class InstallTest:
    def __init__(self, source: Path, build: Path, scratch: Path, cmake: str, compiler: str):
        self.source, self.build, self.scratch = source, build, scratch
        self.cmake, self.compiler = cmake, compiler
        self.prefix = scratch / "prefix"
        self.consumer = source / "tests" / "install" / "consumer"

    def install(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        # Installed to one place and moved, so that a path baked in at install time shows.
        first = self.scratch / "first"
        run("install", [self.cmake, "--install", self.build, "--prefix", first])
        first.rename(self.prefix)
        for name in ["godbox.pc", "*.cmake"]:
            for file in self.prefix.rglob(name):
                text = file.read_text(encoding="utf-8")
                for path in [self.source, first]:
                    if str(path) in text:
                        sys.exit(f"FAILED: {file} names {path}")

    def use_by_find_package(self) -> None:
        build = self.scratch / "by_find_package"
        run("configure a consumer by find_package", [
            self.cmake, "-S", self.consumer, "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_CXX_COMPILER={self.compiler}",
        ])
        run("build it", [self.cmake, "--build", build])
        self.run_consumer(build / "consumer")

    def use_by_pkg_config(self) -> None:
        folders = list(self.prefix.glob("**/pkgconfig"))
        environment = dict(os.environ, PKG_CONFIG_PATH=os.pathsep.join(map(str, folders)))
        flags = run(
            "ask pkg-config", ["pkg-config", "--cflags", "--libs", "godbox"], env=environment
        ).split()
        program = self.scratch / "by_pkg_config"
        run("build a consumer by pkg-config", [
            self.compiler, "-std=c++20", self.consumer / "main.cpp", "-o", program, *flags,
        ])
        self.run_consumer(program)

    def run_consumer(self, program: Path) -> None:
        output = run("run it", [program])
        if output != "consumer: ok\n":
            sys.exit(f"FAILED: it printed {output!r}")

    def run_program(self) -> None:
        program = self.prefix / "bin" / "godbox"
        if "godbox" not in run("run the installed program", [program, "--version"]):
            sys.exit("FAILED: godbox --version does not name godbox")

    def compile_each_header(self) -> None:
        include = self.prefix / "include"
        headers = sorted(path.relative_to(include) for path in include.rglob("*.h"))
        if not headers:
            sys.exit("FAILED: no header was installed")
        with ThreadPoolExecutor(JOBS) as pool:
            failures = [out for out in pool.map(self.compile_header, headers) if out]
        for output in failures:
            print(output)
        if failures:
            sys.exit(f"FAILED: {len(failures)} of {len(headers)} headers do not compile alone")
        print(f"-- {len(headers)} headers compile alone")

    def compile_header(self, header: Path) -> str:
        result = subprocess.run(
            [self.compiler, "-std=c++20", *WARNINGS, f"-I{self.prefix / 'include'}",
             "-fsyntax-only", "-x", "c++", "-"],
            input=f"#include <{header}>\n#include <{header}>\n", text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        return "" if result.returncode == 0 else f"{header}:\n{result.stdout}"


def main() -> None:
    source, build, scratch = (Path(argument) for argument in sys.argv[1:4])
    test = InstallTest(source, build, scratch, sys.argv[4], sys.argv[5])
    test.install()
    test.use_by_find_package()
    test.use_by_pkg_config()
    test.run_program()
    test.compile_each_header()
    shutil.rmtree(scratch)
    print("install: ok")


if __name__ == "__main__":
    main()
