"""What clients do to a proxy: the rows C of the fault matrix.

Rows shown elsewhere, or not yet there to be shown:

  C01  leaves before or during the answer  test_client_gone.py; a half-close here
  C02  does not read                       test_client_gone.py; reads a little here
  C03  a byte at a time                    test_bodies.py, head and body
  C04  pipelines, the second is malformed  test_bodies.py
  C06 C07  resumes, idempotency keys       test_replay.py
"""
import socket
import time

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from faultd import bodies, scripts
from test_taxonomy import NO_HEDGE, TOUCHY, TWICE, outcomes

PATIENT = {"first_token": "20s", "answer": "20s", "idle": "20s", "total": "30s"}


@pytest.mark.parametrize("stream", [False, True])
def test_c01_a_client_that_only_closes_its_own_side_leaves_nothing_behind(upstream, holdfast,
                                                                         stream):
    """It gets its answer, or its upstream connection ends at once; never neither."""
    a = upstream("A", default="ok?first=600")
    p = holdfast(a, timeouts=PATIENT, hedge=NO_HEDGE)
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=stream)))
        wait_for(lambda: a.attempts)
        c.sock.shutdown(socket.SHUT_WR)
        answer = c.answer()
        if answer is None:
            wait_for(lambda: a.attempts[0].ended in ("peer", "peer_reset"))
        else:
            assert answer.text.startswith("A:") and answer.end == "complete"
    wait_for(lambda: p.in_flight() == 0)
    assert p.breakers() == set()


@pytest.mark.tsan
@pytest.mark.parametrize("when", ["waits", "hedges", "queues"])
def test_c01_a_client_that_leaves_gives_everything_back(upstream, holdfast, when):
    """During a pause before another try, with two attempts under way, in a queue for a place."""
    script = {"waits": "status?code=429&retry_after=2", "hedges": "hang",
              "queues": "limited?n=2&first=1500"}[when]
    a, b = upstream("A", default=script), upstream("B", default="hang")
    targets = ["a/x", "b/x"] if when == "hedges" else ["a/x"]
    p = holdfast(a, b, timeouts=PATIENT, failover=TWICE, routes=[{"model": "*", "targets": targets}],
                 hedge={"after": "100ms"} if when == "hedges" else NO_HEDGE)
    clients = [Raw(p.port) for _ in range(12 if when == "queues" else 1)]
    for c in clients:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
    wait_for(lambda: len(b.attempts if when == "hedges" else a.attempts) >= 1)
    time.sleep(0.2)
    for c in clients:
        c.sock.close()
    wait_for(lambda: p.in_flight() == 0 and p.status()["in_flight"] == 0)
    seen = len(a.attempts) + len(b.attempts)
    wait_for(lambda: all(x.ended for x in a.attempts + b.attempts))
    time.sleep(0.3)
    assert len(a.attempts) + len(b.attempts) == seen, "nothing is asked for who has left"
    assert p.breakers() == set()


def test_c02_a_slow_reader_holds_up_nobody_and_gets_all(upstream, holdfast):
    """It takes some KiB at a time; what it has not read waits at the provider, not here."""
    slow = upstream("SLOW", default="replay")
    slow.recording = [scripts.event(bodies.chunk("m", {"content": "x" * 65536}))] * 300 + [
        scripts.event(bodies.chunk("m", {}, "stop")), scripts.event(scripts.DONE)]
    quick = upstream("QUICK")
    p = holdfast(slow, quick, timeouts=PATIENT, hedge=NO_HEDGE,
                 routes=[{"model": "slow", "targets": ["a/x"]}, {"model": "*", "targets": ["b/x"]}])
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body("slow", True)))
        for _ in range(20):
            c.buffer += c.sock.recv(4096)
            assert p.chat().seconds < 5
        assert slow.attempts[0].sent < 18 << 20 and slow.attempts[0].ended is None
        answer = c.answer()
    assert answer.end == "complete" and answer.body == b"".join(slow.recording)


def test_c05_clients_that_retry_themselves_multiply_nothing(upstream, holdfast):
    """Their second and third tries get no retries of ours, and earn none for others."""
    a, b = upstream("A", default="status?code=500"), upstream("B", default="status?code=500")
    p = holdfast(a, b, failover=TWICE, breaker=TOUCHY | {"consecutive": 1000},
                 retry_budget={"capacity": 2, "ratio": 1})
    for n in range(12):
        answer = p.chat(headers={"x-stainless-retry-count": str(n % 2 + 1)})
        assert outcomes(answer) == [("a/model-a", "server_error"), ("b/model-b", "server_error")]
    assert len(a.attempts) == len(b.attempts) == 12


def test_a_caller_in_a_hurry_has_its_time_shared_and_blames_nobody(upstream, holdfast):
    """A silent target gets its share of the caller's time, not all of its own limit."""
    a, b = upstream("A", default="hang"), upstream("B")
    p = holdfast(a, b, timeouts={"first_token": "60s", "answer": "60s", "total": "60s"},
                 hedge={"after": "off"}, breaker={"consecutive": 1})
    answer = p.chat(headers={"x-holdfast-timeout-ms": "11500"})
    assert answer.text.startswith("B:") and answer.trail[0][1] == "time_share"
    assert p.metric("holdfast_breaker_state") == 0
