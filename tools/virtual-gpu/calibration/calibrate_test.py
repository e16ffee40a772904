"""calibrate_test.py BUILD: `calibrate --check --quick` says yes to the record and no to others."""
import json
import os
import subprocess
import sys
import tempfile

from calibrate import worse

HERE = os.path.dirname(os.path.abspath(__file__))


def calibrate(*arguments):
    run = subprocess.run([sys.executable, os.path.join(HERE, "calibrate.py"), *arguments],
                         capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


def expect(condition, what, output):
    if not condition:
        sys.exit(f"FAILED: {what}\n{output}")


def main():
    build = sys.argv[1]
    code, output = calibrate("--check", "--quick", "--build", build)
    expect(code == 0 and "as recorded" in output, "the committed record is met", output)
    expect("simulated" in output and "predicted" in output, "the table says what it is", output)

    with open(os.path.join(HERE, "mi308x.json"), encoding="utf-8") as file:
        record = json.load(file)
    record["profile"]["workgroup_spread"] += 0.1
    with tempfile.TemporaryDirectory() as scratch:
        other = os.path.join(scratch, "record.json")
        with open(other, "w", encoding="utf-8") as file:
            json.dump(record, file)
        code, output = calibrate("--check", "--quick", "--build", build, "--record", other)
    expect(code == 1, "another record is refused", output)
    expect("workgroup_spread is" in output, "the drifted parameter is named", output)

    one = {"intensive": {"p99_ms": {"residual_percent": -15.0}}}
    recorded = {"intensive": {"p99_ms": {"residual_percent": 12.0}}}
    problems = worse(one, recorded)
    expect(len(problems) == 1 and "intensive p99_ms: residual -15.0 %" in problems[0],
           "a residual that got worse is named", problems)
    one["intensive"]["p99_ms"]["residual_percent"] = -11.0
    expect(worse(one, recorded) == [], "a better one is not", worse(one, recorded))

    device = {"format": 1, "simulated": True, "device": {"name": "a device"}, "measured": {},
              "params": {"runlist_cycle_ns": 300000}, "checks": []}

    def with_device(record, *arguments):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(record, file)
            file.flush()
            return calibrate("--device", file.name, "--quick", "--build", build, *arguments)

    code, output = with_device({**device, "params": {"packet_launch_ns": 40000}})
    expect(code == 0 and "(simulated)" in output, "a measured device is taken", output)
    expect("not measured" in output, "what it did not measure is named", output)
    low = next(line for line in output.splitlines() if line.split()[1:2] == ["low_per_s"]
               and line.startswith("standard"))
    expect(float(low.split()[3]) < 100, "and used: with 40 us a launch batch 8 slows down", output)
    code, output = with_device({**device, "format": 2})
    expect(code == 2 and "format 1" in output, "another format is refused", output)
    code, output = with_device({**device, "params": {"cycle": 1}})
    expect(code == 2 and "['cycle']" in output, "an unknown parameter is named", output)
    code, output = with_device({**device, "checks": [{"name": "once", "passed": False}]})
    expect(code == 1 and "not to be trusted: once" in output, "a failed check is refused", output)
    code, output = with_device(device, "--check")
    expect(code == 2, "--check with --device is refused", output)

    code, output = calibrate("--check", "--build", os.path.join(build, "nowhere"))
    expect(code == 2 and "is missing; build the target" in output, "a missing tree is told", output)
    code, output = calibrate("--quick")
    expect(code == 2 and "--check" in output, "--quick alone is refused", output)


main()
