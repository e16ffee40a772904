#!/usr/bin/env python3
"""What documents claim about the repository: links lead somewhere, identifiers, paths and options exist,
configurations are accepted, translations keep up. What commands do is commands_test.py's."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import documents

ROOT = documents.ROOT
BUILD = pathlib.Path(os.environ.get("XSCHED_HSA_BUILD", ROOT / "build"))
ENDINGS = (".cc", ".h", ".c", ".py", ".txt", ".cmake", ".in", ".s", ".json", ".toml", ".yaml", ".map", ".hip", ".service",
           ".socket", ".supp", ".conf")
# English document, its translation.
TRANSLATIONS = {"README.md": "README.zh-CN.md", "docs/running-on-mi.md": "docs/running-on-mi.zh-CN.md"}


def source_texts():
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if any(p in documents.SKIPPED or p.startswith("build-") for p in parts) or not path.is_file():
            continue
        if path.suffix in ENDINGS or (path.suffix == "" and os.access(path, os.X_OK)):
            yield path.read_text(errors="replace")


def elsewhere():
    lines = (pathlib.Path(__file__).parent / "words_from_elsewhere.txt").read_text().splitlines()
    return {line.split(" ", 1)[0]: line for line in lines if line and not line.startswith("#")}


class DocumentsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.texts = {documents.name_of(p): p.read_text() for p in documents.all_documents()}
        everything = "\n".join(source_texts())
        cls.words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", everything))
        cls.options = set(re.findall(r"--[a-z][a-z0-9-]*", everything))
        cls.elsewhere = elsewhere()

    def test_there_are_documents(self):
        self.assertIn("README.md", self.texts)
        self.assertGreater(len(self.texts), 15)

    def test_links_lead_somewhere(self):
        for name, text in self.texts.items():
            for link in documents.links(text):
                if re.match(r"https?:|mailto:", link):
                    continue
                path, _, anchor = link.partition("#")
                target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
                self.assertTrue((ROOT / target).exists(), f"{name}: no {link}")
                if anchor and target in self.texts:
                    self.assertIn(anchor, documents.anchors(self.texts[target]), f"{name}: no heading {link}")

    def test_identifiers_exist(self):
        for name, text in self.texts.items():
            for span in documents.spans(text):
                for word in self.identifiers(span):
                    known = word in self.words or word in self.elsewhere or self.is_part(word, name)
                    self.assertTrue(known, f"{name}: `{span}`: nothing is called {word}")

    @staticmethod
    def identifiers(span):
        for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", span):
            if "_" in word or re.search("[a-z][A-Z]", word):
                yield word

    def is_part(self, word, name):
        """`hsa_queue_add_write_index_*`, and metrics named once by their common beginning."""
        if word.endswith("_"):
            return any(known.startswith(word) for known in self.words)
        return word.startswith("_") and any(known.endswith(word) for known in self.words)

    def test_options_exist(self):
        for name, text in self.texts.items():
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text):
                self.assertTrue(option in self.options or option in self.elsewhere, f"{name}: nothing takes {option}")

    def test_paths_exist(self):
        beginnings = {p.name for p in ROOT.iterdir()} | {"src", "include", "expected"}
        for name, text in self.texts.items():
            for span in documents.spans(text):
                if not re.fullmatch(r"[\w.-]+(/[\w.*-]+)+/?", span) or span in self.elsewhere:
                    continue
                if span.split("/")[0] not in beginnings or span.startswith("build"):
                    continue
                here = pathlib.Path(name).parent
                self.assertTrue(any(ROOT.glob(span.rstrip("/"))) or any((ROOT / here).glob(span.rstrip("/"))),
                                f"{name}: no {span}")

    def test_what_is_from_elsewhere_is_still_named(self):
        everything = "\n".join(self.texts.values())
        for word in self.elsewhere:
            self.assertIn(word, everything, f"words_from_elsewhere.txt: no document has {word}")

    def test_configurations_are_accepted(self):
        checked = 0
        for name, text in self.texts.items():
            for language, start, lines in documents.fenced_blocks(text):
                if language != "toml":
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    file = pathlib.Path(folder) / "config.toml"
                    file.write_text("\n".join(lines) + "\n")
                    done = subprocess.run([BUILD / "bin" / "xsched-hsad", "--config", file, "--check-config"],
                                          capture_output=True, text=True, timeout=20)
                    self.assertEqual(done.returncode, 0, f"{name}:{start}: {done.stdout}{done.stderr}")
                    checked += 1
        self.assertGreater(checked, 1)

    def test_each_variable_of_ours_is_in_the_table(self):
        """Strings in C++ and Python, expansions in shell scripts: what programs read or set for others."""
        table = (ROOT / "docs/environment.md").read_text()
        ours = r"(?:XSCHED_HSA|VIRTUAL_GPU)_[A-Z0-9_]*[A-Z0-9]"
        found = {}
        for folder in ("hsa-intercept", "queue-ctl", "policies", "tools"):
            for path in sorted((ROOT / folder).rglob("*")):
                inner = path.relative_to(ROOT).parts
                is_test = {"tests", "explore"} & set(inner) or path.stem.endswith("_test")
                if is_test or not path.is_file() or path.suffix not in (".cc", ".h", ".c", ".py", ""):
                    continue
                for name in re.findall(rf"[\"']({ours})=?[\"']|\$\{{?({ours})", path.read_text(errors="replace")):
                    found["".join(name)] = path.name
        self.assertIn("XSCHED_HSA_SOCKET", found)
        for name, file in found.items():
            self.assertIn(f"| `{name}` |", table, f"{file} has {name}, docs/environment.md does not")

    def test_each_verb_of_the_tool_has_its_row(self):
        shown = subprocess.run([BUILD / "bin" / "xsched-hsa-ctl", "--help"], capture_output=True, text=True, timeout=20).stdout
        # CLI11 writes it in capitals from 2.5 on.
        verbs = re.findall(r"^  ([a-z][a-z-]+) ", re.split("Subcommands:|SUBCOMMANDS:", shown)[1], re.M)
        self.assertGreater(len(verbs), 20)
        rows = [line for line in (ROOT / "docs/tool.md").read_text().splitlines() if line.startswith("| `")]
        for verb in verbs:
            self.assertTrue(any(re.search(rf"`{verb}[ `]", row) for row in rows), f"docs/tool.md has no row for {verb}")

    def test_each_policy_has_its_row(self):
        names = re.findall(r'^    \{"([a-z-]+)",$', (ROOT / "policies/src/registry.cc").read_text(), re.M)
        self.assertGreater(len(names), 5)
        for name in names:
            self.assertRegex((ROOT / "docs/policies.md").read_text(), rf"(?m)^\| `{name}`", "docs/policies.md")

    def test_example_programs_compile(self):
        # A document's lines stand for the middle of somebody's program.
        for name, text in self.texts.items():
            for language, start, lines in documents.fenced_blocks(text):
                code = "\n".join(lines)
                if language == "python":
                    compile(code, f"{name}:{start}", "exec")
                if language == "c" and "xsched_hsa_" in code:
                    program = ("#include <stdint.h>\n#include <xsched_hsa.h>\nextern int batch; void infer(int);\n"
                               "void f(void);\nvoid f(void) {\n" + code + "\n}\n")
                    include = next(ROOT.glob("*/include/**/xsched_hsa.h")).parent
                    done = subprocess.run(["cc", "-std=c99", "-Wall", "-Werror", "-fsyntax-only", "-xc", "-I", include, "-"],
                                          input=program, capture_output=True, text=True, timeout=20)
                    self.assertEqual(done.returncode, 0, f"{name}:{start}: {done.stderr}")


class TranslationsTest(unittest.TestCase):
    """Headings, commands and figures: what a reader acts upon or judges by."""

    def pairs(self):
        for english, translated in TRANSLATIONS.items():
            yield english, (ROOT / english).read_text(), translated, (ROOT / translated).read_text()

    def test_headings_keep_their_order(self):
        for english, text, translated, other in self.pairs():
            self.assertEqual([len(level) for level, _ in documents.headings(text)],
                             [len(level) for level, _ in documents.headings(other)], f"{english} and {translated}")

    def test_commands_are_the_same(self):
        for english, _, translated, _ in self.pairs():
            self.assertEqual([c.text for c in documents.commands(ROOT / english)],
                             [c.text for c in documents.commands(ROOT / translated)], f"{english} and {translated}")

    def test_tables_have_the_same_figures(self):
        for english, text, translated, other in self.pairs():
            self.assertEqual(self.figures(text), self.figures(other), f"{english} and {translated}")

    @staticmethod
    def figures(text):
        return [re.findall(r"\d+(?:\.\d+)?", line) for line in text.splitlines() if line.startswith("|")]

    def test_code_is_the_same(self):
        for english, text, translated, other in self.pairs():
            for span in set(documents.spans(text)):
                self.assertIn(f"`{span}`", other, f"{english} has it, {translated} not")


if __name__ == "__main__":
    sys.exit(unittest.main())
