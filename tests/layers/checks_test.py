#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that the checks of this folder find what they are made to find, in small trees."""

import shutil
import tempfile
import unittest
from pathlib import Path

import check_layers
import check_style

RULES = Path(__file__).resolve().parents[2] / "cmake" / "layers.toml"
LICENCE = "// SPDX-License-Identifier: Apache-2.0\n"
PROSE = "// One.\n// Two.\n// Thread-safety: none.\n"


class TreeCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        self.write("lib/include/godbox/units.h", LICENCE + PROSE + "struct Bytes {};\n")
        self.write("lib/src/table.h", LICENCE)
        self.write("driver/net/include/godbox/driver/pump.h", LICENCE + PROSE)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class LayersTest(TreeCase):
    def setUp(self):
        super().setUp()
        (self.root / "cmake").mkdir()
        shutil.copy(RULES, self.root / "cmake" / "layers.toml")

    def problems(self, name, include):
        self.write(name, LICENCE + f"#include {include}\n")
        return check_layers.check(self.root)[0]

    def assert_allowed(self, name, include):
        self.assertEqual(self.problems(name, include), [])

    def assert_refused(self, name, include, why):
        problems = self.problems(name, include)
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(f"{name}:2: includes {include[1:-1]}: {why}", problems[0])

    def test_rooms_use_the_rooms_below(self):
        self.assert_allowed("striping/src/a.cpp", "<godbox/units.h>")
        self.assert_allowed("emulator/src/a.cpp", "<godbox/units.h>")
        self.assert_allowed("apps/godbox/src/a.cpp", "<godbox/driver/pump.h>")

    def test_lib_uses_no_room(self):
        self.assert_refused(
            "lib/src/a.cpp", "<godbox/driver/pump.h>", "lib may not include driver/net"
        )

    def test_emulator_and_driver_never_meet(self):
        self.assert_refused(
            "emulator/src/a.cpp", "<godbox/driver/pump.h>", "emulator may not include driver/net"
        )
        (self.root / "emulator/src/a.cpp").unlink()
        self.write("emulator/include/godbox/emulator/box.h", LICENCE + PROSE)
        self.assert_refused(
            "driver/net/src/a.cpp", "<godbox/emulator/box.h>",
            "driver/net may not include emulator",
        )

    def test_driver_folders_never_meet(self):
        self.assert_refused(
            "driver/mem/src/a.cpp", "<godbox/driver/pump.h>",
            "driver/mem may not include driver/net",
        )

    def test_private_headers_stay_in_their_room(self):
        self.assert_allowed("lib/src/a.cpp", '"table.h"')
        self.assert_refused("striping/src/a.cpp", '"../../lib/src/table.h"', "lib/src/table.h is p")

    def test_tests_may_see_private_headers(self):
        self.assert_allowed("tests/unit/lib/a_test.cpp", '"table.h"')

    def test_public_headers_include_no_private_one(self):
        self.assert_refused(
            "lib/include/godbox/a.h", '"../../src/table.h"', "a public header may not include"
        )

    def test_missing_header(self):
        self.assert_refused("lib/src/a.cpp", "<godbox/nothing.h>", "there is no such header")

    def test_file_outside_all_rooms(self):
        self.assert_refused("elsewhere/a.cpp", "<vector>", "the file is in no room")

    def test_third_party_headers_stay_in_their_folders(self):
        self.assert_allowed("driver/net/src/a.cpp", "<boost/asio/io_context.hpp>")
        self.assert_allowed("lib/src/b.cpp", "<isa-l/crc.h>")
        self.assert_allowed("emulator/src/c.cpp", "<toml++/toml.h>")
        self.assert_allowed("tests/unit/lib/d_test.cpp", "<catch2/catch_test_macros.hpp>")

    def test_third_party_headers_outside_their_folders(self):
        cases = {
            "<boost/asio.hpp>": "driver/net",
            "<boost/asio/ip/tcp.hpp>": "driver/net",
            "<isa-l.h>": "lib",
            "<CLI/CLI.hpp>": "apps",
            "<spdlog/spdlog.h>": "apps",
            "<boost/json.hpp>": "emulator",
        }
        for include, owner in cases.items():
            with self.subTest(include):
                self.assert_refused("striping/src/a.cpp", include, f"only {owner}")

    def test_unlisted_headers(self):
        for include in ["<boost/beast2/x.hpp>", "<zstd.h>", "<openssl/ssl.h>"]:
            with self.subTest(include):
                self.assert_refused("apps/a.cpp", include, "it is not listed")

    def test_lib_does_no_io(self):
        for include in ["<sys/socket.h>", "<unistd.h>", "<fstream>"]:
            with self.subTest(include):
                self.assert_refused("lib/src/a.cpp", include, "lib does no I/O")
        (self.root / "lib/src/a.cpp").unlink()
        self.assert_allowed("driver/mem/src/a.cpp", "<sys/mman.h>")


class StyleTest(TreeCase):
    def assert_problem(self, name, text, problem):
        self.write(name, text)
        problems = check_style.check(self.root)[0]
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(problem, problems[0])

    def test_good_tree(self):
        self.assertEqual(check_style.check(self.root), ([], 3))

    def test_licence(self):
        self.assert_problem("lib/src/a.cpp", "int a;\n", "lib/src/a.cpp:1: 'SPDX")

    def test_script_without_suffix(self):
        self.assert_problem("scripts/go", "#!/bin/sh\necho\n", "scripts/go:1: 'SPDX")

    def test_long_line(self):
        self.write("lib/src/ok.cpp", LICENCE + "/" * 100 + "\n")
        self.assert_problem("lib/src/a.cpp", LICENCE + "/" * 101 + "\n", "a.cpp:2: 101 columns")

    def test_long_file(self):
        self.write("lib/src/ok.cpp", LICENCE + "\n" * 999)
        self.assert_problem("lib/src/a.cpp", LICENCE + "\n" * 1000, "a.cpp: 1001 lines")

    def test_unfinished_work(self):
        self.assert_problem("lib/src/a.cpp", LICENCE + "// TO" "DO: b\n", "a.cpp:2: unfinished")

    def test_header_without_prose(self):
        text = LICENCE + "// A thread.\nstruct A {};\n" + PROSE
        self.assert_problem("lib/include/godbox/a.h", text, "a.h:1: fewer than 3 lines of prose")

    def test_header_silent_on_threads(self):
        text = LICENCE + "// One.\n// Two.\n// Three.\nstruct A {};\n"
        self.assert_problem("lib/include/godbox/a.h", text, "a.h:1: its prose does not say")

    def test_conditional_header(self):
        text = LICENCE + PROSE + "#pragma once\n#ifdef X\n#endif\n"
        self.assert_problem("lib/include/godbox/a.h", text, "a.h:6: no #if")

    def test_include_guard(self):
        self.write("lib/include/godbox/a.h", LICENCE + PROSE + "#ifndef GODBOX_A_H_\n#endif\n")
        self.assertEqual(check_style.check(self.root)[0], [])

    def test_header_of_c(self):
        text = LICENCE + PROSE + '#ifdef __cplusplus\nextern "C" {\n#endif\n'
        self.write("bindings/c/include/godbox/a.h", text)
        self.assertEqual(check_style.check(self.root)[0], [])
        text = LICENCE + PROSE + "#ifdef __cplusplus_cli\n#endif\n"
        self.assert_problem("bindings/c/include/godbox/b.h", text, "b.h:5: no #if")

    def test_long_function(self):
        head = LICENCE + "namespace a {\nclass B {\n  int f(int x,\n        int y) {\n"
        tail = "  }\n};\n}  // namespace a\n"
        self.write("lib/src/ok.cpp", head + "    if (x) {\n    }\n" * 34 + tail)
        body = "    x();  // {\n" * 69
        self.assert_problem("lib/src/a.cpp", head + body + tail, "a.cpp:5: function of 71 lines")


if __name__ == "__main__":
    unittest.main()
