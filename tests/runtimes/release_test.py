#!/usr/bin/env python3
"""tests/runtimes/release reads ctest right, says why nothing was built, and docs/runtimes.md has its table."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

HERE = pathlib.Path(__file__).resolve().parent
CTEST = """Test project /src/xsched-hsa/build
        Start  61: LayerTest.Holds
  1/7 Test  #61: LayerTest.Holds .....................   Passed    0.05 sec
  2/7 Test   #2: Gates/GateTest.Stress/window ........***Skipped   0.02 sec
  3/7 Test   #3: a_very_long_name_that_leaves_no_dot .***Failed    0.02 sec
what it said: 9/6 tests #7: not a line of ctest
  4/7 Test   #4: slow_test ...........................***Timeout  60.01 sec
  5/7 Test   #5: crash_test ..........................***Exception: SegFault  0.10 sec
  6/7 Test   #6: program_test ........................***Not Run   0.00 sec
  7/7 Test   #7: Gates/GateTest.Runs/1.5  # GetParam() = 8-byte object <0.5 s, "..."> .   Passed    0.01 sec
"""


def load_release():
    loader = SourceFileLoader("release", str(HERE / "release"))
    module = module_from_spec(spec_from_loader("release", loader))
    loader.exec_module(module)
    return module


def entry(**changed):
    return {"gcc": "14.2.0", "libc": "2.41", "cmake": "3.31", "rocr": "6.1.2-3", "hipcc": "-", "commit": "abc", "day": "2026-01-01",
            "passed": 3, "failed": [], "skipped": ["a"], **changed}


class ReleaseTest(unittest.TestCase):
    def setUp(self):
        self.release = load_release()

    def read(self, text):
        tests = self.release.Tests()
        for line in text.splitlines():
            tests.read(line)
        return tests

    def test_each_outcome_of_ctest_is_counted(self):
        tests = self.read(CTEST)
        self.assertEqual(tests.named("Passed"), ["Gates/GateTest.Runs/1.5", "LayerTest.Holds"])
        self.assertEqual(tests.named("Skipped"), ["Gates/GateTest.Stress/window"])
        self.assertEqual(tests.named("Failed"), ["a_very_long_name_that_leaves_no_dot", "crash_test", "program_test", "slow_test"])
        self.assertEqual(tests.text(), "2 passed, 4 failed, 1 skipped")

    def test_a_run_that_stopped_half_way_is_no_success(self):
        tests = self.read("\n".join(CTEST.splitlines()[:3]))
        self.assertEqual(self.release.complaints(tests, 0, None), ["only 1 of 7 tests have ended (exit 0)"])

    def test_what_ctest_alone_knows_to_be_wrong_is_told(self):
        tests = self.read("1/1 Test #1: one ... Passed 0.1 sec")
        self.assertEqual(self.release.complaints(tests, 0, None), [])
        self.assertEqual(self.release.complaints(tests, 8, None), ["tests/run ended with 8"])

    def test_why_nothing_was_built(self):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "log"
            log.write_text("installing 3 packages: a b c\ninstall-packages: apt-get install failed: E: no package b\n")
            found = self.release.complaints(self.read(""), 1, log)
            self.assertEqual(found, ["it was not built: install-packages: apt-get install failed: E: no package b"])
            log.write_text("[1/2] Building\n/src/a.cc:3:1: error: 'x' was not declared\n/src/a.cc:3:1: error: 'x' was not declared\nninja: build stopped\n")
            self.assertEqual(self.release.complaints(self.read(""), 1, log),
                             ["it was not built: /src/a.cc:3:1: error: 'x' was not declared"])

    def test_the_table_names_what_failed(self):
        table = self.release.table({"trixie": entry(failed=["LayerTest.Holds"])})
        self.assertIn("| trixie | 14.2.0 | 2.41 | 6.1.2-3 | - | 3 | 1 | 1 | 2026-01-01, abc |\n", table)
        self.assertIn("Failed in trixie: `LayerTest.Holds`.", table)

    def test_the_document_has_the_records_table(self):
        text = self.release.DOCUMENT.read_text()
        shown = text.split(self.release.BEGIN)[1].split(self.release.END)[0]
        self.assertEqual(shown, self.release.table(json.loads(self.release.RECORD.read_text())))

    def test_names_of_elsewhere_are_names_of_packages_that_are_wanted(self):
        def lines(name):
            text = (self.release.REPOSITORY / name).read_text()
            return [line for line in text.splitlines() if line and not line.startswith("#")]
        wanted = set(lines("tools/packages.txt") + lines("tests/packages.txt"))
        for line in lines("tools/packages-elsewhere.txt"):
            self.assertEqual(len(line.split()), 3, line)
            self.assertIn(line.split()[1], wanted)

    def test_bad_input_is_one_line_and_two(self):
        for words in ([], ["etch"], ["sid", "--write", "--filter", "Holds"], ["sid", "--label", "none"]):
            done = subprocess.run([sys.executable, "-B", HERE / "release", *words], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn("release: ", done.stderr.splitlines()[-1])


if __name__ == "__main__":
    unittest.main()
