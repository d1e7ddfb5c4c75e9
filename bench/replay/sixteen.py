"""Sixteen faults of a provider, what a caller should see of them, and what the provider.

They are the scenarios of Failover Bench (https://github.com/failoverbench/failoverbench, methodology
v0.1), rebuilt with our own fake provider (tests/faultd), client and text. Both views are judged: what
the caller got, and what arrived at the provider, where one address serves the primary's model, which
has the fault, and the fallback's.

    view = sixteen.play(sixteen.SCENARIOS["S08"], sixteen.FULL, port, wall)
    verdict, reason = sixteen.judge(view)

pass     the caller got the whole answer (S13: the provider's refusal) and all checks hold
partial  ... but one that is only advice does not hold
safe     the caller got a true error in time, and the other checks hold
fail     a hang, an answer that was cut or changed and yet said to be whole, or a check that must hold
"""
import json
import re
import time
from collections import namedtuple
from dataclasses import dataclass, field

from client import Answer, Raw, chat_body, request_bytes
from faultd import Faultd, story

PROMPT = [{"role": "user", "content": "Say in sixty words what a proxy is worth on a bad day."}]
HEALTHY = "healthy"  # the model of the question whether the program still works
N_WORDS = len(story.pieces(story.TEXT))
PATIENCE_S = 10      # with that
FIRST_WORD = re.compile(rb'"content":\s*"[^"]')


@dataclass(frozen=True)
class Pace:
    """How long the faults last, and how long it may take until one is overcome; seconds."""
    retry_after: int
    slow: float      # until the first token comes
    stall: float     # a silence in the middle
    silence: float   # of a provider that never answers
    down: float      # of the flapping one
    asks: int        # requests to that
    every: float     # one of them
    gap_ms: int      # between two words
    slow_most: float
    stall_most: float
    silence_most: float
    back_most: float
    hammer: float    # the time in which nobody may be asked again and again
    patience: float  # who takes longer hangs, where the scenario has no time of its own
    gives_up: float  # the time limit of a caller without a proxy
    settings: dict = field(default_factory=dict)  # of the program, in place of its defaults


# The public benchmark's times, and its baseline: 30 s for a first token and for a silence.
FULL = Pace(retry_after=2, slow=20, stall=30, silence=120, down=60, asks=20, every=4, gap_ms=15,
            slow_most=15, stall_most=45, silence_most=100, back_most=30, hammer=3, patience=0,
            gives_up=30, settings={"timeouts": {"first_token": "30s", "idle": "30s"}})

# For tests: as the full one, but nothing waits for long.
SHORT = Pace(retry_after=1, slow=2.5, stall=2.5, silence=10, down=4.5, asks=20, every=0.3, gap_ms=3,
             slow_most=2, stall_most=3, silence_most=4, back_most=1.5, hammer=1.5, patience=9,
             gives_up=3.5, settings={"timeouts": {"first_token": "3s", "idle": "800ms"}, "hedge": {"after": "800ms"},
                       "breaker": {"open_base": "800ms", "open_cap": "800ms"}})


# -- what was seen ---------------------------------------------------------------------------------
@dataclass
class Call:
    """One request of the caller.

    outcome: answer (whole and right) | error (a true one) | hang | cut (less than the answer, said to
    be whole) | wrong (something else, said to be right, or an end that is none)
    """
    at: float  # seconds since the scenario began
    outcome: str
    took: float
    answer: Answer = None  # None: no answer at all
    why: str = ""

    @property
    def events(self):
        return readable(self.answer)

    @property
    def model(self):
        """Who answers, by the last event that says so."""
        return next((e["model"] for e in reversed(self.events) if e.get("model")), None)

    @property
    def usage(self):
        return next((e["usage"] for e in reversed(self.events) if e.get("usage")), None)

    @property
    def first(self):
        """Seconds until the first word was here, None without one."""
        found = self.answer and FIRST_WORD.search(self.answer.body)
        return next(t for t, n in self.answer.pieces if n >= found.end()) if found else None


@dataclass
class View:
    """What both sides saw of one scenario. Calls of the provider: (seconds, HTTP status or None)."""
    scenario: "Scenario"
    pace: Pace
    calls: list
    primary: list
    fallback: list
    alive: bool  # a healthy request went well afterwards
    bodies: list = field(default_factory=list)  # of all requests that arrived

    @property
    def gap(self):
        """Between the first two attempts at the primary."""
        return self.primary[1][0] - self.primary[0][0] if len(self.primary) > 1 else None

    @property
    def took(self):
        return max(c.took for c in self.calls)

    def early(self, seconds):
        """Attempts at the primary in its first seconds."""
        return sum(t - self.primary[0][0] < seconds for t, _ in self.primary)

    @property
    def in_outage(self):
        return [c for c in self.calls if c.at < self.pace.down]

    @property
    def back(self):
        """Seconds from the end of the outage to the primary's first good answer."""
        return next((max(0.0, t - self.pace.down) for t, status in self.primary if status == 200), None)


def readable(answer):
    """The events of a stream that are JSON objects. One that is none is skipped, as careful clients do."""
    found = []
    for data in answer.data if answer else []:
        try:
            value = json.loads(data)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def verdict_on(answer):
    """(outcome, why) of what the caller got."""
    if answer.end == "timeout":
        return "hang", "silent, or slower than anybody waits"
    if answer.status != 200:
        try:
            return "error", f"{answer.status}: {answer.json['error']['message']}"
        except (ValueError, LookupError, TypeError):
            return "wrong", f"{answer.status} without an error that a client could read"
    events = readable(answer)
    choices = [c for e in events for c in e.get("choices") or []]
    text = "".join(c["delta"].get("content") or "" for c in choices)
    if not story.TEXT.startswith(text):
        return "wrong", f"the text is another one: {text[-60:]!r}"
    errors = [e["error"] for e in events if "error" in e]
    if errors or answer.end == "aborted":
        return "error", str(errors[0].get("message")) if errors else "the connection broke"
    if text != story.TEXT:
        return "cut", f"{len(story.pieces(text))} words said to be all"
    finishes = [c["finish_reason"] for c in choices if c.get("finish_reason")]
    if finishes != ["stop"] or answer.done > 1:
        return "wrong", f"ended by {finishes} and {answer.done} [DONE]"
    return "answer", ""


def ask(port, model, patience_s, since, gives_up_s=None):
    """One streamed request, read to its end."""
    at = time.monotonic() - since
    body = chat_body(model, True, PROMPT, stream_options={"include_usage": True})
    answer = None
    try:
        with Raw(port, timeout=gives_up_s or patience_s) as c:
            c.send(request_bytes("POST", "/v1/chat/completions", body))
            answer = c.answer()
        outcome, why = verdict_on(answer) if answer else ("error", "the connection broke")
    except TimeoutError:
        outcome, why = "hang", "no answer at all"
    except OSError as e:
        outcome, why = "error", str(e)
    if outcome == "hang" and gives_up_s:
        outcome, why = "error", "the caller gave up"
    return Call(at, outcome, time.monotonic() - since - at, answer, why)


# -- what is right ---------------------------------------------------------------------------------
# words: what is asked for. must: without it all is a failure; else it is advice. spare: it says
# nothing about a caller that has no fallback.
Check = namedtuple("Check", "words holds must spare", defaults=(True, False))


def advice(words, holds):
    return Check(words, holds, must=False)


def few(n):
    return Check(f"the primary is asked {n} times at most", lambda v: len(v.primary) <= n)


ONCE = Check("the primary is asked once", lambda v: len(v.primary) == 1)
AGAIN = advice("the primary is asked again", lambda v: len(v.primary) > 1)
USAGE = advice("usage is told", lambda v: v.calls[0].usage)
STREAMED = advice("words come as they are made", lambda v: all(
    c.took - c.first > N_WORDS * v.pace.gap_ms / 2000 for c in v.calls if c.outcome == "answer"))


@dataclass(frozen=True)
class Scenario:
    """`fault`: the scripts of the primary's model, one a request, the last one for the rest; `fallback`:
    of the fallback's. Names in braces are times of the pace, in ms."""
    id: str
    title: str
    fault: tuple
    patience: float  # in full, seconds: who takes longer hangs
    checks: tuple = ()
    fallback: str = "canonical?gap={gap}"
    refusal: bool = False  # the caller should get the provider's refusal
    sequence: bool = False

    @property
    def model(self):
        return f"{self.id.lower()}-primary"

    @property
    def stand_in(self):
        return f"{self.id.lower()}-fallback"


GOOD = "canonical?gap={gap}"
CUT = GOOD + "&cut=40"
SCENARIOS = {s.id: s for s in (
    Scenario("S01", "429, retry after 2 s", ("status?code=429&retry_after={retry_after}", GOOD), 20, (
        AGAIN,
        advice("not before it is due", lambda v: v.gap and v.gap >= 0.9 * v.pace.retry_after),
        Check("no hammering", lambda v: v.early(v.pace.hammer / 2) <= 2))),
    Scenario("S02", "429 for ever, no time named", ("status?code=429",), 40, (
        Check("no hammering", lambda v: v.early(v.pace.hammer) <= 4), few(6))),
    Scenario("S03", "500 once", ("status?code=500", GOOD), 20, (AGAIN,)),
    Scenario("S04", "503 for ever", ("status?code=503",), 40, (few(6),)),
    Scenario("S05", "reset before the head", ("rst_before", GOOD), 20),
    Scenario("S06", "no answer at all", ("hang?ms={silence}",), 130, (
        Check("over in time", lambda v: v.took <= v.pace.silence_most),
        advice("silence is not asked twice", lambda v: len(v.primary) == 1))),
    Scenario("S07", "first token after 20 s", (GOOD + "&first={slow}",), 60, (
        Check("somebody else is asked in time", lambda v: v.took <= v.pace.slow_most, must=False,
              spare=True),)),
    Scenario("S08", "stream cut after 40 of 60 words", (CUT,), 40),
    Scenario("S09", "stream silent after 20 words", (GOOD + "&stall=20&silent={stall}",), 70, (
        Check("over in time", lambda v: v.took <= v.pace.stall_most),)),
    Scenario("S10", "half an event in the stream", (GOOD + "&garbled=10",), 30),
    Scenario("S11", "no [DONE]", (GOOD + "&done=0",), 30, (
        Check("ended in time", lambda v: v.took <= 8), USAGE)),
    Scenario("S12", "prompt too long for the model", ("preset?name=context_length",), 20, (ONCE,)),
    Scenario("S13", "against a content policy", ("preset?name=content_policy",), 20, (ONCE,),
             refusal=True),
    Scenario("S14", "cut, and the fallback takes no prefill", (CUT,), 40, (
        Check("its 400 is not the caller's",
              lambda v: v.calls[0].outcome != "error" or 400 not in [s for _, s in v.fallback]),),
        fallback=GOOD + "&prefill=refused"),
    Scenario("S15", "down for 60 s, then well", ("flap?down={down}&gap={gap}",), 30, (
        Check("all are answered meanwhile", lambda v: all(c.outcome == "answer" for c in v.in_outage),
              spare=True),
        Check("the primary is used again in time",
              lambda v: v.back is not None and v.back <= v.pace.back_most, spare=True)),
        sequence=True),
    Scenario("S16", "503 for ever: who is named", ("status?code=503",), 40, (
        Check("the model that answered is named", lambda v: v.calls[0].model == v.scenario.stand_in,
              spare=True),
        USAGE._replace(spare=True), few(6))))}


def judge(view, has_fallback=True):
    """(verdict, why) of one scenario."""
    s = view.scenario
    outcomes = {c.outcome for c in view.calls}
    if bad := next((c for c in view.calls if c.outcome in ("hang", "cut", "wrong")), None):
        return "fail", f"{bad.outcome}: {bad.why}"
    broken = [c for c in (*s.checks, STREAMED) if has_fallback or not c.spare if not c.holds(view)]
    must = [c.words for c in broken if c.must]
    if not view.alive:
        must.append("works afterwards")
    if must:
        return "fail", "not so: " + "; ".join(must)
    if s.refusal and outcomes == {"answer"}:
        return "partial", "somebody else was asked what this provider had refused"
    if outcomes != {"error" if s.refusal else "answer"}:
        return "safe", next(c.why for c in view.calls if c.outcome == "error")
    return ("partial", "not so: " + "; ".join(c.words for c in broken)) if broken else ("pass", "")


# -- the play --------------------------------------------------------------------------------------
def wall_of(pace):
    """The provider: every fault behind the name of its model."""
    times = {"gap": pace.gap_ms, "retry_after": pace.retry_after} | {
        name: int(getattr(pace, name) * 1000) for name in ("slow", "stall", "silence", "down")}
    models = {HEALTHY: GOOD.format(**times)}
    for s in SCENARIOS.values():
        models[s.model] = [spec.format(**times) for spec in s.fault]
        models[s.stand_in] = s.fallback.format(**times)
    return Faultd("wall", models=models)


def configuration(pace, wall):
    """The program's: one fallback for each, at the same address under an account of its own."""
    rows = {name: {"type": "openai", "base_url": wall.base_url, "api_key": f"sk-{name}"}
            for name in ("primary", "fallback")}
    routes = [{"model": s.model, "targets": [
        {"target": f"primary/{s.model}", "context_window": 8192},
        {"target": f"fallback/{s.stand_in}", "context_window": 128000}]} for s in SCENARIOS.values()]
    return {"providers": rows, **pace.settings,
            "routes": [*routes, {"model": HEALTHY, "targets": [f"fallback/{HEALTHY}"]}]}


def play(scenario, pace, port, wall, gives_up_s=None):
    """Asks, and collects what both sides saw. Blocks until it is over. gives_up_s: the caller has a time
    limit of its own, and that it kept to it is a true error."""
    wall.clear_log()
    patience, started, calls = pace.patience or scenario.patience, time.monotonic(), []
    for i in range(pace.asks if scenario.sequence else 1):
        time.sleep(max(0, started + i * pace.every - time.monotonic()))
        calls.append(ask(port, scenario.model, patience, started, gives_up_s))
    attempts = list(wall.attempts)
    alive = ask(port, HEALTHY, PATIENCE_S, time.monotonic()).outcome == "answer"

    def of(model):
        return [(a.at - started, a.status) for a in attempts if a.json.get("model") == model]
    return View(scenario, pace, calls, of(scenario.model), of(scenario.stand_in), alive,
                [a.json for a in attempts])
