#!/usr/bin/env python3
"""tools/tenants without its load: the configuration it writes, and what it calls met. The load is tenants_test."""

import importlib.machinery
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("XSCHED_HSA_BUILD", ROOT / "build"))
LOADER = importlib.machinery.SourceFileLoader("tenants", str(ROOT / "tools/tenants"))
tenants = importlib.util.module_from_spec(importlib.util.spec_from_loader("tenants", LOADER))
LOADER.exec_module(tenants)


def arguments(*words):
    with mock.patch.object(sys, "argv", ["tenants", "--build", str(BUILD), *words]):
        return tenants.parse_arguments()


def row(share, p99, alone=2.0):
    return {"gpu": "0", "device_share": share, "alone": {"p99": alone}, "xsched-hsa": {"p99": p99}}


class TenantsToolTest(unittest.TestCase):
    def test_the_controller_takes_the_configuration_it_writes(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(tenants.configuration(arguments()))
            file.flush()
            done = subprocess.run([BUILD / "bin/xsched-hsad", "--config", file.name, "--check-config"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("good: policy weighted-fair, 3 rules", done.stdout)

    def test_its_times_are_the_devices_stretched(self):
        text = tenants.configuration(arguments("--time-scale", "8", "--target-ms", "3", "--slice-ms", "5"))
        for line in ("latency_target_ms = 24", "slice_ms = 40", "window_us = 1600", "linger_us = 2000",
                     "turn_tail_ms = 400", "hold_max_ms = 4000"):
            self.assertIn(line + "\n", text)

    def test_met_is_what_every_gpu_has(self):
        shares, tails = tenants.verdicts(arguments(), [row(0.72, 2.5), row(0.78, 2.4)])
        self.assertEqual((shares[1], tails[1]), ([True, True], [True, True]))
        shares, tails = tenants.verdicts(arguments(), [row(0.70, 2.4), row(0.80, 2.51)])
        self.assertEqual((shares[1], tails[1]), ([False, False], [True, False]))
        self.assertIn("2.51 (1.25 x alone)", tails[2])
        self.assertEqual([tenants.verdict(met) for met in (shares[1], tails[1])], ["NOT met", "NOT met"])

    def test_a_target_that_the_server_misses_alone_is_not_judged(self):
        late = tenants.verdicts(arguments(), [row(0.75, 2.9, alone=2.6), row(0.75, 2.4)])[1]
        self.assertEqual(late[1], [None, True])
        self.assertIn("not to be judged", tenants.verdict(late[1]))
        self.assertEqual(tenants.verdict([None, False]), "NOT met")
        self.assertEqual(tenants.verdict([True, True]), "met")

    def test_a_larger_scale_takes_longer_and_leaves_as_many_requests(self):
        self.assertEqual([arguments("--time-scale", text).seconds for text in ("0.1", "4", "16")], [4, 40, 160])
        self.assertEqual(arguments("--seconds", "12").seconds, 12)

    def test_bad_input_is_refused(self):
        for words in (("--seconds", "1"), ("--gpus", "0"), ("--time-scale", "0"), ("--time-scale", "nan"),
                      ("--time-scale", "1001"), ("--target-ms", "-1")):
            with self.assertRaises(SystemExit) as end, mock.patch("sys.stderr"):
                arguments(*words)
            self.assertEqual(end.exception.code, 2, words)


if __name__ == "__main__":
    sys.exit(unittest.main())
