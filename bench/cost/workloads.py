"""What is measured, and how."""
import re
import socket
import subprocess
import time
from dataclasses import dataclass, replace
from statistics import median

from .servers import START_S, Broken, Server, ask_once, open_stream, say

LOAD_S = 240       # no measurement takes so long
SPARE_FILES = 2000  # the connections of the round before may not all be closed yet
UNSEEN_FILES = 4   # of a stream, where they cannot be counted
CLAUDE, GEMINI = ("claude/claude-sonnet-4-5",), ("gemini/gemini-2.5-flash",)


@dataclass(frozen=True)
class Cell:
    """One proxy under one load; `name` is its column."""
    workload: str
    name: str
    server: Server
    unit: str
    load: tuple
    leg: str = "plain"
    cores: str = None


class Bench:
    """Measures, and keeps what came out: figures[workload][name][metric] is a list, one value a round,
    None where a measurement failed."""

    def __init__(self, stage, rounds, short):
        self.stage, self.rounds, self.short = stage, rounds, short
        self.figures, self.failures, self.notes = {}, [], []
        self.few_rounds = (rounds + 2) // 3  # for what takes long
        self.with_holdfast = bool(stage.options.holdfast)

    # -- one measurement --

    def keep(self, workload, name, **values):
        row = self.figures.setdefault(workload, {}).setdefault(name, {})
        for metric, value in values.items():
            row.setdefault(metric, []).append(value)

    def fail(self, workload, name, why):
        say(f"{workload} {name}: FAILED {why}")
        self.failures.append(f"{workload} {name}: {why}")
        if name:
            self.figures.setdefault(workload, {}).setdefault(name, {})

    def load(self, cell):
        """Runs bench/load.c; its line as a dict of numbers."""
        pids = ",".join(map(str, cell.server.pids()))
        on = ["taskset", "-c", cell.cores] if cell.cores else []
        command = [*on, str(self.stage.tmp / "load"), *map(str, cell.load), *cell.server.options, "-p", pids,
                   str(cell.server.port(cell.leg, cell.unit))]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=LOAD_S, check=False)
        except subprocess.TimeoutExpired as e:
            raise Broken("the load did not end") from e
        if done.returncode != 0:
            raise Broken(f"{done.stdout.strip()} {done.stderr.strip()}")
        say(f"{cell.workload} {cell.name}: {done.stdout.strip()}")
        return {k: float(v) for k, v in re.findall(r"(\w+)=([\d.]+)", done.stdout)}

    def measure(self, cell):
        metrics = ("cpu", "p50", "p99", "rate", "rss")
        try:
            line = self.load(cell)
            values = [line.get(f"cpu_us_per_{cell.unit}"), line["p50_us"], line["p99_us"], line["rate"],
                      line["rss_kib"] * 1024]
        except Broken as e:
            self.fail(cell.workload, cell.name, e)
            values = [None] * len(metrics)
        self.keep(cell.workload, cell.name, **dict(zip(metrics, values)))

    def measure_rounds(self, cells, rounds=None):
        """One right after the other, each second round in the other order."""
        for i in range(rounds or self.rounds):
            for cell in cells[::-1] if i % 2 else cells:
                self.measure(cell)

    # -- loads, as options of bench/load.c --

    def window(self, warm=0.15, window=0.3):
        return ("-w", 0.05, "-t", 0.1) if self.short else ("-w", warm, "-t", window)

    def answers(self, conns, *more):
        return (*self.window(), "-c", conns, *more)

    def paced(self, streams, gap_s, ramp_s=0, window_s=2):
        """Streams that are all open before the window and end after it."""
        if self.short:
            streams, gap_s, ramp_s, window_s = streams // 20, 0.05, ramp_s / 15, 0.1
        warm_s = ramp_s + 2 * gap_s + (0.2 if self.short else 1)
        words = int((warm_s + window_s) / gap_s) + 3
        return ("-c", streams, "-e", words, "-g", int(gap_s * 1e6), "-u", ramp_s, "-w", warm_s, "-t", window_s)

    def many(self, streams):
        """Together they have 5,000 events a second, however many they are."""
        return self.paced(streams, streams / 5000, ramp_s=streams / 1000, window_s=max(2, 2 * streams / 5000))

    def most_streams(self, wanted):
        """How many fit: the open files that a process may have, divided by those that a stream costs."""
        files = self.stage.options.files
        each, name = max((self.files_per_stream(name), name) for name in ("nginx", "holdfast") if name in self.rivals())
        most = (files - SPARE_FILES) // each
        if most < wanted:
            self.notes.append(f"{wanted:,} open streams do not fit: one costs {name} {each} open files, and a process "
                              f"may have {files:,}. {most:,} were opened.")
        return min(most, wanted)

    def files_per_stream(self, name, count=50):
        server, opened = self.stage.start(name), []
        try:
            idle = server.files()
            opened = [open_stream(server.port(unit="event")) for _ in range(count)]
            busy = server.files()
        finally:
            for connection in opened:
                connection.close()
            self.stage.stop(server)
        return max(1, round((busy - idle) / count)) if busy else UNSEEN_FILES

    # -- rows that everybody can be measured by --

    def contestants(self, leg):
        """[(column, server)] in the order of the columns."""
        up = self.stage.kept_up
        found = [("direct", up("provider", spread=False)), ("nginx", up("nginx"))]
        if self.stage.options.haproxy:
            found.append(("haproxy", up("haproxy")))
        if self.with_holdfast and leg == "tls":
            found.append(("holdfast", up("holdfast", targets=("sim-tls",))))
        elif self.with_holdfast:
            found += [("holdfast", up("holdfast")), ("to Anthropic", up("holdfast", targets=CLAUDE)),
                      ("to Gemini", up("holdfast", targets=GEMINI))]
        if leg == "plain" and self.stage.options.portkey:
            found.append(("portkey", up("portkey")))
        if leg == "plain" and self.stage.options.peer:
            found.append(("peer", up("peer")))
        return found

    def everybody(self, workload, unit, load, leg="plain", without=None, rounds=None):
        # The client speaks no TLS itself: nobody in between is always the plain provider.
        cells = [Cell(workload, name, server, unit, load, "plain" if name == "direct" else leg)
                 for name, server in self.contestants(leg) if name != without]
        if leg == "tls":
            self.warm_up(cells)  # the handshakes
        self.measure_rounds(cells, rounds)

    def warm_up(self, cells):
        for cell in cells:
            self.load(replace(cell, load=("-c", 64, "-w", 0.1 if self.short else 1, "-t", 0.1)))

    def small_1(self):
        self.everybody("small-1", "answer", self.answers(1))

    def small_64(self):
        self.everybody("small-64", "answer", self.answers(64))

    def small_1_tls(self):
        self.everybody("small-1-tls", "answer", self.answers(1), "tls")

    def small_64_tls(self):
        self.everybody("small-64-tls", "answer", self.answers(64), "tls")

    def body_200k(self):
        self.everybody("body-200k", "answer", self.answers(8, "-b", 204800))

    def stream_fast(self):
        self.everybody("stream-fast", "event", (*self.window(0.2, 0.5), "-c", 64, "-e", 100))

    def stream_paced(self):
        # Portkey does not keep up with so many events a second.
        self.everybody("stream-paced", "event", self.paced(200, 0.05, window_s=1.5), without="portkey",
                       rounds=self.few_rounds)

    # -- rows of a shape of their own --

    def rivals(self):
        """Those that are compared where only few can be."""
        return ["nginx", "haproxy"][:2 if self.stage.options.haproxy else 1] + ["holdfast"] * self.with_holdfast

    def stream_many(self):
        """The same number of events a second in 500 and in 5,000 streams."""
        cells, most = [], self.most_streams(5000)
        for streams in (500, 5000):
            load = self.many(min(streams, most))
            cells += [Cell(f"stream-{streams}", name, self.stage.kept_up(name, many=True), "event", load)
                      for name in ("nginx", "holdfast") if name in self.rivals()]
        self.measure_rounds(cells, self.few_rounds)

    def dead_target(self):
        """A refused target with its breaker open in front of a healthy one, against that alone."""
        if not self.with_holdfast:
            return
        healthy = self.stage.kept_up("holdfast")
        dead = self.stage.kept_up("holdfast", targets=("dead/gpt-4o-mini", "sim"))
        for _ in range(20):
            ask_once(dead.port())  # its breaker opens
        cells = [Cell("dead-target", name, server, "answer", self.answers(64))
                 for name, server in (("healthy", healthy), ("dead", dead))]
        self.warm_up(cells)  # a target that others fall over to gets only a few requests at first
        self.measure_rounds(cells, 1 if self.short else 3 * self.rounds)

    def memory(self):
        """Of a new process, per slow stream."""
        for leg in ("plain", "tls"):
            for name in self.rivals():
                self.alone(f"memory-{leg}", name, self.stream_memory, leg)

    def alone(self, workload, name, measure, *more):
        """Measures a process that is new, and stops it."""
        server = None
        try:
            tls = name == "holdfast" and "tls" in more
            server = self.stage.start(name, **({"targets": ("sim-tls",)} if tls else {}))
            ask_once(server.port(*more))
            values = measure(server, workload, name, *more)
        except (Broken, OSError) as e:
            self.fail(workload, name, e)
            return
        finally:
            if server:
                self.stage.stop(server)
        self.keep(workload, name, **values)
        say(f"{workload} {name}: " + ", ".join(f"{k} {v:.0f}" for k, v in values.items()))

    def stream_memory(self, server, workload, name, leg):
        before = server.rss_bytes()
        load = self.paced(1000, 0.5, ramp_s=10 if leg == "tls" else 2, window_s=1)
        line = self.load(Cell(workload, name, server, "event", load, leg))
        return {"stream_bytes": (line["rss_kib"] * 1024 - before) / line["conns"]}

    def idle(self):
        """Of a new process, with nothing to do and with connections that have nothing to do."""
        for name in self.rivals():
            for workload in ("idle-used", "idle-fresh"):
                self.alone(workload, name, self.idle_memory)

    def idle_memory(self, server, workload, _name):
        count = 50 if self.short else 2000
        time.sleep(0.1 if self.short else 1)
        before = server.rss_bytes()
        conns = []
        try:
            for _ in range(count):
                conns.append(ask_once(server.port()) if workload == "idle-used" else connect(server.port()))
            time.sleep(0.1 if self.short else 1)
            return {"rss": before, "conn_bytes": (server.rss_bytes() - before) / count}
        finally:
            for conn in conns:
                conn.close()

    def start(self):
        """From the start of a process to its first answer."""
        for _ in range(1 if self.short else 11):
            for name in self.rivals():
                server = self.stage.start(name, wait=False)
                self.keep("start", name, ms=1000 * first_answer(server))
                self.stage.stop(server)
        for name, row in self.figures["start"].items():
            say(f"start {name}: {median(row['ms']):.1f} ms")


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def first_answer(server):
    """Seconds from the start of the server's process."""
    while time.perf_counter() - server.started < START_S:
        try:
            ask_once(server.port()).close()
            return time.perf_counter() - server.started
        except ConnectionError:
            time.sleep(0.0002)
    raise Broken(f"{server.name} does not answer")


ROWS = {
    "small-1": (Bench.small_1, "1 KB request, 1 KB JSON answer, 1 connection"),
    "small-64": (Bench.small_64, "the same, 64 connections"),
    "small-1-tls": (Bench.small_1_tls, "small-1, the provider speaks TLS"),
    "small-64-tls": (Bench.small_64_tls, "small-64, the provider speaks TLS"),
    "body-200k": (Bench.body_200k, "200 KB request of an agent, 1 KB answer, 8 connections"),
    "stream-fast": (Bench.stream_fast, "64 streams at a time, 100 events each, no gap"),
    "stream-paced": (Bench.stream_paced, "200 open streams, 20 events/s each"),
    "stream-many": (Bench.stream_many, "500 and 5,000 open streams, 5,000 events/s together"),
    "memory": (Bench.memory, "1,000 streams, 2 events/s each, plain and TLS provider"),
    "idle": (Bench.idle, "nothing to do; 2,000 idle connections, used once or never"),
    "start": (Bench.start, "from the start of the process to its first answer"),
    "dead-target": (Bench.dead_target, "a dead target with its breaker open, in front of a healthy one"),
}
