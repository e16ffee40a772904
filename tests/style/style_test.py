#!/usr/bin/env python3
"""How the sources look: formatted, no file and no function longer than agreed, no marks of unfinished work.

Limits   a file 600 lines, a function 60 lines; what is longer is listed in ratchet.txt with its length,
         and may only become shorter. A line of ratchet.txt that is no longer needed is an error as well.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CODE = (".cc", ".h", ".c", ".hip")
FILE_LINES, FUNCTION_LINES = 600, 60
FORMATTER = 14
# Not a function: what else begins at the left margin and ends in a brace.
NOT_A_FUNCTION = re.compile(r"^(namespace|class|struct|enum|union|extern|template|using|typedef|#|\}|//|constexpr [^(]*=|"
                            r"const [^(]*=|static [^(]*=|[\w:<>,* ]+ = ?)")


def formatter():
    for name in ("clang-format", f"clang-format-{FORMATTER}"):
        if shutil.which(name) is not None:
            said = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
            if f"version {FORMATTER}." in said:
                return name
    return None


def sources(endings):
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if parts[0].startswith("build") or parts[0] == ".git" or not path.is_file():
            continue
        if path.suffix in endings:
            yield path


def functions(text):
    """(first line, length) of each function that begins at the left margin."""
    lines = text.splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and line and not line[0].isspace() and not NOT_A_FUNCTION.match(line):
            if "(" in line and not line.rstrip().endswith((";", "}")):
                start = number
        elif start is not None and line.startswith("}"):
            yield start, number - start + 1
            start = None
        elif start is not None and line and not line[0].isspace() and line.rstrip().endswith(";"):
            start = None


def name_of(line):
    return re.sub(r"\(.*", "", line).split()[-1].lstrip("*&")


def measured():
    """What is over a limit: 'file' or 'file function' and its length."""
    over = {}
    for path in sources(CODE):
        text = path.read_text()
        name = str(path.relative_to(ROOT))
        count = text.count("\n")
        if count > FILE_LINES:
            over[name] = count
        lines = text.splitlines()
        for start, length in functions(text):
            if length > FUNCTION_LINES:
                over["%s %s" % (name, name_of(lines[start - 1]))] = length
    return over


class StyleTest(unittest.TestCase):
    def test_lengths(self):
        agreed = {}
        for line in (pathlib.Path(__file__).parent / "ratchet.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                length, _, name = line.partition(" ")
                agreed[name] = int(length)
        found = measured()
        for name, length in found.items():
            limit = agreed.get(name, FUNCTION_LINES if " " in name else FILE_LINES)
            self.assertLessEqual(length, limit, f"{name}: make it shorter; ratchet.txt is not for new ones")
        for name, length in agreed.items():
            self.assertEqual(found.get(name), length, f"{name}: it became shorter; say so in tests/style/ratchet.txt")

    def test_the_counting_counts(self):
        text = "int F(int a,\n      int b) {\n  return a;\n}\n\nint G();\n\nstruct S {\n  int H() {\n  }\n};\n"
        self.assertEqual(list(functions(text)), [(1, 4)])

    def test_no_marks_of_unfinished_work(self):
        marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
        for path in sources(CODE + (".py", ".md", ".txt", ".cmake", ".toml", ".yaml")):
            found = marks.search(path.read_text(errors="replace"))
            self.assertIsNone(found, f"{path.relative_to(ROOT)}: {found}")

    def test_formatted(self):
        program = formatter()
        if program is None:
            self.skipTest("no clang-format of version %d, as in Debian 12; others leave some lines otherwise" % FORMATTER)
        files = [str(path) for path in sources((".cc", ".h"))]
        self.assertGreater(len(files), 100)
        done = subprocess.run([program, "--dry-run", "-Werror", *files], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[:4000])


if __name__ == "__main__":
    sys.exit(unittest.main())
