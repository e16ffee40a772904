"""measure_experiment.py: the two scenarios under each mechanism, in virtual time.

The layer's and the controller's code runs unmodified against the device model (dual-model-sim): device times are simulated,
host costs assumed, and a busy machine changes nothing. What two seeds of one kind differ by is what a difference means.
"""

import concurrent.futures
import json
import os
import subprocess

SCENARIOS = {"intensive": (1024, 20), "standard": (8, 10)}  # batch of the low program, requests/s of the high one
KINDS = (("native", "native", 1), ("native again (A/A)", "native", 2), ("hardware priority only", "priority", 1),
         ("16 compute units reserved", "reserve:16", 1), ("32 compute units reserved", "reserve:32", 1), ("hold only", "hold", 1),
         ("xsched-hsa", "plan", 1), ("xsched-hsa again (A/A)", "plan", 2))
REQUESTS = 300
TIMEOUT_S = 900


def once(arguments, scenario, mechanisms, seed):
    batch, rate = SCENARIOS[scenario]
    command = [os.path.join(arguments.build, "bin", "dual-model-sim"), "--high", "resnet18.b1@%d" % rate, "--low",
               "resnet50.b%d" % batch, "--mechanisms", mechanisms, "--seconds", "%g" % (REQUESTS / rate), "--seed", str(seed),
               "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError("dual-model-sim: " + done.stderr.strip())
    record = json.loads(done.stdout)
    # Without these it would be no run "with" anything, and a lost packet no result.
    if record["exactly_once"]["faults"] or (mechanisms == "plan" and not record["layer"]["decisions"]):
        raise RuntimeError("dual-model-sim: an unsound run: " + " ".join(command))
    high, low, layer = record["high"], record["low"], record.get("layer", {})
    return {"p50": high["p50_over_alone"], "p99": high["p99_over_alone"], "max": high["max_over_alone"], "kept": low["kept"],
            "requests": high["requests"], "alone_p99_ms": high["alone"]["p99_ms"], "decisions": layer.get("decisions", 0),
            "held": layer.get("packets_held", 0), "cycle_ms": record["setup"]["device"]["cycle_ms"]}


def measure(arguments):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {(scenario, name): pool.submit(once, arguments, scenario, mechanisms, seed)
                for scenario in SCENARIOS for name, mechanisms, seed in KINDS}
        found = {scenario: {name: runs[scenario, name].result() for name, _, _ in KINDS} for scenario in SCENARIOS}
    return {"unit": "device time, simulated", "scenarios": found}
