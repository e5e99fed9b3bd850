# SPDX-License-Identifier: Apache-2.0
"""Reports in a headless browser: where their plots lie, and how much is drawn in each."""

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
BROWSER_SECONDS_MAX = 90
WIDTH = 1280
SCALE = 0.5  # a quarter of the pixels is enough to look at
# Marks have colours; paper, grid, axes and letters are nearly grey.
COLOUR_SPREAD_MIN = 50
COLOURED_PIXELS_MIN = 40
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


class PlotTest(unittest.TestCase):
    """A test with a folder of its own, shared by its cases."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="godbox-report-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)

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

    def check_every_plot_is_drawn(self, page, plots):
        counts = self.count_by_plot(page)
        self.assertEqual(plots - set(counts), set())
        for name, count in counts.items():
            self.assertGreaterEqual(count, COLOURED_PIXELS_MIN, name)

    def check_an_empty_plot_would_be_seen(self, page):
        empty = self.folder / "empty.html"
        empty.write_text(MARKS.sub("", page.read_text()))
        for name, count in self.count_by_plot(empty).items():
            self.assertLess(count, COLOURED_PIXELS_MIN, name)
