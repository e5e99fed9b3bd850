#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two VMs as inference hosts of one box. Each has CXL memory of its own, on line as NUMA nodes, for
the KV cache it works with, and the box's DRAM channels as dax devices for what it spills. The first
one decodes, spills and fetches; the second one, which boots when the first is gone, finds the
first one's prefix in the pool. All times are emulated.

usage: run.py --program GODBOX --host INFERENCE_HOST [--nodes N] [--json FILE] ... [-- option...]
Options behind -- go to inference_host (docs/inference.md).
"""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

BOOT_LIMIT_S = 400
RUN_LIMIT_S = 1500
STOP_LIMIT_S = 40
EXIT_WRONG, EXIT_FAILED = 1, 3
# The machine that runs a VM, as its guest reaches it.
HOST_ADDRESS = "10.0.2.2"
GUEST_FIGURES = "/tmp/inference.json"


class Failed(Exception):
    pass


def die_with_parent():
    """In a child: the kernel ends it with this process, however that ends."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def say(text):
    print(text, flush=True)


class Box:
    """`godbox serve`, whose memory VMs may have."""

    def __init__(self, program, options, folder):
        self.socket = os.path.join(folder, "control.sock")
        self.process = subprocess.Popen(
            [program, "serve", *options, "--map-memory", "cxl", "--tcp-port-base", "0",
             "--control-socket", self.socket, "--json"], stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)
        line = self.process.stdout.readline()
        if not line:
            raise Failed("godbox serve did not start; it said why above")
        self.port = json.loads(line)["eth_ports"][0].rsplit(":", 1)[1]

    def doors(self):
        return [f"dax:{HOST_ADDRESS}:{self.port}", f"tcp:{HOST_ADDRESS}:{self.port}"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(STOP_LIMIT_S)


class Guest:
    """A VM with the pool's channels as dax devices and `nodes` NUMA nodes of its own."""

    def __init__(self, options, box, number):
        self.program = options.program
        self.name = f"inference-{os.getpid()}-{number}"
        command = [self.program, "vm", "run", "--name", self.name, "--pool", box.socket,
                   "--up", "dax", "--accelerator", options.accelerator,
                   "--guest-memory", options.guest_memory, "--boot-timeout", str(BOOT_LIMIT_S)]
        if options.nodes > 0:
            command += ["--hot-plug-slots", str(options.nodes)]
        if options.qemu:
            command += ["--qemu", options.qemu]
        self.process = subprocess.Popen(command, preexec_fn=die_with_parent)
        try:
            self.wait()
            self.add_nodes(options.nodes)
        except BaseException:
            self.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def wait(self):
        end = time.monotonic() + BOOT_LIMIT_S
        while time.monotonic() < end and self.process.poll() is None:
            probe = subprocess.run(self.command("exec", "--", "true"), capture_output=True,
                                   check=False)
            if probe.returncode == 0:
                return
            time.sleep(0.5)
        raise Failed("the VM is not ready; it said why above")

    def command(self, verb, *arguments):
        return [self.program, "vm", verb, "--name", self.name, *arguments]

    def ask(self, verb, *arguments):
        result = subprocess.run(self.command(verb, "--json", *arguments), stdout=subprocess.PIPE,
                                text=True, check=False)
        if result.returncode != 0:
            raise Failed(f"godbox vm {verb} ended with exit status {result.returncode}")
        return json.loads(result.stdout)

    def add_nodes(self, count):
        for _ in range(count):
            self.ask("attach")
        if count > 0:
            self.run([self.program, "cxl", "up", "--as", "numa", "--owner", "bound"], shown=False)

    def run(self, command, shown=True, allowed=(0,)):
        result = subprocess.run(self.command("exec", "--", *command), text=True, check=False,
                                stdout=None if shown else subprocess.PIPE, timeout=RUN_LIMIT_S)
        if result.returncode not in allowed:
            raise Failed(f"in the guest: {command[0]} ended with exit status {result.returncode}")
        return result.stdout

    def describe(self):
        status = self.ask("status")
        patched = "patched" if status["qemu_patched"] else "stock"
        return (f"{patched} QEMU {status['qemu_version']} under {status['accelerator'].upper()}, "
                f"{status['channels']} DRAM channels of the pool as dax devices, "
                f"{len(status['attached'])} bound ones as NUMA nodes"), status

    def end(self):
        if self.process.poll() is None:
            subprocess.run(self.command("stop"), check=False, capture_output=True)
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run_guest(options, box, number, command):
    """Boots, runs one of inference_host's commands, and gives its figures."""
    begin = time.monotonic()
    with Guest(options, box, number) as guest:
        text, status = guest.describe()
        say(f"guest {number}, up after {time.monotonic() - begin:.0f} s: {text}")
        doors = [word for door in box.doors() for word in ("--connect", door)]
        guest.run([options.host, command, "--json", GUEST_FIGURES, *doors, *options.more],
                  allowed=(0, EXIT_WRONG))
        figures = json.loads(guest.run(["cat", GUEST_FIGURES], shown=False))
    figures["guest"] = {key: status[key] for key in
                        ("qemu", "qemu_version", "qemu_patched", "accelerator", "channels")}
    wanted = options.nodes if options.nodes > 0 else 0
    if len(figures["nodes"]) != wanted:
        figures["problems"].append(f"the guest has {len(figures['nodes'])} CXL nodes, not {wanted}")
    return figures


def open_figures(path):
    """The file for all figures, before minutes of work are lost for it; None without one."""
    try:
        return open(path, "w", encoding="utf-8") if path else None
    except OSError as error:
        raise Failed(f"--json: {path} cannot be written: {error.strerror}") from error


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--program", required=True, type=os.path.abspath, help="godbox")
    parser.add_argument("--host", required=True, type=os.path.abspath, help="inference_host")
    parser.add_argument("--nodes", type=int, default=2, choices=range(0, 9), metavar="0..8",
                        help="CXL NUMA nodes of each guest; 0: its own DRAM alone (default: 2)")
    parser.add_argument("--preset", default="laptop", help="of the box (default: laptop)")
    parser.add_argument("--channels", type=int,
                        help="a box of one SuperNIC with so many DRAM channels instead")
    parser.add_argument("--guest-memory", default="1GiB")
    parser.add_argument("--accelerator", default="auto", choices=("auto", "tcg", "kvm"))
    parser.add_argument("--qemu", help="another QEMU than godbox vm takes by itself")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("more", nargs="*", help="for inference_host, behind --")
    return parser.parse_args()


def main():
    options = parse()
    box_options = ["--preset", options.preset]
    if options.channels is not None:
        box_options += ["--super-nics", "1", "--channels", str(options.channels),
                        "--ports", "1"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        file = open_figures(options.json)
        with tempfile.TemporaryDirectory(prefix="godbox-inference-") as folder, \
                Box(options.program, box_options, folder) as box:
            first = run_guest(options, box, 1, "decode")
            second = run_guest(options, box, 2, "reuse")
    except KeyboardInterrupt:
        print("inference: FAILED (interrupted)", file=sys.stderr)
        return 128 + signal.SIGINT
    except (Failed, subprocess.TimeoutExpired) as failure:
        print(f"inference: FAILED ({failure})", file=sys.stderr)
        return EXIT_FAILED
    problems = first["problems"] + second["problems"]
    if file:
        try:
            with file:
                json.dump({"schema": "godbox-vm-inference-1", "mode": "emulated", "first": first,
                           "second": second, "problems": problems}, file, indent=1)
                file.write("\n")
        except OSError as error:
            print(f"inference: FAILED ({options.json} cannot be written: {error.strerror})",
                  file=sys.stderr)
            return EXIT_FAILED
    say("inference: ok" if not problems else f"inference: WRONG ({'; '.join(problems)})")
    return EXIT_WRONG if problems else 0


if __name__ == "__main__":
    sys.exit(main())
