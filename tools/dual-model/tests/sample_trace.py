"""A recording like xsched-hsa-ctl's `trace stop` for the tests: holds of an offline program (42) while an online
one (43) is active. Times in microseconds, far from 0 as CLOCK_MONOTONIC is."""

BASE_US = 5_000_000.0


def metadata(pid, tid, name):
    return {"ph": "M", "pid": pid, "tid": tid, "ts": 0, "name": "thread_name", "args": {"name": name}}


TRACKS = [metadata(43, 16, "queue 1 activity"), metadata(43, 17, "queue 1 packets"),
          metadata(42, 2, "decisions"), metadata(42, 24, "queue 3 gate"),
          metadata(42, 25, "queue 3 restriction"), metadata(42, 27, "queue 3 packets")]


def event(at_ms, phase, pid, tid, name, **args):
    return {"ts": BASE_US + at_ms * 1e3, "ph": phase, "pid": pid, "tid": tid, "name": name, "args": args}


def counter(at_ms, pid, name, value):
    return event(at_ms, "C", pid, 0, name, value=value)


def request(at_ms, length_ms, change="suspended", units=None):
    """A request, the hold that it causes, and what is done to the queue in it."""
    end = at_ms + length_ms
    events = [
        event(at_ms, "B", 43, 16, "active", level=16),
        event(at_ms + 0.01, "i", 43, 17, "published", **{"from": 7, "to": 8, "packets": 1}),
        counter(at_ms + 0.01, 43, "queue 1 exposed", 1), counter(end - 0.3, 43, "queue 1 exposed", 0),
        event(at_ms + 0.1, "B", 42, 24, "closed", packets_behind=90),
        event(end - 0.2, "E", 43, 16, "active"), event(end, "E", 42, 24, "closed", packets_behind=91),
        event(end + 0.1, "i", 42, 27, "published", **{"from": 20, "to": 24, "packets": 4}),
        counter(at_ms - 9, 42, "queue 3 exposed", 9), counter(end + 0.1, 42, "queue 3 exposed", 4)]
    if change:
        given = {"units": units} if units else {}
        events += [event(at_ms + 0.02, "X", 42, 2, change[:-2] if change == "suspended" else "squeeze",
                         mechanism="suspend", reason="least delay <&>", rest_ms=7.9, cycle_ms=4.4,
                         measured_ms=None),
                   event(at_ms + 1, "B", 42, 25, change, driver_us=800, **given),
                   event(end + 0.4, "E", 42, 25, change, driver_us=500)]
    return events


def trace(*requests):
    events = sorted(sum(requests, []), key=lambda e: e["ts"])
    return {"otherData": {"lost_events": 0}, "traceEvents": TRACKS + events}


def usual():
    """Suspended for 10, 14 and 30 ms, a plain hold of 20: the 14 is the median of those suspended."""
    return trace(request(0, 10), request(100, 30), request(200, 14), request(300, 20, None))
