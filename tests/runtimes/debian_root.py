"""A Debian release in a folder of its own, for tests/runtimes/run and tests/runtimes/release."""

import os
import pathlib
import shutil
import subprocess
import sys

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "xsched-hsa"
MIRROR = "http://deb.debian.org/debian"
MARKER, OURS = ".runtimes-root", "debootstrap-of-runtimes"


def fail(text):
    print(f"tests/runtimes/{pathlib.Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    sys.exit(2)


def run(command, **options):
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False,
                          stdin=subprocess.DEVNULL, **options)


def must(what, command):
    result = run(command)
    if result.returncode != 0:
        lines = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()
        # apt says first what is wrong, and then what one could try.
        fail(f"{what}: {next((line for line in lines if line.startswith('E:')), lines[-1])}")
    return result.stdout


def apt_get(root, *words):
    return ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "PATH=/usr/sbin:/usr/bin", "chroot", root, "apt-get",
            "-qq", "-y", *words]


def install(root, what, packages):
    must(what, apt_get(root, "install", "--no-install-recommends", *packages))


def check_tools():
    if os.geteuid() != 0:
        fail("needs root, for debootstrap, chroot and mounts: run it with sudo")
    for tool in ("debootstrap", "unshare"):
        if shutil.which(tool) is None:
            fail(f"{tool} is not installed: apt-get install debootstrap util-linux")


def make(root, release, packages, size, mirror=MIRROR):
    """Finished when the marker is there; an unfinished one is made again."""
    marker = root / MARKER
    if marker.exists():
        return
    if root.exists() and any(root.iterdir()) and not (root / OURS).exists():
        fail(f"{root} is there and not of this script's making; remove it")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / OURS).touch()
    print(f"making {root}: Debian {release} from {mirror}, about {size}", file=sys.stderr, flush=True)
    must(f"debootstrap from {mirror}", ["debootstrap", "--variant=minbase", release, root, mirror])
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    # For whoever installs in there: a frozen mirror is as good for this.
    (root / "etc/apt/apt.conf.d/10-runtimes").write_text(
        'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\n')
    # What is installed in there is not to start services of this machine.
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    must("apt-get update", apt_get(root, "update"))
    install(root, "apt-get install", packages)
    marker.touch()
