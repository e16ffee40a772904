"""svg_charts.py: the two charts of the report as inline SVG: latency CDF and request timeline.

Colours are CSS variables of the page (report.py), so that the charts follow light and dark.
"""

import math
from html import escape

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 46
POINTS_MAX = 1500  # per series: a page must stay small however long the run was


def log_ticks(low, high):
    ticks = []
    decade = math.floor(math.log10(low))
    while 10 ** decade <= high:
        for step in (1, 2, 5):
            value = step * 10 ** decade
            if low <= value <= high:
                ticks.append(value)
        decade += 1
    return ticks if len(ticks) >= 3 else even_ticks(low, high)


def even_ticks(low, high):
    """Where there are too few round numbers between: some between low and high."""
    step = 10 ** math.floor(math.log10(high - low)) if high > low else low
    while (high - low) / step < 3:
        step /= 2
    first = math.ceil(low / step)
    return [i * step for i in range(first, int(high / step) + 1)]


def linear_ticks(high):
    if high <= 0:
        return [0]
    step = 10 ** math.floor(math.log10(high))
    while high / step < 4:
        step /= 2
    return [i * step for i in range(int(high / step) + 1)]


class Axes:
    """Maps data to the page; x linear or logarithmic."""

    def __init__(self, x_low, x_high, y_low, y_high, log_x=False, log_y=False):
        self.log_x, self.log_y = log_x, log_y
        self.x = (self.scale(x_low, log_x), self.scale(x_high, log_x))
        self.y = (self.scale(y_low, log_y), self.scale(y_high, log_y))

    @staticmethod
    def scale(value, log):
        return math.log10(max(value, 1e-9)) if log else value

    def place(self, x, y):
        def share(value, log, ends):
            span = ends[1] - ends[0] or 1
            return (self.scale(value, log) - ends[0]) / span
        return (LEFT + share(x, self.log_x, self.x) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - share(y, self.log_y, self.y) * (HEIGHT - TOP - BOTTOM))


def frame(axes, x_ticks, y_ticks, x_label, y_label, y_format="%g"):
    parts = []
    for tick in x_ticks:
        x, _ = axes.place(tick, 10 ** axes.y[0] if axes.log_y else axes.y[0])
        parts.append('<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>'
                     % (x, x, TOP, HEIGHT - BOTTOM))
        parts.append('<text x="%.1f" y="%d" text-anchor="middle">%g</text>'
                     % (x, HEIGHT - BOTTOM + 16, tick))
    for tick in y_ticks:
        _, y = axes.place(10 ** axes.x[0] if axes.log_x else axes.x[0], tick)
        parts.append('<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>'
                     % (LEFT, WIDTH - RIGHT, y, y))
        parts.append('<text x="%d" y="%.1f" text-anchor="end">%s</text>'
                     % (LEFT - 6, y + 4, y_format % tick))
    parts.append('<text x="%d" y="%d" text-anchor="middle">%s</text>'
                 % ((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 6, escape(x_label)))
    parts.append('<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>'
                 % ((TOP + HEIGHT - BOTTOM) // 2, escape(y_label)))
    return "".join(parts)


def svg(title, body):
    return ('<svg viewBox="0 0 %d %d" role="img" aria-label="%s">%s</svg>'
            % (WIDTH, HEIGHT, escape(title, quote=True), body))


def thin(values):
    """Every n-th value, but always the first and the last."""
    step = max(1, math.ceil(len(values) / POINTS_MAX))
    kept = values[::step]
    return kept if not values or kept[-1] == values[-1] else kept + [values[-1]]


def latency_cdf(series):
    """series: [(css class, label, [latency_ms])]. Log x, because the tail is the point."""
    series = [entry for entry in series if entry[2]]
    if not series:
        return "<p>No requests.</p>"
    low = min(min(values) for _, _, values in series) * 0.9
    high = max(max(values) for _, _, values in series) * 1.1
    axes = Axes(low, high, 0, 100, log_x=True)
    body = frame(axes, log_ticks(low, high), (0, 25, 50, 75, 100), "latency, ms (log)",
                 "requests, %")
    for css, _, values in series:
        ordered = sorted(values)
        steps = [(value, 100.0 * (i + 1) / len(ordered)) for i, value in enumerate(ordered)]
        points = ["%.1f,%.1f" % axes.place(ordered[0], 0)]
        points += ["%.1f,%.1f" % axes.place(x, y) for x, y in thin(steps)]
        body += '<polyline class="%s line" points="%s"/>' % (css, " ".join(points))
    return svg("Cumulative distribution of request latency", body)


def timeline(series):
    """series: [(css class, label, [(start_ms, latency_ms)])]: each request at its start."""
    series = [entry for entry in series if entry[2]]
    if not series:
        return "<p>No requests.</p>"
    end_s = max(max(start for start, _ in values) for _, _, values in series) / 1e3
    low = min(min(latency for _, latency in values) for _, _, values in series) * 0.9
    high = max(max(latency for _, latency in values) for _, _, values in series) * 1.1
    axes = Axes(0, max(end_s, 1e-3), low, high, log_y=True)
    body = frame(axes, linear_ticks(end_s), log_ticks(low, high), "time in the run, s",
                 "latency, ms (log)")
    for css, _, values in series:
        dots = "".join('<circle cx="%.1f" cy="%.1f" r="2"/>' % axes.place(start / 1e3, latency)
                       for start, latency in thin(values))
        body += '<g class="%s dots">%s</g>' % (css, dots)
    return svg("Latency of each high-priority request over the run", body)


def legend(series):
    return '<p class="legend">%s</p>' % " ".join(
        '<span><span class="%s key"></span>%s</span>' % (css, escape(label)) for css, label, _ in series)
