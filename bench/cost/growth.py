"""How the cost of one request and of one event grows with their number, and what a second worker brings."""
from .results import measured, middle, names_of, number, table
from .workloads import CLAUDE, Cell

CONNECTIONS = (1, 8, 64, 500, 2000, 5000)
STREAMS = (100, 1000, 5000, 10000)


def rivals(bench):
    return [name for name in bench.rivals() if name != "haproxy"]


def connections(bench):
    for count in CONNECTIONS:
        if bench.short:
            load = bench.answers(max(1, count // 50))
        else:  # each of them asks several times
            load = ("-c", count, "-u", count / 2500, "-w", 0.3 + count / 1000, "-t", 0.6 + count / 1000)
        bench.measure_rounds([Cell(f"connections-{count}", name, bench.stage.kept_up(name, many=True),
                                   "answer", load) for name in rivals(bench)], bench.few_rounds)


def streams(bench):
    most = bench.most_streams(STREAMS[-1])
    for count in sorted({min(count, most) for count in STREAMS}):
        bench.measure_rounds([Cell(f"streams-{count}", name, bench.stage.kept_up(name, many=True), "event",
                                   bench.many(count)) for name in rivals(bench)], bench.few_rounds)


def workers(bench):
    """On all our CPUs, which client and provider need too."""
    for workload, conns, more in (("small", 64, ()), ("body-200k", 16, ("-b", 204800))):
        cells = []
        for count in (1, 2):
            for name in rivals(bench):
                ways = [(name, {})] if name == "nginx" else [(name, {}), ("to Anthropic", {"targets": CLAUDE})]
                cells += [Cell(f"workers-{workload}-{count}", column,
                               bench.stage.kept_up(name, workers=count, spread=True, **how), "answer",
                               bench.answers(conns, *more), cores=bench.stage.all_cores)
                          for column, how in ways]
        bench.measure_rounds(cells)


ROWS = {
    "growth-connections": (connections, "CPU per answer, 1 to 5,000 connections"),
    "growth-streams": (streams, "CPU per event, 100 to 10,000 open streams, 5,000 events/s together"),
    "growth-workers": (workers, "two workers against one, on all CPUs"),
}


def series(figures, kind):
    """[(number, {name: CPU us})] of "connections" or "streams"."""
    found = [(int(w.split("-")[1]), w) for w in figures if w.startswith(f"{kind}-")]
    return [(n, {name: middle(figures, w, name, "cpu") for name in figures[w]}) for n, w in sorted(found)]


def growth_table(figures, kind, unit):
    rows = series(figures, kind)
    names, first = list(rows[0][1]), rows[0][0]
    head = [kind, *(f"{n} us per {unit}" for n in names), *(f"{n} / at {first}" for n in names),
            *(f"{n} p99 ms" for n in names)]
    cells = []
    for count, cpu in rows:
        grown = [cpu[n] / rows[0][1][n] if cpu[n] and rows[0][1][n] else None for n in names]
        cells.append([f"{count:,}", *(measured(figures, f"{kind}-{count}", n, "cpu") for n in names),
                      *map(number, grown),
                      *(measured(figures, f"{kind}-{count}", n, "p99", 1, 1000) for n in names)])
    return table(head, cells)


def workers_table(figures):
    workloads = [w for w in figures if w.startswith("workers-")]
    names = names_of(figures, workloads)
    return table(["workers", *(f"{n} /s" for n in names), *(f"{n} us per answer" for n in names)], [
        [w.removeprefix("workers-"), *(measured(figures, w, n, "rate", 0) for n in names),
         *(measured(figures, w, n, "cpu") for n in names)] for w in workloads])


def report(figures):
    parts = []
    if series(figures, "connections"):
        parts += ["\nCPU per answer, by connections.\n", growth_table(figures, "connections", "answer")]
    if series(figures, "streams"):
        parts += ["\nCPU per event, by open streams, 5,000 events/s together.\n",
                  growth_table(figures, "streams", "event")]
    if any(w.startswith("workers-") for w in figures):
        parts += ["\nOne and two workers; client, provider and proxy share all CPUs.\n", workers_table(figures)]
    return "\n".join(parts)
