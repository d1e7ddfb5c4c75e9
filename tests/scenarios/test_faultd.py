"""The fault server does what its scripts say, seen without a proxy in between."""
import socket
import ssl
import time

import pytest

from client import Raw, chat, chat_body, http_get, request_bytes, wait_for
from faultd import blackhole, closed_port, story
from faultd.bodies import PAGES


def test_a_good_answer_in_both_forms(upstream):
    a = upstream("A")
    assert chat(a.port).text == "A: word1 word2 word3 word4"
    s = chat(a.port, stream=True)
    assert s.text == "A: word1 word2 word3 word4" and s.done == 1 and s.end == "complete"
    assert [x.script for x in a.attempts] == ["ok", "ok"]
    assert not a.attempts[1].reused


def test_scripts_come_from_the_queue_then_from_the_model_name(upstream):
    a = upstream("A", queue=["status?code=503&retry_after=7"])
    first = chat(a.port)
    assert first.status == 503 and first.header("retry-after") == "7"
    assert chat(a.port).status == 200
    assert chat(a.port, model="fault:status?code=529").status == 529
    wait_for(lambda: [x.ended for x in a.attempts] == ["done"] * 3)


@pytest.mark.parametrize("how,end,done", [("eof", "aborted", 0), ("rst", "aborted", 0),
                                          ("clean", "complete", 0), ("done", "complete", 1),
                                          ("error", "complete", 0), ("stall", "timeout", 0)])
def test_cuts_end_as_they_say(upstream, how, end, done):
    a = upstream("A")
    s = chat(a.port, f"fault:cut?after=3&how={how}", stream=True, timeout=1 if how == "stall" else 30)
    assert (s.end, s.done, s.text) == (end, done, "A: word1 word2")


def test_a_peer_that_leaves_is_seen(upstream):
    a = upstream("A", default="hang")
    with Raw(a.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        wait_for(lambda: a.attempts)
    wait_for(lambda: a.attempts[0].ended == "peer")
    wait_for(lambda: not a.open_connections())


def test_reused_connections_are_told_apart(upstream):
    a = upstream("A", default="rst_reused")
    with Raw(a.port) as c:
        for expected in (200, None):
            c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
            answer = c.answer()
            assert (answer.status if answer else None) == expected
        assert c.eof == "reset"
    assert [x.reused for x in a.attempts] == [False, True]


def test_helpers_for_connections_that_never_stand():
    port, keeper = closed_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)
    keeper.close()
    port, keepers = blackhole()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), 0.3)
    assert time.monotonic() - started > 0.25
    for k in keepers:
        k.close()


@pytest.mark.parametrize("kind,reason", [("good", None), ("h2", None), ("expired", "expired"),
                                         ("wrong_host", "doesn't match|mismatch|not valid for"),
                                         ("self_signed", "self.signed"),
                                         ("unknown_ca", "self.signed|unable to get"), ("alert", "HANDSHAKE")])
def test_tls_kinds(upstream, certs, kind, reason):
    a = upstream("A", tls=kind)
    context = ssl.create_default_context(cafile=certs.ca)
    context.set_alpn_protocols(["http/1.1"])
    raw = socket.create_connection(("127.0.0.1", a.port), 20)
    if reason:
        with pytest.raises(ssl.SSLError, match=f"(?i){reason}"):
            context.wrap_socket(raw, server_hostname="localhost")
        return
    with context.wrap_socket(raw, server_hostname="localhost") as s:
        assert s.selected_alpn_protocol() == "http/1.1"
        s.sendall(request_bytes("GET", "/v1/models"))
        assert s.recv(20).startswith(b"HTTP/1.1 200")
    assert a.connections[0].alpn_offered == ["http/1.1"]


def test_the_connect_proxy_tunnels_and_refuses(upstream, connect_proxy):
    a = upstream("A")
    for mode, status in (("tunnel", 200), ("407", 407), ("502", 502)):
        p = connect_proxy(("127.0.0.1", a.port), mode)
        with Raw(p.port) as c:
            c.send(b"CONNECT api.holdfast.test:443 HTTP/1.1\r\nHost: api.holdfast.test\r\n\r\n")
            assert c.head(time.monotonic() + 20).status == status
            if mode == "tunnel":
                c.send(request_bytes("GET", "/v1/models"))
                assert c.answer("GET").status == 200
        assert p.log[0][1].startswith("CONNECT api.holdfast.test:443")


@pytest.mark.parametrize("spec,what", [
    ("bad200?kind=html", lambda r: r.body == PAGES["portal"].encode()),
    ("bad200?kind=truncated", lambda r: r.status == 200 and not r.body.endswith(b"}")),
    ("bad200?kind=gzip", lambda r: r.header("content-encoding") == "gzip"),
    ("wrong_length?by=50", lambda r: r.end == "aborted"),
    ("http10", lambda r: r.framing == "close" and r.text.startswith("A:")),
    ("redirect", lambda r: r.status == 302),
    ("status?code=429&retry_after=date", lambda r: r.header("retry-after").endswith("GMT")),
    ("preset?name=quota", lambda r: r.error["code"] == "insufficient_quota"),
])
def test_odd_answers(upstream, spec, what):
    assert what(chat(upstream("A").port, "fault:" + spec))


def test_the_log_can_be_read_over_http(upstream):
    a = upstream("A")
    chat(a.port, headers={"X-Odd": "1"})
    status, _, body = http_get(a.port, "/_log")
    assert status == 200 and b'"X-Odd", "1"' in body and b'"script": "ok"' in body


def test_tool_arguments_can_be_split_at_every_byte(upstream):
    s = chat(upstream("A").port, "fault:ok?tools=2&split_args=1", stream=True)
    calls = {}
    for chunk in s.chunks:
        for choice in chunk["choices"]:
            for call in choice["delta"].get("tool_calls", []):
                calls.setdefault(call["index"], "")
                calls[call["index"]] += call["function"]["arguments"]
    assert calls == {0: '{"city":"Zürich","n":0}', 1: '{"city":"Zürich","n":1}'}


# -- the text that all of them know ----------------------------------------------------------------
SENT = story.TEXT[:120]
PARTIAL = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": SENT}]
QUOTING = [*PARTIAL, {"role": "user", "content": f"Repeat exactly <{SENT[-40:]}> and go on."}]


@pytest.mark.parametrize("spec, messages, text", [
    ("canonical", PARTIAL[:1], story.TEXT), ("canonical", PARTIAL, story.TEXT[120:]),
    ("canonical", [PARTIAL[0], {"role": "assistant", "content": "A poxy"}], story.TEXT),
    ("canonical", QUOTING, story.TEXT), ("canonical?turn=repeats", QUOTING, story.TEXT[80:]),
    ("canonical?turn=repeats", QUOTING[:1] + QUOTING[2:], story.TEXT)])
@pytest.mark.parametrize("stream", [False, True])
def test_the_canonical_text_goes_on_where_it_is_asked_to(upstream, spec, messages, text, stream):
    a = upstream("A", default=spec + ("&" if "?" in spec else "?") + "gap=0")
    assert chat(a.port, stream=stream, messages=messages).text == text


def test_who_takes_no_prefill_refuses_it_and_nothing_else(upstream):
    a = upstream("A", default="canonical?gap=0&prefill=refused")
    refusal = chat(a.port, stream=True, messages=PARTIAL)
    assert refusal.status == 400 and "prefill" in refusal.error["message"]
    assert chat(a.port, stream=True, messages=QUOTING).text == story.TEXT


@pytest.mark.parametrize("spec, end, words, done", [
    ("cut=40", "aborted", 40, 0), ("stall=20&silent=50", "aborted", 20, 0), ("done=0", "complete", 60, 0)])
def test_the_canonical_text_breaks_where_it_is_told_to(upstream, spec, end, words, done):
    s = chat(upstream("A", default=f"canonical?gap=0&{spec}").port, stream=True)
    assert (s.end, s.text, s.done) == (end, "".join(story.pieces(story.TEXT)[:words]), done)


def test_a_model_s_scripts_come_one_after_another_and_the_last_one_stays(upstream):
    a = upstream("A", models={"m": ["status?code=503", "ok"]})
    assert [chat(a.port, model).status for model in ("m", "other", "m", "m")] == [503, 200, 200, 200]


def test_a_flapping_upstream_is_down_for_its_time(upstream):
    a = upstream("A", default="flap?down=2000&gap=0")
    assert chat(a.port).status == 503 and chat(a.port).status == 503
    wait_for(lambda: time.monotonic() - a.since > 2)
    assert chat(a.port).text == story.TEXT
    a.clear_log()
    assert chat(a.port).status == 503
