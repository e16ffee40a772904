"""report.py: docs/performance.md's tables, the plots and the machine-readable record, from what was measured."""

import json
import math
import os
import statistics
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.append(os.path.join(HERE, "../../tools/dual-model/experiment"))
import svg_charts  # noqa: E402  (the experiment's charts)

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
STYLE = ("<style>text{font:11px sans-serif;fill:#555}.grid{stroke:#ddd}polyline{fill:none;stroke-width:2}"
         ".c0{stroke:#1f77b4;fill:#1f77b4}.c1{stroke:#d62728;fill:#d62728}.c2{stroke:#2ca02c;fill:#2ca02c}"
         ".c3{stroke:#9467bd;fill:#9467bd}.c4{stroke:#8c564b;fill:#8c564b}</style>")


PACKETS = """Host nanoseconds of one producer per dispatch, **real**: the median of the rounds' medians (least–most of them),
and what is added to bare in the same run. Several producers share the queue, each on a processor of its own as far as there
are any."""
REACTION = """Host microseconds, **real**, no device: the median of the runs' medians (least–most of them), and P99; %d requests a
run. *closed*: from before the urgent doorbell until the other program's thread has kept a packet back. *released*: from the
end of the urgent work until that packet is published, less the linger of %d µs, which is a setting. *missed*: requests that
the other program's thread did not see within their millisecond, mostly since it had no processor. The machine's own ways from
one process to another are measured before and after in each run (A/A)."""
DECISION = """The controller's own code, host nanoseconds of processor time, **real** (Google Benchmark, 5 repetitions: median and
least–most). Machines are programs × queues; one program is urgent."""
EVENTS = """The controller under events, 2 seconds each, host, **real**. An event is the begin or the end of a request; those that
come while it works are taken together. *Held*: programs whose gate closes at each, and that are woken at its end."""
PROGRAMS = """Host time, **real**; the devices are **simulated** on the same processors, so a request's time is what this machine
makes of it. One urgent program a GPU, 32 packets every 10 ms; the others 64 packets at a time."""
COUNTS = """By callgrind, in a loop with warm caches, on a ring in plain memory: **counts** for one packet, decision or step, and
misses in its model of this machine's first-level caches (the ring's own line is one). What no count shows: lines that another
processor or the device has written meanwhile."""
EXPERIMENT = """Device time **simulated**, host costs assumed, virtual time: %d requests and more a run, runlist cycle %g ms. High P99
over the P99 of the same program alone, and what the low one keeps of its rate alone, both in the same run. More points, and what
each choice was: [ablation](ablation.md)."""
START_UP = """Host time, **real**: a program that starts HSA, makes and destroys 16 queues, and ends; medians and least–most of the
rounds."""


def middle(values):
    return statistics.median(values)


def spread(values):
    return "%.3g–%.3g" % (min(values), max(values))


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + \
        ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


# ------------------------------------------------------------------------------------------- packets
def packets(found):
    lines = ["### Packet path", PACKETS]
    producers = found["producers"]
    head = ["run"] + ["%s producer%s" % (n, "s" * (n != "1")) for n in producers] + ["added (%s)" % n for n in producers]
    rows = []
    for kind in next(iter(producers.values())):
        medians = {n: middle(runs[kind]) for n, runs in producers.items()}
        rows.append([kind, *("%.1f (%s)" % (medians[n], spread(runs[kind])) for n, runs in producers.items()),
                     *("%+.1f" % (medians[n] - middle(producers[n]["bare"])) for n in producers)])
    return lines + table(head, rows)


# ------------------------------------------------------------------------------------------ reaction
def pooled(runs, *path):
    values = []
    for run in runs:
        for key in path:
            run = run[key]
        values.append(run["p50"])
    return values


def microseconds(runs, *path):
    values = [value / 1e3 for value in pooled(runs, *path)]
    return "%.2f (%s)" % (middle(values), spread(values))


def tail(runs, *path):
    values = []
    for run in runs:
        for key in path:
            run = run[key]
        values.append(run["p99"] / 1e3)
    return "%.1f" % middle(values)


def reaction(found):
    lines = ["### Reaction", REACTION % (found["requests"], found["linger_us"])]
    head = ["case", "closed", "P99", "released", "P99", "futex wake", "again", "eventfd wake", "socket round trip",
            "cache line", "missed"]
    rows = [[case, microseconds(runs, "closed"), tail(runs, "closed"), microseconds(runs, "released"),
             tail(runs, "released"), microseconds(runs, "before", "futex_wake"), microseconds(runs, "after", "futex_wake"),
             microseconds(runs, "before", "event_wake"), microseconds(runs, "before", "socket_round_trip"),
             microseconds(runs, "before", "cache_line"), sum(run["missed"] for run in runs)]
            for case, runs in found["kinds"].items()]
    lines += table(head, rows)
    calls = [(pooled(runs, "before", "wake_call_1"), pooled(runs, "before", "wake_call_64")) for runs in found["kinds"].values()]
    lines += ["", "The call that wakes takes its caller %.1f µs for one sleeper and %.0f µs for 64 (a raise rings for the preemptors of "
              "its user's programs that have work)." % (middle([v for one, _ in calls for v in one]) / 1e3, middle([v for _, many in calls for v in many]) / 1e3)]
    if not any(case.startswith("other user") for case in found["kinds"]):
        lines.append("Across users it was not measured: that takes root.")
    return lines


# ----------------------------------------------------------------------------------------- decisions
NAP_NS = 31_250  # kNapNs of primitives.h
STEPS = {"DecidePolicy": "policy", "Raise": "step at a raise", "RaiseAndEnd": "raise and end, nobody held",
         "RaiseAndEndAllHeld": "raise and end, all held", "Renew": "renewal of leases, with the policy"}


def named(benchmark):
    """Google Benchmark's name: what it is, and its sizes."""
    parts = benchmark.split("/")
    words = [STEPS.get(parts[0], parts[0])] + [part.replace("_", "-") for part in parts[1:] if not part.isdigit()]
    return " ".join(words), [int(part) for part in parts[1:] if part.isdigit()]


def decision(found):
    lines = ["### Decision", DECISION]
    rows = []
    for name, times in sorted(found["benchmark"].items(), key=lambda item: (named(item[0])[0], math.prod(named(item[0])[1]))):
        what, size = named(name)
        rows.append([what, " × ".join(map(str, size)), "%.3g" % middle(times), spread(times),
                     "%.3g" % (middle(times) / math.prod(size))])
    lines += table(["step", "queues", "ns", "least–most", "ns a queue"], rows)
    lines += ["", EVENTS]
    lines += table(["programs × queues", "of them held", "events/s asked", "sent/s", "looked at/s", "processor",
                    "µs of it an event", "wake-ups/s"],
                   [["%d × %d" % (row["sessions"], row["queues"]), row["held"], row["rate"], "%.0f" % row["sent_per_s"],
                     "%.0f" % row["handled_per_s"], "%.2f %%" % row["cpu_percent"],
                     "%.1f" % (row["cpu_percent"] * 1e4 / row["handled_per_s"]) if row["rate"] else "-",
                     "%.1f" % row["wake_ups_per_s"]]
                    for row in found["rates"]])
    lines += ["", "Its memory, KB resident:"]
    lines += table(["programs", "queues each", "own", "shared pages"],
                   [[row["sessions"], row["queues"], row["private_kb"], row["shared_kb"]] for row in found["memory"]])
    return lines


# -------------------------------------------------------------------------------------------- counts
def counts(found):
    words = ("instructions", "locked", "system_calls", "l1_read_misses", "l1_write_misses", "l1_instruction_misses")
    rows = [[name, *("%.4g" % path[word] for word in words)] for name, path in found["paths"].items()]
    return ["### Counted", COUNTS] + table(["path", *(word.replace("_", " ").replace("l1", "L1") for word in words)], rows)


# ---------------------------------------------------------------------------------------- experiment
def experiment(found):
    runs = [run for kinds in found["scenarios"].values() for run in kinds.values()]
    lines = ["### The experiment", EXPERIMENT % (min(run["requests"] for run in runs), runs[0]["cycle_ms"])]
    rows = [[scenario, name, "%.2f" % run["p50"], "%.2f" % run["p99"], "%.2f" % run["max"], "%.3f" % run["kept"],
             run["held"], run["decisions"]]
            for scenario, kinds in found["scenarios"].items() for name, run in kinds.items()]
    return lines + table(["scenario", "run", "P50 / alone", "P99 / alone", "max / alone", "low kept", "packets held", "decisions"], rows)


# ------------------------------------------------------------------------------------------ the rest
def scaling(found):
    lines = ["### Many programs", PROGRAMS]
    rows = [[row["processes"], row["gpus"], "%.1f" % row["started_s"], row["requests"],
             "%.0f" % row["request_p50_us"], "%.0f" % row["request_p99_us"], "%.0f" % row["low_packets_per_s"],
             "%.0f" % row["low_least_per_s"], "%.0f" % row["events_per_s"], "%.2f %%" % row["controller_percent"],
             "%.1f" % row["us_per_event"], row["failed"]] for row in found["sizes"]]
    return lines + table(["processes", "GPUs", "all started, s", "requests", "P50 µs", "P99 µs", "low packets/s", "the least",
                          "events/s", "controller", "µs an event", "failed"], rows)


def start_up(found):
    lines = ["### Start-up", START_UP]
    names = {"init_ms": "hsa_init, ms", "whole_ms": "whole program, ms", "create_us": "hsa_queue_create, µs",
             "destroy_us": "hsa_queue_destroy, µs"}
    rows = []
    for kind, values in found["kinds"].items():
        rows.append([kind, *("%.4g (%s)" % (middle(values[key]), spread(values[key])) for key in names)])
    return lines + table(["run", *names.values()], rows)


# -------------------------------------------------------------------------------------------- bounds
def verdict(value, target):
    return "met" if value <= target else "missed"


def bounds(results):
    """For each target: what was measured, what bounds it in the same run, and how far away that is."""
    rows = []
    if "packet-path" in results:
        one = results["packet-path"]["producers"]["1"]
        bare = middle(one["bare"])
        added = middle(one["layer, unarmed"]) - bare
        rows.append(["packet, unarmed: added", "20 ns", "%.1f ns" % added, verdict(added, 20),
                     "a dispatch without us: %.1f ns (A/A %+.1f)" % (bare, middle(one["bare again (A/A)"]) - bare),
                     "%.2f ×" % (middle(one["layer, unarmed"]) / bare)])
        armed = middle(one["layer, armed"]) - bare
        tool = middle(one["do-nothing intercept tool"]) - bare
        rows.append(["packet, armed: added", "-", "%.0f ns" % armed, "-", "AMD's own intercept queue: %.0f ns" % tool,
                     "%.2f ×" % (armed / max(tool, 1e-9))])
    if "reaction" in results:
        runs = results["reaction"]["kinds"]["same user, idle"]
        closed, line = middle(pooled(runs, "closed")), middle(pooled(runs, "before", "cache_line"))
        rows.append(["doorbell → gate closed, same user, idle", "2 µs", "%.2f µs" % (closed / 1e3), verdict(closed, 2000),
                     "one cache line's transfer: %.0f ns" % line, "%.0f ×" % (closed / line)])
        released, wake = middle(pooled(runs, "released")), middle(pooled(runs, "before", "futex_wake"))
        event, nap = middle(pooled(runs, "before", "event_wake")), middle(pooled(runs, "before", "nap"))
        # The end is found half a look later, and the last look, at the linger's end, is as late as a sleep is.
        parts = nap / 2 + (nap - NAP_NS) + event + wake
        rows.append(["end → released, same user, idle", "-", "%.1f µs" % (released / 1e3), "-",
                     "half a pump's look (%.1f), a late sleep (%.1f), an eventfd wake and a futex wake: %.1f µs" % (
                         nap / 2e3, (nap - NAP_NS) / 1e3, parts / 1e3), "%.1f ×" % (released / parts)])
        if "other user, idle" in results["reaction"]["kinds"]:
            runs = results["reaction"]["kinds"]["other user, idle"]
            closed = middle(pooled(runs, "closed"))
            both = middle(pooled(runs, "before", "futex_wake")) + middle(pooled(runs, "before", "event_wake"))
            rows.append(["doorbell → gate closed, other user, idle", "-", "%.1f µs" % (closed / 1e3), "-",
                         "a futex wake (pump) and an eventfd wake (controller): %.1f µs" % (both / 1e3),
                         "%.1f ×" % (closed / both)])
    if "decision" in results:
        times = {name: middle(values) for name, values in results["decision"]["benchmark"].items()}
        raised, small = times["Raise/64/32"], times["Raise/2/1"]
        rows.append(["controller's step at a raise, 2048 queues", "1 µs", "%.2f µs" % (raised / 1e3), verdict(raised, 1000),
                     "the same with 2 queues: %.2f µs" % (small / 1e3), "%.1f ×" % (raised / small)])
        events = {(row["sessions"], row["held"]): row["cpu_percent"] * 1e4 / row["handled_per_s"]
                  for row in results["decision"]["rates"] if row["rate"] == 1000}
        rows.append(["controller, an event with 64 × 32 queues, one held", "flat", "%.0f µs" % events[64, 1],
                     "%.0f µs with 63 held" % events[64, 63], "the same with 2 × 1: %.0f µs" % events[2, 1],
                     "%.1f ×" % (events[64, 1] / events[2, 1])])
        idle = [row for row in results["decision"]["rates"] if row["rate"] == 0]
        most = max(row["cpu_percent"] for row in idle)
        wakes = max(row["wake_ups_per_s"] for row in idle)
        rows.append(["controller, idle", "1 %, no wake-ups", "%.2f %%, %.1f/s" % (most, wakes), verdict(most, 1),
                     "nothing (`quiet_test` counts)", "-"])
    if "experiment" in results:
        kinds = results["experiment"]["scenarios"]["intensive"]
        ours = [kinds["xsched-hsa"], kinds["xsched-hsa again (A/A)"]]
        p99, kept = max(run["p99"] for run in ours), min(run["kept"] for run in ours)
        rows.append(["intensive, high P99 over alone (simulated)", "1.10, then 1.05", "%.2f" % p99, verdict(p99, 1.10),
                     "native: %.2f" % kinds["native"]["p99"], "%.2f ×" % (p99 / kinds["native"]["p99"])])
        rows.append(["intensive, low kept (simulated)", "0.90, then 0.97", "%.3f" % kept, verdict(-kept, -0.90),
                     "native: %.3f" % kinds["native"]["kept"], "%.2f ×" % (kept / kinds["native"]["kept"])])
    return ["### Targets, and what bounds them", "Bounds are measured in the same run."] + \
        table(["figure", "target", "measured", "", "bounded by", "distance"], rows)


# --------------------------------------------------------------------------------------------- plots
def chart(series, x_label, y_label, title):
    """series: [(label, [(x, y)])], both logarithmic."""
    points = [point for _, values in series for point in values]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    axes = svg_charts.Axes(min(xs) * 0.9, max(xs) * 1.1, min(ys) * 0.8, max(ys) * 1.25, log_x=True, log_y=True)
    body = STYLE + svg_charts.frame(axes, svg_charts.log_ticks(min(xs), max(xs)), svg_charts.log_ticks(min(ys) * 0.8, max(ys) * 1.25),
                                    x_label, y_label)
    for number, (label, values) in enumerate(series):
        css = "c%d" % (number % 5)
        body += '<polyline class="%s" style="fill:none" points="%s"/>' % (css, " ".join("%.1f,%.1f" % axes.place(x, y) for x, y in values))
        body += '<text class="%s" style="stroke:none" x="%d" y="%d">%s</text>' % (
            css, svg_charts.LEFT + 10, svg_charts.TOP + 14 + 14 * number, label)
    return svg_charts.svg(title, body).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def plots(results):
    charts = {}
    if "packet-path" in results:
        producers = results["packet-path"]["producers"]
        series = [(kind, [(int(n), middle(runs[kind])) for n, runs in producers.items()])
                  for kind in ("bare", "layer, unarmed", "layer, armed", "layer, held", "do-nothing intercept tool")]
        charts["packet-path"] = chart(series, "producers (log)", "ns a dispatch, host, real (log)", "Cost of a dispatch by producers")
    if "decision" in results:
        series = {}
        for name, times in results["decision"]["benchmark"].items():
            what, size = named(name)
            if "earliest" not in what:
                series.setdefault(what, {})[math.prod(size)] = middle(times)
        charts["decision"] = chart([(what, sorted(values.items())) for what, values in series.items()],
                                   "queues (log)", "ns, host, real (log)", "Time of a decision by queues")
    return charts


# --------------------------------------------------------------------------------------------- output
SECTIONS = {"packet-path": packets, "reaction": reaction, "counts": counts, "decision": decision, "scaling": scaling,
            "start-up": start_up, "experiment": experiment}


def markdown(results, machine):
    lines = ["`tests/run --bench` on %s, %d processors, Linux %s, %s; load before %.1f. Made by the command, not by hand; "
             "[the record](performance.json)." % (machine["processor"], machine["processors"], machine["kernel"], machine["date"],
                                                  machine["load_before"]), ""]
    lines += bounds(results)
    for name, section in SECTIONS.items():
        if name in results:
            lines += ["", *section(results[name])]
    lines += [""] + ["![%s](plots/%s.svg)" % (name, name) for name in plots(results)]
    return "\n".join(line.replace("\n", " ") for line in lines)


def write(results, machine, docs):
    with open(os.path.join(docs, "performance.json"), "w") as file:
        json.dump({"machine": machine, "results": results}, file, indent=1)
        file.write("\n")
    os.makedirs(os.path.join(docs, "plots"), exist_ok=True)
    for name, text in plots(results).items():
        with open(os.path.join(docs, "plots", name + ".svg"), "w") as file:
            file.write(text)
    path = os.path.join(docs, "performance.md")
    with open(path) as file:
        before, rest = file.read().split(BEGIN)
    after = rest.split(END)[1]
    with open(path, "w") as file:
        file.write(before + BEGIN + "\n" + markdown(results, machine) + "\n" + END + after)
