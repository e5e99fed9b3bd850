#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures with `godbox bench`, `replay` and programs of perf/ what godbox promises, and its bars.

Exit status 0 when all bars hold, 1 on a miss, 2 when something could not be measured. It wants a
machine that does nothing else, and takes up to an hour; --group runs one part of it. Mooncake's own
conversation trace is no part of this repository: --trace FILE plays it too.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "perf/compare"))

from l3_cache import COLD_CACHES, l3_cache_bytes  # noqa: E402

LOCAL_EFFICIENCY_MIN = {True: 0.80, False: 0.90}  # with and without CRC
TCP_EFFICIENCY_MIN = 0.85
PORTS = 9
WIDEST_SHARE_MIN = 0.90  # of the best narrower one, beside the raw sockets' own ratio
LOOKUP_US_MAX = 1000
LOOKUP_FACTOR_MAX = 2.0  # between the most and the fewest objects
INDEX_BYTES_PER_OBJECT_MAX = 300
IMBALANCE_MAX = 1.05
SCALING_ERROR_PERCENT_MAX = 5.0
ONE_CHANNEL_ERROR_MAX = 0.05
PACED_ERROR_MAX = 0.05  # of the timing model's throughput, either way
PACED_P99_ERROR_MAX = 0.20
PACED_CHANNELS = (1, 2, 4, 9, 18, 28)
CHANNELS_BALANCED = (1, 7, 18, 28)
SWEEP_POINTS = 6 + 9  # channels, ports
SCATTER_OF_BLOCKS_MIN = 0.7
PING_PONG_TIMES_MAX = 1.3  # of a page of 4 KiB
GROUP_SECONDS_MAX = 1800
PORTS_WIDE = 36
PORT_FAULTS = 3  # slow, dead, flapping
FAULTY_SHARE_MIN = 0.95  # of what the ports that are left could carry
WIDE_LOSS_BEYOND_PORT_MAX = 0.02
HALF_LOAD_P99_FACTOR_MAX = 2.0
RECOVERY_SECONDS_MAX = 1.0
HEALED_SHARE_MIN = 0.95
JAIN_MIN = 0.95
HANDOVER_RATIO_MAX = 1.2
HANDOVER_MISS_SECONDS_MAX = 5
INCAST_SHARE_MIN = 0.9  # of the best host alone
# Prefix-hit shares of pools of so many blocks, as Mooncake published them of its traces (FAST'25).
HIT_SHARE_PERCENT = {
    "conversation": {1000: 4.5, 5000: 11.0, 10000: 21.1, 30000: 32.6, 50000: 35.5, None: 36.6},
    "synthetic": {1000: 8.3, 5000: 27.9, 10000: 42.4, 30000: 62.4, 50000: 64.0, None: 64.0},
}
HIT_SHARE_POINTS_MAX = 1.0  # of a trace with the published one's statistics
TRACE_POINTS_MAX = 0.5  # of the published trace itself
WHOLE_REQUESTS = 300
# Times the throughput of a peer on this machine, by the bytes of a value; goals are not bars.
REDIS_TIMES_MIN = {64 << 10: 1.0, 1 << 20: 1.5, 4 << 20: 1.5}
REDIS_TIMES_GOAL = 3.0
REDIS_SERVER_CPU_TIMES_MIN = 2.0  # of the server's processor time per byte
MEMCACHED_TIMES_MIN = {64 << 10: 1.0, 512 << 10: 1.0}
MEMCACHED_TIMES_GOAL = 1.5
UCX_TIMES_MIN = {1 << 20: 3.0}
ROCE_OF_MEMCPY_MIN = 0.6  # goal 0.8
ROCE_SMALL_BYTES, ROCE_SMALL_PER_SECOND_MIN = 64, 1e6


@dataclass
class Figure:
    what: str
    value: float
    bar: float
    is_floor: bool = False  # else the bar is the most that is allowed

    def __post_init__(self) -> None:
        if self.value is None or math.isnan(self.value):
            raise ValueError(f"{self.what}: {self.value} is no figure")

    @property
    def holds(self) -> bool:
        return self.value >= self.bar if self.is_floor else self.value <= self.bar

    def __str__(self) -> str:
        verdict = "ok  " if self.holds else "MISS"
        side = "at least" if self.is_floor else "at most"
        return f"{verdict}  {self.value:10.3f}  {side} {self.bar:<8g} {self.what}"


Rows = list[dict]


def name_of(row: dict) -> str:
    size = row["size_bytes"] or 0
    parts = [row["workload"], row["transport"], row["op"], f"{size / (1 << 20):g} MiB"]
    return " ".join(part for part in parts if part)


def judge_local(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        crc = bool(row["crc"])
        what = f"efficiency: {name_of(row)}, CRC {'on' if crc else 'off'} ({row['temperature']})"
        yield Figure(what, row["efficiency"], LOCAL_EFFICIENCY_MIN[crc], is_floor=True)


def judge_tcp(rows: Rows) -> Iterator[Figure]:
    by_case: dict[tuple, dict[int, dict]] = defaultdict(dict)
    for row in rows:
        what = f"efficiency: {name_of(row)}, {row['ports']} ports"
        yield Figure(what, row["efficiency"], TCP_EFFICIENCY_MIN, is_floor=True)
        by_case[row["op"], row["size_bytes"]][row["ports"]] = row
    for rows_by_ports in by_case.values():
        widest = rows_by_ports.pop(PORTS)
        best = max(rows_by_ports.values(), key=lambda row: row["gb_per_s_median"])
        ratio = widest["gb_per_s_median"] / best["gb_per_s_median"]
        ceilings = widest["ceiling_gb_per_s"] / best["ceiling_gb_per_s"]
        what = f"{PORTS} ports over {best['ports']}, beside the sockets' own: {name_of(widest)}"
        yield Figure(what, ratio / ceilings, WIDEST_SHARE_MIN, is_floor=True)


def judge_lookup(rows: Rows) -> Iterator[Figure]:
    by_pattern: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        case = f"{row['keys']} keys of {row['objects']} objects, {row['pattern']}"
        yield Figure(f"median us: {case}", row["p50_us"], LOOKUP_US_MAX)
        by_pattern[row["pattern"]][row["objects"]] = row["p50_us"]
    for pattern, medians in by_pattern.items():
        fewest, most = min(medians), max(medians)
        yield Figure(f"times the median of {fewest} objects at {most}, {pattern}",
                     medians[most] / medians[fewest], LOOKUP_FACTOR_MAX)
    # Of few objects it is the tables' first allocation that is divided, not the index.
    largest = max(rows, key=lambda row: row["objects"])
    yield Figure(f"index bytes per object of {largest['objects']}",
                 largest["index_bytes_per_object"], INDEX_BYTES_PER_OBJECT_MAX)


def judge_balance(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        case = f"{name_of(row)}, {row['channels']} channels"
        yield Figure(f"max over mean of one block: {case}", row["block_imbalance_max"],
                     IMBALANCE_MAX)
        yield Figure(f"max over mean of all: {case}", row["channel_imbalance"], IMBALANCE_MAX)


def judge_scaling(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        case = f"{row['op']}, {row['sweep']}: {row['channels']} channels, {row['ports']} ports"
        yield Figure(f"% from proportional (emulated): {case}",
                     abs(row["proportionality_error_percent"]), SCALING_ERROR_PERCENT_MAX)


def judge_one_channel(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        yield Figure(f"from one channel's rate (emulated): {name_of(row)}",
                     abs(row["efficiency"] - 1), ONE_CHANNEL_ERROR_MAX)


def judge_paced(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        case = f"{row['channels']} channels"
        if row["part"] == "small-reads":
            yield Figure(f"from the model's p99 at half load (emulated): reads of "
                         f"{row['size_bytes'] >> 10} KiB, {case}",
                         abs(row["of_modelled_p99"] - 1), PACED_P99_ERROR_MAX)
        else:
            slow = f", one {row['fault']}" if row["part"] == "slow-channel" else ""
            yield Figure(f"from the model's throughput (emulated): {row['traffic']}, {case}{slow}",
                         abs(row["efficiency"] - 1), PACED_ERROR_MAX)


def judge_port_fault(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        ports = row["ports"]
        case = f"1 of {ports} ports {row['fault']} (emulated)"
        left = 1 - 1 / ports
        bar = left - WIDE_LOSS_BEYOND_PORT_MAX if ports == PORTS_WIDE else left * FAULTY_SHARE_MIN
        yield Figure(f"throughput beside healthy: {case}", row["efficiency"], bar, is_floor=True)
        yield Figure(f"times the healthy p99 at half load: {case}", row["half_load_p99_factor"],
                     HALF_LOAD_P99_FACTOR_MAX)
        yield Figure(f"s until the port carries its share again: {case}", row["recovery_s_max"],
                     RECOVERY_SECONDS_MAX)
        yield Figure(f"throughput a second after healing: {case}", row["healed_share"],
                     HEALED_SHARE_MIN, is_floor=True)


def judge_incast(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        case = f"{row['hosts']} hosts, one block of {row['size_bytes'] >> 20} MiB"
        yield Figure(f"Jain fairness, the worst repeat: {case}", row["jain_min"], JAIN_MIN,
                     is_floor=True)
        yield Figure(f"all hosts over the best alone: {case}", row["aggregate_over_best_host"],
                     INCAST_SHARE_MIN, is_floor=True)


def judge_scatter(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        case = f"{row['pieces']} x {name_of(row)}, {row['temperature']}"
        yield Figure(f"of the rate of blocks of 1 MiB: {case}", row["of_block_rate"],
                     SCATTER_OF_BLOCKS_MIN, is_floor=True)


def judge_page(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        yield Figure(f"times a ping-pong's p50 of {row['ping_pong_p50_us']:.1f} us: "
                     f"{name_of(row)}, {row['temperature']}", row["of_ping_pong_p50"],
                     PING_PONG_TIMES_MAX)


def judge_hits_of(kind: str, points_max: float = HIT_SHARE_POINTS_MAX
                  ) -> Callable[[Rows], Iterator[Figure]]:
    def judge(rows: Rows) -> Iterator[Figure]:
        for row in rows:
            blocks = None if row["unbounded"] else row["pool_blocks"]
            yield Figure(f"points from the published prefix-hit share: {kind}, "
                         + ("no bound" if blocks is None else f"{blocks} blocks"),
                         abs(100 * row["prefix_hit_share"] - HIT_SHARE_PERCENT[kind][blocks]),
                         points_max)
    return judge


def judge_whole_blocks(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        case = f"replay of {row['requests']} requests, {row['block_bytes'] >> 20} MiB blocks"
        # What moves nothing has neither wrong bytes nor an imbalance.
        yield Figure(f"requests: {case}", row["requests"], WHOLE_REQUESTS, is_floor=True)
        yield Figure(f"bytes read: {case}", row["bytes_read"], 1, is_floor=True)
        yield Figure(f"blocks that the pool refused: {case}", row["refused_puts"], 0)
        yield Figure(f"hits that were lost before they were read: {case}", row["lost_hits"], 0)
        yield Figure(f"max over mean per block: {case}", row["block_imbalance_max"], IMBALANCE_MAX)
        yield Figure(f"max over mean of all: {case}", row["channel_imbalance"], IMBALANCE_MAX)


def judge_handover(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        if "ratio" in row:
            case = f"{row['layer_ms']:g} ms a layer"
            yield Figure(f"the consumer's time over the producer's: {case}", row["ratio"],
                         HANDOVER_RATIO_MAX)
            yield Figure(f"layers that were there only after a later one: {case}",
                         row["layers_out_of_order"], 0)
        else:
            yield Figure("bytes compared of what a killed producer had handed over",
                         row["bytes_checked"], 1, is_floor=True)
            yield Figure("s until a killed producer's reader hears of it", row["seconds"],
                         HANDOVER_MISS_SECONDS_MAX)
            is_miss = row["status"] in ("not_found", "key_revoked")
            yield Figure("a killed producer leaves misses",
                         int(is_miss and row["afterwards"] == "not_found"), 1, is_floor=True)


def judge_peers(rows: Rows) -> Iterator[Figure]:
    bars = {"redis-benchmark": (REDIS_TIMES_MIN, f" (goal {REDIS_TIMES_GOAL:g})"),
            "memcached": (MEMCACHED_TIMES_MIN, f" (goal {MEMCACHED_TIMES_GOAL:g})"),
            "ucx": (UCX_TIMES_MIN, "")}
    for row in rows:
        least, goal = bars.get(row["contestant"], ({}, ""))
        if row["size_bytes"] not in least:
            continue
        case = (f"{row['contestant']}: {row['op']} {row['size_bytes'] >> 10} KiB, "
                f"{row['threads']} threads, {row['temperature']}")
        yield Figure(f"times {case}{goal}", row["godbox_times"], least[row["size_bytes"]],
                     is_floor=True)
        if row["contestant"] == "redis-benchmark":
            yield Figure(f"times the server's CPU of {case}", row["server_cpu_times"],
                         REDIS_SERVER_CPU_TIMES_MIN, is_floor=True)


def judge_roce(rows: Rows) -> Iterator[Figure]:
    for row in rows:
        if row["size_bytes"] == ROCE_SMALL_BYTES:
            yield Figure("million READs of 64 B a second, one core",
                         row["requests_per_s_median"] / 1e6, ROCE_SMALL_PER_SECOND_MIN / 1e6,
                         is_floor=True)
        else:
            yield Figure(f"of a core's memcpy: RoCE {row['op']} {row['size_bytes'] >> 10} KiB, "
                         f"{row['temperature']}", row["of_ceiling_median"], ROCE_OF_MEMCPY_MIN,
                         is_floor=True)


@dataclass
class Group:
    options: list[str]
    judge: Callable[[Rows], Iterator[Figure]]
    rows: int  # that the options give: a row that is not there has not been measured
    quick: tuple[str, ...] = ("--quick",)
    command: str = "bench"  # of the program, or one of other_command()
    is_cold: bool = False  # of a working set that the caches have no room for


POOLS = "1000,5000,10000,30000,50000,unbounded"
HITS = ["--index-only", "--pool-blocks", POOLS]
WHOLE = ["--requests", str(WHOLE_REQUESTS), "--pool-size", "8GiB", "--block-size", "160MiB"]
WHOLE_QUICK = ("--requests", "20", "--pool-size", "256MiB", "--block-size", "2MiB")
BLOCKS = "1MiB,4MiB,20MiB"
SMALL = ("--quick", "--working-set", "64MiB")
GROUPS = {
    "local": Group(["--transport", "local", "--sizes", BLOCKS, "--crc", "both"],
                   judge_local, rows=3 * 2 * 2, quick=SMALL, is_cold=True),
    "tcp": Group(["--transport", "tcp", "--sizes", BLOCKS, "--ports", f"1,2,4,{PORTS}"],
                 judge_tcp, rows=3 * 4 * 2, quick=SMALL, is_cold=True),
    "lookup": Group(["--workload", "lookup", "--objects", "10000,10000000"], judge_lookup,
                    rows=2 * 3, quick=("--quick", "--objects", "2000,10000")),
    "balance": Group(["--transport", "tcp", "--sizes", BLOCKS, "--op", "write", "--repeats", "1",
                      "--working-set", "256MiB",
                      "--channels", ",".join(map(str, CHANNELS_BALANCED))],
                     judge_balance, rows=len(CHANNELS_BALANCED) * 3),
    "scaling": Group(["--workload", "scaling", "--mode", "paced", "--repeats", "3"],
                     judge_scaling, rows=SWEEP_POINTS * 2),
    "one-channel": Group(["--workload", "one-channel", "--mode", "paced", "--repeats", "3"],
                         judge_one_channel, rows=2),
    # Reads, writes, 2:1 and small reads of each box; of that of 18 two with a slow channel.
    "paced": Group(["--workload", "paced", "--mode", "paced", "--repeats", "3", "--working-set",
                    "256MiB", "--channels", ",".join(map(str, PACED_CHANNELS))],
                   judge_paced, rows=len(PACED_CHANNELS) * 4 + 2,
                   quick=("--quick", "--repeats", "1")),
    "port-fault": Group(["--workload", "port-fault", "--mode", "paced", "--repeats", "3",
                         "--working-set", "256MiB"], judge_port_fault, rows=PORT_FAULTS,
                        quick=("--quick", "--repeats", "1")),
    "port-fault-wide": Group(["--workload", "port-fault", "--mode", "paced", "--repeats", "3",
                              "--working-set", "256MiB", "--fault", "dead", "--ports",
                              str(PORTS_WIDE)], judge_port_fault, rows=1,
                             quick=("--quick", "--repeats", "1")),
    # Eight threads of hosts beside it: one of the box's would have a share of a processor.
    "incast": Group(["--workload", "incast", "--server-threads", "2"], judge_incast, rows=1,
                    quick=("--quick", "--repeats", "1", "--sizes", "16MiB")),
    "scatter": Group(["--workload", "scatter", "--sizes", "16KiB", "--pieces", "30208",
                      "--working-set", "1GiB"], judge_scatter, rows=4,
                     quick=("--quick", "--pieces", "2048", "--working-set", "64MiB")),
    "page": Group(["--workload", "remote-page", "--transport", "tcp", "--sizes", "4KiB",
                   "--working-set", "1GiB"], judge_page, rows=2,
                  quick=("--quick", "--working-set", "64MiB")),
    **{f"replay-{kind}": Group(["--generate", kind, *HITS], judge_hits_of(kind), rows=6,
                               quick=("--requests", "500"), command="replay")
       for kind in HIT_SHARE_PERCENT},
    "replay-whole": Group(["--generate", "conversation", *WHOLE], judge_whole_blocks, rows=1,
                          quick=WHOLE_QUICK, command="replay"),
    "handover": Group([], judge_handover, rows=3, quick=("--small",), command="handover"),
    # Three of Godbox and three peers; then remote memory hot, UCX, and cold.
    "compare": Group(["--sizes", "64KiB,512KiB,1MiB,4MiB", "--peers",
                      "redis,redis-benchmark,memcached,ucx"],
                     judge_peers, rows=4 * 2 * 6 + 3, quick=("--quick",), command="compare"),
    "roce": Group([], judge_roce, rows=3, quick=("--small",), command="roce"),
}


def other_command(name: str, program: str) -> list[str] | None:
    """What measures where the program itself does not; programs of preset perf."""
    return {"compare": [sys.executable, "-B", str(ROOT / "perf/compare/run.py"), "--godbox",
                        program],
            "handover": [sys.executable, "-B", str(ROOT / "perf/handover/run.py"), "--program",
                         program],
            "roce": [str(ROOT / "build/perf/bin/roce_bench")]}.get(name)


def groups_of(trace: Path | None) -> dict[str, Group]:
    """All groups; with those of the published conversation trace where it is given."""
    if trace is None:
        return GROUPS
    return {**GROUPS,
            "trace": Group([str(trace), *HITS], judge_hits_of("conversation", TRACE_POINTS_MAX),
                           rows=6, quick=("--requests", "500"), command="replay"),
            "trace-whole": Group([str(trace), *WHOLE], judge_whole_blocks, rows=1,
                                 quick=WHOLE_QUICK, command="replay")}


def cold_working_set() -> list[str]:
    """Above 1 GiB, and above what counts as cold, where the machine has eight times that; rows say
    what they were."""
    cold_mib = (COLD_CACHES * (l3_cache_bytes() or 0) >> 20) + 64  # blocks do not fill it whole
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    if 8 * cold_mib > memory_mib:
        cold_mib = 0
    return ["--working-set", f"{max(1100, cold_mib)}MiB"]


def measure(program: str, group: Group, quick: bool) -> Rows:
    """The rows of one run. Raises ValueError for too few rows, or wrong bytes."""
    options = [*group.options, *(cold_working_set() if group.is_cold else [])]
    options = merge(options, group.quick) if quick else options
    command = other_command(group.command, program) or [program, group.command]
    result = subprocess.run([*command, "--json", *options], stdout=subprocess.PIPE, text=True,
                            timeout=GROUP_SECONDS_MAX)
    if result.returncode != 0:
        raise ValueError(f"{group.command} ended with status {result.returncode}")
    rows = json.loads(result.stdout)["rows"]
    if len(rows) != group.rows:
        raise ValueError(f"{len(rows)} rows, not {group.rows}")
    if any(row["wrong_bytes"] for row in rows):
        raise ValueError("wrong bytes were read")
    return rows


def merge(options: list[str], others: tuple[str, ...]) -> list[str]:
    """The options, without those that the others give too."""
    kept, skip = [], False
    for option in options:
        if not skip and option not in others:
            kept.append(option)
            skip = False
        else:
            skip = not skip
    return [*kept, *others]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("program", help="a release build of godbox")
    parser.add_argument("--group", choices=groups_of(Path()), action="append",
                        help="only this part")
    parser.add_argument("--trace", type=Path,
                        help="Mooncake's conversation_trace.jsonl, for the groups trace*")
    parser.add_argument("--quick", action="store_true",
                        help="little data: to see that it works; the figures mean nothing")
    options = parser.parse_args()
    groups = groups_of(options.trace)
    for name in options.group or groups:
        if name not in groups:
            parser.error(f"--group {name} needs --trace")
    figures: list[Figure] = []
    unmeasured = []
    for name in options.group or groups:
        print(f"-- {name}", flush=True)
        try:
            group_figures = list(groups[name].judge(
                measure(options.program, groups[name], options.quick)))
        except (ValueError, KeyError, TypeError, OSError, subprocess.TimeoutExpired) as why:
            print(f"not measured: {name}: {why!r}")
            unmeasured.append(name)
            continue
        for figure in group_figures:
            print(figure, flush=True)
        figures += group_figures
    holding = sum(figure.holds for figure in figures)
    print(f"figures: {holding} of {len(figures)} hold"
          + (f"; not measured: {', '.join(unmeasured)}" if unmeasured else ""))
    return 2 if unmeasured else int(holding < len(figures))


if __name__ == "__main__":
    sys.exit(main())
