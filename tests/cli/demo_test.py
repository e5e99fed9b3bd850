# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import unittest

from program import FAILURE, OK, PROGRAM, ProgramTest

DEMO_SECONDS_MAX = 110  # a busy machine may show scenes twice


class DemoTest(ProgramTest):
    def test_the_demo_in_json_is_one_document_and_its_exit_code_says_what_holds(self):
        result = subprocess.run(
            [PROGRAM, "demo", "--json"], capture_output=True, timeout=DEMO_SECONDS_MAX,
            env={**os.environ, "XDG_RUNTIME_DIR": str(self.folder)})
        document = json.loads(result.stdout)
        self.assertEqual(document["schema"], "godbox-demo-1")
        self.assertEqual(document["wrong_bytes"], 0)
        self.assertGreater(document["bytes_checked"], 0)
        self.assertGreater(document["raw_sockets_gb_per_s"], 0)
        holds = [finding["holds"] for finding in document["findings"]]
        self.assertEqual(len(holds), 7)
        self.assertEqual(document["all_hold"], all(holds))
        self.assertEqual(result.returncode, OK if all(holds) else FAILURE)
        for finding in document["findings"]:
            self.assertIn(finding["kind"], ("emulated", "real"))
            for key in ("what", "measured", "expected"):
                self.assertTrue(finding[key])
        self.assertEqual(list(self.folder.rglob("*.sock")), [])


if __name__ == "__main__":
    unittest.main()
