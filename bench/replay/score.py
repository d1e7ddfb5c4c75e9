"""What a run is worth: figures from the clients' records, the providers' calls and the metrics."""
from collections import Counter
from dataclasses import dataclass, field

from .scripts import make_requests

PROMPT_S = 1.0   # a prompt answer's first output comes at most this much after the slowest hundredth
                 # of those without faults
WINDOW_ASKS = 9  # requests that a window needs at least, so that one of them is not 90 %
STEP_S = 0.25    # between the windows that are looked at
NEVER = "never"
WAIT_S = 10      # for a free place, where capacity is scarce. Waiting until the end of the shortage
                 # would help only because the replay is so short
CALL_LESS = {"refused", "dns", "connect_timeout", "tls"}  # attempts that no provider can count


@dataclass
class Leg:
    """One way to ask (through holdfast, straight), summed over its instances."""
    records: list = field(default_factory=list)
    calls: list = field(default_factory=list)
    attempts: Counter = None  # (provider, outcome) by holdfast's own metrics


@dataclass
class Score:
    """One row of the table. Seconds, or None where a figure means nothing in this replay."""
    points: float           # of 100, see points
    offered: int
    good: int
    offline: int
    goodput: float          # % of the requests with a whole and right answer in time
    possible: float         # % that the capacity allows for
    of_possible: float
    by: dict                # who gave how many answers; failed, hang, ... for the rest
    p50_s: float
    p99_s: float            # of the answered ones, from arrival to the last byte
    added_p99_s: float      # compared with the run without faults
    worst_first_s: float    # the longest wait for a first output that came in the end
    wasted: float           # calls that gave no answer to anybody, per good answer
    fail_over_s: object     # see fail_over
    back_s: object          # see back
    hangs: int
    truncated: int
    wrong: int
    sdk_retries: int
    calls: dict             # provider: outcome: number
    books: list             # differences between the metrics and the providers' own count
    seconds: dict           # for the plot: second of arrival: who answered (promptly): number


def quantile(values, q):
    """The value at a share of the sorted row; None of nothing."""
    row = sorted(values)
    return row[min(len(row) - 1, int(q * len(row)))] if row else None


def counts(pairs):
    """{first: {second: number}} of pairs."""
    found = {}
    for a, b in sorted(pairs):
        found.setdefault(a, {}).setdefault(b, 0)
        found[a][b] += 1
    return found


def prompt_limits(calm):
    """{streamed: longest wait for a first output that still is prompt}, learned without faults."""
    return {stream: (quantile([r.first_s for r in calm.records
                               if r.answered and r.request.stream == stream], 0.99) or 3) + PROMPT_S
            for stream in (True, False)}


def is_prompt(record, limits):
    return record.answered and record.first_s <= limits[record.request.stream]


def _windows(records, start, end, least_s, rate):
    """[(offset from the start, the requests that arrived in the window)] until the end."""
    size = max(least_s, WINDOW_ASKS / rate)
    for i in range(max(1, int((end - start - size) / STEP_S) + 1)):
        t = start + i * STEP_S
        yield t - start, [r for r in records if t <= r.request.at < t + size]


def fail_over(records, limits, starts, end, rate):
    """Seconds from the moment it got worse until 90 % of those who ask are answered promptly; of
    several moments the worst. Who was answered because the outage was over does not count."""
    worst = None
    for start, until in zip(starts, [*starts[1:], end]):
        for offset, asked in _windows(records, start, until, 1, rate):
            prompt = sum(is_prompt(r, limits) and r.request.at + r.first_s < end for r in asked)
            if asked and prompt >= 0.9 * len(asked):
                worst = max(worst or 0.0, offset)
                break
        else:
            return NEVER
    return worst


def back(records, heal, end, rate):
    """Seconds from the recovery until 95 % of the answers are the primary's again."""
    if not heal:
        return None
    for offset, asked in _windows(records, heal, end, 2, rate):
        answered = [r for r in asked if r.answered]
        if answered and sum(r.by == "P" for r in answered) >= 0.95 * len(asked):
            return offset
    return NEVER


def possible(story, requests):
    """How many could be answered by somebody who knows what is free at any moment: a fluid model
    with a queue in which nobody waits longer than WAIT_S."""
    if story.script.offline:
        return len(requests)
    mean = sum(r.seconds for r in requests) / len(requests)
    arrivals, waiting, served, credit, t, step = iter([*requests, None]), [], 0, 0.0, 0.0, 0.1
    r = next(arrivals)
    while r or waiting:
        t += step
        while r and r.at < t:
            waiting.append(r)
            r = next(arrivals)
        waiting = [w for w in waiting if w.at + WAIT_S >= t]
        free = sum(story.answers_per_s(name, t, mean) for name in story.capacity)
        credit = min(credit + free * step, max(1.0, free))
        n = min(int(credit), len(waiting))
        served, credit, waiting = served + n, credit - n, waiting[n:]
    return served


def books(leg):
    """Where holdfast's count of attempts and the providers' count of calls differ, but for what
    must differ: a client may leave before its call was sent, and a request whose kept connection
    breaks before any answer is sent anew as the same attempt."""
    if leg.attempts is None:
        return []
    attempts, unsent = Counter(), Counter()
    for (who, outcome), n in leg.attempts.items():
        if outcome not in CALL_LESS:
            attempts[who] += n
        if outcome == "client_gone":
            unsent[who] += n
    calls = Counter(c.who for c in leg.calls)
    calls["notice"] = sum(r.outcome == "offline" for r in leg.records)  # answers inside the process
    resent = Counter(c.who for c in leg.calls if c.outcome == "reset" and c.reused)
    return [f"{who}: {attempts[who]} attempts, {calls[who]} calls" for who in sorted(attempts | calls)
            if not attempts[who] - unsent[who] <= calls[who] <= attempts[who] + resent[who]]


def points(s):
    """Everything in one number, for comparing versions: half of it is goodput; one hang, one cut
    answer said to be whole, or one wrong byte is nothing at all."""
    def short(value, worst):
        """1 where there is none of a bad thing, 0 from the worst on."""
        return 0 if value == NEVER else 1 - min(1, max(0, (value or 0) / worst))
    if s.hangs or s.truncated or s.wrong or not s.good:
        return 0
    return (50 * s.goodput / 100 + 15 * short(s.added_p99_s, 30) + 15 * short(s.wasted, 1)
            + 10 * short(s.fail_over_s, 30) + 10 * short(s.back_s, 60))


def score_of(script, stories, leg, calm, limits):
    """The row of one leg; `calm` is the same without faults."""
    records = sorted(leg.records, key=lambda r: r.request.at)
    rate = script.rate * script.instances
    outcomes = Counter(r.outcome for r in records)
    good, answered = outcomes["good"], outcomes["good"] + outcomes["offline"]
    n_all = len(records)
    best = sum(possible(s, make_requests(script, s.seed)) for s in stories)
    took = [r.took_s for r in records if r.answered]
    calm_p99 = quantile([r.took_s for r in calm.records if r.answered], 0.99)
    refused = sum(r.refused for r in records) if leg.attempts is None else \
        sum(n for (_, outcome), n in leg.attempts.items() if outcome in CALL_LESS)
    row = Score(
        points=0, offered=n_all, good=good, offline=outcomes["offline"],
        goodput=100 * answered / n_all,
        possible=100 * best / n_all, of_possible=100 * answered / best,
        by=dict(Counter(r.by or r.outcome for r in records)),
        p50_s=quantile(took, 0.5), p99_s=quantile(took, 0.99),
        added_p99_s=quantile(took, 0.99) - calm_p99 if took else None,
        worst_first_s=max((r.first_s for r in records if r.answered), default=None),
        wasted=(len(leg.calls) + refused - good) / good if good else None,
        fail_over_s=fail_over(records, limits, script.faults, script.heal or script.seconds, rate),
        back_s=back(records, script.returns and script.heal, script.seconds, rate),
        hangs=outcomes["hang"], truncated=outcomes["truncated"], wrong=outcomes["wrong"],
        sdk_retries=sum(r.tries - 1 for r in records),
        calls=counts((c.who, c.outcome) for c in leg.calls), books=books(leg),
        seconds=counts((int(r.request.at), "waited" if r.by and not is_prompt(r, limits)
                        else r.by or "failed") for r in records))
    row.points = points(row)
    return row


# -- gates -----------------------------------------------------------------------------------------
# (replay, figure, limit, is the figure good when it is at most or at least the limit)
GATES = (
    ("r1", "goodput", 99.9, "at least"), ("r1", "wasted", 0.15, "at most"),
    ("r1", "fail_over_s", 1, "at most"), ("r1", "back_s", 20, "at most"),
    ("r1-hang", "goodput", 99.9, "at least"), ("r1-hang", "wasted", 0.15, "at most"),
    ("r1-hang", "fail_over_s", 9, "at most"), ("r1-hang", "back_s", 20, "at most"),
    ("r3", "of_possible", 90, "at least"), ("r3", "wasted", 0.3, "at most"),
    *(("*", figure, 0, "at most") for figure in ("hangs", "truncated", "wrong")),
)


def broken_gates(name, s):
    """What the proxy's row of a replay must hold and does not, in words."""
    broken = []
    for replay, figure, limit, how in GATES:
        if replay in (name, "*"):
            value = getattr(s, figure)
            held = isinstance(value, (int, float)) and (value >= limit if how == "at least"
                                                        else value <= limit)
            if not held:
                broken.append(f"{name}: {figure} is {text_of(value)}, must be {how} {limit}")
    return broken


# -- the table -------------------------------------------------------------------------------------
COLUMNS = (
    ("points", "points", 0),
    ("answered %", "goodput", 1),
    ("of what was possible %", "of_possible", 1),
    ("added p99 s", "added_p99_s", 1),
    ("wasted calls per answer", "wasted", 2),
    ("fail over s", "fail_over_s", 1),
    ("back on P s", "back_s", 1),
    ("hangs", "hangs", 0),
    ("cut, said to be whole", "truncated", 0),
    ("wrong bytes", "wrong", 0),
)


def text_of(value, digits=2):
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) else str(value)


def _row(title, label, s, kept):
    figures = [text_of(getattr(s, name), digits) for _, name, digits in COLUMNS]
    return "| " + " | ".join([title, label, str(s.offered), *figures, kept]) + " |"


def table(results):
    """Markdown: for each replay the proxy's row and the one without it."""
    lines = ["| replay | | requests | " + " | ".join(c[0] for c in COLUMNS) + " | books |",
             "|---|---|--:|" + "--:|" * len(COLUMNS) + "---|"]
    for r in results:
        lines.append(_row(f"**{r.name}** {r.title}", "holdfast", r.holdfast,
                          "; ".join(r.holdfast.books) or "agree"))
        lines.append(_row("", "no proxy", r.direct, ""))
    return "\n".join(lines)
