"""Marks requests from Python in a process where ctypes has started ROCr. Prints one fact a line."""

import ctypes
import sys
import time

import xsched_hsa

print("before", xsched_hsa.present(), xsched_hsa.request_begin(), xsched_hsa.state(), flush=True)
with xsched_hsa.request(deadline_ms=1):
    pass
if "--no-hsa" in sys.argv:
    sys.exit(0)
hsa = ctypes.CDLL("libhsa-runtime64.so.1")
if hsa.hsa_init() != 0:
    sys.exit("hsa_init failed")
print("present", xsched_hsa.present(), flush=True)
for _ in range(4):
    with xsched_hsa.request():
        time.sleep(0.002)
try:
    with xsched_hsa.request(deadline_ms=0.5):
        time.sleep(0.005)
        raise KeyError("in the block")
except KeyError:
    print("raised", flush=True)
try:
    xsched_hsa.set_thread_priority(99)
except ValueError as error:
    print("refused", error, flush=True)
print("thread", xsched_hsa.set_thread_priority(xsched_hsa.HIGH), flush=True)
state = xsched_hsa.state()
print("ended", state and state["requests_ended"], "missed", state and state["requests_missed"],
      flush=True)
print("ready", flush=True)
sys.stdin.readline()
