"""Clients of OpenAI's responses: every provider serves them, in their own words and order."""
import json

import pytest

from client import Raw, request_bytes
from faultd import story
from test_conformance import CALM

KINDS = ("responses", "openai", "anthropic", "gemini")
MODELS = {"responses": "gpt-4o", "openai": "gpt-4o", "anthropic": "claude-sonnet-4-5",
          "gemini": "gemini-3-flash-preview"}
TOOLS = [{"type": "function", "name": f"look_up_{i}", "strict": False, "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}}
    for i in range(2)]
ARGUMENTS = {"city": "Zürich", "n": 0}
DOWN = "status?code=503"
OF_TEXT = ["response.created", "response.in_progress", "response.output_item.added",
           "response.content_part.added", "response.output_text.delta",
           "response.output_text.done", "response.content_part.done",
           "response.output_item.done", "response.completed"]
OF_CALL = ["response.output_item.added", "response.function_call_arguments.delta",
           "response.function_call_arguments.done", "response.output_item.done"]
OF_REASONING = ["response.output_item.added", "response.reasoning_summary_part.added",
                "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done",
                "response.reasoning_summary_part.done", "response.output_item.done"]


def account(kind, server):
    """A provider of this kind: `responses` is one of OpenAI's that speaks both dialects."""
    more = {"dialect": "both"} if kind == "responses" else {}
    return {"type": "openai" if kind == "responses" else kind, "base_url": server.base_url,
            "api_key": f"sk-{kind}", **more}


def serve(holdfast, *pairs, **parts):
    """The proxy with one route over these (kind, upstream)s in order."""
    return holdfast(*(account(k, u) for k, u in pairs), breaker=CALM,
                    routes=[{"model": "*", "targets": [
                        f"{n}/{MODELS[k]}" for n, (k, _) in zip("abcd", pairs)]}], **parts)


def ask(proxy, body, headers=(), path="/v1/responses"):
    with Raw(proxy.port) as c:
        c.send(request_bytes("POST", path, json.dumps({"model": "m", **body}).encode(), headers))
        return c.answer()


def events_of(answer):
    """[(name, data)]; each event's number is the next one and its name is its type."""
    found = []
    for block in answer.body.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        assert len(lines) == 2 and lines[0].startswith("event: ") and lines[1].startswith("data: ")
        found.append((lines[0][7:], json.loads(lines[1][6:])))
    assert [d["sequence_number"] for _, d in found] == list(range(len(found)))
    assert all(name == d["type"] for name, d in found)
    return found


def order_of(events):
    """The names, runs of the same one as one."""
    names = [name for name, _ in events]
    return [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n]


def response_of(answer):
    """The whole response; a stream's last event repeats it."""
    if not (answer.header("content-type") or "").startswith("text/event-stream"):
        return answer.json
    events = events_of(answer)
    response = events[-1][1]["response"]
    done = [d["item"] for name, d in events if name == "response.output_item.done"]
    assert response["output"] == done
    assert [d["output_index"] for name, d in events
            if name == "response.output_item.done"] == list(range(len(done)))
    return response


def text_of(response):
    return "".join(part["text"] for item in response["output"] if item["type"] == "message"
                   for part in item["content"])


def calls_of(response):
    return [item for item in response["output"] if item["type"] == "function_call"]


# -- every provider serves the door ------------------------------------------------------------
@pytest.mark.parametrize("stream", (False, True))
@pytest.mark.parametrize("kind", KINDS)
def test_every_provider_answers_in_text(upstream, holdfast, kind, stream):
    a = upstream("A", default="ok")
    answer = ask(serve(holdfast, (kind, a)), {"input": "hello", "stream": stream})
    assert answer.status == 200 and answer.end == "complete"
    response = response_of(answer)
    assert text_of(response) and response["status"] == "completed"
    assert response["object"] == "response" and response["id"].startswith("resp_")
    assert response["usage"]["input_tokens"] == 11 and response["usage"]["output_tokens"] == 5
    assert answer.header("x-holdfast-model") == MODELS[kind]
    if stream:
        assert order_of(events_of(answer)) == OF_TEXT
        deltas = [d["delta"] for n, d in events_of(answer) if n == "response.output_text.delta"]
        assert len(deltas) == 5 and "".join(deltas) == text_of(response)
    sent = a.attempts[0]
    assert ("/responses" in sent.path) == (kind == "responses")


@pytest.mark.parametrize("stream", (False, True))
@pytest.mark.parametrize("kind", KINDS)
def test_parallel_calls_and_their_results_go_both_ways(upstream, holdfast, kind, stream):
    a = upstream("A", default="ok?tools=2")
    proxy = serve(holdfast, (kind, a))
    body = {"input": [{"role": "user", "content": "weather?"}], "tools": TOOLS, "stream": stream,
            "store": False}
    answer = ask(proxy, body)
    assert answer.status == 200
    response = response_of(answer)
    calls = calls_of(response)
    assert [c["name"] for c in calls] == ["look_up_0", "look_up_1"]
    assert json.loads(calls[0]["arguments"]) == ARGUMENTS
    assert len({c["call_id"] for c in calls}) == 2 and len({c["id"] for c in calls}) == 2
    if stream:
        order = order_of(events_of(answer))
        assert order[2:-1] == OF_CALL * 2 and order[-1] == "response.completed"
    body["input"] += response["output"]
    body["input"] += [{"type": "function_call_output", "call_id": c["call_id"],
                       "output": f"result {i}"} for i, c in enumerate(calls)]
    a.specs[:] = ["ok"]
    assert text_of(response_of(ask(proxy, body)))
    said = a.attempts[-1].body.decode()
    assert "result 0" in said and "result 1" in said and "look_up_1" in said


def test_a_provider_of_the_same_dialect_gets_the_very_bytes(upstream, holdfast):
    a = upstream("A", default="ok")
    proxy = serve(holdfast, ("responses", a))
    raw = (b'{ "input" : "hi",  "model":"m", "metadata":{"a":1e999}, "tools":[{"type":"web_search"}],'
           b'"x_new" : [1.0] }')
    with Raw(proxy.port) as c:
        c.send(request_bytes("POST", "/v1/responses", raw, {"openai-beta": "x=1"}))
        answer = c.answer()
    assert answer.status == 200 and answer.json["x_vendor_extra"] == 1.0
    assert a.attempts[0].body == raw.replace(b'"m"', b'"gpt-4o"')
    assert a.attempts[0].header("openai-beta") == "x=1"
    assert a.attempts[0].path == "/v1/responses"


# -- failing over ------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", (DOWN, "refused_inside", "refused_inside?code=server_error",
                                   "cut?after=0", "status?code=429"))
@pytest.mark.parametrize("kind", KINDS[1:])
def test_another_provider_takes_over_before_the_first_output(upstream, holdfast, kind, fault):
    a, b = upstream("A", default=fault), upstream("B", default="ok")
    answer = ask(serve(holdfast, ("responses", a), (kind, b)), {"input": "hello", "stream": True})
    assert answer.status == 200 and order_of(events_of(answer)) == OF_TEXT
    assert answer.header("x-holdfast-attempts") == "2"
    assert response_of(answer)["model"] == MODELS[kind]


def test_nothing_is_left(upstream, holdfast):
    a, b = upstream("A", default=DOWN), upstream("B", default=DOWN)
    answer = ask(serve(holdfast, ("responses", a), ("anthropic", b)), {"input": "hello"})
    assert answer.status == 503
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    assert "a/gpt-4o" in answer.json["error"]["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_breaks_after_output_ends_with_an_error_and_no_clean_end(
        upstream, holdfast, kind):
    a = upstream("A", default="cut?after=3")
    answer = ask(serve(holdfast, (kind, a)), {"input": "hello", "stream": True},
                 {"x-holdfast-midstream": "error"})
    assert answer.status == 200 and answer.end == "aborted"
    assert b"event: error\ndata: {\"type\":\"error\"" in answer.body
    assert b"response.completed" not in answer.body


def test_what_stops_early_is_incomplete(upstream, holdfast):
    half = {"choices": [{"index": 0, "finish_reason": "length",
                         "message": {"role": "assistant", "content": "half"}}]}
    a = upstream("A", default="ok?body=" + json.dumps(half))
    response = ask(serve(holdfast, ("openai", a)), {"input": "hello"}).json
    assert response["status"] == "incomplete" and text_of(response) == "half"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize("first, then", (("responses", "anthropic"), ("anthropic", "responses"),
                                         ("openai", "gemini"), ("responses", "responses")))
def test_a_broken_answer_is_carried_on_in_one_message(upstream, holdfast, first, then):
    a, b = upstream("A", default="canonical?cut=20"), upstream("B", default="canonical")
    answer = ask(serve(holdfast, (first, a), (then, b)), {"input": "hello", "stream": True})
    response = response_of(answer)
    assert answer.end == "complete" and text_of(response) == story.TEXT
    assert len(response["output"]) == 1 and order_of(events_of(answer)) == OF_TEXT
    assert len({d["item_id"] for _, d in events_of(answer) if "item_id" in d}) == 1
    ids = {d["response"]["id"] for _, d in events_of(answer) if "response" in d}
    assert len(ids) == 1 and response["usage"]["output_tokens"] > 20
    assert b"seam from=a/" in answer.body


def test_an_answer_that_nobody_carries_on_has_failed(upstream, holdfast):
    a, b = upstream("A", default="canonical?cut=20"), upstream("B", default=DOWN)
    answer = ask(serve(holdfast, ("responses", a), ("anthropic", b)),
                 {"input": "hello", "stream": True})
    names = [name for name, _ in events_of(answer)]
    assert answer.end == "aborted" and names[-2:] == ["error", "response.failed"]
    failed = events_of(answer)[-1][1]["response"]
    assert failed["status"] == "failed" and failed["error"]["message"]
    assert failed["id"] == events_of(answer)[0][1]["response"]["id"]


@pytest.mark.parametrize("stream", (False, True))
def test_state_of_a_provider_that_speaks_only_responses_survives_a_client_of_chat(
        upstream, holdfast, stream):
    a = upstream("A", default="ok?tools=1&thinks=gAAAAA-state")
    proxy = holdfast({"type": "openai", "base_url": a.base_url, "api_key": "k",
                      "dialect": "responses"}, routes=[{"model": "*", "targets": ["a/gpt-5"]}])
    tools = [{"type": "function", "function": {"name": "look_up_0"}}]
    answer = proxy.chat(stream=stream, tools=tools)
    if stream:
        details = [d for c in answer.chunks for x in c.get("choices", [])
                   for d in x["delta"].get("reasoning_details") or []]
        calls = [c for x in answer.chunks for y in x.get("choices", [])
                 for c in y["delta"].get("tool_calls") or [] if c.get("id")]
        calls[0]["function"]["arguments"] = json.dumps(ARGUMENTS)
    else:
        message = answer.json["choices"][0]["message"]
        details, calls = message["reasoning_details"], message["tool_calls"]
    assert details[0]["format"] == "openai-responses-v1"
    a.specs[:] = ["ok"]
    proxy.chat(messages=[{"role": "user", "content": "x"},
                         {"role": "assistant", "content": None, "tool_calls": calls,
                          "reasoning_content": "Let me see.", "reasoning_details": details},
                         {"role": "tool", "tool_call_id": calls[0]["id"], "content": "y"}],
               tools=tools)
    items = a.attempts[-1].json["input"]
    assert [i["type"] for i in items] == ["message", "reasoning", "function_call",
                                          "function_call_output"]
    assert items[1]["encrypted_content"] == "gAAAAA-state"


# -- state -------------------------------------------------------------------------------------
@pytest.mark.parametrize("stream", (False, True))
@pytest.mark.parametrize("kind", ("anthropic", "gemini"))
def test_reasoning_state_goes_back_to_whoever_made_it_and_to_nobody_else(
        upstream, holdfast, kind, stream):
    state = "c3RhdGUgb2Yg" + kind
    a, b = upstream("A", default=DOWN), upstream("B", default=f"ok?tools=1&thinks={state}")
    proxy = serve(holdfast, ("responses", a), (kind, b))
    body = {"input": [{"role": "user", "content": "weather?"}], "tools": TOOLS, "stream": stream,
            "reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"],
            "store": False}
    answer = ask(proxy, body)
    response = response_of(answer)
    sealed = [i for i in response["output"] if i.get("encrypted_content")]
    assert len(sealed) == 1 and sealed[0]["type"] == "reasoning"
    body["input"] += response["output"]
    body["input"] += [{"type": "function_call_output", "call_id": c["call_id"], "output": "warm"}
                      for c in calls_of(response)]

    b.specs[:] = ["ok"]  # its maker goes on
    assert ask(proxy, body).status == 200
    assert state in json.dumps(b.attempts[-1].json)

    a.specs[:] = ["ok"]  # OpenAI is back
    answer = ask(proxy, body)
    assert answer.status == 200
    sent = a.attempts[-1].json
    assert state not in json.dumps(sent) and "holdfast" not in json.dumps(
        [i for i in sent["input"] if i.get("type") == "reasoning"])
    assert [i["type"] for i in sent["input"][1:]] == ["function_call", "function_call_output"]
    assert "input[" in answer.header("x-holdfast-dropped")


def test_openais_own_state_passes_to_openai_and_is_taken_out_for_others(upstream, holdfast):
    a, b = upstream("A", default="ok"), upstream("B", default="ok")
    proxy = serve(holdfast, ("responses", a), ("anthropic", b))
    body = {"input": [{"role": "user", "content": "x"},
                      {"type": "reasoning", "id": "rs_1", "summary": [],
                       "encrypted_content": "gAAAAA-theirs"},
                      {"type": "message", "role": "assistant",
                       "content": [{"type": "output_text", "text": "y", "annotations": []}]},
                      {"role": "user", "content": "z"}]}
    ask(proxy, body)
    assert a.attempts[-1].json["input"] == body["input"]
    a.specs[:] = [DOWN]
    answer = ask(proxy, body)
    assert answer.status == 200 and answer.header("x-holdfast-dropped") == "input[1]"
    assert b"gAAAAA" not in b.attempts[-1].body


def test_state_that_the_provider_cannot_read_is_left_out_at_once(upstream, holdfast):
    a = upstream("A", queue=["preset?name=bad_state"], default="ok")
    proxy = serve(holdfast, ("responses", a), failover={"max_attempts": 3, "per_target": 2})
    body = {"input": [{"role": "user", "content": "x"},
                      {"type": "reasoning", "id": "rs_1", "summary": [],
                       "encrypted_content": "gAAAAA-of-another-account"},
                      {"role": "user", "content": "z"}]}
    answer = ask(proxy, body)
    assert answer.status == 200 and answer.header("x-holdfast-dropped") == "input[1]"
    assert [i.get("role") for i in a.attempts[-1].json["input"]] == ["user", "user"]
    ask(proxy, body)  # it was this state, not every one
    assert a.attempts[-1].json["input"] == body["input"]


# -- what is bound to one provider ---------------------------------------------------------------
BOUND = ({"previous_response_id": "resp_1", "input": "x"}, {"conversation": "conv_1", "input": "x"},
         {"background": True, "input": "x"}, {"prompt": {"id": "pmpt_1"}, "input": "x"},
         {"input": [{"type": "item_reference", "id": "msg_1"}]},
         {"input": "x", "tools": [{"type": "web_search"}]})


@pytest.mark.parametrize("body", BOUND, ids=lambda b: sorted(b)[-1])
def test_what_is_bound_goes_to_a_provider_of_the_dialect_and_nowhere_else(
        upstream, holdfast, body):
    a, b, c = upstream("A", default="ok"), upstream("B", default="ok"), upstream("C", default="ok")
    proxy = serve(holdfast, ("anthropic", a), ("responses", b), ("gemini", c))
    assert ask(proxy, body).status == 200
    assert (len(a.attempts), len(b.attempts), len(c.attempts)) == (0, 1, 0)
    b.specs[:] = [DOWN]
    assert ask(proxy, body).status == 503
    assert (len(a.attempts), len(c.attempts)) == (0, 0)


@pytest.mark.parametrize("body", BOUND[:-1], ids=lambda b: sorted(b)[-1])
def test_what_is_bound_is_refused_by_name_where_nobody_speaks_the_dialect(
        upstream, holdfast, body):
    a = upstream("A", default="ok")
    answer = ask(serve(holdfast, ("anthropic", a)), body)
    field = next((k for k in body if k not in ("input",)), "input[0]")
    assert answer.status == 400 and field in answer.json["error"]["message"]
    assert not a.attempts


# -- agents --------------------------------------------------------------------------------------
AGENT = [{"type": "function", "name": "shell", "strict": False, "parameters": {
             "type": "object", "properties": {"command": {"type": "string"}}}},
         {"type": "custom", "name": "look_up_0", "description": "Edits files.",
          "format": {"type": "grammar", "syntax": "lark", "definition": "start: \"x\""}},
         {"type": "namespace", "name": "look", "description": "", "tools": [
             {"type": "function", "name": "up_1", "parameters": {"type": "object"}}]},
         {"type": "local_shell"}, {"type": "web_search"}]


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("stream", (False, True))
def test_an_agents_odd_tools_are_served_or_named(upstream, holdfast, kind, stream):
    a = upstream("A", default="ok?tools=1")
    proxy = serve(holdfast, (kind, a))
    body = {"instructions": "Be an agent.", "input": [{"role": "user", "content": "go"}],
            "tools": AGENT, "stream": stream, "store": False, "prompt_cache_key": "k",
            "include": ["reasoning.encrypted_content"]}
    answer = ask(proxy, body, {"session-id": "s"})
    assert answer.status == 200
    dropped = answer.header("x-holdfast-dropped").split(", ")
    assert {"tools[3]", "tools[4]", "tools[1].format"} <= set(dropped)
    said = a.attempts[-1].body.decode()
    assert "look__up_1" in said and "start:" in said and "Be an agent." in said
    call = response_of(answer)["output"][-1]
    assert call["type"] == "custom_tool_call" and call["name"] == "look_up_0"
    assert json.loads(call["input"]) == ARGUMENTS  # what the model wrote is no {"input": ...}
    if stream:
        assert order_of(events_of(answer))[2:-1] == [
            "response.output_item.added", "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.done", "response.output_item.done"]
    body["input"] += [call, {"type": "custom_tool_call_output", "call_id": call["call_id"],
                             "output": "patched"}]
    a.specs[:] = ["ok"]
    assert text_of(response_of(ask(proxy, body)))
    assert "patched" in a.attempts[-1].body.decode()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_tools_that_an_agent_declares_in_its_input_are_tools(upstream, holdfast, kind):
    a = upstream("A", default="ok?tools=1")
    proxy = serve(holdfast, (kind, a))
    added = {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": [
        {"type": "namespace", "name": "functions", "description": "", "tools": AGENT[:2]}]}
    again = {**added, "tools": [{**TOOLS[0], "name": "functions__shell", "description": "Newer."}]}
    body = {"input": [added, {"role": "user", "content": "go"}, again], "store": False}
    answer = ask(proxy, body)
    assert answer.status == 200 and answer.header("x-holdfast-dropped") == "input[0].tools[0].tools[1].format"
    said = a.attempts[-1].body.decode()
    assert said.count('"functions__shell"') == 1 and '"functions__look_up_0"' in said
    assert "Newer." in said and "additional_tools" not in said


def test_with_such_tools_a_broken_answer_is_only_aligned(upstream, holdfast):
    a, b = upstream("A", default="canonical?cut=20"), upstream("B", default="canonical")
    proxy = serve(holdfast, ("openai", a), ("openai", b))
    answer = ask(proxy, {"stream": True, "input": [
        {"type": "additional_tools", "role": "developer", "tools": TOOLS},
        {"role": "user", "content": "go"}]})
    assert text_of(response_of(answer)) == story.TEXT
    assert [m["role"] for m in b.attempts[0].json["messages"]] == ["user"]


def test_a_websocket_is_refused_so_that_the_client_falls_back_at_once(upstream, holdfast):
    proxy = serve(holdfast, ("responses", upstream("A", default="ok")))
    with Raw(proxy.port) as c:
        c.send(request_bytes("GET", "/v1/responses", headers={
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}))
        answer = c.answer("GET")
    assert answer.status == 426 and answer.header("upgrade")
    assert answer.json["error"]["code"] == "no_websocket"
    with Raw(proxy.port) as c:
        c.send(request_bytes("GET", "/v1/responses"))
        assert c.answer("GET").status == 405


# -- mistakes ------------------------------------------------------------------------------------
@pytest.mark.parametrize("body, field", (
    ({"input": []}, "input"), ({}, "input"), ({"input": "x", "stream": 1}, "stream"),
    ({"input": "x", "model": ""}, "model")))
def test_a_request_that_is_wrong_is_refused_with_the_field(upstream, holdfast, body, field):
    answer = ask(serve(holdfast, ("responses", upstream("A", default="ok"))), body)
    assert answer.status == 400 and answer.json["error"]["message"].startswith(field + ":")
    assert answer.json["error"]["type"] == "invalid_request_error"


def test_fields_without_a_word_elsewhere_are_named_as_the_client_calls_them(upstream, holdfast):
    a = upstream("A", default="ok")
    answer = ask(serve(holdfast, ("gemini", a)), {
        "input": "x", "store": True, "truncation": "auto", "text": {"verbosity": "low"},
        "metadata": {"a": "b"}, "parallel_tool_calls": False, "tools": TOOLS})
    assert set(answer.header("x-holdfast-dropped").split(", ")) == {
        "store", "truncation", "text.verbosity", "metadata", "parallel_tool_calls"}


# -- providers that speak only this --------------------------------------------------------------
@pytest.mark.parametrize("stream", (False, True))
def test_a_client_of_chat_is_translated_where_a_provider_speaks_only_responses(
        upstream, holdfast, stream):
    a = upstream("A", default="ok?tools=2")
    proxy = holdfast({"type": "openai", "base_url": a.base_url, "api_key": "k",
                      "dialect": "responses"})
    answer = proxy.chat(stream=stream, tools=[{"type": "function", "function": {"name": "f"}}])
    assert answer.status == 200 and a.attempts[0].path == "/v1/responses"
    sent = a.attempts[0].json
    assert sent["store"] is False and sent["tools"][0]["strict"] is False
    if not stream:
        calls = answer.json["choices"][0]["message"]["tool_calls"]
        assert [c["function"]["name"] for c in calls] == ["look_up_0", "look_up_1"]
        assert answer.json["choices"][0]["finish_reason"] == "tool_calls"
        assert answer.json["usage"]["prompt_tokens"] == 11
    a.specs[:] = ["ok"]
    assert proxy.chat(stream=stream).text
    a.specs[:] = ["refused_inside"]
    assert proxy.chat(stream=True).status >= 429


def test_a_client_of_chat_keeps_its_own_dialect_where_both_are_spoken(upstream, holdfast):
    a = upstream("A", default="ok")
    proxy = serve(holdfast, ("responses", a))
    assert proxy.chat().status == 200 and a.attempts[-1].path == "/v1/chat/completions"
    ask(proxy, {"input": "x"})
    assert a.attempts[-1].path == "/v1/responses"


def test_the_door_has_its_own_label_and_tolerates_a_missing_version(upstream, holdfast):
    a = upstream("A", default="ok")
    proxy = serve(holdfast, ("responses", a))
    assert ask(proxy, {"input": "x"}, path="//responses").status == 200
    assert proxy.metric("holdfast_requests_total", dialect="openai_responses") == 1


def test_the_end_of_a_long_answer_may_be_long(upstream, holdfast):
    """Google's streams have no end marker, so the end is written once the connection ends; in this
    dialect it repeats the whole text, four times."""
    a = upstream("A", default="ok?tokens=8000&gap=0")
    answer = ask(serve(holdfast, ("gemini", a)), {"model": "m", "input": "Hi", "stream": True})
    events = events_of(answer)
    assert answer.end == "complete" and order_of(events)[-1] == "response.completed"
    text = text_of(response_of(answer))
    assert len(text) > 40000
    assert text == "".join(d["delta"] for name, d in events if name == "response.output_text.delta")
