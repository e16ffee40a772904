"""ablation.py: what each mechanism gives, and the plan that picks between them, over the conditions.

Runs dual-model-sim (the real layer and controller against the device model, in virtual time) for each
mechanism at each point, and says where the plan is not on or above the frontier of the single ones.
DIR gets ablation.json, ablation.md, ablation.html (one chart a point) and each run's record in runs/.
Device times are simulated, host costs are assumed (docs/ablation.md).
Exit: 0 all runs were sound, whatever they show; 1 one was not; 2 bad input.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "experiment"))
import svg_charts as charts  # noqa: E402  beside us where it is installed
from progress import Progress  # noqa: E402

CYCLES_MS = (0.05, 0.2, 0.5, 1, 2, 5)
BATCHES = (8, 64, 256, 1024)
RATES = (10, 20, 50, 100)
SCENARIOS = {"intensive": (1024, 20), "standard": (8, 10)}
CYCLE_DEFAULT_MS = 0.2
# Those of the first group make no driver call at run time: a cycle costs them nothing.
FREE = ("native", "priority", "reserve:16", "reserve:32", "hold")
CYCLING = ("squeeze:32", "squeeze:48", "suspend")
SINGLE = FREE + CYCLING
PLAN = "plan"
# What a plan has learnt differs from run to run: two seeds hid one in eight that missed the target.
PLAN_SEEDS = (1, 2, 3, 4)
REQUESTS_MIN, SECONDS_MIN = 300, 10
# Runs that differ in the seed only may differ so much, even if these did not.
P99_SPREAD_MIN, KEPT_SPREAD_MIN = 0.01, 0.002
TARGET_P99, TARGET_KEPT = 1.10, 0.90
TIMEOUT_S = 1800


def bad_input(text):
    sys.stderr.write("dual-model ablation: %s\n" % text)
    raise SystemExit(2)


def parse_arguments(argv):
    parser = argparse.ArgumentParser(prog="dual-model ablation", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", default="all", help="scenarios, cycle, batch, rate or all: which "
                        "points around the scenarios [all]")
    parser.add_argument("--full", action="store_true", help="the whole grid instead: 96 points")
    parser.add_argument("--seconds", type=float, help="simulated time a run; without it, enough for "
                        "%d requests" % REQUESTS_MIN)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once [processors]")
    parser.add_argument("--out", default="xsched-hsa-ablation", help="folder for the results")
    parser.add_argument("--sim", help="dual-model-sim [beside dual-model]")
    parser.add_argument("--sim-options", default="", help="passed to each run, as in '--wake-us 100'")
    parser.error = lambda message: bad_input(message + "; see dual-model ablation --help")
    arguments = parser.parse_args(argv)
    if arguments.axis not in ("scenarios", "cycle", "batch", "rate", "all"):
        bad_input("unknown axis '%s'; use scenarios, cycle, batch, rate or all" % arguments.axis)
    if arguments.seconds is not None and not 0 < arguments.seconds <= 1e5:
        bad_input("--seconds must be above 0")
    if arguments.jobs < 1:
        bad_input("--jobs must be at least 1")
    arguments.sim = arguments.sim or find_sim()
    return arguments


def find_sim():
    here = os.path.dirname(os.path.abspath(__file__))
    # share/xsched-hsa/dual-model in a build tree or an installation.
    path = os.path.join(here, "..", "..", "..", "bin", "dual-model-sim")
    if not os.access(path, os.X_OK):
        bad_input("no dual-model-sim beside this installation; give it by --sim")
    return os.path.abspath(path)


def make_points(axis, full):
    """[(batch, rate, cycle_ms)], each once, in the order of the table."""
    if full:
        return [(b, r, c) for b in BATCHES for r in RATES for c in CYCLES_MS]
    points = [(b, r, CYCLE_DEFAULT_MS) for b, r in SCENARIOS.values()]
    if axis in ("cycle", "all"):
        points += [(b, r, c) for b, r in SCENARIOS.values() for c in CYCLES_MS]
    if axis in ("batch", "all"):
        points += [(b, SCENARIOS["intensive"][1], CYCLE_DEFAULT_MS) for b in BATCHES]
    if axis in ("rate", "all"):
        points += [(b, r, CYCLE_DEFAULT_MS) for b, _ in SCENARIOS.values() for r in RATES]
    return list(dict.fromkeys(points))


def runs_of(point):
    """[(mechanism, seed, key)]; equal keys are one run."""
    batch, rate, cycle = point
    runs = [(m, 1, (batch, rate, None, m, 1)) for m in FREE]
    runs += [(m, 1, (batch, rate, cycle, m, 1)) for m in CYCLING]
    return runs + [(PLAN, seed, (batch, rate, cycle, PLAN, seed)) for seed in PLAN_SEEDS]


def simulate(arguments, key):
    batch, rate, cycle, mechanism, seed = key
    seconds = arguments.seconds or max(SECONDS_MIN, REQUESTS_MIN / rate)
    command = [arguments.sim, "--high", "resnet18.b1@%g" % rate, "--low", "resnet50.b%d" % batch,
               "--mechanisms", mechanism, "--cycle-ms", "%g" % (cycle or CYCLE_DEFAULT_MS),
               "--seconds", "%g" % seconds, "--seed", str(seed), "--json", "-"]
    command += arguments.sim_options.split()
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError("%s: exit code %d: %s" % (" ".join(command), done.returncode,
                                                     done.stderr.strip()))
    return json.loads(done.stdout)


def run_all(arguments, keys):
    os.makedirs(os.path.join(arguments.out, "runs"), exist_ok=True)
    records, progress = {}, Progress(len(keys), planned=False)
    progress.show("0 of %d runs" % len(keys))
    try:
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            futures = {pool.submit(simulate, arguments, key): key for key in keys}
            for future in concurrent.futures.as_completed(futures):
                key = futures[future]
                records[key] = future.result()
                save(arguments.out, key, records[key])
                progress.done(1)
                progress.show("%d of %d runs" % (len(records), len(keys)))
    finally:
        progress.clear()
    return records


def save(folder, key, record):
    name = "b%d_r%d_c%s_%s_s%d.json" % tuple("any" if k is None else k for k in key)
    with open(os.path.join(folder, "runs", name.replace(":", "-")), "w") as file:
        json.dump(record, file, indent=1)


def figures(record):
    return {"p50": record["high"]["p50_over_alone"], "p99": record["high"]["p99_over_alone"],
            "max": record["high"]["max_over_alone"], "kept": record["low"]["kept"],
            "requests": record["high"]["requests"],
            "chosen": record.get("layer", {}).get("chosen")}


def mean(runs, name):
    return sum(entry[name] for entry in runs) / len(runs)


def spread_of(runs):
    """From the least to the largest."""
    def range_of(name):
        return max(entry[name] for entry in runs) - min(entry[name] for entry in runs)
    return {"p99": max(P99_SPREAD_MIN, range_of("p99")),
            "kept": max(KEPT_SPREAD_MIN, range_of("kept"))}


def dominators(plan, single, spread):
    """The single mechanisms that are as good in one figure and better than the spread in the other."""
    def beats(other):
        better_p99 = other["p99"] < plan["p99"] - spread["p99"]
        better_kept = other["kept"] > plan["kept"] + spread["kept"]
        return (better_p99 and other["kept"] >= plan["kept"]
                or better_kept and other["p99"] <= plan["p99"])
    return [name for name, other in single.items() if beats(other)]


def judge(point, records):
    batch, rate, cycle = point
    by_run = {(m, seed): figures(records[key]) for m, seed, key in runs_of(point)}
    runs = [by_run[(PLAN, seed)] for seed in PLAN_SEEDS]
    plan = {name: mean(runs, name) for name in ("p50", "p99", "max", "kept")}
    plan["chosen"] = {name: sum(run["chosen"][name] for run in runs) for name in runs[0]["chosen"]}
    plan["worst_p99"] = max(run["p99"] for run in runs)
    plan["least_kept"] = min(run["kept"] for run in runs)
    single = {m: by_run[(m, 1)] for m in SINGLE}
    spread = spread_of(runs)
    return {"batch": batch, "rate": rate, "cycle_ms": cycle, "plan": plan, "spread": spread,
            "requests": runs[0]["requests"], "single": single,
            "dominated_by": dominators(plan, single, spread),
            "meets_target": (plan["worst_p99"] <= TARGET_P99
                             and plan["least_kept"] >= TARGET_KEPT)}


def cell(entry):
    return "%.2f / %.3f" % (entry["p99"], entry["kept"])


def markdown(results):
    lines = ["High P99 over alone / low kept of alone. Device time simulated, host costs assumed; plan: "
             "mean of %d seeds and the worst P99 of them; target: met by each." % len(PLAN_SEEDS),
             "",
             "| batch | rate | cycle ms | n | " + " | ".join(SINGLE) +
             " | **plan** | chosen (hold, squeeze, suspend, share) | target | below the frontier |",
             "|---" * (len(SINGLE) + 8) + "|"]
    for r in results:
        chosen = ", ".join(str(r["plan"]["chosen"][m]) for m in ("hold", "squeeze", "suspend", "share"))
        lines.append("| b%d | %g | %g | %d | %s | **%s** ± %.2f / %.3f, worst %.2f | %s | %s | %s |" % (
            r["batch"], r["rate"], r["cycle_ms"], r["requests"],
            " | ".join(cell(r["single"][m]) for m in SINGLE), cell(r["plan"]), r["spread"]["p99"],
            r["spread"]["kept"], r["plan"]["worst_p99"], chosen, "yes" if r["meets_target"] else "no",
            ", ".join(r["dominated_by"]) or "–"))
    below = [r for r in results if r["dominated_by"]]
    lines += ["", "The plan is on or above the frontier of the single mechanisms at %d of %d points; "
              "at %d it meets P99 ≤ %.2f with kept ≥ %.2f." % (
                  len(results) - len(below), len(results), sum(r["meets_target"] for r in results),
                  TARGET_P99, TARGET_KEPT)]
    return "\n".join(lines) + "\n"


STYLE = """body{font:14px sans-serif;max-width:800px;margin:2em auto}
svg{width:100%;font-size:8px}.grid{stroke:#8884}.single{fill:#5778a4}.plan{fill:#d1615d}
.target{fill:#6a9f5833}text{fill:#666}"""


def chart(result):
    entries = [(name, entry, "single") for name, entry in result["single"].items()]
    entries.append((PLAN, result["plan"], "plan"))
    kept_low = min(0.85, min(entry["kept"] for _, entry, _ in entries) - 0.02)
    high = max(entry["p99"] for _, entry, _ in entries) * 1.2
    axes = charts.Axes(kept_low, 1.01, 0.95, max(high, 1.5), log_y=True)
    ticks = [tick for tick in charts.log_ticks(1, max(high, 1.5))]
    x_ticks = [i / 20 for i in range(int(kept_low * 20) + 1, 21)]
    body = charts.frame(axes, x_ticks, ticks, "low kept of alone", "high P99 over alone (log)")
    left, top = axes.place(TARGET_KEPT, TARGET_P99)
    right, bottom = axes.place(1.01, 0.95)
    body += '<rect class="target" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>' % (
        left, top, right - left, bottom - top)
    for name, entry, css in entries:
        x, y = axes.place(entry["kept"], entry["p99"])
        body += '<circle class="%s" cx="%.1f" cy="%.1f" r="3"/>' % (css, x, y)
        body += '<text x="%.1f" y="%.1f">%s</text>' % (x + 6, y - 4, name)
    title = "batch %(batch)d, %(rate)g requests/s, cycle %(cycle_ms)g ms" % result
    return "<h3>%s</h3>%s" % (title, charts.svg(title, body))


def page(results):
    return ("<!doctype html><meta charset=utf-8><title>Ablation</title><style>%s</style>"
            "<h1>Mechanisms and the plan</h1><p>Device time simulated, host costs assumed. Down and to "
            "the right is better; the shaded corner is the target.</p>%s\n"
            % (STYLE, "".join(chart(result) for result in results)))


def write(arguments, results):
    for name, text in (("ablation.json", json.dumps(results, indent=1) + "\n"),
                       ("ablation.md", markdown(results)), ("ablation.html", page(results))):
        with open(os.path.join(arguments.out, name), "w") as file:
            file.write(text)


def main(argv):
    arguments = parse_arguments(argv)
    points = make_points(arguments.axis, arguments.full)
    keys = list(dict.fromkeys(key for point in points for _, _, key in runs_of(point)))
    began = time.monotonic()
    try:
        records = run_all(arguments, keys)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write("dual-model ablation: %s\n" % error)
        return 1
    results = [judge(point, records) for point in points]
    write(arguments, results)
    sys.stdout.write(markdown(results))
    sys.stdout.write("\n%d runs in %.0f s; results are in %s\n"
                     % (len(keys), time.monotonic() - began, arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
