"""The outages: who fails when and how, and how much is left. Data, plus the little that reads it.

P is the primary, B and C are the alternates, in this order. Times are seconds of the replay; a pair
of numbers is a ramp from the start of its phase to its end. Everything is drawn from the seed by
what it is for (request, provider, number of the call), never from a common row of numbers: so a
request meets the same fate with and without the proxy, whatever else happened before it.
"""
from dataclasses import dataclass, replace
from random import Random

OFFLINE = "All providers are down. We are on it; ask again in some minutes."
SLA = 30  # seconds after which whoever asked gives up, all retries included


@dataclass(frozen=True)
class Capacity:
    """What a provider takes at once and in a second (None: no limit), and how it says no."""
    in_flight: int
    per_s: float = None
    status: int = 429
    retry_after: float = None


@dataclass(frozen=True)
class Fault:
    """A share of the calls fails; `kind` is one of providers.KINDS, or "refused"."""
    who: str  # one letter a provider
    start: float
    end: float
    kind: str
    share: object = 1.0


@dataclass(frozen=True)
class Load:
    """Other people's traffic takes this share of the capacity. With `crash_s`, asking for more
    than is left makes the provider fail altogether for as long."""
    who: str
    start: float
    end: float
    busy: object
    retry_after: object = None
    crash_s: float = 0


@dataclass(frozen=True)
class Script:
    title: str
    phases: tuple
    seconds: float = 84
    rate: float = 9          # requests a second
    faults: tuple = ()       # moments when something gets worse: how long until it is noticed?
    heal: float = None       # when P is well again
    returns: bool = True     # whether holdfast can know it before the replay ends
    keys: int = 1            # of P
    offline: bool = False    # a scripted answer as the last target
    instances: int = 1       # proxies side by side, each with its own clients and providers
    capacity: tuple = (("P", Capacity(60, retry_after=1)),
                       ("B", Capacity(40, status=529)),
                       ("C", Capacity(60, per_s=60, retry_after=2)))

    def scaled(self, seconds, rate):
        """The same story in another time, or with more or fewer requests."""
        seconds, rate = seconds or self.seconds, rate or self.rate
        f = seconds / self.seconds
        return replace(self, seconds=seconds, rate=rate, heal=self.heal and self.heal * f,
                       faults=tuple(t * f for t in self.faults),
                       phases=tuple(replace(p, start=p.start * f, end=p.end * f)
                                    for p in self.phases))

    def without_faults(self):
        return replace(self, phases=())


def outage(kind):
    """2025-01-23: a third of the calls fails at first, then all of them."""
    return (Fault("P", 10, 20, kind, 0.3), Fault("P", 20, 55, kind))


SCRIPTS = {
    "r1": Script("502 pages of a CDN", outage("bad_gateway"), faults=(10, 20), heal=55),
    "r1-hang": Script("the same, calls hang", outage("hang"), faults=(10, 20), heal=55),
    "r2": Script("slow collapse, uneven recovery", (
        Fault("P", 10, 25, "refused", (0.0, 0.6)), Fault("P", 10, 25, "server_error", (0.0, 1.0)),
        Fault("P", 25, 45, "refused", 0.6), Fault("P", 25, 45, "server_error"),
        Load("P", 45, 65, (0.85, 0.0), crash_s=3)), faults=(10, 25), heal=45),
    "r3": Script("domino day", (
        Fault("P", 6, 60, "hang", 0.15), Fault("P", 6, 60, "overloaded"),
        Load("BC", 0, 10, 0.5), Load("B", 10, 20, (0.5, 0.95)), Load("C", 10, 20, (0.5, 0.9), 1),
        Fault("B", 20, 62, "overloaded"), Load("C", 20, 68, 0.9, (1, 3)),
        Fault("P", 60, 78, "overloaded", 0.5), Load("P", 60, 78, (0.9, 0.5)),
        Load("B", 62, 80, (0.95, 0.5)), Load("C", 68, 80, (0.9, 0.5))),
        seconds=98, rate=14, faults=(6,), heal=78),
    "r4": Script("quota day", (Fault("P", 10, 50, "quota"),), seconds=60, faults=(10,), heal=50,
                 returns=False, keys=2),
    "r5": Script("network connection lost", (
        Fault("P", 8, 60, "cut", 0.05), Fault("P", 8, 60, "stall", 0.01)), seconds=64),
    "r6": Script("500s, then 401 for a while", (
        Fault("P", 8, 20, "server_error", 0.2), Fault("P", 20, 45, "auth")), faults=(8, 20), heal=45),
    "r7": Script("model retired", (Fault("P", 10, 60, "gone"),), seconds=60, faults=(10,)),
    "r8": Script("the company's network", (
        Fault("PB", 10, 21, "portal"), Fault("PB", 21, 32, "proxy_auth"),
        Fault("PB", 32, 43, "reset"), Fault("PB", 43, 54, "refused")),
        faults=(10, 21, 32, 43), heal=54),
    "r9": Script("flapping", (Fault("P", 10, 30, "refused"), Fault("P", 50, 70, "refused")),
                 seconds=90, faults=(10, 50), heal=70),
    "r10": Script("brown-out, first token x10", (Fault("P", 10, 50, "slow"),), faults=(10,), heal=50),
    "r11": Script("all of them down", (
        Fault("P", 10, 52, "overloaded"), Fault("B", 12, 46, "bad_gateway"),
        Fault("C", 14, 40, "refused")), faults=(10, 12, 14), heal=52, offline=True),
    "r13": Script("r1 at a request each 5 s", outage("bad_gateway"), faults=(10, 20), heal=55,
                  rate=0.2, instances=8),
}


def ramp(value, phase, t):
    """A number of a phase at a time: itself, or the way from the first to the second."""
    if not isinstance(value, tuple):
        return value
    return value[0] + (value[1] - value[0]) * (t - phase.start) / (phase.end - phase.start)


@dataclass
class Request:
    """One question and the pace at which anybody answers it."""
    id: str
    at: float
    stream: bool
    first_s: float  # until the first token
    gaps: tuple     # before each later piece
    words: tuple

    @property
    def seconds(self):
        return self.first_s + sum(self.gaps)

    def pieces(self, name):
        """The answer as this provider says it: its name is in it, so that a mixture shows."""
        return [f"{name} on {self.id}: "] + [f"{w} {name}{i} " for i, w in enumerate(self.words)]

    def text(self, name):
        return "".join(self.pieces(name))


WORDS = ("alpha", "größer", "naïve", "漢字", "\"quoted\"", "back\\slash", "tab\t", "line\n", "🙂", "omega")


def make_requests(script, seed):
    """Poisson arrivals; a quarter of the requests is not streamed; 0.8 to 3 s an answer."""
    arrivals, t, found = Random(f"{seed}/arrivals"), 0.0, []
    while (t := t + arrivals.expovariate(script.rate)) < script.seconds:
        r = Random(f"{seed}/request/{len(found)}")
        n = r.randint(10, 18)
        found.append(Request(f"q{seed}-{len(found)}", t, r.random() < 0.75,
                             r.lognormvariate(-1.0, 0.35),
                             tuple(r.lognormvariate(-2.75, 0.4) for _ in range(n)),
                             tuple(r.choice(WORDS) for _ in range(n))))
    return found


class Story:
    """A script with its seed, as a provider and the score ask it."""

    def __init__(self, script, seed):
        self.script, self.seed = script, seed
        self.capacity = dict(script.capacity)

    def _phases(self, name, t, kind):
        return [(i, p) for i, p in enumerate(self.script.phases)
                if isinstance(p, kind) and name in p.who and p.start <= t < p.end]

    def fate(self, name, t, request_id, nth):
        """(kind of fault or None, the draw to go on with) of one call."""
        draw = Random(f"{self.seed}/{name}/{request_id}/{nth}")
        for _, p in self._phases(name, t, Fault):
            if draw.random() < ramp(p.share, p, t) and p.kind != "refused":
                return p.kind, draw
        return None, draw

    def is_refused(self, name, t):
        """Is the door closed? A share of the time, in slices of a second."""
        return any(Random(f"{self.seed}/{name}/{i}/{int(t)}").random() < ramp(p.share, p, t)
                   for i, p in self._phases(name, t, Fault) if p.kind == "refused")

    def load(self, name, t):
        """(share of the capacity that is left, the Load that took the rest or None)."""
        loads = self._phases(name, t, Load)
        if not loads:
            return 1.0, None
        uneven = Random(f"{self.seed}/{name}/load/{int(t)}").uniform(0.9, 1.1)
        return (1 - ramp(loads[0][1].busy, loads[0][1], t)) * uneven, loads[0][1]

    def retry_after(self, name, t):
        """What it tells those whom it turns away, in seconds or None."""
        _, load = self.load(name, t)
        if load and load.retry_after:
            return ramp(load.retry_after, load, t)
        return self.capacity[name].retry_after

    def answers_per_s(self, name, t, mean_s):
        """How many good answers a second this provider can give to us."""
        c, (left, _) = self.capacity[name], self.load(name, t)
        most = min(c.in_flight / mean_s, c.per_s or float("inf")) * left
        for _, p in self._phases(name, t, Fault):
            if p.kind not in ("cut", "stall", "slow"):  # they answer, if badly
                most *= 1 - ramp(p.share, p, t)
        return most
