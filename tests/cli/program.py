# SPDX-License-Identifier: Apache-2.0
"""Runs the godbox program for the tests of this folder."""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = os.environ["GODBOX_PROGRAM"]
RUN_SECONDS_MAX = 60
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 10

OK, FAILURE, USAGE, NOT_FOUND, UNREACHABLE, ALREADY_EXISTS, NO_ROOM, IN_USE, WORSE = range(9)

# Small enough to start many of them, large enough for every test.
SMALL_BOX = ["--preset", "laptop", "--tcp-port-base", "0", "--backing-limit", "256MiB"]


class Server:
    """A `godbox serve --json` that is ready; stopped at the end of the with block."""

    def __init__(self, folder, *options):
        self.socket = Path(folder) / "control.sock"
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--json", *SMALL_BOX, "--control-socket", str(self.socket),
             *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        try:
            self.ready = json.loads(self._first_line())
        except BaseException:
            self.stop()
            raise
        self.address = f"unix:{self.socket}"

    def _first_line(self):
        readable, _, _ = select.select([self.process.stdout], [], [], START_SECONDS_MAX)
        line = self.process.stdout.readline() if readable else ""
        if not line:
            self.process.kill()
            raise AssertionError(f"serve was not ready: {self.process.stderr.read()}")
        return line

    def stop(self, with_signal=signal.SIGTERM):
        """The exit status; a server that does not stop is killed and that is a failure."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            self.output, self.errors = self.process.communicate(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError("serve did not stop") from None
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            self.stop()


class ProgramTest(unittest.TestCase):
    """A test with a folder of its own, which is also where the default control socket would be."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="godbox-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run_program(self, *arguments, stdin=b"", status=OK):
        """Runs the program to its end and checks its exit status; its output is bytes."""
        command = [PROGRAM, *(a if isinstance(a, bytes) else str(a) for a in arguments)]
        result = subprocess.run(
            command, input=stdin, capture_output=True,
            timeout=RUN_SECONDS_MAX, env={**os.environ, "XDG_RUNTIME_DIR": str(self.folder)},
        )
        self.assertEqual(
            result.returncode, status,
            f"{arguments}: {result.stdout[-2000:]!r} {result.stderr[-2000:]!r}")
        return result

    def run_json(self, *arguments, **more):
        return json.loads(self.run_program(*arguments, "--json", **more).stdout)

    def assert_fails(self, arguments, status, *words):
        """The program ends with that status, says why in its words on stderr, and nothing on
        stdout."""
        result = self.run_program(*arguments, status=status)
        for word in words:
            self.assertIn(word, result.stderr.decode(), arguments)
        self.assertEqual(result.stdout, b"", arguments)

    def server(self, *options):
        return Server(self.folder, *options)


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
