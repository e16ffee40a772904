"""Verdict rules, report and result schema of the experiment, with a stand-in for the programs."""

import json
import os
import shutil
import stat
import sys
import tempfile
import unittest
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "experiment"))
sys.path.insert(0, HERE)

import experiment  # noqa: E402
import report  # noqa: E402
import sample_trace  # noqa: E402
import svg_charts  # noqa: E402
import verdict  # noqa: E402


def run(mode, p99, rate, repeat=0, **proof):
    layer = mode == "xsched-hsa"
    whole = {"layer_loaded": layer, "queues": 2 * layer, "packets_held": 50 * layer,
             "preemptions": 5 * layer, "packets_submitted": 100, "packets_completed": 100}
    whole.update(proof)
    return {"scenario": "intensive", "mode": mode, "repeat": repeat, "simulated": True,
            "high": {"requests": 200, "p50_ms": p99 / 1.1, "p95_ms": p99 * 0.9, "p99_ms": p99,
                     "max_ms": p99, "mean_ms": p99 / 2},
            "low": {"iterations": 20, "iter_per_s": rate, "img_per_s": rate * 1024},
            "proof": whole}


def four(p99=2.2, rate=1.9, **proof):
    return [run("alone", 2.2, 2.0), run("native", 20.0, 1.98), run("native", 22.0, 1.96, 1),
            run("xsched-hsa", p99, rate, **proof)]


def met(runs):
    return [c["met"] for c in verdict.judge(runs, "intensive")["criteria"]]


class VerdictTest(unittest.TestCase):
    def test_all_criteria_met_within_all_bounds(self):
        self.assertEqual(met(four(2.2, 1.95)), [True, True, True, True])

    def test_bounds_decide_one_by_one(self):
        self.assertEqual(met(four(2.4, 1.95)), [True, True, True, False])
        self.assertEqual(met(four(2.2, 1.5)), [True, True, False, False])
        self.assertEqual(met(four(2.5, 1.95)), [True, False, False, False])
        self.assertEqual(met(four(2.2, 1.3)), [True, False, False, False])

    def test_run_without_active_layer_cannot_pass(self):
        for proof in ({"layer_loaded": False}, {"queues": 0}, {"packets_held": 0},
                      {"preemptions": 0}, {"packets_completed": 99}):
            runs = four(2.2, 2.0, **proof)
            self.assertEqual(met(runs)[1:], [False, False, False], proof)
            judged = verdict.judge(runs, "intensive")
            self.assertFalse(judged["proven"])
            self.assertIn("no verdict", judged["headline"])

    def test_missing_or_failed_run_meets_nothing(self):
        runs = four()
        runs[3] = {"scenario": "intensive", "mode": "xsched-hsa", "repeat": 0, "failed": "exit 1"}
        self.assertEqual(met(runs), [False] * 4)
        self.assertEqual(met(four()[1:]), [False] * 4)
        self.assertIn("exit 1", verdict.judge(runs, "intensive")["criteria"][0]["why_not"])

    def test_result_without_requests_or_iterations_is_no_result(self):
        runs = four()
        runs[3]["low"]["iterations"] = 0
        self.assertEqual(met(runs), [False] * 4)

    def test_spread_is_relative_to_the_mean(self):
        judged = verdict.judge(four(), "intensive")
        self.assertAlmostEqual(judged["aa_spread"]["p99"], 2 / 21)
        self.assertAlmostEqual(judged["p99_over_alone"]["native"], 20 / 2.2)

    def test_noisy_baseline_passes_nothing(self):
        runs = four(2.2, 2.0)
        runs[0]["high"]["p50_ms"] = 1.7
        self.assertEqual(met(runs), [True, False, False, False])
        self.assertIn("too busy", verdict.judge(runs, "intensive")["criteria"][1]["why_not"])
        runs[0]["simulated"] = False
        self.assertEqual(met(runs), [True] * 4)

    def test_faster_than_alone_is_said_to_be_chance(self):
        runs = four(2.2, 2.0)
        self.assertIsNone(verdict.judge(runs, "intensive")["remark"])
        runs[0]["high"].update(p99_ms=2.5, requests=60)
        self.assertIn("with 60 requests one or two late ones decide P99, alone 2.50 ms at P50 2.00",
                      verdict.judge(runs, "intensive")["remark"])
        runs[3] = {"scenario": "intensive", "mode": "xsched-hsa", "repeat": 0, "failed": "exit 1"}
        self.assertIsNone(verdict.judge(runs, "intensive")["remark"])

    def test_what_chance_could_have_decided_is_said(self):
        for p99, near in ((2.2, False), (2.45, True), (2.6, True), (2.8, False)):  # target 2.42, two native runs 9.5 % apart
            said = verdict.judge(four(p99, 2.0), "intensive")["remark"]
            self.assertEqual("two equal native runs is 10 % apart" in (said or ""), near, (p99, said))
        runs = four(2.45, 2.0)
        runs[2] = {"scenario": "intensive", "mode": "native", "repeat": 1, "failed": "exit 1"}
        self.assertIsNone(verdict.judge(runs, "intensive")["remark"])

    def test_verdict_is_said_in_words(self):
        met, missed = verdict.judge(four(2.2, 1.95), "a"), verdict.judge(four(2.6, 1.95), "a")
        for judged in (met, missed):
            self.assertEqual(verdict.word(judged), "none")  # nothing of a scenario "a" was run
        scenarios = {}
        for name, runs in (("standard", four(2.2, 1.95)), ("intensive", four(2.6, 1.95))):
            scenarios[name] = verdict.judge(runs, "intensive")
        text = verdict.in_words(scenarios)
        self.assertIn("xsched-hsa meets its target in the standard scenario and misses its target in the "
                      "intensive scenario.", text)
        published_only = verdict.judge(four(2.2, 1.5), "intensive")
        self.assertEqual([c["met"] for c in published_only["criteria"]], [True, True, False, False])
        self.assertEqual(verdict.word(published_only), "missed")
        scenarios["third"] = verdict.judge(four(2.2, 1.95, queues=0), "intensive")
        self.assertIn("; there is no verdict on the third scenario.", verdict.in_words(scenarios))
        self.assertEqual(verdict.in_words({}), "Nothing was measured.")

    def test_no_runs_prove_nothing(self):
        self.assertFalse(verdict.verdict([])["proven"])


RECORD = {
    "simulated": True, "mode": "", "seconds": 1, "time_scale": 2.0,
    "host_noise": {"clock": {"running_ms": 750, "stood_ms": 250, "stops": 3},
                   "gpus": [{"lag": {"p50_us": 1.0, "p99_us": 60.0, "max_us": 900.0}}]},
    "device": {"name": "MI308X", "isa": "gfx90a", "compute_units": 80},
    "models": [
        {"role": role, "model": model, "samples": [[0.0, 2.1], [50.0, 2.2], [100.0, 9.0]],
         "plan": {"target_ms": 2.2, "basis": "ASSUMED <&>", "factor": 1.8, "host_gap_us": 18.7,
                  "host_bound": role == "high", "kernels": 117, "workgroups": 1000}}
        for role, model in (("high", "resnet18.b1"), ("low", "resnet50.b1024"))],
}


class ExperimentTest(unittest.TestCase):
    """main() over stand-ins for bin/: a virtual-gpu that runs the rest, a dual-model that records."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        root = self.folder.name
        self.bin = os.path.join(root, "bin")
        share = os.path.join(root, "share", "xsched-hsa", "dual-model")
        self.make_programs()
        os.makedirs(os.path.join(share, "workloads"))
        with open(os.path.join(share, "workloads", "mi308x_baseline.json"), "w") as file:
            json.dump({"intensive": {"native": [{"run": "a", "high": {"p99": 19.6}, "low": {}}]}}, file)
        self.patch = mock.patch.object(experiment, "__file__", os.path.join(share, "experiment.py"))
        self.patch.start()
        self.addCleanup(self.patch.stop)
        self.out = os.path.join(root, "out")

    def make_programs(self):
        os.makedirs(self.bin)
        for name in ("xsched-hsad", "xsched-hsa-ctl"):
            self.program(name, "exit 0")
        self.program("virtual-gpu", 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')

    def program(self, name, script):
        path = os.path.join(self.bin, name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\n" + script + "\n")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)

    def dual_model(self, runs):
        for one in runs:
            record = dict(RECORD, **{key: one[key] for key in ("mode", "high", "low", "proof")})
            with open(os.path.join(self.bin, one["mode"] + ".json"), "w") as file:
                json.dump(record, file)
        self.program("dual-model", 'while [ $# -gt 0 ]; do case "$1" in --mode) mode=$2;;'
                     ' --json) json=$2;; --trace) trace=$2;; esac; shift; done\n'
                     '[ -z "$trace" ] || cp %s/trace.json "$trace" || exit 1\n'
                     '[ -f %s/$mode.json ] || { echo "dual-model run: no such luck" >&2; exit 1; }\n'
                     'cp %s/$mode.json "$json"' % (self.bin, self.bin, self.bin))
        self.write_trace(sample_trace.usual())

    def write_trace(self, trace):
        with open(os.path.join(self.bin, "trace.json"), "w") as file:
            json.dump(trace, file)

    def main(self, *extra):
        with mock.patch("builtins.print") as printed:
            code = experiment.main(["--scenario", "intensive", "--seconds", "1", "--virtual",
                                    "--out", self.out] + list(extra))
        return code, "\n".join(str(call.args[0]) for call in printed.call_args_list if call.args)

    def test_result_has_the_published_schema(self):
        self.dual_model(four(2.2, 1.95))
        code, text = self.main()
        self.assertEqual(code, 0, text)
        with open(os.path.join(self.out, "result.json")) as file:
            result = json.load(file)
        self.assertIs(result["simulated"], True)
        self.assertEqual(result["device"]["compute_units"], 80)
        self.assertEqual([(r["mode"], r["repeat"]) for r in result["runs"]],
                         [("alone", 0), ("native", 0), ("native", 1), ("xsched-hsa", 0)])
        for one in result["runs"]:
            self.assertEqual(one["scenario"], "intensive")
            self.assertLessEqual({"requests", "p50_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms"},
                                 set(one["high"]))
            self.assertLessEqual({"iterations", "iter_per_s", "img_per_s"}, set(one["low"]))
            self.assertLessEqual({"layer_loaded", "queues", "packets_held", "preemptions",
                                  "packets_submitted", "packets_completed"}, set(one["proof"]))
        self.assertTrue(result["verdict"]["proven"])

    def test_reports_are_self_contained(self):
        self.dual_model(four(2.2, 1.95))
        self.main()
        with open(os.path.join(self.out, "report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertIn("<svg", page)
        self.assertIn("simulated", page)
        self.assertIn("prefers-color-scheme", page)
        self.assertIn("ASSUMED &lt;&amp;&gt;", page)
        self.assertIn("<td>30.0</td>", page)  # lag P99 in device time
        self.assertIn("<td>25 %</td>", page)  # of the time the clock stood
        for outside in ("http://", "https://", " src=", "<link", "@import", "url("):
            self.assertNotIn(outside, page)
        with open(os.path.join(self.out, "report.md"), encoding="utf-8") as file:
            text = file.read()
        self.assertIn("| intensive | xsched-hsa | 200 |", text)
        self.assertIn("gate is closed, 90 packets behind it", text)

    def read(self, name):
        with open(os.path.join(self.out, name), encoding="utf-8") as file:
            return file.read()

    def test_page_names_all_that_the_result_was_made_with(self):
        self.program("xsched-hsa-ctl", "echo 1.2.3")
        self.program("virtual-gpu-replay", 'echo "| parameter | value | unit | sure | source |"; echo "|---|---|---|---|---|";'
                     ' echo "| \\`runlist_cycle_ns\\` | 200000 | ns | assumed | nobody |"; echo "| \\`xccs\\` | 4 |  | seen | sysfs |"')
        self.dual_model(four(2.2, 1.95, controller={
            "policy": "strict-priority", "parameters": {"window_us": 800.0},
            "mechanisms": {"allow": ["squeeze", "suspend"], "delay_budget_percent": 8.0}}))
        self.main()
        made = json.loads(self.read("result.json"))["made_with"]
        self.assertEqual(made["virtual_gpu"], [["runlist_cycle_ns", "200000", "ns", "assumed", "nobody"],
                                               ["xccs", "4", "", "seen", "sysfs"]])
        page = self.read("report.html")
        for cells in (("policy", "strict-priority"), ("window us", "800"), ("allow", "squeeze, suspend"),
                      ("delay budget percent", "8"), ("xsched-hsa", "1.2.3"), ("machine", made["machine"]),
                      ("runlist_cycle_ns", "200000", "ns", "assumed", "nobody")):
            self.assertIn("<tr>%s</tr>" % "".join("<td>%s</td>" % cell for cell in cells), page)
        self.assertIn("(2 parameters; <i>seen</i>", page)
        self.assertIn("the layer was in both programs, saw each of the 100 packets that they submitted, held 50 of "
                      "them back in 5 preemptions", page)

    def test_result_of_an_older_release_is_shown_without_what_it_lacks(self):
        self.dual_model(four(2.2, 1.95))
        self.main()
        path = os.path.join(self.out, "result.json")
        result = json.loads(self.read("result.json"))
        del result["made_with"]
        with open(path, "w") as file:
            json.dump(result, file)
        self.assertEqual(self.main("--report-only")[0], 0)
        self.assertNotIn("The controller;", self.read("report.html"))

    def test_preemption_of_a_run_of_its_own_is_shown(self):
        self.dual_model(four(2.2, 1.95))
        self.main()
        page = self.read("report.html")
        self.assertIn("median of the 3 in which", page)
        self.assertIn('class="zoom"', page)
        self.assertNotIn("No timeline", page)
        result = json.loads(self.read("result.json"))
        self.assertEqual(result["timelines"]["intensive"]["trace"], "runs/intensive-timeline.trace.json")
        self.assertEqual(len(result["runs"]), 4)  # it is none of the measured ones
        self.assertEqual(result["parameters"]["intensive"]["rate"], 20)

    def test_recording_that_shows_nothing_or_fails_is_one_line_and_changes_no_verdict(self):
        self.dual_model(four(2.2, 1.95))
        for trace, why in ((sample_trace.trace(), "No timeline: no hold began and ended"),
                           ({"traceEvents": [{}]}, "can&#x27;t be read"),
                           (None, "No timeline: its recording failed, exit code 1: cp")):
            self.write_trace(trace)
            if trace is None:
                os.remove(os.path.join(self.bin, "trace.json"))
            code, text = self.main()
            self.assertEqual(code, 0, text)
            page = self.read("report.html")
            self.assertIn(why, page)
            self.assertEqual(page.count("No timeline"), 1)

    def test_report_is_written_again_without_any_run(self):
        self.dual_model(four(2.2, 1.95))
        self.main()
        before = {name: self.read(name) for name in ("report.html", "report.md", "result.json")}
        os.remove(os.path.join(self.bin, "dual-model"))
        os.remove(os.path.join(self.out, "report.html"))
        code, text = self.main("--report-only")
        self.assertEqual(code, 0, text)
        self.assertEqual({name: self.read(name) for name in before}, before)
        os.remove(os.path.join(self.out, "runs", "intensive-native-1.json"))
        with self.assertRaises(SystemExit) as caught, mock.patch("sys.stderr"):
            self.main("--report-only")
        self.assertEqual(caught.exception.code, 2)

    def test_progress_counts_all_runs_and_is_on_terminals_only(self):
        self.dual_model(four(2.2, 1.95))
        shown = []
        with mock.patch.object(experiment.Progress, "show", lambda _, text: shown.append(text)):
            self.main()
        self.assertEqual(sorted(set(shown)), [
            "run 1 of 5: intensive, alone", "run 2 of 5: intensive, native",
            "run 3 of 5: intensive, native (again)", "run 4 of 5: intensive, xsched-hsa",
            "run 5 of 5: intensive, timeline"])

    def test_estimate_is_used_up_when_all_runs_are_done(self):
        for slow, finished in (([False], 4), ([True, False], 4), ([False], 3)):
            shutil.rmtree(self.bin, ignore_errors=True)
            self.make_programs()
            self.dual_model(four(2.2, 1.95)[:finished])
            with mock.patch.object(experiment, "keeps_up", side_effect=[not s for s in slow]), \
                    mock.patch.object(experiment.Progress, "clear", autospec=True) as clear:
                self.main()
            progress = clear.call_args.args[0]
            self.assertAlmostEqual(progress.finished, progress.total)

    def test_unproven_run_fails_with_one_line(self):
        self.dual_model(four(2.2, 1.95, layer_loaded=False))
        code, text = self.main()
        self.assertEqual(code, 1)
        self.assertIn("proves nothing: the layer was not active", text)

    def test_failed_run_is_reported_and_fails(self):
        self.dual_model(four(2.2, 1.95)[:3])
        code, text = self.main()
        self.assertEqual(code, 1)
        self.assertIn("intensive, xsched-hsa: exit code 1: dual-model run: no such luck", text)
        with open(os.path.join(self.out, "result.json")) as file:
            self.assertIn("failed", json.load(file)["runs"][3])

    def test_device_that_lags_is_slowed_down(self):
        self.dual_model(four(2.2, 1.95))
        with mock.patch.object(experiment, "keeps_up", side_effect=[False, True]):
            code, _ = self.main()
        self.assertEqual(code, 0)
        with open(os.path.join(self.out, "result.json")) as file:
            notes = json.load(file)["notes"]
        self.assertEqual(len(notes), 1)
        self.assertIn("time scale of %g" % experiment.SCENARIOS["intensive"]["time_scale"], notes[0])
        record = {"models": [{"samples": [[0, 2.3], [1, 2.4], [2, 9.0]],
                              "plan": {"target_ms": 2.2}}]}
        self.assertTrue(experiment.keeps_up(record))
        record["models"][0]["plan"]["target_ms"] = 2.0
        self.assertFalse(experiment.keeps_up(record))

    def test_seconds_are_of_this_machine(self):
        arguments = experiment.parse_arguments(["--seconds", "12"])
        command = experiment.run_command("/bin", arguments, "standard", "native", 6, "r.json")
        self.assertEqual(command[command.index("--seconds") + 1], "2")
        self.assertEqual(command[command.index("--time-scale") + 1], "6")
        command = experiment.run_command("/bin", arguments, "standard", "native", None, "r.json")
        self.assertEqual(command[0], "/bin/dual-model")
        self.assertEqual(command[command.index("--seconds") + 1], "12")
        self.assertEqual(command[command.index("--warm-up") + 1], "4")  # 40 requests at 10/s
        self.assertNotIn("--trace", command)
        command = experiment.run_command("/bin", arguments, "standard", "xsched-hsa", 6, "r.json", "t")
        self.assertEqual(command[command.index("--seconds") + 1], "1")  # 10 requests, whatever was asked
        self.assertEqual(command[command.index("--trace") + 1], "t")

    def test_bad_input_exits_2(self):
        self.dual_model(four())
        for arguments in (["--scenario", "x"], ["--seconds", "0"], ["--seconds", "x"], ["--bogus"]):
            with self.assertRaises(SystemExit) as caught, mock.patch("sys.stderr"):
                experiment.main(arguments)
            self.assertEqual(caught.exception.code, 2, arguments)

    def test_missing_program_exits_2(self):
        with self.assertRaises(SystemExit) as caught, mock.patch("sys.stderr"):
            experiment.main(["--virtual", "--out", self.out])
        self.assertEqual(caught.exception.code, 2)


class DeviceTest(unittest.TestCase):
    def test_mi_gpu_is_found_by_its_target_version(self):
        with tempfile.TemporaryDirectory() as root:
            for node, version in ((0, 0), (1, 90402)):
                os.makedirs("%s/nodes/%d" % (root, node))
                with open("%s/nodes/%d/properties" % (root, node), "w") as file:
                    file.write("simd_count 320\ngfx_target_version %d\n" % version)
            self.assertEqual(experiment.real_gpu(root, root), "gfx942")
            self.assertIsNone(experiment.real_gpu(root, root + "/kfd"))
            with open(root + "/nodes/1/properties", "w") as file:
                file.write("gfx_target_version 110000\n")
            self.assertIsNone(experiment.real_gpu(root, root))


class ChartTest(unittest.TestCase):
    def test_charts_stay_small_and_keep_the_ends(self):
        many = [(float(i), 1 + (i % 97) / 10) for i in range(50000)]
        self.assertLess(len(svg_charts.timeline([("c", "l", many)])), 200_000)
        self.assertEqual(svg_charts.thin(many)[-1], many[-1])
        self.assertIn("No requests", svg_charts.latency_cdf([("c", "l", [])]))
        self.assertIn("<svg", svg_charts.latency_cdf([("c", "l", [2.0])]))

    def test_numbers_that_are_not_there_are_dashes(self):
        self.assertEqual(report.number(None), "–")


if __name__ == "__main__":
    unittest.main()
