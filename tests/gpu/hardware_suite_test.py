#!/usr/bin/env python3
"""The hardware suite where there is no GPU: every test is skipped, each with its reason; nothing passes unasked.

Usage    hardware_suite_test.py BUILD; exit 77 where there is a GPU, and the suite itself is the test.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

SKIPPED = 77
REASON = "needs an MI-series GPU: "


class HardwareSuiteTest(unittest.TestCase):
    def ctest(self, *words):
        # As tests/run --label gpu starts it.
        return subprocess.run(["ctest", "--test-dir", BUILD, "-L", "^gpu$", *words], capture_output=True, text=True,
                              check=False)

    def test_every_test_is_skipped_with_its_reason(self):
        names = {test["name"] for test in json.loads(self.ctest("--show-only=json-v1").stdout)["tests"]}
        self.assertGreater(len(names), 5)
        done = self.ctest("--verbose", "--no-tests=error")
        self.assertEqual(done.returncode, 0, done.stdout)
        outcomes = dict(re.findall(r"^ *\d+/\d+ Test +#\d+: (\S+) \.+ *\**(\w+)", done.stdout, re.M))
        self.assertEqual(outcomes, {name: "Skipped" for name in names}, done.stdout)
        reasons = re.findall(rf"^\d+: ({REASON}.+)$", done.stdout, re.M)
        self.assertEqual(len(reasons), len(names), done.stdout)


if __name__ == "__main__":
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    if os.access("/dev/kfd", os.R_OK | os.W_OK):
        print("there is a GPU: tests/run --label gpu is the test")
        sys.exit(SKIPPED)
    unittest.main()
