"""What a target cannot take: parameters it refuses, requests that do not fit it, files that live elsewhere."""
import pytest

from conftest import provider

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def ask(p, model="gpt-4o", stream=False, **fields):
    return p.chat(model, stream, **fields)


def test_a_refused_parameter_is_left_out_once_and_remembered(upstream, holdfast):
    a = upstream("A", queue=["preset?name=no_temperature"])
    p = holdfast(a, failover={"max_attempts": 4, "per_target": 2})
    answer = ask(p, temperature=0.3, top_p=0.5)
    assert answer.status == 200 and answer.text.startswith("A:")
    assert answer.header("x-holdfast-dropped") == "temperature"
    assert [t[1].split(":")[0] for t in answer.trail] == ["unsupported", "ok"]
    assert [x.json.get("temperature") for x in a.attempts] == [0.3, None]
    assert a.attempts[1].json["top_p"] == 0.5
    again = ask(p, temperature=0.9)
    assert again.status == 200 and again.header("x-holdfast-attempts") == "1"
    assert again.header("x-holdfast-dropped") == "temperature"
    assert "temperature" not in a.attempts[2].json
    plain = ask(p)
    assert plain.header("x-holdfast-dropped") is None


def test_a_refused_value_is_not_held_against_its_parameter(upstream, holdfast):
    a = upstream("A", queue=["preset?name=no_minimal"])
    p = holdfast(a, failover={"max_attempts": 4, "per_target": 2})
    answer = ask(p, reasoning_effort="minimal")
    assert answer.status == 200 and answer.header("x-holdfast-dropped") == "reasoning_effort"
    assert ask(p, reasoning_effort="low").header("x-holdfast-dropped") is None
    assert [x.json.get("reasoning_effort") for x in a.attempts] == ["minimal", None, "low"]


def test_a_reasoning_model_that_takes_over_gets_its_own_parameters(upstream, holdfast):
    a, b = upstream("A", default="status?code=503"), upstream("B")
    p = holdfast(a, b, routes=[{"model": "*", "targets": ["a/gpt-4o", "b/o3"]}])
    answer = ask(p, temperature=0.3, max_tokens=50, seed=7)
    assert answer.status == 200 and answer.header("x-holdfast-dropped") == "temperature"
    sent = b.attempts[0].json
    assert sent["max_completion_tokens"] == 50 and sent["seed"] == 7 and sent["model"] == "o3"
    assert "max_tokens" not in sent and "temperature" not in sent
    assert a.attempts[0].json["temperature"] == 0.3


def test_a_prompt_that_is_too_long_for_a_model_skips_it(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast(a, b, routes=[{"model": "*", "targets": [
        {"target": "a/small", "context_window": 100}, "b/large"]}])
    short = ask(p)
    assert short.text.startswith("A:")
    long = ask(p, messages=[{"role": "user", "content": "word " * 1000}])
    assert long.text.startswith("B:") and len(a.attempts) == 1
    assert long.trail[0] == ("a/small", "unfit") or long.trail[0][:2] == ("a/small", "unfit")
    assert long.header("x-holdfast-attempts") == "1"


def test_mistral_gets_ids_of_calls_in_its_own_form(upstream, holdfast):
    a, b = upstream("A", default="status?code=503"), upstream("B")
    p = holdfast(a, {**provider(b), "type": "mistral"})
    call = {"id": "call_abc", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = ask(p, messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]},
                              {"role": "tool", "tool_call_id": "call_abc", "content": "1"}])
    assert answer.status == 200 and answer.text.startswith("B:")
    sent = b.attempts[0].json["messages"]
    used = sent[1]["tool_calls"][0]["id"]
    assert len(used) == 9 and used.isalnum() and sent[2]["tool_call_id"] == used
    assert a.attempts[0].json["messages"][2]["tool_call_id"] == "call_abc"


def test_a_provider_that_takes_no_pictures_is_not_asked(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast({**provider(a), "type": "deepseek"}, b)
    assert ask(p).text.startswith("A:")
    answer = ask(p, messages=[{"role": "user", "content": [PICTURE]}])
    assert answer.text.startswith("B:") and len(a.attempts) == 1


def test_a_parameter_of_a_tool_is_no_picture(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast({**provider(a), "type": "deepseek"}, b)
    names = {n: {"type": "string"} for n in ("image_url", "input_audio", "file_data", "file")}
    tool = {"type": "function", "function": {"name": "show", "parameters": {
        "type": "object", "properties": names, "required": list(names)}}}
    assert ask(p, tools=[tool]).text.startswith("A:")


def test_nobody_fits_is_the_caller_s_to_mend(upstream, holdfast):
    p = holdfast({**provider(upstream("A")), "type": "deepseek"})
    answer = ask(p, messages=[{"role": "user", "content": [PICTURE]}])
    assert answer.status == 400 and answer.header("x-should-retry") == "false"
    assert answer.header("x-holdfast-attempts") == "0" and "unfit" in answer.json["error"]["message"]


def test_what_lives_at_one_provider_stays_there(upstream, holdfast):
    a, b = upstream("A", default="status?code=503"), upstream("B")
    p = holdfast(a, b)
    answer = ask(p, messages=[{"role": "user", "content": [
        {"type": "file", "file": {"file_id": "file-123"}}]}])
    assert answer.status == 503 and len(b.attempts) == 0
    said = ask(p, messages=[{"role": "user", "content": 'what is a "file_id" in an API?'}])
    assert said.text.startswith("B:")


def test_a_tool_that_one_provider_runs_stays_there(upstream, holdfast):
    a, b = upstream("A", default="status?code=503"), upstream("B")
    p = holdfast(a, b)
    own = {"type": "function", "function": {"name": "web_search", "parameters": {"type": "object"}}}
    assert ask(p, tools=[own]).text.startswith("B:")
    answer = ask(p, tools=[own, {"type": "web_search"}])
    assert answer.status == 503 and len(b.attempts) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_part_that_a_dialect_cannot_say_moves_on_without_a_call(upstream, holdfast, stream):
    claude, b = upstream("CLAUDE"), upstream("B")
    p = holdfast({"type": "anthropic", "base_url": claude.base_url.removesuffix("/v1"),
                  "api_key": "sk-ant-x"}, b,
                 routes=[{"model": "*", "targets": ["a/claude-sonnet-4-5", "b/gpt-4o"]}])
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    answer = ask(p, stream=stream, messages=[{"role": "user", "content": [audio]}])
    assert answer.text.startswith("B:") and not claude.attempts
    assert answer.trail[0][1].startswith("unsupported")


def test_a_part_that_nobody_can_say_is_named(upstream, holdfast):
    claude = upstream("CLAUDE")
    p = holdfast({"type": "anthropic", "base_url": claude.base_url.removesuffix("/v1"),
                  "api_key": "sk-ant-x"}, routes=[{"model": "*", "targets": ["a/claude-sonnet-4-5"]}])
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    answer = ask(p, messages=[{"role": "user", "content": [audio]}])
    assert answer.status == 400 and not claude.attempts
    message = answer.json["error"]["message"]
    assert "messages[0].content[0]" in message and message.startswith("a ")
