"""A chain OpenAI -> Claude -> Gemini that breaks in the middle of a conversation with tools.

The client is one that keeps what it gets and sends it back, as SDKs do. Each turn another provider
answers, because those before it fail; the conversation goes on as if nothing had been.
"""
import itertools
import json

import pytest

from client import Raw, request_bytes
from conftest import HASTY
from test_conformance import CALM
from test_conformance_requests import a_check, g_check

MODELS = ("gpt-4o", "claude-sonnet-4-5", "gemini-3-flash-preview")
TOOLS = [{"type": "function", "function": {"name": "look_up_0", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}}}]
OF_CLAUDE, OF_GEMINI = "c2lnbmVkIGJ5IENsYXVkZQ==", "c2lnbmVkIGJ5IEdlbWluaQ=="
DOWN = "status?code=503"


class Chain:
    """The three providers, the proxy, and a client with its history."""

    def __init__(self, upstream, holdfast, stream, hasty=False, **fields):
        self.providers = [upstream(n) for n in "ABC"]
        self.stream, self.fields = stream, fields
        self.history = [{"role": "user", "content": "hello"}]
        kinds = ("openai", "anthropic", "gemini")
        limits = HASTY if hasty else {}  # Claude's
        self.proxy = holdfast(
            *({"type": k, "base_url": p.base_url, "api_key": f"sk-{k}"}
              for k, p in zip(kinds, self.providers)),
            routes=[{"model": "*", "targets": [{"target": f"{n}/{m}", **(limits if n == "b" else {})}
                                               for n, m in zip("abc", MODELS)]}],
            failover={"max_attempts": 4, "per_target": 1}, breaker=CALM)

    def turn(self, *scripts, **headers):
        """One request; provider i answers by scripts[i]. The answer, its message in .message."""
        for p, s in zip(self.providers, scripts):
            p.specs[:] = [s]
        body = {"model": "m", "messages": self.history, "tools": TOOLS, "stream": self.stream,
                **self.fields}
        if self.stream:
            body["stream_options"] = {"include_usage": True}
        with Raw(self.proxy.port) as c:
            c.send(request_bytes("POST", "/v1/chat/completions", json.dumps(body).encode(),
                                 headers))
            answer = c.answer()
        answer.message = message_of(answer) if answer.status == 200 else None
        return answer

    def go_on(self, answer):
        """Takes the answer into the history, and the results of the tools that it calls."""
        self.history.append(answer.message)
        for c in answer.message["tool_calls"]:
            self.history.append({"role": "tool", "tool_call_id": c["id"],
                                 "content": f"result of {c['id']}"})

    def last(self, i):
        return self.providers[i].attempts[-1]


def message_of(answer):
    """The whole message; of a stream it is put together as clients do."""
    if not (answer.header("content-type") or "").startswith("text/event-stream"):
        return answer.json["choices"][0]["message"]
    message = {"role": "assistant", "content": ""}
    for delta in (c["delta"] for chunk in answer.chunks for c in chunk.get("choices", [])):
        for key in ("content", "reasoning_content"):
            if delta.get(key):
                message[key] = message.get(key, "") + delta[key]
        message.setdefault("reasoning_details", []).extend(delta.get("reasoning_details") or [])
        for c in delta.get("tool_calls") or []:
            calls = message.setdefault("tool_calls", [])
            if c["index"] == len(calls):
                calls.append({"id": c["id"], "type": "function",
                              "function": {"name": c["function"]["name"], "arguments": ""}})
            calls[c["index"]]["function"]["arguments"] += c["function"]["arguments"]
            if c.get("extra_content"):
                calls[c["index"]]["extra_content"] = c["extra_content"]
    return {k: v for k, v in message.items() if v != []}


def outcomes(answer):
    return [(target, outcome.partition(":")[0]) for target, outcome, _ in answer.trail]


@pytest.mark.parametrize("stream", [False, True])
def test_each_turn_another_provider(upstream, holdfast, stream):
    chain = Chain(upstream, holdfast, stream, logit_bias={"1": 5})
    a, b, c = (f"{n}/{m}" for n, m in zip("abc", MODELS))

    first = chain.turn("ok?tools=1")
    assert outcomes(first) == [(a, "ok")] and first.header("x-holdfast-dropped") is None
    chain.go_on(first)

    second = chain.turn(DOWN, f"ok?tools=1&thinks={OF_CLAUDE}")
    assert outcomes(second) == [(a, "overloaded"), (b, "ok")]
    assert second.header("x-holdfast-provider") == "b"
    assert second.header("x-holdfast-attempts") == "2"
    assert second.header("x-holdfast-dropped") == "logit_bias"
    assert second.message["reasoning_content"] == "Let me see."
    calls, _ = a_check(chain.last(1).json)
    assert [(x[1], x[3]) for x in calls] == [("look_up_0", f"result of {x[0]}") for x in calls]
    chain.go_on(second)

    third = chain.turn(DOWN, DOWN, f"ok?tools=1&thinks={OF_GEMINI}")
    assert outcomes(third)[-1] == (c, "ok") and third.header("x-holdfast-provider") == "c"
    dropped = third.header("x-holdfast-dropped").split(", ")
    assert "logit_bias" in dropped and any(d.startswith("messages[3].reasoning") for d in dropped)
    calls, _ = g_check(chain.last(2).json)
    assert [x[1] for x in calls] == ["look_up_0"] * 2
    assert [x[3] for x in calls] == [{"output": m["content"]} for m in chain.history
                                     if m["role"] == "tool"]
    assert OF_CLAUDE not in chain.last(2).body.decode()
    chain.go_on(third)
    ids = [x["id"] for m in chain.history for x in m.get("tool_calls") or []]
    assert len(set(ids)) == 3

    fourth = chain.turn(DOWN, "ok?tools=1")  # Claude is back: its own state, and none of Google's
    calls, _ = a_check(chain.last(1).json)
    assert [x[3] for x in calls] == [f"result of {x}" for x in ids]
    assert signed(chain.last(1).json) == [("Let me see.", OF_CLAUDE)]
    assert OF_GEMINI not in chain.last(1).body.decode()
    chain.go_on(fourth)

    fifth = chain.turn(DOWN, DOWN, "ok")
    body = chain.last(2).json
    assert [p["thoughtSignature"] for x in body["contents"] for p in x["parts"]
            if "functionCall" in p and p["thoughtSignature"].startswith("c2ln")] == [OF_GEMINI]
    assert OF_CLAUDE not in chain.last(2).body.decode()
    assert fifth.text == "C: word1 word2 word3 word4" and fifth.end == "complete"

    assert_keys_stay_home(chain)


def signed(body):
    """(thinking, signature) of the blocks that go back to Claude."""
    return [(b["thinking"], b["signature"]) for m in body["messages"]
            if isinstance(m["content"], list) for b in m["content"] if b["type"] == "thinking"]


def assert_keys_stay_home(chain):
    keys = {"authorization": "Bearer sk-openai", "x-api-key": "sk-anthropic",
            "x-goog-api-key": "sk-gemini"}
    for own, provider in zip(keys, chain.providers):
        for attempt, key in itertools.product(provider.attempts, keys):
            assert attempt.header(key) == (keys[own] if key == own else None)


@pytest.mark.parametrize("who", [1, 2])
def test_no_signature_reaches_openai(upstream, holdfast, who):
    chain = Chain(upstream, holdfast, False)
    thinks = f"ok?tools=1&thinks={OF_CLAUDE}"
    chain.go_on(chain.turn(*[DOWN] * who, thinks))
    assert chain.turn("ok").header("x-holdfast-provider") == "a"
    assert OF_CLAUDE not in chain.last(0).body.decode()


@pytest.mark.parametrize("how", ["eof", "rst", "clean"])
def test_a_cut_after_output_is_a_true_error(upstream, holdfast, how):
    chain = Chain(upstream, holdfast, True)
    answer = chain.turn(DOWN, f"cut?after=3&how={how}", "ok", **{"x-holdfast-midstream": "error"})
    assert answer.status == 200 and answer.text == "B: word1 word2"
    assert answer.end == "aborted" and not answer.done and answer.error["message"]
    assert not chain.providers[2].attempts


@pytest.mark.parametrize("how", ["eof", "rst", "clean", "stall"])
def test_a_cut_before_output_moves_on(upstream, holdfast, how):
    chain = Chain(upstream, holdfast, True, hasty=how == "stall")
    answer = chain.turn(DOWN, f"cut?after=0&how={how}", "ok")
    assert answer.text == "C: word1 word2 word3 word4" and answer.end == "complete"
    assert answer.done == 1 and answer.header("x-holdfast-provider") == "c"
    assert [t for t, _ in outcomes(answer)] == [f"{n}/{m}" for n, m in zip("abc", MODELS)]
    assert answer.chunks[-1]["usage"]["total_tokens"] == 16


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["hang", "rst_before", "status?code=529", "status?code=429"])
def test_a_dead_claude_moves_on(upstream, holdfast, kind, stream):
    chain = Chain(upstream, holdfast, stream, hasty=kind == "hang")
    answer = chain.turn(DOWN, kind, "ok")
    assert answer.text == "C: word1 word2 word3 word4"
    assert [t for t, _ in outcomes(answer)] == [f"{n}/{m}" for n, m in zip("abc", MODELS)]


@pytest.mark.parametrize("stream", [False, True])
def test_what_claude_cannot_be_told_goes_to_gemini(upstream, holdfast, stream):
    """Two answers at once: Claude has no such thing, and is passed over, not asked in vain."""
    chain = Chain(upstream, holdfast, stream, n=2)
    answer = chain.turn(DOWN, "ok", "ok")
    assert answer.header("x-holdfast-provider") == "c" and not chain.providers[1].attempts
    choices = {c["index"] for chunk in (answer.chunks if stream else [answer.json])
               for c in chunk["choices"]}
    assert choices == {0, 1}


def test_the_callers_own_fault_stays_his(upstream, holdfast):
    chain = Chain(upstream, holdfast, False)
    answer = chain.turn(DOWN, "status?code=400", "ok")
    assert answer.status == 400 and not chain.providers[2].attempts
    assert "messages" in answer.error["message"] or "wizard" in answer.error["message"]
