"""Upstream connections are kept, and a stale one never costs anybody a request."""
import socket
import struct
import threading
import time

import pytest

from client import wait_for
from faultd import bodies
from faultd.by_hand import ByHand


@pytest.mark.tsan
def test_connections_are_reused(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a)
    for stream in (False, True, False, True):
        assert p.chat(stream=stream).status == 200
    assert [x.reused for x in a.attempts] == [False, True, True, True]


@pytest.mark.parametrize("stream", [False, True])
def test_a_reset_of_a_reused_connection_is_retried_on_a_fresh_one(upstream, holdfast, stream):
    a, b = upstream("A", default="rst_reused"), upstream("B")
    p = holdfast(a, b)
    for n in range(6):
        answer = p.chat(stream=stream)
        assert answer.text.startswith("A:")
        assert answer.header("x-holdfast-attempts") == "1"
    assert b.attempts == []
    assert [x.reused for x in a.attempts] == [False] + [True, False] * 5
    assert p.metric("holdfast_breaker_state") == 0


def test_a_reset_within_a_long_request_is_retried_as_well(holdfast):
    """The connection ends while there is more to send, so writing finds out before reading does."""
    started, answer = [], bodies.dump(bodies.completion("m", "hello", 1))

    def serve(peer):
        started.append(peer)
        while True:
            peer.read_head()
            length = int(peer.header("content-length"))
            if peer is started[0] and length > 1000000:
                threading.Event().wait(0.1)  # until neither side's buffers take any more
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            peer.read(length)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                      % len(answer) + answer)

    a = ByHand(serve)
    try:
        p = holdfast(a.base_url)
        assert p.chat().status == 200
        got = p.chat(messages=[{"role": "user", "content": "x" * 12000000}])
        assert (got.status, got.header("x-holdfast-attempts")) == (200, "1")
        assert len(started) == 2
    finally:
        a.stop()


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(upstream, holdfast):
    a, b = upstream("A", idle_close=0.1), upstream("B")
    p = holdfast(a, b)
    for _ in range(3):
        assert p.chat().text.startswith("A:")
        wait_for(lambda: not a.open_connections())
    assert b.attempts == [] and len(a.attempts) == 3


def test_a_server_that_closes_without_saying_so(upstream, holdfast):
    a, b = upstream("A", default="ok_then_close"), upstream("B")
    p = holdfast(a, b)
    assert all(p.chat().text.startswith("A:") for _ in range(8))
    assert b.attempts == []


@pytest.mark.parametrize("script", ["cl_and_te", "wrong_length?by=-10", "ok?hold=50&done=1"])
def test_a_connection_with_leftovers_is_never_used_again(upstream, holdfast, script):
    """Bytes beyond an answer must not be taken for the next one."""
    a, b = upstream("A", queue=[script]), upstream("B")
    p = holdfast(a, b)
    p.chat(stream="hold" in script)
    answer = p.chat()
    assert answer.text == "A: word1 word2 word3 word4"
    assert a.attempts[-1].connection != a.attempts[0].connection


def test_a_failed_stream_s_connection_is_closed(upstream, holdfast):
    a, b = upstream("A", queue=["cut?how=stall"]), upstream("B")
    p = holdfast(a, b, hasty="a")
    p.chat(stream=True, headers={"x-holdfast-midstream": "error"})
    wait_for(lambda: a.attempts[0].ended in ("peer", "peer_reset"))


def test_connections_of_one_key_never_carry_another(upstream, holdfast):
    from conftest import provider
    a = upstream("A")
    p = holdfast(provider(a, "sk-one"), provider(a, "sk-two"),
                 routes=[{"model": "one", "targets": ["a/x"]}, {"model": "two", "targets": ["b/x"]}])
    for model in ("one", "two", "one", "two"):
        assert p.chat(model).status == 200
    users = {}
    for x in a.attempts:
        users.setdefault(x.connection, set()).add(x.header("authorization"))
    assert all(len(keys) == 1 for keys in users.values())


def test_idle_connections_are_closed_after_thirty_seconds_at_the_latest(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a)
    started = time.monotonic()
    assert p.chat().status == 200
    wait_for(lambda: not a.open_connections(), timeout=45, every=0.2)
    assert a.connections[0].closed_by == "peer" and time.monotonic() - started < 40
