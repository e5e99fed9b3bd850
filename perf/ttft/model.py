# SPDX-License-Identifier: Apache-2.0
"""What a real box would make of a measured row: modelled, never measured.

The rate is the least of the box's (all its DRAM channels, CXL links and Ethernet ports, as
`godbox bench --workload session` prints it from its model), the host's network link and, with a
GPU, the measured pinned copy. Each layer is computed once its bytes are there and the layer before
it is done; the compute times are the measured ones of this machine.
"""

import json
import subprocess
from pathlib import Path

ROUND_TRIPS_S = 3 * 10e-6  # look up, first read, and its answer, through a switch


def box_rates(program: Path) -> dict[str, float]:
    """GB/s of each modelled box with all of its channels and ports."""
    done = subprocess.run(
        [program, "bench", "--workload", "session", "--transport", "tcp", "--op", "read", "--json",
         "--working-set", "32MiB", "--repeats", "1", "--sizes", "1MiB"],
        capture_output=True, text=True, timeout=120, check=True)
    rates: dict[str, float] = {}
    for row in json.loads(done.stdout)["rows"]:
        if row["kind"] == "modelled":
            rates[row["box"]] = max(rates.get(row["box"], 0.0), row["modelled_gb_per_s"])
    return rates


def time_to_first_token(row: dict, layers: int, gb_per_s: float) -> float:
    load_s = row["load_bytes"] / layers / gb_per_s / 1e9
    compute_s = row["suffix_alone"]["median_s"]
    first_s = compute_s * row["first_step_share"]
    done_s = 0.0
    for layer in range(layers):
        there_s = ROUND_TRIPS_S + (layer + 1) * load_s if row["load_bytes"] else 0.0
        done_s = max(done_s, there_s) + first_s / layers
    return done_s + compute_s - first_s


def add(rows: list[dict], layers: int, box: str, box_gb_per_s: float, link_gb_per_s: float,
        copy_gb_per_s: float | None) -> None:
    bounds = {"box": box_gb_per_s, "host's link": link_gb_per_s}
    if copy_gb_per_s is not None:
        bounds["pinned copy, measured"] = copy_gb_per_s
    bound = min(bounds, key=bounds.get)
    for row in rows:
        seconds = time_to_first_token(row, layers, bounds[bound])
        row["modelled"] = {
            "kind": "modelled", "box": box, "gb_per_s": bounds[bound], "bound": bound,
            "seconds": seconds, "of_recompute": seconds / row["recompute"]["median_s"]}
