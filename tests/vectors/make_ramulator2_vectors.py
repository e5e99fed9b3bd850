#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/vectors/ramulator2/vectors.json: what Ramulator 2 says of the access patterns below.

Ramulator 2 is built outside of godbox and no part of it; tests/vectors/ramulator2/README.md says how,
and what each figure means. The file holds the configuration of every pattern beside its figures, so
that a model of DRAM can be run with the same one.

usage: make_ramulator2_vectors.py --source <clone of Ramulator 2> --driver <ramulator2_driver>
  --check          compare what it makes with what is checked in, and change nothing; without
                   --source and --driver, compare only what needs no Ramulator: configurations, the
                   fingerprints of the streams, and the figures with what formulas say
  --only a,b       run these patterns alone, and print them
  --table          print the README's table from the file that is checked in, and run nothing
  --speed PROGRAM  set Ramulator 2's lines per second of processor time beside those of godbox's
                   model: PROGRAM is dram_model_bench of preset perf. They take turns, SPEED_ROUNDS
                   times for each pattern; medians. Exit status 1 below SPEED_TIMES_MIN on any one
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import types

FOLDER = pathlib.Path(__file__).resolve().parent / "ramulator2"
VECTORS = FOLDER / "vectors.json"
LINE_BYTES = 64
KIB = 1 << 10
MIB = 1 << 20

# The values of JEDEC where Ramulator's presets have others (README.md, "Timing").
JEDEC_5600 = {"nCCDL": 14, "nCCDL_WR": 28, "nRRDS": 8, "nRRDL": 14, "nFAW": 32, "nWTRS": 7,
              "nRTP": 21}
JEDEC_4800 = {"nCCDL_WR": 24, "nFAW": 32}
DEVICES = {
    "ddr4_2400r_8gb_x8": ("DDR4", "DDR4_8Gb_x8", "DDR4_2400R", {}),
    "ddr4_3200aa_16gb_x8": ("DDR4", "DDR4_16Gb_x8", "DDR4_3200AA", {}),
    "ddr5_4800an_16gb_x8": ("DDR5", "DDR5_16Gb_x8", "DDR5_4800AN", {}),
    "ddr5_4800an_16gb_x8_jedec": ("DDR5", "DDR5_16Gb_x8", "DDR5_4800AN", JEDEC_4800),
    "ddr5_5600an_16gb_x8": ("DDR5", "DDR5_16Gb_x8", "DDR5_5600AN", {}),
    "ddr5_5600an_16gb_x8_jedec": ("DDR5", "DDR5_16Gb_x8", "DDR5_5600AN", JEDEC_5600),
    "ddr5_6400an_32gb_x8": ("DDR5", "DDR5_32Gb_x8", "DDR5_6400AN", {}),
}

# Mappings, from the least significant bit above the line's six on. "*" stands for all bits of that
# field that no other piece holds.
GROUPS_LOW = [("sub_channel", "*"), ("bank_group", "*"), ("column_line", "*"), ("bank", "*"),
              ("rank", "*"), ("row", "*")]
ROWS_WHOLE = [("sub_channel", "*"), ("column_line", "*"), ("rank", "*"), ("bank_group", "*"),
              ("bank", "*"), ("row", "*")]
ONE_GROUP = [("sub_channel", "*"), ("column_line", "*"), ("bank", "*"), ("rank", "*"), ("row", "*"),
             ("bank_group", "*")]
GROUPS_AT_256 = [("sub_channel", "*"), ("column_line", 2), ("bank_group", "*"),
                 ("column_line", "*"), ("bank", "*"), ("rank", "*"), ("row", "*")]
RANKS_LOW = [("rank", "*"), ("bank_group", "*"), ("column_line", "*"), ("bank", "*"),
             ("row", "*")]
BANKS_LOW = [("bank_group", "*"), ("bank", "*"), ("row", "*"), ("column_line", "*")]
# Four banks, each in a bank group of its own, and a new row for each line.
FOUR_BANKS = [("bank_group", 2), ("row", "*"), ("column_line", "*"), ("bank_group", "*"),
              ("bank", "*")]

CLOSED_LOOP = {"reads_in_flight": 32, "writes_in_flight": 32}
ONE_AT_A_TIME = {"lines_in_flight": 1}
IDLE_GAP_CLOCKS = 512
IDLE_LINES = 2000
SPEED_ROUNDS = 3
SPEED_TIMES_MIN = 40  # goal 100


def sequential(operations="R", span_bytes=256 * MIB):
    return {"order": "sequential", "step_bytes": LINE_BYTES, "span_bytes": span_bytes,
            "operations": operations}


def scattered(seed, operations="R", run_bytes=LINE_BYTES, span_bytes=4096 * MIB):
    return {"order": "random", "seed": seed, "span_bytes": span_bytes, "align_bytes": run_bytes,
            "run_lines": run_bytes // LINE_BYTES, "operations": operations}


def hot(seed, hot_bytes, hot_percent, span_bytes=4096 * MIB):
    return {"order": "hot", "seed": seed, "span_bytes": span_bytes, "align_bytes": LINE_BYTES,
            "hot_bytes": hot_bytes, "hot_percent": hot_percent, "operations": "R"}


def pattern(name, what, device, stream, *, mapping=None, lines=50_000, ranks=1, sub_channels=1,
            injection=None, row_policy=None, refresh=None):
    return {
        "name": name, "what": what, "device": device, "ranks": ranks, "sub_channels": sub_channels,
        "mapping": mapping or GROUPS_LOW, "scheduler": "FRFCFSRowHit",
        "row_policy": row_policy or {"kind": "open"},
        "refresh": refresh or {"kind": "all_bank", "stagger": False},
        "queues": {"reads": 32, "writes": 32, "drain_above": 0.8, "drain_below": 0.2},
        "stream": {**stream, "lines": lines}, "injection": injection or CLOSED_LOOP,
    }


CLOSED = {"kind": "closed", "after_accesses": 1}
STAGGERED = {"kind": "all_bank", "stagger": True}
D4_2400, D4_3200 = "ddr4_2400r_8gb_x8", "ddr4_3200aa_16gb_x8"
D5_4800, D5_5600, D5_6400 = ("ddr5_4800an_16gb_x8", "ddr5_5600an_16gb_x8", "ddr5_6400an_32gb_x8")
FULL = {"ranks": 2, "sub_channels": 2, "refresh": STAGGERED}

PATTERNS = [
    pattern("d5_4800_seq_read", "sequential reads", D5_4800, sequential()),
    pattern("d5_4800_seq_write", "sequential writes", D5_4800, sequential("W")),
    pattern("d5_4800_seq_2r1w", "sequential, two reads and a write", D5_4800, sequential("RRW")),
    pattern("d5_4800_seq_1r1w", "sequential, reads and writes, each bank group's share of both",
            D5_4800, sequential("RWRWRWRWWRWRWRWR")),
    pattern("d5_4800_random_read", "lines at random", D5_4800, scattered(1)),
    pattern("d5_4800_random_read_jedec", "the same with JEDEC's timing", D5_4800 + "_jedec",
            scattered(1)),
    pattern("d5_4800_random_2r1w", "lines at random, two reads and a write", D5_4800,
            scattered(2, "RRW")),
    pattern("d5_4800_random_read_closed", "lines at random, rows closed after one access", D5_4800,
            scattered(1), row_policy=CLOSED),
    pattern("d5_4800_chase_seq", "one read at a time, in sequence: row hits", D5_4800, sequential(),
            injection=ONE_AT_A_TIME, lines=20_000),
    pattern("d5_4800_chase_random", "one read at a time, at random: row conflicts", D5_4800,
            scattered(3), injection=ONE_AT_A_TIME, lines=20_000),
    pattern("d5_4800_chase_random_closed", "one read at a time, at random, rows closed", D5_4800,
            scattered(3), injection=ONE_AT_A_TIME, lines=20_000, row_policy=CLOSED),
    pattern("d5_4800_bursts", "4 KiB strips at random, each at once, at half of the peak", D5_4800,
            scattered(4, run_bytes=4 * KIB),
            injection={"interval_clocks": 1024, "burst_lines": 64}),
    pattern("d5_4800_open_random", "a read at random every 20 clocks: 0.4 of the peak", D5_4800,
            scattered(5), injection={"interval_clocks": 20, "burst_lines": 1}),
    pattern("d5_5600_strips_4k_read", "4 KiB strips at random, whole channel", D5_5600,
            scattered(6, run_bytes=4 * KIB), **FULL),
    pattern("d5_5600_strips_4k_read_jedec", "the same with JEDEC's timing", D5_5600 + "_jedec",
            scattered(6, run_bytes=4 * KIB), **FULL),
    pattern("d5_5600_strips_4k_write", "4 KiB strips at random, written, whole channel", D5_5600,
            scattered(7, "W", run_bytes=4 * KIB), **FULL),
    pattern("d5_5600_strips_4k_2r1w", "4 KiB strips at random, each third one written", D5_5600,
            scattered(8, "RRW", run_bytes=4 * KIB), **FULL),
    pattern("d5_5600_strips_64k_read", "64 KiB strips at random, whole channel", D5_5600,
            scattered(9, run_bytes=64 * KIB), **FULL),
    pattern("d5_5600_rows_whole_read", "row after row, the bank groups in turn", D5_5600,
            sequential(), mapping=ROWS_WHOLE),
    pattern("d5_5600_one_group_read", "row after row of one bank group", D5_5600, sequential(),
            mapping=ONE_GROUP),
    pattern("d5_5600_one_group_write", "the same, written", D5_5600, sequential("W"),
            mapping=ONE_GROUP, lines=20_000),
    pattern("d5_5600_two_rows", "two rows of one bank in turn, one read at a time", D5_5600,
            {"order": "cycle", "cycle_bytes": [0, 64 * MIB], "operations": "R"},
            injection=ONE_AT_A_TIME, lines=10_000),
    pattern("d5_6400_seq_read", "sequential reads, whole channel", D5_6400, sequential(),
            sub_channels=2, lines=100_000),
    pattern("d5_6400_every_bank", "a new row for each line, all banks in turn", D5_6400,
            sequential(), mapping=BANKS_LOW),
    pattern("d5_6400_four_banks", "a new row for each line, four banks in turn", D5_6400,
            sequential(), mapping=FOUR_BANKS, lines=20_000),
    pattern("d5_6400_hot_rows", "four reads of five in one row per bank", D5_6400,
            hot(10, 128 * KIB, 80)),
    pattern("d4_2400_seq_read", "sequential reads", D4_2400, sequential(), ranks=2,
            refresh=STAGGERED),
    pattern("d4_2400_seq_write", "sequential writes", D4_2400, sequential("W"), ranks=2,
            refresh=STAGGERED),
    pattern("d4_2400_seq_2r1w", "sequential, two reads and a write", D4_2400, sequential("RRW"),
            ranks=2, refresh=STAGGERED),
    pattern("d4_2400_random_1r1w", "lines at random, a read and a write", D4_2400,
            scattered(11, "RW"), ranks=2, refresh=STAGGERED),
    pattern("d4_2400_pieces_256_2r1w", "256 B at random, each third one written", D4_2400,
            scattered(12, "RRW", run_bytes=256), mapping=GROUPS_AT_256, ranks=2,
            refresh=STAGGERED),
    pattern("d4_3200_ranks_in_turn_read", "sequential reads, the ranks in turn", D4_3200,
            sequential(), mapping=RANKS_LOW, ranks=2),
    pattern("d4_3200_ranks_in_turn_1r1w", "the same, two reads and two writes", D4_3200,
            sequential("RRWW"), mapping=RANKS_LOW, ranks=2),
    pattern("d4_3200_strips_4k_read", "4 KiB strips at random", D4_3200,
            scattered(13, run_bytes=4 * KIB), ranks=2, refresh=STAGGERED),
    pattern("d4_3200_random_read_closed", "lines at random, rows closed after one access", D4_3200,
            scattered(14), row_policy=CLOSED, ranks=2, refresh=STAGGERED),
    pattern("d4_3200_chase_random", "one read at a time, at random: row conflicts", D4_3200,
            scattered(15), injection=ONE_AT_A_TIME, lines=20_000),
]


# What the figures have to be near to, in clocks, from the timing alone: n lines of a sub-channel and
# r refreshes of a rank, w of all ranks. Only where the sum is short; README.md explains the terms.
def lost_by_refresh(t, written=False):
    to_precharge = t.nCWL + t.nBL + t.nWR if written else t.nRTP
    return to_precharge + t.nRP + t.nRFC + t.nRCD - t.nBL


FORMULAS = {
    "d5_4800_seq_read": lambda t, n, r: n * t.nBL + r * lost_by_refresh(t),
    "d5_4800_seq_write": lambda t, n, r: n * t.nBL + r * lost_by_refresh(t, written=True),
    "d5_4800_random_read": lambda t, n, r: n * t.nFAW / 4 + r * (t.nRTP + t.nRP + t.nRFC),
    "d5_4800_random_read_jedec": lambda t, n, r: n * t.nBL + r * lost_by_refresh(t),
    "d5_4800_chase_random_closed": lambda t, n, r: n * (1 + t.nRCD + t.nCL + t.nBL) + r * t.nRFC,
    "d5_5600_one_group_read": lambda t, n, r: n * t.nCCDL + r * lost_by_refresh(t),
    "d5_5600_one_group_write": lambda t, n, r: n * t.nCCDL_WR + r * lost_by_refresh(t, written=True),
    "d5_5600_two_rows": lambda t, n, r: n * t.nRC + r * t.nRFC,
    "d5_6400_seq_read": lambda t, n, r: n * t.nBL + r * lost_by_refresh(t),
    "d5_6400_every_bank": lambda t, n, r: n * t.nFAW / 4 + r * (t.nRTP + t.nRP + t.nRFC),
    "d5_6400_four_banks": lambda t, n, r: n * t.nRC / 4 + r * (t.nRFC + t.nRC / 2),
    # Half of the refreshes go to the rank that the stream is in.
    "d4_2400_seq_read": lambda t, n, r: n * t.nBL + r * lost_by_refresh(t),
    "d4_2400_seq_write": lambda t, n, r: n * t.nBL + r * lost_by_refresh(t, written=True),
}
FORMULA_TOLERANCE = 0.02
# Of an idle line, by what it mostly finds.
IDLE_CONFLICT = ("random", "chase_random", "two_rows", "every_bank", "four_banks")


def import_ramulator(source):
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(source / "python"))
    import ramulator  # its own Python package, which knows its presets
    return ramulator


def dram_of(ramulator, device, ranks):
    standard, organisation, timing, overrides = DEVICES[device]
    return getattr(ramulator.dram, standard)(
        org_preset=organisation, timing_preset=timing, rank=ranks, **overrides)


def describe_device(ramulator, device):
    standard, organisation, timing, overrides = DEVICES[device]
    dram = dram_of(ramulator, device, 1)
    org, clocks = dram.resolve()
    prefetch = type(dram).internal_prefetch_size
    clocks = dict(clocks)
    tck_ps = clocks.pop("tCK_ps")
    rate = clocks.pop("rate")
    return {
        "standard": standard, "organisation_preset": organisation, "timing_preset": timing,
        "not_of_the_preset": overrides, "rate_mt_per_s": rate, "tCK_ps": tck_ps,
        "density_mbit": org["density"], "device_width_bits": org["dq"],
        "bus_width_bits": org["channel_width"], "bank_groups": org["bankgroup"],
        "banks_per_group": org["bank"], "rows": org["row"],
        "lines_per_row": org["column"] // prefetch, "command_clocks": {
            name: type(dram).command_cycles.get(name, 1) for name in type(dram).commands},
        "timing_clocks": clocks,
    }


def bits_of(count):
    assert count & (count - 1) == 0, count
    return count.bit_length() - 1


def whole_mapping(shape, device):
    """The mapping with every "*" replaced by a number of bits; pieces of none are left out."""
    total = {
        "sub_channel": bits_of(shape["sub_channels"]), "rank": bits_of(shape["ranks"]),
        "bank_group": bits_of(device["bank_groups"]), "bank": bits_of(device["banks_per_group"]),
        "row": bits_of(device["rows"]), "column_line": bits_of(device["lines_per_row"]),
    }
    named = {}
    for field, bits in shape["mapping"]:
        named[field] = named.get(field, 0) + (bits if bits != "*" else 0)
    pieces = []
    for field, bits in shape["mapping"]:
        bits = total[field] - named[field] if bits == "*" else bits
        if bits > 0:
            pieces.append([field, bits])
    return pieces


def ramulator_config(ramulator, shape, device, with_refresh):
    def controller():
        if not with_refresh:
            refresh = ramulator.refresh_manager.NoRefresh()
        else:
            interval = device["timing_clocks"]["nREFI"] // shape["ranks"]
            refresh = ramulator.refresh_manager.AllBank(
                scatter_interval=interval if shape["refresh"]["stagger"] else 0)
        policy = shape["row_policy"]
        queues = shape["queues"]
        return ramulator.controller.GenericDDR(
            dram=dram_of(ramulator, shape["device"], shape["ranks"]),
            scheduler=getattr(ramulator.scheduler, shape["scheduler"])(),
            refresh_manager=refresh,
            row_policy=(ramulator.row_policy.Open() if policy["kind"] == "open" else
                        ramulator.row_policy.ClosedCAP(cap=policy["after_accesses"])),
            addr_mapper=ramulator.addr_mapper.PassThroughAddrMapper(),
            read_buffer_size=queues["reads"], write_buffer_size=queues["writes"],
            wr_high_watermark=queues["drain_above"], wr_low_watermark=queues["drain_below"])

    memory = ramulator.memory_system.GenericDRAM(
        clock_ratio=1, controllers=[controller() for _ in range(shape["sub_channels"])],
        channel_mapper=ramulator.channel_mapper.PassThroughChannelMapper()).to_config()
    for one in memory["controllers"]:
        one["controller_plugins"] = [{"impl": "CommandTally"}]
    return {"frontend": ramulator.frontend.External(clock_ratio=1).to_config(),
            "memory_system": memory}


def run_driver(driver, job):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job, file)
        file.flush()
        done = subprocess.run([driver, file.name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{driver}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def figures(answer, lines, tck_ps):
    """What is kept of the driver's answer: clocks as they are, and bandwidth by the way."""
    kept = {key: answer[key] for key in (
        "end_clock", "read_clocks", "write_clocks", "row_hits", "row_misses", "row_conflicts",
        "reads_forwarded", "writes_coalesced", "refused", "commands")}
    kept["bytes_per_s"] = round(lines * LINE_BYTES * 1e12 / (answer["end_clock"] * tck_ps))
    return kept


def loaded_job(ramulator, shape):
    device = describe_device(ramulator, shape["device"])
    clocks = device["timing_clocks"]
    return {"mapping": whole_mapping(shape, device), "stream": shape["stream"],
            "injection": shape["injection"],
            "write_tail_clocks": clocks["nCWL"] + clocks["nBL"],
            "ramulator": ramulator_config(ramulator, shape, device, with_refresh=True)}


def idle_job(ramulator, shape):
    device = describe_device(ramulator, shape["device"])
    lines = min(IDLE_LINES, shape["stream"]["lines"])
    return {**loaded_job(ramulator, shape), "stream": {**shape["stream"], "lines": lines},
            "injection": {"lines_in_flight": 1, "gap_clocks": IDLE_GAP_CLOCKS},
            "ramulator": ramulator_config(ramulator, shape, device, with_refresh=False)}


def run_pattern(ramulator, driver, shape):
    device = describe_device(ramulator, shape["device"])
    loaded = run_driver(driver, loaded_job(ramulator, shape))
    idle = run_driver(driver, idle_job(ramulator, shape))
    return {**shape, "mapping": whole_mapping(shape, device), "fingerprint": loaded["fingerprint"],
            "loaded": figures(loaded, shape["stream"]["lines"], device["tCK_ps"]),
            "idle": {key: idle[key] for key in (
                "read_clocks", "write_clocks", "row_hits", "row_misses", "row_conflicts")}}


def speed_of_pattern(ramulator, driver, program, shape):
    """Lines per second of processor time: theirs, ours."""
    theirs, ours = [], []
    for _ in range(SPEED_ROUNDS):
        answer = run_driver(driver, loaded_job(ramulator, shape))
        theirs.append(shape["stream"]["lines"] / answer["cpu_s"])
        done = subprocess.run([program, "--only", shape["name"], "--json"], capture_output=True,
                              text=True, check=True)
        ours.append(json.loads(done.stdout.splitlines()[0])["lines_per_s"])
    return statistics.median(theirs), statistics.median(ours)


def print_speeds(ramulator, driver, program, shapes):
    """Whether every pattern is fast enough."""
    print("| pattern | Ramulator 2, million lines/s | godbox | times |")
    print("|---|---|---|---|")
    times = {}
    for shape in shapes:
        theirs, ours = speed_of_pattern(ramulator, driver, program, shape)
        times[shape["name"]] = ours / theirs
        print(f"| `{shape['name']}` | {theirs / 1e6:.4f} | {ours / 1e6:.2f} | {ours / theirs:.1f} |",
              flush=True)
    slowest = min(times, key=times.get)
    mean = math.exp(statistics.mean(map(math.log, times.values())))
    print(f"\n{len(times)} patterns: {mean:.1f} times in the geometric mean, at least "
          f"{times[slowest]:.1f} (`{slowest}`)")
    return times[slowest] >= SPEED_TIMES_MIN


def commit_of(source):
    return subprocess.run(["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True,
                          text=True, check=True).stdout.strip()


def formula_share(made, device):
    """Clocks by the formula over clocks of Ramulator 2; None where there is no formula."""
    if made["name"] not in FORMULAS:
        return None
    t = types.SimpleNamespace(**device["timing_clocks"])
    lines = made["stream"]["lines"] / made["sub_channels"]
    refreshes = made["loaded"]["commands"]["REFab"] / made["sub_channels"] / made["ranks"]
    return FORMULAS[made["name"]](t, lines, refreshes) / made["loaded"]["end_clock"]


def idle_by_formula(made, device):
    """The median of idle reads and of idle writes: ACT and PRE before them as their rows need it,
    from a PRE of one clock to an ACT of `command_clocks`."""
    t = types.SimpleNamespace(**device["timing_clocks"])
    before = 1
    if made["row_policy"]["kind"] == "closed":
        before += t.nRCD
    elif any(word in made["name"] for word in IDLE_CONFLICT):
        before += t.nRP - (device["command_clocks"]["ACT"] - 1) + t.nRCD
    return {"read_clocks": before + t.nCL + t.nBL, "write_clocks": before + t.nCWL + t.nBL}


def draws(seed):
    """splitmix64."""
    mask = (1 << 64) - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield z ^ (z >> 31)


def run_begins(stream):
    draw = draws(stream.get("seed", 0))
    run = 0
    while True:
        if stream["order"] == "sequential":
            yield run * stream["step_bytes"] % stream["span_bytes"]
        elif stream["order"] == "cycle":
            yield stream["cycle_bytes"][run % len(stream["cycle_bytes"])]
        else:
            span, align = stream["span_bytes"], stream["align_bytes"]
            if stream["order"] == "hot" and next(draw) % 100 < stream["hot_percent"]:
                span = stream["hot_bytes"]
            yield next(draw) % (span // align) * align
        run += 1


def fingerprint(stream):
    """Of the stream as README.md describes it; the driver's comes from dram_stream.h."""
    value, left, run_lines = 0xCBF29CE484222325, stream["lines"], stream.get("run_lines", 1)
    operations = stream["operations"]
    for run, begin in enumerate(run_begins(stream)):
        written = operations[run % len(operations)] == "W"
        for line in range(min(run_lines, left)):
            word = (begin // LINE_BYTES + line) * 2 + written
            for byte in word.to_bytes(8, "little"):
                value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
        left -= min(run_lines, left)
        if left == 0:
            return f"{value:016x}"
    return None


def problems_of(vectors):
    """What can be checked without Ramulator 2."""
    names = [made["name"] for made in vectors["patterns"]]
    if names != [shape["name"] for shape in PATTERNS]:
        yield f"the patterns are {names}, and those of this script are others"
        return
    for shape, made in zip(PATTERNS, vectors["patterns"]):
        device = vectors["devices"][made["device"]]
        wanted = json.loads(json.dumps({**shape, "mapping": whole_mapping(shape, device)}))
        for key in wanted:
            if made.get(key) != wanted[key]:
                yield f"{made['name']}: {key} is {made.get(key)}, here it is {wanted[key]}"
        if made["fingerprint"] != fingerprint(made["stream"]):
            yield f"{made['name']}: its stream has another fingerprint than {made['fingerprint']}"
        share = formula_share(made, device)
        if share is not None and abs(share - 1) > FORMULA_TOLERANCE:
            yield f"{made['name']}: clocks by formula over Ramulator's are {share:.4f}"
        for key, clocks in idle_by_formula(made, device).items():
            if made["idle"][key] is not None and made["idle"][key]["p50"] != clocks:
                yield f"{made['name']}: idle {key} p50 {made['idle'][key]['p50']}, not {clocks}"


def compact(value, indent=0):
    """JSON with one line for each innermost object or list."""
    nested = isinstance(value, (dict, list)) and any(
        isinstance(item, (dict, list)) for item in
        (value.values() if isinstance(value, dict) else value))
    if not nested or indent > 3:
        return json.dumps(value)
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        body = [f"{pad}{json.dumps(k)}: {compact(v, indent + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(body) + "\n" + " " * indent + "}"
    body = [pad + compact(item, indent + 1) for item in value]
    return "[\n" + ",\n".join(body) + "\n" + " " * indent + "]"


def peak_bytes_per_s(device, shape):
    return device["rate_mt_per_s"] * 1e6 * device["bus_width_bits"] / 8 * shape["sub_channels"]


def table(vectors):
    print("| pattern | GB/s | of peak | read ns: mean, p50, p99 | idle read ns | idle write ns |"
          " row hits, misses, conflicts | refreshes | formula |")
    print("|---|---|---|---|---|---|---|---|---|")
    for made in vectors["patterns"]:
        device = vectors["devices"][made["device"]]
        ns = device["tCK_ps"] / 1000
        loaded, reads = made["loaded"], made["loaded"]["read_clocks"]
        idle = [made["idle"][key] for key in ("read_clocks", "write_clocks")]
        idle = [f"{one['mean'] * ns:.2f}" if one else "" for one in idle]
        latency = ", ".join(f"{reads[key] * ns:.1f}" for key in ("mean", "p50", "p99")) \
            if reads else ""
        share = loaded["bytes_per_s"] / peak_bytes_per_s(device, made)
        formula = formula_share(made, device)
        print(f"| `{made['name']}` | {loaded['bytes_per_s'] / 1e9:.2f} | {share:.3f} | {latency} | "
              f"{idle[0]} | {idle[1]} | {loaded['row_hits']}, {loaded['row_misses']}, "
              f"{loaded['row_conflicts']} | {loaded['commands']['REFab']} | "
              f"{'' if formula is None else f'{formula:.4f}'} |")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=pathlib.Path)
    parser.add_argument("--driver")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--speed", metavar="PROGRAM")
    given = parser.parse_args()
    runs = given.source is not None and given.driver is not None
    if not runs and (given.speed or not (given.table or given.check)):
        parser.error("--source and --driver are needed, but for --table and --check")
    given.runs = runs
    return given


def main():
    given = parse_arguments()
    if given.table:
        table(json.loads(VECTORS.read_text(encoding="utf-8")))
        return 0
    if not given.runs:
        problems = list(problems_of(json.loads(VECTORS.read_text(encoding="utf-8"))))
        print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
        return 1 if problems else 0
    ramulator = import_ramulator(given.source)
    wanted = given.only.split(",") if given.only else [shape["name"] for shape in PATTERNS]
    if given.speed:
        shapes = [shape for shape in PATTERNS if shape["name"] in wanted]
        return int(not print_speeds(ramulator, given.driver, given.speed, shapes))
    made = []
    for shape in PATTERNS:
        if shape["name"] in wanted:
            made.append(run_pattern(ramulator, given.driver, shape))
            print(f"{shape['name']}: {made[-1]['loaded']['bytes_per_s'] / 1e9:.2f} GB/s",
                  file=sys.stderr)
    used = sorted({one["device"] for one in made})
    vectors = {
        "simulator": "Ramulator 2.1", "commit": commit_of(given.source),
        "devices": {name: describe_device(ramulator, name) for name in used}, "patterns": made,
    }
    text = compact(vectors) + "\n"
    if given.only:
        print(text, end="")
    elif given.check:
        if VECTORS.read_text(encoding="utf-8") != text:
            print(f"{VECTORS}: differs from what Ramulator 2 makes", file=sys.stderr)
            return 1
    else:
        VECTORS.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
