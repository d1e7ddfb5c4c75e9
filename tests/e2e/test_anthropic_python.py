"""Anthropic's official Python SDK, the same code before OpenAI, Claude and Gemini."""
import json

import pytest

from faultd import story

anthropic = pytest.importorskip("anthropic", reason="the anthropic package is not installed")

KINDS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-pro"}
HELLO = [{"role": "user", "content": "hello"}]
TEXT = "A: word1 word2 word3 word4"
TOOLS = [{"name": f"look_up_{i}", "description": "Looks a city up.", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}}
    for i in range(2)]
THINKING = {"type": "enabled", "budget_tokens": 1024}
MORE = {"model": "m", "max_tokens": 2000}


class Setup:
    def __init__(self, kind, upstream, holdfast):
        self.kind, self.upstream, self.holdfast = kind, upstream, holdfast

    def start(self, **script):
        """The SDK's client, and the provider behind the proxy."""
        a = self.upstream("A", **script)
        p = self.holdfast({"type": self.kind, "base_url": a.base_url, "api_key": "sk-test"},
                          routes=[{"model": "*", "targets": [f"a/{KINDS[self.kind]}"]}])
        return sdk(p), a


def sdk(proxy, retries=0):
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{proxy.port}", api_key="any",
                               max_retries=retries, timeout=30)


@pytest.fixture(params=KINDS)
def three(request, upstream, holdfast):
    return Setup(request.param, upstream, holdfast)


def test_a_message(three):
    client, _ = three.start()
    r = client.messages.create(messages=HELLO, system="Be brief.", **MORE)
    assert [b.text for b in r.content] == [TEXT] and r.stop_reason == "end_turn"
    assert (r.usage.input_tokens, r.usage.output_tokens) == (11, 5)
    assert r.model == KINDS[three.kind] and r.role == "assistant" and r._request_id


def test_raw_events(three):
    client, _ = three.start()
    got = list(client.messages.create(messages=HELLO, stream=True, **MORE))
    assert got[0].type == "message_start" and got[-1].type == "message_stop"
    assert got[-2].delta.stop_reason == "end_turn" and got[-2].usage.output_tokens == 5
    assert "".join(e.delta.text for e in got if e.type == "content_block_delta") == TEXT


def ask(client, messages, stream, **more):
    if not stream:
        return client.messages.create(messages=messages, **MORE, **more)
    with client.messages.stream(messages=messages, **MORE, **more) as s:
        assert "".join(s.text_stream) is not None
        return s.get_final_message()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_loop_with_tools(three, calls, stream):
    client, a = three.start(queue=[f"ok?tools={calls}", "ok"])
    r = ask(client, HELLO, stream, tools=TOOLS)
    uses = [b for b in r.content if b.type == "tool_use"]
    assert r.stop_reason == "tool_use" and len({u.id for u in uses}) == calls
    assert [(u.name, u.input) for u in uses] == [
        (f"look_up_{i}", {"city": "Z\u00fcrich", "n": i}) for i in range(calls)]
    messages = [*HELLO, {"role": "assistant", "content": r.content},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": u.id,
                                              "content": f"result {i}"}
                                             for i, u in enumerate(uses)]}]
    r = ask(client, messages, stream, tools=TOOLS)
    assert r.content[0].text == TEXT and r.stop_reason == "end_turn"
    sent = a.attempts[1].body.decode()
    assert all(f"result {i}" in sent for i in range(calls))


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_of_gemini_goes_there_and_back(upstream, holdfast, stream):
    three = Setup("gemini", upstream, holdfast)
    client, a = three.start(queue=["ok?tools=1&thinks=c2ln", "ok"])
    r = ask(client, HELLO, stream, tools=TOOLS, thinking=THINKING)
    assert r.content[0].type == "thinking" and r.content[0].thinking == "Let me see."
    assert r.content[-1].type == "tool_use"
    ask(client, [*HELLO, {"role": "assistant", "content": r.content},
                 {"role": "user", "content": [{"type": "tool_result", "content": "1",
                                               "tool_use_id": r.content[-1].id}]}],
        stream, tools=TOOLS, thinking=THINKING)
    parts = [p for c in a.attempts[1].json["contents"] for p in c["parts"]]
    assert [p["thoughtSignature"] for p in parts if "functionCall" in p] == ["c2ln"]


def test_counting(upstream, holdfast):
    client, a = Setup("anthropic", upstream, holdfast).start(
        default="replay?content_type=application/json")
    a.recording = [b'{"input_tokens":14}']
    assert client.messages.count_tokens(model="m", messages=HELLO).input_tokens == 14


def test_counting_where_nobody_can(upstream, holdfast):
    client, _ = Setup("openai", upstream, holdfast).start()
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="m", messages=HELLO)


def test_models(three):
    client, _ = three.start()
    assert [m.id for m in client.models.list()][:1] == ["alive-probe"]


@pytest.mark.parametrize("code,error", [
    (400, "BadRequestError"), (401, "InternalServerError"), (404, "NotFoundError"),
    (429, "RateLimitError"), (500, "InternalServerError"), (529, "InternalServerError")])
def test_each_error_raises_its_class(three, code, error):
    client, _ = three.start(default=f"status?code={code}")
    with pytest.raises(anthropic.APIStatusError) as e:
        client.messages.create(messages=HELLO, **MORE)
    assert isinstance(e.value, getattr(anthropic, error)) and e.value.request_id
    assert e.value.body["error"]["message"] and e.value.body["request_id"] == e.value.request_id


@pytest.mark.parametrize("how", ["eof", "rst", "clean"])
def test_a_cut_stream_raises_after_its_content(three, how):
    client, _ = three.start(default=f"cut?after=3&how={how}")
    got = ""
    with pytest.raises(anthropic.APIError):
        for e in client.messages.create(messages=HELLO, stream=True, **MORE,
                                        extra_headers={"x-holdfast-midstream": "error"}):
            got += e.delta.text if e.type == "content_block_delta" else ""
    assert got == "A: word1 word2"


def test_an_outage_is_not_seen(upstream, holdfast):
    a, b = upstream("A", default="canonical?cut=20"), upstream("B", default="canonical")
    p = holdfast({"type": "anthropic", "base_url": a.base_url, "api_key": "sk-a"},
                 {"type": "openai", "base_url": b.base_url, "api_key": "sk-b"})
    with sdk(p).messages.stream(messages=HELLO, **MORE) as s:
        assert "".join(s.text_stream) == story.TEXT
        assert s.get_final_message().stop_reason == "end_turn"
    assert json.loads(b.attempts[0].body)["messages"][1]["role"] == "assistant"
