#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs a build into an empty prefix and uses it as its users do: by find_package, by
pkg-config, and header by header; and what README.md says under "Use it" is done as it stands there.

usage: run_test.py <source tree> <build tree> <scratch folder> <cmake> <compiler>
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
JOBS = min(os.cpu_count() or 1, 8)
START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 10
README_SECTION = "## Use it"
README_PROGRAM = "build/release/bin/godbox"  # there; here it is the installed one
README_OUTPUT = "put: ok, get: ok, same bytes\n"


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


class Readme:
    """The code and the console lines of the section that tells how to use it."""

    def __init__(self, file: Path):
        section = file.read_text(encoding="utf-8").split(README_SECTION + "\n", 1)[1]
        section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
        blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
        self.code = blocks["cpp"]
        self.steps: list[tuple[str, str]] = []  # command, the output that is shown
        for line in blocks["console"].splitlines(keepends=True):
            if line.startswith("$ "):
                self.steps.append((line[2:].strip(), ""))
            else:
                command, shown = self.steps.pop()
                self.steps.append((command, shown + line))


class InstallTest:
    def __init__(self, source: Path, build: Path, scratch: Path, cmake: str, compiler: str):
        self.source, self.build, self.scratch = source, build, scratch
        self.cmake, self.compiler = cmake, compiler
        self.prefix = scratch / "prefix"
        self.consumer = source / "tests" / "install" / "consumer"
        self.readme = Readme(source / "README.md")
        self.readme_source = scratch / "readme.cpp"
        self.program = self.prefix / "bin" / "godbox"
        self.readme_programs: list[Path] = []

    def install(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        # Installed to one place and moved, so that a path baked in at install time shows.
        first = self.scratch / "first"
        run("install", [self.cmake, "--install", self.build, "--prefix", first])
        first.rename(self.prefix)
        for name in ["*.pc", "*.cmake"]:
            for file in self.prefix.rglob(name):
                text = file.read_text(encoding="utf-8")
                for path in [self.source, first]:
                    if str(path) in text:
                        sys.exit(f"FAILED: {file} names {path}")
        self.readme_source.write_text(self.readme.code, encoding="utf-8")

    def use_by_find_package(self) -> None:
        build = self.scratch / "by_find_package"
        run("configure a consumer by find_package", [
            self.cmake, "-S", self.consumer, "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_CXX_COMPILER={self.compiler}",
            f"-DREADME_SOURCE={self.readme_source}",
        ])
        run("build it", [self.cmake, "--build", build])
        self.run_consumer(build / "consumer")
        self.run_consumer(build / "uses_c")
        self.readme_programs.append(build / "readme")

    def use_by_pkg_config(self) -> None:
        folders = list(self.prefix.glob("**/pkgconfig"))
        environment = dict(os.environ, PKG_CONFIG_PATH=os.pathsep.join(map(str, folders)))
        flags = run(
            "ask pkg-config", ["pkg-config", "--cflags", "--libs", "godbox"], env=environment
        ).split()
        for source in (self.consumer / "main.cpp", self.readme_source):
            program = self.scratch / f"by_pkg_config_{source.stem}"
            run(f"build {source.name} by pkg-config", [
                self.compiler, "-std=c++20", *WARNINGS, source, "-o", program, *flags,
            ])
        self.run_consumer(self.scratch / "by_pkg_config_main")
        flags = run(
            "ask pkg-config", ["pkg-config", "--cflags", "--libs", "godbox-c"], env=environment
        ).split()
        program = self.scratch / "by_pkg_config_uses_c"
        run("build uses_c.c by pkg-config", [
            "cc", "-std=c11", *WARNINGS, self.consumer / "uses_c.c", "-o", program, *flags,
        ])
        folder = next(self.prefix.glob("**/libgodbox.so.0")).parent
        self.run_consumer(program, dict(os.environ, LD_LIBRARY_PATH=str(folder)))
        self.readme_programs.append(self.scratch / "by_pkg_config_readme")

    def run_consumer(self, program: Path, environment: dict | None = None) -> None:
        output = run("run it", [program], env=environment)
        if output != "consumer: ok\n":
            sys.exit(f"FAILED: it printed {output!r}")

    def run_program(self) -> None:
        if "godbox" not in run("run the installed program", [self.program, "--version"]):
            sys.exit("FAILED: godbox --version does not name godbox")

    def do_what_the_readme_says(self) -> None:
        """The console lines one by one, then the programs made of its code, all with the default
        control socket, which is private to this test."""
        with tempfile.TemporaryDirectory(prefix="godbox-readme-") as folder:
            environment = dict(os.environ, XDG_RUNTIME_DIR=folder)
            servers: list[subprocess.Popen] = []
            try:
                for command, shown in self.readme.steps:
                    self.do_step(command, shown, servers, environment)
                if not servers:
                    sys.exit("FAILED: README.md starts no box")
                for program in self.readme_programs:
                    output = run(f"run {program.name}", [program], env=environment)
                    if output != README_OUTPUT:
                        sys.exit(f"FAILED: it printed {output!r}")
                    run("make room", [self.program, "rm", "llama/4f3a"], env=environment)
            finally:
                stopped = [self.stop(server) for server in servers]
            if any(status != 0 for status in stopped):
                sys.exit(f"FAILED: the box of README.md ended with status {stopped}")

    def do_step(
        self, command: str, shown: str, servers: list[subprocess.Popen], environment: dict
    ) -> None:
        print(f"-- README: {command}", flush=True)
        line = command.replace(README_PROGRAM, str(self.program))
        if line.endswith("&"):
            # Free ports, so that another box on this machine does not matter.
            words = [*line.removesuffix("&").split(), "--tcp-port-base", "0"]
            servers.append(
                subprocess.Popen(words, env=environment, cwd=self.source, stdout=subprocess.DEVNULL)
            )
            self.wait_for_box(servers[-1], environment)
            return
        result = subprocess.run(
            ["bash", "-c", line], text=True, env=environment, cwd=self.source,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=START_SECONDS_MAX,
        )
        if result.returncode != 0 or (shown and result.stdout != shown):
            sys.exit(f"FAILED ({result.returncode}), wanted {shown!r}: {result.stdout!r}")

    def wait_for_box(self, server: subprocess.Popen, environment: dict) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while server.poll() is None and time.monotonic() < deadline:
            asked = subprocess.run(
                [self.program, "status"], env=environment, capture_output=True, check=False
            )
            if asked.returncode == 0:
                return
            time.sleep(0.05)
        sys.exit("FAILED: the box of README.md does not answer")

    @staticmethod
    def stop(server: subprocess.Popen) -> int:
        server.send_signal(signal.SIGTERM)
        try:
            return server.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            server.kill()
            return server.wait()

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
    test.do_what_the_readme_says()
    test.compile_each_header()
    shutil.rmtree(scratch)
    print("install: ok")


if __name__ == "__main__":
    main()
