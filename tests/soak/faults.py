"""What is done to a running stack: one thread, one random sequence, so that a seed repeats it.

Each act takes a moment at most; what has to be undone later (a stopped process continues, a controller comes back)
is put into the same queue of things to do. `Chaos.counts` says how often each was done.
"""

import collections
import heapq
import os
import random
import re
import signal
import socket
import struct
import subprocess
import time

from soaking import Link

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
with open(os.path.join(SOURCE, "queue-ctl", "include", "queue-ctl", "shared_page.h")) as header:
    ABI_VERSION = int(re.search(r"kAbiVersion = (\d+);", header.read()).group(1))
GREETING = struct.pack("<4I", 0x4c415858, ABI_VERSION, 1, 368) + bytes(352)
GATES = ["window", "intercept"]
POLICIES = ["strict-priority", "weighted-fair", "round-robin", "earliest-deadline", "cu-partition", "utilisation-cap"]
VICTIM_LIFE_S = 0.8
CONFIGS = ["", "[policy]\nname = \"weighted-fair\"\nslice_ms = 5\n", "[policy]\nlinger_us = 50\n",
           "[[rule]]\nname = \"all\"\npriority = \"high\"\n", "[policy]\nname = \"no-such\"\n", "[[[\n"]

# Acts by how often a second; a phase chooses groups of them.
CONTROLLER = {"controller: kill -9, restart": 0.30, "controller: SIGSTOP, SIGCONT": 0.70,
              "controller: SIGTERM, restart": 0.08, "controller: a second one": 0.15}
PROGRAMS = {"program: SIGSTOP, SIGCONT": 1.0, "program: kill -9 while suspended": 0.5,
            "program: kill -9 while squeezed": 0.5, "program: kill -9 while held": 0.5}
SOCKET = {"socket: half a message": 3.0, "socket: no reader": 1.0, "socket: greeting, then gone": 1.0}
OPERATOR = {"operator: hold, release": 3.0, "operator: suspend, resume": 2.0, "operator: cu-mask": 2.0,
            "operator: priority": 3.0, "operator: list": 2.0, "operator: trace": 0.3, "policy: switch": 0.7,
            "policy: reload": 0.4}
DEVICE = {"device: change of a queue refused": 1.0, "device: queue creation refused": 0.5, "device: lost event": 0.4,
          "device: evict, restore": 0.3}


class Chaos:
    def __init__(self, bench, survivors, watch, seed, acts, churn):
        self.bench, self.survivors, self.watch = bench, survivors, watch
        self.random = random.Random(seed)
        self.acts, self.churn = acts, churn
        self.counts = collections.Counter()
        self.pending = []
        self.number = 0
        self.victims = []
        self.trouble = []
        self.away = False  # the controller is stopped or gone

    # --- the queue of things to do

    def later(self, delay_s, what, undoes=False):
        self.number += 1
        heapq.heappush(self.pending, (time.monotonic() + delay_s, self.number, what, undoes))

    def plan(self, name):
        self.later(self.random.expovariate(self.acts[name]), lambda: self.act(name))

    def act(self, name):
        kind, _, what = name.partition(": ")
        if getattr(self, kind)(what):
            self.counts[name] += 1
        self.plan(name)

    def run(self, seconds):
        until = time.monotonic() + seconds
        for name in self.acts:
            self.plan(name)
        for _ in range(self.churn):
            self.replace_victim(None)
        while self.pending:
            due, _, what, undoes = heapq.heappop(self.pending)
            time.sleep(max(0, min(due, until) - time.monotonic()))
            # What undoes something is done in any case.
            if undoes or time.monotonic() < until:
                what()
        for victim in self.victims:
            self.watch.say("gone %d" % victim.pid)
            victim.kill()
        self.victims = []

    def undo(self, delay_s, what):
        self.later(delay_s, what, undoes=True)

    # --- the controller

    def controller(self, what):
        if self.away:
            return False
        bench = self.bench
        if what == "a second one":
            second = subprocess.run(bench.tool("xsched-hsad", "--socket", bench.socket, "--config", bench.config),
                                    capture_output=True, timeout=20)
            if second.returncode != 2:
                self.trouble.append("a second controller ended with %d, not 2" % second.returncode)
            return True
        self.away = True
        if what == "SIGSTOP, SIGCONT":
            self.watch.silence(bench.controller.pid, signal.SIGSTOP)

            def back():
                self.renewing()  # first: what it orders from here on is its own
                bench.controller.send_signal(signal.SIGCONT)
            self.undo(self.random.uniform(0.01, 0.5), back)
            return True
        if what.startswith("kill"):
            self.watch.silence(bench.controller.pid, signal.SIGKILL)
            bench.controller.wait(timeout=20)
        else:  # until it has ended it may renew
            if bench.stop_controller() is None:
                self.trouble.append("the controller did not end after SIGTERM")
            self.watch.silence()

        def restart():
            self.renewing()
            bench.start_controller()
        self.undo(self.random.uniform(0, 0.3), restart)
        return True

    def renewing(self):
        self.away = False
        self.watch.say("renewing")

    # --- programs

    def replace_victim(self, old):
        if old is not None:
            self.watch.say("gone %d" % old.pid)
            # Where it was: still starting, or at work.
            self.counts["program: kill -9 while %s" % ("running" if old.is_ready() else "starting")] += 1
            old.kill()
            self.victims.remove(old)
        verb = self.random.choice(["steady", "steady", "pulse"])
        rank = self.random.choice(["low", "normal", "high"])
        new = self.bench.start(rank, self.random.choice(GATES), verb, str(self.random.randrange(1 << 30)))
        self.victims.append(new)
        self.watch.say("program %d" % new.pid)
        self.later(self.random.uniform(0, VICTIM_LIFE_S), lambda: self.replace_victim(new))

    def program(self, what):
        everybody = [p for p in self.survivors + self.victims if not p.stopped]
        if what == "SIGSTOP, SIGCONT":
            program = self.random.choice(everybody)
            program.stopped = True
            self.watch.say("stopped %d" % program.pid)
            program.process.send_signal(signal.SIGSTOP)

            def back():
                program.stopped = False
                program.process.send_signal(signal.SIGCONT)
                self.watch.say("continued %d" % program.pid)
            self.undo(self.random.uniform(0.001, 0.3), back)
            return True
        # Those that are to die are ordered into the state first.
        ready = [v for v in self.victims if v.is_ready() and v.alive()]
        if self.away or not ready:
            return False
        victim = self.random.choice(ready)
        order = {"suspended": ("suspend", {}), "held": ("hold", {}), "squeezed": ("cu-mask", {"units": 16})}
        op, more = order[what.rsplit(" ", 1)[1]]
        reply = self.ask(op=op, pid=victim.pid, **more)
        if not reply or not reply.get("ok"):
            return False
        time.sleep(self.random.uniform(0, 0.01))
        victim.process.kill()
        return True

    # --- the socket

    def socket(self, what):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link.setblocking(False)
        try:
            link.connect(self.bench.socket)
            if what == "half a message":
                whole = self.random.choice([GREETING, b'{"op": "list", "all": true}'])
                link.send(whole[:self.random.randrange(1, len(whole))])
            elif what == "no reader":
                link.send(b'{"op": "list", "all": true}')
                self.undo(self.random.uniform(0, 0.2), link.close)
                return True
            else:
                link.send(GREETING)
        except OSError:
            pass  # the controller is away, or its backlog is full
        link.close()
        return True

    # --- the operator

    def ask(self, **request):
        if self.away:
            return None
        try:
            link = Link(self.bench.socket)
        except OSError:
            return None
        try:
            return link.call(**request)
        except OSError:
            self.trouble.append("the controller did not answer %s" % request["op"])
            return None
        finally:
            link.close()

    def take_back(self, **request):
        """What was ordered ends in any case: a controller that was only stopped still knows of it when it goes on."""
        if self.away:
            self.undo(0.02, lambda: self.take_back(**request))
        else:
            self.ask(**request)

    def operator(self, what):
        if self.away:
            return False
        if what == "list":
            return self.ask(op="list", all=True) is not None
        if what == "trace":
            self.ask(op="trace-start")
            self.undo(self.random.uniform(0, 0.5), lambda: self.take_back(op="trace-stop"))
            return True
        pid = self.random.choice(self.survivors + self.victims).pid
        if what == "priority":
            return self.ask(op="set-priority", pid=pid, priority=self.random.choice([None, 0, 3, 7, 15])) is not None
        if what == "cu-mask":
            request, back = {"op": "cu-mask", "units": self.random.choice([4, 8, 16, 40])}, {"op": "cu-mask", "units": None}
        else:
            request, back = ({"op": word} for word in what.split(", "))
        reply = self.ask(pid=pid, **request)
        if not reply or not reply.get("ok"):
            return False
        self.undo(self.random.uniform(0, 0.1), lambda: self.take_back(pid=pid, **back))
        return True

    def policy(self, what):
        if self.away:
            return False
        if what == "switch":
            return self.ask(op="policy", set=self.random.choice(POLICIES)) is not None
        with open(self.bench.config + ".new", "w") as file:
            file.write(self.random.choice(CONFIGS[:-2] if self.random.random() < 0.7 else CONFIGS))
        os.replace(self.bench.config + ".new", self.bench.config)
        self.bench.controller.send_signal(signal.SIGHUP)

        def restore():
            open(self.bench.config, "w").close()
        # A controller that starts with a mistake in its file does not start.
        restore()
        return True

    # --- the device

    def device(self, what):
        if what == "evict, restore":
            pid = self.random.choice(self.survivors).pid
            done = self.bench.fault("evict:%d" % pid)
            self.undo(self.random.uniform(0, 0.2), lambda: self.bench.fault("restore:%d" % pid))
            return done
        count = self.random.randint(1, 3)
        fault = {"change of a queue refused": "update-fails:EIO,%d", "queue creation refused": "create-fails:ENOMEM,%d", "lost event": "lost-event:%d"}[what]
        return self.bench.fault(fault % count)
