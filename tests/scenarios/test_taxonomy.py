"""The error taxonomy, row by row: what is seen on the wire, and everything that must follow from it.

The rows E01 to E47 are the kinds of failure that a proxy for language models meets; each test names
the one it shows. Not here, with the reason:

  E06  a stale kept connection is replaced unseen: test_pool.py
  E07  refused HTTP/2 streams: HTTP/2 is not spoken
  E13  a hedge is no failure: test_matrix_http.py, H32 and H33
  E18  a continuation that is refused: test_streams.py; E37 to E39 carried on: test_failover_bench.py
  E40  an end without [DONE] or without a closed connection: test_streams.py
  E43  no descriptors left here: test_wire.py
  E44  the client has left: test_client_gone.py, test_breaker.py
"""
import ast
import itertools
import re
import time
from collections import namedtuple
from pathlib import Path

import pytest

import netns
from client import Raw, chat_body, in_time, request_bytes, wait_for
from conftest import HASTY, provider
from faultd import blackhole, closed_port

NOT_ASKED = {"breaker_open", "resting", "saturated", "unfit"}
TOUCHY = {"window": "10s", "min_calls": 1000, "open_base": "60s", "open_cap": "60s"}
TWICE = {"max_attempts": 4, "per_target": 2}
NO_HEDGE = {"after": "off"}
QUICK = {"first_token": "500ms", "answer": "500ms"}
IN_NO_TIME = {"connect_timeout", "first_token_timeout", "idle_timeout"}

# What keeps which models of the account away from the next request. `bad` is the model that failed,
# `good` another one of the same account.
KEPT_AWAY = {
    "endpoint": {"bad", "good"},  # breaker of the host and port
    "model": {"bad"},             # breaker of the model there
    "key": {"bad", "good"},       # the key rests, no breaker moves
    "key@model": {"bad"},         # it rests for that model
    "target": {"bad"},            # the target rests
    "nothing": set(),
}
BREAKERS = {"endpoint", "model"}

Row = namedtuple("Row", "id at_a label tries next status retry moves stream", defaults=[False])
#        at A                                   label          tries next status retry    moves
ROWS = [Row(*r) for r in [
    ("E03", "refused",                     "refused",             1, True, 502, "true",  "endpoint"),
    ("E04", "blackhole",                   "connect_timeout",     1, True, 504, "true",  "endpoint"),
    ("E05", "tls expired",                 "tls",                 1, True, 502, "false", "endpoint"),
    ("E05", "tls alert",                   "tls",                 1, True, 502, "false", "endpoint"),
    ("E05", "tls old",                     "tls",                 1, True, 502, "false", "endpoint"),
    ("E08", "rst_before",                  "reset",               2, True, 502, "true",  "endpoint"),
    ("E08", "fin_before",                  "reset",               2, True, 502, "true",  "endpoint"),
    ("E09", "fin_in_head",                 "reset",               2, True, 502, "true",  "endpoint"),
    ("E10", "junk",                        "protocol",            1, True, 502, "false", "endpoint"),
    ("E10", "junk?kind=http09",            "protocol",            1, True, 502, "false", "endpoint"),
    ("E10", "junk?kind=status",            "protocol",            1, True, 502, "false", "endpoint"),
    ("E11", "huge_head",                   "protocol",            1, True, 502, "false", "endpoint"),
    ("E11", "huge_head?n=1&size=200000",   "protocol",            1, True, 502, "false", "endpoint"),
    ("E11", "continue_flood",              "protocol",            1, True, 502, "false", "endpoint"),
    ("E11", "cl_and_te",                   "protocol",            1, True, 502, "false", "endpoint"),
    ("E11", "two_lengths",                 "protocol",            1, True, 502, "false", "endpoint"),
    ("E12", "redirect",                    "redirect",            1, True, 502, "false", "target"),
    ("E14", "hang",                        "first_token_timeout", 1, True, 504, "true",  "model"),
    ("E14", "bad_stream?kind=role&end=forever", "first_token_timeout", 1, True, 504, "true", "model", True),
    ("E15", "status?code=400",             "bad_request",         1, False, 400, "false", "nothing"),
    ("E16", "preset?name=context_length",  "context_length",      1, False, 400, "false", "nothing"),
    ("E17", "preset?name=content_policy",  "content_policy",      1, False, 400, "false", "nothing"),
    ("E19", "status?code=401",             "auth",                1, True, 502, "false", "key"),
    ("E20", "status?code=402",             "quota",               1, True, 503, "false", "key"),
    ("E20", "preset?name=quota",           "quota",               1, True, 503, "false", "key"),
    ("E20", "preset?name=credit_balance",  "quota",               1, True, 503, "false", "key"),
    ("E21", "status?code=403",             "forbidden",           1, True, 502, "false", "key@model"),
    ("E22", "status?code=403&body=nginx",  "html",                1, True, 502, "true",  "endpoint"),
    ("E22", "status?code=404&body=portal", "html",                1, True, 502, "true",  "endpoint"),
    ("E22", "status?code=500&body=nginx",  "html",                1, True, 502, "true",  "endpoint"),
    ("E22", "status?code=503&body=nginx",  "html",                1, True, 502, "true",  "endpoint"),
    ("E22", "bad200?kind=html",            "html",                1, True, 502, "true",  "endpoint"),
    ("E23", "status?code=404",             "model_not_found",     1, True, 404, "false", "target"),
    ("E24", "status?code=408",             "request_timeout",     2, True, 408, "true",  "model"),
    ("E24", "status?code=409",             "conflict",            2, True, 409, "true",  "nothing"),
    ("E24", "status?code=425",             "conflict",            2, True, 425, "true",  "nothing"),
    ("E25", "status?code=413",             "too_large",           1, False, 413, "false", "nothing"),
    ("E25", "preset?name=too_many_tokens", "too_large",           1, False, 429, "false", "nothing"),
    ("E26", "status?code=405",             "client_error",        1, False, 405, "false", "nothing"),
    ("E26", "status?code=415",             "client_error",        1, False, 415, "false", "nothing"),
    ("E26", "status?code=422",             "client_error",        1, False, 422, "false", "nothing"),
    ("E28", "status?code=429",             "rate_limited",        1, True, 429, "true",  "key@model"),
    ("E28", "status?code=429&retry_after=30", "rate_limited",     1, True, 429, "true",  "key@model"),
    ("E29", "status?code=500",             "server_error",        2, True, 502, "true",  "model"),
    ("E29", "status?code=500&body=empty",  "server_error",        2, True, 502, "true",  "model"),
    ("E30", "status?code=502&body=nginx",  "bad_gateway",         1, True, 502, "true",  "endpoint"),
    ("E30", "status?code=504",             "bad_gateway",         1, True, 504, "true",  "endpoint"),
    ("E30", "status?code=520&body=cloudflare", "bad_gateway",     1, True, 502, "true",  "endpoint"),
    ("E30", "status?code=522&body=cloudflare", "bad_gateway",     1, True, 502, "true",  "endpoint"),
    ("E30", "status?code=524&body=cloudflare", "bad_gateway",     1, True, 502, "true",  "endpoint"),
    ("E30", "status?code=530&body=cloudflare", "bad_gateway",     1, True, 502, "true",  "endpoint"),
    ("E31", "status?code=503",             "overloaded",          1, True, 503, "true",  "model"),
    ("E31", "status?code=503&body=text",   "overloaded",          1, True, 503, "true",  "model"),
    ("E31", "status?code=529",             "overloaded",          1, True, 503, "true",  "model"),
    ("E32", "status?code=501",             "not_implemented",     1, True, 502, "false", "target"),
    ("E32", "status?code=505",             "not_implemented",     1, True, 502, "false", "target"),
    ("E33", "cut",                         "truncated",           1, True, 502, "true",  "model"),
    ("E33", "http10?cut=30",               "truncated",           1, True, 502, "true",  "model"),
    ("E33", "bad200?kind=truncated",       "truncated",           1, True, 502, "true",  "model"),
    ("E33", "bad200?kind=sse_for_json",    "malformed",           1, True, 502, "true",  "model"),
    ("E34", "bad200?kind=no_choices",      "empty",               1, True, 502, "true",  "model"),
    ("E34", "bad200?kind=null_content",    "empty",               1, True, 502, "true",  "model"),
    ("E34", "bad_stream?kind=finish",      "empty",               1, True, 502, "true",  "model", True),
    ("E35", "bad_stream?kind=error",       "overloaded",          1, True, 503, "true",  "model", True),
    ("E35", "bad_stream?kind=error_role",  "server_error",        2, True, 502, "true",  "model", True),
    ("E36", "bad_stream?kind=role&end=eof", "truncated",          1, True, 502, "true",  "model", True),
    ("E39", "bad_stream?kind=malformed",   "malformed",           1, True, 502, "true",  "model", True),
    ("E41", "bad200?kind=gzip_bomb",       "answer_too_big",      1, True, 502, "false", "model"),
    ("E42", "bad200?kind=bad_gzip",        "bad_encoding",        1, True, 502, "false", "endpoint"),
    ("E42", "bad200?kind=br",              "bad_encoding",        1, True, 502, "false", "endpoint"),
]]


def outcomes(answer):
    """[(target, label)]: the trail without status and time."""
    return [(target, how.partition(":")[0]) for target, how, _ in answer.trail]


def tried(answer, target):
    return [how for t, how in outcomes(answer) if t == target and how not in NOT_ASKED]


class Place:
    """An upstream in whose model `bad` (or in whose connections) the fault lies."""

    def __init__(self, upstream, name, fault):
        self.keep = None
        if fault in ("refused", "blackhole"):
            port, self.keep = closed_port() if fault == "refused" else blackhole()
            self.where = f"http://127.0.0.1:{port}/v1"
        elif fault.startswith("tls "):
            self.where = upstream(name, tls=fault.removeprefix("tls "))
        else:
            self.where = upstream(name, models={"bad": fault})


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id} {r.at_a}{' stream' * r.stream}")
def test_row(upstream, holdfast, certs, row):
    a, alone, c = Place(upstream, "A", row.at_a), Place(upstream, "ALONE", row.at_a), upstream("C")
    limits = HASTY if row.label in IN_NO_TIME else {}
    # As many failures as tries open a breaker, so after the first request it shows which one moved.
    p = holdfast(a.where, alone.where, c, failover=TWICE, hedge=NO_HEDGE,
                 breaker=TOUCHY | {"consecutive": row.tries}, env={"SSL_CERT_FILE": certs.ca},
                 routes=[{"model": "bad", "targets": [{"target": "a/bad", **limits}, "c/x"]},
                         {"model": "good", "targets": ["a/good", "c/x"]},
                         {"model": "alone", "targets": [{"target": "b/bad", **limits}]}])
    first = p.chat("bad", row.stream)
    check_what_happened(p, first, row, c)
    check_who_is_blamed(p, row)
    check_what_the_client_gets(
        p.chat("alone", row.stream, headers={"x-holdfast-failover": "off"}), row)


def check_what_happened(p, answer, row, c):
    at_a = [("a/bad", row.label)] * row.tries
    if row.next:
        assert outcomes(answer) == [*at_a, ("c/x", "ok")]
        assert answer.status == 200 and answer.text.startswith("C:")
    else:
        assert outcomes(answer) == at_a
        assert answer.status == row.status and c.attempts == []
    assert p.metric("holdfast_attempts_total", provider="a", model="bad",
                    outcome=row.label) == row.tries
    line = wait_for(lambda: [x for x in p.log_lines()
                             if answer.header("x-request-id") in x.values()])[0]
    assert [x["outcome"] for x in line["attempts"]] == [how for _, how in outcomes(answer)]


def check_who_is_blamed(p, row):
    scopes = {scope for scope, _ in p.breakers()}
    assert scopes == ({row.moves} & BREAKERS), p.breakers()
    for model in ("bad", "good"):
        away = model in KEPT_AWAY[row.moves]
        answer = p.chat(model, row.stream)
        assert bool(tried(answer, f"a/{model}")) != away, answer.trail
        if away or model == "good":
            assert answer.text.startswith("C:" if away else "A:")


def check_what_the_client_gets(answer, row):
    assert outcomes(answer) == [("b/bad", row.label)]
    assert answer.status == row.status, answer.body
    assert answer.header("x-should-retry") == row.retry
    assert answer.header("content-type").startswith("application/json")
    if row.next and row.label != "conflict":  # what the caller may mend keeps the provider's code
        assert answer.error["code"] == row.label
    if "retry_after=" in row.at_a:
        assert 29 <= int(answer.header("retry-after")) <= 33
        assert int(answer.header("retry-after-ms")) > 28000


# -- what needs more than one script -------------------------------------------------------------
def test_e01_a_name_that_does_not_resolve(network, upstream, holdfast, tmp_path):
    network.ip("addr add 10.0.0.1/24 dev lo")
    resolver, b = netns.Resolver({}), upstream("B", host="10.0.0.1")
    a = {"type": "openai", "api_key": "sk-a", "base_url": "http://gone.test:81/v1",
         "allow_http": True}
    p = holdfast(a, b, breaker=TOUCHY | {"consecutive": 2}, hedge=NO_HEDGE, failover=TWICE,
                 prefix=netns.with_etc(tmp_path, resolv_conf="nameserver 127.0.0.1\n"),
                 routes=[{"model": "m", "targets": ["a/x", "b/x"]},
                         {"model": "other", "targets": ["a/y", "b/x"]},
                         {"model": "alone", "targets": ["a/z"]}])
    alone = p.chat("alone", headers={"x-holdfast-failover": "off"})
    assert alone.status == 502 and alone.error["code"] == "dns"
    assert alone.header("x-should-retry") == "true"
    for _ in range(3):
        answer = p.chat()
        assert answer.text.startswith("B:")
    assert outcomes(answer)[0] != ("a/x", "dns"), "its breaker is open"
    assert {scope for scope, _ in p.breakers()} == {"endpoint"}
    assert tried(p.chat("other"), "a/y") == []
    resolver.stop()


@pytest.mark.parametrize("mode", ["407", "502", "refused"])
def test_e02_the_company_proxy_refuses(upstream, holdfast, connect_proxy, mode):
    """Its own breaker opens; the provider is not blamed, and who does without it is not affected."""
    b, keep = upstream("B"), None
    if mode == "refused":
        port, keep = closed_port()
        office = f"http://127.0.0.1:{port}"
    else:
        office = connect_proxy(("127.0.0.1", 9), mode).url
    p = holdfast("https://one.holdfast.test/v1", b, "https://two.holdfast.test/v1",
                 env={"HTTPS_PROXY": office}, breaker=TOUCHY | {"consecutive": 3}, hedge=NO_HEDGE,
                 routes=[{"model": "m", "targets": ["a/x", "b/x"]},
                         {"model": "other", "targets": ["c/x", "b/x"]},
                         {"model": "alone", "targets": ["a/y"]}])
    alone = p.chat("alone", headers={"x-holdfast-failover": "off"})
    assert alone.status == 502 and alone.error["code"] == "egress_proxy"
    for model, target in (("m", "a/x"), ("other", "c/x")):  # three in a row, at two providers
        assert outcomes(p.chat(model)) == [(target, "egress_proxy"), ("b/x", "ok")]
    assert {scope for scope, _ in p.breakers()} == {"path"}
    for model, target in (("m", "a/x"), ("other", "c/x")):
        answer = p.chat(model)
        assert answer.text.startswith("B:") and tried(answer, target) == []
    del keep


@pytest.mark.parametrize("script", ["preset?name=context_length", "status?code=413",
                                    "preset?name=too_many_tokens"])
def test_e16_and_e25_only_a_larger_window_is_asked(upstream, holdfast, script):
    a, b, c = upstream("A", default=script), upstream("B"), upstream("C")
    p = holdfast(a, b, c, routes=[{"model": "*", "targets": [
        {"target": "a/x", "context_window": 8192}, {"target": "b/x", "context_window": 8192},
        {"target": "c/x", "context_window": 200000}]}])
    answer = p.chat()
    assert answer.text.startswith("C:")
    assert len(a.attempts) == 1 and b.attempts == []
    assert p.breakers() == set()


KEY_FAULTS = {"status?code=401": "auth", "status?code=402": "quota", "preset?name=quota": "quota",
              "status?code=403": "forbidden", "status?code=429&retry_after=30": "rate_limited"}


@pytest.mark.parametrize("script", KEY_FAULTS)
def test_e19_to_e28_the_other_key_of_the_account_is_tried_at_once(upstream, holdfast, script):
    """And only the key that failed rests: no breaker opens, no other account is asked."""
    a, b = upstream("A", queue=[script]), upstream("B")
    keys = {"type": "openai", "base_url": a.base_url, "keys": ["sk-one", "sk-two"]}
    p = holdfast(keys, b, failover=TWICE, hedge=NO_HEDGE, breaker=TOUCHY | {"consecutive": 1})
    answer = p.chat()
    assert outcomes(answer) == [("a/model-a", KEY_FAULTS[script]), ("a/model-a", "ok")]
    assert answer.seconds < 5
    assert all(p.chat().text.startswith("A:") for _ in range(4))
    used = [x.header("authorization") for x in a.attempts]
    assert len(set(used[:2])) == 2 and set(used[1:]) == {used[1]}, used
    assert b.attempts == [] and p.breakers() == set()


@pytest.mark.parametrize("script", KEY_FAULTS)
def test_e19_to_e28_never_open_a_breaker(upstream, holdfast, script):
    a, b = upstream("A", default=script), upstream("B")
    keys = {"type": "openai", "base_url": a.base_url, "keys": ["sk-one", "sk-two"]}
    p = holdfast(keys, b, failover=TWICE, hedge=NO_HEDGE, breaker=TOUCHY | {"consecutive": 1})
    assert all(p.chat().text.startswith("B:") for _ in range(5))
    assert len(a.attempts) == 2, "each key once, then both rest"
    assert p.breakers() == set()


def last_gap(up):
    return up.attempts[-1].at - up.attempts[-2].at


@pytest.mark.parametrize("wait", ["retry_after=1", "retry_after_ms=700"])
def test_e27_a_short_wait_is_waited_out(upstream, holdfast, wait):
    a, b = upstream("A"), upstream("B")
    seconds = {"retry_after=1": 1.0, "retry_after_ms=700": 0.7}[wait]

    def ask():
        a.queue("status?code=429&" + wait)
        return holdfast(a, b, failover=TWICE, hedge=NO_HEDGE).chat()
    answer = in_time(ask, seconds * 0.99, seconds * 1.1 + 0.25, lambda _: last_gap(a))
    assert outcomes(answer) == [("a/model-a", "rate_limited"), ("a/model-a", "ok")]
    assert b.attempts == []


def test_e27_a_short_wait_is_waited_out_once(upstream, holdfast):
    a, b = upstream("A", default="status?code=429&retry_after_ms=300"), upstream("B")
    answer = holdfast(a, b, failover=TWICE, hedge=NO_HEDGE).chat()
    assert answer.text.startswith("B:") and len(a.attempts) == 2


def test_e27_a_wait_that_the_deadline_does_not_allow_is_not_begun(upstream, holdfast):
    a, b = upstream("A"), upstream("B")

    def ask():
        a.queue("status?code=429&retry_after=2")
        return holdfast(a, b, failover=TWICE, hedge=NO_HEDGE).chat(
            headers={"x-holdfast-timeout-ms": "1500"})
    assert in_time(ask, 0, 0.5).text.startswith("B:")


@pytest.mark.parametrize("script,count", [("status?code=429", 2), ("status?code=503", 2)])
def test_e28_and_e31_a_sole_target_is_asked_again_after_a_pause(upstream, holdfast, script, count):
    a = upstream("A", queue=[script])
    answer = holdfast(a, failover=TWICE, hedge=NO_HEDGE).chat()
    assert answer.text.startswith("A:") and len(a.attempts) == count
    assert a.attempts[1].at - a.attempts[0].at > 0.05


@pytest.mark.parametrize("script", ["hang", "status?code=502", "junk", "bad200?kind=html", "redirect",
                                    "status?code=501", "status?code=404"])
def test_what_would_not_help_is_not_done_even_by_a_sole_target(upstream, holdfast, script):
    a = upstream("A", default=script)
    assert holdfast(a, failover=TWICE, hedge=NO_HEDGE, timeouts=QUICK).chat().status >= 400
    assert len(a.attempts) == 1


def test_e29_the_same_target_again_after_a_short_pause(upstream, holdfast):
    a, b = upstream("A"), upstream("B")

    def ask():
        a.queue("status?code=500")
        return holdfast(a, b, failover=TWICE).chat()
    answer = in_time(ask, 0.1, 0.45, lambda _: last_gap(a))
    assert outcomes(answer) == [("a/model-a", "server_error"), ("a/model-a", "ok")]
    assert b.attempts == []


def test_e29_a_client_that_retries_itself_gets_no_retry_of_ours(upstream, holdfast):
    a, b = upstream("A", queue=["status?code=500"]), upstream("B")
    answer = holdfast(a, b, failover=TWICE).chat(headers={"x-stainless-retry-count": "1"})
    assert answer.text.startswith("B:") and len(a.attempts) == 1


def test_e29_a_target_that_fails_often_is_not_asked_twice(upstream, holdfast):
    a, b = upstream("A", queue=["status?code=500"] * 3), upstream("B")
    p = holdfast(a, b, failover=TWICE)
    assert p.chat().text.startswith("B:") and len(a.attempts) == 2
    assert p.chat().text.startswith("B:") and len(a.attempts) == 3


def test_e29_an_empty_retry_budget_moves_on(upstream, holdfast):
    """The first failure spends the only token; the second, rare as it is, has none."""
    fault, well = "status?code=500", ["ok"] * 10
    a, b = upstream("A", queue=[fault, *well, fault]), upstream("B")
    p = holdfast(a, b, failover=TWICE, hedge=NO_HEDGE,
                 retry_budget={"capacity": 1, "ratio": 0})
    assert all(p.chat().text.startswith("A:") for _ in range(10))
    assert len(a.attempts) == 11
    assert p.chat().text.startswith("B:") and len(a.attempts) == 12
    assert p.metric("holdfast_retry_budget_tokens", target="a/model-a") < 1


@pytest.mark.parametrize("kind,code", [("anthropic", 529), ("anthropic", 503), ("gemini", 503)])
def test_e31_in_the_words_of_claude_and_gemini(upstream, holdfast, kind, code):
    a, b = upstream("A", default=f"status?code={code}"), upstream("B")
    p = holdfast({"type": kind, "base_url": a.base_url.removesuffix("/v1"), "api_key": "sk-a"}, b,
                 breaker=TOUCHY | {"consecutive": 1}, failover=TWICE)
    answer = p.chat()
    assert outcomes(answer) == [("a/model-a", "overloaded"), ("b/model-b", "ok")]
    assert {scope for scope, _ in p.breakers()} == {"model"}


def test_two_models_behind_one_refusing_port_share_its_breaker(upstream, holdfast):
    """Each failed once at the shared endpoint; neither would have opened on its own."""
    port, keep = closed_port()
    p = holdfast(f"http://127.0.0.1:{port}/v1", upstream("B"), hedge=NO_HEDGE,
                 breaker=TOUCHY | {"consecutive": 2},
                 routes=[{"model": m, "targets": [f"a/{m}", "b/x"]} for m in ("one", "two")])
    for model in ("one", "two"):
        assert outcomes(p.chat(model)) == [(f"a/{model}", "refused"), ("b/x", "ok")]
    assert {scope for scope, _ in p.breakers()} == {"endpoint"}
    for model in ("one", "two"):
        assert tried(p.chat(model), f"a/{model}") == []
    del keep


def test_a_second_target_at_an_endpoint_that_just_failed_is_passed_over(upstream, holdfast):
    port, keep = closed_port()
    c = upstream("C")
    p = holdfast(f"http://127.0.0.1:{port}/v1", c, hedge=NO_HEDGE,
                 routes=[{"model": "*", "targets": ["a/one", "a/two", "b/x"]}])
    answer = p.chat()
    assert answer.text.startswith("C:") and tried(answer, "a/two") == []
    del keep


def test_unless_nothing_else_is_left(upstream, holdfast):
    a = upstream("A", models={"one": "junk"})
    p = holdfast(a, hedge=NO_HEDGE, routes=[{"model": "*", "targets": ["a/one", "a/two"]}])
    assert outcomes(p.chat()) == [("a/one", "protocol"), ("a/two", "ok")]


def test_half_of_ten_failing_opens_a_breaker_too(upstream, holdfast):
    a, b = upstream("A", queue=["ok", "status?code=500"] * 10), upstream("B")
    p = holdfast(a, b, hedge=NO_HEDGE, breaker=TOUCHY | {"consecutive": 100, "min_calls": 10})
    for n in range(14):
        assert p.chat().status == 200
    assert len(a.attempts) == 10 and p.breakers() == {("model", "a/model-a")}


# -- after output --------------------------------------------------------------------------------
AFTER_OUTPUT = {  # E37 to E39: how A breaks off -> its outcome
    "cut?how=eof": "truncated", "cut?how=rst": "truncated", "cut?how=clean": "truncated",
    "cut?how=error": "server_error", "cut?how=stall": "idle_timeout",
    "cut?how=comments": "idle_timeout", "cut?how=malformed": "malformed"}


@pytest.mark.parametrize("script", AFTER_OUTPUT)
def test_e37_to_e39_after_output_a_true_error_and_the_model_is_blamed(upstream, holdfast, script):
    a, b = upstream("A", models={"bad": script}), upstream("B")
    p = holdfast(a, b, breaker=TOUCHY | {"consecutive": 1}, hedge=NO_HEDGE, failover=TWICE,
                 routes=[{"model": "bad", "targets": [{"target": "a/bad", "idle": "1s"}, "b/x"]},
                         {"model": "good", "targets": ["a/good", "b/x"]}])
    answer = p.chat("bad", stream=True, headers={"x-holdfast-midstream": "error"})
    assert answer.status == 200 and answer.end == "aborted" and not answer.done
    assert answer.error["message"] and b.attempts == [] and len(a.attempts) == 1
    wait_for(lambda: p.metric("holdfast_attempts_total", provider="a",
                              outcome=AFTER_OUTPUT[script]) == 1)
    assert p.breakers() == {("model", "a/bad")}
    assert p.chat("bad").text.startswith("B:") and p.chat("good").text.startswith("A:")


# -- nobody is left, or nobody is asked ------------------------------------------------------------
def test_e45_the_client_s_deadline_blames_nobody(upstream, holdfast):
    a, b = upstream("A", default="hang"), upstream("B")
    p = holdfast(a, b, breaker=TOUCHY | {"consecutive": 1}, hedge=NO_HEDGE,
                 timeouts={"first_token": "5s", "answer": "5s"})
    answer = p.chat(headers={"x-holdfast-timeout-ms": "300"})
    assert answer.status == 504 and outcomes(answer) == [("a/model-a", "deadline")]
    assert answer.error["code"] == "deadline" and b.attempts == []
    assert p.breakers() == set()


def test_e46_all_open_is_told_with_a_time(upstream, holdfast):
    a, b = upstream("A", default="status?code=500"), upstream("B", default="junk")
    p = holdfast(a, b, breaker=TOUCHY | {"consecutive": 1, "open_base": "9s", "open_cap": "9s"})
    p.chat()
    started = time.monotonic()
    answers = [p.chat() for _ in range(5)]
    refused = [x for x in answers if x.header("x-holdfast-attempts") == "0"]
    most = 2 + (time.monotonic() - started)
    assert len(refused) >= len(answers) - most, "one request a second may try all the same"
    for answer in refused:
        assert answer.status == 503 and answer.seconds < 5
        assert answer.header("x-should-retry") == "true"
        assert 1 <= int(answer.header("retry-after")) <= 10
        assert set(outcomes(answer)) == {("a/model-a", "breaker_open"),
                                         ("b/model-b", "breaker_open")}


def test_e46_all_resting_is_told_with_the_smallest_time(upstream, holdfast):
    a = upstream("A", default="status?code=429&retry_after=40")
    b = upstream("B", default="status?code=429&retry_after=20")
    p = holdfast(a, b)
    p.chat()
    answer = p.chat()
    assert answer.status == 503 and 15 <= int(answer.header("retry-after")) <= 22
    assert outcomes(answer) == [("a/model-a", "resting"), ("b/model-b", "resting")]
    assert len(a.attempts) == len(b.attempts) == 1


def test_e47_the_cap_of_attempts_tells_the_best_error(upstream, holdfast):
    a, b = upstream("A", default="status?code=500"), upstream("B", default="status?code=502")
    c = upstream("C", default="status?code=429&retry_after=9")
    d = upstream("D")
    answer = holdfast(a, b, c, d, failover={"max_attempts": 3, "per_target": 1}).chat()
    assert answer.status == 429 and 8 <= int(answer.header("retry-after")) <= 10
    assert answer.header("x-holdfast-attempts") == "3" and d.attempts == []
    for name in ("a/model-a", "b/model-b", "c/model-c"):
        assert name in answer.error["message"]


def test_e47_a_third_attempt_needs_a_token_of_its_target(upstream, holdfast):
    ups = [upstream("A", default="status?code=503"), upstream("B", default="junk"), upstream("C")]
    p = holdfast(*ups, retry_budget={"capacity": 0, "ratio": 0}, hedge=NO_HEDGE)
    answer = p.chat()
    assert answer.status in (502, 503) and ups[2].attempts == []
    assert outcomes(answer)[2:] == [("c/model-c", "retry_budget")]
    assert answer.header("x-holdfast-attempts") == "2"


def test_a_request_that_is_no_request_is_rejected_here(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a)
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", b"{}"))
        assert c.answer().status == 400
    wait_for(lambda: p.metric("holdfast_requests_total", outcome="rejected") == 1)
    assert a.attempts == []


def test_what_runs_when_the_time_to_stop_is_over_is_told_so(upstream, holdfast):
    a = upstream("A", default="hang")
    p = holdfast(a, drain={"delay": "10ms", "timeout": "200ms"}, hedge=NO_HEDGE,
                 timeouts={"first_token": "9s", "answer": "9s"})
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        wait_for(lambda: a.attempts)
        p.process.terminate()
        answer = c.answer()
    assert answer.status == 503 and answer.error["code"] == "stopping"
    assert p.wait() == 0


# -- the table is covered ---------------------------------------------------------------------------
# Labels that no row above has, and the test that asserts each: its text must name the label.
ELSEWHERE = {
    "key_scope": "test_other_paths.py::test_a_key_that_may_not_do_this_is_no_fault_of_the_caller_s_nor_"
                 "of_other_requests",
    "ok": "test_failover.py::check_b_answered",
    "dns": "test_taxonomy.py::test_e01_a_name_that_does_not_resolve",
    "egress_proxy": "test_taxonomy.py::test_e02_the_company_proxy_refuses",
    "idle_timeout": "test_taxonomy.py::AFTER_OUTPUT",
    "carry_refused": "test_streams.py::"
                     "test_who_takes_no_prefill_is_asked_in_another_way_and_not_again",
    "seam_mismatch": "test_streams.py::test_what_does_not_fit_is_a_true_error",
    "unsupported": "test_fitting.py::test_a_part_that_a_dialect_cannot_say_moves_on_without_a_call",
    "unfit": "test_fitting.py::test_a_prompt_that_is_too_long_for_a_model_skips_it",
    "other_model": "test_embeddings.py::"
                   "test_another_model_is_never_asked_and_the_error_says_why",
    "no_endpoint": "test_embeddings.py::"
                   "test_another_model_is_never_asked_and_the_error_says_why",
    "time_share": "test_matrix_client.py::"
              "test_a_caller_in_a_hurry_has_its_time_shared_and_blames_nobody",
    "slow": "test_matrix_http.py::test_h32_no_answer_at_all_is_hedged",
    "hedge_lost": "test_matrix_http.py::test_h33_the_first_one_may_win_all_the_same",
    "breaker_open": "test_taxonomy.py::test_e46_all_open_is_told_with_a_time",
    "resting": "test_taxonomy.py::test_e46_all_resting_is_told_with_the_smallest_time",
    "saturated": "test_matrix_load.py::test_l10_work_from_elsewhere_leaves_room_for_home",
    "queue_full": "test_matrix_load.py::test_the_queue_ends_in_a_503_with_a_time",
    "retry_budget": "test_taxonomy.py::test_e47_a_third_attempt_needs_a_token_of_its_target",
    "deadline": "test_taxonomy.py::test_e45_the_client_s_deadline_blames_nobody",
    "local": "test_wire.py::test_no_descriptor_for_a_provider_is_not_its_fault",
    "stopping": "test_taxonomy.py::test_what_runs_when_the_time_to_stop_is_over_is_told_so",
    "rejected": "test_taxonomy.py::test_a_request_that_is_no_request_is_rejected_here",
    "client_gone": "test_wire.py::test_a_client_that_leaves_right_behind_its_request",
}


def rows_named(text, letter):
    """The numbers in `E05`, `e05_`, and all those of `E12 to E15`."""
    found = {int(n) for n in re.findall(rf"\b{letter}(\d\d)(?![\da-z])", text)}
    found |= {int(n) for n in re.findall(rf"_{letter.lower()}(\d\d)(?=_)", text)}
    for low, high in re.findall(rf"\b{letter}(\d\d) to {letter}(\d\d)\b", text):
        found |= set(range(int(low), int(high) + 1))
    return found


@pytest.mark.parametrize("file,letter,last", [
    ("test_taxonomy.py", "E", 47), ("test_matrix_network.py", "N", 17),
    ("test_matrix_http.py", "H", 34), ("test_matrix_load.py", "L", 10),
    ("test_matrix_client.py", "C", 7)])
def test_every_row_is_shown_or_said_to_be_shown_elsewhere(file, letter, last):
    text = (Path(__file__).parent / file).read_text()
    assert rows_named(text, letter) >= set(range(1, last + 1))
    for other in re.findall(r"\btest_\w+\.py\b", text):
        assert (Path(__file__).parent / other).exists(), other


def source_of(place):
    """The text of a function or of an assigned constant of a test file."""
    name, _, what = place.partition("::")
    text = (Path(__file__).parent / name).read_text()
    for node in ast.parse(text).body:
        names = [getattr(node, "name", None),
                 *(getattr(t, "id", None) for t in getattr(node, "targets", []))]
        if what in names:
            return ast.get_source_segment(text, node)
    raise AssertionError(f"{place} does not exist")


def labels_of(manual):
    """The column `label` of the manual's table of failures."""
    lines = iter(manual.splitlines())
    head = next(x for x in lines if "| label |" in x and "| next target |" in x)
    column = [x.strip() for x in head.split("|")].index("label")
    next(lines)
    rows = itertools.takewhile(lambda x: x.startswith("|"), lines)
    return {x.split("|")[column].strip(" `") for x in rows}


def test_every_label_of_the_failure_table_has_its_scenario(run):
    labels, shown = labels_of(run("manual").stdout), {row.label for row in ROWS}
    assert labels - shown - set(ELSEWHERE) == set(), "labels without a test"
    assert (shown | set(ELSEWHERE)) - labels == set(), "tests of labels that do not exist"
    for label, place in ELSEWHERE.items():
        assert f'"{label}"' in source_of(place), (label, place)
