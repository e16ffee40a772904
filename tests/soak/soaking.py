"""What the soaks share: a virtual GPU, a controller that may be killed at any time, and programs under the layer.

Programs are started without `virtual-gpu run` in between, so that a signal reaches the program itself.
"""

import json
import os
import select
import socket
import subprocess
import time

REPLY_S = 5.0
SETTLE_S = 10.0


class Link:
    """One connection to the controller, as a tool has it (wire.h)."""

    def __init__(self, path, timeout_s=REPLY_S):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(timeout_s)
        self.socket.connect(path)

    def call(self, **request):
        self.socket.send(json.dumps(request).encode())
        text = b""
        while True:
            part = self.socket.recv(1 << 17)
            if not part:
                raise OSError("the controller hung up")
            text += part[1:]
            if part[:1] == b".":
                return json.loads(text)

    def close(self):
        self.socket.close()


class Program:
    """A program of the soak on the device, under the layer."""

    def __init__(self, bench, command, priority, gate):
        environment = dict(bench.environment, HSA_TOOLS_LIB=bench.layer, XSCHED_HSA_PRIORITY=priority,
                           XSCHED_HSA_SOCKET=bench.socket, XSCHED_HSA_GATE=gate)
        self.name = " ".join(command[1:]) + " (%s, %s)" % (priority, gate)
        self.started = time.monotonic()
        self.ready = False
        self.stopped = False
        # Nobody reads what it says before its end, and there is room for some thirty lines only: it must not wait for that.
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, pipesize=4096)
        self.pid = self.process.pid

    def alive(self):
        return self.process.poll() is None

    def is_ready(self):
        """Has it said so? Never waits."""
        if not self.ready and select.select([self.process.stdout], [], [], 0)[0]:
            self.ready = self.process.stdout.readline().strip() == "ready"
        return self.ready

    def wait_ready(self, timeout_s=60):
        until = time.monotonic() + timeout_s
        while not self.is_ready() and self.alive() and time.monotonic() < until:
            time.sleep(0.01)
        return self.ready

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.communicate()

    def finish(self, timeout_s):
        """Closes its input; what it counted, or None and why."""
        try:
            out, err = self.process.communicate("", timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return None, "%s did not end within %d s" % (self.name, timeout_s)
        lines = [line for line in out.splitlines() if line.startswith("{")]
        if not lines:
            return None, "%s ended with %s: %s" % (self.name, self.process.returncode, err.strip()[-300:])
        return json.loads(lines[-1]), None


class Bench:
    """The device, the controller's socket and how to start what is needed."""

    def __init__(self, build, directory):
        self.bin = os.path.join(os.path.abspath(build), "bin")
        self.layer = os.path.join(os.path.abspath(build), "lib", "libxsched-hsa.so")
        self.socket = os.path.join(directory, "control.sock")
        self.config = os.path.join(directory, "config.toml")
        self.device = "soak-%d" % os.getpid()
        self.controller = None
        self.controller_options = []
        self.programs = []

    def tool(self, name, *more):
        return [os.path.join(self.bin, name), *more]

    def gpu(self, *words):
        return subprocess.run(self.tool("virtual-gpu", *words), capture_output=True, text=True, timeout=60)

    def start_device(self):
        self.gpu("start", "--device", self.device)
        told = self.gpu("run", "--quiet", "--device", self.device, "--", "env", "-0")
        self.environment = dict(line.split("=", 1) for line in told.stdout.split("\0") if "=" in line)

    def stop_device(self):
        self.gpu("stop", "--device", self.device)

    def fault(self, text):
        return self.gpu("fault", self.device, text).returncode == 0

    def device_stats(self):
        told = self.gpu("stats", "--device", self.device, "--json")
        return json.loads(told.stdout) if told.returncode == 0 else None

    def start_controller(self, on_device=True):
        """One that sees the device knows its compute units."""
        read, write = os.pipe()
        self.controller = subprocess.Popen(
            self.tool("xsched-hsad", "--socket", self.socket, "--config", self.config, "--log-level", "error",
                      "--ready-fd", str(write), *self.controller_options),
            env=self.environment if on_device else None, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        answered = select.select([read], [], [], 20)[0] and os.read(read, 1) == b"\n"
        os.close(read)
        if not answered:
            raise RuntimeError("the controller did not come up; its exit code is %s" % self.controller.poll())

    def stop_controller(self):
        self.controller.terminate()
        try:
            return self.controller.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.controller.kill()
            self.controller.wait()
            return None

    def start(self, priority, gate, *words):
        program = Program(self, self.tool("packet-storm", *words), priority, gate)
        self.programs = [each for each in self.programs if each.process.returncode is None] + [program]
        return program

    def call(self, **request):
        """The controller's answer, or None where there was none."""
        try:
            link = Link(self.socket)
        except OSError:
            return None
        try:
            return link.call(**request)
        except OSError:
            return None
        finally:
            link.close()


class Footprint:
    """What a process holds on to: descriptors, mappings and resident memory; of a program at the device also KFD events."""

    def __init__(self, pid):
        self.events = None
        try:
            self.fds = len(os.listdir("/proc/%d/fd" % pid))
            with open("/proc/%d/status" % pid) as file:
                resident = [line for line in file if line.startswith("VmRSS:")]
            self.rss_kb = int(resident[0].split()[1]) if resident else 0
            with open("/proc/%d/maps" % pid) as file:
                self.mappings = sum(1 for _ in file)
        except OSError:
            self.fds, self.rss_kb, self.mappings = 0, 0, 0

    @classmethod
    def settled(cls, pid, stats=None, before=None):
        """The one with the fewest descriptors of ten that are 20 ms apart: the controller closes its end of a call some
        time after the caller has closed his. And of some seconds, on a busy machine, where there are more than `before`:
        what leaks stays. `stats`: the device's, which know the program's KFD events."""
        until = time.monotonic() + SETTLE_S
        seen = []
        while len(seen) < 10 or (before and min(each.fds for each in seen) > before.fds and time.monotonic() < until):
            seen.append(cls(pid))
            time.sleep(0.02)
        settled = min(seen, key=lambda footprint: footprint.fds)
        for process in stats["processes"] if stats else []:
            if process["pid"] == pid:
                settled.events = process["events"]
        return settled

    def __str__(self):
        told = "%d fds, %d mappings, %.1f MB" % (self.fds, self.mappings, self.rss_kb / 1024)
        return told if self.events is None else told + ", %d KFD events" % self.events


def is_sanitized(build):
    """Then a process's memory and mappings are the sanitizer's too: what is freed stays in its quarantine or shadow."""
    try:
        with open(os.path.join(build, "CMakeCache.txt")) as file:
            return any(line.startswith("XSCHED_HSA_SANITIZER:") and line.strip().endswith(("=asan", "=tsan")) for line in file)
    except OSError:
        return False


def table(rows, columns):
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row.get(column, "")) for column in columns) + " |")
    print(flush=True)
