"""calibrate.py: fits the few free parameters to the published MI308X table, or checks the fit.

Why        All that the virtual GPU says rests on its likeness to a measured device. Four numbers
           are fitted to four figures; the other six are predictions. Everything is simulated,
           in virtual time, and the same on every machine.
Input      published.json (figures and their source), the traces of tools/dual-model/workloads
           through `dual-model plan`, and the mi308x profile through `virtual-gpu-replay`.
Output     a table on standard output; without --check also mi308x.json: parameters, figures and
           residuals, for the whole and the quick run.
           --device FILE: a record of tools/measure-device; what it measured replaces what the
           profile assumes, and the figures are predicted anew. Nothing is fitted or written.
Errors     exit 1: --check found a residual that is worse than recorded, or a drifted profile;
           exit 2: a program or file is missing.
See        docs/virtual-gpu.md, "Calibration"
"""
import argparse
import concurrent.futures
import json
import os
import random
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tools", "dual-model", "experiment"))
sys.dont_write_bytecode = True
from progress import Progress  # noqa: E402

TRACES = os.path.join(ROOT, "tools", "dual-model", "workloads", "resnet_h100.json")
FIGURES = ["p50_ms", "p95_ms", "p99_ms", "max_ms", "low_per_s"]
# What each fitted parameter is fitted to; the rest is predicted.
FITTED = {
    ("intensive", "low_per_s"): "low_ms.resnet50.b1024",
    ("standard", "low_per_s"): "low_ms.resnet50.b8",
    ("standard", "p50_ms"): "high_ms",
    ("intensive", "p50_ms"): "high_gpu_scale",
}
HIGH_GPU_SCALES = [0.8, 1.0, 1.2, 1.4, 1.6]
RUNS = {"whole": {"seeds": [1, 2, 3], "seconds": 40}, "quick": {"seeds": [1], "seconds": 20}}
FIT_RUN = {"seeds": [1, 2], "seconds": 20}
DEVICE_FORMAT = 1  # of tools/measure-device
MEASURABLE = {"packet_launch_ns", "runlist_cycle_ns", "cwsr_bytes_per_ns", "pipe_priority_effective"}
# A residual may be this much worse than recorded, in points of a per cent, before --check fails.
SLACK_PERCENT = 2.0
# The model's parameters that the fit assumes: those that contention depends on.
PROFILE_KEYS = ["workgroup_spread", "packet_launch_ns", "workgroups_per_cu", "lds_bytes_per_cu",
                "cus_per_se", "xccs", "xcc_start_rotates", "grain_ns", "contended_ends", "calm_ns",
                "hqd_quantum_ns", "pipe_priority_effective"]


def fail(code, message):
    print("calibrate: " + message, file=sys.stderr)
    sys.exit(code)


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        fail(2, f"cannot read {path}: {error}")


def program(build, name, arguments, text=None):
    path = os.path.join(build, "bin", name)
    if not os.path.exists(path):
        fail(2, f"{path} is missing; build the target {name}, or name its tree with --build")
    run = subprocess.run([path] + arguments, input=text, capture_output=True, text=True,
                         check=False)
    if run.returncode != 0:
        fail(2, f"{name} {' '.join(arguments)}: {run.stderr.strip()}")
    return json.loads(run.stdout)


def start():
    """Where the fit begins: 508, 6.0 and 2.20 (dual-model's), less what the requests take."""
    return {"low_ms": {"resnet50.b1024": 494.0, "resnet50.b8": 5.78}, "high_ms": 2.26,
            "high_gpu_scale": 1.0}


def replay(build, scenario, parameters, seed, seconds):
    """One run of a scenario: its five figures. parameters["device"]: of the device model."""
    arguments = ["plan", "--high", f"{TRACES}:{scenario['high']}@{scenario['rate_per_s']}",
                 "--low", f"{TRACES}:{scenario['low']}", "--seconds", str(seconds)]
    for model, ms in ((scenario["high"], parameters["high_ms"]),
                      (scenario["low"], parameters["low_ms"][scenario["low"]])):
        arguments += ["--scale-ms", f"{model}={ms}"]
    plan = program(build, "dual-model", arguments)
    high, low = plan["queues"]
    for kernel in high["kernels"]:
        kernel["workgroup_ns"] = round(kernel["workgroup_ns"] * parameters["high_gpu_scale"])
    # The two programs do not start in step, and not twice in the same way.
    high["start_ns"] = random.Random(seed).randrange(high["arrival"]["period_ns"])
    plan["params"] = {**parameters.get("device", {}), "seed": seed}
    result = program(build, "virtual-gpu-replay", ["-"], json.dumps(plan))
    high, low = result["queues"]
    figures = {name: high[name] for name in FIGURES[:4]}
    figures["low_per_s"] = low["repeats_per_s"]
    return figures


class Replays:
    """What is to be simulated in all, as device seconds, and how far that is; one line on a terminal."""

    def __init__(self, *runs):
        self.progress = Progress(sum(len(run["seeds"]) * run["seconds"] for run in runs), planned=False)
        self.count, self.begun = sum(len(run["seeds"]) for run in runs), 0

    def results(self, build, scenario, parameters, run):
        """One run for each seed, two at a time."""
        found = []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for figures in pool.map(lambda seed: replay(build, scenario, parameters, seed,
                                                        run["seconds"]), run["seeds"]):
                found.append(figures)
                self.begun += 1
                self.progress.done(run["seconds"])
                self.progress.show("%d of %d runs of %s" % (self.begun, self.count, scenario["low"]))
        return found

    def began(self):
        self.progress.show("0 of %d runs" % self.count)
        return self

    def ended(self):
        self.progress.clear()


def measure(build, published, parameters, run):
    """Mean over the seeds, and the least and largest value, of each figure."""
    measured = {}
    replays = Replays(*[run for _ in published["scenarios"]]).began()
    for name, scenario in published["scenarios"].items():
        runs = replays.results(build, scenario, parameters, run)
        measured[name] = {}
        for figure in FIGURES:
            values = [one[figure] for one in runs]
            measured[name][figure] = {
                "model": round(statistics.mean(values), 4),
                "least": round(min(values), 4), "largest": round(max(values), 4),
                "residual_percent": round(
                    100 * (statistics.mean(values) / scenario[figure] - 1), 2)}
    replays.ended()
    return measured


def fit(build, published):
    """Each parameter moves mainly one figure, so they are fitted one after the other."""
    parameters = start()
    scenarios = published["scenarios"]
    replays = Replays(*[FIT_RUN] * (3 + len(HIGH_GPU_SCALES))).began()

    def mean(name, figure):
        return statistics.mean(one[figure] for one in
                               replays.results(build, scenarios[name], parameters, FIT_RUN))

    for name in ("intensive", "standard"):
        low = scenarios[name]["low"]
        ratio = mean(name, "low_per_s") / scenarios[name]["low_per_s"]
        parameters["low_ms"][low] = round(parameters["low_ms"][low] * ratio, 2)
    excess = mean("standard", "p50_ms") - scenarios["standard"]["p50_ms"]
    parameters["high_ms"] = round(parameters["high_ms"] - excess, 3)
    scan = {}
    for scale in HIGH_GPU_SCALES:
        parameters["high_gpu_scale"] = scale
        scan[scale] = mean("intensive", "p50_ms")
        replays.ended()
        print(f"  high_gpu_scale {scale}: intensive P50 {scan[scale]:.2f} ms", flush=True)
    goal = scenarios["intensive"]["p50_ms"]
    parameters["high_gpu_scale"] = min(scan, key=lambda scale: abs(scan[scale] - goal))
    return parameters, {str(scale): round(ms, 3) for scale, ms in scan.items()}


def show(published, measured, parameters, run):
    print(f"simulated; {len(run['seeds'])} seed(s) of {run['seconds']} s each; latencies in ms")
    print("parameters: " + json.dumps(parameters))
    print(f"{'scenario':10} {'figure':10} {'published':>9} {'model':>9} {'residual':>9}  "
          f"{'over seeds':>17}  basis")
    for name, figures in measured.items():
        for figure, one in figures.items():
            basis = FITTED.get((name, figure))
            print(f"{name:10} {figure:10} {published['scenarios'][name][figure]:9.2f} "
                  f"{one['model']:9.2f} {one['residual_percent']:+8.1f}%  "
                  f"{one['least']:8.2f}..{one['largest']:<7.2f}  "
                  f"{'fitted by ' + basis if basis else 'predicted'}")


def profile(build):
    values = program(build, "virtual-gpu-replay", ["--params", "mi308x"])
    return {key: values[key] for key in PROFILE_KEYS}


def drifted(recorded, build):
    """Where the profile is not the one that was fitted, one line each."""
    return [f"profile mi308x: {key} is {value}, fitted with {recorded['profile'].get(key)}"
            for key, value in profile(build).items() if recorded["profile"].get(key) != value]


def worse(measured, recorded):
    """Residuals that are worse than the recorded run's, one line each."""
    problems = []
    for name, figures in measured.items():
        for figure, one in figures.items():
            before = recorded[name][figure]["residual_percent"]
            if abs(one["residual_percent"]) > abs(before) + SLACK_PERCENT:
                problems.append(f"{name} {figure}: residual {one['residual_percent']:+.1f} %, "
                                f"recorded {before:+.1f} %")
    return problems


def measured_device(path, build):
    """The device parameters of a measurement, after a table of what they replace."""
    record = load(path)
    if not isinstance(record, dict) or record.get("format") != DEVICE_FORMAT:
        fail(2, f"{path} is not a record of tools/measure-device in format {DEVICE_FORMAT}")
    params = record.get("params")
    known = program(build, "virtual-gpu-replay", ["--params", "mi308x"])
    if not isinstance(params, dict) or not set(params) <= set(known):
        fail(2, f"{path}: params has names that the device model does not know: "
                f"{sorted(set(params or {}) - set(known)) or params}")
    failed = [check["name"] for check in record.get("checks", []) if not check["passed"]]
    if failed:
        fail(1, f"{path}: what was measured there is not to be trusted: {', '.join(failed)}")
    kind = "simulated" if record.get("simulated") else "real"
    print(f"measured on {record['device']['name']} ({kind})")
    print(f"{'parameter':26} {'assumed':>12} {'measured':>12}")
    for name, value in sorted(params.items()):
        print(f"{name:26} {known[name]!s:>12} {value if isinstance(value, (bool, int)) else round(value, 2)!s:>12}")
    for name in sorted(MEASURABLE - set(params)):
        print(f"{name:26} {known[name]!s:>12} {'not measured':>12}")
    return params


def refuse(problems):
    for problem in problems:
        print("calibrate: " + problem, file=sys.stderr)
    if problems:
        fail(1, "worse than recorded, or another profile; fit again if that is meant, and "
                "commit mi308x.json and docs/virtual-gpu.md")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="no fit: compare with the record")
    parser.add_argument("--quick", action="store_true", help="with --check: one seed of 20 s")
    parser.add_argument("--device", metavar="FILE", help="no fit: predict with what "
                        "tools/measure-device measured")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build tree")
    parser.add_argument("--record", default=os.path.join(HERE, "mi308x.json"))
    options = parser.parse_args()
    if options.quick and not (options.check or options.device):
        fail(2, "--quick goes with --check or --device; a fit needs the whole run")
    if options.check and options.device:
        fail(2, "--check compares the assumed device with its record; --device replaces it")
    published = load(os.path.join(HERE, "published.json"))
    if options.device:
        parameters = load(options.record)["parameters"]
        device = measured_device(options.device, options.build)
        run = RUNS["quick" if options.quick else "whole"]
        show(published, measure(options.build, published, {**parameters, "device": device}, run),
             parameters, run)
        return
    if options.check:
        recorded = load(options.record)
        kind = "quick" if options.quick else "whole"
        refuse(drifted(recorded, options.build))
        measured = measure(options.build, published, recorded["parameters"], RUNS[kind])
        show(published, measured, recorded["parameters"], RUNS[kind])
        refuse(worse(measured, recorded[kind]))
        print("as recorded")
        return
    parameters, scan = fit(options.build, published)
    record = {"simulated": True, "parameters": parameters, "profile": profile(options.build),
              "high_gpu_scale_scan_p50_ms": scan, "runs": RUNS}
    for kind, run in RUNS.items():
        record[kind] = measure(options.build, published, parameters, run)
    show(published, record["whole"], parameters, RUNS["whole"])
    with open(options.record, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.write("\n")
    print("written: " + options.record)


if __name__ == "__main__":
    main()
