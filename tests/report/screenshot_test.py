# SPDX-License-Identifier: Apache-2.0
"""The report of a suite in a browser: every plot is there, and something is drawn in it.

With GODBOX_SCREENSHOT=FILE the picture is kept there."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from png import Picture

PROGRAM = os.environ["GODBOX_PROGRAM"]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
SUITE_SECONDS_MAX = 300
BROWSER_SECONDS_MAX = 90
WIDTH = 1280
SCALE = 0.5  # a quarter of the pixels is enough to look at
# Marks have colours; paper, grid, axes and letters are nearly grey.
COLOUR_SPREAD_MIN = 50
COLOURED_PIXELS_MIN = 40
PLOTS = {
    "emulated-channels", "emulated-ports", "real-channels", "real-ports", "efficiency-sockets",
    "efficiency-memcpy", "efficiency-model", "latency-remote", "latency-get", "latency-put",
    "timeline-channel_bytes-real-read", "timeline-port_bytes-real-read",
    "timeline-channel_bytes-emulated-read", "timeline-port_bytes-emulated-read", "scatter",
    "layers", "session",
}
MARKS = re.compile(r'<(polyline|circle|rect)\b.*?</\1>|<line class="range [^>]*/>', re.DOTALL)


def browse(folder, page, *options):
    """Standard output of a headless browser that opened the page."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={folder}/profile",
               *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, check=True,
                          timeout=BROWSER_SECONDS_MAX).stdout.decode()


def places_of_plots(folder, page):
    """Left, top, width and height of each plot, as the page tells them."""
    dom = browse(folder, page, f"--window-size={WIDTH},1000", "--dump-dom")
    return {name: [int(number) for number in place.split(",")]
            for name, place in re.findall(r'data-plot="([^"]+)" data-rect="([\d,-]+)"', dom)}


def take_picture(folder, page, height, scale=SCALE):
    path = folder / "page.png"
    browse(folder, page, f"--window-size={WIDTH},{height}", f"--force-device-scale-factor={scale}",
           f"--screenshot={path}")
    return path


def coloured_pixels(picture, place):
    left, top, width, height = (round(number * SCALE) for number in place)
    return sum(max(pixel) - min(pixel) >= COLOUR_SPREAD_MIN
               for pixel in picture.pixels(left, top, width, height))


@unittest.skipIf(BROWSER is None, "needs Chromium (scripts/setup --full)")
class ScreenshotTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="godbox-report-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.page = cls.folder / "report.html"
        subprocess.run([PROGRAM, "bench", "--suite", "quick", "--report", str(cls.page), "--json"],
                       check=True, stdout=subprocess.DEVNULL, timeout=SUITE_SECONDS_MAX,
                       env={**os.environ, "XDG_RUNTIME_DIR": str(cls.folder)})

    def count_by_plot(self, page):
        places = places_of_plots(self.folder, page)
        height = max(top + tall for _, top, _, tall in places.values()) + 100
        picture = Picture(take_picture(self.folder, page, height).read_bytes())
        self.assertEqual(picture.width, round(WIDTH * SCALE))
        for name, (left, top, width, tall) in places.items():
            self.assertGreater(width, 300, name)
            self.assertGreater(tall, 60, name)
            self.assertLessEqual(left + width, WIDTH, name)
        return {name: coloured_pixels(picture, place) for name, place in places.items()}

    def test_every_plot_is_drawn(self):
        counts = self.count_by_plot(self.page)
        self.assertEqual(PLOTS - set(counts), set())
        for name, count in counts.items():
            self.assertGreaterEqual(count, COLOURED_PIXELS_MIN, name)

    def test_an_empty_plot_would_be_seen(self):
        empty = self.folder / "empty.html"
        empty.write_text(MARKS.sub("", self.page.read_text()))
        for name, count in self.count_by_plot(empty).items():
            self.assertLess(count, COLOURED_PIXELS_MIN, name)

    def test_the_picture_is_kept_where_it_is_wanted(self):
        wanted = os.environ.get("GODBOX_SCREENSHOT")
        if not wanted:
            self.skipTest("GODBOX_SCREENSHOT names no file")
        shutil.copy(take_picture(self.folder, self.page, 1345, scale=1), wanted)


if __name__ == "__main__":
    unittest.main()
