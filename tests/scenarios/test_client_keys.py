"""Keys of clients: made here, kept as hashes, each with its models and its limits."""
import hashlib
import json
import re
import signal
import threading

import pytest

from client import Raw, chat_body, http_get, request_bytes, wait_for

KEYS = {name: f"hf_{name}_key_0123456789" for name in ("ann", "bob")}


def client(name, **limits):
    return {"name": name, "key_sha256": hashlib.sha256(KEYS[name].encode()).hexdigest(), **limits}


@pytest.fixture
def team(upstream, holdfast):
    """The program with ann's limits and with bob, who has none; bob also probes it."""
    def start(a, **limits):
        p = holdfast(a, clients=[client("ann", **limits), client("bob")])
        p.check_alive = lambda: ask(p, "bob", model="alive-probe").text.startswith("probe:")
        return p
    return start


def ask(p, name="ann", **more):
    return p.chat(headers={"Authorization": f"Bearer {KEYS[name]}"}, **more)


def test_a_key_is_made_and_works(run, upstream, holdfast):
    made = run("key", "ci")
    key = made.stdout.strip()
    assert made.process.returncode == 0 and re.fullmatch(r"hf_[0-9a-f]{48}", key)
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert f"- {{name: ci, key_sha256: {digest}}}" in made.stderr and key not in made.stderr
    assert run("key", "ci").stdout != made.stdout
    p = holdfast(upstream("A"), clients=[{"name": "ci", "key_sha256": digest}])
    p.probe = None
    assert p.chat(headers={"Authorization": f"Bearer {key}"}).status == 200
    assert p.chat().status == 401
    wait_for(lambda: '"exchange"' in p.stderr)
    line = [x for x in p.log_lines() if x["msg"] == "exchange"][0]
    assert line["caller"] == "ci" and key not in p.stderr


@pytest.mark.parametrize("args", [["key"], ["key", "a b"], ["key", "a", "b"]])
def test_a_key_needs_a_name(run, args):
    assert run(*args).process.returncode == 64


def test_models_that_are_not_the_client_s(upstream, team):
    a = upstream("A", default="ok")
    p = team(a, models=["gpt-*", "alive-probe"])
    assert ask(p, model="gpt-4o").status == 200
    answer = ask(p, model="o3")
    assert answer.status == 403 and answer.error["code"] == "model_not_allowed"
    assert "ann" in answer.error["message"] and "o3" in answer.error["message"]
    assert ask(p, "bob", model="o3").status == 200
    assert len(a.attempts) == 2
    key = {"Authorization": f"Bearer {KEYS['ann']}"}
    assert http_get(p.port, "/v1/files", key)[0] == 403
    listed = json.loads(http_get(p.port, "/v1/models", key)[2])["data"]
    assert [m["id"] for m in listed] == ["alive-probe"]
    assert http_get(p.port, "/v1/models/o3", key)[0] == 404


def test_a_route_by_its_name_is_no_way_around_them(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast(a, b, routes=[{"model": "small*", "targets": ["a/x"]}, {"model": "large", "targets": ["b/y"]},
                               {"model": "*", "targets": ["b/z"]}],
                 clients=[client("ann", models=["small*"]), client("bob")])
    p.probe = None
    for name, route, status in (("ann", "small*", 200), ("ann", "large", 403), ("ann", "*", 403), ("bob", "large", 200)):
        answer = p.chat(model="small-1", headers={"Authorization": f"Bearer {KEYS[name]}", "x-holdfast-route": route})
        assert answer.status == status, (name, route, answer.body)
    assert (len(a.attempts), len(b.attempts)) == (1, 1)


def test_so_many_requests_a_minute(upstream, team):
    a = upstream("A")
    p = team(a, requests_per_minute=3)
    answers = [ask(p) for _ in range(3)]
    assert [x.status for x in answers] == [200] * 3
    assert [x.header("x-ratelimit-remaining-requests") for x in answers] == ["2", "1", "0"]
    assert answers[0].header("x-ratelimit-limit-requests") == "3"
    last = ask(p)
    assert last.status == 429 and last.error["code"] == "rate_limit_exceeded"
    assert "3 requests a minute" in last.error["message"]
    assert 50 <= int(last.header("retry-after")) <= 61 and last.header("x-should-retry") == "true"
    assert ask(p, "bob").status == 200 and ask(p, "bob").header("x-ratelimit-limit-requests") is None
    assert len(a.attempts) == 5


@pytest.mark.tsan
@pytest.mark.parametrize("workers", [1, 2])
def test_many_at_once_get_exactly_the_limit(upstream, holdfast, workers):
    a = upstream("A", default="ok?first=20")
    p = holdfast(a, workers=workers, clients=[client("ann", requests_per_minute=10), client("bob")])
    p.probe = None
    got = []
    threads = [threading.Thread(target=lambda: got.append(ask(p).status)) for _ in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(got) == [200] * 10 + [429] * 30 and len(a.attempts) == 10


def test_tokens_are_what_the_provider_counted(upstream, team):
    a = upstream("A")  # 16 tokens an answer
    p = team(a, tokens_per_minute=50)
    seen = []
    for _ in range(6):
        answer = ask(p, stream=len(seen) % 2 == 0, stream_options={"include_usage": True})
        if answer.status == 429:
            break
        seen.append(answer.header("x-ratelimit-remaining-tokens"))
    assert "50 tokens a minute" in answer.error["message"]
    assert 2 <= len(seen) <= 3 == len(a.attempts) or len(seen) == len(a.attempts) == 2
    assert int(seen[0]) > int(seen[1])


def test_who_leaves_before_the_end_pays_for_what_came(upstream, holdfast):
    """Anthropic tells at the start what the request had, and of the answer only at its end."""
    a = upstream("A", default="cut?after=300&how=stall")
    p = holdfast({"type": "anthropic", "base_url": a.base_url.removesuffix("/v1"), "api_key": "sk-a"},
                 clients=[client("ann", tokens_per_minute=1000), client("bob")], stream={"midstream": "error"})
    p.probe = None
    for _ in range(3):
        with Raw(p.port) as c:
            c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=True),
                                 {"Authorization": f"Bearer {KEYS['ann']}"}))
            wait_for(lambda: c.fill_some() and b"word299" in c.buffer or b" 429 " in c.buffer)
        wait_for(lambda: p.in_flight() == 0)
    assert b" 429 " in c.buffer


def test_so_many_at_once(upstream, team):
    a = upstream("A", queue=["held"])
    p = team(a, concurrency=1)
    first = []
    t = threading.Thread(target=lambda: first.append(ask(p)))
    t.start()
    wait_for(lambda: len(a.attempts) == 1)
    refused = ask(p)
    assert refused.status == 429 and "1 requests at once" in refused.error["message"]
    assert ask(p, "bob").status == 200
    a.release()
    t.join()
    assert first[0].status == 200 and ask(p).status == 200


def test_who_leaves_gives_its_place_back(upstream, team):
    a = upstream("A", queue=["held"])
    p = team(a, concurrency=1)
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(),
                             {"Authorization": f"Bearer {KEYS['ann']}"}))
        wait_for(lambda: len(a.attempts) == 1)
    wait_for(lambda: ask(p).status == 200)


def test_a_provider_s_own_limits_are_not_the_client_s(upstream, team):
    a = upstream("A", default="ok?head=x-ratelimit-remaining-requests: 7")
    p = team(a, requests_per_minute=100)
    assert ask(p).header("x-ratelimit-remaining-requests") == "99"
    assert ask(p, "bob").header("x-ratelimit-remaining-requests") == "7"


def test_what_was_used_is_known_after_a_change_of_the_configuration(upstream, team):
    p = team(upstream("A"), requests_per_minute=2)
    assert ask(p).status == 200
    config = json.loads(p.config_path.read_text())
    config["clients"][0]["requests_per_minute"] = 1
    p.config_path.write_text(json.dumps(config))
    p.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "is in force" in p.stderr)
    assert ask(p).status == 429
