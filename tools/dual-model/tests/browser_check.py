"""report.html as a browser shows it: read in headless Chromium, at phone width, in light and dark.

The pages are put into frames of 390 pixels, because a browser's own window can't be that narrow; what the
script below finds in each is left in the title. Two starts in all, one light and one dark, because a start
takes seconds on a busy machine. Skipped where no Chromium is installed.
"""

import hashlib
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "experiment"))
sys.path.insert(0, HERE)

import page  # noqa: E402
import preemption  # noqa: E402
import report  # noqa: E402
import sample_trace  # noqa: E402
import verdict  # noqa: E402
from experiment_test import RECORD, four  # noqa: E402

CHROMIUM = next((path for path in map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser",
                                                     "google-chrome"))
                 if path), None)
DEADLINE = time.monotonic() + 170  # of both starts together
DARK = "--blink-settings=preferredColorScheme=0"

# What a reader sees: elements that take room, are within the page, and are not hidden.
LOOK = """
function look(frame) {
  const doc = frame.document;
  const seen = e => { const r = e.getBoundingClientRect(), s = frame.getComputedStyle(e);
    return r.width > 0 && r.height > 0 && r.left >= 0 && s.visibility === 'visible' && s.opacity > 0; };
  const texts = css => [...doc.querySelectorAll(css)].filter(seen).map(e => e.innerText);
  const all = css => [...doc.querySelectorAll(css)];
  const zoom = doc.querySelector('.zoom'), view = () => zoom.querySelector('svg').getAttribute('viewBox');
  const press = what => { zoom.querySelector(`[data-do=${what}]`).click(); return view(); };
  const wheel = () => { zoom.querySelector('.stage').dispatchEvent(new frame.WheelEvent('wheel',
    {deltaY: -200, clientX: 150, cancelable: true})); return view(); };
  const found = {
    width: frame.innerWidth, scrollWidth: doc.documentElement.scrollWidth,
    verdict: texts('.verdict'), words: texts('.card .word'), headlines: texts('.headline'), remarks: texts('.remark'),
    columns: all('table')[0] ? [...all('table')[0].querySelectorAll('th')].filter(e =>
      e.getBoundingClientRect().right <= frame.innerWidth).map(e => e.innerText) : [],
    table: texts('td'), p99: texts('.p99 .value'), rate: texts('.rate .value'),
    bars: all('.p99 .fill').filter(seen).map(e => e.getBoundingClientRect().width),
    limits: all('.p99 .limit').filter(seen).map(e => e.getBoundingClientRect().x -
      e.parentElement.getBoundingClientRect().x),
    whiskers: all('.p99 .whisker').filter(seen).map(e => e.getBoundingClientRect().width),
    lanes: texts('.lane'), steps: texts('table.steps td'), missing: texts('.no-timeline'),
    charts: all('.pair svg, .zoom svg').filter(seen).length,
    background: frame.getComputedStyle(doc.body).backgroundColor,
    color: frame.getComputedStyle(doc.body).color,
    requests: frame.performance.getEntriesByType('resource').map(e => e.name),
  };
  if (zoom) found.views = [view(), press('in'), press('right'), wheel(), press('in'), press('out'), press('all'), press('out')];
  found.ticks = texts('.tick i');
  return found;
}
onload = () => {
  const found = [...document.querySelectorAll('iframe')].map(e => look(e.contentWindow));
  document.title = 'FOUND' + JSON.stringify(found);
};
"""


def result(timelines, runs):
    if runs is None:
        runs = four(2.6, 1.9)
        for one in runs:
            one["high"]["max_ms"] = one["high"]["p99_ms"] * 1.5
    runs = [dict(one, seconds=6, time_scale=4) for one in runs]
    return {"simulated": True, "device": {"virtual": True, "profile": "mi308x", "compute_units": 80},
            "asked": {"scenario": "intensive", "seconds": None, "virtual": True}, "runs": runs,
            "verdict": verdict.verdict(runs), "notes": [], "timelines": timelines}


PLAN = {"intensive": {"high": "resnet18.b1", "low": "resnet50.b1024", "rate": 20, "warm_up_requests": 40}}


def report_page(with_timeline=True, runs=None):
    records = {("intensive", mode, repeat): RECORD for mode, repeat in (
        ("alone", 0), ("native", 0), ("native", 1), ("xsched-hsa", 0))}
    timeline = {"trace": "runs/t.json", "time_scale": 4, "clock_stood": "31 %"}
    pictures = {"intensive": preemption.extract(sample_trace.usual(), 80)} if with_timeline else {}
    return page.html(report.Context(
        result({"intensive": timeline if with_timeline else {"none": "no hold was recorded"}}, runs), records,
        PLAN, {"intensive": {"native": [{"run": "a", "high": {"p99": 19.6}, "low": {}}]}}, pictures))


def start(command):
    """What Chromium writes. It has children of its own: the whole group ends with it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               start_new_session=True)
    try:
        return process.communicate(timeout=max(1, DEADLINE - time.monotonic()))[0]
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def browse(folder, pages, *options):
    """(what LOOK found in each page, what the first looks like)."""
    path, picture = os.path.join(folder, "framed.html"), os.path.join(folder, "shot.png")
    frames = "".join('<iframe style="border:0;width:390px;height:844px" srcdoc="%s"></iframe>'
                     % html.escape(text, quote=True) for text in pages)
    with open(path, "w", encoding="utf-8") as file:
        file.write('<!doctype html><meta charset="utf-8"><body style="margin:0">%s<script>%s</script>'
                   % (frames, LOOK))
    shown = start([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   "--no-first-run", "--disable-background-networking", "--disable-extensions",
                   "--user-data-dir=" + os.path.join(folder, "profile"), "--window-size=390,844",
                   "--screenshot=" + picture, "--dump-dom", *options, "file://" + path])
    found = re.search(r"<title>FOUND(.*?)</title>", shown, re.DOTALL)
    if not found:
        raise AssertionError("the page's script did not run: " + shown[:300])
    with open(picture, "rb") as file:
        return json.loads(html.unescape(found.group(1))), hashlib.sha256(file.read()).hexdigest()


@unittest.skipUnless(CHROMIUM, "no Chromium is installed: what report.html shows was not looked at "
                               "(apt-get install chromium-headless-shell)")
class BrowserTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        busy = four(2.6, 1.9)
        busy[0]["high"].update(p50_ms=30.0, p99_ms=30.0, max_ms=30.0)
        pages = [report_page(), report_page(with_timeline=False), report_page(runs=busy)]
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            light, cls.light_picture = browse(folder, pages)
            dark, cls.dark_picture = browse(folder, pages[:1], DARK)
        cls.usual, cls.without, cls.late_baseline = light
        cls.dark = dark[0]

    def test_phone_shows_verdict_figures_and_bars_and_scrolls_down_only(self):
        found = self.usual
        self.assertEqual(found["width"], 390)
        self.assertLessEqual(found["scrollWidth"], 390)
        self.assertEqual(found["words"], ["Target missed"])
        self.assertIn("misses its target in the intensive scenario", found["verdict"][0])
        self.assertIn("1.18 × alone (native: 9.09 ×)", found["headlines"][0])
        self.assertEqual([text[:30] for text in found["remarks"]], ["1.18 × is no further from the "])
        self.assertIn("P99", found["columns"])  # without scrolling sideways
        for cell in ("native (again)", "9.09", "0.95", "2.60"):
            self.assertIn(cell, found["table"])
        self.assertEqual(found["p99"][3], "2.60 ms, 1.18 × alone; max 3.90")
        self.assertEqual(found["rate"][3], "95.0 %, 1.90 it/s; cost 5.0 %")
        self.assertEqual(len(found["bars"]), 4)
        self.assertAlmostEqual(found["bars"][1] / found["bars"][3], 20 / 2.6, delta=0.1)
        for limit in found["limits"]:  # 1.10 x alone, on the bars' own scale
            self.assertAlmostEqual(limit / found["bars"][0], 1.10, delta=0.02)
        self.assertEqual((len(found["whiskers"]), len(found["limits"])), (4, 4))
        self.assertAlmostEqual(found["whiskers"][1] / found["bars"][1], 0.5, delta=0.02)
        self.assertEqual(found["charts"], 3)
        self.assertEqual(found["missing"], [])
        self.assertEqual(found["requests"], [])
        self.check_timeline(found)

    def check_timeline(self, found):
        self.assertEqual(len(found["lanes"]), 6)
        self.assertIn("the offline model's gate is closed, 90 packets behind it", found["steps"])
        self.assertTrue(found["ticks"])
        views = [[float(number) for number in view.split()] for view in found["views"]]
        whole, zoomed, moved, wheeled, nearer, farther, everything, further = views
        self.assertEqual((whole[0], whole[2]), (0, 1000))
        self.assertAlmostEqual(zoomed[2], 500, places=3)
        self.assertAlmostEqual(moved[0] - zoomed[0], 150, places=3)
        self.assertLess(wheeled[2], moved[2])
        self.assertAlmostEqual(nearer[2], wheeled[2] / 2, places=3)
        self.assertAlmostEqual(farther[2], wheeled[2], places=3)
        self.assertAlmostEqual(everything[0], 0, places=3)
        self.assertAlmostEqual(everything[2], 1000, places=3)
        self.assertAlmostEqual(further[2], 1000, places=3)  # nothing is beyond

    def test_dark_and_light_differ_and_both_can_be_read(self):
        for found, bright_page in ((self.usual, True), (self.dark, False)):
            shades = [sum(map(int, re.findall(r"\d+", found[key])[:3])) for key in ("background", "color")]
            self.assertEqual(shades[0] > shades[1], bright_page, found)
            self.assertGreater(abs(shades[0] - shades[1]), 380)
        self.assertNotEqual(self.light_picture, self.dark_picture)

    def test_baseline_later_than_all_is_still_within_the_bars(self):
        found = self.late_baseline
        self.assertEqual(found["words"], ["Target met"])
        self.assertIn("Faster than alone is chance", found["remarks"][0])
        self.assertEqual(len(found["limits"]), 4)
        for limit in found["limits"]:
            self.assertAlmostEqual(limit / found["bars"][0], 1.10, delta=0.02)

    def test_without_a_recording_one_line_says_so(self):
        self.assertEqual(self.without["missing"], ["No timeline: no hold was recorded."])
        self.assertEqual(self.without["lanes"], [])
        self.assertLessEqual(self.without["scrollWidth"], 390)


if __name__ == "__main__":
    unittest.main()
