"""docs/performance.md and its plots are what the report makes of docs/performance.json, and nobody edited them."""

import json
import os
import subprocess
import sys
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True
import report  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
DOCS = os.path.join(HERE, "../../docs")


def read(name):
    with open(os.path.join(DOCS, name)) as file:
        return file.read()


class RunTest(unittest.TestCase):
    # The experiment, of which it takes the line of progress, has modules of the same names.
    def test_the_command_writes_by_this_report(self):
        told = subprocess.run([sys.executable, "-B", "-c", "import runpy; print(runpy.run_path('run')['report'].__file__)"],
                              cwd=HERE, capture_output=True, text=True)
        self.assertEqual(os.path.realpath(told.stdout.strip()), os.path.join(HERE, "report.py"), told.stderr)


class ReportTest(unittest.TestCase):
    def setUp(self):
        record = json.loads(read("performance.json"))
        self.machine, self.results = record["machine"], record["results"]

    def test_every_section_is_in_the_record(self):
        self.assertEqual(set(self.results), set(report.SECTIONS))

    def test_the_document_is_the_records(self):
        text = read("performance.md").split(report.BEGIN)[1].split(report.END)[0]
        self.assertEqual(text.strip(), report.markdown(self.results, self.machine).strip())

    # How a chart looks is the experiment's module's matter; what is in it is ours.
    def test_the_plots_are_there_with_a_line_for_each_of_their_series(self):
        plots = report.plots(self.results)
        self.assertEqual(set(plots), {"packet-path", "decision"})
        for name, text in plots.items():
            shown = read("plots/%s.svg" % name)
            xml.etree.ElementTree.fromstring(shown)
            self.assertEqual(shown.count("<polyline"), text.count("<polyline"), name)
            self.assertGreater(shown.count("<polyline"), 2, name)

    def test_a_missed_target_is_said(self):
        self.assertEqual(report.verdict(19, 20), "met")
        self.assertEqual(report.verdict(21, 20), "missed")

    def test_bad_arguments_are_told(self):
        run = os.path.join(HERE, "run")
        for words in (["/nowhere"], ["/nowhere", "--only", "nothing"], ["/nowhere", "--rounds", "0"]):
            done = subprocess.run([sys.executable, "-B", run, *words], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn("run: error: ", done.stderr)


if __name__ == "__main__":
    unittest.main()
