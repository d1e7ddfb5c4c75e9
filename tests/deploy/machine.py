"""A Debian machine of the test's own, in a container of systemd-nspawn.

Its root is made once (build/deploy/); what a test writes there lies in memory and is gone with the
machine. It needs root, mmdebstrap and systemd-nspawn; why_not() says what is missing.
"""
import hashlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import netns
from client import wait_for
from conftest import ROOT

CACHE = ROOT / "build/deploy"
SOURCES = ("sources.list", "sources.list.d/debian.sources", "sources.list.d/ubuntu.sources")


def why_not():
    if reason := netns.why_not():
        return reason
    for tool in ("mmdebstrap", "systemd-nspawn", "nsenter", "curl"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    return None


def sh(*command, **options):
    """Runs it and returns what it printed; what went wrong is in the message."""
    done = subprocess.run([str(c) for c in command], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}"
    return done.stdout


def debian(packages):
    """A root with systemd and these packages, of the release that this machine has."""
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)[1]
    wanted = ",".join(sorted({"systemd", "systemd-sysv", "init-system-helpers", *packages}))
    root = CACHE / f"{release}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    if not root.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = root.with_suffix(f".{os.getpid()}")
        sources = [p for p in (Path("/etc/apt") / s for s in SOURCES)
                   if p.exists() and p.stat().st_size > 0]
        try:
            sh("mmdebstrap", "--quiet", "--variant=essential", f"--include={wanted}", release, part,
               *sources, timeout=300)
        except (AssertionError, subprocess.TimeoutExpired) as e:  # no mirror is no fault of ours
            pytest.skip(f"mmdebstrap makes no Debian here: {str(e).strip().splitlines()[-1]}")
        part.rename(root)
    return root


def container(root, *arguments):
    """The command that runs something in it; what is written there is forgotten."""
    return ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe",
            "--private-network", "--volatile=overlay", f"--machine=test-{os.getpid()}",
            f"--directory={root}", *arguments]


class Machine:
    """Runs from the start; with systemd, or as a container without it where `boots` is false."""

    def __init__(self, root, directory, boots=True):
        self.console = directory / "console"
        self.boots = boots
        payload = ["--boot"] if boots else ["--as-pid2", "sh", "-c", "echo up; exec sleep 600"]
        with open(self.console, "wb") as out:
            self.nspawn = subprocess.Popen(container(root, *payload), stdin=subprocess.DEVNULL,
                                           stdout=out, stderr=subprocess.STDOUT)
        self.leader = None
        wait_for(self._is_up, timeout=60)
        self.root = Path(f"/proc/{self.leader}/root")

    def _is_up(self):
        assert self.nspawn.poll() is None, self.console.read_text("utf-8", "replace")
        self.leader = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text()
        self.leader = self.leader.strip()
        if not self.leader:
            return False
        if not self.boots:
            return b"up\n" in self.console.read_bytes()
        return self._enter("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def _enter(self, *command):
        return subprocess.run(
            ["nsenter", "-t", self.leader, "-a", "-r", "-w", "env", "-i", "LC_ALL=C.UTF-8",
             "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *command],
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, *command):
        """What a command in the machine prints."""
        done = self._enter(*command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def ask(self, port=8090):
        """One request, in the machine's own network: (status, body); (0, "") without an answer."""
        body = '{"model":"gpt-4o","messages":[{"role":"user","content":"Say hello."}]}'
        done = subprocess.run(
            ["nsenter", "-t", self.leader, "-n", "curl", "-s", "--max-time", "10",
             "-w", "\n%{http_code}", f"http://127.0.0.1:{port}/v1/chat/completions",
             "-H", "content-type: application/json", "-d", body],
            text=True, stdout=subprocess.PIPE)
        answer, _, status = done.stdout.rpartition("\n")
        return int(status), answer

    def files(self):
        """The paths of all files and folders but those of the kernel, of what runs, and logs."""
        passing = {"/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log"}
        found = set()
        for folder, folders, names in os.walk(self.root):
            here = folder[len(str(self.root)):]
            folders[:] = [d for d in folders if f"{here}/{d}" not in passing]
            found.update(f"{here}/{n}" for n in [*folders, *names])
        return found

    def close(self):
        self.nspawn.send_signal(signal.SIGTERM)  # systemd's clean end
        try:
            self.nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()
            self.nspawn.wait()
