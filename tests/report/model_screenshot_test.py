# SPDX-License-Identifier: Apache-2.0
"""The reports of the timing model in a browser: every plot is there, and something is drawn in it.
"""

import subprocess
import unittest

from browser import BROWSER, PROGRAM, PlotTest

RUN_SECONDS_MAX = 60
REPLAY_PLOTS = {"model-bytes", "model-balance", "model-times", "model-busy", "model-bottlenecks"}
TABLE_PLOTS = {"time-table-emfasys18", "time-table-emfasys28", "time-table-acf1",
               "time-table-laptop"}
EXPLAIN_PLOTS = {"explain-first-byte", "explain-busy"}
SWEEP_PLOTS = {"sweep-load_p99_s-super-nics", "sweep-load_p99_s-pool-size",
               "sweep-hit_share-super-nics", "sweep-hit_share-pool-size"}
RACK_PLOTS = {"rack-bytes", "rack-boxes", "rack-times", "rack-slow", "rack-busy", "rack-switches"}


@unittest.skipIf(BROWSER is None, "needs Chromium (scripts/setup --full)")
class ModelScreenshotTest(PlotTest):
    def report(self, command, *options):
        page = self.folder / f"{command}.html"
        subprocess.run([PROGRAM, "model", command, "--report", str(page), "--json", *options],
                       check=True, stdout=subprocess.DEVNULL, timeout=RUN_SECONDS_MAX)
        return page

    def test_every_plot_of_single_transfers_is_drawn(self):
        for command, plots in (("time-table", TABLE_PLOTS), ("explain", EXPLAIN_PLOTS)):
            page = self.report(command)
            self.check_every_plot_is_drawn(page, plots)
            self.check_an_empty_plot_would_be_seen(page)
            self.assertIn("Every figure is modelled", page.read_text())

    def test_every_plot_of_a_replay_is_drawn(self):
        page = self.report("replay", "--generate", "conversation", "--requests", "1000")
        self.check_every_plot_is_drawn(page, REPLAY_PLOTS)
        self.check_an_empty_plot_would_be_seen(page)
        text = page.read_text()
        for words in ("Every figure is modelled", "bound by", "Mooncake", "36 ports of 800 Gb/s"):
            self.assertIn(words, text)

    def test_every_plot_of_a_sweep_is_drawn(self):
        page = self.report("sweep", "--generate", "conversation", "--requests", "200", "--vary",
                           "super-nics=1..4", "--vary", "pool-size=100GiB,1TiB", "--figure",
                           "load_p99_s,hit_share", "--target", "load_p99_s<=10")
        self.check_every_plot_is_drawn(page, SWEEP_PLOTS)
        self.check_an_empty_plot_would_be_seen(page)
        self.assertIn("super-nics=1 pool-size=100GiB", page.read_text())

    def test_every_plot_of_a_rack_is_drawn(self):
        page = self.report("rack", "--requests", "5000", "--zipf", "1", "--read-share", "0.8",
                           "--lose", "box:5")
        self.check_every_plot_is_drawn(page, RACK_PLOTS)
        self.check_an_empty_plot_would_be_seen(page)
        text = page.read_text()
        for words in ("Every figure is modelled", "box 5, lost", "spine 12", "bound by"):
            self.assertIn(words, text)


if __name__ == "__main__":
    unittest.main()
