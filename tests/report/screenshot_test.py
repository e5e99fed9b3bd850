# SPDX-License-Identifier: Apache-2.0
"""The report of a suite in a browser: every plot is there, and something is drawn in it.

With GODBOX_SCREENSHOT=FILE the picture is kept there."""

import os
import shutil
import subprocess
import unittest

from browser import BROWSER, PROGRAM, PlotTest, take_picture

SUITE_SECONDS_MAX = 300
PLOTS = {
    "emulated-channels", "emulated-ports", "real-channels", "real-ports", "efficiency-sockets",
    "efficiency-memcpy", "efficiency-model", "latency-remote", "latency-get", "latency-put",
    "timeline-channel_bytes-real-read", "timeline-port_bytes-real-read",
    "timeline-channel_bytes-emulated-read", "timeline-port_bytes-emulated-read", "scatter",
    "layers", "session",
}


@unittest.skipIf(BROWSER is None, "needs Chromium (scripts/setup --full)")
class ScreenshotTest(PlotTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.page = cls.folder / "report.html"
        subprocess.run([PROGRAM, "bench", "--suite", "quick", "--report", str(cls.page), "--json"],
                       check=True, stdout=subprocess.DEVNULL, timeout=SUITE_SECONDS_MAX,
                       env={**os.environ, "XDG_RUNTIME_DIR": str(cls.folder)})

    def test_every_plot_is_drawn(self):
        self.check_every_plot_is_drawn(self.page, PLOTS)

    def test_an_empty_plot_would_be_seen(self):
        self.check_an_empty_plot_would_be_seen(self.page)

    def test_the_picture_is_kept_where_it_is_wanted(self):
        wanted = os.environ.get("GODBOX_SCREENSHOT")
        if not wanted:
            self.skipTest("GODBOX_SCREENSHOT names no file")
        shutil.copy(take_picture(self.folder, self.page, 1345, scale=1), wanted)


if __name__ == "__main__":
    unittest.main()
