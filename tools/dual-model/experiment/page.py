"""page.py: report.html: one page to be forwarded: the verdict in words, then what it rests on.

Self-contained: no network; one inline script that zooms the timelines, without which all is shown, too.
Light and dark by prefers-color-scheme; on a phone only tables scroll sideways, each in itself.
"""

from html import escape

import preemption_chart
import report
import svg_charts
import verdict as verdicts

VERDICT_WORDS = {"met": "Target met", "missed": "Target missed", "none": "No verdict"}

STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1d2126; --soft: #5d6670; --line: #dde1e6;
  --card: #f5f7f9; --edge: #0003; --alone: #2a7d4f; --native: #c2571a; --native2: #b98517; --xsched: #2359c4;
  --ok: #2a7d4f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --text: #e4e7ea; --soft: #9aa3ad;
  --line: #333a41; --card: #1d2226; --edge: #fff3; --alone: #63c08d; --native: #f0935a; --native2: #e8c37a;
  --xsched: #7ea6ff; --ok: #63c08d; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  max-width: 66rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin-bottom: .5rem; }
h2 { font-size: 1.2rem; margin-top: 2.4rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.verdict { font-size: 1.15rem; }
.cards, .pair { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.card { background: var(--card); border-left: 5px solid var(--soft); border-radius: 4px; padding: .7rem 1rem; }
.card p { margin: .2rem 0; } .card .word { font-weight: 700; font-size: 1.1rem; }
.card.v-met { border-color: var(--ok); } .card.v-missed { border-color: var(--bad); }
.v-met .word, .met { color: var(--ok); } .v-missed .word, .missed { color: var(--bad); }
.scroll { overflow-x: auto; margin: .8rem 0; background: linear-gradient(to right, var(--page) 1rem, transparent),
  linear-gradient(to left, var(--page) 1rem, transparent) 100% 0, linear-gradient(to right, var(--edge), transparent),
  linear-gradient(to left, var(--edge), transparent) 100% 0; background-repeat: no-repeat;
  background-size: 2rem 100%, 2rem 100%, .6rem 100%, .6rem 100%; background-attachment: local, local, scroll, scroll; }
table { border-collapse: collapse; font-size: .87rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; overflow-wrap: normal; }
th:first-child, td:first-child { text-align: left; } .group th { color: var(--text); padding-top: .7rem; }
table.text td { text-align: left; white-space: normal; overflow-wrap: normal; } table.text th { text-align: left; }
table.steps td { text-align: left; white-space: normal; vertical-align: top; } table.steps th { text-align: left; }
table.steps td:first-child { text-align: right; white-space: nowrap; }
.s-alone { --c: var(--alone); } .s-native { --c: var(--native); } .s-native2 { --c: var(--native2); }
.s-xsched { --c: var(--xsched); }
.bar { display: grid; grid-template-columns: 7rem 1fr 18.5rem; gap: .2rem .8rem; align-items: center; margin: .35rem 0; }
.track { position: relative; height: 1.15rem; background: var(--card); border-radius: 3px; }
.fill { position: absolute; inset: 0 auto 0 0; background: var(--c); border-radius: 3px; }
.whisker { position: absolute; top: 50%; height: 2px; margin-top: -1px; background: var(--c); min-width: 1px; }
.whisker::after { content: ""; position: absolute; right: 0; top: -.3rem; width: 2px; height: .7rem; background: var(--c); }
.limit { position: absolute; top: -3px; bottom: -3px; border-left: 2px dashed var(--text); }
.name, .whole { white-space: nowrap; } .legend span { white-space: nowrap; } .value b { font-variant-numeric: tabular-nums; }
.pair svg { width: 100%; height: auto; background: var(--card); border-radius: 6px; }
.pair svg text { fill: var(--soft); font: 13px system-ui, sans-serif; } .grid { stroke: var(--line); }
.line { fill: none; stroke: var(--c); stroke-width: 2; vector-effect: non-scaling-stroke; }
.legend, .note { color: var(--soft); font-size: .87rem; }
.dots { fill: var(--c); fill-opacity: .7; }
.key { display: inline-block; width: .8em; height: .8em; background: var(--c); border-radius: 2px; margin: 0 .2em 0 .8em; }
.stage { position: relative; overflow: hidden; touch-action: pan-y; cursor: grab; user-select: none; }
.stage svg { position: absolute; left: 0; top: 0; width: 100%; }
.lane { position: absolute; left: 0; right: 0; font-size: .8rem; line-height: 1.2; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; pointer-events: none; border-left: 4px solid var(--c); padding-left: .4rem; }
.lane-back { fill: var(--card); } .span { fill: var(--c); fill-opacity: .55; } .call { fill: var(--text); fill-opacity: .55; }
.fill { fill: var(--c); fill-opacity: .25; } .marks { stroke-width: 1; stroke-opacity: .8; }
.tick { position: absolute; top: 0; border-left: 1px solid var(--line); }
.tick i { position: absolute; top: 100%; left: 0; transform: translateX(-50%); font: .75rem system-ui, sans-serif;
  color: var(--soft); white-space: nowrap; }
.buttons { display: flex; flex-wrap: wrap; gap: .4rem; align-items: center; margin: .4rem 0; } .buttons[hidden] { display: none; }
button { font: inherit; font-size: .87rem; color: var(--text); background: var(--card); border: 1px solid var(--line);
  border-radius: 4px; padding: .2rem .6rem; }
code { background: var(--card); padding: .1em .3em; border-radius: 3px; }
summary { cursor: pointer; }
@media (max-width: 640px) { body { margin-top: 1rem; } .pair svg text { font-size: 16px; }
  th, td { padding: .25rem .35rem; } table { font-size: .8rem; } .value { font-size: .82rem; }
  .bar { grid-template-columns: 1fr auto; } .bar .track { grid-row: 2; grid-column: 1 / -1; } }
"""


def html_table(columns, lines, css=""):
    """Where the first column is the scenario, it becomes a line above its rows: a phone is narrow."""
    grouped = columns[0] == "scenario"
    head = "".join("<th>%s</th>" % escape(column) for column in columns[grouped:])
    body, group = "", None
    for line in lines:
        if grouped and line[0] != group:
            group = line[0]
            body += '<tr class="group"><th colspan="%d">%s</th></tr>' % (len(columns) - 1, escape(group))
        body += "<tr>%s</tr>" % "".join("<td>%s</td>" % escape(str(cell)) for cell in line[grouped:])
    return ('<div class="scroll" tabindex="0"><table class="%s"><tr>%s</tr>%s</table></div>'
            % (css, head, body))


def samples(context, scenario):
    series = []
    for mode, repeat, css, label in report.SERIES:
        record = context.records.get((scenario, mode, repeat))
        for model in record["models"] if record else []:
            if model["role"] == "high":
                series.append((css, label, [tuple(sample) for sample in model["samples"]]))
                break
    return series


def percent(share):
    return "%.2f%%" % (100 * min(1.0, max(0.0, share)))


def bar(css, label, share, value, whisker=None, limit=None):
    """`share` of the width; `whisker`: up to which share; `value` is HTML."""
    parts = '<span class="fill" style="width:%s"></span>' % percent(share)
    if whisker is not None:
        parts += '<span class="whisker" style="left:%s;width:%s"></span>' % (
            percent(share), percent(whisker - share))
    if limit is not None:
        parts += '<span class="limit" style="left:%s"></span>' % percent(limit)
    return ('<div class="bar %s"><span class="name">%s</span><span class="track">%s</span>'
            '<span class="value">%s</span></div>' % (css, escape(label), parts, value))


def finished(context, scenario):
    """[(css, label, run)] of the runs that have a result."""
    runs = context.result["runs"]
    found = ((css, label, verdicts.find(runs, scenario, mode, repeat))
             for mode, repeat, css, label in report.SERIES)
    return [entry for entry in found if entry[2]]


def p99_bars(context, scenario):
    runs = [entry for entry in finished(context, scenario)
            if entry[2].get("high") and entry[2]["high"].get("p99_ms") is not None]
    alone = verdicts.p99(verdicts.find(context.result["runs"], scenario, "alone"))
    if not runs:
        return "<p>No requests.</p>"
    limit_ms = verdicts.CRITERIA[1][2] * alone if alone else 0
    most = max([run["high"].get("max_ms") or run["high"]["p99_ms"] for _, _, run in runs] + [limit_ms]) or 1
    limit = limit_ms / most if alone else None
    bars = ""
    for css, label, run in runs:
        high = run["high"]
        ratio = verdicts.ratio(high["p99_ms"], alone)
        value = '<b>%.2f ms</b>, %s × alone; <span class="whole">max %s</span>' % (
            high["p99_ms"], report.number(ratio), report.number(high.get("max_ms")))
        bars += bar(css, label, high["p99_ms"] / most, value,
                    (high.get("max_ms") or high["p99_ms"]) / most, limit)
    return ('<div class="bars p99">%s</div><p class="note">Bar: P99; whisker: the slowest request. '
            "Dashed: the target, %.2f × alone.</p>" % (bars, verdicts.CRITERIA[1][2]))


def rate_bars(context, scenario):
    runs = [entry for entry in finished(context, scenario) if entry[2].get("low")]
    alone = verdicts.low_rate(verdicts.find(context.result["runs"], scenario, "alone"))
    if not runs or not alone:
        return "<p>The offline model alone was not measured.</p>"
    most = max(max(run["low"]["iter_per_s"] for _, _, run in runs), alone)
    bars = ""
    for css, label, run in runs:
        rate = run["low"]["iter_per_s"]
        value = "<b>%.1f %%</b>, %.2f it/s" % (100 * rate / alone, rate)
        if label != "alone":
            value += "; cost %.1f %%" % (100 - 100 * rate / alone)
        bars += bar(css, label, rate / most, value, None, verdicts.CRITERIA[1][3] * alone / most)
    return ('<div class="bars rate">%s</div><p class="note">Rate of the offline model, of its rate alone. '
            "Dashed: the target, at least %.0f %%.</p>" % (bars, 100 * verdicts.CRITERIA[1][3]))


def html_preemption(context, scenario):
    title = "<h3>One preemption (%s)</h3>" % (
        "real programs on a simulated GPU, host time" if context.result["simulated"] else "real")
    missing = report.timeline_missing(context, scenario)
    if missing:
        return title + '<p class="no-timeline">%s</p>' % escape(missing)
    picture = context.pictures[scenario]
    lines = [["%.2f ms" % at_ms, what] for at_ms, what in preemption_chart.happened(picture)]
    return "".join([
        title, "<p>%s %s</p>" % (escape(preemption_chart.rule(picture)),
                                 escape(preemption_chart.decision_words(picture))),
        preemption_chart.chart(picture, scenario),
        '<p class="note">Grey: a driver call. A request is on the device from its doorbell until its queue '
        "has been idle for the linger time. %s</p>" % escape(report.timeline_note(context, scenario)),
        html_table(("when", "what"), lines, "steps")])


def html_parameters(context):
    """All of them: the load, the controller, the machine, and the device that was simulated."""
    parts = [html_table(report.LOAD_COLUMNS, report.load_rows(context)),
             html_table(report.PARAMETER_COLUMNS, report.parameter_rows(context))]
    if report.controller_rows(context):
        parts += ["<p>The controller; its times, too, are on the slowed device's clock.</p>",
                  html_table(report.CONTROLLER_COLUMNS, report.controller_rows(context), "text")]
    parts.append(html_table(("device and machine", "value"),
                            report.device_rows(context) + report.machine_rows(context), "text"))
    virtual = (context.result.get("made_with") or {}).get("virtual_gpu")
    if virtual:
        parts.append("<details><summary>What the virtual GPU was set to (%d parameters; %s)</summary>%s</details>"
                     % (len(virtual), "<i>seen</i> and <i>read</i>: where; <i>assumed</i>: nobody has measured it",
                        html_table(report.VIRTUAL_COLUMNS, virtual, "text")))
    return "".join(parts)


def unbroken(text):
    """Escaped; on a phone no line begins with a unit or ends with a sign of comparison."""
    text = escape(text)
    for before, after in ((" %", "\u00a0%"), (" ×", "\u00a0×"), ("≤ ", "≤\u00a0"), ("≥ ", "≥\u00a0")):
        text = text.replace(before, after)
    return text


def html_scenario(context, scenario, entry):
    plan = context.scenarios[scenario]
    points = samples(context, scenario)
    latencies = [(css, label, [latency for _, latency in values]) for css, label, values in points]
    criteria = "".join(
        '<li><span class="%s">%s</span>: %s (%s)%s</li>' % (
            "met" if c["met"] else "missed", "met" if c["met"] else "not met", escape(c["name"]),
            unbroken(c["text"]), "" if c["met"] else ": " + unbroken(str(c["why_not"])))
        for c in entry["criteria"])
    return "".join([
        '<section id="%s">' % escape(scenario, quote=True),
        "<h2>%s: %s at %g requests/s beside %s</h2>" % (
            escape(scenario), escape(plan["high"]), plan["rate"], escape(plan["low"])),
        "<h3>P99 latency of the online model's requests (%s)</h3>" % context.label,
        p99_bars(context, scenario),
        "<h3>What it costs the offline model (%s)</h3>" % context.label,
        rate_bars(context, scenario),
        "<h3>Latency of the requests (%s)</h3>" % context.label, svg_charts.legend(latencies),
        '<div class="pair"><div>%s<p class="note">Share of the requests that took no longer.</p></div>'
        '<div>%s<p class="note">Each request over the run.</p></div></div>'
        % (svg_charts.latency_cdf(latencies), svg_charts.timeline(points)),
        html_preemption(context, scenario),
        "<h3>Criteria</h3><ul>%s</ul>" % criteria,
        "<p>A/A spread of two equal native runs: %s.</p></section>"
        % unbroken(report.spread_words(entry))])


def bold(text):
    """The one piece of markup that labels() uses, after escaping."""
    pieces = escape(text).split("**")
    return "".join("<b>%s</b>" % piece if i % 2 else piece for i, piece in enumerate(pieces))


def html_noise(context):
    notes = "".join("<p>%s.</p>" % escape(note) for note in context.result.get("notes", []))
    if not report.noise_rows(context):
        return notes
    return ("<h2>Noise of this machine</h2><p>%s</p>" % escape(report.NOISE_TEXT) + notes
            + html_table(report.NOISE_COLUMNS, report.noise_rows(context)))


def card(entry):
    word = verdicts.word(entry)
    remark = '<p class="note remark">%s.</p>' % escape(entry["remark"]) if entry.get("remark") else ""
    return ('<div class="card v-%s"><p class="word">%s</p><p class="headline">%s</p>%s</div>'
            % (word, VERDICT_WORDS[word], escape(entry["headline"]), remark))


def html(context):
    judged = context.result["verdict"]["scenarios"]
    body = ["<h1>Two models on one GPU (%s)</h1>" % context.label,
            '<p class="verdict">%s</p>' % escape(verdicts.in_words(judged)),
            '<div class="cards">%s</div>' % "".join(card(entry) for entry in judged.values())]
    if context.result["simulated"]:
        body.append("<p>Device times are <b>simulated</b>: no figure here is a prediction for hardware. "
                    '<a href="#labels">What is simulated, and what is real</a></p>')
    body += ["<h2>Runs</h2>", "<p>Latencies of the online model's requests in ms%s. <b>Online</b>: high priority, "
             "a request now and then. <b>Offline</b> (low): low priority, works without a pause. <b>Alone</b>: each "
             "by itself; <b>native</b>: both, scheduled by the device and its driver, twice; <b>xsched-hsa</b>: both, with "
             "the layer and its controller. <b>Kept</b>: of the offline model's rate alone.</p>"
             % escape(report.device_words(context)), html_table(report.COLUMNS, report.rows(context))]
    body += [html_scenario(context, name, entry) for name, entry in judged.items()]
    body += ["<h2>Proof of interception</h2>",
             "".join("<p>%s</p>" % escape(words) for words in report.proof_words(context)),
             '<p class="note">%s</p>' % escape(context.result["verdict"]["note"]),
             html_table(report.PROOF_COLUMNS, report.proof_rows(context)),
             "<h2>Published for a real MI308X, native</h2>",
             "<p>Measured by the project's user on hardware, not by this experiment.</p>",
             html_table(report.PUBLISHED_COLUMNS, report.published_rows(context)),
             '<h2 id="labels">Labels</h2>',
             "<ul>%s</ul>" % "".join("<li>%s</li>" % bold(label) for label in report.labels(context)),
             html_noise(context), "<h2>Parameters</h2>", html_parameters(context),
             "<h2>How to reproduce</h2><p><code>%s</code></p>" % escape(report.reproduce(context)),
             '<p class="note">Percentiles are nearest-rank: with few requests P99 is the largest. '
             "Raw samples: runs/. Two results side by side: "
             "<code>xsched-hsa-ctl report compare A B</code></p>"]
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<title>xsched-hsa experiment</title><style>%s</style></head><body>%s"
            "<script>%s</script></body></html>\n" % (STYLE, "\n".join(body), preemption_chart.SCRIPT))
