#!/usr/bin/env python3
"""torch_dual_model: the published experiment with PyTorch's own models, in the demo's report.

  torch_dual_model.py                         standard and intensive: alone, native twice, xsched-hsa
  torch_dual_model.py --scenario intensive --mode native
  torch_dual_model.py --scenario single       one model alone, with and without the layer
  torch_dual_model.py --scenario tenants      one online model, two offline ones

Scenarios  standard: ResNet-18 batch 1 at 10 requests/s against ResNet-50 batch 8, 60 s; intensive: at
           20 requests/s against batch 1024, 180 s. Random weights, FP32, 224 x 224, as published.
Processes  each model in one of its own, started anew (no fork of a HIP process), the online one at
           priority high, the others at low. A process that fails fails the run.
Proof      as in the demo: the controller has to know each process and its queues, and to have seen as
           many packets as there were inferences at least.
--stand-in replays traces instead of running PyTorch: what is tested where there is none.
Exit       0 ran and proved itself; 1 not, with one line; 2 bad input, no PyTorch or no GPU.
"""

import argparse
import importlib.util
import json
import os
import signal
import socket
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TRACES = "resnet_h100.json"  # a worker takes the model's name from FILE:MODEL, and not the file
SCENARIOS = {
    "standard": {"seconds": 60}, "intensive": {"seconds": 180},
    "single": {"high": ["resnet18.b1@20"], "low": [], "seconds": 30},
    "tenants": {"high": ["resnet18.b1@20"], "low": ["resnet50.b8", "resnet50.b64"], "seconds": 60},
}
MODES = ("native", "xsched-hsa")


def bad_input(text):
    print("torch_dual_model: " + text, file=sys.stderr)
    sys.exit(2)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        bad_input(message + "; see --help")


# ---- one model -------------------------------------------------------------------------------------


class Model:
    """An eager PyTorch model; run() returns when the device is done."""

    def __init__(self, name, batch, gpu):
        try:
            import torch
            import torchvision
        except ImportError as error:
            bad_input("%s; install PyTorch for ROCm and torchvision, or use --stand-in" % error)
        if not torch.cuda.is_available():
            bad_input("PyTorch sees no GPU; is it the ROCm build, and /dev/kfd ours to open?")
        if gpu >= torch.cuda.device_count():
            bad_input("there is no GPU %d; PyTorch sees %d" % (gpu, torch.cuda.device_count()))
        maker = getattr(torchvision.models, name, None)
        if maker is None:
            bad_input("torchvision has no model %s" % name)
        self.torch, self.device = torch, "cuda:%d" % gpu
        self.model = maker(weights=None).eval().to(self.device)
        self.input = torch.randn(batch, 3, 224, 224, device=self.device)
        self.runs = 0

    def run(self):
        with self.torch.no_grad():
            self.model(self.input)
        self.torch.cuda.synchronize(self.device)
        self.runs += 1

    def describe(self):
        properties = self.torch.cuda.get_device_properties(self.device)
        return {"name": properties.name, "compute_units": properties.multi_processor_count,
                "isa": getattr(properties, "gcnArchName", ""), "torch": self.torch.__version__}


class Channel:
    """Lines of text to and from `dual-model run` (src/control_channel.h)."""

    def __init__(self, fd):
        self.socket, self.text = socket.socket(fileno=fd), b""

    def send(self, line):
        self.socket.sendall(line.encode() + b"\n")

    def receive(self, wait):
        """A line; None if there is none yet. The parent's end is ours."""
        while b"\n" not in self.text:
            try:
                part = self.socket.recv(4096, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if not part:
                sys.exit("torch_dual_model: dual-model run is gone")
            self.text += part
        line, self.text = self.text.split(b"\n", 1)
        return line.decode()


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def wait_until(deadline_ns):
    """Sleeps, and spins at the end: a request every 50 ms is not to be late by a scheduler's tick."""
    rest = deadline_ns - now_ns() - 1_000_000
    if rest > 0:
        time.sleep(rest / 1e9)
    while now_ns() < deadline_ns:
        pass


class Worker:
    def __init__(self, arguments):
        self.arguments, self.samples, self.ended = arguments, [], False
        name, _, batch = arguments.spec.rpartition(":")[2].rpartition(".b")
        if not name or not batch.isdigit():
            bad_input("the model is '%s', not NAME.bBATCH like resnet18.b1" % arguments.spec)
        self.name, self.batch = name, int(batch)
        self.channel = Channel(arguments.control_fd) if arguments.control_fd >= 0 else None
        signal.signal(signal.SIGTERM, self.end)

    def end(self, *_):
        self.ended = True

    def run(self):
        self.model = Model(self.name, self.batch, self.arguments.gpu)
        for _ in range(3):  # libraries choose and compile their kernels in the first ones
            self.model.run()
        begin = now_ns()
        if self.channel:
            self.channel.send("ready %d" % os.getpid())
            begin = int(self.channel.receive(True).removeprefix("go "))
        self.origin = begin + int(self.arguments.warm_up * 1e9)
        end = self.origin + int(self.arguments.seconds * 1e9)
        wait_until(begin)
        if self.arguments.rate > 0:
            self.requests(begin, end)
        else:
            self.back_to_back(end)
        self.write()
        if self.channel:
            self.channel.send("done")
            self.channel.receive(True)  # "exit": until then the queue stays, to be asked about

    def sample(self):
        start = now_ns()
        self.model.run()
        self.samples.append((start, now_ns()))
        return start

    def requests(self, due, end):
        while due < end and not self.ended:
            wait_until(due)
            due = self.sample() + int(1e9 / self.arguments.rate)
        self.stop = end

    def back_to_back(self, end):
        self.stop = float("inf") if self.channel else end
        while now_ns() < self.stop and not self.ended:
            self.sample()
            line = self.channel.receive(False) if self.channel else None
            if line:
                self.stop = int(line.removeprefix("stop "))

    def counts(self, start, end):
        """As dual-model's own worker counts: an iteration may reach over the origin, a request not."""
        if self.arguments.rate > 0:
            return start >= self.origin
        return self.origin < end <= self.stop

    def write(self):
        samples = [[round((start - self.origin) / 1e6, 4), round((end - start) / 1e6, 4)]
                   for start, end in self.samples if self.counts(start, end)]
        # What a program can know of itself: inferences asked for, and done.
        check = {"packets_submitted": len(self.samples) + 3, "packets_completed": self.model.runs,
                 "order_errors": 0, "signal_errors": 0}
        record = {"model": "%s.b%d" % (self.name, self.batch), "batch": self.batch,
                  "role": "high" if self.arguments.rate > 0 else "low",
                  "rate_per_s": self.arguments.rate, "pid": os.getpid(), "samples": samples,
                  "time_scale": 1.0, "warm_up_s": self.arguments.warm_up,
                  "device": self.model.describe(), "check": check, "counts": "inferences"}
        with open(self.arguments.result, "w", encoding="utf-8") as file:
            json.dump(record, file)


def worker(argv):
    parser = Parser(prog="torch_dual_model worker")
    parser.add_argument("spec", help="FILE:MODEL.bBATCH")
    parser.add_argument("--control-fd", type=int, default=-1)
    parser.add_argument("--result", default="/dev/stdout")
    for name, value in (("--seconds", 10.0), ("--warm-up", 0.0), ("--rate", 0.0)):
        parser.add_argument(name, type=float, default=value)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--timeout", type=int, default=120)
    Worker(parser.parse_args(argv)).run()


# ---- the experiment --------------------------------------------------------------------------------


def parse(argv):
    parser = Parser(prog="torch_dual_model", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="all", choices=["all", *SCENARIOS])
    parser.add_argument("--mode", default="all", choices=["all", *MODES],
                        help="all: also alone, and native twice [all]")
    parser.add_argument("--seconds", type=float, help="of a run [as published]")
    parser.add_argument("--out", default="xsched-hsa-torch", help="folder for the results")
    parser.add_argument("--bin", default=os.path.join(HERE, "..", "..", "build", "bin"),
                        help="where dual-model is")
    parser.add_argument("--stand-in", action="store_true", help="replayed traces, not PyTorch")
    parser.add_argument("--virtual", action="store_true", help="with --stand-in: on a virtual GPU")
    arguments = parser.parse_args(argv)
    if arguments.seconds is not None and not 0 < arguments.seconds <= 1e5:
        bad_input("--seconds must be above 0")
    if arguments.virtual and not arguments.stand_in:
        bad_input("a virtual GPU runs no PyTorch: --virtual goes with --stand-in")
    if not arguments.stand_in and importlib.util.find_spec("torch") is None:
        bad_input("there is no PyTorch here: install the ROCm build, or use --stand-in")
    if not os.access(os.path.join(arguments.bin, "dual-model"), os.X_OK):
        bad_input("no dual-model in %s: build first (tools/demo does), or say --bin" % arguments.bin)
    return arguments


def worker_option(arguments):
    if arguments.stand_in:
        return []
    if " " in sys.executable + __file__:
        bad_input("a path with a space in it: %s %s" % (sys.executable, __file__))
    return ["--worker", "%s %s" % (sys.executable, os.path.realpath(__file__))]


def run_experiment(arguments, scenario):
    """Alone, native, native, xsched-hsa, and the demo's report."""
    command = [os.path.join(arguments.bin, "dual-model"), "experiment", "--scenario", scenario,
               "--seconds", "%g" % (arguments.seconds or SCENARIOS[scenario]["seconds"]),
               "--out", os.path.join(arguments.out, scenario)] + worker_option(arguments)
    return execute(command + ["--virtual"] * arguments.virtual)


def execute(command):
    """A child of its own; ours to end when we are ended."""
    sys.stdout.flush()
    return os.spawnv(os.P_WAIT, command[0], command)


def specs(scenario):
    """(requests, back to back) of a scenario, for `dual-model run`."""
    if "high" in SCENARIOS[scenario]:
        return SCENARIOS[scenario]["high"], SCENARIOS[scenario]["low"]
    low = {"standard": "resnet50.b8", "intensive": "resnet50.b1024"}[scenario]
    return ["resnet18.b1@%d" % {"standard": 10, "intensive": 20}[scenario]], [low]


def run_mode(arguments, scenario, mode):
    """One run; prints what each model got. Returns the exit code."""
    os.makedirs(arguments.out, exist_ok=True)
    path = os.path.join(arguments.out, "%s-%s.json" % (scenario, mode))
    high, low = specs(scenario)
    command = [os.path.join(arguments.bin, "dual-model"), "run", "--mode", mode, "--json", path,
               "--warm-up", "2",
               "--seconds", "%g" % (arguments.seconds or SCENARIOS[scenario]["seconds"])]
    for option, models in (("--high", high), ("--low", low)):
        for model in models:
            command += [option, "%s:%s" % (TRACES, model)]
    command += worker_option(arguments)
    if arguments.virtual:
        command = [os.path.join(arguments.bin, "virtual-gpu"), "run", "--quiet", "--time-scale", "4",
                   "--"] + command
    if os.path.exists(path):
        os.remove(path)
    code = execute(command)
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            show(scenario, mode, json.load(file))
    return code


def show(scenario, mode, record):
    kind = "simulated" if record["simulated"] else "real"
    for model in record["models"]:
        metrics = model["metrics"]
        if model["role"] == "high":
            text = "P50 %.2f  P95 %.2f  P99 %.2f  max %.2f ms, %d requests" % tuple(
                metrics[key] for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms", "requests"))
        else:
            text = "%.2f iterations/s, %.1f images/s" % (metrics["iter_per_s"], metrics["img_per_s"])
        print("%-9s %-10s %-4s %-15s %s (%s)" % (scenario, mode, model["role"], model["model"], text,
                                                 kind))
    proof = record["proof"]
    if mode == "xsched-hsa":
        print("%-9s %-10s layer loaded: %s; %d queues, %d packets held, %d preemptions" % (
            scenario, mode, "yes" if proof["layer_loaded"] else "NO", proof["queues"],
            proof["packets_held"], proof["preemptions"]))


def main(argv):
    arguments = parse(argv)
    scenarios = ["standard", "intensive"] if arguments.scenario == "all" else [arguments.scenario]
    for scenario in scenarios:
        if arguments.mode == "all" and scenario in ("standard", "intensive"):
            codes = [run_experiment(arguments, scenario)]
        else:
            modes = MODES if arguments.mode == "all" else [arguments.mode]
            codes = [run_mode(arguments, scenario, mode) for mode in modes]
        failed = next((code for code in codes if code != 0), 0)
        if failed != 0:
            print("torch_dual_model: %s failed; its own line is above" % scenario, file=sys.stderr)
            return 2 if failed == 2 else 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        sys.exit(worker(sys.argv[2:]))
    sys.exit(main(sys.argv[1:]))
