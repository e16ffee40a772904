"""experiment.py: the published experiment: alone, native twice (A/A), with xsched-hsa; and its report.

Each run is one `dual-model run`, on the MI GPU of this machine if there is one, else on a virtual
GPU of its own. DIR gets result.json, report.md, report.html and the raw record of each run in runs/.
Exit: 0 the experiment ran and proved itself, whatever the verdict; 1 it did not; 2 bad input.
"""

import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import report
import verdict as verdicts

WORKLOAD = "resnet_h100.json"
# time_scale and seconds (of this machine, the virtual GPU's clock not standing): about 5 minutes in
# all on two cores. In the first requests of a run nothing counts, in any mode: a scheduler learns.
SCENARIOS = {
    "standard": {"high": "resnet18.b1", "rate": 10, "low": "resnet50.b8",
                 "time_scale": 4, "seconds": 24},
    "intensive": {"high": "resnet18.b1", "rate": 20, "low": "resnet50.b1024",
                  "time_scale": 4, "seconds": 24},
}
WARM_UP_REQUESTS = 40
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
                             "K covers a K-th of it [12]")
    parser.add_argument("--out", default="xsched-hsa-demo", help="folder for the results")
    parser.add_argument("--virtual", action="store_true", help="a virtual GPU even beside a real one")
    parser.add_argument("--profile", default="mi308x", help="of the virtual GPU [mi308x]")
    parser.add_argument("--worker", default="", help="a command that runs the models instead of "
                        "replaying them (torch_dual_model.py)")
    parser.add_argument("--time-scale", type=float,
                        help="machine seconds a virtual device second takes; without it the "
                             "experiment slows the device down until it keeps up")
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


class Progress:
    """One line on a terminal, rewritten; nothing in a pipe."""

    def __init__(self, total_s):
        self.started, self.total_s = time.monotonic(), total_s
        self.terminal = sys.stderr.isatty()

    def show(self, text):
        if not self.terminal:
            return
        left = max(0, self.total_s - (time.monotonic() - self.started))
        print("\r\033[K%s, about %d s left" % (text, left), end="", file=sys.stderr, flush=True)

    def clear(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def machine_seconds(arguments, scenario, scale):
    """Of one run. A device slowed down beyond the plan gets more time, not fewer requests."""
    if arguments.seconds is not None:
        return arguments.seconds
    plan = SCENARIOS[scenario]
    return plan["seconds"] * max(1, (scale or 1) / plan["time_scale"])


def warm_up_seconds(scenario):
    """Device seconds."""
    return WARM_UP_REQUESTS / SCENARIOS[scenario]["rate"]


def run_command(bin_folder, arguments, scenario, mode, scale, record_path):
    """`scale`: of the virtual GPU; None on a real one."""
    plan = SCENARIOS[scenario]
    seconds = machine_seconds(arguments, scenario, scale) / (scale or 1)
    command = [os.path.join(bin_folder, "dual-model"), "run",
               "--high", "%s:%s@%g" % (WORKLOAD, plan["high"], plan["rate"]),
               "--low", "%s:%s" % (WORKLOAD, plan["low"]),
               "--mode", mode, "--seconds", "%g" % seconds,
               "--warm-up", "%g" % warm_up_seconds(scenario), "--json", record_path]
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
            while process.poll() is None:
                show()
                try:
                    process.wait(0.5)
                except subprocess.TimeoutExpired:
                    pass
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
    """All runs of the chosen scenarios. After perform(): runs for result.json, and raw records."""

    def __init__(self, arguments, scenarios, bin_folder, virtual):
        self.arguments, self.scenarios = arguments, scenarios
        self.bin_folder, self.virtual = bin_folder, virtual
        self.folder = os.path.join(arguments.out, "runs")
        self.runs, self.records, self.notes = [], {}, []
        groups = sum(2 if mode == "alone" else 1 for mode, _ in RUNS)
        self.progress = Progress(sum(groups * self.estimate_s(scenario) for scenario in scenarios))

    def estimate_s(self, scenario, scale=None):
        time_scale = scale or SCENARIOS[scenario]["time_scale"]
        return (machine_seconds(self.arguments, scenario, scale)
                + warm_up_seconds(scenario) * time_scale + RUN_OVERHEAD_S)

    def perform(self):
        os.makedirs(self.folder, exist_ok=True)
        for number, scenario in enumerate(self.scenarios):
            scale = None
            if self.virtual:
                scale = self.arguments.time_scale or SCENARIOS[scenario]["time_scale"]
            for step, (mode, repeat) in enumerate(RUNS):
                text = "run %d of %d: %s, %s" % (number * len(RUNS) + step + 1,
                                                 len(self.scenarios) * len(RUNS), scenario, mode)
                record = self.run(scenario, mode, repeat, scale, text)
                while mode == "alone" and self.too_slow(record, scale):
                    self.notes.append("%s: the virtual GPU could not keep up at a time scale of %g "
                                      "on this machine" % (scenario, scale))
                    self.progress.total_s += 2 * self.estimate_s(scenario, scale) + 5 * (
                        self.estimate_s(scenario, 2 * scale) - self.estimate_s(scenario, scale))
                    scale *= 2
                    record = self.run(scenario, mode, repeat, scale, text + ", slower")
                self.keep(scenario, mode, repeat, record)
        self.progress.clear()

    def too_slow(self, record, scale):
        return (self.virtual and self.arguments.time_scale is None and "failed" not in record
                and not keeps_up(record) and scale * 2 <= TIME_SCALE_MAX)

    def run(self, scenario, mode, repeat, scale, text):
        """The raw record, or {"failed": why}."""
        path = os.path.join(self.folder, "%s-%s-%d.json" % (scenario, mode, repeat))
        if os.path.exists(path):
            os.remove(path)
        command = run_command(self.bin_folder, self.arguments, scenario, mode, scale, path)
        code, output = execute(command, lambda: self.progress.show(text))
        if code == 2:
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


def main(argv):
    arguments = parse_arguments(argv)
    here = os.path.dirname(os.path.abspath(__file__))
    bin_folder = os.path.normpath(os.path.join(here, "..", "..", "..", "bin"))
    virtual = arguments.virtual or real_gpu() is None
    for name in ("dual-model", "xsched-hsad", "xsched-hsa-ctl") + (("virtual-gpu",) * virtual):
        if shutil.which(os.path.join(bin_folder, name)) is None:
            bad_input("%s is not in %s; build all parts first (tools/demo does)" % (name, bin_folder))
    scenarios = list(SCENARIOS) if arguments.scenario == "all" else [arguments.scenario]
    try:
        os.makedirs(arguments.out, exist_ok=True)
    except OSError as error:
        bad_input("can't make the folder %s: %s" % (arguments.out, error.strerror))

    experiment = Experiment(arguments, scenarios, bin_folder, virtual)
    experiment.perform()
    runs, records = experiment.runs, experiment.records
    result = {"simulated": virtual, "device": device_of(records, arguments, virtual),
              "runs": runs, "verdict": verdicts.verdict(runs), "notes": experiment.notes}
    baseline = load_record(os.path.join(here, "workloads", "mi308x_baseline.json"))
    write(os.path.join(arguments.out, "result.json"), json.dumps(result, indent=1) + "\n")
    context = report.Context(result, records, SCENARIOS, baseline, arguments)
    write(os.path.join(arguments.out, "report.md"), report.markdown(context))
    write(os.path.join(arguments.out, "report.html"), report.html(context))
    print(report.terminal(context))
    print("\nReport: %s" % os.path.join(arguments.out, "report.html"))
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
