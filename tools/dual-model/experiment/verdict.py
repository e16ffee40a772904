"""verdict.py: what the runs of a scenario mean: ratios, the A/A spread, criteria met or not met.

Pure functions over run records (see run_result.h): {"scenario", "mode", "repeat", "high", "low",
"proof"}, or {"scenario", "mode", "repeat", "failed"} for a run that did not finish.
"""

MODES = ("alone", "native", "xsched-hsa")

# name, text, high P99 over alone at most, low rate over alone at least
CRITERIA = (
    ("published ideal", "online P99 ≤ 1.10 × alone, offline rate ≥ 0.70 of alone", 1.10, 0.70),
    ("project", "online P99 ≤ 1.10 × alone, offline rate ≥ 0.90 of alone", 1.10, 0.90),
    ("project, stricter", "online P99 ≤ 1.05 × alone, offline rate ≥ 0.97 of alone", 1.05, 0.97),
)


NOISY_ABOVE = 1.25  # P99 over P50 of the high model alone, simulated
BY_CHANCE_BELOW = 0.98  # P99 over alone: nothing is faster beside another model


def find(runs, scenario, mode, repeat=0):
    for run in runs:
        if (run["scenario"], run["mode"], run.get("repeat", 0)) == (scenario, mode, repeat):
            return None if "failed" in run else run
    return None


def ratio(value, base):
    return value / base if value is not None and base else None


def p99(run):
    return run["high"]["p99_ms"] if run and run.get("high") else None


def low_rate(run):
    return run["low"]["iter_per_s"] if run and run.get("low") else None


def spread(a, b):
    """How far apart two equal runs came out, over their mean."""
    if a is None or b is None or a + b == 0:
        return None
    return abs(a - b) / ((a + b) / 2)


def packets_accounted_for(run):
    proof = run["proof"]
    return proof["packets_submitted"] > 0 and proof["packets_submitted"] == proof["packets_completed"]


def why_unproven(run):
    """None if the run with xsched-hsa proves that it was one; else the reason."""
    if run is None:
        return "the run with xsched-hsa did not finish"
    proof = run["proof"]
    if not proof["layer_loaded"]:
        return "the layer was not active in the run with xsched-hsa"
    if proof["queues"] == 0:
        return "the layer managed no queue"
    if proof["packets_held"] == 0 or proof["preemptions"] == 0:
        return "the layer held nothing back"
    if not packets_accounted_for(run):
        return "packets submitted and completed differ"
    return None


def complete(run):
    return bool(run and run.get("high") and run.get("low")
                and run["high"]["requests"] > 0 and run["low"]["iterations"] > 0)


def minimum_problem(runs, scenario):
    """None if no run crashed and there are both results; else the reason."""
    for run in runs:
        if run["scenario"] == scenario and "failed" in run:
            return "%s failed: %s" % (run["mode"], run["failed"])
    for mode in MODES:
        if not complete(find(runs, scenario, mode)):
            return "mode %s has no complete result" % mode
    return None


def noise_problem(alone):
    """A simulated model alone is nearly constant: what is not so is this machine's doing.

    A late baseline would make every ratio over it look good, so that nothing may pass on it.
    """
    if not alone or not alone.get("simulated") or not alone.get("high"):
        return None
    high = alone["high"]
    if high["p99_ms"] <= NOISY_ABOVE * high["p50_ms"]:
        return None
    return ("this machine was too busy to judge: the online model alone has P99 %.2f ms at P50 %.2f ms"
            % (high["p99_ms"], high["p50_ms"]))


def remark(alone, native, ours, aa_p99):
    """What a reader has to know of a ratio below 1, and of one that is no further from the target than two equal runs
    are from each other; None if there is neither."""
    said = []
    if any(value is not None and value < BY_CHANCE_BELOW for value in (native, ours)):
        high = alone["high"]
        said.append("Faster than alone is chance: with %d requests one or two late ones decide P99, alone %.2f ms at P50 %.2f"
                    % (high["requests"], high["p99_ms"], high["p50_ms"]))
    target = CRITERIA[1][2]
    if ours is not None and aa_p99 is not None and abs(ours - target) < aa_p99 * ours:
        said.append("%.2f × is no further from the target than chance goes: P99 of two equal native runs is %.0f %% apart"
                    % (ours, 100 * aa_p99))
    return ". ".join(said) or None


def criterion(name, text, met, reason=None):
    return {"name": name, "text": text, "met": met, "why_not": None if met else reason}


def judge(runs, scenario):
    alone = find(runs, scenario, "alone")
    native = find(runs, scenario, "native")
    again = find(runs, scenario, "native", 1)
    ours = find(runs, scenario, "xsched-hsa")
    unproven = why_unproven(ours)
    high = ratio(p99(ours), p99(alone))
    kept = ratio(low_rate(ours), low_rate(alone))
    problem = minimum_problem(runs, scenario)
    criteria = [criterion("published minimum", "no crash, both results, a report",
                          problem is None, problem)]
    for name, text, high_max, kept_min in CRITERIA:
        reason = unproven or problem or noise_problem(alone)
        met = reason is None and high <= high_max and kept >= kept_min
        if reason is None:
            reason = "P99 is %.2f × alone, the offline model keeps %.3f" % (high, kept)
        criteria.append(criterion(name, text, met, reason))
    return {
        "proven": unproven is None,
        "why_unproven": unproven,
        "p99_over_alone": {"native": ratio(p99(native), p99(alone)), "xsched-hsa": high},
        "low_kept": {"native": ratio(low_rate(native), low_rate(alone)), "xsched-hsa": kept},
        "noise": noise_problem(alone),
        "remark": remark(alone, ratio(p99(native), p99(alone)), high, spread(p99(native), p99(again))),
        "aa_spread": {
            "p50": spread(*(run["high"]["p50_ms"] if complete(run) else None
                            for run in (native, again))),
            "p99": spread(p99(native), p99(again)),
            "low": spread(low_rate(native), low_rate(again)),
        },
        "criteria": criteria,
        "headline": headline(scenario, alone, native, ours, high, kept, unproven),
    }


def word(entry):
    """"met" or "missed" (the project's own criterion), or "none" where nothing may be said."""
    if not entry["proven"] or entry.get("noise") or entry["p99_over_alone"]["xsched-hsa"] is None:
        return "none"
    return "met" if any(c["met"] for c in entry["criteria"] if c["name"] == "project") else "missed"


def in_words(scenarios):
    """The verdict on all scenarios as a sentence or two."""
    groups = {"met": [], "missed": [], "none": []}
    for name, entry in scenarios.items():
        groups[word(entry)].append(name)
    if not scenarios:
        return "Nothing was measured."

    def named(key):
        names = groups[key]
        return "the %s scenario%s" % (" and the ".join(names), "s" if len(names) > 1 else "")
    texts = ["%s its target in %s" % (verb, named(key))
             for key, verb in (("met", "meets"), ("missed", "misses")) if groups[key]]
    sentence = "xsched-hsa " + " and ".join(texts) if texts else ""
    if groups["none"]:
        sentence += ("; there" if texts else "There") + " is no verdict on " + named("none")
    _, _, high_max, kept_min = CRITERIA[1]
    return sentence + (
        ". The target: while both run, the online model's P99 is at most %.2f times what it is alone, and "
        "the offline model keeps at least %.0f %% of its rate." % (high_max, 100 * kept_min))


def headline(scenario, alone, native, ours, high, kept, unproven):
    if unproven:
        return "%s: no verdict, %s" % (scenario, unproven)
    if alone is None or high is None:
        return "%s: no verdict, the models alone were not measured" % scenario
    noise = noise_problem(alone)
    if noise:
        return "%s: no verdict, %s; run it again on a quieter machine" % (scenario, noise)
    before = ratio(p99(native), p99(alone))
    text = "%s: online P99 %.2f ms with xsched-hsa, %.2f × alone" % (scenario, p99(ours), high)
    if before is not None:
        text += " (native: %.2f ×)" % before
    if kept is not None:
        text += "; the offline model keeps %.0f %% of its rate alone" % (100 * kept)
    return text


def verdict(runs):
    scenarios = []
    for run in runs:
        if run["scenario"] not in scenarios:
            scenarios.append(run["scenario"])
    judged = {scenario: judge(runs, scenario) for scenario in scenarios}
    return {
        "scenarios": judged,
        "proven": bool(judged) and all(entry["proven"] for entry in judged.values()),
        "note": "A run without an active layer can't pass. Ratios are over the same model alone, "
                "measured in the same way. Percentiles are nearest-rank.",
    }
