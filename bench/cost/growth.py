"""How the cost of one request and of one event grows with their number, and what a second worker brings."""
from .results import middle, names_of, number, table
from .servers import open_stream
from .workloads import CLAUDE, Cell

CONNECTIONS = (1, 8, 64, 500, 2000, 5000)
STREAMS = (100, 1000, 5000, 10000)
EVENTS_S = 10000  # of all streams together
SPARE_FILES = 200  # of a process, beside those of connections


def rivals(bench):
    return [name for name in bench.rivals() if name != "haproxy"]


def connections(bench):
    for count in CONNECTIONS:
        load = bench.answers(max(1, count // 50) if bench.short else count, "-u", count / 5000)
        load = (*load, *(() if bench.short else ("-w", 0.5 + count / 2500)))
        bench.measure_rounds([Cell(f"connections-{count}", name, bench.stage.kept_up(name, many=True),
                                   "answer", load) for name in rivals(bench)])


def files_per_stream(bench, name, count=50):
    """How many open files a stream costs a proxy, or None where we may not see them."""
    server = bench.stage.start(name)
    opened = []
    try:
        idle = server.files()
        opened = [open_stream(server.port(unit="event")) for _ in range(count)]
        busy = server.files()
    finally:
        for connection in opened:
            connection.close()
        bench.stage.stop(server)
    return None if idle is None or busy is None else max(1, round((busy - idle) / count))


def most_streams(bench):
    """How many fit: the open files that a process may have, divided by those that a stream costs."""
    most, files = STREAMS[-1], bench.stage.options.files
    for name in rivals(bench):
        per_stream = files_per_stream(bench, name)
        if per_stream and (files - SPARE_FILES) // per_stream < most:
            most = (files - SPARE_FILES) // per_stream
            bench.notes.append(f"A stream costs {name} {per_stream} open files, and a process may have "
                               f"{files:,}: {most:,} streams are the most.")
    return most


def streams(bench):
    most = most_streams(bench)
    for count in sorted({min(count, most) for count in STREAMS}):
        gap_s = count / EVENTS_S
        bench.measure_rounds([Cell(f"streams-{count}", name, bench.stage.kept_up(name, many=True), "event",
                                   bench.paced(count, gap_s, ramp_s=count / 2500, window_s=max(3, 3 * gap_s)))
                              for name in rivals(bench)])


def workers(bench):
    """On all our CPUs, which client and provider need too."""
    for workload, conns, more in (("small", 64, ()), ("body-200k", 16, ("-b", 204800))):
        cells = []
        for count in (1, 2):
            for name in rivals(bench):
                ways = [("", {})] if name == "nginx" else [("", {}), (" to Anthropic", {"targets": CLAUDE})]
                cells += [Cell(f"workers-{workload}-{count}", name + suffix,
                               bench.stage.kept_up(name, workers=count, spread=True, **how), "answer",
                               bench.answers(conns, *more), cores=bench.stage.all_cores)
                          for suffix, how in ways]
        bench.measure_rounds(cells)


ROWS = {
    "growth-connections": (connections, "CPU per answer, 1 to 5,000 connections"),
    "growth-streams": (streams, "CPU per event, 100 to 10,000 open streams, 10,000 events/s together"),
    "growth-workers": (workers, "two workers against one, on all CPUs"),
}


def series(figures, kind):
    """[(number, {name: CPU us})] of "connections" or "streams"."""
    found = [(int(w.split("-")[1]), w) for w in figures if w.startswith(f"{kind}-")]
    return [(n, {name: middle(figures, w, name, "cpu") for name in figures[w]}) for n, w in sorted(found)]


def growth_table(figures, kind, unit):
    rows = series(figures, kind)
    names = list(rows[0][1])
    return table([kind, *(f"{n} us per {unit}" for n in names), *(f"{n} / at {rows[0][0]}" for n in names)], [
        [f"{count:,}", *(number(cpu[n]) for n in names),
         *(number(cpu[n] / rows[0][1][n] if cpu[n] and rows[0][1][n] else None) for n in names)]
        for count, cpu in rows])


def workers_table(figures):
    workloads = [w for w in figures if w.startswith("workers-")]
    names = names_of(figures, workloads)
    return table(["workers", *(f"{n} /s" for n in names), *(f"{n} us per answer" for n in names)], [
        [w.removeprefix("workers-"), *(number(middle(figures, w, n, "rate"), 0) for n in names),
         *(number(middle(figures, w, n, "cpu")) for n in names)] for w in workloads])


def report(figures):
    parts = []
    if series(figures, "connections"):
        parts += ["\nCPU per answer, by connections.\n", growth_table(figures, "connections", "answer")]
    if series(figures, "streams"):
        parts += ["\nCPU per event, by open streams, 10,000 events/s together.\n",
                  growth_table(figures, "streams", "event")]
    if any(w.startswith("workers-") for w in figures):
        parts += ["\nOne and two workers; client, provider and proxy share all CPUs.\n", workers_table(figures)]
    return "\n".join(parts)
