# SPDX-License-Identifier: Apache-2.0
"""scripts/compare_base tells a change that costs half of the rate from one that costs nothing, and
finds what a change is based on."""

import argparse
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

from program import PROGRAM, RUN_SECONDS_MAX, ProgramTest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/compare_base"
sys.dont_write_bytecode = True
_loader = importlib.machinery.SourceFileLoader("compare_base", str(SCRIPT))
compare_base = importlib.util.module_from_spec(
    importlib.util.spec_from_loader("compare_base", _loader))
_loader.exec_module(compare_base)

SKIPPED = 4
# The real program, whose figures are changed on their way out.
CHANGED = """#!{python}
import json, subprocess, sys
ended = subprocess.run([{program!r}, *sys.argv[1:]], stdout=subprocess.PIPE)
if sys.argv[1] in ("bench", "replay") and sys.argv[2] == "--json":
    document = json.loads(ended.stdout)
    rows = document["rows"]
    rates = [row for row in rows if "gb_per_s_median" in row]
    {how}
    print(json.dumps(document))
else:
    sys.stdout.buffer.write(ended.stdout)
sys.exit(ended.returncode)
"""


class CompareBaseTest(ProgramTest):
    def compare(self, how, *options):
        change = self.folder / "change"
        change.write_text(CHANGED.format(python=sys.executable, program=PROGRAM, how=how))
        change.chmod(0o755)
        return subprocess.run(
            [sys.executable, "-B", str(SCRIPT), "--small", "--rounds", "2", "--threshold", "95",
             "--base-program", PROGRAM, "--change-program", str(change), *options],
            capture_output=True, text=True, timeout=RUN_SECONDS_MAX)

    def test_a_change_that_costs_nothing_passes(self):
        # On a busy machine two rounds of little data may differ by much.
        ended = self.compare("", "--rounds", "9", "--seconds", "0")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertIn("no more than 2 rounds fit", ended.stdout)
        self.assertNotIn("round 3", ended.stdout)
        self.assertIn("0 of 6 rows", ended.stderr)

    def test_a_change_that_costs_nearly_all_fails(self):
        ended = self.compare("for row in rows: row.update({k: row[k] / 50 "
                             "for k in ('gb_per_s_median', 'gb_per_s') if k in row})")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertIn("5 of 6 rows are worse", ended.stderr)  # not the replay's lookups

    def test_a_row_that_is_gone_is_no_pass(self):
        ended = self.compare("rows.pop()")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertIn("3 of A's are not in B", ended.stderr)  # two of them the replay's

    def test_what_cannot_be_measured_is_no_pass(self):
        for how, options in (("sys.exit(1)", ()),
                             ("for row in rates[:1]: row['gb_per_s_median'] = 0", ()),
                             ("for row in rates[:1]: row['gb_per_s_median'] = None", ()),
                             ("", ("--threshold", "nan"))):
            ended = self.compare(how, "--rounds", "1", *options)
            self.assertEqual(ended.returncode, 2, (how, ended.stdout, ended.stderr))
            self.assertIn("FAILED", ended.stdout)

    def test_a_tail_may_lose_five_thresholds(self):
        # 99.5 per cent, which no busy machine costs.
        ended = self.compare("for row in rates: row['p99_us'] *= 1e6", "--threshold", "19.9")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        # Not the replay's lookups.
        self.assertIn("4 of 5 other figures by more than their thresholds", ended.stderr)


@unittest.skipUnless(shutil.which("git"), "needs git")
class BaseTest(unittest.TestCase):
    """In a repository that has the script and is otherwise empty."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="godbox-base-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        # What the user's own git does by its configuration is no part of this.
        names = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER")
                 for what in ("NAME", "EMAIL")}
        here = {**names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
                "GIT_CEILING_DIRECTORIES": str(self.folder)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        patched = unittest.mock.patch.dict(os.environ, {**kept, **here}, clear=True)
        patched.start()
        self.addCleanup(patched.stop)
        self.root = self.folder / "tree"
        self.use(self.root)

    def use(self, root):
        (root / "scripts").mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPT, root / "scripts/compare_base")
        patched = unittest.mock.patch.object(compare_base, "ROOT", root)
        patched.start()
        self.addCleanup(patched.stop)

    def git(self, *arguments, root=None):
        return subprocess.run(["git", "-C", str(root or self.root), *arguments], check=True,
                              capture_output=True, text=True, timeout=60).stdout.strip()

    def begin(self):
        self.git("init", "--quiet", "--initial-branch", "main")
        return self.commit("first")

    def commit(self, text, root=None):
        (root or self.root).joinpath(text).write_text(text)
        self.git("add", "--all", root=root)
        self.git("commit", "--quiet", "--message", text, root=root)
        return self.git("rev-parse", "HEAD", root=root)

    def find_base(self, against=None):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            base = compare_base.find_base(against)
        return base, said.getvalue()

    def assert_skipped(self, why):
        script = compare_base.ROOT / "scripts/compare_base"
        ended = subprocess.run([sys.executable, "-B", str(script)], capture_output=True, text=True,
                               timeout=RUN_SECONDS_MAX)
        self.assertEqual(ended.returncode, SKIPPED, ended.stdout + ended.stderr)
        # scripts/test looks for this line.
        self.assertRegex(ended.stdout, f"(?m)^compare_base: skipped: .*{why}")

    def test_of_a_feature_branch_it_is_where_it_left_main(self):
        left = self.begin()
        self.git("checkout", "--quiet", "-b", "feature")
        self.commit("mine")
        self.commit("mine too")
        self.git("checkout", "--quiet", "main")
        on_main = self.commit("another's")
        self.git("checkout", "--quiet", "feature")
        base, said = self.find_base()
        self.assertEqual(base, left)
        self.assertIn("the merge base with main", said)
        self.git("merge", "--quiet", "--no-edit", "main")
        self.assertEqual(self.find_base()[0], on_main)

    def test_on_main_with_nothing_changed_it_is_the_first_parent(self):
        self.begin()
        before = self.commit("second")
        head = self.commit("third")
        base, said = self.find_base()
        self.assertEqual(base, before)
        self.assertIn(f"its first parent {before[:12]}", said)
        # Of a merge: what main had before it.
        self.git("checkout", "--quiet", "-b", "feature", before)
        self.commit("mine")
        self.git("checkout", "--quiet", "main")
        self.git("merge", "--quiet", "--no-ff", "--no-edit", "feature")
        self.assertEqual(self.find_base()[0], head)

    def test_on_main_with_a_change_that_is_not_committed_it_is_head(self):
        head = self.begin()
        self.root.joinpath("first").write_text("another text")
        self.assertEqual(self.find_base()[0], head)

    def test_without_a_local_main_it_is_by_the_origins(self):
        left = self.begin()
        clone = self.folder / "clone"
        self.git("clone", "--quiet", str(self.root), str(clone))
        self.git("checkout", "--quiet", "-b", "feature", root=clone)
        self.git("branch", "--quiet", "--delete", "--force", "main", root=clone)
        self.commit("mine", root=clone)
        self.use(clone)
        base, said = self.find_base()
        self.assertEqual(base, left)
        self.assertIn("the merge base with origin/main", said)

    def test_without_any_main_it_is_the_first_parent(self):
        before = self.begin()
        self.git("branch", "--move", "trunk")
        self.commit("second")
        self.assertEqual(self.find_base()[0], before)

    def test_a_commit_that_git_does_not_know_is_refused_by_name(self):
        self.begin()
        with self.assertRaisesRegex(ValueError, "--against: mian"):
            compare_base.find_base("mian")

    def test_against_another_commit(self):
        first = self.begin()
        self.commit("second")
        self.commit("third")
        self.assertEqual(self.find_base(first)[0], first)

    def test_it_is_skipped_only_where_there_is_none(self):
        self.assert_skipped("needs a git repository")
        self.begin()
        self.assert_skipped("HEAD is the first commit$")
        self.commit("second")
        clone = self.folder / "clone"
        self.git("clone", "--quiet", "--depth", "1", self.root.as_uri(), str(clone))
        self.use(clone)
        self.assert_skipped("HEAD is the first commit of this shallow clone$")


class InTurnTest(unittest.TestCase):
    """What is measured when, and what is made of it, without any program."""

    def order(self, seconds_each, **more):
        options = argparse.Namespace(**{"rounds": 4, "seconds": 1000, "small": True, **more})
        order, now = [], [0.0]

        def measure(program, _):
            order.append(program)
            now[0] += seconds_each
            return {"rows": [len(order)]}

        with unittest.mock.patch.object(compare_base, "measure", measure), \
                unittest.mock.patch.object(compare_base.time, "monotonic", lambda: now[0]), \
                contextlib.redirect_stdout(io.StringIO()):
            rounds = compare_base.measure_in_turn(["base", "change"], options)
        return order, [[document["rows"][0] for document in one] for one in rounds]

    def test_the_order_alternates_from_round_to_round(self):
        order, rounds = self.order(1)
        self.assertEqual(order, ["base", "change", "change", "base"] * 2)
        # And each program has its own documents, in the order of the rounds.
        self.assertEqual(rounds, [[1, 4, 5, 8], [2, 3, 6, 7]])

    def test_two_rounds_are_run_however_long_they_take(self):
        self.assertEqual(self.order(10_000)[0], ["base", "change", "change", "base"])
        self.assertEqual(len(self.order(100, seconds=650)[0]), 6)

    def test_rounds_become_medians_and_tails_their_least(self):
        def one(rate, p99_us, time_scale):
            return {"rows": [
                {"kind": "real", "gb_per_s_median": rate, "p99_us": p99_us, "jain_median": rate / 9,
                 "time_scale": 1},
                {"kind": "emulated", "gb_per_s_median": rate, "p50_us": 7 * time_scale,
                 "p99_us": p99_us * time_scale, "time_scale": time_scale}]}

        merged = compare_base.merge([one(2, 90, 100), one(3, 50, 400), one(7, 70, 200)])
        real, emulated = merged["rows"]
        self.assertEqual((real["gb_per_s_median"], real["gb_per_s_mad"]), (3, 1))
        self.assertEqual((real["p99_us"], real["jain_median"]), (50, 3 / 9))
        self.assertEqual((emulated["p50_us"], emulated["p99_us"], emulated["time_scale"]),
                         (7, 50, 1))
        with self.assertRaisesRegex(RuntimeError, "p99_us of the rounds"):
            compare_base.merge([one(2, 90, 100), one(2, 0, 100)])


if __name__ == "__main__":
    unittest.main()
