"""What the documents say, as data: fenced blocks, commands, code spans, links, headings.

Source   every *.md that git would ship, but for the corpora of fuzzers.
Commands are lines of fenced blocks without a language (or after "$ ") that begin with a program of ours
or a tool that our steps need. A line that continues another is indented or follows a backslash.
"""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SKIPPED = {"build", ".git", "corpus"}
STARTERS = re.compile(
    r"^(\$ )?((build/bin|tests|tools)/[\w./-]+|xsched-hsa-ctl|xsched-hsad|virtual-gpu|dual-model(-sim)?|"
    r"torch_dual_model\.py|cmake|cpack|ninja|systemctl|git|rocminfo)( |$)")


@dataclasses.dataclass(frozen=True)
class Command:
    document: str
    line: int
    text: str

    def __str__(self):
        return f"{self.document}:{self.line}: {self.text}"


def all_documents():
    found = [p for p in ROOT.rglob("*.md") if not any(part in SKIPPED or part.startswith("build-")
                                                      for part in p.relative_to(ROOT).parts)]
    return sorted(found)


def name_of(path):
    return str(path.relative_to(ROOT))


def fenced_blocks(text):
    """(language, first line's number, lines) of each."""
    blocks, language, start, lines = [], None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if language is None:
                language, start, lines = line[3:].strip(), number + 1, []
            else:
                blocks.append((language, start, lines))
                language = None
        elif language is not None:
            lines.append(line)
    return blocks


def without_comment(line):
    return re.split(r"\s+# |\s{2,}#", line, maxsplit=1)[0].rstrip()


def commands(path):
    found = []
    for language, start, lines in fenced_blocks(path.read_text()):
        if language not in ("", "console"):
            continue
        for offset, line in enumerate(lines):
            if STARTERS.match(line) and not is_description(line):
                found.append(Command(name_of(path), start + offset, without_comment(line).removeprefix("$ ")))
    return found


def is_description(line):
    """A list of folders with what is in each, not a command."""
    return re.match(r"^[\w./-]+ {2,}[^#\s]", line) is not None


def spans(text):
    """Code spans outside of fenced blocks."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return re.findall(r"`([^`\n]+)`", plain)


def links(text):
    plain = re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", plain)


def headings(text):
    plain = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return re.findall(r"^(#+) (.*)$", plain, flags=re.M)


def anchors(text):
    """As GitHub and cgit make them."""
    made = []
    for _, heading in headings(text):
        made.append(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return made
