"""What each test of a suite is expected to do: expected/SUITE.txt, one test a line.

  NAME  RESULT  [timeout=SECONDS] [scale=K] [attempts=N] [after=NAME] [profile=NAME] [says="REGEX"]  REASON

RESULT is one of
  pass     it passes, and has tested something
  empty    it exits 0, but its output (says) shows that it left its work out
  fail     it fails, with this (says) in its output
  crash    it dies by a signal
  timeout  it does not end within its time
  skip     it is not run
scale slows the device down (--time-scale), for tests that compare times: the host's noise counts less.
attempts is for tests with a deadline of their own that a busy host misses; each attempt is printed.
after is a test of a line above that runs before it in the same process (gtest keeps their order).
profile is another GPU than the suite's own.
Everything but pass needs a reason, and so does a test with attempts, after or profile. Lines that begin with '## '
are headings of the table in docs.
"""

import dataclasses
import re

RESULTS = ("pass", "empty", "fail", "crash", "timeout", "skip")
DEFAULT_TIMEOUT_S = 60
OPTION = re.compile(r'(timeout|scale|attempts)=(\d+)(?:\s+|$)|(says)="([^"]*)"(?:\s+|$)|(after|profile)=(\S+)(?:\s+|$)')


@dataclasses.dataclass
class Expectation:
    name: str
    result: str
    heading: str
    timeout_s: int = DEFAULT_TIMEOUT_S
    scale: int = 1
    attempts: int = 1
    after: str = ""
    profile: str = ""
    says: str = ""
    reason: str = ""


def parse_line(line, heading):
    """The expectation of one line, or a string that says what is wrong with it."""
    words = line.split(None, 2)
    if len(words) < 2 or words[1] not in RESULTS:
        return f"the second word must be one of {', '.join(RESULTS)}"
    expectation = Expectation(words[0], words[1], heading)
    rest = words[2] if len(words) == 3 else ""
    while found := OPTION.match(rest):
        if found[1] == "timeout":
            expectation.timeout_s = int(found[2])
        elif found[1] == "scale":
            expectation.scale = int(found[2])
        elif found[1] == "attempts":
            expectation.attempts = int(found[2])
        elif found[5]:
            setattr(expectation, found[5], found[6])
        else:
            expectation.says = found[4]
        rest = rest[found.end():]
    expectation.reason = rest.strip()
    for why, wanted in ((expectation.result, expectation.result != "pass"), ("attempts", expectation.attempts > 1),
                        ("after", expectation.after), ("profile", expectation.profile)):
        if wanted and not expectation.reason:
            return f"{why} needs a reason"
    if expectation.result == "empty" and not expectation.says:
        return 'empty needs says="...": how its output shows that nothing was tested'
    return expectation


def load(path, fail):
    expected, heading = {}, ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("## "):
            heading = line[3:].strip()
        if not line.strip() or line.startswith("#"):
            continue
        parsed = parse_line(line, heading)
        if isinstance(parsed, str):
            fail(f"{path}:{number}: {parsed}")
        if parsed.name in expected:
            fail(f"{path}:{number}: {parsed.name} is there twice")
        if parsed.after and parsed.after not in expected:
            fail(f"{path}:{number}: after={parsed.after}: no line above has that test")
        expected[parsed.name] = parsed
    return expected


def table(suite, expected):
    """The Markdown of docs/suites.md."""
    counts = {result: 0 for result in RESULTS}
    for expectation in expected.values():
        counts[expectation.result] += 1
    summary = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
    lines = [f"### {suite}: {len(expected)} tests: {summary}"]
    heading = None
    for expectation in expected.values():
        if expectation.heading != heading:
            heading = expectation.heading
            lines += ["", heading] if heading else []
            lines += ["", "| test | result | why |", "|---|---|---|"]
        lines.append(f"| {expectation.name} | {expectation.result} | {expectation.reason} |")
    return "\n".join(lines) + "\n"


def listing(expected):
    return "\n".join(f"{e.result:8}{e.timeout_s:5} s  {e.name}  {e.reason}" for e in expected.values())
