#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An unmodified RDMA client against `godbox serve`: a guest of Debian's kernel with a rxe device on
a virtio network card, whose frames go through datagram sockets to a RoCE port of the box. A client
over librdmacm and libibverbs (pool_client) joins a session of the pool, and writes, reads and adds
there with its key. tshark, where there is one, looks at each frame.

usage: roce_test.py GODBOX [POOL_CLIENT] [--vhost] [--frames FILE]
Without POOL_CLIENT nothing is tested (exit status 77). --vhost: the frames go by DPDK's net_vhost
(and past tshark), by two queues, which the box serves by a thread each: the guest's processors say
which one a frame takes. Copies the frames to FILE (pcap).
"""

import argparse
import base64
import json
import os
import queue
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "cli")]
from machine import SKIPPED, die_with_parent  # noqa: E402
from raw_client import RawSession, Vector  # noqa: E402

BOX, BOX_MAC = "10.0.2.2", "02:00:00:00:00:02"
MTU = 4200  # room for packets of 4096 bytes
REGION_BYTES = 192 << 10
VHOST_QUEUES = 2
BOOT_LIMIT_S = 200
COMMAND_LIMIT_S = 120
PORTS = ("control", "stdin", "stdout", "stderr")


def image_folder():
    return os.environ.get("GODBOX_GUEST_IMAGE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "godbox", "guest")


def why_not(*programs):
    """Why nothing can be tested, with what is needed beside these programs; empty: it can."""
    if not os.path.exists(os.path.join(image_folder(), "version")):
        return f"no guest image in {image_folder()}; scripts/guest-image makes it"
    for program in ("qemu-system-x86_64", "rdma", "modprobe", *programs):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return f"{program} is missing; scripts/setup installs it"
    return ""


class Guest:
    """The guest, by the protocol of scripts/guest/init."""

    def __init__(self, folder, network, host=BOX):
        self.lines = queue.Queue()
        self.next_id = 1
        self.output = {"stdout": "", "stderr": ""}
        arguments = ["-device", "virtio-serial-pci"]
        listeners = {}
        for name in PORTS:
            path = os.path.join(folder, name)
            listeners[name] = socket.socket(socket.AF_UNIX)
            listeners[name].bind(path)
            listeners[name].listen(1)
            arguments += ["-chardev", f"socket,id={name},path={path}",
                          "-device", f"virtserialport,chardev={name},name=org.godbox.{name}"]
        image = image_folder()
        self.console = os.path.join(folder, "console")
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-accel", "tcg", "-m", "512M",
             "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
             "-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initramfs",
             "-append", "console=ttyS0 panic=-1 no_timer_check quiet loglevel=5 "
             f"godbox.host={host}",
             "-serial", f"file:{self.console}",
             "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
             "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
             "-fsdev", f"local,id=modules,path={image}/modules,security_model=none,readonly=on",
             "-device", "virtio-9p-pci,fsdev=modules,mount_tag=modules", *arguments, *network],
            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.sockets = {}
        for name in PORTS:
            listeners[name].settimeout(30)
            self.sockets[name] = listeners[name].accept()[0]
            listeners[name].close()
        threading.Thread(target=self.read_control, daemon=True).start()
        for name in ("stdout", "stderr"):
            threading.Thread(target=self.read_output, args=(name,), daemon=True).start()
        self.wait_for("ready", BOOT_LIMIT_S)

    def read_control(self):
        with self.sockets["control"].makefile("r") as lines:
            for line in lines:
                self.lines.put(line.strip())

    def read_output(self, name):
        while data := self.sockets[name].recv(65536):
            self.output[name] += data.decode(errors="replace")

    def wait_for(self, words, limit_s):
        end = time.monotonic() + limit_s
        while True:
            try:
                line = self.lines.get(timeout=max(0.1, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the guest does not say {words!r}: {self.tail()}") from None
            if line.startswith(words):
                return line
            if line.startswith("failed"):
                raise AssertionError(f"{line}: {self.tail()}")

    def tail(self):
        try:
            with open(self.console, errors="replace") as text:
                return text.read()[-2000:]
        except OSError:
            return ""

    def run(self, command, limit_s=COMMAND_LIMIT_S):
        """(exit status, standard output, standard error) of shell text."""
        number, self.next_id = self.next_id, self.next_id + 1
        self.output = {"stdout": "", "stderr": ""}
        text = "export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n" + command + "\n"
        encoded = base64.b64encode(text.encode()).decode()
        self.sockets["control"].sendall(f"exec {number} {encoded}\n".encode())
        status = int(self.wait_for(f"exit {number} ", limit_s).split()[2])
        time.sleep(0.2)  # the streams have ports of their own
        return status, self.output["stdout"], self.output["stderr"]

    def check(self, command, limit_s=COMMAND_LIMIT_S):
        begin = time.monotonic()
        status, out, err = self.run(command, limit_s)
        print(f"guest: {command} ({time.monotonic() - begin:.1f} s): {status}", flush=True)
        assert status == 0, f"{command}: exit status {status}\n{out}\n{err}\n{self.tail()}"
        return out

    def end(self):
        self.process.kill()
        self.process.wait()


class Box:
    """`godbox serve`, and a session there with a region, of which its first extent is used."""

    def __init__(self, program, folder, is_vhost, region_bytes=REGION_BYTES, relay=None):
        self.here, self.there = os.path.join(folder, "box"), os.path.join(folder, "guest")
        # What each end sends to: the other one, or what stands between them.
        self.to_guest, self.to_box = relay or (self.there, self.here)
        self.frames = os.path.join(folder, "frames.pcap")
        self.is_vhost = is_vhost
        several = f"queues={VHOST_QUEUES}"
        wire = f"mtu={MTU},{several}@dpdk:net_vhost0,iface={self.here},{several}" if is_vhost else \
            f"mtu={MTU}@dgram:{self.here},{self.to_guest}"
        control, config = (os.path.join(folder, name) for name in ("box.control", "box.toml"))
        with open(config, "w", encoding="ascii") as file:
            file.write('session_timeout = "1h"\n')  # nothing is heard of it while the guest boots
        self.process = subprocess.Popen(
            [program, "serve", "--json", "--preset", "laptop", "--tcp-port-base", "0",
             "--config", config, "--backing-limit", "256MiB", "--control-socket", control,
             "--threads", str(VHOST_QUEUES),
             "--roce", f"{BOX}/24,mac={BOX_MAC},{wire}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)
        ready = self.process.stdout.readline()
        self.is_skipped = not ready and "without DPDK" in self.process.communicate()[1]
        if self.is_skipped:
            return
        assert json.loads(ready)["ready"]
        self.session = RawSession(f"unix:{control}")
        self.session.send("allocate_region", Vector().u64(region_bytes, "size"))
        status, body = self.session.reply()
        assert status == 0, status
        key, _, slab, self.extent_bytes, offset = struct.unpack_from("<IIIIQ", body)
        address = (slab & (1 << 28) - 1) << 36 | offset
        self.numbers = [f"{number:x}" for number in (
            self.session.session, *self.session.secret, key, address, self.extent_bytes)]

    def network(self):
        if self.is_vhost:
            return ["-object", "memory-backend-memfd,id=ram,size=512M,share=on",
                    "-numa", "node,memdev=ram", "-chardev", f"socket,id=net0,path={self.here}",
                    "-smp", str(VHOST_QUEUES),
                    "-netdev", f"vhost-user,id=net0,chardev=net0,queues={VHOST_QUEUES}",
                    "-device", f"virtio-net-pci,netdev=net0,host_mtu={MTU},romfile=,mq=on,"
                    f"vectors={2 * VHOST_QUEUES + 2}"]
        return ["-netdev", f"dgram,id=net0,local.type=unix,local.path={self.there},"
                f"remote.type=unix,remote.path={self.to_box}",
                "-device", f"virtio-net-pci,netdev=net0,host_mtu={MTU},romfile=",
                "-object", f"filter-dump,id=dump,netdev=net0,file={self.frames},maxlen=65536"]

    def counted(self):
        return self.session.box_status()["roce_ports"][0]

    def end(self):
        self.process.terminate()
        assert self.process.wait(20) == 0, self.process.returncode


def judge_frames(path, connections):
    """Another program's opinion of every frame that went over the wire."""
    if not shutil.which("tshark"):
        print("frames are not looked at: no tshark")
        return
    fields = ["frame.number", "eth.src", "_ws.malformed", "ip.checksum.status",
              "icmp.checksum.status", "frame.protocols", "infiniband.bth.opcode",
              "infiniband.mad.attributeid"]
    lines = subprocess.run(
        ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=;",
         "-o", "ip.check_checksum:TRUE"] + [word for field in fields for word in ("-e", field)],
        capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert lines, "tshark sees no frame"
    counts = {}
    for line in lines:
        number, source, malformed, ip, icmp, protocols, opcode, attribute = line.split(";")
        is_bad = malformed or "0" in (ip, icmp)  # 0: a wrong checksum
        assert not is_bad, f"tshark objects to frame {number}: {line}"
        if source == BOX_MAC:
            what = (protocols.split(":")[-1], opcode, attribute)
            counts[what] = counts.get(what, 0) + 1
    print("frames of the box, by tshark:", counts)
    # Each connection has a REP of the box, or its RTU where the box has asked, and a DREP.
    attributes = {what[2]: count for what, count in counts.items() if what[2]}
    begun = attributes.get("0x0013", 0) + attributes.get("0x0014", 0)
    assert begun == attributes.get("0x0016", 0) == connections, attributes


def pings(guest):
    """Neighbours: the box answers ARP and ping, in frames of all sizes."""
    for size in (56, MTU - 28):
        guest.check(f"ping -c 2 -i 0.2 -M do -s {size} {BOX}")


def pool(guest, client, numbers):
    """A session's key opens its region, and only with the session's secret."""
    out = guest.check(f"{client} {BOX} {' '.join(numbers)}")
    assert "bytes written and read back" in out, out
    session, secret, *rest = numbers
    wrong = [session, f"{int(secret, 16) ^ 1:x}", *rest]
    status, out, err = guest.run(f"{client} {BOX} {' '.join(wrong)}")
    assert status == 3 and "reason 112" in out, (status, out, err)  # access_denied


def check_counts(counted, moved_bytes):
    print("box:", {name: value for name, value in counted.items() if value}, flush=True)
    assert counted["connections_established"] == counted["connections_closed"] == 1, counted
    assert counted["connections_rejected"] == 1, counted
    assert counted["bytes_written"] == counted["bytes_read"] == moved_bytes, counted
    assert counted["atomics"] == 2, counted
    for wrong in ("dropped_icrc", "dropped_malformed", "wire_receive_drops"):
        assert counted[wrong] == 0, (wrong, counted)


def queues(guest, client, box):
    """Connections of each of the guest's processors: half of their queue pairs belong to the queue
    that their frames do not come to. Then the guest has one queue alone, and nobody reads what goes
    out by the other: whichever a connection would belong to, it comes up."""
    def connect(processor):
        guest.check(f"taskset -c {processor} {client} {BOX} {' '.join(box.numbers)}")

    connections = 0
    while connections < 4 or (box.counted()["frames_given"] == 0 and connections < 20):
        connect(connections % VHOST_QUEUES)
        connections += 1
    print("both queues:", flush=True)
    show_queues(box)
    assert box.counted()["frames_given"] > 0, box.counted()
    guest.check("ethtool -L eth0 combined 1")
    while box.counted()["frames_unsent"] == 0 and connections < 40:
        connect(connections % VHOST_QUEUES)
        connections += 1
    print("one queue:", flush=True)
    show_queues(box)
    counted = box.counted()
    assert counted["frames_unsent"] > 0 and counted["dropped_queue"] == 0, counted
    assert counted["bytes_written"] == (1 + connections) * box.extent_bytes, counted


def show_queues(box):
    print({name: value for name, value in box.counted().items() if name in (
        "frames_received", "frames_given", "frames_unsent", "dropped_queue",
        "connections_requested", "connections_established")}, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("client", nargs="?", default="")
    parser.add_argument("--vhost", action="store_true")
    parser.add_argument("--frames")
    options = parser.parse_args()
    client = options.client and os.path.abspath(options.client)
    reason = why_not(*(["ethtool"] if options.vhost else [])) if client else (
        "built without librdmacm-dev, so there is no client; scripts/setup installs it")
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        box = Box(os.path.abspath(options.program), folder, options.vhost)
        if box.is_skipped:
            print("SKIPPED: built without DPDK")
            return SKIPPED
        guest = None
        try:
            begin = time.monotonic()
            guest = Guest(folder, box.network())
            print(f"the guest is ready after {time.monotonic() - begin:.1f} s", flush=True)
            guest.check("modprobe -a crc32_generic rdma_rxe rdma_ucm ib_uverbs")
            guest.check("rdma link add rxe0 type rxe netdev eth0 && rdma link show")
            pings(guest)
            pool(guest, client, box.numbers)
            check_counts(box.counted(), box.extent_bytes)
            if options.vhost:
                queues(guest, client, box)
        finally:
            if guest is not None:
                guest.end()
            box.end()
        if not options.vhost:
            if options.frames:
                shutil.copy(box.frames, options.frames)
            judge_frames(box.frames, 1)
    print("roce: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
