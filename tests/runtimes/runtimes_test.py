#!/usr/bin/env python3
"""docs/runtimes.md has the table that tests/runtimes/run makes of docs/runtimes.json, and nobody edited either."""

import json
import pathlib
import subprocess
import sys
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

HERE = pathlib.Path(__file__).resolve().parent


def load_run():
    loader = SourceFileLoader("run", str(HERE / "run"))
    module = module_from_spec(spec_from_loader("run", loader))
    loader.exec_module(module)
    return module


def suite(day, **gates):
    return {"day": day, "commit": "0", "gates": gates}


class RuntimesTest(unittest.TestCase):
    def setUp(self):
        self.run = load_run()
        self.record = json.loads(self.run.RECORD.read_text())

    def test_the_document_has_the_records_table(self):
        text = self.run.DOCUMENT.read_text()
        shown = text.split(self.run.BEGIN)[1].split(self.run.END)[0]
        self.assertEqual(shown, self.run.table(self.record))

    def test_every_runtime_and_suite_is_in_the_record(self):
        self.assertEqual(set(self.record), set(self.run.RUNTIMES))
        for name, one in self.record.items():
            wanted = set(self.run.SUITES) | ({self.run.HIP_SUITE} if name in self.run.HIP_RUNTIMES else set())
            self.assertEqual(set(one["suites"]), wanted, name)
            for result in one["suites"].values():
                self.assertEqual(set(result), {"gates", "day", "commit"})
                self.assertTrue(result["gates"], name)

    def test_a_run_replaces_what_it_ran_and_nothing_else(self):
        before = {"here": {"version": "5", "suites": {"layer_test": suite("1", both=[1, 2]),
                                                      "main_job_test": suite("1", both=[2, 2])}},
                  "sid": {"version": "6", "suites": {"layer_test": suite("1", both=[3, 3])}}}
        after = self.run.merged(before, {"here": {"version": "5", "suites": {"layer_test": suite("2", window=[2, 2])}}})
        self.assertEqual(after["here"]["suites"], {"layer_test": suite("2", window=[2, 2]),
                                                   "main_job_test": suite("1", both=[2, 2])})
        self.assertEqual(after["sid"], before["sid"])
        self.assertEqual(before["here"]["suites"]["layer_test"]["day"], "1")

    def test_another_version_of_a_runtime_keeps_nothing_of_the_one_before(self):
        before = {"sid": {"version": "6", "suites": {"main_job_test": suite("1", both=[3, 3])}}}
        after = self.run.merged(before, {"sid": {"version": "7", "suites": {"layer_test": suite("2", both=[1, 1])}}})
        self.assertEqual(after["sid"], {"version": "7", "suites": {"layer_test": suite("2", both=[1, 1])}})

    def test_a_failure_is_shown_and_what_was_not_run_is_a_dash(self):
        table = self.run.table({"here": {"version": "5", "suites": {"layer_test": suite("2026-01-01", both=[1, 2])}},
                                "sid": {"version": "6", "suites": {"layer_test": suite("2026-01-02", window=[4, 4])}}})
        self.assertIn("| `layer_test` | both | 1/2 | – |\n| `layer_test` | window | – | 4/4 |\n", table)
        self.assertIn("| run on | | 2026-01-01 | 2026-01-02 |", table)

    def test_bad_input_is_one_line_and_two(self):
        for words in (["--write", "--filter", "Holds"], ["--runtime", "etch"], ["--suite", "nothing"]):
            done = subprocess.run([sys.executable, "-B", HERE / "run", *words], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn("run: ", done.stderr.splitlines()[-1])


if __name__ == "__main__":
    unittest.main()
