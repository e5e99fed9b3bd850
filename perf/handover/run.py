#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hands a prefill over from one process to another through a box, layer by layer (real figures).

Starts a box, then for each repeat a consumer, which waits, and a producer. The consumer's time and
the producer's both begin with the producer's first layer; the bar is that the consumer ends within
1.2 of the producer's time, and that no layer was there only after a later one. Then a producer is
killed midway: the consumer has to hear of a miss, soon, with right bytes so far, and the next
lookup to find nothing. Prints a table, and ends with status 1 if a bar is missed; or JSON, and
leaves that to who reads it.
"""

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEFAULT_WORKER = Path(__file__).resolve().parents[2] / "build/perf/bin/perf_handover"
RATIO_MAX = 1.2
START_SECONDS_MAX = 20
RUN_SECONDS_MAX = 120
MISS_SECONDS_MAX = 5


class Failure(Exception):
    pass


def first_line(process, what):
    readable, _, _ = select.select([process.stdout], [], [], START_SECONDS_MAX)
    line = process.stdout.readline() if readable else ""
    if not line:
        process.kill()
        raise Failure(f"{what} was not ready: {process.stderr.read()}")
    return json.loads(line)


class Handover:
    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.worker = arguments.worker
        self.box = subprocess.Popen(
            [arguments.program, "serve", "--json", "--preset", "laptop", "--tcp-port-base", "0",
             "--control-socket", str(Path(folder) / "box.sock"),
             "--channel-size", "1GiB", "--backing-limit", "6GiB"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        first_line(self.box, "the box")
        self.address = f"unix:{Path(folder) / 'box.sock'}"

    def stop(self):
        self.box.terminate()
        self.box.communicate(timeout=START_SECONDS_MAX)

    def start(self, side, prefix, *options):
        given = self.arguments
        return subprocess.Popen(
            [self.worker, side, "--connect", self.address, "--prefix", prefix,
             "--layers", str(given.layers), "--blocks", str(given.blocks),
             "--layer-bytes", str(given.layer_bytes), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def finish(process, what, status=0):
        output, errors = process.communicate(timeout=RUN_SECONDS_MAX)
        if process.returncode != status:
            raise Failure(f"{what} ended with {process.returncode}: {errors}{output}")
        return json.loads(output.strip().splitlines()[-1])

    def hand_over(self, prefix, layer_ms):
        consumer = self.start("consume", prefix)
        first_line(consumer, "the consumer")
        producer = self.start("produce", prefix, "--layer-ms", str(layer_ms))
        made = self.finish(producer, "the producer")
        got = self.finish(consumer, "the consumer")
        produced_s = (made["ended_ns"] - made["begun_ns"]) / 1e9
        consumed_s = (got["ended_ns"] - made["begun_ns"]) / 1e9
        return {"reserved_s": (made["begun_ns"] - made["reserving_ns"]) / 1e9,
                "produced_s": produced_s, "consumed_s": consumed_s,
                "ratio": consumed_s / produced_s,
                "first_layer_ms": (got["first_layer_ns"] - made["begun_ns"]) / 1e6,
                "gb_per_s": got["bytes"] / consumed_s / 1e9,
                "layers_out_of_order": got["layers_out_of_order"],
                "wrong_bytes": got["wrong_bytes"]}

    def kill_midway(self, prefix):
        consumer = self.start("consume", prefix, "--report", str(self.arguments.layers // 2))
        first_line(consumer, "the consumer")
        producer = self.start("produce", prefix, "--layer-ms", "50")
        first_line(consumer, "half of the prefill")
        if producer.poll() is not None:
            raise Failure(f"the producer was over too early: {producer.stderr.read()}")
        producer.kill()
        producer.communicate()
        begun = time.monotonic()
        got = self.finish(consumer, "the consumer of a killed producer", 2)
        seconds = time.monotonic() - begun
        late = self.start("consume", prefix, "--wait-s", "0")  # ends at once: no line is waited for
        nothing = self.finish(late, "the late consumer", 2)
        return {"layers": got["layers"], "status": got["status"], "seconds": seconds,
                "bytes_checked": got["bytes"], "wrong_bytes": got["wrong_bytes"],
                "afterwards": nothing["status"]}


def judge(results, with_times):
    findings = []
    for case in rows_of(results)[:-1]:
        pace = f"{case['layer_ms']:g} ms a layer"
        if with_times:
            findings.append((f"{pace}: consumer / producer {case['ratio']:.3f} "
                             f"({case['ratio_min']:.3f} to {case['ratio_max']:.3f}; "
                             f"at most {RATIO_MAX})", case["ratio"] <= RATIO_MAX))
            # Which of two reads ends first is a matter of time too.
            findings.append((f"{pace}: {case['layers_out_of_order']} layers after a later one",
                             case["layers_out_of_order"] == 0))
        findings.append((f"{pace}: no wrong byte", case["wrong_bytes"] == 0))
    killed = results["killed"]
    findings.append((f"killed midway: {killed['bytes_checked']} bytes had arrived, none wrong",
                     killed["bytes_checked"] > 0 and killed["wrong_bytes"] == 0))
    findings.append((f"killed midway: {killed['layers']} layers, then {killed['status']} after "
                     f"{killed['seconds']:.2f} s; afterwards {killed['afterwards']}",
                     killed["status"] in ("not_found", "key_revoked")
                     and killed["seconds"] <= MISS_SECONDS_MAX
                     and killed["afterwards"] == "not_found"))
    return findings


def rows_of(results):
    """For scripts/check_figures.py: one row per pace, and one for the killed producer."""
    rows = []
    for case in results["cases"]:
        ratios = [run["ratio"] for run in case["runs"]]
        median = statistics.median(ratios)
        rows.append({"layer_ms": case["layer_ms"], "ratio": median,
                     "ratio_min": min(ratios), "ratio_max": max(ratios),
                     "ratio_mad": statistics.median(abs(ratio - median) for ratio in ratios),
                     "layers_out_of_order": sum(run["layers_out_of_order"]
                                                for run in case["runs"]),
                     "wrong_bytes": sum(run["wrong_bytes"] for run in case["runs"])})
    return [*rows, results["killed"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=os.environ.get("GODBOX_PROGRAM"), help="godbox")
    parser.add_argument("--worker", default=os.environ.get("GODBOX_HANDOVER", DEFAULT_WORKER),
                        help="perf_handover")
    parser.add_argument("--layers", type=int, default=80)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--layer-bytes", type=int, default=2 << 20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true",
                        help="a few small layers, times not judged: does it work?")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.program:
        parser.error("--program is needed, or GODBOX_PROGRAM")
    if not Path(arguments.worker).exists():
        parser.error(f"--worker: {arguments.worker}: no such program; build perf_handover")
    if arguments.small:
        arguments.layers, arguments.blocks, arguments.layer_bytes = 12, 2, 96 << 10
        arguments.repeats = 1
    with tempfile.TemporaryDirectory(prefix="godbox-handover-") as folder:
        handover = Handover(arguments, folder)
        try:
            cases = []
            for layer_ms in (0, 10):
                runs = [handover.hand_over(f"{layer_ms}/{i}", layer_ms)
                        for i in range(arguments.repeats)]
                cases.append({"layer_ms": layer_ms, "runs": runs})
            results = {"schema": "godbox-handover-1", "mode": "real", "layers": arguments.layers,
                       "blocks": arguments.blocks, "layer_bytes": arguments.layer_bytes,
                       "cases": cases, "killed": handover.kill_midway("killed")}
        except (Failure, subprocess.TimeoutExpired) as failure:
            print(f"handover: {failure}", file=sys.stderr)
            return 1
        finally:
            handover.stop()
    findings = judge(results, not arguments.small)
    if arguments.json:
        results["rows"] = rows_of(results)
        results["findings"] = [{"what": what, "holds": holds} for what, holds in findings]
        print(json.dumps(results))
        return 0
    else:
        for case in results["cases"]:
            for run in case["runs"]:
                print(f"{case['layer_ms']:3g} ms a layer  reserved in {run['reserved_s']:.3f} s, "
                      f"produced in {run['produced_s']:.3f} s, "
                      f"consumed in {run['consumed_s']:.3f} s ({run['gb_per_s']:.2f} GB/s, real), "
                      f"first layer after {run['first_layer_ms']:.1f} ms")
        for what, holds in findings:
            print(f"{'holds' if holds else 'MISS '}  {what}")
    return 0 if all(holds for _, holds in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
