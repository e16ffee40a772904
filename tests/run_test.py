#!/usr/bin/env python3
"""Does tests/run fail where a sanitizer has found something, whoever it was in, and are its tests by themselves? On a copy of it alone, with stand-ins for what it
calls: they say what they were given, and the one for ctest leaves a report where a process of the tests would.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
STAND_IN = "#!/bin/sh\n%s\n"
LEAVES_A_REPORT = """options=$TSAN_OPTIONS; log=${options#*log_path=}
echo "WARNING: of a daemon" > "${log%%:*}.123"
"""


class RunTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="xsched-run-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("tests", "tools", "bin"):
            (self.folder / name).mkdir()
        shutil.copy(HERE / "run", self.folder / "tests" / "run")
        (self.folder / "tests" / "packages.txt").write_text("")
        self.stand_in("tools/install-packages", "")
        self.stand_in("bin/cmake", "mkdir -p build-tsan build")
        self.stand_in("bin/ninja", "")

    def stand_in(self, name, text):
        (self.folder / name).write_text(STAND_IN % text)
        (self.folder / name).chmod(0o755)

    def run_it(self, ctest, *arguments, **exported):
        self.stand_in("bin/ctest", ctest)
        environment = dict(os.environ, PATH=f"{self.folder}/bin:{os.environ['PATH']}", **exported)
        return subprocess.run([self.folder / "tests" / "run", *arguments], capture_output=True, text=True, env=environment)

    def test_a_report_that_no_exit_code_tells_of_fails_the_run(self):
        done = self.run_it(LEAVES_A_REPORT, "--sanitizer", "tsan")
        self.assertEqual(done.returncode, 1)
        self.assertIn("WARNING: of a daemon", done.stdout)
        self.assertIn("build-tsan/reports/report.123", done.stderr)

    def test_a_thread_that_was_stopped_already_is_no_report(self):
        remark = LEAVES_A_REPORT.replace("WARNING: of a daemon", "==7==Running thread 5 was not suspended. False leaks are possible.")
        self.assertEqual(self.run_it(remark, "--sanitizer", "tsan").returncode, 0)

    def test_what_an_earlier_run_has_left_does_not(self):
        self.run_it(LEAVES_A_REPORT, "--sanitizer", "tsan")
        done = self.run_it("", "--sanitizer", "tsan")
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_ctests_own_exit_code_is_the_runs(self):
        self.assertEqual(self.run_it("exit 8", "--sanitizer", "tsan").returncode, 8)
        self.assertEqual(self.run_it("exit 8").returncode, 8)
        self.assertEqual(self.run_it("").returncode, 0)

    def test_what_the_callers_shell_says_to_the_layer_is_not_for_the_tests(self):
        done = self.run_it("env", XSCHED_HSA_SOCKET="/elsewhere", XSCHED_HSA_DISABLE="1", HSA_TOOLS_LIB="another",
                           VIRTUAL_GPU_SOCKET="/elsewhere", XSCHED_HSA_TEST_SEED="7")
        told = [line for line in done.stdout.splitlines() if line.startswith(("XSCHED_", "VIRTUAL_", "HSA_TOOLS"))]
        self.assertEqual([line for line in told if "_BUILD" not in line], ["XSCHED_HSA_TEST_SEED=7"])


if __name__ == "__main__":
    unittest.main()
