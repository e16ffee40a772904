"""report.py: result.json and the raw records as a terminal table, report.md and report.html.

The page is self-contained: no network, no script; light and dark by prefers-color-scheme.
"""

from html import escape

import svg_charts
import verdict as verdicts

COLUMNS = ("scenario", "mode", "requests", "P50", "P95", "P99", "max", "P99 / alone",
           "low it/s", "kept", "packets held", "preemptions")
SERIES = (("alone", 0, "s-alone", "alone"), ("native", 0, "s-native", "native"),
          ("native", 1, "s-native2", "native again"), ("xsched-hsa", 0, "s-xsched", "xsched-hsa"))


class Context:
    """Everything a report says; `records` are the raw ones by (scenario, mode, repeat)."""

    def __init__(self, result, records, scenarios, baseline, arguments):
        self.result, self.records = result, records
        self.scenarios = {name: scenarios[name] for name in result["verdict"]["scenarios"]}
        self.baseline, self.arguments = baseline, arguments

    @property
    def label(self):
        return "simulated" if self.result["simulated"] else "real"


def number(value, pattern="%.2f"):
    return "–" if value is None else pattern % value


def mode_name(run):
    return run["mode"] + (" (again)" if run.get("repeat") else "")


def row(run, runs):
    if "failed" in run:
        return [run["scenario"], mode_name(run), "failed"] + ["–"] * (len(COLUMNS) - 3)
    alone = verdicts.find(runs, run["scenario"], "alone")
    high, low, proof = run["high"] or {}, run["low"] or {}, run["proof"]
    kept = verdicts.ratio(low.get("iter_per_s"), verdicts.low_rate(alone))
    return [run["scenario"], mode_name(run), number(high.get("requests"), "%d"),
            number(high.get("p50_ms")), number(high.get("p95_ms")), number(high.get("p99_ms")),
            number(high.get("max_ms")),
            number(verdicts.ratio(high.get("p99_ms"), verdicts.p99(alone))),
            number(low.get("iter_per_s")), number(kept),
            number(proof["packets_held"], "%d"), number(proof["preemptions"], "%d")]


def rows(context):
    return [row(run, context.result["runs"]) for run in context.result["runs"]]


def published_rows(context):
    """What the user measured on a real MI308X, for comparison."""
    result = []
    for scenario in context.scenarios:
        for run in context.baseline.get(scenario, {}).get("native", []):
            high = run["high"]
            result.append([scenario, "native, " + run["run"], number(high.get("requests"), "%d"),
                           number(high.get("p50")), number(high.get("p95")),
                           number(high.get("p99")), number(high.get("max")),
                           number(run["low"].get("iter_per_s"))])
    return result


PUBLISHED_COLUMNS = ("scenario", "run", "requests", "P50", "P95", "P99", "max", "low it/s")


def terminal_table(columns, lines):
    widths = [max(len(str(line[i])) for line in [columns] + lines) for i in range(len(columns))]
    text = []
    for line in [columns] + lines:
        cells = [str(cell).ljust(width) if i < 2 else str(cell).rjust(width)
                 for i, (cell, width) in enumerate(zip(line, widths))]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def terminal(context):
    unit = "Latencies of the high-priority requests in ms, %s" % context.label
    lines = [unit + device_words(context), "", terminal_table(COLUMNS, rows(context)), ""]
    for entry in context.result["verdict"]["scenarios"].values():
        lines.append(entry["headline"])
        lines.append("  A/A spread of two equal native runs: " + spread_words(entry))
        for criterion in entry["criteria"]:
            lines.append("  %-7s %s (%s)%s" % (
                "met" if criterion["met"] else "NOT MET", criterion["name"], criterion["text"],
                "" if criterion["met"] else ": " + str(criterion["why_not"])))
    return "\n".join(lines)


def spread_words(entry):
    spread = entry["aa_spread"]
    return ", ".join("%s %s" % (name, number(spread[key] and 100 * spread[key], "%.1f %%")
                                if spread[key] is not None else "–")
                     for name, key in (("P50", "p50"), ("P99", "p99"), ("low rate", "low")))


def device_words(context):
    device = context.result["device"]
    return " on %s, %s CUs" % (
        ("a virtual GPU, profile %s" % device["profile"]) if device["virtual"]
        else device.get("name") or "this GPU", device.get("compute_units", "unknown"))


def labels(context):
    if not context.result["simulated"]:
        return ["Everything here was measured on real hardware."]
    return [
        "**Simulated**: device time. Kernels, contention, preemption and the latencies that follow "
        "from them come from the virtual GPU's model, not from hardware.",
        "**Real**: the runtime (unmodified ROCr), the layer, the controller and every packet that "
        "passes them. Their cost is real machine time; at a time scale of K it weighs 1/K in the "
        "latencies.",
        "**Assumed**: what nobody has measured, above all ResNet-18 alone (2.20 ms). See the "
        "parameters.",
    ]


def proof_rows(context):
    lines = []
    for run in context.result["runs"]:
        if "failed" in run:
            continue
        proof = run["proof"]
        lines.append([run["scenario"], mode_name(run), "yes" if proof["layer_loaded"] else "no"]
                     + [str(proof.get(key, "–")) for key in (
                         "queues", "packets_held", "preemptions", "held_ms", "packets_submitted",
                         "packets_completed", "packets_seen")])
    return lines


PROOF_COLUMNS = ("scenario", "mode", "layer loaded", "queues", "packets held", "preemptions",
                 "held ms (machine)", "packets submitted", "completed", "seen by the layer")


def noise_rows(context):
    """How late the virtual GPU was against its own clock: the noise floor of every figure."""
    lines = []
    for run in context.result["runs"]:
        noise = run.get("host_noise") or {}
        scale = run.get("time_scale") or 1
        record = context.records.get((run["scenario"], run["mode"], run.get("repeat", 0)), {})
        launches = late_launches(record)
        for gpu in noise.get("gpus", []):
            lag = gpu.get("lag", {})
            lines.append([run["scenario"], mode_name(run), "%g" % scale, standing(noise)] + [
                number(lag.get(key) / scale if lag.get(key) is not None else None, "%.1f")
                for key in ("p50_us", "p99_us", "max_us")] + launches)
    return lines


def standing(noise):
    """The share of the host's time in which the device's clock stood, for its model to catch up."""
    clock = noise.get("clock") or {}
    total = clock.get("running_ms", 0) + clock.get("stood_ms", 0)
    return "%.0f %%" % (100 * clock["stood_ms"] / total) if total else "–"


def late_launches(record):
    """Of the host-bound model: the share of launches that came late, and the latest one."""
    for model in record.get("models", []):
        lag = model.get("launch_lag") or {}
        if lag.get("launches"):
            return ["%.2f %%" % (100 * lag["late"] / lag["launches"]), "%.0f" % lag["max_us"]]
    return ["–", "–"]


NOISE_COLUMNS = ("scenario", "mode", "time scale", "clock stood", "device lag P50, µs", "P99", "max",
                 "launches late", "latest, µs")


def parameter_rows(context):
    lines = []
    for scenario in context.scenarios:
        record = next((record for key, record in context.records.items() if key[0] == scenario),
                      None)
        for model in record["models"] if record else []:
            plan = model["plan"]
            lines.append([scenario, model["role"], model["model"], "%g ms" % plan["target_ms"],
                          plan["basis"], "%.3f" % plan["factor"],
                          "%.1f µs" % plan["host_gap_us"] if plan["host_bound"] else "none",
                          str(plan["kernels"]), str(plan["workgroups"])])
    return lines


NOISE_TEXT = ("How late the virtual GPU's events and the high model's launches were (a launch is late by "
              "20 µs or more), in device time, which is machine time over the time scale: the noise "
              "floor of every simulated figure. While the model could not keep up the clock stood, "
              "for the programs' schedules and for what they measured alike.")
PARAMETER_COLUMNS = ("scenario", "role", "model", "alone", "basis", "duration factor",
                     "host gap", "kernels", "workgroups")


def reproduce(context):
    arguments = context.arguments
    command = "tools/demo --scenario %s" % arguments.scenario
    if arguments.seconds is not None:
        command += " --seconds %g" % arguments.seconds
    return command + (" --virtual" if arguments.virtual else "")


def throughput_words(entry):
    kept = entry["low_kept"]
    return ("The low model keeps %s of its rate alone under the native scheduler and %s with "
            "xsched-hsa." % (number(kept["native"]), number(kept["xsched-hsa"])))


def markdown_table(columns, lines):
    text = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    text += ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]
    return "\n".join(text)


def markdown(context):
    parts = ["# Two models on one GPU (%s)" % context.label, ""]
    for entry in context.result["verdict"]["scenarios"].values():
        parts += ["**%s**" % entry["headline"], ""]
    parts += ["Latencies of the high-priority requests in ms%s." % device_words(context), "",
              markdown_table(COLUMNS, rows(context)), "", "## Verdict", ""]
    for name, entry in context.result["verdict"]["scenarios"].items():
        parts += ["### " + name, "", throughput_words(entry),
                  "A/A spread of two equal native runs: %s." % spread_words(entry), ""]
        parts += ["- %s: %s (%s)%s" % ("met" if c["met"] else "not met", c["name"], c["text"],
                                       "" if c["met"] else ": " + str(c["why_not"]))
                  for c in entry["criteria"]] + [""]
    parts += ["## Proof of interception", "", markdown_table(PROOF_COLUMNS, proof_rows(context)),
              "", "## Published for a real MI308X, native", "",
              markdown_table(PUBLISHED_COLUMNS, published_rows(context)), "", "## Labels", ""]
    parts += ["- " + label for label in labels(context)]
    if noise_rows(context):
        parts += ["", "## Noise of this machine", "", NOISE_TEXT, "",
                  markdown_table(NOISE_COLUMNS, noise_rows(context))]
    parts += ["- " + escape(note) for note in context.result.get("notes", [])]
    parts += ["", "## Parameters", "", markdown_table(PARAMETER_COLUMNS, parameter_rows(context)),
              "", "Percentiles are nearest-rank. Reproduce: `%s`" % reproduce(context), ""]
    return "\n".join(parts)


STYLE = """
:root { --page: #fff; --text: #1d2126; --soft: #68707a; --line: #dde1e6; --card: #f5f7f9;
  --alone: #2a7d4f; --native: #c2571a; --native2: #d9a03f; --xsched: #2359c4; --ok: #2a7d4f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --text: #e4e7ea; --soft: #9aa3ad;
  --line: #333a41; --card: #1d2226; --alone: #63c08d; --native: #f0935a; --native2: #e8c37a;
  --xsched: #7ea6ff; --ok: #63c08d; --bad: #ff8a80; } }
body { background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.headline { font-size: 1.1rem; background: var(--card); border-left: 4px solid var(--xsched);
  padding: .6rem .9rem; margin: .5rem 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; } th { color: var(--soft); font-weight: 600; }
.met { color: var(--ok); } .missed { color: var(--bad); }
svg { width: 100%; height: auto; background: var(--card); border-radius: 6px; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } .grid { stroke: var(--line); }
.line { fill: none; stroke-width: 2; } .legend, .note { color: var(--soft); font-size: .87rem; }
.s-alone { --c: var(--alone); } .s-native { --c: var(--native); } .s-native2 { --c: var(--native2); }
.s-xsched { --c: var(--xsched); } .line { stroke: var(--c); } .dots { fill: var(--c); fill-opacity: .7; }
.key { display: inline-block; width: .8em; height: .8em; background: var(--c); border-radius: 2px; margin: 0 .2em 0 .8em; }
code { background: var(--card); padding: .1em .3em; border-radius: 3px; }
"""


def html_table(columns, lines):
    head = "".join("<th>%s</th>" % escape(column) for column in columns)
    body = "".join("<tr>%s</tr>" % "".join("<td>%s</td>" % escape(str(cell)) for cell in line)
                   for line in lines)
    return '<div class="scroll"><table><tr>%s</tr>%s</table></div>' % (head, body)


def samples(context, scenario):
    series = []
    for mode, repeat, css, label in SERIES:
        record = context.records.get((scenario, mode, repeat))
        for model in record["models"] if record else []:
            if model["role"] == "high":
                series.append((css, label, [tuple(sample) for sample in model["samples"]]))
                break
    return series


def html_scenario(context, scenario, entry):
    plan = context.scenarios[scenario]
    points = samples(context, scenario)
    latencies = [(css, label, [latency for _, latency in values]) for css, label, values in points]
    criteria = "".join(
        '<li><span class="%s">%s</span>: %s (%s)%s</li>' % (
            "met" if c["met"] else "missed", "met" if c["met"] else "not met", escape(c["name"]),
            escape(c["text"]), "" if c["met"] else ": " + escape(str(c["why_not"])))
        for c in entry["criteria"])
    return "".join([
        "<h2>%s: %s at %g requests/s beside %s</h2>" % (
            escape(scenario), escape(plan["high"]), plan["rate"], escape(plan["low"])),
        "<ul>%s</ul>" % criteria,
        "<p>%s A/A spread of two equal native runs: %s.</p>" % (
            escape(throughput_words(entry)), escape(spread_words(entry))),
        "<h3>Latency of the requests (%s)</h3>" % context.label, svg_charts.legend(latencies),
        svg_charts.latency_cdf(latencies),
        "<h3>Each request over the run (%s)</h3>" % context.label, svg_charts.timeline(points)])


def bold(text):
    """The one piece of markup that labels() uses, after escaping."""
    pieces = escape(text).split("**")
    return "".join("<b>%s</b>" % piece if i % 2 else piece for i, piece in enumerate(pieces))


def html_noise(context):
    if not noise_rows(context):
        return ""
    notes = "".join("<p>%s.</p>" % escape(note) for note in context.result.get("notes", []))
    return ("<h2>Noise of this machine</h2><p>%s</p>" % NOISE_TEXT + notes
            + html_table(NOISE_COLUMNS, noise_rows(context)))


def html(context):
    judged = context.result["verdict"]["scenarios"]
    body = ["<h1>Two models on one GPU (%s)</h1>" % context.label]
    body += ['<p class="headline">%s</p>' % escape(entry["headline"]) for entry in judged.values()]
    body += ["<h2>Runs</h2>", "<p>Latencies of the high-priority requests in ms%s.</p>"
             % escape(device_words(context)), html_table(COLUMNS, rows(context))]
    body += [html_scenario(context, name, entry) for name, entry in judged.items()]
    body += ["<h2>Proof of interception</h2>",
             "<p>%s</p>" % escape(context.result["verdict"]["note"]),
             html_table(PROOF_COLUMNS, proof_rows(context)),
             "<h2>Published for a real MI308X, native</h2>",
             "<p>Measured by the project's user on hardware, not by this experiment.</p>",
             html_table(PUBLISHED_COLUMNS, published_rows(context)), "<h2>Labels</h2>",
             "<ul>%s</ul>" % "".join("<li>%s</li>" % bold(label) for label in labels(context)),
             html_noise(context), "<h2>Parameters</h2>", html_table(PARAMETER_COLUMNS, parameter_rows(context)),
             '<p class="note">Percentiles are nearest-rank: with few requests P99 is the largest. '
             "Raw samples: runs/. Reproduce: <code>%s</code></p>" % escape(reproduce(context))]
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><title>xsched-hsa experiment</title>'
            "<style>%s</style></head><body>%s</body></html>\n" % (STYLE, "\n".join(body)))
