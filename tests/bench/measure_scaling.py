"""measure_scaling.py: the whole stack with 2 to 64 processes on 1 to 8 virtual GPUs.

One urgent program a GPU sends a burst of packets now and then; the others of the GPU keep their queues full. What is
counted is host cost: the controller's, per event, and how long a request waited. Device times are simulated and the
device process runs on the same processors, so nothing here says how fast a GPU would be.
"""

import json
import statistics
import subprocess
import time

from stack import Stack, cpu_ns, status
from measure_decisions import counter

SIZES = ((2, 1), (8, 1), (32, 1), (64, 1), (8, 4), (32, 4), (64, 8))  # processes, GPUs
SECONDS = 3


class Programs:
    def __init__(self, stack, processes, gpus):
        self.stack, self.running = stack, []
        for number in range(processes):
            role = "high" if number < gpus else "low"
            command = stack.on_device(stack.bin("scaling-bench"), role, str(number % gpus), str(SECONDS))
            self.running.append((role, subprocess.Popen(command, env=stack.layer(role), stdin=subprocess.PIPE,
                                                        stdout=subprocess.PIPE, text=True)))
        for _, process in self.running:
            process.stdout.readline()  # has its queue

    def run(self):
        for _, process in self.running:
            process.stdin.write("\n")
            process.stdin.flush()
        results = {"high": [], "low": []}
        for role, process in self.running:
            output, _ = process.communicate(timeout=120)
            if process.returncode == 0:
                results[role].append(json.loads(output))
        return results


def at_size(arguments, processes, gpus):
    with Stack(arguments.build, gpus=gpus) as stack:
        began = time.monotonic()
        programs = Programs(stack, processes, gpus)
        started_s = time.monotonic() - began
        pid = stack.controller.pid
        events = counter(json.loads(stack.ctl("stats", "--json")), "layer_events")
        before, began = cpu_ns(pid), time.monotonic()
        results = programs.run()
        took = time.monotonic() - began
        used = cpu_ns(pid) - before
        events = counter(json.loads(stack.ctl("stats", "--json")), "layer_events") - events
        waits = sorted(value for result in results["high"] for value in result["request_us"])
        lows = [result["packets"] for result in results["low"]]
        return {"processes": processes, "gpus": gpus, "started_s": started_s, "failed": processes - len(lows) -
                len(results["high"]), "requests": len(waits), "request_p50_us": statistics.median(waits) if waits else None,
                "request_p99_us": waits[int(0.99 * (len(waits) - 1))] if waits else None,
                "low_packets_per_s": sum(lows) / SECONDS, "low_least_per_s": min(lows, default=0) / SECONDS,
                "controller_percent": used / took / 1e7, "events_per_s": events / took,
                "us_per_event": used / max(events, 1) / 1e3, "controller_kb": status(pid, "RssAnon")}


def measure(arguments):
    return {"unit": "host, real; the device is simulated on the same processors",
            "sizes": [at_size(arguments, *size) for size in SIZES]}
