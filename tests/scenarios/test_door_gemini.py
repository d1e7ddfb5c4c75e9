"""The door of Gemini's clients: generateContent and streamGenerateContent, whoever answers.

Each provider speaks its own dialect; the client sees Google's, in the exact form that Google's SDKs
and command line tool need: fragments with `data: ` and nothing else, one finishReason at the end,
usage with it, and no marker behind it.
"""
import json

import pytest

from client import Raw, http_get, request_bytes
from faultd import story
from test_conformance import CALM
from test_conformance_requests import a_check, g_check

MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-3-flash-preview"}
TOOLS = [{"functionDeclarations": [{"name": "look_up_0", "parameters": {
    "type": "OBJECT", "properties": {"city": {"type": "STRING"}, "n": {"type": "INTEGER"}}}}]}]
OF_CLAUDE, OF_GEMINI = "c2lnbmVkIGJ5IENsYXVkZQ==", "c2lnbmVkIGJ5IEdlbWluaQ=="
DOWN = "status?code=503"
KINDS = sorted(MODELS)
HELLO = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


class Door:
    """Providers of these kinds in a row behind one model, and Google's client before them."""

    def __init__(self, upstream, holdfast, *kinds, **config):
        self.providers = [upstream(n) for n, _ in zip("ABC", kinds)]
        self.proxy = holdfast(
            *({"type": k, "base_url": p.base_url, "api_key": f"sk-{k}"}
              for k, p in zip(kinds, self.providers)),
            routes=[{"model": "*", "targets": [f"{n}/{MODELS[k]}" for n, k in zip("abc", kinds)]}],
            failover={"max_attempts": 4, "per_target": 1}, breaker=CALM, **config)

    def say(self, *scripts):
        for p, s in zip(self.providers, scripts):
            p.specs[:] = [s]

    def ask(self, body=HELLO, stream=False, path=None, method="POST", **headers):
        if path is None:
            path = "/v1beta/models/m:" + ("streamGenerateContent?alt=sse" if stream
                                          else "generateContent")
        with Raw(self.proxy.port) as c:
            c.send(request_bytes(method, path, json.dumps(body).encode(),
                                 {"x-goog-api-key": "client-key", **headers}))
            return c.answer()

    def last(self, i=0):
        return self.providers[i].attempts[-1]


def fragments(answer):
    """The objects of a stream or of a list, read as strictly as the strictest client does."""
    if answer.header("content-type").startswith("application/json"):
        found = json.loads(answer.body)
        return found if isinstance(found, list) else [found]
    blocks = answer.body.decode().replace("\r\n", "\n").split("\n\n")
    assert blocks.pop() == ""
    for b in blocks:
        assert b.startswith("data: {") and "\n" not in b, b
    return [json.loads(b[6:]) for b in blocks]


def parts_of(found, index=0):
    return [p for f in found for c in f.get("candidates", []) if c.get("index", 0) == index
            for p in c.get("content", {}).get("parts", [])]


def text_of(found):
    return "".join(p.get("text", "") for p in parts_of(found) if not p.get("thought"))


def finish_of(found):
    return [c["finishReason"] for f in found for c in f.get("candidates", [])
            if c.get("finishReason")]


def calls_of(found):
    return [p["functionCall"] for p in parts_of(found) if "functionCall" in p]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_provider_serves_the_door(upstream, holdfast, kind, stream):
    door = Door(upstream, holdfast, kind)
    answer = door.ask(stream=stream)
    assert answer.status == 200 and answer.end == "complete", answer.body
    found = fragments(answer)
    assert text_of(found).startswith("A:") and finish_of(found) == ["STOP"]
    assert answer.header("x-holdfast-provider") == "a"
    for f in found:
        assert f["responseId"] and f["modelVersion"] == MODELS[kind]
    usage = found[-1]["usageMetadata"]
    assert usage["promptTokenCount"] == 11 and usage["candidatesTokenCount"] > 0
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]
    if stream:
        assert len(found) > 2 and finish_of(found[:-1]) == []
        assert answer.header("content-type") == "text/event-stream"
    assert b"[DONE]" not in answer.body
    assert "client-key" not in str(door.last().headers)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_tools_are_called_and_their_results_go_back(upstream, holdfast, kind, stream):
    door = Door(upstream, holdfast, kind)
    door.say("ok?tools=2")
    answer = door.ask({**HELLO, "tools": TOOLS}, stream)
    found = fragments(answer)
    calls = calls_of(found)
    assert [c["name"] for c in calls] == ["look_up_0", "look_up_1"]
    assert all(isinstance(c["args"], dict) and c["args"] for c in calls)
    assert finish_of(found) == ["STOP"]

    model = {"role": "model", "parts": [p for p in parts_of(found) if p != {"text": ""}]}
    results = {"role": "user", "parts": [
        {"functionResponse": {"name": c["name"], "response": {"output": f"result {i}"},
                              **({"id": c["id"]} if "id" in c else {})}}
        for i, c in enumerate(calls)]}
    door.say("ok")
    again = door.ask({"contents": HELLO["contents"] + [model, results], "tools": TOOLS}, stream)
    assert again.status == 200, again.body
    sent = door.last().json
    if kind == "openai":
        assistant, *tools = sent["messages"][1:]
        assert [c["function"]["name"] for c in assistant["tool_calls"]] == ["look_up_0",
                                                                            "look_up_1"]
        assert [t["tool_call_id"] for t in tools] == [c["id"] for c in assistant["tool_calls"]]
        assert [t["content"] for t in tools] == ["result 0", "result 1"]
    elif kind == "anthropic":
        pairs, _ = a_check(sent)
        assert [p[3] for p in pairs] == ["result 0", "result 1"]
    else:
        pairs, _ = g_check(sent)
        assert sent["contents"][1] == model


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("others", [("openai", "anthropic"), ("anthropic", "openai")])
def test_another_dialect_takes_over_from_gemini(upstream, holdfast, stream, others):
    door = Door(upstream, holdfast, "gemini", *others)
    door.say(DOWN, "ok")
    answer = door.ask(stream=stream)
    assert text_of(fragments(answer)).startswith("B:")
    assert [t[1] for t in answer.trail] == ["overloaded:503", "ok"]
    door.say(DOWN, "cut?after=0", "ok")
    answer = door.ask(stream=stream)
    assert text_of(fragments(answer)).startswith("C:")
    assert finish_of(fragments(answer)) == ["STOP"]


def test_without_alt_sse_a_stream_is_a_json_array(upstream, holdfast):
    for kind in KINDS:
        door = Door(upstream, holdfast, kind)
        answer = door.ask(path="/v1beta/models/m:streamGenerateContent")
        assert answer.header("content-type") == "application/json"
        found = fragments(answer)
        assert answer.body.startswith(b"[{") and len(found) > 2
        assert text_of(found).startswith("A:") and finish_of(found) == ["STOP"]


@pytest.mark.parametrize("as_list", [False, True])
def test_a_stream_that_breaks_ends_with_a_framed_error_and_an_abort(upstream, holdfast, as_list):
    for kind in KINDS:
        door = Door(upstream, holdfast, kind)
        door.say("cut?after=2&how=rst")
        answer = door.ask(path="/v1beta/models/m:streamGenerateContent"
                          + ("" if as_list else "?alt=sse"))
        assert answer.status == 200 and answer.end == "aborted"
        if as_list:
            found = json.loads(answer.body + b"]")  # nobody takes it for a whole one
        else:
            found = fragments(answer)
        error = found[-1]["error"]
        assert error["code"] >= 500 and error["status"] in ("INTERNAL", "UNAVAILABLE")
        assert finish_of(found) == []


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("first,then", [("openai", "gemini"), ("gemini", "openai"),
                                        ("anthropic", "gemini"), ("gemini", "gemini")])
def test_a_broken_answer_is_carried_on_by_another(upstream, holdfast, first, then, as_list):
    door = Door(upstream, holdfast, first, then)
    door.say("canonical?cut=20", "canonical")
    answer = door.ask(path="/v1beta/models/m:streamGenerateContent" + ("" if as_list
                                                                       else "?alt=sse"))
    found = fragments(answer)
    assert text_of(found) == story.TEXT and finish_of(found) == ["STOP"]
    assert len({f["responseId"] for f in found}) == 1
    assert found[-1]["usageMetadata"]["candidatesTokenCount"] > 0
    assert answer.end == "complete" and len(door.providers[1].attempts) == 1


def test_errors_have_googles_envelope(upstream, holdfast):
    door = Door(upstream, holdfast, "openai")
    cases = [
        ({}, "/v1beta/models/m:generateContent", 400, "INVALID_ARGUMENT", "contents"),
        (HELLO, "/v1beta/models/a..b:generateContent", 400, "INVALID_ARGUMENT", "model"),
        (HELLO, "/v1beta/models/a%20b:generateContent", 400, "INVALID_ARGUMENT", "model"),
        (HELLO, "/v1beta/models/m:predict", 405, "INVALID_ARGUMENT", "POST"),
        (HELLO, "/v1beta/cachedContents", 404, "NOT_FOUND", "no provider of its kind"),
        ({"contents": [{"role": "system", "parts": [{"text": "x"}]}]},
         "/v1beta/models/m:generateContent", 400, "INVALID_ARGUMENT", "contents[0].role"),
    ]
    for body, path, code, status, text in cases:
        answer = door.ask(body, path=path)
        assert answer.status == code, (path, answer.body)
        error = answer.json["error"]
        assert error["code"] == code and error["status"] == status and text in error["message"]
        assert set(error) == {"code", "message", "status"}
    assert not door.providers[0].attempts


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_left_tells_the_true_class_of_error(upstream, holdfast, stream):
    door = Door(upstream, holdfast, "gemini", "openai")
    door.say("status?code=429", "status?code=401")
    answer = door.ask(stream=stream)
    assert answer.status == 429 and answer.json["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert answer.header("content-type") == "application/json"


def test_tokens_are_counted_by_googles_models_and_by_nobody_else(upstream, holdfast):
    door = Door(upstream, holdfast, "openai", "gemini")
    door.providers[1].recording = [b'{"totalTokens": 7, "x": 1}']
    door.say("ok", "replay")
    answer = door.ask({"generateContentRequest": {"model": "models/m", **HELLO}},
                      path="/v1beta/models/m:countTokens")
    assert answer.status == 200 and answer.body == b'{"totalTokens": 7, "x": 1}'
    assert not door.providers[0].attempts
    sent = door.last(1)
    assert sent.path == f"/v1/models/{MODELS['gemini']}:countTokens"
    assert sent.json["generateContentRequest"] == {"model": f"models/{MODELS['gemini']}", **HELLO}

    door = Door(upstream, holdfast, "openai")
    answer = door.ask(path="/v1beta/models/m:countTokens")
    assert answer.status == 404 and answer.json["error"]["status"] == "NOT_FOUND"


def test_models_are_listed_as_google_lists_them(upstream, holdfast):
    a = upstream("A")
    proxy = holdfast(a, routes=[{"model": "gpt-4o", "targets": ["a/gpt-4o"]}])
    for path, headers in [("/v1beta/models", {}), ("/v1/models", {"x-goog-api-key": "k"}),
                          ("/v1/models", {"x-goog-api-client": "genai"}), ("/v1/models?key=k", {})]:
        code, _, body = http_get(proxy.port, path, headers)
        assert code == 200
        model, = [m for m in json.loads(body)["models"] if "gpt" in m["name"]]
        assert model["name"] == "models/gpt-4o"
        assert "generateContent" in model["supportedGenerationMethods"]
    code, _, body = http_get(proxy.port, "/v1beta/models/gpt-4o")
    assert json.loads(body)["name"] == "models/gpt-4o"
    code, _, body = http_get(proxy.port, "/v1beta/models/other")
    assert code == 404 and json.loads(body)["error"]["status"] == "NOT_FOUND"
    assert "data" in json.loads(http_get(proxy.port, "/v1/models")[2])


def test_a_gemini_gets_the_clients_bytes(upstream, holdfast):
    door = Door(upstream, holdfast, "gemini")
    body = b'{ "contents" : [{"parts":[{"text":"\\u00e9"}]}],"x_new":{"n":1e999} }'
    with Raw(door.proxy.port) as c:
        c.send(request_bytes("POST", "/v1/models/m:generateContent?key=secret", body, {}))
        assert c.answer().status == 200
    sent = door.last()
    assert sent.body == body
    assert sent.path == f"/v1/models/{MODELS['gemini']}:generateContent"
    assert sent.header("x-goog-api-key") == "sk-gemini"
    assert "secret" not in door.proxy.stderr


def test_what_only_google_has_is_dropped_and_named(upstream, holdfast):
    door = Door(upstream, holdfast, "anthropic")
    answer = door.ask({
        **HELLO, "safetySettings": [{"category": "X", "threshold": "Y"}],
        "tools": [{"googleSearch": {}}],
        "generation_config": {"seed": 7, "top_k": 3, "audioTimestamp": True, "temperature": 2}})
    assert answer.status == 200
    dropped = answer.header("x-holdfast-dropped").split(", ")
    assert sorted(dropped) == ["generationConfig.audioTimestamp", "generationConfig.seed",
                               "generationConfig.temperature", "safetySettings",
                               "tools[0].googleSearch"]
    assert door.last().json["top_k"] == 3


def test_heartbeats_send_headers_and_not_a_byte_more(upstream, holdfast):
    door = Door(upstream, holdfast, "openai", stream={"heartbeat_after": "1s"},
                timeouts={"first_token": "4s"})
    door.say("ok?first=1500")
    answer = door.ask(stream=True)
    assert answer.status == 200 and text_of(fragments(answer)).startswith("A:")
    assert answer.trail[0][1] == "pending"


def test_comments_of_an_upstream_do_not_reach_the_client(upstream, holdfast):
    door = Door(upstream, holdfast, "gemini")

    def fragment(text, **more):
        return json.dumps({"candidates": [{"content": {"parts": [{"text": text}]}, **more}]})

    door.providers[0].recording = [p.encode() for p in (
        ": hello\n\n", f"data: {fragment('a')}\n\n", f": ping\nevent: x\ndata:{fragment('b')}\r\n\r\n",
        "retry: 5\n\n", f"data: {fragment('c', finishReason='STOP')}\n\n", "data: [DONE]\n\n")]
    door.say("replay")
    answer = door.ask(stream=True)
    assert text_of(fragments(answer)) == "abc" and answer.end == "complete"


def test_claudes_thoughts_come_back_to_claude_and_go_to_nobody_else(upstream, holdfast):
    door = Door(upstream, holdfast, "anthropic", "gemini")
    thinking = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1024,
                                                        "includeThoughts": True},
                                     "maxOutputTokens": 4096}, "tools": TOOLS}
    for stream in (False, True):
        door.say(f"ok?tools=1&thinks={OF_CLAUDE}", DOWN)
        first = fragments(door.ask({**HELLO, **thinking}, stream))
        parts = [p for p in parts_of(first) if p != {"text": ""}]
        assert "".join(p["text"] for p in parts if p.get("thought")) == "Let me see."
        call, = calls_of(first)
        history = HELLO["contents"] + [
            {"role": "model", "parts": parts},
            {"role": "user", "parts": [{"functionResponse": {
                "name": call["name"], "response": {"result": "9"}}}]}]

        door.say("ok", DOWN)
        assert door.ask({"contents": history, **thinking}, stream).status == 200
        block = door.last(0).json["messages"][1]["content"][0]
        assert block == {"type": "thinking", "thinking": "Let me see.", "signature": OF_CLAUDE}

        door.say(DOWN, "ok")
        again = door.ask({"contents": history, **thinking}, stream)
        assert again.header("x-holdfast-provider") == "b"
        assert "thoughtSignature" in again.header("x-holdfast-dropped")
        sent = door.last(1).json["contents"][1]["parts"]
        assert [p["thoughtSignature"] for p in sent if "functionCall" in p] == [
            "skip_thought_signature_validator"]
        assert all("thoughtSignature" not in p for p in sent if "functionCall" not in p)


def test_thoughts_are_shown_only_to_who_asks(upstream, holdfast):
    door = Door(upstream, holdfast, "anthropic")
    for stream in (False, True):
        door.say(f"ok?thinks={OF_CLAUDE}")
        found = fragments(door.ask(stream=stream))
        assert not any(p.get("thought") for p in parts_of(found))
        assert "Let me see." not in json.dumps(found)


def test_geminis_own_signatures_go_back_untouched(upstream, holdfast):
    door = Door(upstream, holdfast, "gemini", "openai")
    door.say(f"ok?tools=1&thinks={OF_GEMINI}")
    first = fragments(door.ask({**HELLO, "tools": TOOLS}))
    call, = calls_of(first)
    history = HELLO["contents"] + [
        {"role": "model", "parts": parts_of(first)},
        {"role": "user", "parts": [{"functionResponse": {"name": call["name"],
                                                         "response": {"a": 1}}}]}]
    door.say("ok")
    door.ask({"contents": history, "tools": TOOLS})
    assert door.last(0).json["contents"] == history
    door.say(DOWN, "ok")
    again = door.ask({"contents": history, "tools": TOOLS})
    assert OF_GEMINI not in door.last(1).body.decode()
    assert "contents[1].parts[1].thoughtSignature" in again.header("x-holdfast-dropped")
    assert door.last(1).json["messages"][2]["content"] == '{"a": 1}'
