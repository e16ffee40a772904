"""measure_reaction.py: how soon one program stops for another and goes on. Host nanoseconds, real; no device."""

import contextlib

from stack import Spinners, Stack, another_user

LINGER_US = 250  # xsched-hsad's default


def once(arguments, busy, uid):
    words = ["--linger-us", str(LINGER_US)] + (["--cross-user"] if uid is not None else [])
    with Stack(arguments.build, controller=words, device=False) as stack:
        with Spinners() if busy else contextlib.nullcontext():
            return stack.json_of([stack.bin("reaction-bench"), stack.socket, str(arguments.requests), str(LINGER_US),
                                  *([str(uid)] if uid is not None else [])])


def measure(arguments):
    uid = another_user()
    results = {}
    for load in ("idle", "busy"):
        for users, as_uid in (("same user", None), ("other user", uid)):
            if users == "other user" and uid is None:
                continue  # the report says that it takes root
            results["%s, %s" % (users, load)] = [once(arguments, load == "busy", as_uid)
                                                 for _ in range(arguments.reaction_rounds)]
    return {"unit": "ns, host, real", "requests": arguments.requests, "linger_us": LINGER_US, "kinds": results}
