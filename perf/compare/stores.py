# SPDX-License-Identifier: Apache-2.0
"""The servers of a comparison: each a child process on a free port, with a folder of its own, and
nothing kept on a disk. And the network that they run in."""

import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS_MAX = 20
HOST = "127.0.0.1"
CONGESTION_CONTROL = "reno"  # what Godbox's own sockets choose on loopback
CONGESTION_FILE = Path("/proc/sys/net/ipv4/tcp_congestion_control")
MIB = 1 << 20
CHANNELS = 18
CHANNEL_UNIT = 256 * MIB


class Missing(Exception):
    """A peer, or something that it needs, is not on this machine; the text says which."""


@dataclass
class Network:
    namespace: str  # "own" or "machine"
    congestion_control: str
    why: str | None = None  # no own namespace


def enter_own_network() -> Network:
    """Moves this process to a network of its own, where loopback is not paced by the system's
    choice of congestion control: the peers' servers cannot be told which to use."""
    clone_new_net = 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.unshare(clone_new_net) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"unshare: {os.strerror(error)}")
        set_loopback_up()
        CONGESTION_FILE.write_text(CONGESTION_CONTROL)
        return Network("own", CONGESTION_FILE.read_text().strip())
    except OSError as why:
        return Network("machine", CONGESTION_FILE.read_text().strip(), str(why))


def set_loopback_up() -> None:
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, get_flags, request))[1]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", flags | up))


class Processors:
    """Servers and clients each have half of the processors, as if they were two machines: else the
    scheduler now and then runs both ends of a connection on one, for whole passes."""
    servers: set[int] = set()  # empty: all
    clients: set[int] = set()

    @classmethod
    def split(cls) -> None:
        all_of_them = sorted(os.sched_getaffinity(0))
        if len(all_of_them) > 1:
            half = len(all_of_them) // 2
            cls.servers, cls.clients = set(all_of_them[:half]), set(all_of_them[half:])
            os.sched_setaffinity(0, cls.clients)  # what is started from here on inherits it


def start_program(command: list[str], is_server: bool = True, **options) -> subprocess.Popen:
    """A child that ends when this process does, however that ends."""
    set_death_signal = 1
    libc = ctypes.CDLL(None)

    def in_child() -> None:
        libc.prctl(set_death_signal, signal.SIGTERM)
        if is_server and Processors.servers:
            os.sched_setaffinity(0, Processors.servers)

    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=in_child, **options)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def cpu_seconds(pid: int) -> float:
    """All processor time of a process, user and kernel, in nanoseconds: see clock_getcpuclockid."""
    return time.clock_gettime((~pid << 3) | 2)


@dataclass
class Server:
    store: str
    kind: str
    process: subprocess.Popen
    address: str
    settings: str  # what it was told, beside port and folder

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def through(self, store: str, address: str) -> "Server":
        """The same process, reached in another way."""
        return Server(store, self.kind, self.process, address, self.settings)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def find_program(*names: str) -> str:
    for name in names:
        if (path := shutil.which(name)) is not None:
            return path
    raise Missing(f"{' or '.join(names)} is not installed (scripts/setup --compare)")


def version_of(command: list[str], executable: str | None = None) -> str:
    result = subprocess.run(command, executable=executable, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=20)
    lines = result.stdout.strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def wait_for_answer(server: Server, request: bytes, answer: bytes) -> Server:
    end = time.monotonic() + READY_SECONDS_MAX
    got = b""
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"{server.store} ended at once, status {server.process.returncode}")
        try:
            with socket.create_connection((HOST, server.port), 1) as probe:
                probe.sendall(request)
                got = probe.recv(64)
                if got.startswith(answer):
                    return server
        except OSError:
            pass
        time.sleep(0.02)
    server.stop()
    raise RuntimeError(f"{server.store} does not answer {answer!r} but {got!r}")


class RespStore:
    """redis-server or valkey-server. Debian's *-tools packages have the server too: it is one
    program, which looks at the name that it is called by, and there no service is started."""

    def __init__(self, store: str, folder: Path):
        self.store = store
        self.folder = folder
        self.server_name = f"{store}-server"
        self.executable = find_program(self.server_name, f"{store}-check-rdb")
        self.benchmark = find_program(f"{store}-benchmark")
        self.version = version_of([self.server_name, "--version"], self.executable)

    def start(self, io_threads: int) -> Server:
        port = free_port()
        settings = ["--save", "", "--appendonly", "no", "--io-threads", str(io_threads)]
        if io_threads > 1:
            settings += ["--io-threads-do-reads", "yes"]
        with open(self.folder / f"{self.store}-{port}.log", "wb") as log:
            process = start_program(
                [self.server_name, "--port", str(port), "--bind", HOST, "--dir", str(self.folder),
                 *settings], executable=self.executable, stdout=log, stderr=log)
        server = Server(self.store, "resp2", process, f"{HOST}:{port}",
                        " ".join(word or '""' for word in settings))
        return wait_for_answer(server, b"PING\r\n", b"+PONG")


class Memcached:
    def __init__(self, folder: Path, memory_bytes: int):
        self.folder = folder
        self.memory_mib = memory_bytes // MIB
        self.executable = find_program("memcached")
        self.version = version_of([self.executable, "--version"])

    def start(self, threads: int) -> Server:
        port = free_port()
        settings = ["-m", str(self.memory_mib), "-I", "8m", "-t", str(threads)]
        if os.geteuid() == 0:
            settings += ["-u", "root"]
        with open(self.folder / f"memcached-{port}.log", "wb") as log:
            process = start_program([self.executable, "-l", HOST, "-p", str(port), "-U", "0",
                                     *settings], stdout=log, stderr=log)
        server = Server("memcached", "memcached", process, f"{HOST}:{port}", " ".join(settings))
        return wait_for_answer(server, b"version\r\n", b"VERSION")


class Godbox:
    def __init__(self, program: Path, folder: Path, capacity_bytes: int, ports: int):
        if not program.is_file():
            raise Missing(f"{program} is not there")
        self.program = program
        self.folder = folder
        self.ports = ports
        units = max(1, -(-capacity_bytes // (CHANNELS * CHANNEL_UNIT)))
        self.channel_size = f"{units * CHANNEL_UNIT // MIB}MiB"
        self.version = version_of([str(program), "--version"])

    def start(self) -> Server:
        settings = ["--channels", str(CHANNELS), "--channel-size", self.channel_size, "--ports",
                    str(self.ports)]
        with open(self.folder / "godbox.log", "wb") as log:
            process = start_program(
                [str(self.program), "serve", "--json", "--preset", "laptop", *settings,
                 "--tcp-port-base", "0", "--control-socket", str(self.folder / "control.sock")],
                stdout=subprocess.PIPE, stderr=log, text=True)
        line = process.stdout.readline()
        if not line:
            process.wait()
            raise RuntimeError("godbox serve: " + (self.folder / "godbox.log").read_text())
        return Server("godbox", "godbox", process, json.loads(line)["eth_ports"][0].removeprefix(
            "tcp:"), " ".join(settings))
