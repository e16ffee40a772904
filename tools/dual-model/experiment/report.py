"""report.py: what the reports say: the tables, on a terminal and as report.md. page.py is report.html."""

from html import escape

import preemption_chart
import verdict as verdicts

COLUMNS = ("scenario", "mode", "requests", "P50", "P95", "P99", "max", "P99 / alone",
           "low it/s", "kept", "packets held", "preemptions")
SERIES = (("alone", 0, "s-alone", "alone"), ("native", 0, "s-native", "native"),
          ("native", 1, "s-native2", "native again"), ("xsched-hsa", 0, "s-xsched", "xsched-hsa"))


class Context:
    """Everything a report says; `records` are the raw ones by (scenario, mode, repeat), `pictures` the
    preemptions that are shown, by scenario (preemption.py)."""

    def __init__(self, result, records, scenarios, baseline, pictures):
        self.result, self.records, self.pictures = result, records, pictures
        self.scenarios = {name: scenarios[name] for name in result["verdict"]["scenarios"]}
        self.baseline = baseline

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
    unit = "Latencies of the online (high-priority) model's requests in ms, %s" % context.label
    lines = [unit + device_words(context), "", terminal_table(COLUMNS, rows(context)), ""]
    for entry in context.result["verdict"]["scenarios"].values():
        lines.append(entry["headline"])
        if entry.get("remark"):
            lines.append("  %s." % entry["remark"])
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
                     for name, key in (("P50", "p50"), ("P99", "p99"), ("offline rate", "low")))


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
                         "queues", "packets_submitted", "packets_completed", "packets_seen",
                         "packets_held", "preemptions", "held_ms", "squeezes", "suspends")])
    return lines


PROOF_COLUMNS = ("scenario", "mode", "layer loaded", "queues", "packets submitted", "packets completed",
                 "seen by the layer", "packets held", "preemptions", "held, ms (machine)", "squeezes",
                 "suspends")


def proof_words(context):
    """What the table proves, for each scenario that was run with the layer."""
    said = []
    for name, entry in context.result["verdict"]["scenarios"].items():
        run = verdicts.find(context.result["runs"], name, "xsched-hsa")
        if not entry["proven"] or not run:
            said.append("%s: nothing is proved, %s." % (name, entry["why_unproven"]))
            continue
        proof = run["proof"]
        said.append("%s: the layer was in both programs, saw each of the %s packets that they submitted, "
                    "held %s of them back in %d preemptions, and all of them were completed." % (
                        name, format(proof["packets_submitted"], ","), format(proof["packets_held"], ","),
                        proof["preemptions"]))
    return said


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
            lines.append([scenario, {"high": "online", "low": "offline"}.get(model["role"], model["role"]),
                          model["model"], "%g ms" % plan["target_ms"],
                          plan["basis"], "%.3f" % plan["factor"],
                          "%.1f µs" % plan["host_gap_us"] if plan["host_bound"] else "none",
                          str(plan["kernels"]), str(plan["workgroups"])])
    return lines


LOAD_COLUMNS = ("scenario", "online", "requests/s", "offline", "seconds (device)", "time scale",
                "not counted before")


def load_rows(context):
    lines = []
    for scenario, plan in context.scenarios.items():
        run = next((run for run in context.result["runs"]
                    if run["scenario"] == scenario and "failed" not in run), {})
        lines.append([scenario, plan["high"], "%g" % plan["rate"], plan["low"],
                      number(run.get("seconds"), "%g"), number(run.get("time_scale"), "%g"),
                      "%g requests" % plan.get("warm_up_requests", 0)])
    return lines


def device_rows(context):
    words = {None: "none", True: "yes", False: "no"}
    return [[key.replace("_", " "), words.get(value, value) if value is None or isinstance(value, bool) else str(value)]
            for key, value in context.result["device"].items()]


def machine_rows(context):
    """Versions, machine and time; of older results what there is."""
    made = context.result.get("made_with") or {}
    return [[name, str(made[key])] for name, key in (
        ("made", "date"), ("xsched-hsa", "xsched_hsa"), ("machine", "machine")) if made.get(key)]


def controller_rows(context):
    """What the controller was set to: once, if it was the same in all scenarios. Its times are the device's
    clock's, so slowed like the device."""
    lines = []
    for scenario in context.scenarios:
        run = verdicts.find(context.result["runs"], scenario, "xsched-hsa")
        told = (run["proof"].get("controller") if run else None) or {}
        settings = {"policy": told.get("policy")}
        settings.update(told.get("parameters") or {})
        settings.update(told.get("mechanisms") or {})
        for name, value in settings.items():
            if value is not None:
                text = ", ".join(value) if isinstance(value, list) else (
                    value if isinstance(value, str) else "%g" % value)
                lines.append([scenario, name.replace("_", " "), text])
    each = [[line[1:] for line in lines if line[0] == scenario] for scenario in context.scenarios]
    if len(each) > 1 and all(one == each[0] for one in each):
        return [["every scenario"] + line for line in each[0]]
    return lines


CONTROLLER_COLUMNS = ("scenario", "controller", "value")
VIRTUAL_COLUMNS = ("virtual GPU", "value", "unit", "sure", "source")


NOISE_TEXT = ("How late the virtual GPU's events and the online model's launches were (a launch is late by "
              "20 µs or more), in device time, which is machine time over the time scale: the noise "
              "floor of every simulated figure. While the model could not keep up the clock stood, "
              "for the programs' schedules and for what they measured alike.")
PARAMETER_COLUMNS = ("scenario", "role", "model", "alone", "basis", "duration factor",
                     "host gap", "kernels", "workgroups")


def reproduce(context):
    asked = context.result.get("asked") or {}
    scenarios = list(context.scenarios)
    command = "tools/demo --scenario %s" % asked.get(
        "scenario", scenarios[0] if len(scenarios) == 1 else "all")
    if asked.get("seconds") is not None:
        command += " --seconds %g" % asked["seconds"]
    return command + (" --virtual" if asked.get("virtual") else "")


def timeline_missing(context, scenario):
    """Why the report shows no preemption of this scenario; None if it does."""
    if scenario in context.pictures:
        return None
    timeline = (context.result.get("timelines") or {}).get(scenario) or {}
    return "No timeline: " + (timeline.get("none") or "this result was recorded without one") + "."


def timeline_note(context, scenario):
    """What its milliseconds are, and which run it is of."""
    timeline = (context.result.get("timelines") or {}).get(scenario) or {}
    words = ("Host time, recorded in a run of its own after the measured ones, so that recording costs "
             "no figure above")
    if context.result["simulated"]:
        words += (": the virtual GPU ran %g times slower than the device that it stands for" %
                  (timeline.get("time_scale") or 1))
        if timeline.get("clock_stood"):
            words += ", and its clock stood for %s of the time" % timeline["clock_stood"]
        words += ", so these are no device milliseconds"
    trace = timeline.get("trace")
    return words + "." + (" All of it, for ui.perfetto.dev: %s." % trace if trace else "")


def markdown_preemption(context, scenario):
    missing = timeline_missing(context, scenario)
    if missing:
        return ["### %s: one preemption" % scenario, "", missing, ""]
    picture = context.pictures[scenario]
    lines = [["%.2f" % at_ms, what] for at_ms, what in preemption_chart.happened(picture)]
    return (["### %s: one preemption" % scenario, "", preemption_chart.rule(picture) + " "
             + preemption_chart.decision_words(picture), timeline_note(context, scenario), "",
             markdown_table(("ms (host)", "what"), lines), ""])


def throughput_words(entry):
    kept = entry["low_kept"]
    return ("The offline model keeps %s of its rate alone under the native scheduler and %s with "
            "xsched-hsa." % (number(kept["native"]), number(kept["xsched-hsa"])))


def markdown_table(columns, lines):
    text = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    text += ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]
    return "\n".join(text)


def markdown(context):
    parts = ["# Two models on one GPU (%s)" % context.label, "",
             verdicts.in_words(context.result["verdict"]["scenarios"]), ""]
    for entry in context.result["verdict"]["scenarios"].values():
        parts += ["**%s**" % entry["headline"], ""]
        parts += ["%s." % entry["remark"], ""] if entry.get("remark") else []
    parts += ["Latencies of the online (high-priority) model's requests in ms%s." % device_words(context), "",
              markdown_table(COLUMNS, rows(context)), "", "## Verdict", ""]
    for name, entry in context.result["verdict"]["scenarios"].items():
        parts += ["### " + name, "", throughput_words(entry),
                  "A/A spread of two equal native runs: %s." % spread_words(entry), ""]
        parts += ["- %s: %s (%s)%s" % ("met" if c["met"] else "not met", c["name"], c["text"],
                                       "" if c["met"] else ": " + str(c["why_not"]))
                  for c in entry["criteria"]] + [""]
        parts += markdown_preemption(context, name)
    parts += ["## Proof of interception", "", "\n\n".join(proof_words(context)), "",
              markdown_table(PROOF_COLUMNS, proof_rows(context)),
              "", "## Published for a real MI308X, native", "",
              markdown_table(PUBLISHED_COLUMNS, published_rows(context)), "", "## Labels", ""]
    parts += ["- " + label for label in labels(context)]
    if noise_rows(context):
        parts += ["", "## Noise of this machine", "", NOISE_TEXT, "",
                  markdown_table(NOISE_COLUMNS, noise_rows(context))]
    parts += ["- " + escape(note) for note in context.result.get("notes", [])]
    parts += ["", "## Parameters", "", markdown_table(LOAD_COLUMNS, load_rows(context)), "",
              markdown_table(PARAMETER_COLUMNS, parameter_rows(context)), ""]
    for columns, lines in ((CONTROLLER_COLUMNS, controller_rows(context)),
                           (("made with", "value"), machine_rows(context))):
        parts += [markdown_table(columns, lines), ""] if lines else []
    parts += ["Percentiles are nearest-rank. Reproduce: `%s`" % reproduce(context), ""]
    return "\n".join(parts)
