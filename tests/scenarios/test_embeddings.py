"""/v1/embeddings: vectors of one model only, whoever serves it, and never an answer that lacks some."""
import base64
import json
import struct

import pytest

from client import Raw, request_bytes, wait_for
from conftest import HASTY, provider
from faultd import voices
from test_conformance import CALM

MODEL = "text-embedding-3-small"
TEXTS = ["first", "second \u00fc", "third"]
DOWN = "status?code=503"


def post(proxy, body, path="/v1/embeddings", headers=()):
    with Raw(proxy.port) as c:
        c.send(request_bytes("POST", path, body if isinstance(body, bytes) else json.dumps(
            body).encode(), headers))
        return c.answer()


def embed(proxy, texts=TEXTS, model=MODEL, headers=(), **fields):
    return post(proxy, {"model": model, "input": texts, **fields}, headers=headers)


def vectors(answer):
    """The vectors in the order of their indices, from either form."""
    rows = sorted(answer.json["data"], key=lambda d: d["index"])
    assert [d["index"] for d in rows] == list(range(len(rows)))
    return [unpack(d["embedding"]) if isinstance(d["embedding"], str) else d["embedding"]
            for d in rows]


def unpack(text):
    data = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def rounded(numbers):
    """As float32 has them."""
    return unpack(voices.pack(numbers))


def of(text, model=MODEL, n=8):
    return voices.vector(model, text, n)


def outcomes(answer):
    return [(target, outcome.partition(":")[0]) for target, outcome, _ in answer.trail]


def account(server, kind="openai"):
    return provider(server) if kind == "openai" else {
        "type": kind, "base_url": server.base_url.removesuffix("/v1"), "api_key": "sk-test-key"}


def route(*targets, model="*"):
    return [{"model": model, "targets": list(targets)}]


# -- among those who speak the client's dialect ------------------------------------------------
def test_bytes_pass_but_for_the_model(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a, routes=route(f"a/{MODEL}"))
    body = ('{ "input" :["caf\\u00e9","\u00fc"],"x_own":{"a":1.50},"model" : "mine", '
            '"encoding_format":"float","user":"u"}').encode()
    answer = post(p, body)
    assert answer.status == 200 and answer.json["x_vendor_extra"] == 1.0
    assert a.attempts[0].path == "/v1/embeddings"
    assert a.attempts[0].body == body.replace(b'"mine"', f'"{MODEL}"'.encode())
    assert vectors(answer) == [of("caf\u00e9"), of("\u00fc")]
    assert b'"embedding":[' in answer.body and answer.header("content-type") == "application/json"
    assert answer.header("x-holdfast-model") == MODEL and outcomes(answer) == [(f"a/{MODEL}", "ok")]


@pytest.mark.parametrize("script", [DOWN, "rst_before", "status?code=401", "bad200?kind=html",
                                    "bad200?kind=truncated", "cut"])
def test_the_same_model_elsewhere_takes_over(upstream, holdfast, script):
    a, b = upstream("A", default=script), upstream("B")
    p = holdfast(a, b, routes=route(f"a/{MODEL}", f"b/{MODEL}"))
    answer = embed(p, encoding_format="base64")
    assert answer.status == 200 and answer.header("x-holdfast-provider") == "b"
    assert vectors(answer) == [rounded(of(t)) for t in TEXTS]
    assert [t for t, _ in outcomes(answer)] == [f"a/{MODEL}", f"b/{MODEL}"]


def test_a_client_s_own_name_of_the_model_counts_where_the_route_has_none(upstream, holdfast):
    a, b = upstream("A", default=DOWN), upstream("B")
    p = holdfast(a, b, routes=route("a", f"b/{MODEL}"))
    assert embed(p).header("x-holdfast-provider") == "b"
    answer = embed(p, model="other")
    assert answer.status == 503 and outcomes(answer)[-1] == (f"b/{MODEL}", "other_model")


def test_another_model_is_never_asked_and_the_error_says_why(upstream, holdfast):
    a, b, c = upstream("A", default=DOWN), upstream("B"), upstream("C")
    p = holdfast(a, b, account(c, "anthropic"),
                 routes=route(f"a/{MODEL}", "b/text-embedding-3-large", "c/claude-haiku-4-5"))
    answer = embed(p)
    assert answer.status == 503 and b.attempts == [] and c.attempts == []
    assert [o for _, o in outcomes(answer)] == ["overloaded", "other_model", "no_endpoint"]
    assert f"a/{MODEL}" in answer.error["message"] and "other_model" in answer.error["message"]
    row = wait_for(lambda: [r for r in p.log_lines() if "attempts" in r])[-1]
    assert row["dialect"] == "openai_embeddings"
    assert {x["outcome"] for x in row["attempts"]} == {"overloaded", "other_model", "no_endpoint"}
    assert p.breakers() == set()


def test_the_first_target_as_it_is_written_names_the_model_however_a_tier_is_balanced(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast(a, b, routes=route([f"a/{MODEL}", "b/text-embedding-3-large"]))
    for n in range(12):
        answer = embed(p, headers={"x-session-id": f"s{n}"})
        assert answer.status == 200 and vectors(answer)[0] == of("first")
    assert b.attempts == []


@pytest.mark.parametrize("kind", ["anthropic", "scripted"])
def test_where_nobody_makes_vectors_that_is_said(upstream, holdfast, kind):
    c = upstream("C")
    end = {"type": "scripted", "text": "down"} if kind == "scripted" else account(c, kind)
    answer = embed(holdfast(end, routes=route("a/x")))
    assert answer.status == 400 and c.attempts == [] and outcomes(answer) == [("a/x", "no_endpoint")]
    assert answer.error["code"] == "no_endpoint" and "does not serve" in answer.error["message"]
    assert answer.header("x-should-retry") == "false"


# -- what is no answer ---------------------------------------------------------------------------
FLAWS = {"missing": "truncated", "more": "malformed", "null": "malformed", "nan": "malformed",
         "uneven": "malformed", "empty": "empty", "numbered": "malformed", "huge": "malformed"}


def test_an_answer_that_lacks_a_vector_or_holds_one_that_is_none_moves_on(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast(a, b, routes=route(f"a/{MODEL}", f"b/{MODEL}"), breaker=CALM)
    for fault, label in FLAWS.items():
        a.queue(f"vectors?fault={fault}")
        answer = embed(p)
        assert outcomes(answer) == [(f"a/{MODEL}", label), (f"b/{MODEL}", "ok")], fault
        assert vectors(answer) == [of(t) for t in TEXTS]
    for fault in ("nan", "uneven", "missing"):
        a.queue(f"vectors?fault={fault}")
        answer = embed(p, encoding_format="base64")
        assert outcomes(answer) == [(f"a/{MODEL}", FLAWS[fault]), (f"b/{MODEL}", "ok")], fault


def test_base64_that_nobody_asked_for_moves_on_and_numbers_in_its_place_pass(upstream, holdfast):
    a, b = upstream("A", default="vectors?form=base64"), upstream("B", default="vectors?form=float")
    p = holdfast(a, b, routes=route(f"a/{MODEL}", f"b/{MODEL}"))
    assert outcomes(embed(p))[0] == (f"a/{MODEL}", "malformed")
    a.default = "vectors?form=float"  # as servers do that do not know it; SDKs take both
    answer = embed(p, encoding_format="base64")
    assert outcomes(answer) == [(f"a/{MODEL}", "ok")] and vectors(answer)[0] == of("first")


def test_vectors_of_another_length_than_was_asked_for_are_not_that_model_s(upstream, holdfast):
    a, b = upstream("A", default="vectors?fault=short"), upstream("B")
    answer = embed(holdfast(a, b, routes=route(f"a/{MODEL}", f"b/{MODEL}")), dimensions=4)
    assert outcomes(answer) == [(f"a/{MODEL}", "unsupported"), (f"b/{MODEL}", "ok")]
    assert [len(v) for v in vectors(answer)] == [4] * 3


def test_a_server_without_embeddings_does_well_in_chat_all_the_same(upstream, holdfast):
    """Neither its 404 nor a page says anything of the model, which is not left to rest."""
    missing = b'{"detail":"Not Found"}'
    a, b = upstream("A"), upstream("B")
    p = holdfast(a, b, routes=route(f"a/{MODEL}", f"b/{MODEL}"))
    for script in (f"raw?data=HTTP/1.1 404 Not Found%0d%0aContent-Length: {len(missing)}%0d%0a"
                   f"Content-Type: application/json%0d%0a%0d%0a{missing.decode()}&then=keep",
                   "status?code=404&body=nginx", "status?code=501"):
        a.queue(script)
        assert outcomes(embed(p)) == [(f"a/{MODEL}", "unsupported"), (f"b/{MODEL}", "ok")]
        assert p.chat().text.startswith("A:") and p.breakers() == set()


BAD = [
    ({"model": MODEL}, "input"), ({"model": MODEL, "input": []}, "input"),
    ({"model": MODEL, "input": {"a": 1}}, "input"), ({"input": "x"}, "model"), (b"{", "request body"),
]


def test_a_request_that_asks_for_nothing_is_refused_here(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a)
    for body, word in BAD:
        answer = post(p, body)
        assert answer.status == 400 and word in answer.error["message"] and a.attempts == [], body


def test_tokens_go_to_those_who_speak_the_dialect(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a, routes=route(f"a/{MODEL}"))
    for tokens, n in (([1, 2, 3], 1), ([[1, 2], [3]], 2)):
        assert len(vectors(embed(p, tokens))) == n and a.attempts[-1].json["input"] == tokens


def test_a_hang_is_left_in_time(upstream, holdfast):
    a, b = upstream("A", default="hang"), upstream("B")
    p = holdfast(a, b, routes=route({"target": f"a/{MODEL}", **HASTY}, f"b/{MODEL}"),
                 hedge={"after": "off"})
    assert outcomes(embed(p)) == [(f"a/{MODEL}", "first_token_timeout"), (f"b/{MODEL}", "ok")]


@pytest.mark.parametrize("form", ["base64", "float"])
def test_two_thousand_texts_at_once(upstream, holdfast, form):
    a, b = upstream("A", default="vectors?fault=missing"), upstream("B")
    p = holdfast(a, b, routes=route(f"a/{MODEL}", f"b/{MODEL}"))
    texts = [f"text {i}" for i in range(2048)]
    answer = embed(p, texts, encoding_format=form, dimensions=192)
    assert outcomes(answer) == [(f"a/{MODEL}", "truncated"), (f"b/{MODEL}", "ok")]
    assert len(answer.body) > 2 << 20
    got = vectors(answer)
    assert len(got) == 2048 and all(len(v) == 192 for v in got)
    want = of(texts[-1], n=192)
    assert got[-1] == (rounded(want) if form == "base64" else want)


# -- Google's ------------------------------------------------------------------------------------
@pytest.mark.parametrize("texts,form", [("alone", "float"), (["alone"], "base64"), (TEXTS, "base64"),
                                        (TEXTS, "float")])
def test_google_is_asked_in_its_own_words(upstream, holdfast, texts, form):
    g = upstream("G")
    p = holdfast(account(g, "gemini"), routes=route("a/gemini-embedding-001"))
    answer = embed(p, texts, encoding_format=form, dimensions=5, user="u", x_more=[1])
    assert answer.status == 200 and answer.json["model"] == "gemini-embedding-001"
    assert answer.json["object"] == "list" and answer.json["data"][0]["object"] == "embedding"
    assert answer.json["usage"] == {"prompt_tokens": 0, "total_tokens": 0}  # Google tells none
    assert answer.header("x-holdfast-dropped") == "user, x_more"
    texts = texts if isinstance(texts, list) else [texts]
    want = [of(t, "gemini-embedding-001", 5) for t in texts]
    assert vectors(answer) == ([rounded(v) for v in want] if form == "base64" else want)
    asked = g.attempts[0]
    one = [{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": t}]},
            "outputDimensionality": 5} for t in texts]
    verb = "embedContent" if len(texts) == 1 else "batchEmbedContents"
    assert asked.path == f"/v1beta/models/gemini-embedding-001:{verb}"
    assert asked.json == (one[0] if len(texts) == 1 else {"requests": one})
    assert asked.header("x-goog-api-key") == "sk-test-key"


def test_google_takes_over_for_the_same_model_and_what_it_counts_is_told(upstream, holdfast):
    a, g = upstream("A", default=DOWN), upstream("G", default="replay")
    g.recording = [b'{"embedding":{"values":[0.25,-1e-3,3]},"usageMetadata":{"promptTokenCount":7}}']
    p = holdfast(a, account(g, "gemini"),
                 routes=route("a/gemini-embedding-001", "b/models/gemini-embedding-001"))
    answer = embed(p, "x", encoding_format="float")
    assert [o for _, o in outcomes(answer)] == ["overloaded", "ok"]
    assert b"[0.25,-1e-3,3]" in answer.body and answer.json["usage"]["prompt_tokens"] == 7
    assert p.metric("holdfast_tokens_total", provider="b", kind="input") == 7


def test_an_answer_of_google_s_with_a_flaw_moves_on(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast(account(a, "gemini"), account(b, "gemini"), routes=route("a/m", "b/m"), breaker=CALM)
    for fault in ("missing", "null", "uneven", "empty", "huge"):
        a.queue(f"vectors?fault={fault}")
        answer = embed(p, encoding_format="base64")
        assert outcomes(answer) == [("a/m", FLAWS[fault]), ("b/m", "ok")], fault
        assert vectors(answer) == [rounded(of(t, "m")) for t in TEXTS]


@pytest.mark.parametrize("tokens,path", [([1, 2], "input[0]"), (["a", [1]], "input[1]")])
def test_tokens_have_no_words_at_google(upstream, holdfast, tokens, path):
    g = upstream("G")
    answer = embed(holdfast(account(g, "gemini"), routes=route("a/m")), tokens)
    assert answer.status == 400 and g.attempts == [] and outcomes(answer) == [("a/m", "unsupported")]
    assert answer.error["message"].startswith(f"{path}: expected a text")


def test_a_model_of_google_s_that_only_talks_is_not_left_to_rest(upstream, holdfast):
    g = upstream("G", queue=["replay?status=404&content_type=application/json"])
    g.recording = [voices.error("gemini", 404, "models/m is not found for API version v1beta, or is "
                                "not supported for embedContent.")]
    p = holdfast(account(g, "gemini"), routes=route("a/m"))
    answer = embed(p)
    assert answer.status == 404 and "embedContent" in answer.error["message"]
    assert p.chat().text.startswith("G:")


# -- at Google's own door ------------------------------------------------------------------------
ONE = b'{ "content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY", "model":"models/mine" }'
BATCH = (b'{"requests":[{"model":"models/mine","content":{"parts":[{"text":"a"}]},"title":"t"} ,\n'
         b'{"content":{"parts":[{"text":"b"}]},"model":"mine"}]}')


@pytest.mark.parametrize("body,verb", [(ONE, "embedContent"), (BATCH, "batchEmbedContents")],
                         ids=["one", "batch"])
def test_google_s_clients_get_google_s_bytes(upstream, holdfast, body, verb):
    a, b = upstream("A", default=DOWN), upstream("B")
    p = holdfast(account(a, "gemini"), account(b, "gemini"), routes=route("a/m", "b/m"))
    answer = post(p, body, f"/v1beta/models/mine:{verb}")
    assert answer.status == 200 and answer.header("x-holdfast-provider") == "b"
    assert b.attempts[0].path == f"/v1beta/models/m:{verb}"
    assert b.attempts[0].body == body.replace(b'models/mine"', b'models/m"').replace(b'"mine"', b'"m"')
    got = voices.vectors_of("gemini_embeddings", answer.json)
    assert got == [of(t, "m") for t in ("a", "b")[:len(got)]] and len(got) == body.count(b'"text"')


def test_they_are_not_sent_to_anybody_else(upstream, holdfast):
    a, b = upstream("A"), upstream("B", default="vectors?fault=missing")
    p = holdfast(a, account(b, "gemini"), routes=route("b/m", "a/m"))
    answer = post(p, BATCH, "/v1beta/models/m:batchEmbedContents")
    assert answer.status == 502 and a.attempts == []
    assert outcomes(answer) == [("b/m", "truncated"), ("a/m", "no_endpoint")]
    assert answer.error["status"] == "INTERNAL"
    answer = post(p, b'{"requests":[]}', "/v1beta/models/m:batchEmbedContents")
    assert answer.status == 400 and "requests" in answer.error["message"]


# -- again ---------------------------------------------------------------------------------------
def test_a_retry_with_the_same_key_gets_the_same_vectors(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a, routes=route(f"a/{MODEL}"))
    answers = [embed(p, headers={"Idempotency-Key": "k1"}) for _ in range(2)]
    assert answers[0].body == answers[1].body and len(a.attempts) == 1
