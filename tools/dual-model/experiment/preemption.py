"""preemption.py: one preemption out of a recorded timeline (`dual-model run --trace`).

Which one: of the holds that the recording has from begin to end, those in which the low queue was also
squeezed or suspended if there are any, and of these the one whose length is nearest the median (the
earlier of two). Times in ms of the host's clock since the request's doorbell raised the level.
"""

import bisect

BEFORE, AFTER = 0.15, 0.2  # of request and hold together: what is shown around them
STANDING = 2  # a restriction that stays for so many lengths more is for the next request, not of this one
RESTRICTIONS = ("suspended", "squeezed")


class NoPreemption(Exception):
    """The text says why the recording shows none."""


def named_tracks(events):
    return {(e["pid"], e["tid"]): e["args"]["name"] for e in events
            if e["ph"] == "M" and e["name"] == "thread_name"}


def spans(events, names):
    """[(pid, tid, name, begin_us, end_us, begin's args, end's args)]; those cut by the end are not
    there, so that every length is a real one."""
    found, begun = [], {}
    for event in events:
        track = (event["pid"], event.get("tid"))
        if event["name"] not in names:
            continue
        if event["ph"] == "B":
            begun[track] = event
        elif event["ph"] == "E" and track in begun:
            begin = begun.pop(track)
            ends = event.get("args") or {}
            if not ends.get("cut"):
                found.append((track[0], track[1], event["name"], begin["ts"], event["ts"],
                              begin.get("args") or {}, ends))
    return found


def queue_of(tracks, track):
    """"queue 1 gate" -> "queue 1"."""
    return tracks.get(track, "queue ?").rsplit(" ", 1)[0]


def overlaps(a_begin, a_end, b_begin, b_end):
    return a_begin < b_end and b_begin < a_end


def choose(holds, restrictions):
    """(the hold, of how many, were only restricted ones looked at)."""
    with_change = [hold for hold in holds if any(
        r[0] == hold[0] and hold[3] <= r[3] <= hold[4] for r in restrictions)]
    pool = with_change or holds
    lengths = sorted(hold[4] - hold[3] for hold in pool)
    median = lengths[(len(lengths) - 1) // 2]
    return (min(pool, key=lambda hold: (abs(hold[4] - hold[3] - median), hold[3])), len(pool),
            bool(with_change))


def steps(events, pid, name, origin, first, last):
    """A counter within the picture, from its value at the left end: [(ms, value)]."""
    values = [(e["ts"], e["args"]["value"]) for e in events
              if e["ph"] == "C" and e["pid"] == pid and e["name"] == name]
    start = bisect.bisect_right([at for at, _ in values], first)
    before = [(first, values[start - 1][1])] if start else []
    return [((at - origin) / 1e3, value)
            for at, value in before + [v for v in values[start:] if v[0] <= last]]


def published(events, pid, tid, origin, first, last):
    return [((e["ts"] - origin) / 1e3, e["args"]["packets"]) for e in events
            if e["name"] == "published" and e["pid"] == pid and e["tid"] == tid
            and first <= e["ts"] <= last]


def units(restrictions, pid, total, origin, first, last):
    """What the low queue may use: [(ms, compute units)]."""
    changes = []
    for span in sorted((s for s in restrictions if s[0] == pid), key=lambda s: s[3]):
        left = 0 if span[2] == "suspended" else span[5].get("units", 0)
        changes += [(span[3], left), (span[4], total)]
    value = total
    for at, after in changes:
        if at <= first:
            value = after
    return [((first - origin) / 1e3, value)] + [
        ((at - origin) / 1e3, after) for at, after in changes if first < at <= last]


def decision_of(events, pid, first, last):
    """The plan's choice, made between the doorbell and the end of the hold."""
    for event in events:
        if event["ph"] == "X" and event["pid"] == pid and first <= event["ts"] <= last:
            return {key: event["args"].get(key) for key in (
                "mechanism", "reason", "rest_ms", "cycle_ms", "driver_ms", "predicted_delay_ms",
                "predicted_cost_ms", "measured_ms", "units_left", "error")}
    return None


def cut_spans(all_spans, pid, origin, first, last):
    """[[name, begin ms, end ms, args]]: of one program, within the picture."""
    return [[s[2], (max(s[3], first) - origin) / 1e3, (min(s[4], last) - origin) / 1e3,
             dict(s[5], **{"end_" + key: value for key, value in s[6].items()})]
            for s in all_spans if s[0] == pid and overlaps(s[3], s[4], first, last)]


def why_no_hold(events):
    chosen = [event["name"] for event in events if event["ph"] == "X"]
    if chosen and set(chosen) == {"share"}:
        return ("the plan left the offline model alone beside all %d requests that were recorded, since they "
                "hardly feel it" % len(chosen))
    return "no hold began and ended while it was recorded"


def extract(trace, compute_units):
    """What the picture shows, as a dictionary for result.json. Raises NoPreemption."""
    events = sorted((e for e in trace["traceEvents"] if e["ph"] != "M"), key=lambda e: e["ts"])
    tracks = named_tracks(trace["traceEvents"])
    holds = spans(events, ("closed",))
    restrictions, active = spans(events, RESTRICTIONS), spans(events, ("active",))
    holds = [hold for hold in holds if any(
        a[0] != hold[0] and overlaps(a[3], a[4], hold[3], hold[4]) for a in active)]
    if not holds:
        raise NoPreemption(why_no_hold(events))
    hold, pool, restricted = choose(holds, restrictions)
    low = hold[0]
    # The bursts that kept the gate closed: the first raised the level, the last is the request's end. A
    # squeezed queue's gate opens long before that.
    bursts = sorted((a for a in active if a[0] != low and overlaps(a[3], a[4], hold[3], hold[4])),
                    key=lambda a: a[3])
    raised, origin = bursts[0], bursts[0][3]
    begin, end = min(hold[3], origin), max([hold[4]] + [a[4] for a in bursts])
    length = end - begin
    lift = max([r[4] for r in restrictions if r[0] == low and hold[3] <= r[3] <= hold[4]
                and r[4] < end + STANDING * length] + [end])
    first, last = begin - BEFORE * length, lift + AFTER * length
    high_queue, low_queue = (queue_of(tracks, (s[0], s[1])) for s in (raised, hold))

    def packets(pid, queue):
        tid = next((t for (p, t), name in tracks.items()
                    if p == pid and name == queue + " packets"), None)
        return {"exposed": steps(events, pid, queue + " exposed", origin, first, last),
                "published": published(events, pid, tid, origin, first, last)}

    return {
        "from_ms": (first - origin) / 1e3, "to_ms": (last - origin) / 1e3,
        "high": dict(packets(raised[0], high_queue), queue=high_queue,
                     active=cut_spans(active, raised[0], origin, first, last)),
        "low": dict(packets(low, low_queue), queue=low_queue,
                    closed=cut_spans(holds, low, origin, first, last),
                    restricted=cut_spans(restrictions, low, origin, first, last),
                    units=units(restrictions, low, compute_units, origin, first, last)),
        "hold": [(hold[3] - origin) / 1e3, (hold[4] - origin) / 1e3],
        "compute_units": compute_units, "decision": decision_of(events, low, min(hold[3], origin), hold[4]),
        "holds_recorded": len(holds), "chosen_of": pool, "restricted_only": restricted,
        "lost_events": (trace.get("otherData") or {}).get("lost_events"),
    }
