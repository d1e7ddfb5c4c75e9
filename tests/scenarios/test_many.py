"""Many connections at once, and slow ones that hold up nobody else."""
import select
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from conftest import free_port, provider
from faultd import blackhole

PATIENT = {"connect": "20s", "tls": "20s", "first_token": "30s", "answer": "30s", "total": "60s"}


def ask_all(port, n):
    """n requests on n connections at once; the answers and the seconds until the last."""
    clients = [Raw(port, timeout=60) for _ in range(n)]
    data = request_bytes("POST", "/v1/chat/completions", chat_body())
    started = time.monotonic()
    for c in clients:
        c.send(data)
    answers = [c.answer() for c in clients]
    seconds = time.monotonic() - started
    for c in clients:
        c.sock.close()
    return answers, seconds


@pytest.mark.release
def test_five_hundred_slow_handshakes_go_side_by_side(upstream, holdfast, certs, figure):
    a = upstream("A", tls="slow?ms=100", default="hang?ms=1")
    a.default = "ok"
    p = holdfast(a, env={"SSL_CERT_FILE": certs.ca}, timeouts=PATIENT)
    answers, seconds = ask_all(p.port, 500)
    figure(f"500 cold TLS handshakes of 100 ms each: all answered after {seconds:.2f} s")
    assert all(x.status == 200 for x in answers)
    assert seconds < 10, seconds  # one after the other they would take 50


@pytest.mark.release
def test_five_hundred_connects_through_a_slow_company_proxy(upstream, holdfast, connect_proxy,
                                                            figure):
    a = upstream("A")
    office = connect_proxy(("127.0.0.1", a.port), delay=0.1)
    p = holdfast({**provider("http://api.holdfast.test/v1"), "allow_http": True}, timeouts=PATIENT,
                 env={"http_proxy": office.url})
    answers, seconds = ask_all(p.port, 500)
    figure(f"500 cold connects through a proxy of 100 ms: all answered after {seconds:.2f} s")
    assert all(x.status == 200 for x in answers)
    assert seconds < 10, seconds


def test_the_company_proxy_is_used_for_the_world_and_not_for_loopback(upstream, holdfast,
                                                                      connect_proxy, certs):
    world, near = upstream("WORLD", tls="good"), upstream("NEAR")
    office = connect_proxy(("127.0.0.1", world.port))
    p = holdfast(provider("https://api.holdfast.test/v1", "sk-world"), provider(near),
                 env={"SSL_CERT_FILE": certs.ca, "HTTPS_PROXY": office.url, "HTTP_PROXY": office.url},
                 keep_warm="0s", routes=[{"model": "near", "targets": ["b/x"]}, {"model": "*", "targets": ["a/x"]}])
    assert p.chat("near").text.startswith("NEAR:") and office.log == []
    assert p.chat().text.startswith("WORLD:")
    assert office.log[0][1] == "CONNECT api.holdfast.test:443 HTTP/1.1"
    assert "sk-world" not in repr(office.log)


@pytest.mark.parametrize("mode", ["407", "502", "close", "silent", "refused", "unknown"])
def test_a_company_proxy_that_refuses_is_not_the_provider_s_fault(upstream, holdfast, connect_proxy,
                                                                 mode):
    b = upstream("B")
    office = connect_proxy(("127.0.0.1", 9), mode)
    url = {"refused": f"http://127.0.0.1:{free_port()}",
           "unknown": "http://office.invalid:3128"}.get(mode, office.url)
    p = holdfast("https://api.holdfast.test/v1", b, env={"HTTPS_PROXY": url}, hasty="a")
    answer = p.chat()
    assert answer.text.startswith("B:") and answer.trail[0][0] == "a/model-a"
    if mode != "silent":
        assert answer.trail[0][1].startswith("egress_proxy")


def arrived(c, seconds=0):
    """Are there bytes to read?"""
    return bool(select.select([c.sock], [], [], seconds)[0])


def test_a_black_hole_blocks_nobody_else(upstream, holdfast):
    """While twenty requests wait for connections that never stand, others are answered at once."""
    port, keep = blackhole()
    b = upstream("B")
    p = holdfast(f"http://127.0.0.1:{port}/v1", b, timeouts={"connect": "4s"},
                 routes=[{"model": "hole", "targets": ["a/x"]}, {"model": "*", "targets": ["b/x"]}])
    waiting = [Raw(p.port) for _ in range(20)]
    for c in waiting:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body("hole")))
    for _ in range(20):
        assert p.chat().status == 200
    assert not any(arrived(c) for c in waiting), "they wait, and nobody waited for them"
    assert {c.answer().status for c in waiting} <= {502, 503, 504}
    del keep


def test_names_that_do_not_resolve_block_nobody_else(upstream, holdfast):
    b = upstream("B")
    p = holdfast("https://upstream.invalid/v1", b,
                 routes=[{"model": "hole", "targets": ["a/x"]}, {"model": "*", "targets": ["b/x"]}])
    waiting = [Raw(p.port) for _ in range(20)]
    for c in waiting:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body("hole")))
    for _ in range(20):
        assert p.chat().seconds < 3
    assert {c.answer().status for c in waiting} <= {502, 503, 504}


@pytest.mark.tsan
@pytest.mark.parametrize("workers", [1, 4])
def test_a_mixed_crowd(upstream, holdfast, workers):
    """Good answers, failovers, cuts and leavers at once: nobody gets another's answer."""
    a = upstream("A", default="ok?gap=5&tokens=20")
    b = upstream("B", default="ok?gap=2")
    cut = upstream("CUT", default="cut?after=3&how=eof")
    bad = upstream("BAD", default="status?code=503")
    p = holdfast(a, b, cut, bad, workers=workers, breaker={"consecutive": 1000, "min_calls": 100000},
                 routes=[{"model": "good", "targets": ["a/x"]}, {"model": "moves", "targets":
                         ["d/x", "b/x"]}, {"model": "cut", "targets": ["c/x"]}])

    def one(n):
        kind = ("good", "moves", "cut", "gone")[n % 4]
        if kind == "gone":
            with Raw(p.port) as c:
                c.send(request_bytes("POST", "/v1/chat/completions", chat_body("good", True)))
                c.fill(c.sent_at + 30)
            return True
        answer = p.chat(kind, stream=n % 8 < 4 or kind == "cut",
                        headers={"x-holdfast-midstream": "error"})
        if kind == "cut":
            return answer.end == "aborted" and answer.body.count(b"CUT:") == 1
        return answer.status == 200 and answer.text.startswith("A:" if kind == "good" else "B:")
    with ThreadPoolExecutor(30) as pool:
        assert all(pool.map(one, range(240)))
    wait_for(lambda: p.in_flight() == 0)


def test_more_connections_than_allowed_wait_until_there_is_a_place(upstream, holdfast):
    p = holdfast(upstream("A"), limits={"connections": 20})
    idle = [Raw(p.port) for _ in range(30)]
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        assert not arrived(c, 0.3)
        for x in idle:
            x.sock.close()
        assert c.answer().status == 200
