#!/usr/bin/env python3
"""An HSA program in Python that starts others by multiprocessing, as data loaders and servers do.

  hsa_processes.py spawn|forkserver|fork COUNT

The parent has a queue of its own and submits COUNT packets before and COUNT after its child has ended.
  spawn, forkserver  the child is a program like any other: it makes a queue and submits COUNT
  fork               the child has what its parent had, and the runtime does not work in it: it tries all the
                     same to make a queue
A child of spawn or forkserver submits when there is the file that HSA_PROCESSES_GO names, if it names one: what it submits before
the controller has seen its queue is held by nobody.
Output   "ready" (then it waits for a line), the child's lines, "completed N".
Errors   an exception, exit 1.
"""
import ctypes
import multiprocessing
import os
import signal
import sys
import time

GPU = 1  # HSA_DEVICE_TYPE_GPU
DEVICE = 17  # HSA_AGENT_INFO_DEVICE
LESS = 2  # HSA_SIGNAL_CONDITION_LT
BARRIER = 3 | 1 << 8 | 2 << 9 | 2 << 11  # a barrier-AND packet with barrier bit and system fences
PATIENCE_S = 30


class Handle(ctypes.Structure):
    _fields_ = [("handle", ctypes.c_uint64)]


class Queue(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint32), ("features", ctypes.c_uint32), ("base", ctypes.c_void_p),
                ("doorbell", Handle), ("size", ctypes.c_uint32), ("reserved", ctypes.c_uint32),
                ("id", ctypes.c_uint64)]


class Hsa:
    """The runtime, as far as packets need it."""

    def __init__(self):
        self.library = ctypes.CDLL("libhsa-runtime64.so.1")
        self.library.hsa_queue_add_write_index_screlease.restype = ctypes.c_uint64
        self.library.hsa_signal_wait_scacquire.restype = ctypes.c_int64
        self.call("hsa_init")
        self.gpu = None
        visitor = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p)(self.visit)
        self.call("hsa_iterate_agents", visitor, None)
        if self.gpu is None:
            sys.exit("no GPU agent")

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} failed with status 0x{status:x}")

    def visit(self, agent, _):
        kind = ctypes.c_uint32()
        self.call("hsa_agent_get_info", ctypes.c_uint64(agent), DEVICE, ctypes.byref(kind))
        if kind.value == GPU and self.gpu is None:
            self.gpu = Handle(agent)
        return 0


class Work:
    """A queue and a signal that every packet on it decrements."""

    def __init__(self, hsa, packets):
        self.hsa, self.left = hsa, packets
        self.queue, self.done = ctypes.POINTER(Queue)(), Handle()
        unlimited = ctypes.c_uint32(2**32 - 1)
        hsa.call("hsa_queue_create", self.hsa.gpu, ctypes.c_uint32(256), 0, None, None, unlimited,
                 unlimited, ctypes.byref(self.queue))
        hsa.call("hsa_signal_create", ctypes.c_int64(packets), 0, None, ctypes.byref(self.done))

    def submit(self, count):
        library, queue = self.hsa.library, self.queue.contents
        for _ in range(count):
            index = library.hsa_queue_add_write_index_screlease(self.queue, ctypes.c_uint64(1))
            at = queue.base + index % queue.size * 64
            ctypes.memset(at + 2, 0, 62)
            ctypes.c_uint64.from_address(at + 56).value = self.done.handle
            ctypes.c_uint16.from_address(at).value = BARRIER
            library.hsa_signal_store_screlease(queue.doorbell, ctypes.c_int64(index))

    def wait(self, until):
        """Returns what is left of the signal."""
        frequency = ctypes.c_uint64()
        self.hsa.call("hsa_system_get_info", 3, ctypes.byref(frequency))
        return self.hsa.library.hsa_signal_wait_scacquire(
            self.done, LESS, ctypes.c_int64(until + 1), ctypes.c_uint64(PATIENCE_S * frequency.value), 0)


def say(text):
    print(text, flush=True)


def own_queue(count):
    """The child of spawn and forkserver."""
    work = Work(Hsa(), count)
    go = os.environ.get("HSA_PROCESSES_GO", "")
    until = time.monotonic() + PATIENCE_S
    while go and not os.path.exists(go) and time.monotonic() < until:
        time.sleep(0.01)
    work.submit(count)
    say(f"child completed {count - work.wait(0)}")


def inherited_runtime(hsa):
    """The child of fork."""
    signal.alarm(PATIENCE_S)
    try:
        Work(hsa, 1)
        say("child has a queue")
    except RuntimeError as error:
        say(f"child: {error}")


def main():
    method, count = sys.argv[1], int(sys.argv[2])
    context = multiprocessing.get_context(method)
    hsa = Hsa()
    work = Work(hsa, 2 * count)
    say("ready")
    sys.stdin.readline()
    work.submit(count)
    target, arguments = (inherited_runtime, (hsa,)) if method == "fork" else (own_queue, (count,))
    child = context.Process(target=target, args=arguments)
    child.start()
    child.join()
    say(f"child ended with {child.exitcode}")
    work.submit(count)
    say(f"completed {2 * count - work.wait(0)}")
    hsa.call("hsa_queue_destroy", work.queue)
    return 0 if child.exitcode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
