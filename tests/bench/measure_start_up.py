"""measure_start_up.py: what a program's start, its end and its queues cost with the layer. Host time, real."""

import os
import time

from stack import Stack


def once(stack, environment):
    began = time.monotonic()
    found = stack.json_of(stack.on_device(stack.bin("start-up-bench")), environment)
    found["whole_ms"] = (time.monotonic() - began) * 1e3
    return found


def measure(arguments):
    results = {}
    with Stack(arguments.build) as stack:
        kinds = {"bare": dict(os.environ), "bare again (A/A)": dict(os.environ),
                 "layer, no controller": stack.layer("normal", "/nowhere"), "layer, controller": stack.layer("normal")}
        once(stack, kinds["bare"])  # what is read for the first time
        for _ in range(3 * arguments.rounds):
            for kind, environment in kinds.items():
                for key, value in once(stack, environment).items():
                    results.setdefault(kind, {}).setdefault(key, []).append(value)
    return {"unit": "host, real", "kinds": results}
