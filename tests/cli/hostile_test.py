# SPDX-License-Identifier: Apache-2.0
"""What a running box does about wrong bytes, peers that stall, and processes that die."""

import random
import socket
import struct
import subprocess
import time
import unittest

from program import OK, PROGRAM, ProgramTest, Server, wait_until
from raw_client import (
    LANE, RawSession, Vector, connect, frame, has_hung_up, hello, is_closed, spoil_header)

SEED = 20251127
AT_ONCE_SECONDS = 3  # of a loaded machine; the box itself does it in one event
HELLO_SECONDS, STALL_SECONDS = 5, 15  # the protocol's, section 10
SLACK_SECONDS = 4
BODY_BYTES_AT, PAYLOAD_BYTES_AT = 24, 28  # in the header
ENDLESS = struct.pack("<I", 0xFFFFFFFF)
WRONG_EPOCH_STATUS = 400

# Slow enough to catch a put or get in the middle: about 20 MB/s.
SLOW = ["--mode", "paced", "--time-scale", "20000"]
BIG = random.Random(SEED).randbytes(32 << 20)
CLIENT_SECONDS_MAX = 15  # a call's deadline of 10 s, and what a loaded machine adds


class HostileTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.box = self.server()
        self.addCleanup(self.box.__exit__)
        self.at = ["--connect", self.box.address]
        self.port = self.box.ready["eth_ports"][3]
        self.watch = RawSession(self.box.address)
        self.addCleanup(self.watch.socket.close)

    def tearDown(self):
        # Whatever happened: the box serves, and nothing is left behind.
        self.run_program("put", "after", "-", *self.at, stdin=b"still here")
        self.assertEqual(self.run_program("get", "after", *self.at).stdout, b"still here")
        self.watch.socket.close()
        with RawSession(self.box.address) as last:
            self.assertTrue(wait_until(lambda: last.box_status()["sessions"] == 1))
        self.assertEqual(self.box.stop(), OK)
        self.assertEqual(self.box.errors, "")

    def port_status(self):
        return self.watch.box_status()["eth_ports"][3]

    def assert_rejected(self, data, what, after_hello=False):
        before = self.port_status()["frames_rejected"]
        if after_hello:
            peer = RawSession(self.port).socket
        else:
            peer = connect(self.port)
        with peer:
            try:
                peer.sendall(data)
            except ConnectionError:
                pass  # closed while more was sent
            self.assertTrue(is_closed(peer, AT_ONCE_SECONDS), what)
        self.assertEqual(self.port_status()["frames_rejected"], before + 1, what)

    def test_random_bytes(self):
        random_bytes = random.Random(SEED).randbytes
        for size in (64, 4096, 1 << 20):
            self.assert_rejected(random_bytes(size), f"{size} random bytes")
            self.assert_rejected(random_bytes(size), f"{size} after HELLO", after_hello=True)

    def test_absurd_lengths(self):
        ping = frame("ping", Vector(), request_id=1).bytes()
        for field in (BODY_BYTES_AT, PAYLOAD_BYTES_AT):
            for data, after_hello in ((hello(), False), (ping, True)):
                self.assert_rejected(spoil_header(data, field, ENDLESS), field, after_hello)

    def test_a_frame_other_than_hello_first(self):
        self.assert_rejected(frame("status", Vector(), request_id=1).bytes(), "status first")

    def test_a_lane_of_nobodys_session_is_told_so_and_closed(self):
        with connect(self.port) as peer:
            peer.sendall(hello(LANE, session=0x1234, secret=(1, 2)))
            self.assertTrue(is_closed(peer, AT_ONCE_SECONDS))

    def test_a_wrong_epoch_is_answered_by_its_name(self):
        with RawSession(self.port) as session:
            right = session.epoch
            session.epoch ^= 1
            session.send("status")
            self.assertEqual(session.reply()[0], WRONG_EPOCH_STATUS)
            session.epoch = right
            self.assertIn("epoch", session.box_status())  # the connection goes on

    def test_those_who_stall_are_closed_in_time(self):
        begin = time.monotonic()
        silent = connect(self.port)
        half_hello = connect(self.port)
        half_hello.sendall(hello()[:70])
        half_frame = RawSession(self.port)
        half_frame.socket.sendall(half_frame.request("status")[:20])
        deaf = self.never_reads()
        waiting = {
            "silent": (silent, HELLO_SECONDS),
            "half a HELLO": (half_hello, STALL_SECONDS),
            "half a frame": (half_frame.socket, STALL_SECONDS),
        }
        self.addCleanup(deaf.close)
        for peer, _ in waiting.values():
            self.addCleanup(peer.close)
        while waiting:
            took = time.monotonic() - begin
            for what, (peer, limit) in list(waiting.items()):
                self.assertLess(took, limit + SLACK_SECONDS, what)
                if has_hung_up(peer):
                    del waiting[what]
            self.assertIn("epoch", self.watch.box_status())  # also keeps this session alive
            time.sleep(0.05)
        # Its end cannot arrive behind what it does not read, so the box has to tell.
        limit = STALL_SECONDS + SLACK_SECONDS - (time.monotonic() - begin)
        self.assertTrue(
            wait_until(lambda: self.port_status()["connections_open"] == 0, limit), "never reads")

    def never_reads(self):
        """A client that asks until neither end can take any more, and reads nothing."""
        session = RawSession(self.port)
        session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        session.socket.settimeout(1)
        try:
            while True:
                session.socket.sendall(session.request("status") * 16)
        except TimeoutError:
            return session.socket


class DeathTest(ProgramTest):
    def test_a_client_killed_in_mid_put_leaves_nothing_behind(self):
        with Server(self.folder, *SLOW) as server, RawSession(server.address) as watch:
            client = subprocess.Popen(
                [PROGRAM, "put", "big", "-", "--connect", server.address], stdin=subprocess.PIPE)
            client.stdin.write(BIG)
            client.stdin.close()
            self.assertTrue(wait_until(self.writes_of(watch), 20), "the put never began")
            self.assertEqual(watch.box_status()["reservations"], 1)
            client.kill()
            client.wait()

            def is_clean():
                status = watch.box_status()
                return (status["sessions"], status["reservations"], status["reserved_bytes"],
                        status["quarantined"]) == (1, 0, 0, 0)
            self.assertTrue(wait_until(is_clean, 10), "the space did not come back")
            self.assertEqual(watch.box_status()["objects"], 0)

    @staticmethod
    def writes_of(watch):
        return lambda: sum(
            channel["bytes_written"] for channel in watch.box_status()["dram_channels"]) > 1 << 20

    def test_a_server_killed_in_mid_get_is_a_named_error_in_time(self):
        target = self.folder / "out.bin"
        with Server(self.folder, *SLOW) as server:
            at = ["--connect", server.address]
            self.run_program("put", "big", "-", *at, stdin=BIG)
            with RawSession(server.address) as watch:
                client = subprocess.Popen(
                    [PROGRAM, "get", "big", str(target), *at], stderr=subprocess.PIPE, text=True)
                self.assertTrue(wait_until(lambda: sum(
                    c["bytes_read"] for c in watch.box_status()["dram_channels"]) > 1 << 20, 20))
            server.process.kill()
            server.process.communicate()
            try:
                _, errors = client.communicate(timeout=CLIENT_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                client.kill()
                client.communicate()
                self.fail("the client outlived its deadline")
        self.assertGreater(client.returncode, 0, "killed by a signal, or told that all is well")
        self.assertRegex(errors, "session_lost|lane_closed|lane_fenced|connect_failed|deadline")
        self.assertFalse(target.exists())


if __name__ == "__main__":
    unittest.main()
