"""experiment.py: the published experiment: alone, native twice (A/A), with xsched-hsa; and its report.

Each run is one `dual-model run`, on the MI GPU of this machine if there is one, else on a virtual
GPU of its own. DIR gets result.json, report.md, report.html and the raw record of each run in runs/.
Exit: 0 the experiment ran and proved itself, whatever the verdict; 1 it did not; 2 bad input.
"""

import argparse
import glob
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time

import page
import preemption
import report
import verdict as verdicts
from progress import Progress

WORKLOAD = "resnet_h100.json"
# time_scale and seconds (of this machine, the virtual GPU's clock not standing): about 7 minutes in
# all on two cores. In the first requests of a run nothing counts, in any mode: a scheduler learns.
SCENARIOS = {
    "standard": {"high": "resnet18.b1", "rate": 10, "low": "resnet50.b8",
                 "time_scale": 4, "seconds": 24},
    "intensive": {"high": "resnet18.b1", "rate": 20, "low": "resnet50.b1024",
                  "time_scale": 4, "seconds": 24},
}
WARM_UP_REQUESTS = 40
# Of the run that the report's timeline is of: enough holds to choose from, and nothing is measured.
TIMELINE_REQUESTS, TIMELINE_WARM_UP_REQUESTS = 10, 20
TOO_SLOW = 1.15  # alone over its target: then the virtual GPU can't keep up
TIME_SCALE_MAX = 48
RUNS = (("alone", 0), ("native", 0), ("native", 1), ("xsched-hsa", 0))
# gfx_target_version of the parts that the kernels are assembled for (kernels/work.s).
MI_TARGETS = {"90008": "gfx908", "90010": "gfx90a", "90402": "gfx942"}
RUN_OVERHEAD_S = 3  # start, warm-up and end of one group of workers, for the estimate only


def parse_arguments(argv):
    parser = argparse.ArgumentParser(prog="dual-model experiment", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="all", help="standard, intensive or all [all]")
    parser.add_argument("--seconds", type=float,
                        help="length of a run by this machine's clock; a virtual GPU slowed down by "
                             "K covers a K-th of it [24]")
    parser.add_argument("--out", default="xsched-hsa-demo", help="folder for the results")
    parser.add_argument("--virtual", action="store_true", help="a virtual GPU even beside a real one")
    parser.add_argument("--profile", default="mi308x", help="of the virtual GPU [mi308x]")
    parser.add_argument("--worker", default="", help="a command that runs the models instead of "
                        "replaying them (torch_dual_model.py)")
    parser.add_argument("--time-scale", type=float,
                        help="machine seconds a virtual device second takes; without it the "
                             "experiment slows the device down until it keeps up")
    parser.add_argument("--report-only", action="store_true",
                        help="no runs: write the reports of the results in --out again")
    parser.error = lambda message: bad_input(message + "; see dual-model experiment --help")
    arguments = parser.parse_args(argv)
    if arguments.scenario != "all" and arguments.scenario not in SCENARIOS:
        bad_input("unknown scenario '%s'; use standard, intensive or all" % arguments.scenario)
    if arguments.seconds is not None and not 0 < arguments.seconds <= 1e5:
        bad_input("--seconds must be above 0")
    if arguments.time_scale is not None and not 0 < arguments.time_scale <= 1e4:
        bad_input("--time-scale must be above 0")
    return arguments


def bad_input(text):
    print("dual-model experiment: " + text, file=sys.stderr)
    sys.exit(2)


def real_gpu(topology="/sys/devices/virtual/kfd/kfd/topology", device="/dev/kfd"):
    """The ISA of the first MI GPU of this machine, or None."""
    if not os.path.exists(device):
        return None
    for path in sorted(glob.glob(topology + "/nodes/*/properties")):
        with open(path, encoding="ascii", errors="replace") as file:
            match = re.search(r"^gfx_target_version (\d+)$", file.read(), re.MULTILINE)
        if match and match.group(1) in MI_TARGETS:
            return MI_TARGETS[match.group(1)]
    return None


def machine_seconds(arguments, scenario, scale):
    """Of one run. A device slowed down beyond the plan gets more time, not fewer requests."""
    if arguments.seconds is not None:
        return arguments.seconds
    plan = SCENARIOS[scenario]
    return plan["seconds"] * max(1, (scale or 1) / plan["time_scale"])


def warm_up_seconds(scenario):
    """Device seconds."""
    return WARM_UP_REQUESTS / SCENARIOS[scenario]["rate"]


def run_command(bin_folder, arguments, scenario, mode, scale, record_path, trace_path=None):
    """`scale`: of the virtual GPU; None on a real one. With `trace_path` it is the short run that the
    report's timeline is of."""
    plan = SCENARIOS[scenario]
    seconds = machine_seconds(arguments, scenario, scale) / (scale or 1)
    warm_up = warm_up_seconds(scenario)
    if trace_path:
        seconds = TIMELINE_REQUESTS / plan["rate"]
        warm_up = TIMELINE_WARM_UP_REQUESTS / plan["rate"]
    command = [os.path.join(bin_folder, "dual-model"), "run",
               "--high", "%s:%s@%g" % (WORKLOAD, plan["high"], plan["rate"]),
               "--low", "%s:%s" % (WORKLOAD, plan["low"]),
               "--mode", mode, "--seconds", "%g" % seconds,
               "--warm-up", "%g" % warm_up, "--json", record_path]
    if trace_path:
        command += ["--trace", trace_path]
    if arguments.worker:
        command += ["--worker", arguments.worker]
    if scale is None:
        return command
    return [os.path.join(bin_folder, "virtual-gpu"), "run", "--profile", arguments.profile,
            "--time-scale", "%g" % scale, "--"] + command


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def execute(command, show):
    """Runs to the end, showing progress; returns (exit code, what it wrote)."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            show()  # also of what ends at once
            while process.poll() is None:
                try:
                    process.wait(0.5)
                except subprocess.TimeoutExpired:
                    show()
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        log.seek(0)
        return process.returncode, log.read()


def load_record(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def summary(record, scenario, mode, repeat):
    """What result.json says of a run: the record without samples and plans."""
    run = {"scenario": scenario, "mode": mode, "repeat": repeat}
    for key in ("high", "low", "proof", "simulated", "seconds", "time_scale", "host_noise"):
        run[key] = record.get(key)
    return run


def keeps_up(record):
    """Do the models alone take about what they were planned to take?"""
    for model in record["models"]:
        samples = model["samples"]
        if not samples:
            return False
        median = sorted(duration for _, duration in samples)[len(samples) // 2]
        if median > TOO_SLOW * model["plan"]["target_ms"]:
            return False
    return True


class Experiment:
    """All runs of the chosen scenarios. After perform(): runs and timelines for result.json, and the raw
    records."""

    def __init__(self, arguments, scenarios, bin_folder, virtual):
        self.arguments, self.scenarios = arguments, scenarios
        self.bin_folder, self.virtual = bin_folder, virtual
        self.folder = os.path.join(arguments.out, "runs")
        self.runs, self.records, self.timelines, self.notes = [], {}, {}, []
        self.number, self.count = 0, len(scenarios) * (len(RUNS) + 1)
        self.progress = Progress(sum(
            sum(self.estimate_s(scenario, mode, self.first_scale(scenario)) for mode, _ in RUNS)
            + self.estimate_timeline_s(scenario, self.first_scale(scenario))
            for scenario in scenarios))

    def first_scale(self, scenario):
        """None: a real GPU."""
        if not self.virtual:
            return None
        return self.arguments.time_scale or SCENARIOS[scenario]["time_scale"]

    def estimate_s(self, scenario, mode, scale):
        """Alone, the models run one after the other."""
        groups = 2 if mode == "alone" else 1
        return groups * (machine_seconds(self.arguments, scenario, scale)
                         + warm_up_seconds(scenario) * (scale or 1) + RUN_OVERHEAD_S)

    def estimate_timeline_s(self, scenario, scale):
        requests = TIMELINE_REQUESTS + TIMELINE_WARM_UP_REQUESTS
        return requests / SCENARIOS[scenario]["rate"] * (scale or 1) + RUN_OVERHEAD_S

    def perform(self):
        os.makedirs(self.folder, exist_ok=True)
        for scenario in self.scenarios:
            scale = self.first_scale(scenario)
            for mode, repeat in RUNS:
                text = self.next_text(scenario, report.mode_name({"mode": mode, "repeat": repeat}))
                record = self.run(scenario, mode, repeat, scale, text)
                while mode == "alone" and self.too_slow(record, scale):
                    self.notes.append("%s: the virtual GPU could not keep up at a time scale of %g "
                                      "on this machine" % (scenario, scale))
                    self.plan_slower(scenario, scale)
                    scale *= 2
                    record = self.run(scenario, mode, repeat, scale, text + ", slower")
                self.keep(scenario, mode, repeat, record)
            self.record_timeline(scenario, scale)
        self.progress.clear()

    def next_text(self, scenario, what):
        self.number += 1
        return "run %d of %d: %s, %s" % (self.number, self.count, scenario, what)

    def plan_slower(self, scenario, scale):
        """The first run is done once more, and all others take longer."""
        for mode, _ in RUNS:
            more = self.estimate_s(scenario, mode, 2 * scale)
            self.progress.total += more - (0 if mode == "alone"
                                           else self.estimate_s(scenario, mode, scale))
        self.progress.total += (self.estimate_timeline_s(scenario, 2 * scale)
                                - self.estimate_timeline_s(scenario, scale))

    def record_timeline(self, scenario, scale):
        """A short run of its own, so that recording costs the measured ones nothing. What goes wrong here
        is said in the report, and changes no result."""
        text = self.next_text(scenario, "timeline")
        if not any(key[0] == scenario and key[1] == "xsched-hsa" for key in self.records):
            self.timelines[scenario] = {"none": "the run with xsched-hsa did not finish"}
            self.progress.done(self.estimate_timeline_s(scenario, scale))
            return
        name = "%s-timeline.trace.json" % scenario
        record = self.run(scenario, "xsched-hsa", "timeline", scale, text,
                          os.path.join(self.folder, name))
        if "failed" in record:
            self.timelines[scenario] = {"none": "its recording failed, " + record["failed"]}
            return
        self.timelines[scenario] = {"trace": "runs/" + name, "time_scale": record.get("time_scale"),
                                    "clock_stood": report.standing(record.get("host_noise") or {}),
                                    "requests": TIMELINE_REQUESTS,
                                    "warm_up_requests": TIMELINE_WARM_UP_REQUESTS}

    def too_slow(self, record, scale):
        return (self.virtual and self.arguments.time_scale is None and "failed" not in record
                and not keeps_up(record) and scale * 2 <= TIME_SCALE_MAX)

    def run(self, scenario, mode, repeat, scale, text, trace_path=None):
        """The raw record, or {"failed": why}."""
        path = os.path.join(self.folder, "%s-%s-%s.json" % (scenario, mode, repeat))
        for stale in filter(None, (path, trace_path)):
            if os.path.exists(stale):
                os.remove(stale)
        command = run_command(self.bin_folder, self.arguments, scenario, mode, scale, path, trace_path)
        code, output = execute(command, lambda: self.progress.show(text))
        self.progress.done(self.estimate_timeline_s(scenario, scale) if trace_path
                           else self.estimate_s(scenario, mode, scale))
        if code == 2 and not trace_path:
            self.progress.clear()
            bad_input(last_line(output))
        if code != 0 or not os.path.exists(path):
            return {"failed": "exit code %d: %s" % (code, last_line(output))}
        return load_record(path)

    def keep(self, scenario, mode, repeat, record):
        if "failed" in record:
            self.runs.append({"scenario": scenario, "mode": mode, "repeat": repeat,
                              "failed": record["failed"]})
            return
        self.records[(scenario, mode, repeat)] = record
        self.runs.append(summary(record, scenario, mode, repeat))


def device_of(records, arguments, virtual):
    device = {"virtual": virtual, "profile": arguments.profile if virtual else None}
    for record in records.values():
        device.update(record.get("device") or {})
        break
    return device


def said_by(command):
    """What a program of ours prints; "" if it is not there or fails."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE).group(1)
    except (OSError, AttributeError):
        return platform.machine()


def made_with(bin_folder, arguments, virtual):
    """What a reader of the page can't see otherwise: versions, the machine, the simulated device."""
    table = said_by([os.path.join(bin_folder, "virtual-gpu-replay"), "--params-table",
                     arguments.profile]) if virtual else ""
    rows = [[cell.strip().strip("`") for cell in line.strip("| ").split(" | ")]
            for line in table.splitlines()[2:]]
    return {"xsched_hsa": said_by([os.path.join(bin_folder, "xsched-hsa-ctl"), "--version"]).strip() or None,
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "machine": "%d processors, %s, Linux %s" % (os.cpu_count() or 0, processor(),
                                                        platform.release()),
            "virtual_gpu": [row for row in rows if len(row) >= 3]}


def failure(runs, verdict):
    """One line if the experiment did not run or prove itself; else None."""
    for run in runs:
        if "failed" in run:
            return "%s, %s: %s" % (run["scenario"], run["mode"], run["failed"])
        if not verdicts.packets_accounted_for(run):
            return "%s, %s: packets submitted and completed differ" % (run["scenario"], run["mode"])
    for name, entry in verdict["scenarios"].items():
        if not entry["proven"]:
            return "%s proves nothing: %s" % (name, entry["why_unproven"])
    return None


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def parameters(scenarios):
    """What a result was measured with, for the page and for `xsched-hsa-ctl report compare`."""
    return {name: dict({key: SCENARIOS[name][key] for key in ("high", "low", "rate")},
                       warm_up_requests=WARM_UP_REQUESTS) for name in scenarios}


def find_pictures(result, folder):
    """The preemption to show of each recorded timeline; what can't be shown becomes "none": why."""
    pictures = {}
    for scenario, timeline in (result.get("timelines") or {}).items():
        if "trace" not in timeline:
            continue
        try:
            units = int(result["device"].get("compute_units") or 0)
            trace = load_record(os.path.join(folder, timeline["trace"]))
            pictures[scenario] = preemption.extract(trace, units)
        except preemption.NoPreemption as error:
            timeline["none"] = str(error)
        except (OSError, ValueError, KeyError, TypeError) as error:
            timeline["none"] = "%s can't be read (%s)" % (timeline["trace"], error)
    return pictures


def write_reports(result, records, folder):
    """result.json, report.md and report.html; returns what the terminal is told."""
    pictures = find_pictures(result, folder)
    write(os.path.join(folder, "result.json"), json.dumps(result, indent=1) + "\n")
    here = os.path.dirname(os.path.abspath(__file__))
    baseline = load_record(os.path.join(here, "workloads", "mi308x_baseline.json"))
    scenarios = result.get("parameters") or parameters(result["verdict"]["scenarios"])
    context = report.Context(result, records, scenarios, baseline, pictures)
    write(os.path.join(folder, "report.md"), report.markdown(context))
    write(os.path.join(folder, "report.html"), page.html(context))
    return "%s\n\nReport: %s" % (report.terminal(context), os.path.join(folder, "report.html"))


def report_only(folder):
    """The reports again, out of result.json and runs/."""
    try:
        result, records = load_record(os.path.join(folder, "result.json")), {}
        for run in result["runs"]:
            key = (run["scenario"], run["mode"], run.get("repeat", 0))
            path = os.path.join(folder, "runs", "%s-%s-%s.json" % key)
            if "failed" not in run:
                records[key] = load_record(path)
        print(write_reports(result, records, folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        bad_input("%s holds no result of the experiment that can be shown: %s" % (folder, error))
    return 0


def missing_program(bin_folder, virtual):
    for name in ("dual-model", "xsched-hsad", "xsched-hsa-ctl") + (("virtual-gpu",) * virtual):
        if shutil.which(os.path.join(bin_folder, name)) is None:
            return name
    return None


def main(argv):
    arguments = parse_arguments(argv)
    if arguments.report_only:
        return report_only(arguments.out)
    here = os.path.dirname(os.path.abspath(__file__))
    bin_folder = os.path.normpath(os.path.join(here, "..", "..", "..", "bin"))
    virtual = arguments.virtual or real_gpu() is None
    missing = missing_program(bin_folder, virtual)
    if missing:
        bad_input("%s is not in %s; build all parts first (tools/demo does)" % (missing, bin_folder))
    scenarios = list(SCENARIOS) if arguments.scenario == "all" else [arguments.scenario]
    try:
        os.makedirs(arguments.out, exist_ok=True)
    except OSError as error:
        bad_input("can't make the folder %s: %s" % (arguments.out, error.strerror))

    experiment = Experiment(arguments, scenarios, bin_folder, virtual)
    experiment.perform()
    runs, records = experiment.runs, experiment.records
    result = {"simulated": virtual, "device": device_of(records, arguments, virtual),
              "parameters": parameters(scenarios),
              "asked": {"scenario": arguments.scenario, "seconds": arguments.seconds,
                        "virtual": arguments.virtual},
              "made_with": made_with(bin_folder, arguments, virtual),
              "runs": runs, "verdict": verdicts.verdict(runs), "notes": experiment.notes,
              "timelines": experiment.timelines}
    print(write_reports(result, records, arguments.out))
    problem = failure(runs, result["verdict"])
    if problem:
        print("dual-model experiment: " + problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\ndual-model experiment: interrupted", file=sys.stderr)
        sys.exit(130)
