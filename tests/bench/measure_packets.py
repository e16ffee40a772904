"""measure_packets.py: what a dispatch costs its producer. Host nanoseconds, real; the device does not count."""

import json
import os
import subprocess

from stack import Idle, Stack

HELD_BURSTS = 30


def bursts(stack, environment, threads, count):
    return stack.json_of(stack.on_device(stack.bin("packet-path-bench"), str(count), str(threads)), environment)["p50"]


def armed(stack, threads, count, gate="window"):
    with Idle(stack, "high"):
        return bursts(stack, stack.layer("low", gate=gate), threads, count)


def held(stack, threads, _count):
    """An operator's hold, so that nothing is released within the measurement."""
    command = stack.on_device(stack.bin("packet-path-bench"), str(HELD_BURSTS), str(threads), "held")
    process = subprocess.Popen(command, env=stack.layer("low"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = process.stdout.readline().split()[1]
    stack.ctl("hold", pid)
    stack.wait_for_queue(lambda queue: queue["operator_hold"])
    process.stdin.write("\n")
    process.stdin.flush()
    result = json.loads(process.stdout.readline())
    stack.ctl("release", pid)
    process.communicate("\n", timeout=60)
    return result["p50"]


def kinds(stack):
    bare = dict(os.environ)
    return {
        "bare": lambda t, n: bursts(stack, bare, t, n),
        "bare again (A/A)": lambda t, n: bursts(stack, bare, t, n),
        "layer, no controller": lambda t, n: bursts(stack, stack.layer("low", "/nowhere"), t, n),
        "layer, unarmed": lambda t, n: bursts(stack, stack.layer("low"), t, n),
        "layer, armed": lambda t, n: armed(stack, t, n),
        "layer, held": lambda t, n: held(stack, t, n),
        "do-nothing intercept tool": lambda t, n: bursts(
            stack, dict(os.environ, HSA_TOOLS_LIB=stack.lib("libintercept-tool.so")), t, n),
        "intercept gate, unarmed": lambda t, n: bursts(stack, stack.layer("low", gate="intercept"), t, n),
        "intercept gate, armed": lambda t, n: armed(stack, t, n, "intercept"),
    }


def measure(arguments):
    results = {}
    with Stack(arguments.build) as stack:
        for threads in (1, 2, 4):
            found = {kind: [] for kind in kinds(stack)}
            for _ in range(arguments.rounds):
                for kind, run in kinds(stack).items():
                    found[kind].append(run(threads, 200))
            results[str(threads)] = found
    return {"unit": "ns per dispatch of one producer, host, real", "producers": results}
