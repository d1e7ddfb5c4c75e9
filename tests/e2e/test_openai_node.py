"""The official Node SDK as a client."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from faultd import story

MODULES = Path(os.environ.get("HOLDFAST_NODE_MODULES",
                              Path(__file__).resolve().parents[2] / "build/e2e/node_modules"))
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not (MODULES / "openai").exists(), reason="the Node SDK is not installed"),
]
TEXT = "A: word1 word2 word3 word4"


def node(proxy, what, retries=0):
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("openai_node.cjs")),
         f"http://127.0.0.1:{proxy.port}/v1", what, str(retries)], capture_output=True, text=True,
        timeout=60, env={"PATH": os.environ["PATH"], "NODE_PATH": str(MODULES)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", ["chat", "stream", "helper"])
@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_text_and_tools_of_others(upstream, holdfast, kind, what):
    """The same code before Claude and Gemini."""
    a = upstream("A", queue=["ok", "ok?tools=2"])
    p = holdfast({"type": kind, "base_url": a.base_url, "api_key": "k"})
    assert node(p, what)["text"] == TEXT
    if what != "helper":
        calls = [c.get("function", c) for c in node(p, what)["calls"]]
        assert [c["name"] for c in calls] == ["look_up_0", "look_up_1"]
        assert [json.loads(c["arguments"])["n"] for c in calls] == [0, 1]


@pytest.mark.parametrize("what", ["chat", "stream", "helper"])
def test_text(upstream, holdfast, what):
    seen = node(holdfast(upstream("A")), what)
    assert seen["text"] == TEXT and "error" not in seen


def test_the_helper_reads_over_a_seam(upstream, holdfast):
    seen = node(holdfast(upstream("A", default="canonical?gap=1&cut=20"),
                         upstream("B", default="canonical?gap=1")), "helper")
    assert seen["text"] == story.TEXT and "error" not in seen


def test_tools(upstream, holdfast):
    seen = node(holdfast(upstream("A", default="ok?tools=2&split_args=1")), "stream")
    assert [c["id"] for c in seen["calls"]] == ["call_0", "call_1"]
    assert [json.loads(c["arguments"])["n"] for c in seen["calls"]] == [0, 1]


@pytest.mark.parametrize("script,name", [
    ("status?code=400", "BadRequestError"), ("status?code=404", "NotFoundError"),
    ("status?code=429", "RateLimitError"), ("status?code=503", "InternalServerError"),
    ("status?code=401", "InternalServerError")])
def test_each_error_has_its_class(upstream, holdfast, script, name):
    assert node(holdfast(upstream("A", default=script)), "chat")["error"]["class"] == name


@pytest.mark.parametrize("how", ["eof", "rst", "stall", "error", "clean"])
def test_a_cut_stream_throws_after_its_content(upstream, holdfast, how):
    p = holdfast(upstream("A", default=f"cut?after=3&how={how}"),
                 hasty="a" if how == "stall" else "")
    seen = node(p, "stream")
    assert seen["text"] == "A: word1 word2" and seen["error"]["message"]


@pytest.mark.parametrize("what", ["chat", "stream"])
@pytest.mark.parametrize("script", ["status?code=503", "rst_before"])
def test_failover_is_invisible(upstream, holdfast, what, script):
    seen = node(holdfast(upstream("A", default=script), upstream("B")), what)
    assert seen["text"] == "B: word1 word2 word3 word4"


def test_its_own_retry_finds_the_recovered_provider(upstream, holdfast):
    a = upstream("A", queue=["status?code=503&retry_after_ms=300"])
    assert node(holdfast(a), "chat", retries=2)["text"] == TEXT
    assert len(a.attempts) == 2 and a.attempts[1].at - a.attempts[0].at >= 0.29


def test_models(upstream, holdfast):
    p = holdfast(upstream("A"), routes=[{"model": "gpt-4o", "targets": ["a/x"]}])
    assert "gpt-4o" in node(p, "models")["models"]
