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

    code, output = calibrate("--check", "--build", os.path.join(build, "nowhere"))
    expect(code == 2 and "is missing; build the target" in output, "a missing tree is told", output)
    code, output = calibrate("--quick")
    expect(code == 2 and "--check" in output, "--quick alone is refused", output)


main()
