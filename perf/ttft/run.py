#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what reuse of KV is worth: the time to a prompt's first token, computed and loaded.

A decoder of a real geometry with random weights computes a prefill and stores its KV through
godbox's library; later it takes 0, 50, 90 and 100 % of it from the pool instead. docs/gpu.md says
how, and what each field of the result means. Exit status 0 when all was measured and every result
was right, 1 when one was not, 4 when PyTorch is not on this machine, 2 for a mistake in the command
line.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.dont_write_bytecode = True
EXIT_WRONG, EXIT_USAGE, EXIT_SKIPPED = 1, 2, 4
ROOT = Path(__file__).resolve().parents[2]
SERVE_SECONDS_MAX = 60
GIB = 1 << 30
DRAM_CHANNELS = 18


def parse_numbers(least: int, most: int):
    def parse(text: str) -> list[int]:
        words = text.split(",")
        if not all(word.isdecimal() and least <= int(word) <= most for word in words):
            raise argparse.ArgumentTypeError(f'"{text}" is no list of numbers {least} to {most}')
        return [int(word) for word in words]
    return parse


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/godbox",
                        help="godbox, which serves the pool")
    parser.add_argument("--library", type=Path, default=ROOT / "build/release/lib/libgodbox.so",
                        help="the library with the C API")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"),
                        help="auto: cuda where PyTorch has it; cuda and absent is an error")
    parser.add_argument("--model", default="llama-3.1-8b", help="whose geometry")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--tokens", type=parse_numbers(64, 1 << 20), default=[8192, 32768, 131072],
                        help="lengths of the prompt")
    parser.add_argument("--hits", type=parse_numbers(0, 100), default=[0, 50, 90, 100],
                        help="per cent of the prompt that the pool has")
    parser.add_argument("--chunk", type=int, default=2048, help="tokens of a step of the prefill")
    parser.add_argument("--block-tokens", type=int, default=16)
    parser.add_argument("--object-tokens", type=int, default=256, help="of an object in the pool")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--capped-layers", type=int, default=4,
                        help="of each half of the capped cache; 0: it is not measured")
    parser.add_argument("--capped-tokens", type=int, default=32768,
                        help="the longest prompt that the capped cache is measured with")
    parser.add_argument("--transport", default="local", choices=("local", "tcp"))
    parser.add_argument("--time-limit", type=float, default=60,
                        help="seconds after which one figure gets no further repeat")
    parser.add_argument("--budget", type=float, default=3600,
                        help="seconds after which no further length of prompt begins")
    parser.add_argument("--direct", action="store_true",
                        help="it is wrong when bytes go to the pool by way of staging")
    parser.add_argument("--box", default="emfasys18", help="that the modelled figure is of")
    parser.add_argument("--host-link", type=float, default=50,
                        help="GB/s of the host's network link in the model (50: 400 Gb/s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true",
                        help="a geometry and lengths for a processor, to see that it works")
    parser.add_argument("--json", type=Path, help="a file for the result; else it is printed")
    parser.add_argument("--plot", type=Path, help="a file for a plot of it (SVG)")
    options = parser.parse_args()
    if options.small:
        options.model, options.tokens, options.chunk = "tiny", [64, 160], 48
        options.block_tokens, options.object_tokens = 4, 16
        options.repeats, options.capped_layers = 1, 1
    for name in ("program", "library"):
        if not getattr(options, name).is_file():
            parser.error(f"--{name}: {getattr(options, name)} is not there; build it first")
    if options.object_tokens % options.block_tokens:
        parser.error("--object-tokens: no multiple of --block-tokens")
    if any(tokens % options.object_tokens for tokens in options.tokens):
        parser.error(f"--tokens: each must be a multiple of {options.object_tokens}")
    return options


@contextlib.contextmanager
def serve(program: Path, pool_bytes: int, transport: str) -> Iterator[str]:
    """A box of this machine's memory; gives the address to connect to. Its DRAM channels are no
    larger than they have to be: on a direct path the GPU pins all of them."""
    unit = 64 << 20
    channel_mib = (pool_bytes // DRAM_CHANNELS // unit + 1) * (unit >> 20)
    with tempfile.TemporaryDirectory(prefix="godbox-ttft-") as folder:
        socket = Path(folder) / "control.sock"
        server = subprocess.Popen(
            [program, "serve", "--json", "--preset", "emfasys18", "--tcp-port-base", "0",
             "--channel-size", f"{channel_mib}MiB", "--backing-limit",
             f"{channel_mib * DRAM_CHANNELS}MiB", "--control-socket", socket],
            stdout=subprocess.PIPE, text=True)
        try:
            line = server.stdout.readline()
            if not line:
                raise RuntimeError("godbox serve did not start; it said why above")
            yield f"local:{socket}" if transport == "local" else f"unix:{socket}"
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=SERVE_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def choose_device(asked: str, torch) -> str:
    if asked == "cuda" and not torch.cuda.is_available():
        print("ttft: --device cuda: PyTorch sees no CUDA device here", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def describe(torch, device: str) -> dict:
    if device == "cuda":
        return {"kind": "cuda", "name": torch.cuda.get_device_name()}
    return {"kind": "cpu", "name": f"no GPU: {platform.machine()}, {os.cpu_count()} cores, "
                                   f"{torch.get_num_threads()} threads"}


def memory_bytes() -> int:
    """Of the machine, now: some have more of it once it is used."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def is_direct(data_path: str) -> bool:
    return not data_path.startswith("staged")


def problems_of(row: dict) -> list[str]:
    found = []
    if not row["logits"]["within_tolerance"]:
        found.append("logits differ by more than the tolerance")
    if not row["logits"]["token_equal"]:
        found.append("another first token")
    if row["objects_failed"] or row.get("store", {}).get("failed"):
        found.append("objects failed")
    if row["objects_found"] != [row["objects_expected"]]:
        found.append(f"found {row['objects_found']} objects, not {row['objects_expected']}")
    if row.get("kv_equal") is False:
        found.append("KV differs from the computed one")
    return found


def measure(options: argparse.Namespace) -> dict:
    import torch

    import model
    from decoder import GEOMETRIES, Decoder
    from experiment import Experiment, Plan, copy_ceiling
    from pool import Pool

    if options.model not in GEOMETRIES:
        print(f"ttft: --model: known are {', '.join(GEOMETRIES)}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    geometry = GEOMETRIES[options.model]
    if options.capped_layers and geometry.layers % options.capped_layers:
        print(f"ttft: --capped-layers: {geometry.layers} layers are no multiple", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    device = choose_device(options.device, torch)
    dtype = getattr(torch, options.dtype)
    if options.small:
        torch.set_num_threads(1)  # more of them only wait for each other at such sizes

    def say(text: str) -> None:
        print(f"ttft: {time.perf_counter() - begin:7.1f} s  {text}", file=sys.stderr, flush=True)

    begin = time.perf_counter()
    ceiling = copy_ceiling(device)
    rates = model.box_rates(options.program)
    decoder = Decoder(geometry, device, dtype, options.seed)
    say(f"{geometry.name}, {geometry.parameters / 1e9:.2f} G parameters on {device}, attention: "
        f"{decoder.attention_name}")
    kv_bytes = geometry.kv_bytes_per_token(torch.empty(0, dtype=dtype).element_size())
    # All lengths are stored, once whole and perhaps once in groups of layers; a quarter is room.
    stored = sum(tokens * (2 if tokens <= options.capped_tokens else 1)
                 for tokens in options.tokens)
    pool_bytes = int(1.25 * kv_bytes * stored) + GIB
    result = {
        "schema": "godbox-ttft-1", "mode": "real", "device": describe(torch, device),
        "torch": torch.__version__, "model": geometry.name, "parameters": geometry.parameters,
        "dtype": options.dtype, "weights": "random", "attention": decoder.attention_name,
        "transport": options.transport, "chunk": options.chunk,
        "block_tokens": options.block_tokens, "object_tokens": options.object_tokens,
        "seed": options.seed, "ceiling": ceiling,
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(),
                    "memory_bytes": memory_bytes(),
                    "load_1min": os.getloadavg()[0]},
        "not_run": [], "rows": [],
    }
    asked = time.perf_counter()
    with serve(options.program, pool_bytes, options.transport) as address, \
            Pool(options.library, address, device) as pool:
        result["library_device"], result["data_path"] = pool.device_name, pool.data_path
        say(f"{memory_bytes() / GIB:.0f} GiB of memory; a pool of {pool_bytes / GIB:.0f} GiB was "
            f"reached after {time.perf_counter() - asked:.1f} s: {pool.data_path}")
        if options.direct and not is_direct(pool.data_path):
            result["not_direct"] = pool.data_path
            say(f"WRONG: the path is not direct: {pool.data_path}")
        for tokens in options.tokens:
            if time.perf_counter() - begin > options.budget:
                result["not_run"].append({"tokens": tokens, "why": "the budget was used up"})
                continue
            capped = options.capped_layers if tokens <= options.capped_tokens else 0
            plan = Plan(options.chunk, options.block_tokens, options.object_tokens, options.hits,
                        options.repeats, capped, options.seed, options.time_limit)
            rows = Experiment(decoder, pool, plan, say).measure(tokens)
            model.add(rows, geometry.layers, options.box, rates[options.box], options.host_link,
                      ceiling["to_device_gb_per_s"] if device == "cuda" else None)
            for row in rows:
                row["problems"] = problems_of(row)
            result["rows"] += rows
            result["seconds"] = time.perf_counter() - begin
            write(options, result)  # so that a run that is cut short leaves what it had
    if result["rows"]:
        write(options, result)
    return result


def write(options: argparse.Namespace, result: dict) -> None:
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    if options.plot:
        import plot
        options.plot.write_text(plot.render(result))


def print_table(result: dict) -> None:
    print(f"{result['model']}, {result['dtype']}, {result['device']['name']}, "
          f"pool over {result['transport']}; {result['ceiling']['what']}: "
          f"{result['ceiling']['to_device_gb_per_s']:.1f} GB/s; times are real, the last column "
          "is modelled")
    print(f"{'cache':>7} {'tokens':>7} {'hit':>5} {'recompute':>11} {'with pool':>11} "
          f"{'ratio':>6} {'bits':>5} {'token':>5} {'model':>11}")
    for row in result["rows"]:
        print(f"{row['cache']:>7} {row['tokens']:7d} {row['hit_percent']:4d}% "
              f"{row['recompute']['median_s'] * 1e3:8.1f} ms "
              f"{row['with_pool']['median_s'] * 1e3:8.1f} ms {row['of_recompute']:6.3f} "
              f"{'same' if row['logits']['equal_bits'] else 'near':>5} "
              f"{'same' if row['logits']['token_equal'] else 'OTHER':>5} "
              f"{row['modelled']['seconds'] * 1e3:8.1f} ms"
              f"{'  WRONG: ' + '; '.join(row['problems']) if row['problems'] else ''}")


def main() -> int:
    options = parse_arguments()
    # Streams that share a hardware queue wait for each other; the driver reads it when it starts.
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        print(f"SKIP: PyTorch is not on this machine: {error}")
        return EXIT_SKIPPED
    result = measure(options)
    if options.json:
        print_table(result)
    else:
        print(json.dumps(result, indent=1, allow_nan=False))
    is_wrong = "not_direct" in result or any(row["problems"] for row in result["rows"])
    return EXIT_WRONG if is_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
