"""preemption_chart.py: one preemption (preemption.py) as a picture that can be zoomed, and in words.

The geometry is SVG that stretches in x only, every text is HTML over it: so it is as readable on a phone
as on a screen, and zooming is one attribute, the viewBox. Without script the whole of it is shown.
"""

from html import escape

LANE_TOP, LANE_HEIGHT = 22, 34  # pixels: the lane's name, then its drawing
LANE_PITCH = LANE_TOP + LANE_HEIGHT + 8
AXIS_HEIGHT = 26
WIDTH = 1000.0  # of the viewBox; any number
PUBLICATIONS_MAX = 1200  # drawn; a picture must stay small
TICKS_MAX = 6
EDGE = 0.05  # of the width, where a tick has no room for its text


def thin(values, count):
    step = -(-len(values) // count)
    return values[::step] if step > 1 else values


def tick_step(span):
    step = 1e-4
    while span / step > TICKS_MAX:
        for factor in (2, 2.5, 2):  # 1, 2, 5, 10
            step *= factor
            if span / step <= TICKS_MAX:
                break
    return step


class Picture:
    """Lanes from top to bottom; each draw function adds geometry and, in HTML, the lane's name."""

    def __init__(self, data):
        self.data, self.lane = data, 0
        self.shapes, self.names = [], []

    def x(self, ms):
        span = self.data["to_ms"] - self.data["from_ms"]
        return min(WIDTH, max(0, (ms - self.data["from_ms"]) / span * WIDTH))

    def begin(self, name, css=""):
        """Names a lane; returns its top."""
        top = self.lane * LANE_PITCH
        self.names.append('<span class="lane %s" style="top:%dpx">%s</span>'
                          % (css, top + 2, escape(name)))
        self.shapes.append('<rect class="lane-back" x="0" y="%d" width="%g" height="%d"/>'
                           % (top + LANE_TOP, WIDTH, LANE_HEIGHT))
        self.lane += 1
        return top + LANE_TOP

    def rect(self, css, top, begin_ms, end_ms, title):
        left, right = self.x(begin_ms), self.x(end_ms)
        self.shapes.append(
            '<rect class="%s" x="%.3f" y="%d" width="%.3f" height="%d"><title>%s</title></rect>'
            % (css, left, top, max(0, right - left), LANE_HEIGHT, escape(title)))

    def area(self, css, top, values, full, filled=True):
        """A step line from 0 to `full`, until the right end."""
        if not values:
            return
        bottom, points = top + LANE_HEIGHT, []
        for number, (at_ms, value) in enumerate(values):
            until = values[number + 1][0] if number + 1 < len(values) else self.data["to_ms"]
            y = bottom - (LANE_HEIGHT - 2) * min(1.0, value / full)
            points += ["%.3f,%.1f" % (self.x(at_ms), y), "%.3f,%.1f" % (self.x(until), y)]
        if filled:
            closed = ["%.3f,%d" % (self.x(values[0][0]), bottom)] + points + [
                "%.3f,%d" % (self.x(self.data["to_ms"]), bottom)]
            self.shapes.append('<polygon class="%s fill" points="%s"/>' % (css, " ".join(closed)))
        self.shapes.append('<polyline class="%s line" points="%s"/>' % (css, " ".join(points)))

    def packets(self, title, css, queue):
        most = max([value for _, value in queue["exposed"]] + [1])
        top = self.begin("%s: packets on the hardware, at most %d" % (title, most), css)
        self.area(css, top, queue["exposed"], most)
        marks = "".join("M%.3f %dv6" % (self.x(at_ms), top + LANE_HEIGHT - 6)
                        for at_ms, _ in thin(queue["published"], PUBLICATIONS_MAX))
        if marks:
            self.shapes.append('<path class="%s line marks" d="%s"/>' % (css, marks))


def span_words(span):
    return "%s, %.2f to %.2f ms" % (span[0], span[1], span[2])


def restricted_name(data):
    """What the lane shows: a squeezed queue runs on, a suspended one does not."""
    kinds = {span[0] for span in data["low"]["restricted"]}
    if kinds == {"squeezed"}:
        return "squeezed to fewer compute units"
    if kinds == {"suspended"}:
        return "suspended, off the hardware"
    return "suspended or squeezed" if kinds else "neither suspended nor squeezed"


def draw(data):
    picture = Picture(data)
    top = picture.begin("online model: request on the device", "s-alone")
    for span in data["high"]["active"]:
        picture.rect("s-alone span", top, span[1], span[2], span_words(span))
    picture.packets("online model", "s-alone", data["high"])
    top = picture.begin("offline model: gate closed, packets held", "s-native")
    for span in data["low"]["closed"]:
        picture.rect("s-native span", top, span[1], span[2],
                     "%s; %d packets behind the gate" % (span_words(span),
                                                         span[3].get("packets_behind", 0)))
    top = picture.begin("offline model: " + restricted_name(data), "s-native2")
    for span in data["low"]["restricted"]:
        resumed_ms = span[2] - span[3].get("end_driver_us", 0) / 1e3 * (span[2] < data["to_ms"])
        picture.rect("s-native2 span", top, span[1], resumed_ms, span_words(span))
        for at_ms, key in ((span[1], "driver_us"), (span[2], "end_driver_us")):
            took_us = span[3].get(key, 0)
            if data["from_ms"] < at_ms < data["to_ms"]:
                picture.rect("call", top, at_ms - took_us / 1e3, at_ms,
                             "driver call, %.2f ms" % (took_us / 1e3))
    picture.packets("offline model", "s-xsched", data["low"])
    top = picture.begin("compute units that the offline model may use, 0 to %d"
                        % data["compute_units"], "s-xsched")
    picture.area("s-xsched", top, data["low"]["units"], data["compute_units"])
    return picture


def ticks(data, height):
    span = data["to_ms"] - data["from_ms"]
    step = tick_step(span)
    number, parts = -int(-data["from_ms"] // step), []
    while number * step <= data["to_ms"]:
        share = (number * step - data["from_ms"]) / span
        text = "<i>%g ms</i>" % round(number * step, 6) if EDGE < share < 1 - EDGE else ""
        parts.append('<span class="tick" style="left:%.3f%%;height:%dpx">%s</span>'
                     % (100 * share, height, text))
        number += 1
    return "".join(parts)


def chart(data, name):
    picture = draw(data)
    height = picture.lane * LANE_PITCH
    label = "One preemption, %g ms: request, hold, suspension, resumption" % round(
        data["to_ms"] - data["from_ms"], 1)
    return (
        '<div class="zoom" id="zoom-%s" data-from="%.6f" data-to="%.6f" data-ticks="%d" data-edge="%g">'
        '<p class="buttons" hidden><button type="button" data-do="in">zoom in</button>'
        '<button type="button" data-do="out">zoom out</button>'
        '<button type="button" data-do="left" aria-label="earlier">◀</button>'
        '<button type="button" data-do="right" aria-label="later">▶</button>'
        '<button type="button" data-do="all">all</button>'
        ' <span class="note">wheel, drag or pinch in the picture</span></p>'
        '<div class="stage" style="height:%dpx">'
        '<div class="ticks" aria-hidden="true">%s</div>'
        '<svg viewBox="0 0 %g %d" preserveAspectRatio="none" style="height:%dpx" role="img" '
        'aria-label="%s">%s</svg>%s</div></div>'
        % (escape(name, quote=True), data["from_ms"], data["to_ms"], TICKS_MAX, EDGE,
           height + AXIS_HEIGHT,
           ticks(data, height), WIDTH, height, height, escape(label, quote=True),
           "".join(picture.shapes), "".join(picture.names)))


def happened(data):
    """[(ms, what)]: the same in words, in the order of time."""
    lines = [(0.0, "the online model's doorbell raises the urgency level")]
    for span in data["low"]["closed"]:
        lines.append((span[1], "the offline model's gate is closed, %d packets behind it"
                      % span[3].get("packets_behind", 0)))
        squeezed = any(r[0] == "squeezed" and r[1] <= span[2] < r[2] for r in data["low"]["restricted"])
        lines.append((span[2], "the offline model's gate opens: it publishes again"
                      + (", to the compute units that it has left" if squeezed else "")))
    for span in data["low"]["restricted"]:
        what = ("is suspended" if span[0] == "suspended"
                else "is squeezed to %d compute units" % span[3].get("units", 0))
        if span[1] > data["from_ms"]:
            lines.append((span[1], "the offline model's queue %s (the driver call took %.2f ms)"
                          % (what, span[3].get("driver_us", 0) / 1e3)))
        if span[2] < data["to_ms"]:
            lines.append((span[2], "the offline model's queue has all its compute units again (the driver call took %.2f ms)"
                          % (span[3].get("end_driver_us", 0) / 1e3)))
    for span in data["high"]["active"]:
        if span[2] < data["to_ms"]:
            lines.append((span[2], "the online model's queue is idle (lingering included)"))
    return sorted(lines)


def rule(data):
    which = ("in which the queue was also squeezed or suspended" if data["restricted_only"]
             else "that was recorded; it needed no more")
    if data["chosen_of"] == 1:
        words = "Shown is the only hold " + which
    else:
        which = which if data["restricted_only"] else "that were recorded; none of them needed more"
        words = ("Shown is the hold whose length is nearest the median of the %d %s"
                 % (data["chosen_of"], which))
    if data["restricted_only"]:
        words += " (%d recorded)" % data["holds_recorded"]
    if data["lost_events"]:
        words += "; %d events of the recording were lost" % data["lost_events"]
    return words + "."


def decision_words(data):
    decision = data["decision"]
    if not decision:
        return ""
    words = "The plan chose: %s (%s)" % (decision["mechanism"], decision["reason"])
    figures = [(label, decision.get(key)) for label, key in (
        ("predicted rest of the running kernels", "rest_ms"), ("a runlist cycle", "cycle_ms"),
        ("predicted delay of the request", "predicted_delay_ms"))]
    words += "".join("; %s %.2f ms" % (label, value) for label, value in figures
                     if value is not None)
    return words + "."


SCRIPT = """
'use strict';
for (const box of document.querySelectorAll('.zoom')) {
  const svg = box.querySelector('svg'), stage = box.querySelector('.stage');
  const ticks = box.querySelector('.ticks'), height = svg.viewBox.baseVal.height;
  const first = +box.dataset.from, last = +box.dataset.to, whole = 1000;
  let from = first, to = last;
  const clamp = (v, a, b) => Math.min(Math.max(v, a), b);
  function stepFor(span) {
    let step = 1e-4;
    for (let i = 0; span / step > +box.dataset.ticks; ++i) step *= [2, 2.5, 2][i % 3];
    return step;
  }
  function show() {
    const perMs = whole / (last - first);
    svg.setAttribute('viewBox', `${(from - first) * perMs} 0 ${(to - from) * perMs} ${height}`);
    const step = stepFor(to - from);
    ticks.textContent = '';
    for (let n = Math.ceil(from / step); n * step <= to; ++n) {
      const tick = document.createElement('span'), text = document.createElement('i');
      tick.className = 'tick';
      tick.style.left = `${100 * (n * step - from) / (to - from)}%`;
      tick.style.height = `${height}px`;
      text.textContent = `${+(n * step).toFixed(4)} ms`;
      const place = (n * step - from) / (to - from);
      if (place > +box.dataset.edge && place < 1 - box.dataset.edge) tick.append(text);
      ticks.append(tick);
    }
  }
  function view(a, span) {
    span = clamp(span, (last - first) / 5000, last - first);
    from = clamp(a, first, last - span);
    to = from + span;
    show();
  }
  // Around the place under the pointer, a share of the width.
  const zoom = (factor, share) => {
    const span = (to - from) * factor;
    view(from + share * (to - from) - share * clamp(span, (last - first) / 5000, last - first), span);
  };
  const pan = share => view(from + share * (to - from), to - from);
  const acts = { in: () => zoom(0.5, 0.5), out: () => zoom(2, 0.5), left: () => pan(-0.3),
                 right: () => pan(0.3), all: () => view(first, last - first) };
  box.querySelector('.buttons').hidden = false;
  for (const button of box.querySelectorAll('button'))
    button.addEventListener('click', acts[button.dataset.do]);
  const share = event => {
    const area = stage.getBoundingClientRect();
    return (event.clientX - area.left) / area.width;
  };
  stage.addEventListener('wheel', event => {
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(event.deltaX / stage.clientWidth);
    else zoom(Math.exp(clamp(event.deltaY, -200, 200) / 300), share(event));
    event.preventDefault();
  }, { passive: false });
  const held = new Map();
  stage.addEventListener('pointerdown', event => {
    held.set(event.pointerId, share(event));
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener('pointermove', event => {
    if (!held.has(event.pointerId)) return;
    const now = share(event), before = held.get(event.pointerId);
    if (held.size === 1) pan(before - now);
    for (const [id, other] of held) {
      if (id === event.pointerId || held.size !== 2) continue;
      const apart = Math.abs(now - other);
      if (apart > 0.02) zoom(Math.abs(before - other) / apart, (now + other) / 2);
    }
    held.set(event.pointerId, now);
  });
  for (const end of ['pointerup', 'pointercancel'])
    stage.addEventListener(end, event => held.delete(event.pointerId));
}
"""
