"""progress.py: one line on a terminal, rewritten: what runs, and about how long it will still take.

In a pipe it is silent. The estimate starts from what the steps are planned to take (or from nothing)
and follows what the finished ones took. Host time.
"""

import contextlib
import os
import sys
import threading
import time


def words(seconds):
    if seconds < 60:
        return "about %d s left" % max(1, 5 * round(seconds / 5))
    return "about %d min left" % round(seconds / 60)


class Progress:
    """`total`: of all steps, in seconds, or in any unit if `planned` is False."""

    def __init__(self, total, planned=True, stream=None, clock=time.monotonic):
        self.stream, self.clock = stream or sys.stderr, clock
        self.terminal = self.stream.isatty()
        self.total, self.planned, self.finished = total, planned, 0
        self.began = self.step_began = clock()

    def left_s(self):
        """None as long as nothing is known."""
        rest = self.total - self.finished
        if self.finished > 0:
            rest *= (self.step_began - self.began) / self.finished
        elif not self.planned:
            return None
        return max(0, rest - (self.clock() - self.step_began))

    def show(self, text):
        if not self.terminal:
            return
        left = self.left_s()
        line = text if left is None else "%s, %s" % (text, words(left))
        print("\r\033[K%s" % line[:self.columns() - 1], end="", file=self.stream, flush=True)

    def columns(self):
        """A line that wraps could not be rewritten."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def done(self, size):
        """A step of that size has ended."""
        self.finished += size
        self.step_began = self.clock()

    @contextlib.contextmanager
    def during(self, text, size):
        """A step of that size whose doing is elsewhere: the line is kept up to date meanwhile. `text` may be a
        function that says how it stands."""
        over = threading.Event()

        def keep():
            self.show(text() if callable(text) else text)
            while not over.wait(1):
                self.show(text() if callable(text) else text)
        thread = threading.Thread(target=keep, daemon=True)
        if self.terminal:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if self.terminal:
                thread.join()
            self.done(size)
            self.clear()

    def clear(self):
        if self.terminal:
            print("\r\033[K", end="", file=self.stream, flush=True)
