"""Which preemption is shown, what of it, and recordings that show none."""

import os
import re
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "experiment"))
sys.path.insert(0, HERE)

import preemption  # noqa: E402
import preemption_chart  # noqa: E402
import sample_trace  # noqa: E402
from sample_trace import event, request, trace  # noqa: E402


def length(picture):
    return round(picture["hold"][1] - picture["hold"][0], 3)


class ChoiceTest(unittest.TestCase):
    def test_median_of_those_that_were_suspended_is_shown(self):
        picture = preemption.extract(sample_trace.usual(), 80)
        self.assertEqual(length(picture), 13.9)
        self.assertEqual((picture["holds_recorded"], picture["chosen_of"]), (4, 3))
        self.assertIn("median of the 3 in which", preemption_chart.rule(picture))

    def test_without_any_suspension_the_median_hold_is_shown(self):
        picture = preemption.extract(trace(request(0, 9, None), request(50, 5, None),
                                           request(90, 7, None)), 80)
        self.assertEqual(length(picture), 6.9)
        self.assertFalse(picture["restricted_only"])
        self.assertIn("of the 3 that were recorded; none", preemption_chart.rule(picture))

    def test_a_single_one_is_said_to_be_the_only_one(self):
        single = trace(request(0, 9, None), request(50, 5), request(90, 7, None))
        self.assertEqual(preemption_chart.rule(preemption.extract(single, 80)),
                         "Shown is the only hold in which the queue was also squeezed or suspended (3 recorded).")

    def test_of_two_equal_ones_the_earlier_is_shown(self):
        picture = preemption.extract(trace(request(100, 10), request(0, 10)), 80)
        self.assertEqual(picture["chosen_of"], 2)
        both = preemption.extract(trace(request(0, 10)), 80)
        self.assertEqual(picture["low"]["closed"], both["low"]["closed"])

    def test_holds_cut_by_the_recording_are_not_chosen(self):
        begun = [event(50, "B", 43, 16, "active", level=16), event(50.1, "B", 42, 24, "closed"),
                 event(90, "E", 42, 24, "closed", cut=True), event(90, "E", 43, 16, "active", cut=True)]
        ended = [event(-9, "E", 42, 24, "closed"), event(-9, "E", 43, 16, "active")]
        self.assertEqual(length(preemption.extract(trace(request(0, 10), begun, ended), 80)), 9.9)
        with self.assertRaisesRegex(preemption.NoPreemption, "no hold began and ended"):
            preemption.extract(trace(begun, ended), 80)

    def test_hold_without_an_active_online_queue_is_none(self):
        operators = [event(0, "B", 42, 24, "closed"), event(5, "E", 42, 24, "closed")]
        with self.assertRaises(preemption.NoPreemption):
            preemption.extract(trace(operators), 80)
        with self.assertRaises(preemption.NoPreemption):
            preemption.extract({"traceEvents": []}, 80)


class PictureTest(unittest.TestCase):
    def test_times_are_since_the_doorbell(self):
        picture = preemption.extract(trace(request(0, 10)), 80)
        self.assertEqual([round(x, 3) for x in picture["hold"]], [0.1, 10.0])
        self.assertLess(picture["from_ms"], 0)
        self.assertGreater(picture["to_ms"], 10.4)  # the queue has its units again
        self.assertEqual([[round(at, 2), left] for at, left in picture["low"]["units"]],
                         [[-1.5, 80], [1.0, 0], [10.4, 80]])
        self.assertEqual(picture["low"]["restricted"][0][3], {"driver_us": 800, "end_driver_us": 500})
        self.assertEqual(picture["decision"]["reason"], "least delay <&>")

    def test_packets_of_both_queues_begin_with_the_value_before(self):
        picture = preemption.extract(trace(request(0, 10)), 80)
        self.assertEqual([value for _, value in picture["low"]["exposed"]], [9, 4])
        self.assertEqual(picture["low"]["exposed"][0][0], picture["from_ms"])
        self.assertEqual([value for _, value in picture["high"]["exposed"]], [1, 0])
        self.assertEqual([packets for _, packets in picture["high"]["published"]], [1])
        self.assertEqual([packets for _, packets in picture["low"]["published"]], [4])

    def test_squeezed_queue_is_shown_until_it_has_its_units_again(self):
        """Its gate opens as soon as the mask is on: long before the request ends."""
        early = [dict(e) for e in request(0, 10, "squeezed", 32)]
        for e in early:
            if e["name"] == "closed" and e["ph"] == "E":
                e["ts"] = sample_trace.BASE_US + 1100
        picture = preemption.extract(trace(early), 80)
        self.assertEqual([round(x, 3) for x in picture["hold"]], [0.1, 1.1])
        self.assertGreater(picture["to_ms"], 10.4)
        self.assertEqual([left for _, left in picture["low"]["units"]], [80, 32, 80])
        lines = [what for _, what in preemption_chart.happened(picture)]
        self.assertIn("the offline model's gate opens: it publishes again, to the compute units that it has left",
                      lines)
        self.assertIn("has all its compute units again", lines[-1])
        self.assertIn("offline model: squeezed to fewer", preemption_chart.chart(picture, "a"))

    def test_a_driver_call_is_drawn_beside_the_restriction_and_not_over_it(self):
        drawn = preemption_chart.draw(preemption.extract(trace(request(0, 10)), 80)).shapes
        sides = {}  # of what is on the restriction's lane, by its class
        for shape in drawn:
            found = re.match(r'<rect class="(s-native2 span|call)" x="([\d.]+)" y="\d+" width="([\d.]+)"', shape)
            if found:
                sides.setdefault(found[1], []).append((float(found[2]), float(found[2]) + float(found[3])))
        (span,), (suspend, resume) = sides["s-native2 span"], sides["call"]
        self.assertAlmostEqual(suspend[1], span[0], places=2)
        self.assertAlmostEqual(span[1], resume[0], places=2)

    def test_a_restriction_that_stays_for_the_next_request_does_not_stretch_the_picture(self):
        stays = [dict(e) for e in request(0, 10)]
        for e in stays:
            if e["name"] == "suspended" and e["ph"] == "E":
                e["ts"] = sample_trace.BASE_US + 90_000
        self.assertLess(preemption.extract(trace(stays), 80)["to_ms"], 13)

    def test_where_the_plan_left_the_offline_model_alone_that_is_said(self):
        shared = [event(at, "X", 42, 2, "share", mechanism="share") for at in (0, 50)]
        with self.assertRaisesRegex(preemption.NoPreemption, "left the offline model alone beside all 2 requests"):
            preemption.extract(trace(shared), 80)
        with self.assertRaisesRegex(preemption.NoPreemption, "no hold began and ended"):
            preemption.extract(trace(shared, [event(9, "X", 42, 2, "hold", mechanism="hold")]), 80)

    def test_squeezed_queue_keeps_its_units(self):
        picture = preemption.extract(trace(request(0, 10, "squeezed", 32)), 80)
        self.assertEqual([left for _, left in picture["low"]["units"]], [80, 32, 80])
        words = " ".join(what for _, what in preemption_chart.happened(picture))
        self.assertIn("squeezed to 32 compute units", words)

    def test_words_are_in_order_and_whole(self):
        lines = preemption_chart.happened(preemption.extract(trace(request(0, 10)), 80))
        self.assertEqual([at for at, _ in lines], sorted(at for at, _ in lines))
        words = " | ".join(what for _, what in lines)
        for part in ("doorbell raises", "gate is closed, 90 packets", "is suspended", "0.80 ms",
                     "is idle", "gate opens", "has all its compute units again"):
            self.assertIn(part, words)

    def test_chart_is_whole_without_script_and_stays_small(self):
        many = [event(i / 1e3, "i", 43, 17, "published", packets=1) for i in range(9000)]
        chart = preemption_chart.chart(preemption.extract(trace(request(0, 10), many), 80), "a\"b")
        self.assertLess(len(chart), 40_000)
        for part in ("<svg", "gate closed", "compute units", "suspended, 1.00 to 10.40 ms", "0 ms",
                     'id="zoom-a&quot;b"'):
            self.assertIn(part, chart)

    def test_ticks_are_few_and_round(self):
        for span in (0.003, 0.9, 5, 47, 1234):
            step = preemption_chart.tick_step(span)
            self.assertLessEqual(span / step, preemption_chart.TICKS_MAX)
            self.assertGreater(span / step, 1)
            self.assertIn(float("%.0e" % step) / step, (1.0,))


if __name__ == "__main__":
    unittest.main()
