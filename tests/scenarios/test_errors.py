"""What the client is told: the true class, the provider's words, and when to come back."""
import pytest

from conftest import provider
from faultd import closed_port


def envelope(answer):
    """The four fields of OpenAI's envelope, and nothing that breaks its SDKs."""
    assert answer.header("content-type").startswith("application/json")
    e = answer.error
    assert set(e) >= {"message", "type", "param", "code"} and isinstance(e["message"], str)
    assert answer.header("x-request-id")
    return e


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("spec,code", [
    ("status?code=400", 400), ("status?code=422", 422), ("status?code=413", 413),
    ("preset?name=content_policy", 400), ("preset?name=context_length", 400)])
def test_the_caller_s_own_mistake_is_told_once_and_as_it_is(upstream, holdfast, spec, code, stream):
    a, b = upstream("A", default=spec), upstream("B")
    answer = holdfast(a, b).chat(stream=stream)
    e = envelope(answer)
    assert answer.status == code
    assert len(a.attempts) == 1 and b.attempts == []
    words = {"status?code=400": "wizard", "status?code=422": "valid list",
             "status?code=413": "too large", "preset?name=content_policy": "safety system",
             "preset?name=context_length": "maximum context length"}
    assert words[spec] in e["message"]
    assert answer.header("x-should-retry") == "false"
    assert answer.header("x-holdfast-attempts") == "1"


def test_a_parameter_that_only_this_target_refuses_moves_on(upstream, holdfast):
    a, b = upstream("A", default="preset?name=unsupported_parameter"), upstream("B")
    assert holdfast(a, b).chat(max_tokens=5).text.startswith("B:")


@pytest.mark.parametrize("spec,codes", [
    ("status?code=500", (500, 502)), ("status?code=502&body=nginx", (502,)),
    ("status?code=503", (503,)), ("status?code=504", (502, 504)), ("status?code=529", (503, 529)),
    ("status?code=524&body=cloudflare", (502, 504)), ("status?code=404", (404,)),
    ("status?code=401", (502, 503)), ("status?code=403", (502, 503)), ("status?code=402", (502, 503)),
    ("preset?name=quota", (429, 503)), ("preset?name=credit_balance", (502, 503)),
    ("fin_before", (502,)), ("junk", (502,)), ("bad200?kind=html", (502,)),
    ("bad200?kind=no_choices", (502,)), ("redirect", (502,)), ("hang", (504,))])
def test_nothing_left(upstream, holdfast, spec, codes):
    """Both targets fail alike: a status of the right class, both attempts named."""
    a, b = upstream("A", default=spec), upstream("B", default=spec)
    answer = holdfast(a, b, hasty="ab" if spec == "hang" else "").chat()
    e = envelope(answer)
    assert answer.status in codes, (answer.status, answer.body)
    assert "a/model-a" in e["message"] and "b/model-b" in e["message"]
    assert answer.header("x-holdfast-attempts") == "2"
    assert [t[0] for t in answer.trail] == ["a/model-a", "b/model-b"]
    assert b"sk-canary" not in answer.body


def test_nothing_left_of_refused_connections(holdfast):
    (p1, k1), (p2, k2) = closed_port(), closed_port()
    answer = holdfast(f"http://127.0.0.1:{p1}/v1", f"http://127.0.0.1:{p2}/v1").chat()
    assert answer.status == 502 and "a/model-a" in envelope(answer)["message"]
    del k1, k2


def test_both_failed_for_a_stream_is_a_plain_error_and_not_a_200(upstream, holdfast):
    a = upstream("A", default="bad_stream?kind=role&end=eof")
    b = upstream("B", default="bad_stream?kind=error")
    answer = holdfast(a, b).chat(stream=True)
    assert answer.status in (502, 503) and envelope(answer)


def test_the_fixable_error_wins_over_the_rest(upstream, holdfast):
    a, b = upstream("A", default="status?code=503"), upstream("B", default="status?code=400")
    answer = holdfast(a, b).chat()
    assert answer.status == 400 and "wizard" in envelope(answer)["message"]


def test_a_429_wins_over_a_5xx(upstream, holdfast):
    a = upstream("A", default="status?code=429&retry_after=7")
    b = upstream("B", default="status?code=500")
    answer = holdfast(a, b).chat()
    assert answer.status == 429 and answer.header("retry-after") in ("7", "8")


@pytest.mark.parametrize("stream", [False, True])
def test_a_rate_limit_inside_a_200_is_waited_out_as_well(upstream, holdfast, stream):
    a = upstream("A", default="limited_inside")
    p = holdfast(a)
    answer = p.chat(stream=stream)
    assert answer.status == 429 and answer.header("retry-after") in ("22", "23", "24")
    p.chat(stream=stream)
    assert len(a.attempts) == 1, "its key rests"


@pytest.mark.parametrize("a_says,b_says,low,high", [
    ("retry_after=7", "retry_after=30", 6, 8), ("retry_after=30", "retry_after=7", 6, 8),
    ("retry_after=date", "retry_after=50", 28, 33), ("retry_after_ms=7400", "retry_after=30", 7, 9),
    ("retry_after=7.5", "retry_after=30", 7, 9), ("retry_after=9", "", 0, 10),
    ("retry_after=1000000000000", "retry_after=20", 19, 22),
    ("retry_after=-5", "retry_after=20", 0, 22), ("retry_after=NaN", "retry_after=20", 0, 22),
    ("retry_after=soon", "retry_after=20", 0, 22)])
def test_retry_after_is_forwarded_the_smallest_one(upstream, holdfast, a_says, b_says, low, high):
    a = upstream("A", default="status?code=429&" + a_says)
    b = upstream("B", default="status?code=429&" + b_says)
    answer = holdfast(a, b).chat()
    assert answer.status == 429, (answer.status, answer.body)
    assert low <= int(answer.header("retry-after")) <= high
    ms = answer.header("retry-after-ms")
    assert ms is not None and low * 1000 - 1000 <= int(ms) <= high * 1000
    assert answer.header("x-should-retry") == "true"


@pytest.mark.parametrize("value", ["-5", "NaN", "soon", "1000000000000", "inf", "1e99"])
def test_a_senseless_retry_after_alone_does_no_harm(upstream, holdfast, value):
    a = upstream("A", queue=["status?code=429&retry_after=" + value])
    answer = holdfast(a).chat()
    assert answer.status in (200, 429)
    if answer.status == 429:
        assert 0 <= int(answer.header("retry-after") or 0) <= 3600


def test_a_target_that_asked_for_time_is_given_it(upstream, holdfast):
    a, b = upstream("A", queue=["status?code=429&retry_after=60"]), upstream("B")
    p = holdfast(a, b)
    for _ in range(3):
        assert p.chat().text.startswith("B:")
    assert len(a.attempts) == 1


def test_401_tries_the_next_key_then_the_next_target(upstream, holdfast):
    a, b = upstream("A", queue=["status?code=401", "ok"]), upstream("B")
    two_keys = {"type": "openai", "base_url": a.base_url, "keys": ["sk-key-one", "sk-key-two"]}
    p = holdfast(two_keys, provider(b, "sk-b"), failover={"max_attempts": 4, "per_target": 2})
    assert p.chat().text.startswith("A:")
    assert {x.header("authorization") for x in a.attempts} == {"Bearer sk-key-one",
                                                                "Bearer sk-key-two"}
    a.clear_log()
    a.queue("status?code=401", "status?code=401", "status?code=401")
    assert p.chat().text.startswith("B:")
    assert len(a.attempts) <= 2


def test_a_client_never_sees_a_401_that_is_not_its_own(upstream, holdfast):
    p = holdfast(upstream("A", default="status?code=401"))
    for _ in range(3):  # the key rests meanwhile, and the truth about it stays the same
        answer = p.chat()
        assert answer.status == 502 and envelope(answer)["code"] == "auth"
        assert answer.header("x-should-retry") == "false"
        assert b"Incorrect API key provided: sk" not in answer.body


def test_no_route_for_a_model(upstream, holdfast):
    answer = holdfast(upstream("A"), routes=[{"model": "only-this", "targets": ["a/x"]}]).chat("m")
    e = envelope(answer)
    assert answer.status == 404 and e["code"] == "model_not_found" and "m" in e["message"]


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/nothing/here", 404), ("GET", "/v1/chat/completions", 405), ("GET", "/.env", 404),
    ("GET", "/metrics", 404), ("GET", "/status", 404), ("POST", "/admin", 404)])
def test_unknown_paths_and_methods(upstream, holdfast, method, path, status):
    from client import http_get
    p = holdfast(upstream("A"))
    code, headers, body = http_get(p.port, path, method=method,
                                   body=b"{}" if method == "POST" else None)
    assert code == status and b'"error"' in body
    if status == 405:
        assert "POST" in headers["allow"]


@pytest.mark.parametrize("body,word", [
    (b"", ""), (b"{", ""), (b"[]", ""), (b"null", ""), (b'"text"', ""), (b"{}", "model"),
    (b'{"model":5,"messages":[]}', "model"), (b'{"model":"m"} {}', ""),
    (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', ""),
    (b'{"model":"m","model":"n","messages":[]}', "model"),
    (b'{"model":"m","stream":"true","messages":[{"role":"user","content":"x"}]}', "stream"),
    (b"[" * 100000, ""), (b'{"model":' * 50000, ""),
])
def test_a_body_that_is_no_request_never_travels(upstream, holdfast, body, word):
    from client import Raw, request_bytes
    a = upstream("A")
    p = holdfast(a)
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", body))
        answer = c.answer()
    assert answer.status == 400 and word in envelope(answer)["message"]
    assert a.attempts == []
