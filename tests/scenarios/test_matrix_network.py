"""The network under the proxy fails: names, routes, links, handshakes (rows N of the fault matrix).

Rows that others show already:

  N05  refused                       test_taxonomy.py E03
  N06  no answer to a SYN            test_taxonomy.py E04, test_many.py; over a cable here
  N08  reset at accept               test_failover.py test_no_connection_at_all
  N09  a handshake that never ends   test_failover.py, test_timers.py
  N10  certificates                  test_failover.py, test_taxonomy.py E05
  N11  TLS alert, TLS 1.1            test_taxonomy.py E05
  N12  the company's proxy           test_taxonomy.py E02, test_many.py
  N15  a byte at a time              test_streams.py ok?bytewise=1
  N16  a stale kept connection       test_pool.py
  N17  GOAWAY, REFUSED_STREAM        HTTP/2 is not spoken
"""
import select
import socket
import time

import pytest

import netns
from client import Raw, chat_body, in_time, request_bytes, wait_for

NEAR, LAN = "10.9.0.1", "10.0.0.1"
RESOLV = {"resolv_conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"}
TOUCHY = {"consecutive": 3, "min_calls": 1000, "open_base": "60s", "open_cap": "60s"}
NO_HEDGE = {"after": "off"}


@pytest.fixture
def lan(network):
    """An address that is not loopback's, so that the rules for real networks apply."""
    network.ip(f"addr add {LAN}/24 dev lo")
    return network


@pytest.fixture
def resolver(lan):
    started = []

    def start(answers):
        started.append(netns.Resolver(answers))
        return started[-1]
    yield start
    for r in started:
        r.stop()


def arrived(c):
    """Are there bytes to read?"""
    return bool(select.select([c.sock], [], [], 0)[0])


def at(url, **more):
    return {"type": "openai", "base_url": url, "api_key": "sk-x", "allow_http": True, **more}


def first_try(answer):
    return answer.trail[0][1].partition(":")[0]


# -- names ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("answers", [{}, "servfail", {"a.test": []}])
def test_n01_and_n04_a_name_without_an_address_costs_nearly_nothing(resolver, upstream, holdfast,
                                                                   tmp_path, answers):
    resolver(answers)
    b = upstream("B", host=LAN)
    p = holdfast(at("http://a.test:81/v1"), b, prefix=netns.with_etc(tmp_path, **RESOLV))
    answer = p.chat()
    assert answer.text.startswith("B:") and first_try(answer) == "dns"
    assert answer.seconds < 5


def test_n02_a_resolver_that_fails_after_it_worked(resolver, upstream, holdfast, tmp_path):
    """The address of a moment ago still serves, on a connection of its own. (libcurl knows it for
    a minute in any case; how long we do is a matter of transport.c.)"""
    answers = {"a.test": [LAN]}
    dns = resolver(answers)
    a, b = upstream("A", host=LAN, idle_close=0.05), upstream("B", host=LAN)
    p = holdfast(at(f"http://a.test:{a.port}/v1"), b, prefix=netns.with_etc(tmp_path, **RESOLV))
    assert p.chat().text.startswith("A:")
    dns.answers = "servfail"
    wait_for(lambda: not a.open_connections())
    answer = p.chat()
    assert answer.text.startswith("A:") and len(a.connections) == 2
    assert answer.header("x-holdfast-attempts") == "1"


def test_n03_a_silent_resolver_holds_up_only_who_needs_it(resolver, upstream, holdfast, tmp_path):
    resolver("silent")
    b = upstream("B", host=LAN)
    patient = {"resolv_conf": "nameserver 127.0.0.1\noptions timeout:9 attempts:1\n"}
    p = holdfast(at("http://a.test:81/v1"), b, prefix=netns.with_etc(tmp_path, **patient),
                 timeouts={"connect": "4s"}, hedge=NO_HEDGE,
                 routes=[{"model": "named", "targets": ["a/x", "b/x"]},
                         {"model": "*", "targets": ["b/x"]}])
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body("named")))
        assert all(p.chat().text.startswith("B:") for _ in range(5))
        assert not arrived(c), "it waits, and nobody waited for it"
        answer = c.answer()
    assert answer.text.startswith("B:") and first_try(answer) == "connect_timeout"
    assert answer.seconds < 8


@pytest.mark.parametrize("dead", ["fd00:1::1", "fd00:9::99"])
def test_n04_an_unreachable_first_address_is_not_waited_for(resolver, upstream, holdfast, tmp_path,
                                                            lan, dead):
    """IPv6 has no route, or a cable at whose end nobody answers; IPv4 is well."""
    with lan.far():
        pass
    lan.ip("-6 addr add fd00:9::1/64 dev near nodad")
    resolver({"a.test": [dead, LAN]})
    a, b = upstream("A", host=LAN), upstream("B", host=LAN)
    p = holdfast(at(f"http://a.test:{a.port}/v1"), b, prefix=netns.with_etc(tmp_path, **RESOLV),
                 timeouts={"connect": "10s"})
    answer = p.chat()
    assert answer.text.startswith("A:") and answer.seconds < 5


# -- routes and links ----------------------------------------------------------------------------
@pytest.mark.parametrize("route", ["unreachable", "prohibit", "blackhole", None])
def test_n07_no_route_to_the_host(lan, upstream, holdfast, route):
    if route:
        lan.ip(f"route add {route} 10.7.0.0/24")
    b = upstream("B", host=LAN)
    p = holdfast("http://10.7.0.7:81/v1", b, breaker=TOUCHY, hedge=NO_HEDGE)
    answer = p.chat()
    assert answer.text.startswith("B:") and first_try(answer) == "refused"
    assert answer.seconds < 5
    for _ in range(5):
        p.chat()
    assert {scope for scope, _ in p.breakers()} == {"endpoint"}, "B answers: it is A's own fault"


def test_n06_a_host_that_is_not_there(lan, upstream, holdfast):
    """Nobody answers for its address: a time-out, and later it costs no time."""
    with lan.far():
        pass
    b = upstream("B", host=LAN)
    targets = [{"target": "a/x", "connect": "500ms"}, "b/x"]
    proxies = []

    def ask():
        proxies.append(holdfast("http://10.9.0.99:81/v1", b, breaker=TOUCHY | {"consecutive": 1},
                                hedge=NO_HEDGE, routes=[{"model": "*", "targets": targets}]))
        return proxies[-1].chat()
    answer = in_time(ask, 0.4, 0.9)
    assert answer.text.startswith("B:") and first_try(answer) == "connect_timeout"
    second = [proxies[-1].chat() for _ in range(3)][-1]
    assert second.text.startswith("B:") and first_try(second) in ("ok", "breaker_open")


def test_the_own_network_is_down_and_nobody_is_blamed(lan, upstream, holdfast):
    """All endpoints fail alike: that says nothing of any of them. Back again, all work at once."""
    a, b = upstream("A", host=LAN), upstream("B", host=LAN)
    p = holdfast(a, b, breaker=TOUCHY, hedge=NO_HEDGE)
    lan.ip(f"addr del {LAN}/24 dev lo")
    for _ in range(8):
        assert p.chat().status == 502
    assert p.breakers() == set()
    lan.ip(f"addr add {LAN}/24 dev lo")
    assert p.chat().text.startswith("A:")


@pytest.mark.parametrize("stream", [False, True])
def test_n13_a_peer_that_vanishes_before_output(lan, upstream, holdfast, stream):
    with lan.far():
        a = upstream("A", host="10.9.0.2", default="held")
    b = upstream("B", host=LAN)
    p = holdfast(a, b, hedge=NO_HEDGE, routes=[{"model": "*", "targets": [
        {"target": "a/x", "first_token": "1s"}, "b/x"]}])
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=stream)))
        wait_for(lambda: a.attempts)
        lan.ip("link set near down")
        answer = c.answer()
    assert answer.text.startswith("B:") and first_try(answer) == "first_token_timeout"
    assert 0.8 <= answer.seconds <= 10


def test_n13_a_peer_that_vanishes_in_the_middle_of_a_stream(lan, upstream, holdfast):
    with lan.far():
        a = upstream("A", host="10.9.0.2", default="ok?gap=100&tokens=300")
    p = holdfast(a, hedge=NO_HEDGE, timeouts={"idle": "2s"})
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=True),
                             {"x-holdfast-midstream": "error"}))
        wait_for(lambda: c.fill(c.sent_at + 30) and b"word2" in c.buffer)
        lan.ip("link set near down")
        cut_at = time.monotonic()
        answer = c.answer()
    assert answer.end == "aborted" and answer.error and answer.text.startswith("A: word1 word2")
    assert 1.5 <= time.monotonic() - cut_at <= 10
    wait_for(lambda: p.metric("holdfast_attempts_total", outcome="idle_timeout") == 1)


def test_n14_a_narrow_link_is_slow_and_not_dead(lan, upstream, holdfast):
    """64 kbit/s: longer in all than any limit on silence, and never silent."""
    with lan.far():
        a = upstream("A", host="10.9.0.2", default="ok?tokens=200")
        lan.tc("qdisc add dev far root tbf rate 64kbit burst 1600 latency 9s")
    b = upstream("B", host=LAN)
    p = holdfast(a, b, hedge=NO_HEDGE, timeouts={"idle": "2500ms", "first_token": "2500ms"})
    answer = p.chat(stream=True)
    assert answer.end == "complete" and answer.done == 1 and answer.text.endswith("word199")
    assert answer.seconds > 2.5 and b.attempts == []


@pytest.mark.parametrize("allow, in_", [(["10.9.0.2"], True), (["10.9.1.0/24", "fd00::/8"], False)])
def test_only_networks_that_are_allowed_may_call(network, upstream, holdfast, allow, in_):
    p = holdfast(upstream("A"), listen=["0.0.0.0:8090"], insecure=True, hosts=["10.9.0.1"], allow=allow)
    p.port = 8090
    with network.far():
        with socket.create_connection(("10.9.0.1", 8090), 10) as s:
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: 10.9.0.1\r\n\r\n")
            try:
                got = s.recv(100)
            except ConnectionResetError:
                got = b""
    assert got.startswith(b"HTTP/1.1 200") if in_ else got == b""
    assert p.chat().status == 200  # this machine itself always may
