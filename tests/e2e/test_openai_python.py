"""The official Python SDK as a client: what its users see of the proxy, which is nothing."""
import itertools

import pytest

from faultd import story

openai = pytest.importorskip("openai", reason="the openai package is not installed")

HELLO = [{"role": "user", "content": "hello"}]
TEXT = "A: word1 word2 word3 word4"


def sdk(proxy, retries=0, **more):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{proxy.port}/v1", api_key="any",
                         max_retries=retries, timeout=30, **more)


def test_chat(upstream, holdfast):
    r = sdk(holdfast(upstream("A"))).chat.completions.create(model="m", messages=HELLO)
    assert r.choices[0].message.content == TEXT and r.choices[0].finish_reason == "stop"
    assert r.usage.total_tokens == 16


def test_stream(upstream, holdfast):
    got = list(sdk(holdfast(upstream("A"))).chat.completions.create(model="m", messages=HELLO,
                                                                    stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in got if c.choices) == TEXT
    assert got[-1].usage.total_tokens == 16


def test_the_stream_helper(upstream, holdfast):
    with sdk(holdfast(upstream("A"))).chat.completions.stream(model="m", messages=HELLO) as s:
        for _ in s:
            pass
        assert s.get_final_completion().choices[0].message.content == TEXT


def test_tools_in_both_forms(upstream, holdfast):
    client = sdk(holdfast(upstream("A", default="ok?tools=2&split_args=1")))
    r = client.chat.completions.create(model="m", messages=HELLO)
    whole = [(c.id, c.function.name, c.function.arguments)
             for c in r.choices[0].message.tool_calls]
    built = {}
    for chunk in client.chat.completions.create(model="m", messages=HELLO, stream=True):
        for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            row = built.setdefault(call.index, [None, None, ""])
            row[0] = call.id or row[0]
            row[1] = call.function.name or row[1]
            row[2] += call.function.arguments or ""
    assert [tuple(built[i]) for i in sorted(built)] == whole and len(whole) == 2


@pytest.mark.parametrize("script,error", [
    ("status?code=400", openai.BadRequestError), ("status?code=404", openai.NotFoundError),
    ("status?code=422", openai.UnprocessableEntityError),
    ("status?code=429", openai.RateLimitError), ("status?code=503", openai.InternalServerError),
    ("status?code=401", openai.InternalServerError), ("fin_before", openai.InternalServerError)])
def test_each_error_raises_its_class(upstream, holdfast, script, error):
    client = sdk(holdfast(upstream("A", default=script)))
    with pytest.raises(error) as e:
        client.chat.completions.create(model="m", messages=HELLO)
    assert e.value.message and e.value.request_id


@pytest.mark.parametrize("how", ["eof", "rst", "stall", "error", "clean", "done"])
def test_a_cut_stream_raises_after_its_content(upstream, holdfast, how):
    client = sdk(holdfast(upstream("A", default=f"cut?after=3&how={how}"),
                          hasty="a" if how == "stall" else ""))
    got = ""
    with pytest.raises(openai.APIError):
        for c in client.chat.completions.create(model="m", messages=HELLO, stream=True,
                                                extra_headers={"x-holdfast-midstream": "error"}):
            got += (c.choices[0].delta.content or "") if c.choices else ""
    assert got == "A: word1 word2"


@pytest.mark.parametrize("script", ["status?code=503", "rst_before", "hang", "status?code=401"])
@pytest.mark.parametrize("stream", [False, True])
def test_failover_is_invisible(upstream, holdfast, script, stream):
    client = sdk(holdfast(upstream("A", default=script), upstream("B"),
                          hasty="a" if script == "hang" else ""))
    r = client.chat.completions.create(model="m", messages=HELLO, stream=stream)
    text = ("".join(c.choices[0].delta.content or "" for c in r if c.choices) if stream
            else r.choices[0].message.content)
    assert text == "B: word1 word2 word3 word4"


def test_its_own_retry_finds_the_recovered_provider(upstream, holdfast):
    """The proxy has nothing left and says 503 with a wait; the SDK comes back after it."""
    a = upstream("A", queue=["status?code=503&retry_after_ms=300"])
    client = sdk(holdfast(a), retries=2)
    assert client.chat.completions.create(model="m", messages=HELLO).choices[0].message.content \
        == TEXT
    assert len(a.attempts) == 2 and a.attempts[1].at - a.attempts[0].at >= 0.29


def test_it_does_not_retry_what_cannot_be_mended(upstream, holdfast):
    a = upstream("A", default="status?code=400")
    with pytest.raises(openai.BadRequestError):
        sdk(holdfast(a), retries=3).chat.completions.create(model="m", messages=HELLO)
    assert len(a.attempts) == 1


def test_models_list(upstream, holdfast):
    p = holdfast(upstream("A"), routes=[{"model": "gpt-4o", "targets": ["a/x"]}])
    assert "gpt-4o" in [m.id for m in sdk(p).models.list()]


def test_a_raw_response_carries_the_trail(upstream, holdfast):
    r = sdk(holdfast(upstream("A", default="status?code=503"), upstream("B"))) \
        .chat.completions.with_raw_response.create(model="m", messages=HELLO)
    assert r.headers["x-holdfast-provider"] == "b" and "a/model-a=" in r.headers["x-holdfast-trail"]


# -- answers that broke and were carried on -------------------------------------------------------
KINDS = ("openai", "anthropic", "gemini")
CUT = "canonical?gap=1&cut=20"
TOOLS = [{"type": "function", "function": {"name": "look_up_0", "parameters": {"type": "object"}}}]


def of_kinds(upstream, holdfast, kinds, *scripts):
    """The SDK's client before two providers of these kinds."""
    return sdk(holdfast(*({"type": k, "base_url": upstream(n, default=s).base_url, "api_key": "sk-x"}
                          for n, k, s in zip("AB", kinds, scripts)),
                        timeouts={"first_token": "5s", "idle": "5s"}))


@pytest.mark.parametrize("kinds", itertools.product(KINDS, KINDS), ids="-".join)
def test_a_stream_that_two_providers_made_is_one_answer(upstream, holdfast, kinds):
    client = of_kinds(upstream, holdfast, kinds, CUT, "canonical?gap=1&turn=repeats")
    got = list(client.chat.completions.create(model="m", messages=HELLO, stream=True,
                                              stream_options={"include_usage": True}))
    choices = [c.choices[0] for c in got if c.choices]
    assert "".join(c.delta.content or "" for c in choices) == story.TEXT
    assert [c.finish_reason for c in choices if c.finish_reason] == ["stop"]
    assert len({c.id for c in got}) == 1 and got[-1].usage.completion_tokens >= 60
    assert (got[0].model, got[-1].model) == ("model-a", "model-b")


def test_the_stream_helper_reads_over_a_seam(upstream, holdfast):
    client = of_kinds(upstream, holdfast, ("openai",) * 2, CUT, "canonical?gap=1")
    with client.chat.completions.stream(model="m", messages=HELLO) as s:
        for _ in s:
            pass
        assert s.get_final_completion().choices[0].message.content == story.TEXT


@pytest.mark.parametrize("kinds", itertools.product(KINDS, KINDS), ids="-".join)
def test_a_tool_call_that_was_cut_is_called_once(upstream, holdfast, kinds):
    calls = "canonical?gap=1&text=none&tools=2"
    client = of_kinds(upstream, holdfast, kinds, calls + "&cut=1", calls)
    with client.chat.completions.stream(model="m", messages=HELLO, tools=TOOLS) as s:
        for _ in s:
            pass
        choice = s.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert [(c.function.name, c.function.arguments.replace(" ", "")) for c in choice.message.tool_calls] \
        == [(f"look_up_{i}", '{"city":"Z\u00fcrich","n":%d}' % i) for i in range(2)]


def test_what_nobody_can_carry_on_raises_behind_its_content(upstream, holdfast):
    client = of_kinds(upstream, holdfast, ("openai",) * 2, CUT, "canonical?gap=1&text=other")
    got = ""
    with pytest.raises(openai.APIError) as e:
        for c in client.chat.completions.create(model="m", messages=HELLO, stream=True):
            got += (c.choices[0].delta.content or "") if c.choices else ""
    assert story.TEXT.startswith(got) and len(story.pieces(got)) == 20
    assert "a/model-a" in e.value.message
