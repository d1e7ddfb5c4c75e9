"""No file at all: it answers, and with keys in the environment it fails over."""
import json

import pytest

from client import chat, http_get
from conftest import free_port


def start(holdfast, **env):
    port, admin = free_port(), free_port()
    p = holdfast(args=["--listen", f"127.0.0.1:{port}"],
                 env={"HOLDFAST_ADMIN": f"127.0.0.1:{admin}", "HOLDFAST_DRAIN_DELAY": "10ms", **env})
    p.port = port
    return p


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_key_it_says_what_it_is(holdfast, stream):
    p = start(holdfast)
    answer = chat(p.port, "gpt-4o", stream)
    assert answer.status == 200 and answer.end == "complete"
    assert "holdfast" in answer.text.lower() and "OPENAI_API_KEY" in answer.text
    if stream:
        assert answer.done == 1 and answer.data[-1] == "[DONE]"
    else:
        assert answer.json["choices"][0]["finish_reason"] == "stop" and answer.json["usage"]


def test_two_accounts_fail_over_without_a_file(upstream, holdfast):
    a, b = upstream("OPENAI", default="status?code=503"), upstream("CLAUDE")
    p = start(holdfast, OPENAI_API_KEY="sk-canary-one", OPENAI_BASE_URL=a.base_url,
              ANTHROPIC_API_KEY="sk-ant-canary-two",
              ANTHROPIC_BASE_URL=b.base_url.removesuffix("/v1"))
    for stream in (False, True):
        answer = chat(p.port, "gpt-4o", stream)
        assert answer.status == 200, answer.body
        assert answer.text == "CLAUDE: word1 word2 word3 word4"
        assert answer.trail[0][0].startswith("openai/") and answer.trail[-1][1] == "ok"
    sent = b.attempts[0]
    # In its own dialect, with its own model and its own key.
    assert sent.path == "/v1/messages" and sent.header("x-api-key") == "sk-ant-canary-two"
    assert sent.header("anthropic-version") and sent.json["max_tokens"] > 0
    assert sent.json["model"].startswith("claude-")
    assert "sk-canary-one" not in repr(sent.headers)


def test_one_healthy_account(upstream, holdfast):
    a = upstream("A")
    p = start(holdfast, OPENAI_API_KEY="sk-x", OPENAI_BASE_URL=a.base_url)
    assert chat(p.port, "gpt-4o").text.startswith("A:")
    assert a.attempts[0].json["model"] == "gpt-4o"
    status, _, body = http_get(p.port, "/v1/models")
    assert status == 200 and json.loads(body)["data"]
