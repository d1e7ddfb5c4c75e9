"""Fixtures: `upstream` starts scripted providers, `holdfast` starts the binary under test.

The binary is $HOLDFAST_BIN, build/dev/holdfast by default. Each test has its own instances on its
own ports, so tests run side by side. At the end of a test every proxy must answer one more healthy
request, stop cleanly at SIGTERM, and have left no sanitizer report.
"""
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SHARED = Path(os.environ.get("HOLDFAST_SHARED", ROOT.parent / "shared"))
sys.path.insert(0, str(TESTS))

import netns  # noqa: E402
from client import chat, http_get, wait_for  # noqa: E402
from faultd import Certs, ConnectProxy, Faultd  # noqa: E402

BINARY = Path(os.environ.get("HOLDFAST_BIN", ROOT / "build/dev/holdfast")).resolve()
TSAN = "tsan" in str(BINARY)
RELEASE = "release" in str(BINARY)

# Nobody runs into these because the machine had no time for a moment: a test in which time runs out
# on purpose says where.
TIMEOUTS = {"connect": "10s", "tls": "10s", "first_token": "15s", "answer": "15s", "idle": "15s",
            "total": "30s"}
SLOW = 3 if TSAN else 1  # ThreadSanitizer makes everything slower, a timer's meaning stays
HASTY = {"connect": f"{300 * SLOW}ms", "tls": f"{500 * SLOW}ms", "first_token": f"{600 * SLOW}ms",
         "answer": f"{900 * SLOW}ms", "idle": f"{600 * SLOW}ms", "idle_tools": f"{600 * SLOW}ms"}
REPORTS = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|"
                     r"Assertion|assert(ion)? failed|stack smashing", re.I)


def pytest_configure(config):
    # Five hundred connections have up to four ends in this process.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard > 0 else 65536, hard))
    config.addinivalue_line("markers", "tsan: part of the run under ThreadSanitizer")
    config.addinivalue_line("markers", "alone: loads the machine; not beside other tests")
    config.addinivalue_line("markers", "release: a promise about speed; needs the release build")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("release") and not RELEASE:
            item.add_marker(pytest.mark.skip(reason="measures speed: needs the release build"))


def pytest_terminal_summary(terminalreporter):
    """The figures that tests have noted, also those of other processes."""
    for reports in terminalreporter.stats.values():
        for r in reports:
            if getattr(r, "when", None) == "call":
                for key, text in r.user_properties:
                    if key == "figure":
                        terminalreporter.write_line(text)


@pytest.fixture
def figure(record_property):
    """figure("corpus: 1 of 2") prints a line at the end of the run."""
    return lambda text: record_property("figure", text)


_next_port = None


def free_port():
    """A port below the ephemeral range, from a slice that belongs to this worker alone."""
    global _next_port
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0)
    low = 12000 + 2500 * (worker % 8)
    for _ in range(2500):
        _next_port = low + (((_next_port or low + os.getpid() % 2500) + 1 - low) % 2500)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", _next_port))
            except OSError:
                continue
            return _next_port
    raise RuntimeError("no free port")


class Process:
    """A run of the binary whose stderr and stdout go to files."""

    def __init__(self, directory, args, env=None, cwd=None, prefix=(), pass_fds=()):
        n = len(list(directory.glob("stderr*")))
        self.err_path = directory / f"stderr{n}"
        self.out_path = directory / f"stdout{n}"
        with open(self.err_path, "wb") as err, open(self.out_path, "wb") as out:
            self.process = subprocess.Popen([*prefix, str(BINARY), *args], stdout=out, stderr=err,
                                            stdin=subprocess.DEVNULL, cwd=cwd or directory,
                                            env=clean_env(directory) | (env or {}), pass_fds=pass_fds)

    @property
    def stderr(self):
        return self.err_path.read_text("utf-8", "replace")

    @property
    def stdout(self):
        return self.out_path.read_text("utf-8", "replace")

    def wait(self, timeout=20):
        return self.process.wait(timeout)


def clean_env(directory):
    """The environment without keys, proxies and configuration of the machine the tests run on."""
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")}
    return keep | {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory / "no-config"),
                   "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
                   "UBSAN_OPTIONS": "print_stacktrace=1",
                   "TSAN_OPTIONS": "exitcode=98:second_deadlock_stack=1"}


class Proxy(Process):
    """`holdfast serve` with a configuration file of its own."""

    def __init__(self, directory, config, env=None, args=(), probe=None, ready=True, prefix=(),
                 pass_fds=()):
        self.probe = probe
        self.port = self.admin = None
        text = config
        if isinstance(config, dict):
            self.port, self.admin = free_port(), free_port()
            config = {"listen": [f"127.0.0.1:{self.port}"], "admin": f"127.0.0.1:{self.admin}",
                      **config}
            text = json.dumps(config, indent=1)  # JSON is YAML
        if text is not None:
            n = len(list(directory.glob("holdfast*.conf")))
            self.config_path = directory / f"holdfast{n}.conf"
            self.config_path.write_text(text)
            args = ["serve", "-c", str(self.config_path), *args]
        super().__init__(directory, list(args), env, prefix=prefix, pass_fds=pass_fds)
        if ready:
            self.wait_ready()

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, f"it ended at the start:\n{self.stderr}"
            return "listening on http" in self.stderr or "listening on unix" in self.stderr
        wait_for(ready, timeout=30)

    def chat(self, model="m", stream=False, **more):
        return chat(self.port, model, stream, **more)

    def status(self):
        code, _, body = http_get(self.admin, "/status", {"Accept": "application/json"})
        assert code == 200
        return json.loads(body)

    def metrics(self):
        code, _, body = http_get(self.admin, "/metrics")
        assert code == 200
        return body.decode()

    def metric(self, name, **labels):
        """The sum of a metric's samples that carry these labels."""
        total = 0.0
        for line in self.metrics().splitlines():
            m = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if m and m[1] == name:
                found = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2] or ""))
                if all(found.get(k) == v for k, v in labels.items()):
                    total += float(m[3])
        return total

    def in_flight(self):
        return self.metric("holdfast_in_flight")

    def breakers(self):
        """{(scope, target)} of those that are not closed."""
        found = re.findall(r'^holdfast_breaker_state\{target="(.*)",scope="(\w+)"\} [12]$',
                           self.metrics(), re.M)
        return {(scope, target) for target, scope in found}

    def log_lines(self):
        """The JSON objects of the log."""
        rows = []
        for line in self.stderr.splitlines():
            if line.startswith("{"):
                rows.append(json.loads(line))
        return rows

    def check_alive(self):
        assert self.process.poll() is None, f"it died:\n{self.stderr[-4000:]}"
        if self.probe:
            a = self.chat("alive-probe")
            assert a.status == 200 and a.text.startswith("probe:"), (a.status, a.body)

    def stop(self):
        """SIGTERM: exit code 0 within 20 s and no report of a sanitizer."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail("it did not stop within 20 s of SIGTERM")
        assert not REPORTS.search(self.stderr), self.stderr[-8000:]
        assert code == 0, f"exit code {code}:\n{self.stderr[-4000:]}"


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    return Certs(str(tmp_path_factory.mktemp("certs")))


@pytest.fixture
def upstream(request):
    """upstream("A", queue=[...], ...) starts a Faultd that ends with the test."""
    started = []

    def start(name="A", **options):
        if options.get("tls"):
            options.setdefault("certs", request.getfixturevalue("certs"))
        started.append(Faultd(name, **options))
        return started[-1]
    yield start
    for server in started:
        server.stop()


@pytest.fixture
def network():
    """A network of the test's own; must come first among a test's fixtures."""
    if reason := netns.why_not():
        pytest.skip(f"needs a network namespace: {reason}")
    net = netns.Network()
    yield net
    net.close()


@pytest.fixture
def connect_proxy():
    started = []

    def start(*args, **options):
        started.append(ConnectProxy(*args, **options))
        return started[-1]
    yield start
    for p in started:
        p.stop()


def provider(url, key="sk-test-key", **more):
    base = url.base_url if isinstance(url, Faultd) else url
    return {"type": "openai", "base_url": base, "api_key": key, **more}


@pytest.fixture
def holdfast(tmp_path, upstream):
    """holdfast(a, b, ...) starts the binary with one provider per upstream ("a", "b", ...) and one
    route over all of them in order; keywords replace parts of the configuration. Upstreams may be
    Faultds, URLs or ready provider mappings. holdfast(config="...") takes a text as it stands.
    hasty="a": the time limits of that target are short, so that it is soon found to be silent; the
    others keep theirs. `prefix` is put before the command.
    """
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is not there: build it first")
    started = []

    def start(*upstreams, config=None, env=None, args=(), ready=True, prefix=(), pass_fds=(),
              hasty="", **parts):
        probe = None
        if config is None and upstreams:
            probe = upstream("probe")
            names = "abcdefgh"[:len(upstreams)]
            providers = {n: u if isinstance(u, dict) else provider(u, f"sk-canary-{n}-0123456789")
                         for n, u in zip(names, upstreams)}
            config = {
                "providers": {**providers, "probe": provider(probe)},
                "routes": [{"model": "alive-probe", "targets": ["probe/p"]},
                           {"model": "*", "targets": [
                               {"target": f"{n}/model-{n}", **(HASTY if n in hasty else {})}
                               for n in names]}],
                "timeouts": TIMEOUTS | parts.pop("timeouts", {}),
                "failover": {"max_attempts": 4, "per_target": 1},
                "drain": {"delay": "10ms", "timeout": "10s"},
            }
            routes = parts.pop("routes", None)
            if routes:
                config["routes"][1:] = routes
            config["providers"] |= parts.pop("providers", {})
            config |= parts
        started.append(Proxy(tmp_path, config, env, args, probe, ready, prefix, pass_fds))
        return started[-1]
    yield start
    problems = []
    for proxy in started:
        try:
            if proxy.process.poll() is None and proxy.port:
                proxy.check_alive()
            if proxy.process.poll() is None:
                proxy.stop()
            assert not REPORTS.search(proxy.stderr), proxy.stderr[-8000:]
        except AssertionError as e:
            problems.append(str(e))
        finally:
            if proxy.process.poll() is None:
                proxy.process.kill()
                proxy.process.wait()
    assert not problems, "\n".join(problems)


@pytest.fixture
def run(tmp_path):
    """run("check", "-c", file) -> the finished Process."""
    def go(*args, env=None, cwd=None, timeout=30):
        p = Process(tmp_path, list(args), env, cwd)
        try:
            p.wait(timeout)
        except subprocess.TimeoutExpired:
            p.process.kill()
            p.process.wait()
            pytest.fail(f"holdfast {' '.join(args)} did not end:\n{p.stderr}")
        assert not REPORTS.search(p.stderr), p.stderr
        return p
    return go
