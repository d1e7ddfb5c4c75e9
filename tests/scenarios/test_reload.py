"""A changed configuration takes over while the program runs, and nobody who is being served notices."""
import json
import os
import signal
import threading

import pytest

from client import Load, Raw, chat_body, request_bytes, wait_for
from conftest import provider
from faultd import bodies
from faultd.by_hand import ByHand


class Reloaded:
    """A running program and its file; `change` edits it and waits until it is in force."""

    def __init__(self, proxy):
        self.proxy, self.port = proxy, proxy.port
        self.config = json.loads(proxy.config_path.read_text())

    def write(self, text):
        new = self.proxy.config_path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.proxy.config_path)  # as an editor does

    def done(self):
        return self.proxy.stderr.count("the configuration is in force")

    def change(self, sign=signal.SIGHUP, **parts):
        before = self.done()
        self.config |= parts
        self.write(json.dumps(self.config))
        if sign:
            self.proxy.process.send_signal(sign)
        wait_for(lambda: self.done() > before)

    def refuse(self, text):
        before = self.proxy.stderr.count("was not taken over")
        self.write(text)
        self.proxy.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.proxy.stderr.count("was not taken over") > before)


@pytest.fixture
def running(holdfast):
    return lambda *upstreams, **parts: Reloaded(holdfast(*upstreams, **parts))


def to(*targets):
    return [{"model": "alive-probe", "targets": ["probe/p"]}, {"model": "*", "targets": list(targets)}]


@pytest.mark.tsan
@pytest.mark.parametrize("workers", [1, 2])
def test_the_next_request_goes_by_the_new_one(upstream, running, workers):
    a, b = upstream("A"), upstream("B")
    r = running(a, b, workers=workers)
    assert r.proxy.chat().text.startswith("A:")
    r.change(routes=to("b/model-b"))
    assert r.proxy.chat().text.startswith("B:")
    assert r.proxy.status()["last_reload"] == "ok"
    r.change(routes=to("a/model-a"))
    assert r.proxy.chat().text.startswith("A:")


def test_a_connection_that_was_open_before_is_served_by_the_new_one(upstream, running):
    r = running(upstream("A"), upstream("B"))
    with Raw(r.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        assert c.answer().text.startswith("A:")
        r.change(routes=to("b/model-b"))
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        assert c.answer().text.startswith("B:")


def test_a_file_that_changes_is_enough(upstream, running):
    r = running(upstream("A"), upstream("B"))
    r.change(sign=None, routes=to("b/model-b"))
    assert r.proxy.chat().text.startswith("B:")


def test_a_key_in_a_file_is_rotated_at_once(upstream, running, tmp_path):
    a = upstream("A")
    key = tmp_path / "key"
    key.write_text("sk-the-old-one-000\n")
    r = running({"type": "openai", "base_url": a.base_url, "api_key": "${file:%s}" % key})
    r.proxy.chat()
    key.write_text("sk-the-new-one-111\n")
    wait_for(lambda: r.done() == 1)
    r.proxy.chat()
    assert [x.header("authorization") for x in a.attempts] == ["Bearer sk-the-old-one-000",
                                                               "Bearer sk-the-new-one-111"]


@pytest.mark.tsan
def test_a_stream_under_way_ends_with_the_one_it_began_with(upstream, running):
    a, b = upstream("A", default="held"), upstream("B")
    r = running(a, b)
    got = {}

    def read():
        got["answer"] = r.proxy.chat(stream=True)

    reader = threading.Thread(target=read)
    reader.start()
    wait_for(lambda: len(a.attempts) == 1)
    for _ in range(3):
        r.change(routes=to("b/model-b"), providers={k: v for k, v in r.config["providers"].items()
                                                     if k != "a"})
        assert r.proxy.chat(stream=True).text.startswith("B:")
    a.release()
    reader.join(20)
    assert got["answer"].text.startswith("A:") and got["answer"].done == 1
    wait_for(lambda: r.proxy.metric("holdfast_requests_total", outcome="ok") == 4)


@pytest.mark.parametrize("text, why", [
    ("providers: {", "holdfast0.conf"),
    ("", "is empty"),
    ('{"providers": {"x": {"type": "nonsense"}}}', "nonsense"),
])
def test_one_that_is_wrong_changes_nothing(upstream, running, text, why):
    a = upstream("A")
    r = running(a)
    r.refuse(text)
    assert r.proxy.chat().text.startswith("A:")
    assert why in r.proxy.status()["last_reload"]
    r.change()
    assert r.proxy.status()["last_reload"] == "ok"


def test_the_health_of_what_stays_is_known_still(upstream, running):
    a, b = upstream("A", default="status?code=500"), upstream("B")
    r = running(a, b, breaker={"consecutive": 2, "open_base": "60s", "open_cap": "60s"})
    for _ in range(2):
        r.proxy.chat()
    assert ("model", "a/model-a") in r.proxy.breakers()
    asked, counted = len(a.attempts), r.proxy.metric("holdfast_attempts_total", provider="a")
    r.change(log={"level": "debug"})
    assert ("model", "a/model-a") in r.proxy.breakers()
    assert r.proxy.chat().trail[0][:2] == ("a/model-a", "breaker_open")
    assert len(a.attempts) == asked
    assert r.proxy.metric("holdfast_attempts_total", provider="a") == counted
    status = {t["target"]: t for t in r.proxy.status()["targets"]}["a/model-a"]
    assert status["failures"] == 2 and "server error" in status["last_error"]


def test_another_address_begins_without_a_past(upstream, running):
    a, c = upstream("A", default="status?code=500"), upstream("C")
    r = running(a, upstream("B"), breaker={"consecutive": 2, "open_base": "60s", "open_cap": "60s"})
    for _ in range(2):
        r.proxy.chat()
    r.change(providers=r.config["providers"] | {"a": provider(c)})
    assert r.proxy.breakers() == set()
    assert r.proxy.chat().text.startswith("C:")


def test_a_key_that_is_replaced_does_not_rest(upstream, running):
    a = upstream("A", queue=["status?code=401"])
    r = running(a, upstream("B"))
    assert r.proxy.chat().text.startswith("B:")
    assert r.proxy.chat().trail[0][:2] == ("a/model-a", "resting") and len(a.attempts) == 1
    r.change(providers=r.config["providers"] | {"a": provider(a, "sk-another-one-222")})
    assert r.proxy.chat().text.startswith("A:")


def test_what_only_a_restart_changes_is_named(upstream, running):
    r = running(upstream("A"))
    r.change(admin="127.0.0.1:1", workers=7)
    assert "another admin, workers, which only a restart changes" in r.proxy.stderr
    assert r.proxy.chat().status == 200 and r.proxy.status()["workers"] == 1


def test_limits_of_clients_change_with_it(upstream, running):
    r = running(upstream("A"))
    body = chat_body(messages=[{"role": "user", "content": "x" * 100000}])
    with Raw(r.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", body))
        assert c.answer().status == 200
    r.change(limits={"request_body": "64KiB"})
    with Raw(r.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", body))
        assert c.answer().status == 413


def test_answers_that_are_kept_are_found_after_it(upstream, running):
    a, b = upstream("A"), upstream("B")
    r = running(a, b)
    first = r.proxy.chat(headers={"Idempotency-Key": "k"})
    r.change(routes=to("b/model-b"))
    again = r.proxy.chat(headers={"Idempotency-Key": "k"})
    assert again.body == first.body and again.header("x-holdfast-replayed") == "true"
    assert b.attempts == []


@pytest.mark.tsan
def test_a_storm_of_changes_under_load_loses_nothing(upstream, running):
    a, b = upstream("A", default="ok?gap=2"), upstream("B", default="ok?gap=2")
    r = running(a, b, workers=2)
    load = Load(r.proxy, 6, ("A:", "B:"))
    try:
        for i in range(100):
            r.change(routes=to("b/model-b" if i % 2 else "a/model-a"))
        load.goes_on(6)
    finally:
        load.end()
    assert load.wrong == [] and len(load.done) > 50
    # What those before the last one have counted is there once their last request has ended.
    wait_for(lambda: r.proxy.metric("holdfast_requests_total", outcome="ok") == len(load.done))


def test_connections_from_before_have_room_for_longer_answers(running):
    """A client that is slow to read is not lost for an answer that the new limits allow."""
    answer = bodies.dump(bodies.completion("m", "x" * 30_000_000, 1))

    def serve(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                  % len(answer) + answer)

    a = ByHand(serve)
    try:
        r = running(a.base_url, limits={"answer_body": "1MiB"})
        with Raw(r.port) as c:
            c.send(request_bytes("GET", "/v1/models"))
            assert c.answer("GET").status == 200
            r.change(limits={"answer_body": "64MiB"})
            before = r.proxy.stderr.count('"msg":"exchange"')
            c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
            wait_for(lambda: r.proxy.stderr.count('"msg":"exchange"') > before)
            got = c.answer()
        assert got.end == "complete" and len(got.json["choices"][0]["message"]["content"]) == 30_000_000
    finally:
        a.stop()
