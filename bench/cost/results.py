"""What the figures say: medians, ratios, the targets, and the tables."""
from dataclasses import dataclass
from statistics import median, quantiles

from .workloads import ROWS


def values(figures, workload, name, metric):
    return [v for v in figures.get(workload, {}).get(name, {}).get(metric, []) if v is not None]


def middle(figures, workload, name, metric):
    found = values(figures, workload, name, metric)
    return median(found) if found else None


def ratios(figures, metric, above, below):
    """One a round: what was measured side by side is compared, so that a machine that gets slower
    meanwhile does not count. `above`, `below`: (workload, name)."""
    a, b = (figures.get(w, {}).get(n, {}).get(metric, []) for w, n in (above, below))
    return [x / y for x, y in zip(a, b) if x is not None and y]


def ratio(figures, metric, above, below):
    found = ratios(figures, metric, above, below)
    return median(found) if found else None


@dataclass(frozen=True)
class Target:
    what: str
    unit: str
    must: float
    aim: float
    value: object  # of the figures; None where a measurement failed
    workload: str
    name: str = "holdfast"

    def verdict(self, value):
        if value is None:
            return "FAILED"
        return "aim" if value <= self.aim else "must" if value <= self.must else "NO"


def to_nginx(what, must, aim, workload, name="holdfast", metric="cpu"):
    return Target(what, "x nginx", must, aim, lambda f: ratio(f, metric, (workload, name), (workload, "nginx")),
                  workload, name)


def own(what, must, aim, above, below):
    return Target(what, "x own", must, aim, lambda f: ratio(f, "cpu", above, below), *above)


def plain(what, unit, must, aim, workload, metric, divisor=1):
    def value(figures):
        found = middle(figures, workload, "holdfast", metric)
        return None if found is None else found / divisor
    return Target(what, unit, must, aim, value, workload)


def beyond_nginx(what, must, aim, workload, metric):
    """Microseconds more than nginx, round by round."""
    def value(figures):
        a, b = (figures[workload].get(n, {}).get(metric, []) for n in ("holdfast", "nginx"))
        found = [x - y for x, y in zip(a, b) if x is not None and y is not None]
        return median(found) if found else None
    return Target(what, "us", must, aim, value, workload)


TRANSLATED = ("to Anthropic", "to Gemini")
TARGETS = [
    to_nginx("small pass-through, 1 connection", 1.1, 0.75, "small-1"),
    to_nginx("small pass-through, 64 connections", 1.1, 0.75, "small-64"),
    to_nginx("the same, TLS provider, 1 connection", 1.1, 0.75, "small-1-tls"),
    to_nginx("the same, TLS provider, 64 connections", 1.1, 0.75, "small-64-tls"),
    *(to_nginx(f"small, translated {to}, {what}", 2.2, 1.3, workload, to) for to in TRANSLATED
      for what, workload in (("1 connection", "small-1"), ("64 connections", "small-64"))),
    to_nginx("200 KB, pass-through", 2, 1.1, "body-200k"),
    *(to_nginx(f"200 KB, translated {to}", 8, 4, "body-200k", to) for to in TRANSLATED),
    to_nginx("streamed event, fast, pass-through", 1.2, 0.95, "stream-fast"),
    to_nginx("streamed event, paced, pass-through", 1.2, 0.95, "stream-paced"),
    *(to_nginx(f"streamed event, {pace}, translated {to}", 2, 1.4, f"stream-{pace}", to) for to in TRANSLATED
      for pace in ("fast", "paced")),
    own("event with 5,000 open streams against 500", 1.3, 1.1, ("stream-5000", "holdfast"),
        ("stream-500", "holdfast")),
    to_nginx("memory per slow stream, plain provider", 1.7, 0.7, "memory-plain", metric="stream_bytes"),
    to_nginx("memory per slow stream, TLS provider", 1.4, 0.8, "memory-tls", metric="stream_bytes"),
    beyond_nginx("p50 at 1 connection, beyond nginx's", 10, 0, "small-1", "p50"),
    plain("idle memory", "MB", 14, 8, "idle-used", "rss", 1e6),
    plain("memory per idle connection, used once", "KB", 2, 0.7, "idle-used", "conn_bytes", 1e3),
    plain("memory per idle connection, never used", "KB", 2, 0.7, "idle-fresh", "conn_bytes", 1e3),
    plain("start to first answer", "ms", 40, 15, "start", "ms"),
    own("dead target in front, breaker open", 1.05, 1.0, ("dead-target", "dead"), ("dead-target", "healthy")),
]


def judged(figures):
    """[(target, value, verdict)] of those that were measured, or should have been."""
    measured = [(t, t.value(figures)) for t in TARGETS if t.name in figures.get(t.workload, {})]
    return [(t, v, t.verdict(v)) for t, v in measured]


# -- tables, as Markdown --

def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def measured(figures, workload, name, metric, digits=2, divisor=1):
    """The median, as a cell of a table; it says where a round failed."""
    row = figures.get(workload, {}).get(name)
    if row is None:
        return "-"
    found = middle(figures, workload, name, metric)
    failed = found is None or None in row[metric]
    return ("FAILED " * failed + ("" if found is None else f"{found / divisor:.{digits}f}")).strip()


def names_of(figures, workloads):
    """The columns: all proxies that were measured, in that order."""
    names = dict.fromkeys(n for w in workloads for n in figures.get(w, {}))
    return [n for n in names if n != "direct"]


def spread(figures, workload, names):
    """How far the middle half of the rounds' ratios to nginx reaches, of the worst, in percent."""
    worst = 0
    for name in names:
        found = ratios(figures, "cpu", (workload, name), (workload, "nginx"))
        if len(found) > 1:
            low, middle_one, high = quantiles(found, method="inclusive")
            worst = max(worst, (high - low) / middle_one)
    return f"{100 * worst:.0f} %"


COST = ["small-1", "small-64", "small-1-tls", "small-64-tls", "body-200k", "stream-fast", "stream-paced",
        "stream-500", "stream-5000"]
DELAY = ["small-1", "small-1-tls", "stream-paced"]
WORDS = {"stream-500": "500 open streams, 5,000 events/s together",
         "stream-5000": "5,000 open streams, 5,000 events/s together"}


def words(workload):
    return f"{workload}: {WORDS.get(workload) or ROWS[workload][1]}"


def cpu_table(figures):
    workloads = [w for w in COST if w in figures]
    names = names_of(figures, workloads)
    others = [n for n in names if n != "nginx"]
    rows = []
    for w in workloads:
        cells = [measured(figures, w, n, "cpu") for n in names]
        cells += [number(ratio(figures, "cpu", (w, n), (w, "nginx"))) for n in others]
        rows.append([words(w), *cells, spread(figures, w, others), "event" if "stream" in w else "answer"])
    return table(["workload", *(f"{n} us" for n in names), *(f"{n} / nginx" for n in others), "spread", "per"],
                 rows)


def delay_table(figures):
    """Beyond what it takes without a proxy."""
    workloads = [w for w in DELAY if w in figures]
    names, rows = names_of(figures, workloads), []
    for w in workloads:
        row = [w]
        for metric in ("p50", "p99"):
            direct = middle(figures, w, "direct", metric)
            row.append(number(direct, 1))
            for name in names:
                own = middle(figures, w, name, metric)
                row.append(number(None if own is None or direct is None else own - direct, 1))
        rows.append(row)
    return table(["workload", *(h for p in ("p50", "p99") for h in (f"direct {p} us", *(
        f"{n} +{p}" for n in names)))], rows)


def rate_table(figures):
    workloads = [w for w in COST if w in figures and "stream-5" not in w and w != "stream-paced"]
    names = ["direct", *names_of(figures, workloads)]
    return table(["workload", *(f"{n} /s" for n in names)],
                 [[w, *(measured(figures, w, n, "rate", 0) for n in names)] for w in workloads])


def small_table(figures):
    """Memory and start."""
    lines = (("memory-plain", "stream_bytes", 1e3, "KB per stream: 1,000 streams, 2 events/s each"),
             ("memory-tls", "stream_bytes", 1e3, "the same, the provider speaks TLS"),
             ("idle-used", "rss", 1e6, "MB with nothing to do, after one answer"),
             ("idle-used", "conn_bytes", 1e3, "KB per idle connection, used once"),
             ("idle-fresh", "conn_bytes", 1e3, "KB per idle connection, never used"),
             ("start", "ms", 1, "ms from the start of the process to the first answer"))
    lines = [line for line in lines if line[0] in figures]
    names = names_of(figures, [line[0] for line in lines])
    return table(["", *names], [[what, *(measured(figures, w, n, metric, 2, divisor) for n in names)]
                                for w, metric, divisor, what in lines])


def target_table(figures):
    return table(["target", "measured", "must", "aim", "holds"], [
        [t.what, f"{number(v)} {t.unit}", number(t.must), number(t.aim), verdict]
        for t, v, verdict in judged(figures)])


def report(figures):
    """All tables that there are figures for."""
    parts = []
    if any(w in figures for w in COST):
        parts += ["CPU time of the proxy.\n", cpu_table(figures)]
    if any(w in figures for w in DELAY):
        parts += ["\nDelay, and what each adds to it.\n", delay_table(figures)]
    if any(w in figures for w in COST[:6]):
        parts += ["\nWhat the one CPU carried together with client and provider.\n", rate_table(figures)]
    if any(w in figures for w in ("memory-plain", "idle-used", "start")):
        parts += ["\nMemory and start.\n", small_table(figures)]
    if judged(figures):
        parts += ["\nHoldfast's targets. \"must\" holds, \"aim\" is reached too, NO neither.\n",
                  target_table(figures)]
    return "\n".join(parts)


# -- README.md's two tables --

BRIEF = {"small-1": "1 KB request and answer, one at a time", "small-64": "the same, 64 connections",
         "small-1-tls": "one at a time, provider with TLS", "small-64-tls": "64 connections, provider with TLS",
         "body-200k": "200 KB request of an agent", "stream-fast": "event of a fast stream",
         "stream-paced": "event of 200 paced streams", "stream-5000": "event of 5,000 paced streams"}
PEOPLE = {"haproxy": "haproxy", "holdfast": "Holdfast", "to Anthropic": "to Anthropic", "to Gemini": "to Gemini",
          "portkey": "Portkey"}


def brief(figures):
    """CPU time as ratios, and what else one asks first."""
    rows = []
    for workload in (w for w in BRIEF if w in figures):
        found = [ratio(figures, "cpu", (workload, name), (workload, "nginx")) for name in PEOPLE]
        rows.append([BRIEF[workload], measured(figures, workload, "nginx", "cpu", 1) + " us",
                     *("" if r is None else f"{r:.{2 if r < 20 else 0}f} x" for r in found)])
    parts = [table(["CPU time", "nginx", *PEOPLE.values()], rows)]

    lines = (("idle-used", "rss", "memory with nothing to do", "MB", 1e6, 1),
             ("idle-used", "conn_bytes", "memory of an idle connection", "KB", 1e3, 1),
             ("memory-plain", "stream_bytes", "memory of an open stream", "KB", 1e3, 1),
             ("memory-tls", "stream_bytes", "the same, provider with TLS", "KB", 1e3, 1),
             ("start", "ms", "start to first answer", "ms", 1, 0))
    names = ("nginx", "haproxy", "holdfast")
    direct = middle(figures, "small-1", "direct", "p50")
    own = [middle(figures, "small-1", name, "p50") for name in names]
    rows = [["added to a request, median", *("-" if None in (p, direct) else f"{p - direct:.0f} us" for p in own)]]
    for w, metric, what, unit, divisor, digits in lines:
        cells = [measured(figures, w, name, metric, digits, divisor) for name in names]
        rows.append([what, *(cell if cell == "-" else f"{cell} {unit}" for cell in cells)])
    return "\n\n".join([*parts, table(["", "nginx", "haproxy", "Holdfast"], rows)])
