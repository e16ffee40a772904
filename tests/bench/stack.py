"""stack.py: what measurements run on: a virtual device, a controller, programs under the layer. All end with it."""

import json
import os
import pwd
import subprocess
import sys
import tempfile
import time


def fail(text):
    sys.exit("tests/bench/run: " + text)


class Stack:
    """One device and one controller. `controller` arguments are xsched-hsad's."""

    def __init__(self, build, gpus=1, controller=(), device=True):
        self.build = os.path.abspath(build)
        self.folder = tempfile.TemporaryDirectory(prefix="xsched-bench-")
        os.chmod(self.folder.name, 0o755)  # other users' programs join, too
        self.socket = os.path.join(self.folder.name, "control.sock")
        self.device = "bench-%d-%s" % (os.getpid(), os.path.basename(self.folder.name)[-6:]) if device else None
        self.gpus, self.arguments = gpus, list(controller)
        self.controller = None

    def __enter__(self):
        if self.device:
            subprocess.run([self.bin("virtual-gpu"), "start", "--quiet", "--device", self.device, "--gpus",
                            str(self.gpus)], check=True, timeout=60, stdout=subprocess.DEVNULL)
        self.controller = subprocess.Popen([self.bin("xsched-hsad"), "--socket", self.socket, "--log-level", "error",
                                            *self.arguments])
        for _ in range(400):
            if os.path.exists(self.socket):
                return self
            if self.controller.poll() is not None:
                break
            time.sleep(0.025)
        self.__exit__()
        fail("the controller did not start")

    def __exit__(self, *_):
        if self.controller is not None and self.controller.poll() is None:
            self.controller.terminate()
            self.controller.wait(timeout=20)
        if self.device:
            subprocess.run([self.bin("virtual-gpu"), "stop", "--device", self.device], timeout=60,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.folder.cleanup()

    def bin(self, name):
        return os.path.join(self.build, "bin", name)

    def lib(self, name):
        return os.path.join(self.build, "lib", name)

    def on_device(self, *words):
        return [self.bin("virtual-gpu"), "run", "--quiet", "--device", self.device, "--", *words]

    def layer(self, priority, socket=None, gate="window"):
        """The environment of a program under the layer."""
        return dict(os.environ, HSA_TOOLS_LIB=self.lib("libxsched-hsa.so"), XSCHED_HSA_PRIORITY=priority,
                    XSCHED_HSA_SOCKET=socket or self.socket, XSCHED_HSA_GATE=gate)

    def json_of(self, command, environment=None, **more):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, **more)
        if done.returncode != 0:
            fail("%s ended with %d: %s" % (" ".join(command[-4:]), done.returncode, done.stderr.strip()[-300:]))
        return json.loads(done.stdout)

    def ctl(self, *words):
        done = subprocess.run([self.bin("xsched-hsa-ctl"), *words, "--socket", self.socket], capture_output=True,
                              text=True, timeout=60)
        if done.returncode != 0:
            fail("xsched-hsa-ctl %s: %s" % (" ".join(words), done.stderr.strip()))
        return done.stdout

    def wait_for_queue(self, holds, seconds=15):
        """Until some queue of the list satisfies `holds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for process in json.loads(self.ctl("list", "--json"))["processes"]:
                if any(holds(queue) for queue in process["queues"]):
                    return
            time.sleep(0.02)
        fail("no queue got into the state that is to be measured")


class Idle:
    """A program of that priority with a queue and nothing to do."""

    def __init__(self, stack, priority):
        self.process = subprocess.Popen(stack.on_device(stack.bin("hsa-exercise"), "paused", "1"), text=True,
                                        env=stack.layer(priority), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate("\n", timeout=60)


class Spinners:
    """Keeps every processor busy."""

    def __enter__(self):
        self.processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


def cpu_ns(pid):
    """What the process has computed, all threads."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
            total += int(file.read().split()[0])
    return total


def status(pid, key):
    with open("/proc/%d/status" % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key + ":"))


def another_user():
    """A uid to run as, or None where we may not."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return None


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {"processor": model, "processors": os.cpu_count(), "kernel": os.uname().release,
            "date": time.strftime("%Y-%m-%d"), "load_before": round(os.getloadavg()[0], 2)}
