"""The one line of progress: on a terminal, in a pipe, and what it promises."""

import io
import os
import pty
import subprocess
import sys
import unittest

EXPERIMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "experiment")
sys.path.insert(0, EXPERIMENT)

from progress import Progress, words  # noqa: E402

SHOWS = """
import sys; sys.path.insert(0, %r)
from progress import Progress
p = Progress(120)
p.show("run 1 of 8: standard, alone")
p.show("x" * 500)
p.clear()
""" % EXPERIMENT


class Terminal(io.StringIO):
    def isatty(self):
        return True


class ProgressTest(unittest.TestCase):
    def progress(self, *arguments, **named):
        self.now = 100.0
        return Progress(*arguments, stream=Terminal(), clock=lambda: self.now, **named)

    def test_begins_with_the_plan_and_follows_what_steps_took(self):
        progress = self.progress(200)
        self.assertEqual(progress.left_s(), 200)
        self.now += 30
        self.assertEqual(progress.left_s(), 170)
        self.now += 50  # of a step planned with 40
        progress.done(40)
        self.assertEqual(progress.left_s(), 320)
        self.now += 1000
        self.assertEqual(progress.left_s(), 0)

    def test_without_a_plan_says_nothing_of_time_before_a_step_has_ended(self):
        progress = self.progress(190, planned=False)
        progress.show("0 of 190 runs")
        self.assertTrue(progress.stream.getvalue().endswith("0 of 190 runs"))
        self.now += 6
        progress.done(1)
        progress.show("1 of 190 runs")
        self.assertTrue(progress.stream.getvalue().endswith("1 of 190 runs, about 19 min left"))

    def test_times_are_as_rough_as_they_are_known(self):
        self.assertEqual([words(s) for s in (0, 12, 58, 100, 3600)],
                         ["about 1 s left", "about 10 s left", "about 60 s left", "about 2 min left",
                          "about 60 min left"])

    def test_rewrites_one_line_that_fits_the_terminal(self):
        master, slave = pty.openpty()
        import fcntl
        import struct
        import termios
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        with subprocess.Popen([sys.executable, "-c", SHOWS], stderr=slave) as process:
            process.wait(30)
        os.close(slave)
        text = os.read(master, 65536).decode()
        os.close(master)
        self.assertIn("run 1 of 8: standard, alone, about 2 mi", text)
        self.assertNotIn("\n", text)
        pieces = text.split("\r\033[K")
        self.assertEqual(len(pieces), 4)
        self.assertEqual(pieces[-1], "")  # nothing of it stays
        self.assertTrue(all(len(piece) < 40 for piece in pieces), pieces)

    def test_step_done_elsewhere_is_shown_and_counted_also_when_it_fails(self):
        progress = self.progress(100)
        with self.assertRaises(ValueError), progress.during("soak: 40 s", 40):
            raise ValueError
        self.assertEqual(progress.finished, 40)
        self.assertIn("soak: 40 s, about 2 min left", progress.stream.getvalue())
        self.assertTrue(progress.stream.getvalue().endswith("\r\033[K"))

    def test_step_may_say_how_it_stands(self):
        progress = self.progress(100)
        with progress.during(lambda: "crowd: 12 queues with work", 40):
            pass
        self.assertIn("crowd: 12 queues with work, about 2 min left", progress.stream.getvalue())

    def test_is_silent_in_a_pipe(self):
        done = subprocess.run([sys.executable, "-c", SHOWS], capture_output=True, timeout=30)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))


if __name__ == "__main__":
    unittest.main()
