"""/v1/completions, which was there before chat: passed on to those who serve it, put as chat to others."""
import json

import pytest

from client import Raw, request_bytes
from conftest import provider
from faultd import bodies
from test_conformance import CALM

PROMPT = "Once \u00fcpon a time"
DOWN = "status?code=503"
CHAT_ONLY = ("This is a chat model and not supported in the v1/completions endpoint. Did you mean to use "
             "v1/chat/completions?")


def post(proxy, body, headers=()):
    with Raw(proxy.port) as c:
        c.send(request_bytes("POST", "/v1/completions", body if isinstance(body, bytes) else json.dumps(
            body).encode(), headers))
        return c.answer()


def complete(proxy, stream=False, prompt=PROMPT, headers=(), **fields):
    body = {"model": "m", "prompt": prompt, **fields}
    return post(proxy, {**body, "stream": True} if stream else body, headers)


def text(answer, choice=0):
    rows = [answer.json] if answer.header("content-type") == "application/json" else answer.chunks
    return "".join(c["text"] for r in rows for c in r.get("choices", []) if c["index"] == choice)


def finish(answer):
    rows = [answer.json] if answer.header("content-type") == "application/json" else answer.chunks
    return [c["finish_reason"] for r in rows for c in r.get("choices", [])
            if c["finish_reason"]]


def outcomes(answer):
    return [(target, outcome.partition(":")[0]) for target, outcome, _ in answer.trail]


def account(server, kind):
    """openai serves completions; chat and responses are what else may speak OpenAI's words."""
    if kind in ("chat", "responses"):
        return provider(server, completions="chat", dialect=kind)
    if kind == "openai":
        return provider(server)
    return {"type": kind, "base_url": server.base_url.removesuffix("/v1"), "api_key": "sk-test-key"}


# -- passed on -----------------------------------------------------------------------------------
@pytest.mark.parametrize("stream", [False, True])
def test_bytes_pass_but_for_the_model(upstream, holdfast, stream):
    a = upstream("A")
    p = holdfast(a)
    body = ('{ "prompt" :"caf\\u00e9 \u00fc","x_own":{"a":1.50},"model" : "mine", "suffix":"s","echo":'
            'true,"logprobs":2,"max_tokens":0 ,"stream":%s}' % str(stream).lower()).encode()
    answer = post(p, body)
    assert answer.status == 200 and answer.end == "complete" and text(answer) == "A: word1 word2 word3 word4"
    assert a.attempts[0].path == "/v1/completions"
    assert a.attempts[0].body == body.replace(b'"mine"', b'"model-a"')
    assert finish(answer) == ["stop"] and answer.done == stream
    assert stream or answer.json["x_vendor_extra"] == 1.0


def test_another_one_takes_over_unseen(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast(a, b, breaker=CALM)
    for stream in (False, True, False, True):
        a.queue(DOWN if len(b.attempts) < 2 else "bad200?kind=html")
        answer = complete(p, stream)
        assert text(answer).startswith("B:") and answer.end == "complete"
        assert answer.header("x-holdfast-provider") == "b"


DONE_ONE = {"text": "one", "index": 0, "finish_reason": "stop"}
HALF = {"text": "", "index": 1, "finish_reason": None}


def test_every_choice_needs_its_finish_reason(upstream, holdfast):
    a, b = upstream("A", default="replay?content_type=application/json"), upstream("B")
    p = holdfast(a, b, breaker=CALM)
    for choices, label in (([DONE_ONE, HALF], "truncated"), ([DONE_ONE], "truncated"), ([], "empty")):
        a.recording = [bodies.dump({"choices": choices})]
        answer = complete(p, n=2)
        assert outcomes(answer) == [("a/model-a", label), ("b/model-b", "ok")]
        assert text(answer) == text(answer, 1) == "B: word1 word2 word3 word4"


def test_a_stream_that_ends_without_one_is_no_answer(upstream, holdfast):
    a, b = upstream("A", default="replay"), upstream("B")
    p = holdfast(a, b, breaker=CALM)
    one = b"data: " + bodies.dump({"choices": [DONE_ONE]}) + b"\n\n"
    for events in ([b"data: [DONE]\n\n"], [], [one, b"data: [DONE]\n\n"]):
        a.recording = events
        answer = complete(p, True, n=2)
        if one in events:  # its text went out
            assert answer.end == "aborted" and answer.error and not answer.done
        else:
            assert text(answer).startswith("B:") and answer.done == 1


def test_a_stream_that_breaks_ends_in_a_true_error(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast(a, b, breaker=CALM)
    for how in ("eof", "rst", "clean", "error", "malformed", "done"):
        a.queue(f"cut?after=3&how={how}")
        answer = complete(p, True)
        assert answer.status == 200 and answer.end == "aborted" and answer.error["message"], how
        assert text(answer) == "A: word1 word2" and not answer.done and finish(answer) == []
        assert b.attempts == []


def test_no_text_at_all_is_an_answer_too(upstream, holdfast):
    """Editors ask at every key, and often there is nothing to add: nobody is to blame for it."""
    a, b = upstream("A", default="ok?tokens=0"), upstream("B")
    p = holdfast(a, b, breaker={"consecutive": 1})
    for stream in (False, True):
        answer = complete(p, stream)
        assert outcomes(answer) == [("a/model-a", "ok")] and text(answer) == ""
        assert finish(answer) == ["stop"] and answer.done == stream and answer.end == "complete"


def test_a_model_that_only_chats_moves_on_and_is_not_left_to_rest(upstream, holdfast):
    a, b = upstream("A", queue=["replay?status=404&content_type=application/json"]), upstream("B")
    a.recording = [bodies.error(CHAT_ONLY, "invalid_request_error", None, "model")]
    p = holdfast(a, account(b, "anthropic"))
    answer = complete(p)
    assert outcomes(answer) == [("a/model-a", "unsupported"), ("b/model-b", "ok")]
    assert text(answer).startswith("B:") and p.chat().text.startswith("A:")


# -- put as chat ---------------------------------------------------------------------------------
ASKED = {"chat": ("/v1/chat/completions", lambda r: r["messages"][0]["content"]),
         "responses": ("/v1/responses", lambda r: json.dumps(r["input"], ensure_ascii=False)),
         "anthropic": ("/v1/messages", lambda r: json.dumps(r["messages"], ensure_ascii=False)),
         "gemini": ("/v1beta/models/model-b:", lambda r: r["contents"][0]["parts"][0]["text"])}


@pytest.mark.parametrize("kind", ASKED)
def test_who_only_chats_takes_over(upstream, holdfast, kind):
    a, b = upstream("A", default=DOWN), upstream("B")
    p = holdfast(a, account(b, kind))
    path, said = ASKED[kind]
    for stream in (False, True):
        answer = complete(p, stream, [PROMPT] if stream else PROMPT, max_tokens=77, temperature=0.25,
                          stop=["END"], logit_bias={"1": 2},
                          **({"stream_options": {"include_usage": True}} if stream else {}))
        assert answer.status == 200 and answer.end == "complete"
        assert outcomes(answer) == [("a/model-a", "overloaded"), ("b/model-b", "ok")]
        assert text(answer) == "B: word1 word2 word3 word4" and finish(answer) == ["stop"]
        row = answer.chunks[0] if stream else answer.json
        assert row["object"] == "text_completion" and row["model"] == "model-b"
        assert row["id"].startswith("cmpl-") and answer.done == stream
        usage = answer.chunks[-1]["usage"] if stream else answer.json["usage"]
        assert usage["total_tokens"] == 16
        asked = b.attempts[-1]
        assert asked.path.startswith(path) and PROMPT in said(asked.json)
        assert b"77" in asked.body and b"0.25" in asked.body
        assert "logit_bias" in answer.header("x-holdfast-dropped")


def test_the_built_in_answer_is_a_completion_too(holdfast):
    p = holdfast({"type": "scripted", "text": "all down"})
    for stream in (False, True):
        answer = complete(p, stream)
        assert text(answer) == "all down" and finish(answer) == ["stop"] and answer.done == stream


def test_a_translated_stream_that_breaks_ends_in_a_true_error(upstream, holdfast):
    a, b = upstream("A", default="cut?after=3"), upstream("B")
    answer = complete(holdfast(account(a, "anthropic"), b), True)
    assert answer.end == "aborted" and answer.error["message"] and text(answer) == "A: word1 word2"
    assert b.attempts == [] and not answer.done


UNSAYABLE = [{"suffix": "end"}, {"echo": True}, {"best_of": 3}, {"logprobs": 0}, {"prompt": ["a", "b"]},
             {"prompt": [1, 2]}, {"prompt": [[1], [2]]}]


def test_what_chat_has_no_words_for_is_refused_by_name_there_alone(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast(account(a, "anthropic"), b, account(upstream("C"), "gemini"), breaker=CALM, routes=[
        {"model": "claude", "targets": ["a/x"]}, {"model": "*", "targets": ["a/x", "b/y", "c/z"]}])
    for fields in UNSAYABLE:
        answer = complete(p, model="claude", **fields)
        name = next(iter(fields))
        assert answer.status == 400 and outcomes(answer) == [("a/x", "unsupported")], fields
        assert answer.error["message"].startswith(name + ": "), answer.error
        assert answer.header("x-should-retry") == "false"
        answer = complete(p, **fields)
        assert outcomes(answer) == [("a/x", "unsupported"), ("b/y", "ok")], fields
        assert text(answer).startswith("B:")
    assert a.attempts == []


def test_a_request_without_sense_is_refused_here(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a)
    for body, word in (({"prompt": "x"}, "model"), ({"model": "m", "prompt": {}}, "prompt"),
                       ({"model": "m", "prompt": []}, "prompt"), (b"[]", "request body"),
                       ({"model": "m", "prompt": "x", "stream": 1}, "stream")):
        answer = post(p, body)
        assert answer.status == 400 and word in answer.error["message"] and a.attempts == []


def test_types_without_it_are_asked_as_chat_and_the_configuration_may_say_so(upstream, holdfast):
    g, o = upstream("G"), upstream("O")
    groq = {"type": "groq", "base_url": g.base_url, "api_key": "k"}
    p = holdfast(groq, {**groq, "completions": "native"}, provider(o, completions="chat"), routes=[
        {"model": n, "targets": [f"{n}/x"]} for n in "abc"])
    for n, server, path in (("a", g, "/v1/chat/completions"), ("b", g, "/v1/completions"),
                            ("c", o, "/v1/chat/completions")):
        assert complete(p, model=n).status == 200 and server.attempts[-1].path == path
