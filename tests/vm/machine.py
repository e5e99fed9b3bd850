# SPDX-License-Identifier: Apache-2.0
"""A VM of `godbox vm run` as tests use it: booted once, told commands, always ended."""

import ctypes
import json
import os
import signal
import subprocess
import time

BOOT_LIMIT_S = 200
SKIPPED = 77


def die_with_parent():
    """In a child: the kernel kills it when the test ends, however it ends."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def why_not(godbox):
    """Why no VM can boot here; empty when one can."""
    probe = subprocess.run([godbox, "vm", "run", "--preset", "laptop", "--guest-image", "/nowhere",
                            "--name", f"probe-{os.getpid()}", "--", "true"],
                           capture_output=True, text=True, check=False, timeout=60,
                           preexec_fn=die_with_parent)
    if "no guest kernel" not in probe.stderr:
        return probe.stderr.strip().splitlines()[-1]
    folder = os.environ.get("GODBOX_GUEST_IMAGE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "godbox", "guest")
    if not os.path.exists(os.path.join(folder, "version")):
        return f"no guest image in {folder}; scripts/guest-image makes it"
    return ""


def why_not_patched():
    """Why the QEMU of qemu-patches/build is not used here; empty when it is."""
    folder = os.environ.get("GODBOX_QEMU") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "godbox", "qemu")
    program = os.path.join(folder, "current", "qemu-system-x86_64")
    return "" if os.access(program, os.X_OK) else f"needs {program}, which qemu-patches/build makes"


class Machine:
    """`with Machine(godbox, ["--preset", "laptop"]) as machine: machine.run([...])`"""

    names = 0

    def __init__(self, godbox, options):
        Machine.names += 1
        self.godbox = godbox
        self.name = f"test-{os.getpid()}-{Machine.names}"
        self.process = subprocess.Popen([godbox, "vm", "run", "--name", self.name, *options],
                                        preexec_fn=die_with_parent)

    def __enter__(self):
        try:
            self.wait()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def wait(self):
        end = time.monotonic() + BOOT_LIMIT_S
        while time.monotonic() < end and self.process.poll() is None:
            if self.run(["true"], quiet=True).returncode == 0:
                return
            time.sleep(0.5)
        raise AssertionError("the VM is not ready")

    def run(self, command, quiet=False, limit_s=240):
        return subprocess.run([self.godbox, "vm", "exec", "--name", self.name, "--", *command],
                              stdout=subprocess.PIPE, text=True, timeout=limit_s, check=False,
                              stderr=subprocess.DEVNULL if quiet else None)

    def output(self, command, limit_s=240):
        result = self.run(command, limit_s=limit_s)
        assert result.returncode == 0, (command, result.returncode, result.stdout)
        return result.stdout

    def json(self, command, limit_s=240):
        return json.loads(self.output(command, limit_s))

    def tell(self, verb, *options):
        """vm attach, detach, status."""
        result = subprocess.run(
            [self.godbox, "vm", verb, "--name", self.name, "--json", *options],
            stdout=subprocess.PIPE, text=True, timeout=180, check=False)
        assert result.returncode == 0, (verb, result.stdout)
        return json.loads(result.stdout)

    def qemu(self):
        return self.tell("status")["process"]

    def end(self):
        if self.process.poll() is None:
            subprocess.run([self.godbox, "vm", "stop", "--name", self.name], check=False)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Box:
    """A box of `godbox serve` as VMs have it: its memory, or logical devices of it."""

    def __init__(self, godbox, folder, *options):
        self.godbox = godbox
        self.socket = os.path.join(folder, "control.sock")
        self.process = subprocess.Popen(
            [godbox, "serve", "--preset", "laptop", "--tcp-port-base", "0", "--control-socket",
             self.socket, "--json", *options], stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)
        ready = json.loads(self.process.stdout.readline())
        self.port = ready["eth_ports"][0].rsplit(":", 1)[1]

    def run(self, *arguments):
        return subprocess.run([self.godbox, *arguments, "--connect", f"unix:{self.socket}"],
                              capture_output=True, text=True, check=False, timeout=300)

    def json(self, *arguments):
        result = self.run(*arguments, "--json")
        assert result.returncode == 0, (arguments, result.returncode, result.stderr)
        return json.loads(result.stdout)

    def end(self):
        self.process.terminate()
        self.process.wait(20)
