#!/usr/bin/env python3
"""The way from a device to a prediction: tools/measure-device on a virtual GPU, every step of it, and calibrate with its file;
the device and its other user are as before.

Usage    rehearsal_test.py BUILD. That the figures are right is device_test.cc's matter: here they only have to arrive.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FROM_EACH_STEP = {"packets": "dependent_packet_us", "cycle": "cycle_idle_us", "suspend": "suspend_us", "mask": "mask_us",
                  "priority": "priority_share", "reaction": "gate_closed_us", "endurance": "endurance"}
# What a suspension costs beyond a cycle is left out where it is not more than the cycle's own spread.
PARAMETERS = {"packet_launch_ns", "pipe_priority_effective", "runlist_cycle_ns"}
OTHERS = {"cwsr_bytes_per_ns"}
FIGURES = ["p50_ms", "p95_ms", "p99_ms", "max_ms", "low_per_s"]


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, env={**os.environ, "XSCHED_HSA_BUILD": str(BUILD)})


class RehearsalTest(unittest.TestCase):
    def test_what_is_measured_is_what_calibrate_predicts_with_and_the_device_is_left_as_found(self):
        device = f"rehearsal-{os.getpid()}"
        # At measure-device's own scale, which then joins it. Somebody else's queue is there, without work.
        started = run(BUILD / "bin/virtual-gpu", "start", "--quiet", "--device", device, "--time-scale", "8")
        self.assertEqual(started.returncode, 0, started.stderr)
        self.addCleanup(run, BUILD / "bin/virtual-gpu", "stop", "--device", device)
        on_it = [BUILD / "bin/virtual-gpu", "run", "--quiet", "--device", device, "--"]
        neighbour = subprocess.Popen([str(word) for word in [*on_it, BUILD / "bin/hsa-exercise", "paused", "20"]],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(neighbour.communicate)
        self.assertEqual(neighbour.stdout.readline(), "ready\n")
        found = self.state_of(device)
        self.assertEqual(len(found), 1)
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "measured-device.json"
            measured = run(*on_it, ROOT / "tools/measure-device", "--virtual", "--quick", "--busy-ok", "--endurance", "1",
                           "--out", file)
            self.assertEqual(measured.returncode, 0, measured.stdout + measured.stderr)
            self.assertEqual(self.state_of(device), found)
            record = json.loads(file.read_text())
            predicted = run(ROOT / "tools/virtual-gpu/calibrate", "--device", file, "--quick", "--build", BUILD)
        self.check_record(record, measured.stdout)
        self.assertEqual(predicted.returncode, 0, predicted.stdout + predicted.stderr)
        self.check_prediction(record, predicted.stdout)
        self.assertIn("completed 20", neighbour.communicate("\n")[0])

    @staticmethod
    def state_of(device):
        stats = json.loads(run(BUILD / "bin/virtual-gpu", "stats", "--json", "--device", device).stdout)
        kept = ("id", "priority", "percentage", "active", "packets")
        return {process["pid"]: [{key: queue[key] for key in kept} for queue in process["queues"]]
                for process in stats["processes"]}

    def check_record(self, record, said):
        self.assertTrue(record["simulated"])
        for step, name in FROM_EACH_STEP.items():
            self.assertIn(name, record["measured"], f"step {step} left nothing")
        self.assertEqual(set(record["params"]) - OTHERS, PARAMETERS)
        for name in ("gate_closed", "device_left", "device_left_long_kernels"):
            self.assertEqual(record["measured"][name + "_us"]["n"], 20)
            self.assertRegex(said, rf"(?m)^{name} +20 ")
        self.assertEqual([check["name"] for check in record["checks"] if not check["passed"]], [])
        self.assertIn("an urgent doorbell closes the gate, short kernels", [check["name"] for check in record["checks"]])

    def check_prediction(self, record, said):
        self.assertIn(f"measured on {record['device']['name']} (simulated)\n", said)
        for name, value in record["params"].items():
            shown = re.search(rf"(?m)^{name} +\S+ +(.+)$", said)
            self.assertIsNotNone(shown, said)
            self.assertEqual(shown[1], str(value if isinstance(value, (bool, int)) else round(value, 2)))
        for scenario in ("intensive", "standard"):
            for figure in FIGURES:
                self.assertRegex(said, rf"(?m)^{scenario} +{figure} ")


if __name__ == "__main__":
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
