"""When the client leaves, its upstream connection ends too, and nothing stays behind."""
import time

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from faultd import bodies, scripts

PATIENT = {"first_token": "20s", "answer": "20s", "idle": "20s", "total": "30s"}


def leave(proxy, up, stream, after):
    """Asks, waits until `after()` is true of the open connection, then closes it."""
    with Raw(proxy.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=stream)))
        wait_for(lambda: len(up.attempts) == 1)
        assert proxy.in_flight() == 1
        after(c)


def check_nothing_stays(proxy, a, b):
    wait_for(lambda: a.attempts[0].ended in ("peer", "peer_reset"))
    wait_for(lambda: proxy.in_flight() == 0)
    wait_for(lambda: proxy.status()["in_flight"] == 0)
    assert b.attempts == [], "no failover for a client that has left"
    assert proxy.metric("holdfast_breaker_state", target="a/model-a") == 0


@pytest.mark.tsan
@pytest.mark.parametrize("stream", [False, True])
def test_before_the_first_byte(upstream, holdfast, stream):
    a, b = upstream("A", default="hang"), upstream("B")
    p = holdfast(a, b, timeouts=PATIENT)
    leave(p, a, stream, lambda c: None)
    check_nothing_stays(p, a, b)


@pytest.mark.tsan
def test_in_the_middle_of_a_stream(upstream, holdfast):
    a, b = upstream("A", default="ok?gap=100&tokens=200"), upstream("B")
    p = holdfast(a, b, timeouts=PATIENT)
    leave(p, a, True, lambda c: wait_for(lambda: c.fill(c.sent_at + 30) and b"word2" in c.buffer))
    check_nothing_stays(p, a, b)


def test_while_a_stream_is_silent(upstream, holdfast):
    a, b = upstream("A", default="cut?after=3&how=stall"), upstream("B")
    p = holdfast(a, b, timeouts=PATIENT)
    leave(p, a, True, lambda c: wait_for(lambda: c.fill(c.sent_at + 30) and b"word2" in c.buffer))
    check_nothing_stays(p, a, b)


def test_while_the_upstream_is_being_connected(upstream, holdfast):
    a, b = upstream("A", tls="silent"), upstream("B")
    p = holdfast(a, b, timeouts=PATIENT | {"tls": "20s", "connect": "20s"})
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        wait_for(lambda: a.connections)
    wait_for(lambda: not a.open_connections())
    assert b.attempts == []


def test_with_half_a_body(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a)
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body())[:-10])
    assert p.chat().status == 200
    assert len(a.attempts) == 1


def test_right_after_the_last_event_is_a_success(upstream, holdfast):
    a, b = upstream("A", default="ok?hold=300"), upstream("B")
    p = holdfast(a, b, timeouts=PATIENT)
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=True)))
        wait_for(lambda: c.fill(c.sent_at + 30) and b"[DONE]" in c.buffer)
    wait_for(lambda: p.in_flight() == 0)
    assert p.metric("holdfast_requests_total", outcome="ok") == 1


@pytest.mark.tsan
def test_many_at_once(upstream, holdfast):
    a, b = upstream("A", default="hang"), upstream("B")
    p = holdfast(a, b, timeouts=PATIENT)
    clients = [Raw(p.port) for _ in range(40)]
    for c in clients:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=True)))
    wait_for(lambda: len(a.attempts) == 40)
    for c in clients:
        c.sock.close()
    wait_for(lambda: all(x.ended for x in a.attempts))
    wait_for(lambda: p.in_flight() == 0)
    assert b.attempts == []


def test_a_client_that_does_not_read_holds_the_upstream_back(upstream, holdfast):
    """40 MiB for a client that does not read for a while: the proxy waits instead of hoarding."""
    a = upstream("A", default="replay")
    a.recording = [scripts.event(bodies.chunk("model-a", {"content": "x" * 65536}))] * 640 + [
        scripts.event(bodies.chunk("model-a", {}, "stop")), scripts.event(scripts.DONE)]
    p = holdfast(a, timeouts=PATIENT)
    with Raw(p.port, timeout=30) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=True)))
        wait_for(lambda: len(a.attempts) == 1)
        seen = -1
        while seen != a.attempts[0].sent:  # until nothing moves any more
            seen = a.attempts[0].sent
            time.sleep(0.3)
        assert 0 < seen < 30 << 20, "what is not read is not fetched"
        answer = c.answer(timeout=30)
    assert answer.end == "complete" and answer.body == b"".join(a.recording)
