"""The suites: which tests each has, and the command that runs one of them on a private device."""

import os
import pathlib
import shutil
import subprocess

NAMES = ("rocminfo", "rocrtst", "kfdtest")
PROFILES = {"mi308x": "gfx942", "mi300x": "gfx942", "mi355x": "gfx950", "mi210": "gfx90a", "mi100": "gfx908"}
HERE = pathlib.Path(__file__).resolve().parent
ROCRTST = "/usr/libexec/rocm/libhsa-runtime64-tests"


def make(name, arguments, fail):
    return {"rocminfo": Rocminfo, "rocrtst": Rocrtst, "kfdtest": Kfdtest}[name](arguments, fail)


def gtest_names(listing):
    """"Suite.Test" for each line of --gtest_list_tests."""
    names, suite = [], ""
    for line in listing.splitlines():
        text = line.split("#")[0].rstrip()
        if text.startswith("  ") and suite:
            names.append(suite + text.strip())
        elif text.endswith("."):
            suite = text
    return names


def gtest_filter(test, wanted):
    return "--gtest_filter=" + (f"{wanted.after}:{test}" if wanted.after else test)


class Suite:
    """One device process per test: a test that leaves a mess behind harms no other."""

    partial = False  # the expectations name some of the suite's tests only

    def __init__(self, arguments, fail):
        self.arguments, self.fail = arguments, fail
        self.virtual_gpu = arguments.build / "bin" / "virtual-gpu"
        if not self.virtual_gpu.exists():
            fail(f"no {self.virtual_gpu}; build first (tests/run builds), or name --build")

    def device(self, *options, scale=1):
        return [str(self.virtual_gpu), "run", "--quiet", "--time-scale", str(scale), *options, "--"]

    def make_root(self):
        command = [str(HERE / "make-root"), str(self.arguments.root)]
        if subprocess.call(command + (["--accept-expired"] if self.arguments.accept_expired else [])) != 0:
            self.fail("without that root this suite cannot be run")
        # The manifest is there before root is needed.
        if os.geteuid() != 0:
            self.fail("chroot needs root: run it with sudo")

    def in_root(self, *words):
        return [str(HERE / "in-root"), str(self.arguments.root), *words]

    def versions(self):
        manifest = (self.arguments.root / ".suites-root").read_text().splitlines()
        return [line for line in manifest if not line.startswith("format")]


class Rocminfo(Suite):
    """Debian's rocminfo on three runtimes and every profile; what it must print is in rocminfo/."""

    RUNTIMES = {"bookworm": None, "sid": "/opt/rocr-sid/usr/lib/x86_64-linux-gnu", "experimental": ""}
    def __init__(self, arguments, fail):
        super().__init__(arguments, fail)
        if shutil.which("rocminfo") is None:
            fail("no rocminfo here; tools/install-packages installs it")
        self.make_root()

    def tests(self):
        return [f"{runtime}.{profile}" for runtime in self.RUNTIMES for profile in PROFILES]

    def command(self, test, wanted):
        scale = wanted.scale
        runtime, profile = test.split(".")
        libraries, isa = self.RUNTIMES[runtime], PROFILES[profile]
        checker = [str(HERE / "check-rocminfo"), profile]
        if libraries is None:  # ROCr 5.2.3 knows gfx90a at most; the device shows it that
            return [*checker, "auto", *self.device("--profile", profile, scale=scale), "rocminfo"]
        inside = self.in_root(f"LD_LIBRARY_PATH={libraries}", "rocminfo")
        return [*checker, isa, *self.device("--profile", profile, "--isa", isa, scale=scale), *inside]

    def versions(self):
        query = ["dpkg-query", "-W", "-f", "${Package} ${Version} (this machine)\n", "rocminfo", "libhsa-runtime64-1"]
        here = subprocess.run(query, capture_output=True, text=True, check=False)
        return here.stdout.splitlines() + super().versions()


class Rocrtst(Suite):
    def __init__(self, arguments, fail):
        super().__init__(arguments, fail)
        self.make_root()

    def program(self, *words, scale=1, profile="mi308x"):
        return [*self.device("--profile", profile, "--isa", PROFILES[profile], scale=scale),
                *self.in_root("LD_LIBRARY_PATH=/opt/compat", f"ROCRTST_KERNELS_PATH={ROCRTST}",
                              f"{ROCRTST}/rocrtst64", *words)]

    def tests(self):
        listed = subprocess.run(self.program("--gtest_list_tests"), capture_output=True, text=True, check=False)
        if listed.returncode != 0:
            self.fail(f"rocrtst64 does not start: {listed.stderr.strip()[-200:]}")
        return gtest_names(listed.stdout)

    # Tests that AMD ships switched off are run too: what they need may work here.
    def command(self, test, wanted):
        return self.program("--gtest_also_run_disabled_tests", gtest_filter(test, wanted), scale=wanted.scale,
                            profile=wanted.profile or "mi308x")


class Kfdtest(Suite):
    """Any build of kfdtest; native, because it links its own libhsakmt."""

    partial = True

    def __init__(self, arguments, fail):
        super().__init__(arguments, fail)
        if arguments.kfdtest is None:
            fail("no Debian package has kfdtest; build it from AMD's sources and give --kfdtest PROGRAM")
        self.binary = arguments.kfdtest.absolute()
        if not os.access(self.binary, os.X_OK):
            fail(f"{self.binary} is not a program")

    def tests(self):
        listed = subprocess.run([str(self.binary), "--gtest_list_tests"], capture_output=True, text=True, check=False)
        return gtest_names(listed.stdout)

    # An MI210, because kfdtest assembles its shaders, and Debian 12's own LLVM 14 knows no gfx942.
    def command(self, test, wanted):
        profile = wanted.profile or "mi210"
        return [*self.device("--profile", profile, "--isa", PROFILES[profile], scale=wanted.scale), str(self.binary),
                "--gtest_also_run_disabled_tests", gtest_filter(test, wanted)]

    def versions(self):
        return [f"kfdtest: {self.binary}"]
