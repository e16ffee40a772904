"""What the guard complains about, and what it lets pass (tests/cost/check)."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import unittest

PATH = os.path.join(os.path.dirname(os.path.realpath(__file__)), "check")
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("check", PATH)
check = importlib.util.module_from_spec(importlib.util.spec_from_loader("check", loader))
loader.exec_module(check)


def cost(instructions, locked=2.0, calls=0.0):
    return {"instructions": instructions, "locked": locked, "system_calls": calls}


class CheckTest(unittest.TestCase):
    def found(self, now, then):
        return list(check.complaints("path", now, then))

    def test_what_was_recorded_passes(self):
        self.assertEqual(self.found(cost(100), cost(100)), [])

    def test_five_percent_or_two_instructions_pass(self):
        self.assertEqual(self.found(cost(105), cost(100)), [])
        self.assertEqual(self.found(cost(12), cost(10)), [])

    def test_more_instructions_are_named_with_both_numbers(self):
        text, = self.found(cost(106), cost(100))
        self.assertIn("106.0 instructions, recorded 100.0", text)

    def test_one_lock_or_one_call_is_too_many(self):
        self.assertIn("3.00 locked", self.found(cost(100, locked=3), cost(100))[0])
        self.assertIn("1.00 system calls", self.found(cost(100, calls=1), cost(100))[0])

    def test_what_was_gained_is_to_be_recorded(self):
        self.assertIn("record it", self.found(cost(79), cost(100))[0])

    def test_of_another_compiler_only_locks_and_calls_count(self):
        self.assertEqual(list(check.complaints("path", cost(200), cost(100), True)), [])
        self.assertEqual(list(check.complaints("path", cost(20), cost(100), True)), [])
        self.assertIn("3.00 locked", list(check.complaints("path", cost(100, locked=3), cost(100), True))[0])
        self.assertIn("1.00 system calls", list(check.complaints("path", cost(100, calls=1), cost(100), True))[0])
        done = subprocess.run([sys.executable, "-B", PATH, "/nowhere", "--record", "--other-compiler"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("not for another", done.stderr)

    def test_no_probe_is_one_line_and_two(self):
        done = subprocess.run([sys.executable, "-B", PATH, "/nowhere"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertIn("build first", done.stderr)


if __name__ == "__main__":
    unittest.main()
