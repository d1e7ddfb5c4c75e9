"""The program under test: started with a configuration of its own, read by its metrics, stopped."""
import asyncio
import json
import os
import re
import socket
from urllib.request import urlopen

from .scripts import OFFLINE

PORTS = range(3000, 11000)  # below those that the kernel gives to clients, apart from the tests'
SLICE = 200                 # of them for each process: two that start at once should not meet
_last = 0


def reserve_port():
    """A bound socket that does not listen: nobody gets its port but who also sets SO_REUSEPORT."""
    global _last
    low = PORTS.start + os.getpid() * SLICE % len(PORTS)
    for _ in range(SLICE):
        _last = (_last + 1) % SLICE
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            with socket.socket() as strict:  # fails where anybody is, even a holdfast that would share
                strict.bind(("127.0.0.1", low + _last))
            s.bind(("127.0.0.1", low + _last))
            return s
        except OSError:
            s.close()
    raise RuntimeError(f"no port is free from {low} to {low + SLICE - 1}")


def free_port():
    with reserve_port() as s:
        return s.getsockname()[1]


def in_front_of(providers, keys=1, offline=False):
    """A configuration with these providers in a row, and the defaults for everything about failover."""
    rows = {p.name: {"type": "openai", "base_url": f"http://127.0.0.1:{p.port}/v1",
                     "api_key": "sk-" + p.name} for p in providers}
    if keys > 1:
        key = rows["P"].pop("api_key")
        rows["P"]["keys"] = [f"{key}-{i}" for i in range(keys)]
    if offline:
        rows["notice"] = {"type": "scripted", "text": OFFLINE}
    return {"providers": rows, "routes": [{"model": "*", "targets": list(rows)}]}


class Proxy:
    """One holdfast with a configuration, on ports of its own."""

    def __init__(self, binary, directory, config):
        self.binary, self.directory = binary, directory
        self.port, self.admin = free_port(), free_port()
        self.config = {"listen": [f"127.0.0.1:{self.port}"], "admin": f"127.0.0.1:{self.admin}",
                       "drain": {"delay": "0s", "timeout": "5s"}, **config}
        self.process = None

    async def start(self):
        path = f"{self.directory}/holdfast.yaml"
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.config, f, indent=1)  # JSON is YAML
        clean = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.directory)}
        with open(f"{self.directory}/log", "wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.binary, "serve", "-c", path, stdin=asyncio.subprocess.DEVNULL, stdout=log,
                stderr=log, env=clean)
        for _ in range(500):
            if self.process.returncode is None and self._listens():
                return
            await asyncio.sleep(0.02)
        raise RuntimeError(f"holdfast does not start:\n{self._tail()}")

    def _listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def _tail(self):
        with open(f"{self.directory}/log", encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    async def metric(self, name):
        """[(labels, value)] of all samples of a metric."""
        url = f"http://127.0.0.1:{self.admin}/metrics"
        text = await asyncio.to_thread(lambda: urlopen(url, timeout=5).read().decode())
        return [(dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value))
                for found, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.M)
                if found == name]

    async def stop(self):
        """It must have lived until now, and end when it is told to."""
        if self.process is None:
            return
        died = self.process.returncode
        if died is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except TimeoutError:
                self.process.kill()
                raise RuntimeError("holdfast did not stop within 10 s of SIGTERM") from None
        if self.process.returncode != 0:
            raise RuntimeError(f"holdfast ended with {self.process.returncode}"
                               f"{' before its time' if died is not None else ''}:\n{self._tail()}")
