# SPDX-License-Identifier: Apache-2.0
"""One pass of each kind of client: godbox_compare's loop, redis-benchmark, ucx_perftest."""

import csv
import io
import json
import os
import re
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from stores import (
    HOST, Missing, RespStore, Server, cpu_seconds, find_program, free_port, start_program)

PASS_SECONDS_MAX = 120


@dataclass(frozen=True)
class Setting:
    """How a client uses its store; what was found to be its best is used."""
    connections: int = 1  # per thread; of Godbox lanes per Ethernet port, 0: its default
    in_flight: int = 1    # values per thread; of redis-benchmark per connection (-P)
    batch: int = 1        # values per call
    client_threads: int | None = None  # of redis-benchmark: --threads
    eth_ports: int | None = None       # of Godbox, used by the client; 0: all

    def __str__(self) -> str:
        parts = [] if self.eth_ports is None else [f"{self.eth_ports or 'all'} ports"]
        parts += [f"{self.connections or 'default'} x {self.in_flight} / {self.batch}"]
        parts += [f"{self.client_threads} threads"] if self.client_threads else []
        return ", ".join(parts)


@dataclass
class Sample:
    """What one pass took."""
    gb_per_s: float
    p50_us: float | None
    p99_us: float | None
    client_cpu_seconds_per_gb: float | None
    server_cpu_seconds_per_gb: float | None


@dataclass
class Case:
    op: str
    size_bytes: int
    working_set_bytes: int
    threads: int
    pass_bytes: int | None = None


@dataclass
class Contender:
    name: str    # of the row
    client: str  # "loop", or the program of the peer
    server: Server | None
    setting: Setting
    # Of the client's memory: the whole working set, or only what is in flight, again and again.
    memory: str = "whole"
    samples: list[Sample] = field(default_factory=list)


class LoopClient:
    """godbox_compare: the same loop for all stores."""

    def __init__(self, program: Path):
        if not program.is_file():
            raise Missing(f"{program} is not there (build the preset perf)")
        self.program = program
        self.bytes_checked = 0

    def run(self, case: Case, contenders: list[Contender], verify: bool = False) -> list[Sample]:
        command = [str(self.program), "--ops", case.op, "--size", str(case.size_bytes),
                   "--working-set", str(case.working_set_bytes), "--threads", str(case.threads)]
        if case.pass_bytes:
            command += ["--pass-bytes", str(case.pass_bytes)]
        if verify:
            command += ["--verify"]
        for contender in contenders:
            server, setting = contender.server, contender.setting
            command += ["--contestant",
                        f"name={contender.name},kind={server.kind},address={server.address},"
                        f"pid={server.pid},connections={setting.connections},"
                        f"in-flight={setting.in_flight},batch={setting.batch},"
                        f"memory={contender.memory},ports={setting.eth_ports or 0}"]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                                timeout=PASS_SECONDS_MAX)
        if result.returncode != 0:
            raise RuntimeError(f"godbox_compare ended with status {result.returncode}")
        document = json.loads(result.stdout)
        if document["wrong_bytes"]:
            raise RuntimeError(f"{document['wrong_bytes']} wrong bytes were read")
        self.bytes_checked += document["bytes_checked"]
        return [Sample(row["gb_per_s"], row["p50_us"], row["p99_us"],
                       row["client_cpu_seconds_per_gb"], row["server_cpu_seconds_per_gb"])
                for row in document["rows"]]


def timed_child(command: list[str]) -> tuple[str, float, float]:
    """Output, seconds and processor seconds of a program that runs to its end."""
    begin = time.monotonic()
    process = start_program(command, is_server=False, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with status {process.returncode}: {output[-300:]}")
    return output, time.monotonic() - begin, usage.ru_utime + usage.ru_stime


def run_redis_benchmark(store: RespStore, case: Case, contender: Contender) -> Sample:
    """Random keys of those that are there; the rate is the one that it reports."""
    keys = case.working_set_bytes // case.size_bytes
    requests = (case.pass_bytes or case.working_set_bytes) // case.size_bytes
    setting = contender.setting
    command = [store.benchmark, "-h", HOST, "-p", str(contender.server.port), "-t", case.op,
               "-d", str(case.size_bytes), "-n", str(requests), "-r", str(keys),
               "-c", str(setting.connections), "-P", str(setting.in_flight), "--csv"]
    if setting.client_threads:
        command += ["--threads", str(setting.client_threads)]
    server_begin = cpu_seconds(contender.server.pid)
    output, _, client_cpu = timed_child(command)
    server_cpu = cpu_seconds(contender.server.pid) - server_begin
    row = parse_redis_benchmark(output, case.op)
    gb = requests * case.size_bytes / 1e9
    return Sample(float(row["rps"]) * case.size_bytes / 1e9,
                  float(row["p50_latency_ms"]) * 1e3, float(row["p99_latency_ms"]) * 1e3,
                  client_cpu / gb, server_cpu / gb)


def parse_redis_benchmark(output: str, op: str) -> dict[str, str]:
    lines = output.splitlines()
    header = next((i for i, line in enumerate(lines) if line.startswith('"test"')), None)
    rows = [] if header is None else list(csv.DictReader(io.StringIO("\n".join(lines[header:]))))
    for row in rows:
        if row["test"].upper() == op.upper():
            return row
    raise RuntimeError(f"redis-benchmark printed no row of {op}: {output[-300:]!r}")


class Ucx:
    """ucx_perftest: get from one buffer of the size, over TCP on loopback, so always hot."""

    def __init__(self) -> None:
        self.program = find_program("ucx_perftest")
        info = subprocess.run([find_program("ucx_info"), "-v"], stdout=subprocess.PIPE, text=True,
                              timeout=20).stdout
        found = re.search(r"version[ :=]+([0-9.]+)", info, re.IGNORECASE)
        self.version = f"UCX {found[1] if found else 'of unknown version'}"
        self.environment = {**os.environ, "UCX_TLS": "tcp", "UCX_NET_DEVICES": "lo",
                            "UCX_WARN_UNUSED_ENV_VARS": "n"}

    def run(self, case: Case, contender: Contender) -> Sample:
        port = str(free_port())
        count = (case.pass_bytes or case.working_set_bytes) // case.size_bytes
        common = [self.program, "-p", port, "-t", "ucp_get", "-s", str(case.size_bytes), "-n",
                  str(count), "-w", str(max(1, count // 20)), "-O",
                  str(contender.setting.in_flight), "-f"]
        server = start_program(common, env=self.environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        try:
            output = self.run_client([common[0], HOST, *common[1:]], server)
        finally:
            if server.poll() is None:
                server.terminate()
                server.wait()
        # Its processes poll all the time: their processor time says nothing about the bytes.
        return Sample(parse_ucx(output), None, None, None, None)

    def run_client(self, command: list[str], server: subprocess.Popen) -> str:
        for _ in range(50):  # until the server listens
            result = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True, timeout=PASS_SECONDS_MAX)
            if result.returncode == 0:
                return result.stdout
            if server.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"ucx_perftest: {result.stdout[-300:]}")


def parse_ucx(output: str) -> float:
    """The overall bandwidth of the last line of figures, which it counts in units of 2^20 B/s."""
    for line in reversed(output.splitlines()):
        words = line.replace("Final:", " ").split()
        figures = [word for word in words if re.fullmatch(r"[0-9]+(\.[0-9]+)?", word)]
        if len(figures) >= 8 and len(figures) == len(words):
            return float(figures[5]) * (1 << 20) / 1e9
    raise RuntimeError(f"ucx_perftest printed no figures: {output[-300:]!r}")


def median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
