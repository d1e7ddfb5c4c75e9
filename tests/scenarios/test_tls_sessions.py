"""What saves a TLS handshake: a connection that is ready, and a session that is taken up again."""
import signal
import time

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from conftest import provider


def test_a_connection_is_ready_before_the_first_request(upstream, holdfast, certs):
    a, b = upstream("A", tls="good"), upstream("B")
    p = holdfast(a, b, env={"SSL_CERT_FILE": certs.ca})
    wait_for(lambda: a.connections and a.connections[0].tls_resumed is not None)
    assert b.connections == [], "without TLS it is not worth while"
    assert p.chat().text.startswith("A:")
    assert len(a.connections) == 1


def test_one_that_the_provider_has_closed_is_replaced(upstream, holdfast, certs):
    a = upstream("A", tls="good", idle_close=0.05)
    holdfast(a, env={"SSL_CERT_FILE": certs.ca})
    wait_for(lambda: len(a.connections) >= 2 and a.connections[1].tls_resumed)
    assert a.connections[1].accepted_at - a.connections[0].accepted_at > 4.5, "but not at once"
    assert a.attempts == []


def test_none_is_opened_where_that_is_not_wanted(upstream, holdfast, certs):
    a, b = upstream("A", tls="good", idle_close=0.05), upstream("B", tls="good")
    p = holdfast(a, b, env={"SSL_CERT_FILE": certs.ca}, keep_warm="0s")
    assert p.chat().text.startswith("A:")
    wait_for(lambda: not a.open_connections())
    assert p.chat().text.startswith("A:")
    assert len(a.connections) == 2 and b.connections == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_large_answer_comes_whole(upstream, holdfast, certs, stream):
    """Many records at a time: none is left lying in the socket or in OpenSSL."""
    a = upstream("A", tls="good", default="ok?tokens=20000&gap=0")
    answer = holdfast(a, env={"SSL_CERT_FILE": certs.ca}).chat(stream=stream)
    assert answer.status == 200 and len(answer.text.split()) == 20000 and answer.done == stream


def again(p, a, model):
    """Asks on a new connection, which is returned."""
    wait_for(lambda: not a.open_connections())
    p.chat(model=model)
    return a.connections[-1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_next_connection_takes_the_session_up_again(upstream, holdfast, certs, host):
    a = upstream("A", tls="good", idle_close=0.05)
    p = holdfast(provider(a.base_url.replace("127.0.0.1", host)), env={"SSL_CERT_FILE": certs.ca})
    assert p.chat().text.startswith("A:")
    assert not a.connections[0].tls_resumed
    for _ in range(3):
        assert again(p, a, "gpt").tls_resumed


@pytest.mark.parametrize("way", ["straight", "http", "https"])
def test_a_session_is_not_taken_up_for_another_provider(upstream, holdfast, certs, connect_proxy, way):
    """What was allowed to the one, who showed a certificate, is not allowed to the other."""
    a = upstream("A", tls="mutual", idle_close=0.05)
    url, env = a.base_url, {"SSL_CERT_FILE": certs.ca}
    if way != "straight":
        office = connect_proxy(("127.0.0.1", a.port), tls=certs.path("good") if way == "https" else None)
        url, env = "https://api.holdfast.test/v1", env | {"ALL_PROXY": office.url}
    shown = {"client_cert": certs.path("good"), "client_key": certs.path("good")}
    p = holdfast(provider(url) | shown, provider(url), env=env, keep_warm="0s",
                 routes=[{"model": "one", "targets": ["a/m"]}, {"model": "two", "targets": ["b/m"]}])
    assert p.chat(model="one").text.startswith("A:")
    assert again(p, a, "one").tls_resumed == (way != "https"), "there libcurl keeps none"
    wait_for(lambda: not a.open_connections())
    asked = len(a.attempts)
    assert p.chat(model="two").error["code"] in ("tls", "reset")
    assert len(a.attempts) == asked


def test_none_is_opened_while_it_drains(upstream, holdfast, certs):
    a, b = upstream("A", default="held"), upstream("B", tls="good", idle_close=0.05)
    p = holdfast(a, b, env={"SSL_CERT_FILE": certs.ca}, drain={"delay": "0s", "timeout": "60s"})
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(),
                             {"x-holdfast-failover": "off"}))
        wait_for(lambda: a.attempts and b.connections and not b.open_connections())
        p.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in p.stderr)
        before = len(b.connections)
        time.sleep(11)  # in 10 s the next one would have been opened
        a.release()
        assert c.answer().status == 200
    assert p.wait() == 0
    assert len(b.connections) == before
