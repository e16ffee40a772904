"""measure_decisions.py: what a decision takes, and the controller under events. Host time, real; no device."""

import json
import subprocess
import time

from stack import Stack, cpu_ns, status

RATES = (0, 1000, 10_000, 100_000)
SECONDS = 2


def benchmark(stack):
    found = stack.json_of([stack.bin("decision-bench"), "--benchmark_format=json", "--benchmark_min_time=0.02",
                           "--benchmark_repetitions=5", "--benchmark_enable_random_interleaving=true"])
    times = {}
    for row in found["benchmarks"]:
        if row["run_type"] == "iteration":
            times.setdefault(row["run_name"], []).append(row["cpu_time"])
    return times


class Storm:
    def __init__(self, stack, sessions, queues, rate, held=0):
        self.process = subprocess.Popen([stack.bin("controller-storm"), stack.socket, str(sessions), str(queues),
                                         str(rate), str(SECONDS), str(held)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline().split()[1])

    def end(self):
        self.process.communicate("\n", timeout=60)


def under_rate(arguments, sessions, queues, held, rate):
    with Stack(arguments.build, device=False) as stack:
        storm = Storm(stack, sessions, queues, rate, held)
        time.sleep(0.2)
        pid = stack.controller.pid
        seen = json.loads(stack.ctl("stats", "--json"))
        before, switches, began = cpu_ns(pid), status(pid, "voluntary_ctxt_switches"), time.monotonic()
        events = storm.run()
        took = time.monotonic() - began
        result = {"sessions": sessions, "queues": queues, "held": held, "rate": rate, "sent_per_s": events / took,
                  "cpu_percent": (cpu_ns(pid) - before) / took / 1e7,
                  "wake_ups_per_s": (status(pid, "voluntary_ctxt_switches") - switches) / took}
        after = json.loads(stack.ctl("stats", "--json"))
        result["handled_per_s"] = (counter(after, "layer_events") - counter(seen, "layer_events")) / took
        storm.end()
        return result


def counter(stats, name):
    if isinstance(stats, dict):
        if name in stats:
            return stats[name]
        for value in stats.values():
            found = counter(value, name)
            if found is not None:
                return found
    return None


def memory(arguments):
    """The controller's resident memory without programs, and with some."""
    rows = []
    for sessions, queues in ((0, 0), (2, 1), (64, 1), (64, 32)):
        with Stack(arguments.build, device=False) as stack:
            storm = Storm(stack, sessions, queues, 0) if sessions else None
            time.sleep(0.2)
            pid = stack.controller.pid
            rows.append({"sessions": sessions, "queues": queues, "private_kb": status(pid, "RssAnon"),
                         "shared_kb": status(pid, "RssShmem")})
            if storm:
                storm.run()
                storm.end()
    return rows


def measure(arguments):
    with Stack(arguments.build, device=False) as stack:
        times = benchmark(stack)
    return {"unit": "ns a decision; percent of a processor; KB; host, real", "benchmark": times,
            "rates": [under_rate(arguments, *size, rate)
                      for size in ((2, 1, 1), (64, 32, 1), (64, 32, 63)) for rate in RATES],
            "memory": memory(arguments)}
