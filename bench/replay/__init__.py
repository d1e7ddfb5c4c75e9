"""Outages of the past, replayed in short against the real program and, beside it, without it.

    result = replay.run("r1", seconds=30, rate=5, seed=1, binary="build/release/holdfast")
    assert result.holdfast.goodput > 99

bench/README.md tells the method; scripts.py holds the outages as data.
"""
import asyncio
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from .clients import ask_all
from .providers import Provider
from .proxy import Proxy, in_front_of, reserve_port
from .score import Leg, Score, broken_gates, prompt_limits, quantile, score_of
from .scripts import SCRIPTS, SLA, Script, Story, make_requests

BINARY = Path(__file__).resolve().parents[2] / "build/release/holdfast"
LEAD_S = 1.0  # for all processes and listeners to be up before the first request


@dataclass
class Result:
    """One replay: the row through the proxy, the row without it, and how the harness fared."""
    name: str
    title: str
    seed: int
    script: Script
    holdfast: Score
    direct: Score
    broken: list          # gates that do not hold
    cpu_share: float      # of one core, clients and providers together
    calm_excess_s: float  # p99 of what an answer took longer than its provider's pace, without faults


def run(name, seconds=None, rate=None, seed=1, binary=BINARY, logs=None):
    """Runs one replay and scores it. Blocks for its seconds and up to SLA more."""
    script = SCRIPTS[name].scaled(seconds, rate)
    return asyncio.run(asyncio.wait_for(_replay(name, script, seed, str(binary), logs),
                                        script.seconds + SLA + 30))


async def _replay(name, script, seed, binary, logs):
    stories = [Story(script, seed * 100 + i) for i in range(script.instances)]
    started, cpu = time.monotonic() + LEAD_S, time.process_time()
    legs = {"holdfast": Leg(attempts=Counter()), "direct": Leg(), "calm": Leg(attempts=Counter())}
    with tempfile.TemporaryDirectory(prefix="holdfast-replay-") as scratch:
        # A task that fails cancels the others: nobody waits for a run that cannot be scored.
        async with asyncio.TaskGroup() as group:
            for story in stories:
                for kind, leg in legs.items():
                    directory = Path(logs or scratch) / f"{name}-{kind}-{story.seed}"
                    directory.mkdir(parents=True, exist_ok=True)
                    group.create_task(_run_leg(kind, leg, story, binary, directory, started))
    wall = time.monotonic() - started
    limits = prompt_limits(legs["calm"])
    rows = {kind: score_of(script, stories, legs[kind], legs["calm"], limits)
            for kind in ("holdfast", "direct")}
    excess = [r.took_s - r.request.seconds for r in legs["calm"].records if r.answered]
    return Result(name, script.title, seed, script, rows["holdfast"], rows["direct"],
                  broken_gates(name, rows["holdfast"]), (time.process_time() - cpu) / wall,
                  quantile(excess, 0.99))


async def _run_leg(kind, leg, story, binary, directory, started):
    """One instance of one way to ask: its own providers, its own proxy, the same requests."""
    script = story.script
    requests = make_requests(script, story.seed)
    if kind == "calm":
        story = Story(script.without_faults(), story.seed)

    def clock():
        return time.monotonic() - started
    providers = [Provider(name, story, {r.id: r for r in requests}, clock, reserve_port())
                 for name in story.capacity]
    async with AsyncExitStack() as stack:
        for p in providers:
            await p.start()
            stack.push_async_callback(p.stop)
        port = providers[0].port
        if kind != "direct":
            proxy = Proxy(binary, directory, in_front_of(providers, script.keys, script.offline))
            stack.push_async_callback(proxy.stop)
            await proxy.start()
            port = proxy.port
        leg.records += await ask_all(port, requests, list(story.capacity), clock, story.seed)
        if kind != "direct":
            for labels, n in await proxy.metric("holdfast_attempts_total"):
                leg.attempts[labels["provider"], labels["outcome"]] += int(n)
    for p in providers:
        leg.calls += p.calls

