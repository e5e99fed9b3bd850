#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Godbox's native door beside Redis, Valkey, memcached and UCX on this machine.

It starts the servers itself, finds what each contestant is best used with, and then lets them take
turns over the same values: docs/compare.md says how, and what each field of the result means.
Exit status 0 when all was measured, 4 when a peer is not on this machine and the rest was measured,
1 when something failed (or wrong bytes were read), 2 for a mistake in the command line.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True

from contenders import (  # noqa: E402
    Case, Contender, LoopClient, Sample, Setting, Ucx, median, run_redis_benchmark)
from l3_cache import l3_cache_bytes, temperature_of  # noqa: E402
from stores import (  # noqa: E402
    Godbox, Memcached, Missing, Network, Processors, RespStore, Server, enter_own_network)

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("redis", "redis-benchmark", "valkey", "valkey-benchmark", "memcached", "ucx")
LOCAL = "godbox-local"
GODBOX_PORTS = (0, 4, 1)  # that its client uses: all, with its default lanes, or one lane each
CALIBRATION_PASSES = 2
EXIT_SKIPPED = 4  # as a test whose every case was skipped
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
IN_FLIGHT_BYTES_MAX = 64 * MIB
UCX_SIZE = MIB
UCX_HOT_BYTES = 8 * MIB
UCX_PASS_BYTES = GIB
IO_THREADS = (1, 2)         # of Redis and Valkey: the default, and one that helps the first
MEMCACHED_THREADS = (4, 2)  # its default first


def parse_size(text: str) -> int:
    found = re.fullmatch(r"([0-9]+)(B|KiB|MiB|GiB)", text)
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError(f'"{text}" is no size like 64KiB or 1GiB')
    return int(found[1]) * {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}[found[2]]


def parse_list(item: Callable) -> Callable:
    return lambda text: [item(word.strip()) for word in text.split(",")]


def parse_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f'"{text}" is not from 1 to 64')
    return int(text)


def parse_peer(text: str) -> str:
    if text not in PEERS:
        raise argparse.ArgumentTypeError(f'"{text}" is none of {", ".join(PEERS)}')
    return text


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--godbox", type=Path, default=ROOT / "build/release/bin/godbox",
                        help="the program that serves (default: of the preset release)")
    parser.add_argument("--client", type=Path, default=ROOT / "build/perf/bin/godbox_compare",
                        help="the client loop (default: of the preset perf)")
    parser.add_argument("--peers", type=parse_list(parse_peer), default=list(PEERS),
                        help=f"of {','.join(PEERS)}")
    parser.add_argument("--sizes", type=parse_list(parse_size),
                        default=[64 * KIB, 512 * KIB, MIB, 4 * MIB], help="64KiB,512KiB,1MiB,4MiB")
    parser.add_argument("--threads", type=parse_list(parse_count), default=[1], metavar="N,...",
                        help="client threads (1)")
    parser.add_argument("--working-set", type=parse_size, default=1100 * MIB,
                        help="bytes of all values of one store (1100MiB)")
    parser.add_argument("--repeats", type=parse_count, default=5, help="of each pass (5)")
    parser.add_argument("--ports", type=parse_count, default=9, help="Godbox's Ethernet ports (9)")
    parser.add_argument("--calibrate", type=parse_size, default=256 * MIB,
                        help="working set of the passes that find the best settings (256MiB)")
    parser.add_argument("--quick", action="store_true",
                        help="16 MiB, 2 repeats: to see that it works; the figures mean nothing")
    parser.add_argument("--shared-processors", action="store_true",
                        help="servers and clients may run on all, not each on their half")
    parser.add_argument("--json", action="store_true", help="the document on standard output")
    parser.add_argument("--output", type=Path, help="the document into this file too")
    options = parser.parse_args(words)
    if options.quick:
        options.working_set = options.calibrate = 16 * MIB
        options.repeats = 2
    if options.working_set < max(options.sizes) * max(options.threads):
        parser.error("--working-set: each thread needs at least one value")
    if options.output:
        try:
            options.output.open("a").close()  # before a quarter of an hour is measured
        except OSError as why:
            parser.error(f"--output: {why}")
    return options


def loop_settings(kind: str, size: int) -> list[Setting]:
    """What a store's client may be best used with; from one value at a time to what fills pipes."""
    def godbox(bytes_in_flight: int, bytes_per_call: int, ports: int) -> Setting:
        in_flight = max(1, bytes_in_flight // size)
        return Setting(connections=0 if ports == 0 else 1, in_flight=in_flight, eth_ports=ports,
                       batch=min(in_flight, max(1, bytes_per_call // size)))

    if kind == "godbox":
        flights = [(32 * MIB, 2 * MIB), (8 * MIB, MIB), (4 * MIB, MIB)]
        return unique([godbox(in_flight, per_call, ports) for ports in GODBOX_PORTS
                       for in_flight, per_call in flights])
    wanted = [(1, 1), (1, 8), (1, 64), (4, 8)]
    return [Setting(*setting) for setting in wanted if setting[1] * size <= IN_FLIGHT_BYTES_MAX]


def local_settings(size: int) -> list[Setting]:
    in_flight = max(1, 4 * MIB // size)
    return unique([Setting(0, 1), Setting(0, in_flight, min(in_flight, max(1, MIB // size)))])


def benchmark_settings(size: int) -> list[Setting]:
    wanted = [(50, 1, None), (16, 1, None), (4, 1, None), (1, 1, None), (4, 4, None), (4, 1, 2)]
    return [Setting(connections, pipeline, client_threads=threads)
            for connections, pipeline, threads in wanted
            if connections * pipeline * size <= 4 * IN_FLIGHT_BYTES_MAX]


def best_rate(contender: Contender) -> float:
    return max(sample.gb_per_s for sample in contender.samples)


def unique(settings: list[Setting]) -> list[Setting]:
    return list(dict.fromkeys(settings))


class Comparison:
    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options = options
        self.folder = folder
        self.skipped: dict[str, str] = {}
        self.failed: list[str] = []
        self.rows: list[dict] = []
        self.versions: dict[str, str] = {}
        self.loop = LoopClient(options.client)
        set_bytes = options.working_set
        self.godbox = Godbox(options.godbox, folder, 4 * set_bytes + GIB, options.ports)
        self.versions["godbox"] = self.godbox.version
        self.resp = {store: self.look_for(store, lambda store=store: RespStore(store, folder))
                     for store in ("redis", "valkey")
                     if {store, f"{store}-benchmark"} & set(options.peers)}
        self.memcached = self.ucx = None
        if "memcached" in options.peers:
            self.memcached = self.look_for(
                "memcached", lambda: Memcached(folder, 2 * set_bytes + 512 * MIB))
        if "ucx" in options.peers:
            self.ucx = self.look_for("ucx", Ucx)

    def look_for(self, name: str, make: Callable):
        try:
            peer = make()
        except Missing as why:
            self.skipped[name] = str(why)
            say(f"SKIP {name}: {why}")
            return None
        self.versions[name] = peer.version
        return peer

    @contextlib.contextmanager
    def servers(self) -> Iterator[list[Server]]:
        """Every variant of every store that is wanted, anew."""
        starts = [self.godbox.start]
        for peer in self.resp.values():
            if peer is not None:
                # Io-threads spin: on one processor they only take it from the first.
                io_threads = IO_THREADS[:1] if len(Processors.servers) == 1 else IO_THREADS
                starts += [lambda peer=peer, n=n: peer.start(n) for n in self.few(io_threads)]
        if self.memcached is not None:
            starts += [lambda n=n: self.memcached.start(n) for n in self.few(MEMCACHED_THREADS)]
        running: list[Server] = []
        try:
            for start in starts:
                running.append(start())
            yield running
        finally:
            for server in running:
                server.stop()

    def run_stores(self, size: int, threads: int) -> None:
        case = {op: Case(op, size, self.options.working_set, threads) for op in ("set", "get")}
        calibrated = min(self.options.working_set, max(self.options.calibrate, size * threads))
        with self.servers() as servers:
            say(f"-- {name_of(size)}, {threads} client threads: finding the best settings")
            # The first sets find no memory in a server, the later ones do.
            self.load(Case("set", size, calibrated, threads), servers)
            chosen = {}
            for op in case:
                chosen[op] = self.choose(Case(op, size, calibrated, threads), servers)
            say(f"-- {name_of(size)}, {threads} client threads: {self.options.repeats} repeats")
            readers = [contender.server for contender in chosen["get"]]
            self.load(case["set"], [contender.server for contender in chosen["set"]])
            for repeat in range(self.options.repeats):
                self.measure(case["set"], chosen["set"])
                # A set of reused memory leaves bytes that say nothing, and readers may be other
                # servers: the values are put back before they are read.
                self.load(case["set"], readers)
                self.measure(case["get"], chosen["get"],
                             verify=repeat + 1 == self.options.repeats)
        for op, contenders in chosen.items():
            self.rows += rows_of(case[op], contenders)

    def few(self, choices):
        return choices[:1] if self.options.quick else choices

    def contenders_of(self, servers: list[Server], size: int) -> list[list[Contender]]:
        """All that a row may be made of: the best of each list is."""
        found: dict[tuple, list[Contender]] = {}
        for server in servers:
            if server.store == "godbox":
                local = server.through(LOCAL, f"local:{self.folder / 'control.sock'}")
                found[LOCAL,] = [Contender(LOCAL, "loop", local, setting)
                                 for setting in self.few(local_settings(size))]
            memories = ("whole", "reused") if server.store == "godbox" else ("whole",)
            for memory in memories if server.store in ("godbox", *self.options.peers) else ():
                found.setdefault((server.store, memory), []).extend(
                    Contender(server.store, "loop", server, setting, memory)
                    for setting in self.few(loop_settings(server.kind, size)))
            name = f"{server.store}-benchmark"
            if name in self.options.peers:
                found.setdefault((name,), []).extend(
                    Contender(name, name, server, setting, "reused")
                    for setting in self.few(benchmark_settings(size)))
        return list(found.values())

    def choose(self, case: Case, servers: list[Server]) -> list[Contender]:
        best = []
        for contenders in self.contenders_of(servers, case.size_bytes):
            for _ in range(1 if len(contenders) == 1 else CALIBRATION_PASSES):
                for contender in contenders:
                    self.measure(case, [contender])
            winner = max(contenders, key=best_rate)
            say(f"   {case.op} {winner.name} ({winner.memory}): {winner.setting}; "
                f"{winner.server.settings}: {best_rate(winner):.2f} GB/s")
            winner.samples.clear()
            best.append(winner)
        return best

    def load(self, case: Case, servers: list[Server]) -> None:
        """Gives each server the values, not timed."""
        distinct = {id(server): server for server in servers}.values()
        self.loop.run(case, [Contender(server.store, "loop", server,
                                       Setting(0 if server.kind == "godbox" else 1, 8, 1))
                             for server in distinct])

    def measure(self, case: Case, contenders: list[Contender], verify: bool = False) -> None:
        """One turn of each. Of a verified one the loop's values are compared too."""
        loops = [contender for contender in contenders if contender.client == "loop"]
        for contender in contenders:
            if contender.client != "loop":
                store = self.resp[contender.server.store]
                contender.samples.append(run_redis_benchmark(store, case, contender))
        if loops:
            for contender, sample in zip(loops, self.loop.run(case, loops, verify), strict=True):
                contender.samples.append(sample)

    def run_ucx(self) -> None:
        """The transports alone: remote memory, hot as UCX's program has it, and cold."""
        hot = Case("read", UCX_SIZE, UCX_HOT_BYTES, 1, min(UCX_PASS_BYTES,
                                                           8 * self.options.working_set))
        cold = Case("read", UCX_SIZE, self.options.working_set, 1)
        say(f"-- {name_of(UCX_SIZE)}: remote memory beside UCX")
        server = self.godbox.start()
        try:
            self.run_reads(hot, cold, server)
        finally:
            server.stop()

    def run_reads(self, hot: Case, cold: Case, server: Server) -> None:
        settings = [Setting(0 if ports == 0 else 1, in_flight, eth_ports=ports)
                    for ports in self.few(GODBOX_PORTS) for in_flight in (2, 8)]
        godbox = self.best_of([Contender("godbox", "loop", server, setting)
                               for setting in settings],
                              lambda contender: self.loop.run(hot, [contender])[0])
        ucx = self.best_of([Contender("ucx", "ucx_perftest", None, Setting(1, in_flight, 1))
                            for in_flight in (1, 4, 16)],
                           lambda contender: self.ucx.run(hot, contender))
        godbox_cold = Contender("godbox", "loop", server, godbox.setting)
        for repeat in range(self.options.repeats):
            is_last = repeat + 1 == self.options.repeats
            godbox.samples.append(self.loop.run(hot, [godbox], is_last)[0])
            ucx.samples.append(self.ucx.run(hot, ucx))
            godbox_cold.samples.append(self.loop.run(cold, [godbox_cold], is_last)[0])
        rows = rows_of(hot, [godbox, ucx])
        rows[-1]["working_set_bytes"] = UCX_SIZE
        self.rows += rows + rows_of(cold, [godbox_cold])

    def best_of(self, contenders: list[Contender],
                run: Callable[[Contender], Sample]) -> Contender:
        return max(contenders, key=lambda contender: run(contender).gb_per_s)

    def run(self) -> None:
        for threads in self.options.threads:
            for size in self.options.sizes:
                self.guarded(f"{name_of(size)}, {threads} threads",
                             lambda size=size, threads=threads: self.run_stores(size, threads))
        if self.ucx is not None:
            self.guarded("ucx", self.run_ucx)

    def guarded(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (RuntimeError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as why:
            self.failed.append(what)
            say(f"not measured: {what}: {why}")


def rows_of(case: Case, contenders: list[Contender]) -> list[dict]:
    """A peer is set beside the Godbox whose client's memory is used as its own client's is."""
    godbox = {contender.memory: contender for contender in contenders
              if contender.name == "godbox"}
    return [row_of(case, contender,
                   None if contender.name == "godbox" else godbox[contender.memory])
            for contender in contenders]


def row_of(case: Case, contender: Contender, godbox: Contender | None) -> dict:
    samples = contender.samples
    rates = [sample.gb_per_s for sample in samples]
    rate = statistics.median(rates)
    setting = contender.setting
    row = {
        "contestant": contender.name, "client": contender.client, "op": case.op, "kind": "real",
        "size_bytes": case.size_bytes, "threads": case.threads,
        "client_threads": setting.client_threads, "connections": setting.connections,
        "eth_ports": setting.eth_ports,
        "in_flight": setting.in_flight, "batch": setting.batch,
        "client_memory": contender.memory,
        "crc": contender.name in ("godbox", LOCAL) and case.op != "read",
        "server": contender.server.settings if contender.server else None,
        "working_set_bytes": case.working_set_bytes // case.size_bytes * case.size_bytes,
        "temperature": temperature_of(case.working_set_bytes), "repeats": len(samples),
        "gb_per_s_median": rate, "gb_per_s_min": min(rates), "gb_per_s_max": max(rates),
        "gb_per_s_mad": statistics.median(abs(one - rate) for one in rates),
    }
    for figure in ("p50_us", "p99_us", "client_cpu_seconds_per_gb", "server_cpu_seconds_per_gb"):
        row[figure] = median([getattr(sample, figure) for sample in samples])
    row["wrong_bytes"] = 0 if (contender.client, contender.memory) == ("loop", "whole") else None
    row.update({"godbox_times": None, "godbox_times_min": None, "godbox_times_max": None,
                "server_cpu_times": None})
    if godbox is not None:
        pairs = list(zip(godbox.samples, samples, strict=True))
        times = [ours.gb_per_s / theirs.gb_per_s for ours, theirs in pairs]
        row.update({"godbox_times": statistics.median(times), "godbox_times_min": min(times),
                    "godbox_times_max": max(times),
                    "server_cpu_times": median([
                        theirs.server_cpu_seconds_per_gb / ours.server_cpu_seconds_per_gb
                        for ours, theirs in pairs
                        if ours.server_cpu_seconds_per_gb and theirs.server_cpu_seconds_per_gb])})
    return {name: rounded(value) for name, value in row.items()}


def rounded(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


def machine() -> dict:
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {"cpu_model": cpu[1] if cpu else None, "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "l3_cache_bytes": l3_cache_bytes(), "kernel": platform.release(),
            "load_average_1min": os.getloadavg()[0]}


@dataclass
class Column:
    title: str
    text: Callable[[dict], str]


def figure(name: str, digits: int, factor: float = 1) -> Callable[[dict], str]:
    return lambda row: "-" if row[name] is None else f"{row[name] * factor:.{digits}f}"


COLUMNS = [
    Column("op", lambda row: row["op"]),
    Column("size", lambda row: name_of(row["size_bytes"])),
    Column("thr", lambda row: str(row["threads"])),
    Column("contestant", lambda row: row["contestant"]),
    Column("keys", lambda row: row["temperature"] or "-"),
    Column("memory", lambda row: row["client_memory"]),
    Column("setting", lambda row: ("" if row["eth_ports"] is None else
                                   f"p{row['eth_ports'] or 'all'} ")
           + f"{row['connections'] or 'd'}x{row['in_flight']}/{row['batch']}"
           + (f" t{row['client_threads']}" if row["client_threads"] else "")),
    Column("GB/s", figure("gb_per_s_median", 2)),
    Column("min", figure("gb_per_s_min", 2)),
    Column("max", figure("gb_per_s_max", 2)),
    Column("p50 us", figure("p50_us", 0)),
    Column("p99 us", figure("p99_us", 0)),
    Column("client s/GB", figure("client_cpu_seconds_per_gb", 3)),
    Column("server s/GB", figure("server_cpu_seconds_per_gb", 3)),
    Column("Godbox x", figure("godbox_times", 2)),
    Column("x server CPU", figure("server_cpu_times", 2)),
]


def table_of(rows: list[dict]) -> str:
    cells = [[column.title for column in COLUMNS],
             *[[column.text(row) for column in COLUMNS] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |"
             for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def name_of(size: int) -> str:
    return f"{size // MIB} MiB" if size % MIB == 0 else f"{size / KIB:g} KiB"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def commit() -> str:
    result = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty",
                             "--abbrev=12", "--exclude=*"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
    return result.stdout.strip() or "unknown"


def document_of(comparison: Comparison, network: Network, begun: str) -> dict:
    return {"schema": "godbox-peers-1", "commit": commit(), "begun": begun, "ended": now(),
            "machine": machine(),
            "network": {"namespace": network.namespace, "why": network.why,
                        "congestion_control": network.congestion_control},
            "processors": {"servers": sorted(Processors.servers) or None,
                           "clients": sorted(Processors.clients) or None},
            "versions": comparison.versions,
            "skipped": [{"peer": peer, "reason": why} for peer, why in comparison.skipped.items()],
            "not_measured": comparison.failed, "bytes_checked": comparison.loop.bytes_checked,
            "rows": comparison.rows}


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    begun = now()
    if not options.shared_processors:
        Processors.split()
    network = enter_own_network()
    if network.namespace != "own":
        say(f"not in a network of its own ({network.why}): the peers' servers use "
            f"{network.congestion_control}, as this machine does")
    with tempfile.TemporaryDirectory(prefix="godbox-compare-") as folder:
        try:
            comparison = Comparison(options, Path(folder))
        except Missing as why:
            say(f"SKIP: {why}")
            return EXIT_SKIPPED
        comparison.run()
    document = document_of(comparison, network, begun)
    text = json.dumps(document, indent=2)
    print(text if options.json else table_of(document["rows"]), flush=True)
    if options.output:
        try:
            options.output.write_text(text + "\n")
        except OSError as why:
            say(f"--output: {why}")
            return 1
    if comparison.failed or not document["rows"]:
        return 1
    return EXIT_SKIPPED if comparison.skipped else 0


if __name__ == "__main__":
    sys.exit(main())
