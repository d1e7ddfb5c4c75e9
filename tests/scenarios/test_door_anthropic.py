"""The door for Anthropic's clients: /v1/messages before OpenAI, Claude and Gemini."""
import itertools
import json

import pytest

from client import Raw, http_get, request_bytes
from faultd import story
from test_conformance import CALM
from test_conformance_requests import a_check

KINDS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-3-flash-preview"}
VERSION = {"anthropic-version": "2023-06-01"}
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"name": f"look_up_{i}", "description": "Looks a city up.", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}}
    for i in range(2)]
TEXT = "A: word1 word2 word3 word4"
ZURICH = {"city": "Z\u00fcrich"}


def post(port, path, body, headers=()):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with Raw(port) as c:
        c.send(request_bytes("POST", path, body, VERSION | dict(headers)))
        return c.answer()


def ask(port, stream=False, headers=(), path="/v1/messages", messages=HELLO, **fields):
    body = {"model": "m", "max_tokens": 100, "messages": messages, **fields}
    if stream:
        body["stream"] = True
    return post(port, path, body, headers)


def events(answer):
    """[(name, data)]: every event of this dialect has a name, and its data says the same one."""
    found = []
    for block in answer.body.decode().split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, data = block.split("\n")
        name, data = name.removeprefix("event: "), json.loads(data.removeprefix("data: "))
        assert data["type"] == name
        found.append((name, data))
    return found


def message_of(answer):
    """What an SDK makes of an answer; of a stream only if each event has its place."""
    if not answer.header("content-type").startswith("text/event-stream"):
        return answer.json
    state, message = None, None
    for name, ev in events(answer):
        if name == "ping":
            continue
        if name == "message_start":
            assert state is None
            message, state = ev["message"], "between"
            assert message["content"] == [] and message["stop_reason"] is None
            assert message["usage"].keys() >= {"input_tokens", "output_tokens"}
        elif name == "content_block_start":
            assert state == "between" and ev["index"] == len(message["content"])
            message["content"].append(ev["content_block"])
            state, pieces = "inside", ""
        elif name == "content_block_delta":
            assert state == "inside" and ev["index"] == len(message["content"]) - 1
            block, delta = message["content"][-1], ev["delta"]
            kind = {"text_delta": "text", "thinking_delta": "thinking",
                    "signature_delta": "signature"}.get(delta["type"])
            if kind:
                assert block["type"] in delta["type"] or kind == "signature"
                block[kind] += delta[kind]
            else:
                assert delta["type"] == "input_json_delta" and block["type"] == "tool_use"
                pieces += delta["partial_json"]
        elif name == "content_block_stop":
            assert state == "inside" and ev["index"] == len(message["content"]) - 1
            if message["content"][-1]["type"] == "tool_use":
                message["content"][-1]["input"] = json.loads(pieces or "{}")
            state = "between"
        elif name == "message_delta":
            assert state == "between"
            message |= ev["delta"]
            message["usage"] |= ev["usage"]
            state = "over"
        else:
            assert (name, state) == ("message_stop", "over")
            state = "end"
    assert state == "end"
    return message


def text_of(message):
    return "".join(b["text"] for b in message["content"] if b["type"] == "text")


@pytest.fixture
def door(upstream, holdfast):
    """door("gemini", ...) -> (port's proxy, the providers' fakes)."""
    def start(*kinds, **parts):
        fakes = [upstream(n) for n in "ABC"[:len(kinds)]]
        proxy = holdfast(
            *({"type": k, "base_url": f.base_url, "api_key": f"sk-canary-{k}"}
              for k, f in zip(kinds, fakes)),
            routes=[{"model": "*", "targets": [f"{n}/{KINDS[k]}" for n, k in zip("abc", kinds)]}],
            breaker=CALM, **parts)
        return proxy, *fakes
    return start


# -- answers -----------------------------------------------------------------------------------
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer(door, kind, stream):
    proxy, _ = door(kind)
    answer = ask(proxy.port, stream)
    message = message_of(answer)
    assert (answer.status, answer.end) == (200, "complete")
    assert message["type"] == "message" and message["role"] == "assistant"
    assert message["id"].startswith("msg_") and message["model"] == KINDS[kind]
    assert text_of(message) == TEXT
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)
    assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (11, 5)
    assert answer.header("request-id") == answer.header("x-request-id")
    assert answer.header("x-holdfast-provider") == "a"


@pytest.mark.parametrize("kind", ["openai", "gemini"])
def test_the_events_of_a_translated_stream_and_their_order(door, kind):
    proxy, _ = door(kind)
    names = [n for n, _ in events(ask(proxy.port, True))]
    assert names == (["message_start", "content_block_start"] + ["content_block_delta"] * 5 +
                     ["content_block_stop", "message_delta", "message_stop"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_with_tools(door, kind, calls, stream):
    proxy, a = door(kind)
    a.queue(f"ok?tools={calls}", "ok")
    message = message_of(ask(proxy.port, stream, tools=TOOLS))
    uses = [b for b in message["content"] if b["type"] == "tool_use"]
    assert message["stop_reason"] == "tool_use"
    assert [(u["name"], u["input"]) for u in uses] == [
        (f"look_up_{i}", ZURICH | {"n": i}) for i in range(calls)]
    assert len({u["id"] for u in uses}) == calls
    results = [{"type": "tool_result", "tool_use_id": u["id"], "content": f"result {i}"}
               for i, u in enumerate(uses)]
    history = [*HELLO, {"role": "assistant", "content": message["content"]},
               {"role": "user", "content": [*results, {"type": "text", "text": "and now?"}]}]
    assert text_of(message_of(ask(proxy.port, stream, messages=history, tools=TOOLS))) == TEXT
    sent = a.attempts[1].json
    if kind == "openai":
        assert [m["role"] for m in sent["messages"]] == ["user", "assistant",
                                                         *["tool"] * calls, "user"]
        assert [m["tool_call_id"] for m in sent["messages"] if m["role"] == "tool"] == [
            u["id"] for u in uses]
        assert sent["tools"][0]["function"]["parameters"] == TOOLS[0]["input_schema"]
    elif kind == "anthropic":
        assert sent["messages"] == history
    else:
        parts = [p for c in sent["contents"] for p in c["parts"]]
        assert [p["functionResponse"]["response"] for p in parts if "functionResponse" in p] == [
            {"output": f"result {i}"} for i in range(calls)]


def test_interleaved_calls_come_one_after_the_other(door):
    proxy, a = door("openai")
    a.default = "replay"

    def chunk(delta, finish=None):
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta,
                                                    "finish_reason": finish}]}).encode() + b"\n\n"

    def call(i, **function):
        return {"index": i, **({"id": f"call_{i}", "type": "function"} if "name" in function
                               else {}), "function": function}
    deltas = [[call(0, name="look_up_0", arguments=""), call(1, name="look_up_1", arguments="")],
              [call(1, arguments='{"n"')], [call(0, arguments='{"city": "Z')],
              [call(1, arguments=': 1}')], [call(0, arguments='"}')]]
    a.recording = [chunk({"role": "assistant", "content": None}),
                   *(chunk({"tool_calls": d}) for d in deltas), chunk({}, "tool_calls"),
                   b"data: [DONE]\n\n"]
    message = message_of(ask(proxy.port, True, tools=TOOLS))
    assert [(b["id"], b["input"]) for b in message["content"]] == [
        ("call_0", {"city": "Z"}), ("call_1", {"n": 1})]


# -- same dialect: the client's bytes --------------------------------------------------------------
def test_the_request_goes_on_byte_by_byte(door):
    proxy, a = door("anthropic")
    body = ('{ "max_tokens" :9,\t"model" : "m", "messages":[{"role":"user","content":"\\u00fc \\/"}],'
            '"x":1e999, "context_management":{"edits":[]} ,"thinking":{"type":"disabled"} }').encode()
    headers = {"anthropic-beta": "a-2025-01-01,b", "anthropic-version": "2026-10-21",
               "x-api-key": "sk-of-the-client", "X-Other": "1"}
    answer = post(proxy.port, "/v1/messages?beta=true&key=sk-secret", body, headers)
    sent = a.attempts[0]
    assert answer.status == 200
    assert sent.path == "/v1/messages?beta=true"
    assert sent.body == body.replace(b'"model" : "m"', b'"model" : "claude-sonnet-4-5"')
    assert sent.header("anthropic-beta") == "a-2025-01-01,b"
    assert sent.header("anthropic-version") == "2026-10-21"
    assert sent.header("x-api-key") == "sk-canary-anthropic" and not sent.header("x-other")
    assert answer.header("x-holdfast-dropped") is None


def test_the_answer_goes_on_byte_by_byte(door):
    proxy, a = door("anthropic")
    a.default = "replay?content_type=application/json"
    a.recording = [b'{"id":"msg_1", "type":"message","content":[{"type":"text","text":"\\u00fc"}],'
                   b'"stop_reason":"end_turn", "usage":{"input_tokens":1,"output_tokens":2},"x":1e9}']
    assert ask(proxy.port).body == a.recording[0]


def test_a_version_is_named_where_the_client_names_none(door):
    proxy, a = door("anthropic")
    with Raw(proxy.port) as c:
        c.send(request_bytes("POST", "/messages", json.dumps(
            {"model": "m", "max_tokens": 9, "messages": HELLO}).encode()))
        assert c.answer().status == 200
    assert a.attempts[0].header("anthropic-version") == "2023-06-01"


# -- failover --------------------------------------------------------------------------------------
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(KINDS)))
def test_failover_to_any_provider(door, order, stream):
    proxy, *fakes = door(*order)
    fakes[0].default, fakes[1].default = "status?code=529", "cut?after=0&how=rst"
    answer = ask(proxy.port, stream)
    assert text_of(message_of(answer)) == "C" + TEXT[1:]
    assert [(t, o.partition(":")[0] == "ok") for t, o, _ in answer.trail] == [
        (f"{n}/{KINDS[k]}", n == "c") for n, k in zip("abc", order)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_stream_ends_in_an_error_and_an_abort(door, kind):
    proxy, a = door(kind)
    a.default = "cut?after=3&how=clean"
    answer = ask(proxy.port, True, headers={"x-holdfast-midstream": "error"})
    assert answer.end == "aborted"
    name, last = events(answer)[-1]
    assert name == "error" and last["error"]["type"] == "api_error"
    assert last["request_id"] == answer.header("request-id")
    assert not any(n in ("message_delta", "message_stop") for n, _ in events(answer))


@pytest.mark.parametrize("first,then", [("openai", "anthropic"), ("anthropic", "openai"),
                                        ("gemini", "anthropic"), ("anthropic", "anthropic")])
def test_a_broken_answer_is_carried_on_in_one_message(door, first, then):
    proxy, a, b = door(first, then)
    a.default, b.default = "canonical?cut=20", "canonical"
    answer = ask(proxy.port, True)
    message = message_of(answer)
    assert text_of(message) == story.TEXT and len(message["content"]) == 1
    assert message["stop_reason"] == "end_turn" and message["usage"]["output_tokens"] > 0
    assert [o for _, o, _ in answer.trail] == ["ok"] and len(b.attempts) == 1
    assert b"seam from=a/" in answer.body


def test_a_call_that_was_cut_never_reached_the_client(door):
    proxy, a, b = door("openai", "anthropic")
    a.default, b.default = "cut?tools=1&how=rst", "ok?tools=1"
    message = message_of(ask(proxy.port, True, tools=TOOLS))
    assert [c["input"] for c in message["content"]] == [ZURICH | {"n": 0}]


# -- reasoning -------------------------------------------------------------------------------------
THINKING = {"type": "enabled", "budget_tokens": 50}
OF_GEMINI = "c2lnbmVkIGJ5IEdlbWluaQ=="


@pytest.mark.parametrize("stream", [False, True])
def test_the_state_of_gemini_comes_back_to_gemini_alone(door, stream):
    proxy, a, b = door("anthropic", "gemini")
    a.default = "status?code=503"
    b.queue(f"ok?tools=2&thinks={OF_GEMINI}", "ok")
    message = message_of(ask(proxy.port, stream, tools=TOOLS, thinking=THINKING))
    kinds = [x["type"] for x in message["content"]]
    assert kinds.count("tool_use") == 2 and kinds[0] == "thinking"
    assert message["content"][0]["thinking"] == "Let me see."
    assert all(x["signature"].startswith("holdfast") for x in message["content"]
               if x["type"] == "thinking")
    results = [{"type": "tool_result", "tool_use_id": x["id"], "content": "1"}
               for x in message["content"] if x["type"] == "tool_use"]
    history = [*HELLO, {"role": "assistant", "content": message["content"]},
               {"role": "user", "content": results}]
    message_of(ask(proxy.port, stream, messages=history, tools=TOOLS, thinking=THINKING))
    calls = [p for c in b.attempts[1].json["contents"] for p in c["parts"] if "functionCall" in p]
    assert calls[0]["thoughtSignature"] == OF_GEMINI and len(calls) == 2

    a.default = "ok"
    answer = ask(proxy.port, stream, messages=history, tools=TOOLS, thinking=THINKING)
    sent = a.attempts[-1].json
    assert answer.header("x-holdfast-provider") == "a"
    assert "holdfast" not in json.dumps(sent) and sent["thinking"] == {"type": "disabled"}
    assert [x["type"] for x in sent["messages"][1]["content"]] == ["tool_use"] * 2
    assert answer.header("x-holdfast-dropped").startswith("messages[1].content[0]")
    assert answer.header("x-holdfast-dropped").endswith(", thinking")


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_is_shown_only_to_those_who_asked(door, stream):
    proxy, a = door("gemini")
    a.default = f"ok?thinks={OF_GEMINI}"
    message = message_of(ask(proxy.port, stream))
    assert [b["type"] for b in message["content"]] == ["text"]


def test_claudes_own_thinking_goes_back_byte_by_byte(door):
    proxy, a = door("anthropic")
    a.queue("ok?tools=1&thinks=c2ln", "ok")
    message = message_of(ask(proxy.port, True, tools=TOOLS, thinking=THINKING))
    history = [*HELLO, {"role": "assistant", "content": message["content"]},
               {"role": "user", "content": [{"type": "tool_result", "content": "1",
                                             "tool_use_id": message["content"][1]["id"]}]}]
    ask(proxy.port, True, messages=history, tools=TOOLS, thinking=THINKING)
    assert a.attempts[1].json["messages"] == history
    assert a.attempts[1].json["thinking"] == THINKING


# -- errors ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code,told,word", [
    (400, 400, "invalid_request_error"), (401, 529, "overloaded_error"),
    (403, 529, "overloaded_error"), (404, 404, "not_found_error"), (429, 429, "rate_limit_error"),
    (500, 529, "overloaded_error"), (503, 529, "overloaded_error")])
def test_each_error_in_the_words_of_this_dialect(door, kind, code, told, word, stream):
    proxy, a = door(kind)
    a.default = f"status?code={code}"
    answer = ask(proxy.port, stream)
    assert answer.status == told
    assert answer.json["type"] == "error" and answer.error["type"] == word
    assert answer.json["request_id"] == answer.header("request-id")
    assert f"a/{KINDS[kind]}" in answer.error["message"]


@pytest.mark.parametrize("body,field", [
    (b"{", "request body"), (b"[]", "request body"), (b'{"messages":[{}]}', "model"),
    (b'{"model":"m"}', "messages"), (b'{"model":"m","model":"n","messages":[{}]}', "model"),
    (b'{"model":"m","messages":[{}],"stream":1}', "stream")])
def test_a_request_that_is_none(door, body, field):
    proxy, a = door("openai")
    answer = post(proxy.port, "/v1/messages", body)
    assert answer.status == 400 and answer.error["type"] == "invalid_request_error"
    assert answer.error["message"].startswith(field) and not a.attempts


def test_what_nobody_can_be_told_is_refused_by_the_clients_own_path(door):
    proxy, a = door("gemini")
    messages = [{"role": "user", "content": [{"type": "image", "source": {
        "type": "url", "url": "https://example.com/a.png"}}]}]
    answer = ask(proxy.port, messages=messages)
    assert answer.status == 400 and not a.attempts
    assert "messages[0].content[0]" in answer.error["message"]
    answer = ask(proxy.port, stop_sequences=list("abcdef"))
    assert answer.status == 400 and "stop_sequences: 6 sequences" in answer.error["message"]


# -- fields ----------------------------------------------------------------------------------------
def test_what_is_left_out_is_named_in_the_clients_words(door):
    proxy, a = door("openai")
    answer = ask(proxy.port, top_k=3, context_management={"edits": [{"type": "clear"}]},
                 system=[{"type": "text", "text": "x-anthropic-billing-header: cc_version=2"},
                         {"type": "text", "text": "Be brief.",
                          "cache_control": {"type": "ephemeral"}}],
                 metadata={"user_id": "u" * 100}, stop_sequences=["END"],
                 tools=[*TOOLS, {"type": "web_search_20250305", "name": "web_search"}])
    assert answer.status == 200
    assert set(answer.header("x-holdfast-dropped").split(", ")) == {
        "top_k", "context_management", "system[0]", "system[1].cache_control", "tools[2]",
        "metadata.user_id"}
    sent = a.attempts[0].json
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["stop"] == ["END"] and sent["max_tokens"] == 100 and len(sent["tools"]) == 2


def test_what_claude_code_sends_is_served(door):
    proxy, a, b = door("openai", "gemini")
    history = [*HELLO, {"role": "system", "content": "A reminder."},
               {"role": "assistant", "content": [
                   {"type": "thinking", "thinking": "", "signature": "c2ln"},
                   {"type": "tool_use", "id": "toolu_1", "name": "look_up_0", "input": {}}]},
               {"role": "user", "content": [
                   {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": [
                       {"type": "text", "text": "No."}, {"type": "document", "source": {
                           "type": "base64", "media_type": "application/pdf",
                           "data": "JVBERi0xLjQK"}}]},
                   {"type": "text", "text": "<system-reminder>", "cache_control": {
                       "type": "ephemeral"}}]}]
    fields = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"},
              "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
              "tools": [{**TOOLS[0], "eager_input_streaming": True}, {
                  "type": "custom", "name": "Odd", "input_schema": {"type": "object"}},
                  {"type": "bash_20250124", "name": "bash"}], "metadata": {"user_id": "u"}}
    for code in (200, 503):
        a.default = "ok" if code == 200 else "status?code=503"
        answer = ask(proxy.port, True, path="/v1/messages?beta=true", messages=history, **fields)
        assert answer.status == 200, answer.body
        message_of(answer)
    sent = a.attempts[0].json
    assert [m["role"] for m in sent["messages"]] == ["user", "system", "assistant", "tool", "user"]
    assert sent["messages"][3]["content"][0]["text"] == "Error: No."
    assert "JVBERi0xLjQK" in json.dumps(sent["messages"][4])
    assert [t["function"]["name"] for t in sent["tools"]] == ["look_up_0", "Odd"]
    assert "JVBERi0xLjQK" in json.dumps(b.attempts[0].json)


def test_a_model_that_we_chose_gets_what_it_takes(door):
    proxy, a = door("anthropic")
    answer = ask(proxy.port, max_tokens=128000, thinking={"type": "adaptive"},
                 output_config={"effort": "high"})
    sent = a.attempts[0].json
    a_check(sent)
    assert sent["max_tokens"] == 64000 and "output_config" not in sent
    assert sent["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    assert answer.header("x-holdfast-dropped") == "max_tokens, thinking, output_config.effort"


# -- counting --------------------------------------------------------------------------------------
COUNT = "/v1/messages/count_tokens"


def test_tokens_are_counted_by_a_provider_of_this_dialect(door):
    proxy, a, b, c = door("openai", "anthropic", "anthropic")
    for fake in (b, c):
        fake.default = "replay?content_type=application/json"
        fake.recording = [b'{ "input_tokens": 14 }']
    b.queue("status?code=529")
    answer = post(proxy.port, COUNT + "?beta=true", {"model": "m", "messages": HELLO})
    assert answer.status == 200 and answer.body == c.recording[0]
    assert not a.attempts and c.attempts[0].path == COUNT + "?beta=true"
    assert c.attempts[0].json == {"model": KINDS["anthropic"], "messages": HELLO}


def test_nobody_estimates(door):
    proxy, a = door("openai")
    answer = post(proxy.port, COUNT, {"model": "m", "messages": HELLO})
    assert answer.status == 404 and answer.error["type"] == "not_found_error" and not a.attempts


def test_a_count_that_is_none_is_no_answer(door):
    proxy, a = door("anthropic")
    a.default = "replay?content_type=application/json"
    a.recording = [b'{"tokens": 14}']
    assert post(proxy.port, COUNT, {"model": "m", "messages": HELLO}).status == 529


# -- around it -------------------------------------------------------------------------------------
def test_the_list_of_models_by_the_headers(door):
    proxy, _ = door("openai")
    _, headers, body = http_get(proxy.port, "/v1/models?limit=1000", VERSION)
    got = json.loads(body)
    assert got["has_more"] is False and got["first_id"] == got["data"][0]["id"]
    assert got["data"][0].keys() == {"type", "id", "display_name", "created_at"}
    assert headers["request-id"]
    assert json.loads(http_get(proxy.port, "/v1/models")[2])["object"] == "list"
    assert json.loads(http_get(proxy.port, "/v1/models/gpt-4o", VERSION)[2])["type"] == "model"


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/files"])
def test_what_is_not_there_is_told_in_these_words(door, path):
    proxy, _ = door("openai")
    answer = post(proxy.port, path, {})
    assert answer.status == 404 and answer.error["type"] == "not_found_error"


def test_a_session_keeps_its_target(door, upstream, holdfast):
    fakes = [upstream(n) for n in "AB"]
    proxy = holdfast(*fakes, routes=[{"model": "*", "targets": [["a/x", "b/x"]]}])
    for _ in range(8):
        ask(proxy.port, headers={"X-Claude-Code-Session-Id": "one"})
    assert sorted(len(f.attempts) for f in fakes) == [0, 8]


def test_claude_code_is_only_cut_off_as_it_then_asks_again_and_another_one_answers(upstream, holdfast):
    a, b = upstream("A", default="cut?after=3"), upstream("B")
    proxy = holdfast({"type": "anthropic", "base_url": a.base_url.removesuffix("/v1"), "api_key": "sk-a"}, b,
                     stream={"midstream": "error"})
    headers = {"X-Claude-Code-Session-Id": "one"}
    first = ask(proxy.port, stream=True, headers=headers)
    assert first.end == "aborted" and b"event: error" not in first.body
    assert b": a/model-a: the answer ended before its end marker" in first.body
    assert ask(proxy.port, stream=True, headers=headers).end == "complete"
    assert [len(u.attempts) for u in (a, b)] == [1, 1]
    other = ask(proxy.port, stream=True)
    assert other.end == "aborted" and b"event: error" in other.body
