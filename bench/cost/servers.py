"""What is started for a measurement: the provider, and the proxies before it.

Every server is a session of its own, known by its first process, and gets SIGTERM from the kernel
when this program ends in whatever way. All share one CPU, which they inherit from this program; with
`spread` they may use all that we may.
"""
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 20
STOP = ((signal.SIGTERM, 0.1), (signal.SIGTERM, 3), (signal.SIGKILL, 3))  # a second one ends holdfast at once
FEW = 4096  # connections for nginx and haproxy, which reserve memory for them
# Where node's packages are put, with versions that work together: later ones of hono break its streams.
PORTKEY = ROOT / "build/bench-peers/portkey"
PORTKEY_START = "node_modules/@portkey-ai/gateway/build/start-server.js"
PORTKEY_PACKAGE = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    "overrides": {"hono": "4.9.7", "@hono/node-server": "1.13.5", "@hono/node-ws": "1.2.0"},
}


class Broken(Exception):
    """Something could not be built, started or measured."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def is_open(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


_given = set()


def free_port():
    """One of 127.0.0.1 that nobody listens on, below those the kernel gives to clients; another
    each time."""
    while True:
        port = random.randint(18000, 25999)
        if port not in _given and not is_open(port):
            _given.add(port)
            return port


def ask(port, text="How late is it?", stream=False):
    """Asks in a new connection. Returns it and its answer, whose body is not read yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "stream": stream}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise Broken(f"127.0.0.1:{port} answered {answer.status}: {answer.read(200)!r}")
    return connection, answer


def ask_once(port):
    """One small request. Returns its connection, still open."""
    connection, answer = ask(port)
    answer.read()
    return connection


def open_stream(port):
    """A stream that lasts; its first event has come."""
    connection, answer = ask(port, "sim:events=6000,gap_us=10000;", stream=True)
    answer.readline()
    return connection


class Server:
    """A command, and the ports it listens on: {(leg, unit): port}, leg "plain" or "tls" towards the
    provider, unit "answer" or "event"."""

    def __init__(self, name, command, ports, log=os.devnull, env=None, cores=None, options=(), wait=True):
        self.name, self.ports, self.options = name, ports, list(options)
        self.log = Path(log)
        on = ["taskset", "-c", cores] if cores else []
        with open(log, "wb") as out:
            self.started = time.perf_counter()
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *on, *command], env=env,
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            start_new_session=True)
        if wait:
            self.wait()

    def port(self, leg="plain", unit="answer"):
        return self.ports.get((leg, unit)) or self.ports[leg, "answer"]

    def wait(self):
        until = time.monotonic() + START_S
        while not all(map(is_open, self.ports.values())):
            if self.process.poll() is not None or time.monotonic() > until:
                said = self.log.read_text("utf-8", "replace")[-500:] if self.log.is_file() else ""
                self.stop()
                raise Broken(f"{self.name} does not listen on {sorted(self.ports.values())}: {said}")
            time.sleep(0.02)

    def pids(self):
        """All processes of its session, now."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()  # state ppid pgrp session ...
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:
                found.append(int(stat.parent.name))
        return found

    def rss_bytes(self):
        """Of all its processes together."""
        pages = 0
        for pid in self.pids():
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")

    def files(self):
        """How many its processes have open. 0 where we may not see it: holdfast lets nobody but root."""
        try:
            return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())
        except OSError:
            return 0

    def stop(self):
        for sig, seconds in STOP:
            try:
                os.killpg(self.process.pid, sig)
            except ProcessLookupError:
                break
            until = time.monotonic() + seconds
            while self.pids() and time.monotonic() < until:
                self.process.poll()
                time.sleep(0.01)
        self.process.wait()


NGINX = """\
{user}daemon off;
worker_processes {workers};
worker_rlimit_nofile {files};
pid {dir}/pid;
error_log {dir}/error.log error;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    upstream plain {{
        server 127.0.0.1:{provider[plain]};
        keepalive {connections};
        keepalive_requests 1000000000;
    }}
    upstream tls {{
        server 127.0.0.1:{provider[tls]};
        keepalive {connections};
        keepalive_requests 1000000000;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_ssl_session_reuse on;
{servers}}}
"""
# Buffered answers cost it less, and a stream must not be buffered: it is at its best in both.
NGINX_SERVER = """\
    server {{
        listen 127.0.0.1:{port} backlog=4096{reuseport};
        location / {{ proxy_pass {scheme}://{leg}; proxy_buffering {buffering}; }}
    }}
"""
HAPROXY = """\
global
    maxconn {connections}
    nbthread 1
defaults
    mode http
    http-reuse always
    option http-no-delay
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    maxconn {connections}
frontend plain
    bind 127.0.0.1:{port[plain]} backlog 4096
    default_backend plain
frontend tls
    bind 127.0.0.1:{port[tls]} backlog 4096
    default_backend tls
backend plain
    server provider 127.0.0.1:{provider[plain]} pool-max-conn {connections}
backend tls
    server provider 127.0.0.1:{provider[tls]} pool-max-conn {connections} ssl verify none
"""
HOLDFAST = """\
listen: [127.0.0.1:{port}]
admin: 127.0.0.1:{admin}
{more}providers:
{providers}routes:
  - model: "*"
    targets: [{targets}]
"""
HOLDFAST_PROVIDERS = {
    "sim": 'type: openai, base_url: "http://127.0.0.1:{provider[plain]}/v1"',
    "sim-tls": 'type: openai, base_url: "https://127.0.0.1:{provider[tls]}/v1", ca: "{cert}"',
    "claude": 'type: anthropic, base_url: "http://127.0.0.1:{provider[plain]}"',
    "gemini": 'type: gemini, base_url: "http://127.0.0.1:{provider[plain]}"',
    "dead": 'type: openai, base_url: "http://127.0.0.1:{dead}/v1"',  # nobody listens there
}


class Stage:
    """Everything that is up, in a folder of its own. Leaving it stops all."""

    def __init__(self, tmp, options):
        self.tmp, self.options = Path(tmp), options
        self.all_cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        self.servers, self.kept = [], {}
        os.sched_setaffinity(0, {options.core})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.stop()

    def start(self, kind, **how):
        """A new one of its kind: provider, nginx, haproxy, holdfast, portkey or peer."""
        server = getattr(self, f"_{kind}")(**how)
        self.servers.append(server)
        return server

    def kept_up(self, kind, **how):
        """One that stays up until the end, so that it is always the same process."""
        key = kind, *sorted(how.items())
        if key not in self.kept:
            self.kept[key] = self.start(kind, **how)
        return self.kept[key]

    def stop(self, server):
        server.stop()
        self.servers.remove(server)

    def folder(self, name):
        path = self.tmp / f"{name}-{len(list(self.tmp.glob(f'{name}-*')))}"
        path.mkdir()
        return path

    def certificate(self):
        cert, key = self.tmp / "cert.pem", self.tmp / "key.pem"
        if not cert.exists():
            run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-days", "30", "-subj", "/CN=localhost", "-addext",
                 "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", cert])
        return cert, key

    def cores(self, spread):
        return self.all_cores if spread else None

    def provider_ports(self, spread):
        ports = self.kept_up("provider", spread=spread).ports
        return {leg: port for (leg, _), port in ports.items()}

    def _provider(self, spread=False):
        fixed = None if spread else self.options.provider_port
        plain, tls, log = fixed or free_port(), free_port(), self.tmp / f"provider-{spread}.log"
        command = [self.tmp / "provider", plain, tls, *self.certificate()]
        return Server("provider", list(map(str, command)),
                      {("plain", "answer"): plain, ("tls", "answer"): tls}, log, cores=self.cores(spread))

    def _nginx(self, many=False, workers=1, spread=False, wait=True):
        connections = self.options.files if many else FEW
        folder, servers, ports = self.folder("nginx"), "", {}
        for leg in ("plain", "tls"):
            for unit in ("answer", "event"):
                ports[leg, unit] = free_port()
                servers += NGINX_SERVER.format(
                    port=ports[leg, unit], leg=leg, scheme="https" if leg == "tls" else "http",
                    buffering="on" if unit == "answer" else "off",
                    reuseport=" reuseport" if workers > 1 else "")
        user = "" if os.geteuid() else "user root root;\n"  # its worker keeps our user: it writes where we can
        conf = folder / "nginx.conf"
        conf.write_text(NGINX.format(user=user, workers=workers, files=self.options.files, dir=folder,
                                     connections=connections, provider=self.provider_ports(spread),
                                     servers=servers))
        return Server("nginx", ["nginx", "-e", str(folder / "error.log"), "-c", str(conf)], ports,
                      folder / "output.log", cores=self.cores(spread), wait=wait)

    def _haproxy(self, many=False, wait=True):
        connections = (self.options.files - 100) // 2 if many else FEW
        folder, port = self.folder("haproxy"), {"plain": free_port(), "tls": free_port()}
        conf = folder / "haproxy.cfg"
        conf.write_text(HAPROXY.format(connections=connections, port=port,
                                       provider=self.provider_ports(False)))
        return Server("haproxy", ["haproxy", "-db", "-f", str(conf)],
                      {(leg, "answer"): p for leg, p in port.items()}, folder / "output.log", wait=wait)

    def _holdfast(self, targets=("sim",), many=False, workers=None, spread=False, wait=True):
        del many  # it needs no telling
        folder, port, used = self.folder("holdfast"), free_port(), [t.split("/")[0] for t in targets]
        conf = folder / "holdfast.yaml"
        env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        place = {"provider": self.provider_ports(spread), "dead": free_port(), "cert": self.certificate()[0]}
        providers = [HOLDFAST_PROVIDERS[name].format(**place) for name in used]
        conf.write_text(HOLDFAST.format(
            port=port, admin=free_port(), targets=", ".join(targets),
            more=f"workers: {workers}\n" if workers else "",
            providers="".join(f"  {name}: {{{p}, api_key: bench}}\n" for name, p in zip(used, providers))))
        conf.chmod(0o600)
        run([self.options.holdfast, "check", "-c", conf], env=env)
        # What the log says is thrown away, but writing it is part of what is measured.
        options = ["-l"] if {"claude", "gemini"} & set(used) else []
        return Server("holdfast", [self.options.holdfast, "-c", str(conf)],
                      {(leg, "answer"): port for leg in ("plain", "tls")}, env=env,
                      cores=self.cores(spread), options=options, wait=wait)

    def _portkey(self):
        install_portkey()
        port, upstream = free_port(), self.provider_ports(False)["plain"]
        return self.warmed_up(Server(
            "portkey", ["node", str(PORTKEY / PORTKEY_START), "--headless", f"--port={port}"],
            {("plain", "answer"): port}, self.tmp / "portkey.log", env={**os.environ, "NODE_ENV": "production"},
            options=["-l", "-H", "x-portkey-provider: openai",
                     "-H", f"x-portkey-custom-host: http://127.0.0.1:{upstream}/v1"]))

    def _peer(self):
        upstream = self.provider_ports(False)["plain"]
        return self.warmed_up(Server(
            "peer", ["bash", "-c", self.options.peer], {("plain", "answer"): self.options.peer_port},
            self.tmp / "peer.log", env={**os.environ, "UPSTREAM_PORT": str(upstream)}, options=["-l"]))

    def warmed_up(self, server):
        """What compiles its code while it runs is measured after that. Wrong answers show later."""
        say(f"{server.name} warms up")
        subprocess.run([self.tmp / "load", *server.options, "-c", "16", "-n", "3000", "-t", "0.1" if
                        self.options.short else "20", str(server.port())], capture_output=True, check=False)
        return server


def run(command, **how):
    """Runs a command that must succeed."""
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **how)
    if done.returncode != 0:
        raise Broken(f"{Path(command[0]).name} failed: {done.stdout[-2000:]}")
    return done.stdout


def install_portkey():
    if (PORTKEY / PORTKEY_START).exists():
        return
    if not shutil.which("npm"):
        raise Broken("--portkey: npm is not installed")
    say("npm installs portkey")
    PORTKEY.mkdir(parents=True, exist_ok=True)
    (PORTKEY / "package.json").write_text(json.dumps(PORTKEY_PACKAGE))
    run(["npm", "install", "--prefix", PORTKEY, "--no-audit", "--no-fund", "--no-package-lock"], timeout=600)
