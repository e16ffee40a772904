"""torch_dual_model.py without PyTorch: its worker with a model that only counts, its arguments, and
what it asks dual-model for."""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

SCRIPT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "torch_dual_model.py"))

TORCH = """
__version__ = "0-counting"
def no_grad():
    import contextlib
    return contextlib.nullcontext()
def randn(*shape, device):
    return shape
class cuda:
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    synchronize = staticmethod(lambda device: None)
    class get_device_properties:
        name, multi_processor_count, gcnArchName = "a GPU", 80, "gfx942"
        def __init__(self, device): pass
"""
VISION = """
import time
class Net:
    def eval(self): return self
    def to(self, device): return self
    def __call__(self, shape): time.sleep(0.002)
class models:
    resnet18 = staticmethod(lambda weights: Net())
"""


class Scratch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text, executable=False):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        if executable:
            os.chmod(path, stat.S_IRWXU)
        return path


class WorkerTest(Scratch):
    def start(self, *arguments, spec="traces.json:resnet18.b1"):
        self.write("torch.py", TORCH)
        self.write("torchvision.py", VISION)
        ours, its = socket.socketpair()
        self.ours = ours
        self.result = os.path.join(self.folder, "result.json")
        process = subprocess.Popen(
            [sys.executable, "-B", SCRIPT, "worker", "--control-fd", str(its.fileno()), "--result",
             self.result, *arguments, spec],
            pass_fds=[its.fileno()], stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": self.folder})
        its.close()
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        ours.settimeout(30)
        self.addCleanup(ours.close)
        self.lines = ours.makefile("rw", encoding="utf-8")
        self.addCleanup(self.lines.close)
        return process

    def say(self, line):
        self.lines.write(line + "\n")
        self.lines.flush()

    def finish(self, process):
        self.assertEqual(self.lines.readline(), "done\n")
        with open(self.result, encoding="utf-8") as file:
            record = json.load(file)
        self.say("exit")
        self.assertEqual(process.wait(30), 0)
        return record

    def now(self):
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    def test_requests_are_paced_from_the_common_origin(self):
        process = self.start("--rate", "50", "--seconds", "0.4", "--warm-up", "0.2")
        self.assertEqual(self.lines.readline(), "ready %d\n" % process.pid)
        self.say("go %d" % (self.now() + 10_000_000))
        record = self.finish(process)
        self.assertEqual(record["role"], "high")
        self.assertEqual(record["model"], "resnet18.b1")
        starts = [start for start, _ in record["samples"]]
        self.assertGreater(len(starts), 3)
        self.assertLessEqual(len(starts), 20, "0.4 s at 50 requests a second")
        self.assertGreaterEqual(starts[0], 0, "the warm-up does not count")
        self.assertTrue(all(b - a >= 19.9 for a, b in zip(starts, starts[1:])), starts)
        self.assertTrue(all(duration >= 2 for _, duration in record["samples"]))
        check = record["check"]
        self.assertEqual(check["packets_submitted"], check["packets_completed"])
        self.assertGreater(check["packets_submitted"], len(starts), "warm-up and first runs too")

    def test_back_to_back_runs_until_told_to_stop(self):
        process = self.start("--seconds", "0.1")
        self.assertIn("ready", self.lines.readline())
        self.say("go %d" % self.now())
        time.sleep(0.3)
        self.say("stop %d" % self.now())
        record = self.finish(process)
        self.assertEqual(record["role"], "low")
        self.assertGreater(record["samples"][-1][0], 100, "its own seconds are not its end")

    def test_ends_when_its_parent_is_gone(self):
        process = self.start("--seconds", "100")
        self.assertIn("ready", self.lines.readline())
        self.lines.close()
        self.ours.close()
        self.assertEqual(process.wait(30), 1)
        self.assertIn("dual-model run is gone", process.stderr.read())

    def test_an_unknown_model_is_one_line(self):
        process = self.start(spec="traces.json:resnet1000.b1")
        self.assertEqual(process.wait(30), 2)
        self.assertEqual(process.stderr.read(),
                         "torch_dual_model: torchvision has no model resnet1000\n")

    def test_a_name_without_a_batch_is_refused(self):
        process = self.start(spec="traces.json:resnet18")
        self.assertEqual(process.wait(30), 2)
        self.assertIn("not NAME.bBATCH", process.stderr.read())


class MainTest(Scratch):
    def run_script(self, *arguments):
        self.write("dual-model", '#!/bin/sh\necho "$@" >> "%s/asked"\nexit ${CODE:-0}\n' % self.folder,
                   executable=True)
        run = subprocess.run(
            [sys.executable, "-B", SCRIPT, "--bin", self.folder, "--out", self.folder, *arguments],
            capture_output=True, text=True, timeout=60, check=False)
        try:
            with open(os.path.join(self.folder, "asked"), encoding="utf-8") as file:
                return run, file.read().splitlines()
        except FileNotFoundError:
            return run, []

    def test_the_published_scenarios_at_their_lengths(self):
        run, asked = self.run_script("--stand-in")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(len(asked), 2)
        self.assertIn("experiment --scenario standard --seconds 60 ", asked[0])
        self.assertIn("experiment --scenario intensive --seconds 180 ", asked[1])

    def test_one_mode_of_one_scenario(self):
        _, asked = self.run_script("--stand-in", "--scenario", "intensive", "--mode", "xsched-hsa")
        self.assertEqual(len(asked), 1)
        for part in ("run --mode xsched-hsa", "--high resnet_h100.json:resnet18.b1@20",
                     "--low resnet_h100.json:resnet50.b1024", "--seconds 180"):
            self.assertIn(part, asked[0])

    def test_three_tenants_with_and_without(self):
        _, asked = self.run_script("--stand-in", "--scenario", "tenants")
        self.assertEqual([line.split()[2] for line in asked], ["native", "xsched-hsa"])
        self.assertEqual(asked[0].count("--low"), 2)

    def test_a_failing_arm_fails_the_run(self):
        os.environ["CODE"] = "1"
        self.addCleanup(os.environ.pop, "CODE")
        for scenario in ("standard", "single"):
            run, _ = self.run_script("--stand-in", "--scenario", scenario)
            self.assertEqual(run.returncode, 1, scenario)
            self.assertIn("%s failed" % scenario, run.stderr)

    def test_bad_input_is_one_line_and_starts_nothing(self):
        for arguments, text in ((["--scenario", "heavy"], "heavy"), (["--seconds", "0"], "--seconds"),
                                (["--virtual"], "--stand-in"), (["--mode", "xsched"], "xsched")):
            run, asked = self.run_script(*arguments)
            self.assertEqual(run.returncode, 2, arguments)
            self.assertIn(text, run.stderr)
            self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)
            self.assertEqual(asked, [])

    def test_without_pytorch_it_says_so(self):
        try:
            import torch  # noqa: F401
            self.skipTest("PyTorch is here")
        except ImportError:
            pass
        run, asked = self.run_script()
        self.assertEqual((run.returncode, asked), (2, []))
        self.assertIn("no PyTorch here", run.stderr)


if __name__ == "__main__":
    unittest.main()
