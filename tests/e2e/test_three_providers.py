"""The official Python SDK, the same code before OpenAI, Claude and Gemini."""
import json
import time
from urllib.parse import urlencode

import pytest

from conftest import HASTY
from faultd import bodies

openai = pytest.importorskip("openai", reason="the openai package is not installed")
pydantic = pytest.importorskip("pydantic")

KINDS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-pro"}
HELLO = [{"role": "user", "content": "hello"}]
TEXT = "A: word1 word2 word3 word4"
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
         "rkJggg==")
TOOLS = [{"type": "function", "function": {
    "name": f"look_up_{i}", "description": "Looks a city up.", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["city", "n"]}}} for i in range(2)]


class Setup:
    def __init__(self, kind, upstream, holdfast):
        self.kind, self.upstream, self.holdfast = kind, upstream, holdfast

    def start(self, hasty=False, **script):
        """The SDK's client, and the provider behind the proxy."""
        limits = HASTY if hasty else {}
        a = self.upstream("A", **script)
        p = self.holdfast({"type": self.kind, "base_url": a.base_url, "api_key": "sk-test"},
                          routes=[{"model": "*", "targets": [
                              {"target": f"a/{KINDS[self.kind]}", **limits}]}])
        return openai.OpenAI(base_url=f"http://127.0.0.1:{p.port}/v1", api_key="any",
                             max_retries=0, timeout=30), a


@pytest.fixture(params=KINDS)
def three(request, upstream, holdfast):
    return Setup(request.param, upstream, holdfast)


def test_chat(three):
    client, a = three.start()
    r = client.chat.completions.create(model="m", messages=HELLO, max_tokens=50, temperature=0.5)
    assert r.choices[0].message.content == TEXT and r.choices[0].finish_reason == "stop"
    assert (r.usage.prompt_tokens, r.usage.completion_tokens, r.usage.total_tokens) == (11, 5, 16)
    assert r.model == KINDS[three.kind] and r.created <= time.time()
    sent = a.attempts[0].json
    assert (sent.get("temperature") or sent["generationConfig"]["temperature"]) == 0.5


def test_stream(three):
    client, _ = three.start()
    got = list(client.chat.completions.create(model="m", messages=HELLO, stream=True,
                                              stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in got if c.choices) == TEXT
    assert got[0].choices[0].delta.role == "assistant" and got[-1].usage.total_tokens == 16
    assert [c.choices[0].finish_reason for c in got if c.choices and c.choices[0].finish_reason] \
        == ["stop"]


def test_the_stream_helper(three):
    client, _ = three.start()
    with client.chat.completions.stream(model="m", messages=HELLO) as s:
        for _ in s:
            pass
        assert s.get_final_completion().choices[0].message.content == TEXT


def ask(client, messages, stream):
    """A turn: the assistant's message as the SDK gives it, ready to be sent back."""
    if not stream:
        r = client.chat.completions.create(model="m", messages=messages, tools=TOOLS)
        return r.choices[0].message, r.choices[0].finish_reason
    with client.chat.completions.stream(model="m", messages=messages, tools=TOOLS) as s:
        for _ in s:
            pass
        choice = s.get_final_completion().choices[0]
        return choice.message, choice.finish_reason


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_loop_with_tools(three, calls, stream):
    client, a = three.start(queue=[f"ok?tools={calls}", "ok"])
    messages = list(HELLO)
    message, finish = ask(client, messages, stream)
    assert finish == "tool_calls" and len(message.tool_calls) == calls
    assert len({c.id for c in message.tool_calls}) == calls
    messages.append(message)
    for i, c in enumerate(message.tool_calls):
        assert c.function.name == f"look_up_{i}"
        assert json.loads(c.function.arguments) == {"city": "Z\u00fcrich", "n": i}
        messages.append({"role": "tool", "tool_call_id": c.id, "content": f"result {i}"})
    message, finish = ask(client, messages, stream)
    assert message.content == TEXT and finish == "stop"
    assert list(results(three.kind, a.attempts[1].json)) == [
        (f"look_up_{i}", {"city": "Z\u00fcrich", "n": i}, f"result {i}") for i in range(calls)]


def results(kind, body):
    """(name, arguments, result) of each call in the history, paired as the provider pairs them."""
    if kind == "gemini":
        parts = [p for c in body["contents"] for p in c["parts"]]
        answers = [p["functionResponse"] for p in parts if "functionResponse" in p]
        for p, r in zip([p["functionCall"] for p in parts if "functionCall" in p], answers):
            assert p["id"] == r["id"] and p["name"] == r["name"]
            yield p["name"], p["args"], r["response"]["output"]
    elif kind == "anthropic":
        blocks = [b for m in body["messages"] if isinstance(m["content"], list)
                  for b in m["content"]]
        found = {b["tool_use_id"]: b["content"] for b in blocks if b["type"] == "tool_result"}
        for b in blocks:
            if b["type"] == "tool_use":
                yield b["name"], b["input"], found.pop(b["id"])
    else:
        found = {m["tool_call_id"]: m["content"] for m in body["messages"] if m["role"] == "tool"}
        for m in body["messages"]:
            for c in m.get("tool_calls") or []:
                yield (c["function"]["name"], json.loads(c["function"]["arguments"]),
                       found.pop(c["id"]))


def test_vision(three):
    client, a = three.start()
    r = client.chat.completions.create(model="m", messages=[{"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PIXEL}}]}])
    assert r.choices[0].message.content == TEXT
    sent = a.attempts[0].json
    image = {"openai": lambda: sent["messages"][0]["content"][1]["image_url"]["url"],
             "anthropic": lambda: sent["messages"][0]["content"][1]["source"]["data"],
             "gemini": lambda: sent["contents"][0]["parts"][1]["inlineData"]["data"]}[three.kind]()
    assert image.endswith(PIXEL) and "What is this?" in a.attempts[0].body.decode()


class Capital(pydantic.BaseModel):
    city: str
    people: int


def test_the_parse_helper(three):
    said = '{"city":"Bern","people":134591}'
    if three.kind == "openai":  # `body` is there the whole answer
        said = json.dumps(bodies.completion("gpt-4o", said, 5))
    client, a = three.start(default="ok?" + urlencode({"body": said}))
    r = client.chat.completions.parse(model="m", messages=HELLO, response_format=Capital)
    assert r.choices[0].message.parsed == Capital(city="Bern", people=134591)
    sent = a.attempts[0].json
    schema = {"openai": lambda: sent["response_format"]["json_schema"]["schema"],
              "anthropic": lambda: sent["output_config"]["format"]["schema"],
              "gemini": lambda: sent["generationConfig"]["responseJsonSchema"]}[three.kind]()
    assert set(schema["properties"]) == {"city", "people"}


@pytest.mark.parametrize("code,error", [
    (400, openai.BadRequestError), (401, openai.InternalServerError),
    (404, openai.NotFoundError), (429, openai.RateLimitError), (500, openai.InternalServerError),
    (503, openai.InternalServerError)])
def test_each_error_raises_its_class(three, code, error):
    client, _ = three.start(default=f"status?code={code}")
    with pytest.raises(error) as e:
        client.chat.completions.create(model="m", messages=HELLO)
    assert e.value.message and e.value.request_id


def test_overloaded(three):
    client, _ = three.start(default="status?code=529")
    with pytest.raises(openai.InternalServerError) as e:
        client.chat.completions.create(model="m", messages=HELLO)
    assert e.value.status_code in (503, 529)


@pytest.mark.parametrize("how", ["eof", "rst", "stall", "clean"])
def test_a_cut_stream_raises_after_its_content(three, how):
    client, _ = three.start(hasty=how == "stall", default=f"cut?after=3&how={how}")
    got = ""
    with pytest.raises(openai.APIError):
        for c in client.chat.completions.create(model="m", messages=HELLO, stream=True,
                                                extra_headers={"x-holdfast-midstream": "error"}):
            got += (c.choices[0].delta.content or "") if c.choices else ""
    assert got == "A: word1 word2"
