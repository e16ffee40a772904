#!/usr/bin/env python3
"""Every command that a document shows: classified in commands.txt, its options exist, and it is run.

Where    a folder that looks like the repository's root, with links to the sources and to the build; a
         virtual GPU of its own that all commands of a document share, and a controller's socket.
Usage    commands_test.py [--long] [unittest's arguments]; XSCHED_HSA_BUILD names the build folder.
"""

import collections
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import documents

ROOT = documents.ROOT
BUILD = pathlib.Path(os.environ.get("XSCHED_HSA_BUILD", ROOT / "build")).resolve()
LONG = "--long" in sys.argv
HERE = pathlib.Path(__file__).resolve().parent
NOW_SECONDS, LONG_SECONDS = 120, 1800
# What a user's own programs stand for here.
STAND_IN = """import os, sys
os.execv({exercise!r}, [{exercise!r}, "barriers", "20"])
"""


def runtime_to_preload():
    """For env: TSan's, where it is built with that. hipcc's programs do not load it, and when they load the layer it finds no room;
    bash itself does not bear it."""
    told = subprocess.run(["ldd", BUILD / "bin" / "xsched-hsad"], capture_output=True, text=True)
    found = re.search(r"=> (\S*/libtsan\S*)", told.stdout)
    return f"env LD_PRELOAD={found.group(1)} " if found else ""


Entry = collections.namedtuple("Entry", "how command instead")


def load_entries(text):
    entries = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        how, _, rest = line.partition("|")
        how, rest = how.strip(), rest.strip()
        if how not in ("now", "long", "part", "there"):
            raise ValueError(f"commands.txt:{number}: '{how}' is none of now, long, part, there")
        if how in ("part", "there"):
            command, colon, why = rest.rpartition(" : ")
            if not colon or not why.strip():
                raise ValueError(f"commands.txt:{number}: say after ' : ' where, or what is needed")
            entries[command] = Entry(how, command, "")
        else:
            command, _, instead = rest.partition(" | ")
            entries[command.strip()] = Entry(how, command.strip(), instead.strip() or command.strip())
    return entries


def all_commands():
    return [c for p in documents.all_documents() for c in documents.commands(p)]


def is_synopsis(command):
    return "[" in command.text or re.search(r"\b(FILE:MODEL|FAULT)\b", command.text) is not None


def program_of(text):
    first = text.split()[0]
    if "/" in first:
        return (BUILD / first.removeprefix("build/")) if first.startswith("build/") else ROOT / first
    for folder in (BUILD / "bin", ROOT / "tools" / "dual-model"):
        if (folder / first).exists():
            return folder / first
    return None  # cmake and its like


class CommandsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.entries = load_entries((HERE / "commands.txt").read_text())
        cls.commands = all_commands()

    def test_each_is_classified_and_nothing_else(self):
        for command in self.commands:
            if not is_synopsis(command):
                self.assertIn(command.text, self.entries, f"{command}: add it to tests/docs/commands.txt")
        shown = {command.text for command in self.commands}
        for text in self.entries:
            self.assertIn(text, shown, "commands.txt: no document shows this any more")

    def test_programs_exist_and_take_the_options(self):
        for command in self.commands:
            words = command.text.split(" -- ")[0].split()
            program = program_of(command.text)
            if program is None:
                self.assertIsNotNone(shutil.which(words[0]) or words[0] == "systemctl", command)
                continue
            self.assertTrue(program.exists(), command)
            help_text = self.help_of(program, words)
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(words)):
                self.assertRegex(help_text, re.escape(option) + r"(?![\w-])", f"{command}: no such option")

    def help_of(self, program, words):
        if program.read_bytes()[:2] == b"#!":
            return program.read_text()
        verbs = [w for w in words[1:3] if re.fullmatch(r"[a-z-]+", w) and not w.startswith("-")]
        for count in range(len(verbs), -1, -1):
            done = subprocess.run([program, *verbs[:count], "--help"], capture_output=True, text=True, timeout=20)
            if done.returncode == 0:
                return done.stdout + done.stderr
        self.fail(f"{program} has no help")

    def test_a_wrong_line_is_refused(self):
        for line in ("never | tests/run", "part | tests/run", "there | x : "):
            with self.assertRaises(ValueError):
                load_entries(line)


class RunTest(unittest.TestCase):
    """One folder, device and socket for the commands of a document, in its order."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="xsched-docs-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        for entry in ROOT.iterdir():
            if not entry.name.startswith("build") and entry.name != ".git":
                (self.folder / entry.name).symlink_to(entry)
        (self.folder / "build").symlink_to(BUILD)
        for name in ("serve.py", "train.py"):
            (self.folder / name).write_text(STAND_IN.format(exercise=str(BUILD / "bin" / "hsa-exercise")))
        programs = self.folder / "programs"
        programs.mkdir()
        (programs / "python").symlink_to(sys.executable)
        self.device = f"docs-{os.getpid()}"
        self.environment = dict(os.environ, PATH=f"{BUILD}/bin:{programs}:{os.environ['PATH']}",
                                XSCHED_HSA_SOCKET=str(self.folder / "socket"), XSCHED_HSA_BUILD=str(BUILD))
        self.background = []
        self.addCleanup(self.end_background)

    def end_background(self):
        """Ends what a document left running; what ended before it was told to is a failure."""
        running, self.background = self.background, []
        ended = [f"{p.args[-1]}: exit code {p.poll()}" for p in running if p.poll() is not None]
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            said, _ = process.communicate(timeout=20)
            if ended and said:
                ended.append(said)
        self.assertFalse(ended, "a background program did not stay")

    def shell(self, text):
        text = text.replace("--device shared", f"--device {self.device}-shared").replace("--out DIR", "--out out")
        if not re.match(r"(env LD_PRELOAD=|virtual-gpu|build/bin/virtual-gpu|tests/|tools/|cmake|ctest|build/bin/dual-model)", text):
            text = f"exec virtual-gpu run --quiet --device {self.device} -- {text}"
        return ["bash", "-c", text]

    def run_in_background(self, text):
        process = subprocess.Popen(self.shell(text), cwd=self.folder, env=self.environment, start_new_session=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        process.stdout.readline()  # it says when it is ready
        self.background.append(process)

    def said_in_background(self):
        """What a failure may be about, of those that should still be there."""
        told = ""
        for process in self.background:
            os.set_blocking(process.stdout.fileno(), False)
            try:
                said = os.read(process.stdout.fileno(), 1 << 16).decode(errors="replace")
            except BlockingIOError:
                said = ""
            told += f"{process.args[-1]}: exit code {process.poll()}\n{said}"
        return told

    def run_commands(self, name, least):
        entries = load_entries((HERE / "commands.txt").read_text())
        count = 0
        for command in documents.commands(ROOT / name):
            entry = entries.get(command.text)
            if entry is None or entry.how not in ("now", "long") or (entry.how == "long" and not LONG):
                continue
            if "hip-examples" in entry.command and not (BUILD / "bin" / "hip-examples" / "vector_add").exists():
                continue
            count += 1
            if entry.instead.endswith("&"):
                self.run_in_background(entry.instead.rstrip("& "))
                continue
            seconds = LONG_SECONDS if entry.how == "long" else NOW_SECONDS
            before = runtime_to_preload() if entry.instead.startswith("virtual-gpu") and "hip-examples" in entry.instead else ""
            # CMake takes the folder it is called in for the sources': through our links the build would be another one's.
            folder = ROOT if entry.instead.startswith("cmake") else self.folder
            done = subprocess.run(self.shell(before + entry.instead), cwd=folder, env=self.environment, timeout=seconds,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            failure = f"{command}\n{done.stdout}{self.said_in_background()}"
            if LONG:
                print(f"{command}: {'passed' if done.returncode == 0 else f'exit code {done.returncode}'}", file=sys.stderr, flush=True)
            self.assertEqual(done.returncode, 0, failure)
            self.compare_with_what_is_shown(name, command, done.stdout)
        self.assertGreaterEqual(count, least, f"{name}: commands were not found")

    def compare_with_what_is_shown(self, name, command, output):
        """A block that begins with '$ command' shows its output: first words of its lines, columns of its table."""
        for _, start, lines in documents.fenced_blocks((ROOT / name).read_text()):
            if start != command.line or not lines[0].startswith("$ "):
                continue
            shown = [line.split()[0] for line in lines[1:] if line.strip() and line.strip() != "…"]
            printed = {line.split()[0] for line in output.splitlines() if line.strip()}
            self.assertLessEqual(set(shown) - {"GPU", "every"}, printed, f"{command}: the document shows other lines")

    def test_readme(self):
        self.run_commands("README.md", 4)

    def test_running_on_mi(self):
        self.run_commands("docs/running-on-mi.md", 4)

    def test_virtual_gpu(self):
        self.run_commands("docs/virtual-gpu.md", 4)

    def test_hip(self):
        self.run_commands("docs/hip.md", 0)

    def test_the_others(self):
        with_commands = {c.document for c in all_commands()}
        for name in sorted(with_commands - {"README.md", "docs/running-on-mi.md", "docs/virtual-gpu.md", "docs/hip.md",
                                            "docs/tool.md", "docs/configuration.md"}):
            with self.subTest(name):
                self.run_commands(name, 0)
                self.end_background()  # the next document starts its own

    def test_tool(self):
        self.run_in_background("xsched-hsad")
        self.run_commands("docs/tool.md", 2)

    def test_configuration(self):
        self.run_commands("docs/configuration.md", 1)


if __name__ == "__main__":
    sys.exit(unittest.main(argv=[a for a in sys.argv if a != "--long"]))
