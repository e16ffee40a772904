"""measure_counts.py: instructions, locked instructions and cache misses of the hot paths, by callgrind: counts, not times."""

import json
import os
import subprocess
import sys

CHECK = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../cost/check")


def measure(arguments):
    done = subprocess.run([sys.executable, "-B", CHECK, arguments.build, "--caches"], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return {"unit": "a packet, a decision or a step", "paths": json.loads(done.stdout)}
