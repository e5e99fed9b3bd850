#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What ends as an error, before a guest boots or instead of a traceback: figures that cannot be
written, a limit that is over, a program that is no QEMU."""

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

GODBOX = os.environ["GODBOX_PROGRAM"]
ROOT = Path(__file__).resolve().parents[2]
INFERENCE = ROOT / "examples" / "inference" / "run.py"
RATIO = ROOT / "perf" / "vm" / "run.py"
LIMIT_S = 40


def module_of(path):
    spec = importlib.util.spec_from_file_location("module_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Figures(unittest.TestCase):
    def test_a_file_that_cannot_be_opened_is_named_first(self):
        # A program that fails at once: what comes before it is the script's own.
        for script, worker, code in ((INFERENCE, "--host", 3), (RATIO, "--worker", 1)):
            result = subprocess.run(
                [sys.executable, "-B", script, "--program", "/bin/false", worker, "/bin/false",
                 "--json", "/nowhere/figures.json"], capture_output=True, text=True, check=False,
                timeout=LIMIT_S)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertIn("--json: /nowhere/figures.json cannot be written: No such file",
                          result.stderr)
            self.assertNotIn("Traceback", result.stderr)
            self.assertEqual(result.stdout, "")

    def inference(self, guest, json_path):
        module, words = module_of(INFERENCE), io.StringIO()
        arguments = ["run.py", "--program", "x", "--host", "x", "--json", json_path]
        with unittest.mock.patch.object(sys, "argv", arguments), \
                unittest.mock.patch.object(module, "Box"), \
                unittest.mock.patch.object(module, "run_guest", guest), \
                contextlib.redirect_stderr(words):
            return module.main(), words.getvalue()

    def test_a_limit_that_is_over_is_an_error(self):
        def guest(*_):
            raise subprocess.TimeoutExpired(["inference_host"], 7)
        code, words = self.inference(guest, "/dev/null")
        self.assertEqual(code, 3)
        self.assertRegex(words, r"inference: FAILED \(.*inference_host.* 7 seconds")

    def test_a_file_that_takes_nothing_is_an_error(self):
        code, words = self.inference(lambda *_: {"problems": []}, "/dev/full")
        self.assertEqual(code, 3)
        self.assertIn("/dev/full cannot be written: No space left", words)


class Qemu(unittest.TestCase):
    def test_a_program_that_prints_without_end_is_no_qemu(self):
        for first in ("", "echo QEMU emulator version 10.0.2; "):
            with tempfile.TemporaryDirectory() as folder:
                program = Path(folder) / "endless"
                program.write_text(f"#!/bin/sh\n{first}exec yes\n", encoding="ascii")
                program.chmod(0o755)
                result = subprocess.run(
                    [GODBOX, "vm", "run", "--preset", "laptop", "--guest-memory", "256MiB",
                     "--name", f"endless-{os.getpid()}", "--qemu", program, "--", "true"],
                    capture_output=True, text=True, check=False, timeout=LIMIT_S)
            self.assertEqual(result.returncode, 125, result.stderr)
            self.assertIn(f"{program} says no version of QEMU", result.stderr)

    def test_a_patched_one_that_does_not_start_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("modules", "bin", "qemu/current"):
                os.makedirs(f"{folder}/{name}")
            for name in ("vmlinuz", "initramfs", "version"):
                Path(folder, name).write_text("kernel fake\n", encoding="ascii")
            patched = Path(folder, "qemu", "current", "qemu-system-x86_64")
            patched.write_text("#!/bin/sh\nexit 127\n", encoding="ascii")
            patched.chmod(0o755)
            Path(folder, "bin", "qemu-system-x86_64").symlink_to(
                Path(__file__).resolve().with_name("fake_qemu.py"))
            result = subprocess.run(
                [GODBOX, "vm", "run", "--preset", "laptop", "--form", "slots", "--no-network",
                 "--accelerator", "tcg", "--guest-memory", "256MiB", "--guest-image", folder,
                 "--name", f"passed-over-{os.getpid()}", "--", "true"],
                capture_output=True, text=True, check=False, timeout=LIMIT_S,
                env={**os.environ, "GODBOX_QEMU": f"{folder}/qemu",
                     "PATH": f"{folder}/bin:{os.environ['PATH']}",
                     "FAKE_GUEST_LOG": f"{folder}/log"})
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"{patched} says no version of QEMU; qemu-patches/build mends it",
                      result.stderr)


if __name__ == "__main__":
    unittest.main()
