"""The ablation's judgement: which points there are, and where the plan is below the frontier."""

import os
import pty
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ablation"))
import ablation  # noqa: E402

SPREAD = {"p99": 0.02, "kept": 0.005}


def entry(p99, kept):
    return {"p99": p99, "kept": kept}


class FrontierTest(unittest.TestCase):
    def beaten_by(self, plan, **single):
        return ablation.dominators(plan, single, SPREAD)

    def test_beaten_in_one_figure_and_equal_in_the_other(self):
        self.assertEqual(self.beaten_by(entry(1.1, 0.9), hold=entry(1.05, 0.9)), ["hold"])
        self.assertEqual(self.beaten_by(entry(1.1, 0.9), hold=entry(1.1, 0.91)), ["hold"])

    def test_better_in_one_and_worse_in_the_other_is_another_point_of_the_frontier(self):
        self.assertEqual(self.beaten_by(entry(1.1, 0.9), hold=entry(3, 0.97)), [])
        self.assertEqual(self.beaten_by(entry(1.1, 0.9), suspend=entry(1.0, 0.85)), [])

    def test_within_the_spread_is_not_beaten(self):
        self.assertEqual(self.beaten_by(entry(1.1, 0.9), hold=entry(1.09, 0.903)), [])

    def test_spread_has_a_floor(self):
        spread = ablation.spread_of([entry(1.0, 0.9), entry(1.0, 0.9)])
        self.assertGreater(spread["p99"], 0)
        self.assertGreater(spread["kept"], 0)


class PointsTest(unittest.TestCase):
    def test_each_once_and_the_full_grid(self):
        points = ablation.make_points("all", False)
        self.assertEqual(len(points), len(set(points)))
        self.assertIn((1024, 20, 0.2), points)
        self.assertIn((8, 10, 5), points)
        self.assertIn((256, 20, 0.2), points)
        self.assertIn((1024, 100, 0.2), points)
        self.assertEqual(len(ablation.make_points("all", True)), 96)

    def test_what_makes_no_driver_call_is_run_once_for_all_cycles(self):
        keys = {key for c in ablation.CYCLES_MS for _, _, key in ablation.runs_of((8, 10, c))}
        self.assertEqual(sum(1 for key in keys if key[3] == "hold"), 1)
        self.assertEqual(sum(1 for key in keys if key[3] == "plan"),
                         len(ablation.PLAN_SEEDS) * len(ablation.CYCLES_MS))


class JudgeTest(unittest.TestCase):
    def judge(self, *plan):
        point = (8, 10, 0.2)
        records = {}
        for mechanism, seed, key in ablation.runs_of(point):
            p99, kept = plan[seed - 1] if mechanism == "plan" else (5, 0.5)
            records[key] = {"high": {"p50_over_alone": 1, "p99_over_alone": p99, "max_over_alone": p99,
                                     "requests": 300}, "low": {"kept": kept},
                            "layer": {"chosen": {"hold": 1, "squeeze": 0, "suspend": 0, "share": 0}}}
        return ablation.judge(point, records)

    def test_each_seed_has_to_meet_the_target(self):
        good = (1.02, 0.95)
        self.assertTrue(self.judge(good, good, good, good)["meets_target"])
        late = self.judge(good, good, (1.2, 0.95), good)
        self.assertFalse(late["meets_target"], "though the mean is 1.065")
        self.assertEqual(late["plan"]["worst_p99"], 1.2)
        self.assertIn("worst 1.20", ablation.markdown([late]))
        self.assertFalse(self.judge(good, good, good, (1.02, 0.89))["meets_target"])


class InputTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def test_bad_input_is_exit_code_2(self):
        for argv in (["--axis", "width"], ["--seconds", "0"], ["--jobs", "0"],
                     ["--sim", "x", "--nothing"]):
            with self.assertRaises(SystemExit) as caught:
                ablation.parse_arguments(argv)
            self.assertEqual(caught.exception.code, 2, argv)

    def test_a_run_that_fails_fails_the_ablation(self):
        argv = ["--sim", "/bin/false", "--axis", "scenarios", "--out", self.folder.name]
        stderr, sys.stderr = sys.stderr, open(os.devnull, "w")
        try:
            self.assertEqual(ablation.main(argv), 1)
        finally:
            sys.stderr.close()
            sys.stderr = stderr


class ProgressTest(unittest.TestCase):
    """The whole command, over a stand-in for dual-model-sim."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        sim = os.path.join(self.folder.name, "sim")
        with open(sim, "w") as file:
            file.write("""#!/bin/sh
echo '{"high": {"p50_over_alone": 1, "p99_over_alone": 1, "max_over_alone": 1, "requests": 300},
"low": {"kept": 0.95}, "layer": {"chosen": {"hold": 1, "squeeze": 0, "suspend": 0, "share": 0}}}'
""")
        os.chmod(sim, 0o700)
        self.command = [sys.executable, ablation.__file__, "--sim", sim, "--axis", "scenarios", "--out",
                        os.path.join(self.folder.name, "out")]

    def test_quiet_in_a_pipe(self):
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=50)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotIn("\r", done.stdout)
        self.assertIn("24 runs in", done.stdout)

    def test_one_line_with_an_estimate_on_a_terminal(self):
        master, slave = pty.openpty()
        with subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=slave) as process:
            os.close(slave)
            text = b""
            while True:
                try:
                    text += os.read(master, 4096)
                except OSError:  # nobody holds the other end
                    break
            self.assertEqual(process.wait(50), 0)
        os.close(master)
        self.assertIn(b"\r\x1b[K0 of 24 runs\r", text)
        self.assertRegex(text, rb"\r\x1b\[K23 of 24 runs, about \d+ s left\r")
        self.assertNotIn(b"\n", text)


if __name__ == "__main__":
    unittest.main()
