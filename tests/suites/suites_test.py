#!/usr/bin/env python3
"""The suites' own machinery, without a device: expectations, judgement, and the tables in docs."""

import pathlib
import tempfile
import unittest

import expectations
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
import suites

HERE = pathlib.Path(__file__).resolve().parent


def load_run():
    loader = SourceFileLoader("run", str(HERE / "run"))
    module = module_from_spec(spec_from_loader("run", loader))
    loader.exec_module(module)
    return module


class Refused(Exception):
    pass


def refuse(text):
    raise Refused(text)


class ExpectationsTest(unittest.TestCase):
    def load(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.txt"
            path.write_text(text)
            return expectations.load(path, refuse)

    def test_options_and_headings(self):
        loaded = self.load('## One\nA.a pass timeout=9\nA.b fail says="x y" timeout=3 because\n')
        self.assertEqual((loaded["A.a"].timeout_s, loaded["A.a"].heading), (9, "One"))
        self.assertEqual((loaded["A.b"].says, loaded["A.b"].timeout_s, loaded["A.b"].reason), ("x y", 3, "because"))

    def test_bad_lines_are_refused(self):
        for line in ("A.a", "A.a passes", "A.a fail", 'A.a fail says="x"', "A.a empty because", "A.a pass\nA.a pass",
                     "A.a pass attempts=2", "A.a pass\nA.b pass after=A.a", "A.b pass after=A.a because\nA.a pass",
                     "A.a pass profile=mi210"):
            with self.assertRaises(Refused, msg=line):
                self.load(line + "\n")

    def test_a_test_that_comes_after_another_runs_in_its_process(self):
        loaded = self.load("A.a pass\nA.b pass after=A.a timeout=9 because\n")
        self.assertEqual((loaded["A.b"].timeout_s, loaded["A.b"].reason), (9, "because"))
        self.assertEqual(suites.gtest_filter("A.b", loaded["A.b"]), "--gtest_filter=A.a:A.b")
        self.assertEqual(suites.gtest_filter("A.a", loaded["A.a"]), "--gtest_filter=A.a")

    def test_docs_hold_the_tables(self):
        document = (HERE.parent.parent / "docs" / "suites.md").read_text()
        for name in suites.NAMES:
            table = expectations.table(name, expectations.load(HERE / "expected" / f"{name}.txt", refuse))
            self.assertIn(table, document, f"docs/suites.md: paste what tests/suites/run --table prints for {name}")


class JudgementTest(unittest.TestCase):
    def judge(self, expected, outcome, output=""):
        line = expectations.parse_line("A.a " + expected, "")
        return load_run().judge(line, outcome, output)

    def test_both_directions_are_deviations(self):
        self.assertEqual(self.judge("pass", "pass"), ("pass", ""))
        self.assertTrue(self.judge("pass", "fail")[1])
        self.assertTrue(self.judge("fail because", "pass")[1])
        self.assertTrue(self.judge("crash because", "timeout")[1])

    def test_a_failure_for_another_reason_is_a_deviation(self):
        self.assertFalse(self.judge('fail says="no VMM" because', "fail", "there is no VMM")[1])
        self.assertTrue(self.judge('fail says="no VMM" because', "fail", "segmentation fault")[1])

    def test_a_test_that_begins_to_test_is_a_deviation(self):
        self.assertEqual(self.judge('empty says="Skip" because', "pass", "Skipping"), ("empty", ""))
        self.assertTrue(self.judge('empty says="Skip" because', "pass", "did it")[1])

    def test_a_test_that_stops_testing_is_a_deviation(self):
        self.assertTrue(self.judge("pass", "pass", "Skipping test: no CWSR")[1])


class ListingTest(unittest.TestCase):
    def test_names_of_a_gtest_listing(self):
        listing = "some banner\nA.\n  x\n  y  # GetParam() = 1\nB/C.\n  z\n"
        self.assertEqual(suites.gtest_names(listing), ["A.x", "A.y", "B/C.z"])


if __name__ == "__main__":
    unittest.main()
