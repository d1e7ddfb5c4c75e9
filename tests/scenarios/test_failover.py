"""Two providers, the first one fails before any output: nobody notices, and the trail tells why."""
import pytest

from client import wait_for
from conftest import provider
from faultd import blackhole, closed_port

SILENT = "first_token_timeout"
# script of A -> the outcome that the trail must name
BEFORE_OUTPUT = {
    "hang": "first_token_timeout", "rst_before": "reset", "fin_before": "reset",
    "fin_in_head": "reset", "head_then_stall": "first_token_timeout", "junk": "protocol",
    "junk?kind=binary": "protocol", "junk?kind=http09": "protocol", "junk?kind=status": "protocol",
    "junk?kind=version": "protocol", "continue_flood": "protocol", "huge_head": "protocol",
    "huge_head?n=1&size=200000": "protocol", "cl_and_te": "protocol", "two_lengths": "protocol",
    "redirect": "redirect", "redirect?code=307&to=/v1/elsewhere": "redirect",
    "status?code=401": "auth", "status?code=402": "quota", "status?code=403": "forbidden",
    "status?code=404": "model_not_found", "status?code=408": "request_timeout",
    "status?code=429": "rate_limited", "status?code=429&retry_after=30": "rate_limited",
    "status?code=500": "server_error", "status?code=500&body=empty": "server_error",
    "status?code=502&body=nginx": "bad_gateway",
    "status?code=502&body=cloudflare": "bad_gateway", "status?code=503": "overloaded",
    "status?code=503&body=array": "overloaded", "status?code=504": "bad_gateway",
    "status?code=520&body=cloudflare": "bad_gateway",
    "status?code=522&body=cloudflare": "bad_gateway",
    "status?code=524&body=cloudflare": "bad_gateway", "status?code=529": "overloaded",
    "status?code=403&body=nginx": "html", "status?code=503&body=text": "overloaded",
    "preset?name=quota": "quota", "preset?name=credit_balance": "quota",
    "bad200?kind=html": "html", "bad200?kind=empty": "empty",
}
UNARY = {
    "cut": "truncated", "cut?how=rst": "truncated", "cut?how=stall": "first_token_timeout",
    "wrong_length?by=50": "truncated", "http10?cut=30": "truncated",
    "bad200?kind=error": "overloaded", "bad200?kind=no_choices": "empty",
    "bad200?kind=null_content": "empty", "bad200?kind=object": "empty",
    "bad200?kind=truncated": "truncated", "bad200?kind=sse_for_json": "malformed",
    "bad200?kind=bad_gzip": "bad_encoding", "bad200?kind=gzip_bomb": "answer_too_big",
    "bad200?kind=br": "bad_encoding",
}
STREAM = {
    "bad_stream": "empty", "bad_stream?kind=comments": "empty",
    "bad_stream?kind=comments&end=eof": "truncated",
    "bad_stream?kind=comments&end=forever": "first_token_timeout",
    "bad_stream?kind=role": "truncated", "bad_stream?kind=role&end=eof": "truncated",
    "bad_stream?kind=role&end=rst": "truncated",
    "bad_stream?kind=role&end=stall": "first_token_timeout",
    "bad_stream?kind=role&end=forever": "first_token_timeout",
    "bad_stream?kind=pings&end=forever": "first_token_timeout",
    "bad_stream?kind=error": "overloaded", "bad_stream?kind=error_role": "server_error",
    "bad_stream?kind=error_role&end=eof": "server_error", "bad_stream?kind=finish": "empty",
    "bad200?kind=error": "overloaded",
}


def check_b_answered(a, b, answer, stream, outcome=None):
    assert answer.status == 200, (answer.status, answer.body)
    assert answer.text == "B: word1 word2 word3 word4"
    assert b"A:" not in answer.body
    assert answer.header("x-holdfast-provider") == "b"
    assert answer.header("x-holdfast-model") == "model-b"
    assert answer.header("x-holdfast-attempts") == "2"
    (first, why, _), (second, how, _) = answer.trail
    assert (first, second, how) == ("a/model-a", "b/model-b", "ok") and why != "ok"
    if stream:
        roles = [c for c in answer.chunks if c["choices"] and c["choices"][0]["delta"].get("role")]
        assert len(roles) == 1 and answer.done == 1
    assert answer.end == "complete"
    assert len(a.attempts) == 1 and len(b.attempts) == 1
    assert b.attempts[0].json["model"] == "model-b"
    assert outcome is None or why.split(":")[0] == outcome
    return why


@pytest.mark.parametrize("script,outcome", (BEFORE_OUTPUT | UNARY).items())
def test_a_unary_request_moves_on(upstream, holdfast, script, outcome):
    a, b = upstream("A", default=script), upstream("B")
    p = holdfast(a, b, hasty="a" if outcome == SILENT else "")
    why = check_b_answered(a, b, p.chat(), False, outcome)
    if script.startswith("status?code="):
        assert why.endswith(":" + script[len("status?code="):][:3])


@pytest.mark.parametrize("script,outcome", (BEFORE_OUTPUT | STREAM).items())
def test_a_stream_moves_on_and_starts_once(upstream, holdfast, script, outcome):
    a, b = upstream("A", default=script), upstream("B")
    p = holdfast(a, b, hasty="a" if outcome == SILENT else "")
    check_b_answered(a, b, p.chat(stream=True), True, outcome)


@pytest.mark.tsan
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", ["status?code=503", "rst_before", "hang"])
def test_the_central_cases(upstream, holdfast, script, stream):
    a, b = upstream("A", default=script), upstream("B")
    p = holdfast(a, b, hasty="a" if script == "hang" else "")
    check_b_answered(a, b, p.chat(stream=stream), stream)


@pytest.mark.tsan
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["refused", "blackhole", "no such host", "closed at accept",
                                  "reset at accept", "silent"])
def test_no_connection_at_all(upstream, holdfast, kind, stream):
    b, keep = upstream("B"), None
    if kind == "refused":
        port, keep = closed_port()
        a = f"http://127.0.0.1:{port}/v1"
    elif kind == "blackhole":
        port, keep = blackhole()
        a = f"http://127.0.0.1:{port}/v1"
    elif kind == "no such host":
        a = "https://upstream.invalid/v1"
    else:
        how = {"closed at accept": "close", "reset at accept": "rst", "silent": "silent"}[kind]
        a = upstream("A", accept_default=how)
    answer = holdfast(a, b, hasty="a").chat(stream=stream)
    assert (answer.status, answer.text) == (200, "B: word1 word2 word3 word4")
    assert [t[0] for t in answer.trail] == ["a/model-a", "b/model-b"]
    assert answer.trail[0][1] in {  # a resolver may be slow, a reset come before connect has returned
        "refused": ["refused"], "blackhole": ["connect_timeout"],
        "no such host": ["dns", "connect_timeout"], "closed at accept": ["reset"],
        "reset at accept": ["reset", "refused"], "silent": ["first_token_timeout"]}[kind]
    assert len(b.attempts) == 1
    del keep


@pytest.mark.parametrize("tls", ["silent", "alert", "expired", "wrong_host", "self_signed",
                                 "unknown_ca"])
def test_a_bad_tls_server_is_left_without_a_byte_of_the_request(upstream, holdfast, certs, tls):
    a, b = upstream("A", tls=tls), upstream("B")
    p = holdfast(a, b, env={"SSL_CERT_FILE": certs.ca}, hasty="a" if tls == "silent" else "")
    answer = p.chat()
    assert (answer.status, answer.text) == (200, "B: word1 word2 word3 word4")
    assert a.attempts == [] and a.connections
    assert answer.trail[0][:2] == ("a/model-a", "tls")


@pytest.mark.parametrize("tls", ["good", "h2"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_good_tls_server_is_spoken_to_in_http_1_1(upstream, holdfast, certs, tls, stream):
    a, b = upstream("A", tls=tls), upstream("B")
    answer = holdfast(a, b, env={"SSL_CERT_FILE": certs.ca}).chat(stream=stream)
    assert (answer.status, answer.text) == (200, "A: word1 word2 word3 word4")
    assert "h2" not in a.connections[0].alpn_offered


def test_three_targets_two_dead(upstream, holdfast):
    a = upstream("A", default="status?code=500")
    b, c = upstream("B", default="fin_before"), upstream("C")
    answer = holdfast(a, b, c).chat(stream=True)
    assert answer.text.startswith("C:")
    assert [t[0] for t in answer.trail] == ["a/model-a", "b/model-b", "c/model-c"]
    assert answer.header("x-holdfast-attempts") == "3"


def test_attempts_are_bounded(upstream, holdfast):
    """max_attempts in all, per_target at one target: counted where they arrive."""
    ups = [upstream(n, default="status?code=500") for n in "ABCDE"]
    answer = holdfast(*ups, failover={"max_attempts": 3, "per_target": 2}).chat()
    assert answer.status >= 500
    counts = [len(u.attempts) for u in ups]
    assert sum(counts) == 3 and max(counts) <= 2
    assert answer.header("x-holdfast-attempts") == "3"


def test_each_attempt_starts_from_the_original_body(upstream, holdfast):
    a, b = upstream("A", default="status?code=500"), upstream("B")
    p = holdfast(a, b)
    p.chat(temperature=0.25, x_unknown={"kept": [1, 2]})
    bodies = [u.attempts[0].json for u in (a, b)]
    assert [x.pop("model") for x in bodies] == ["model-a", "model-b"]
    assert bodies[0] == bodies[1] and bodies[0]["x_unknown"] == {"kept": [1, 2]}


def test_credentials_stay_with_their_provider(upstream, holdfast):
    a, b = upstream("A", default="status?code=500"), upstream("B")
    holdfast(provider(a, "sk-only-for-a"), provider(b, "sk-only-for-b")).chat()
    assert a.attempts[0].header("authorization") == "Bearer sk-only-for-a"
    assert b.attempts[0].header("authorization") == "Bearer sk-only-for-b"


def test_a_gzipped_answer_that_nobody_asked_for_is_readable_all_the_same(upstream, holdfast):
    a, b = upstream("A", default="bad200?kind=gzip"), upstream("B")
    answer = holdfast(a, b).chat()
    assert answer.status == 200 and answer.header("content-encoding") is None
    assert answer.text[:2] in ("A:", "B:")


@pytest.mark.parametrize("script", ["http10", "wrong_length?by=-10", "ok?framing=close"])
def test_untidy_but_complete_or_not(upstream, holdfast, script):
    """HTTP/1.0 without a length is fine; a body that is shorter than its JSON is not."""
    a, b = upstream("A", default=script), upstream("B")
    answer = holdfast(a, b).chat(stream="framing" in script)
    who = "B" if "length" in script else "A"
    assert answer.text == f"{who}: word1 word2 word3 word4"


def test_json_where_a_stream_was_asked(upstream, holdfast):
    """Either A's answer is given as a stream, or B's; never bytes of another kind."""
    a, b = upstream("A", default="bad200?kind=json_for_sse"), upstream("B")
    answer = holdfast(a, b).chat(stream=True)
    assert answer.header("content-type").startswith("text/event-stream")
    assert answer.text[:2] in ("A:", "B:") and answer.done == 1


def test_an_upstream_that_was_left_is_closed(upstream, holdfast):
    a, b = upstream("A", default="hang"), upstream("B")
    holdfast(a, b, hasty="a").chat()
    wait_for(lambda: a.attempts[0].ended in ("peer", "peer_reset"))
