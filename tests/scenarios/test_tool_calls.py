"""Tool calls that a stream was cut in: the client gets all of an answer's calls, whole, or none.

A call that is run with half of its arguments does harm, so nothing of one goes out before all are
there; and a model that began in prose goes on in prose, so with tools only an answer that is the same
to the byte takes the place of one that broke.
"""
import json

import pytest

from faultd import bodies, story
from test_carry_on import (CUT, DEFAULT, GOOD, KINDS, SENT, TEXT, TOOLS, check_whole, seams, two,  # noqa: F401
                           ways)
from test_conformance import CALM
from test_streams import check_error_end

CALLS = {n: [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in bodies.tool_calls(n)]
         for n in range(3)}
N_WORDS = len(story.pieces(TEXT))
ENDS = ["eof", "clean", "rst", "done", "stall", "error", "malformed", "mid_event"]


def calls(answer):
    """(name, arguments) of the stream's calls, put together as clients do."""
    found = {}
    for choice in (c for chunk in answer.chunks for c in chunk.get("choices", [])):
        for part in choice["delta"].get("tool_calls") or []:
            row = found.setdefault(part["index"], ["", ""])
            row[0] += part["function"].get("name") or ""
            row[1] += part["function"].get("arguments") or ""
    return [(name, json.loads(arguments)) for name, arguments in found.values()]


def stream_event(delta, reason=None):
    return b"data: " + bodies.dump(bodies.chunk("model", delta, reason)) + b"\n\n"


def finish(answer):
    return [c["finish_reason"] for chunk in answer.chunks for c in chunk.get("choices", [])
            if c["finish_reason"]]


def outcomes(answer):
    return [(target[0], outcome.partition(":")[0]) for target, outcome, _ in answer.trail]


@pytest.mark.tsan
@pytest.mark.parametrize("how", ENDS)
def test_a_call_that_was_cut_starts_anew_elsewhere_unseen(two, how):
    p, a, b = two(f"cut?tools=1&how={how}", "ok?tools=1")
    answer = p.chat(stream=True, **TOOLS)
    assert calls(answer) == CALLS[1] and finish(answer) == ["tool_calls"] and answer.done == 1
    assert seams(answer) == [] and {c["model"] for c in answer.chunks} == {"model-b"}
    assert [t for t, _ in outcomes(answer)] == (["a"] * (2 if how == "error" else 1)) + ["b"]
    assert answer.header("x-holdfast-provider") == "b"
    assert b.attempts[0].json["messages"] == a.attempts[0].json["messages"]
    assert p.metric("holdfast_midstream_total") == 0


@pytest.mark.parametrize("cut", [1, 20, 40])
def test_of_parallel_calls_all_go_out_or_none(two, cut):
    """The first call is whole when the second one is cut, and yet the answer is not."""
    empty = "canonical?gap=0&text=none&tools=2"
    p, a, b = two(f"{empty}&cut={cut}", empty)
    answer = p.chat(stream=True, **TOOLS)
    assert calls(answer) == CALLS[2] and finish(answer) == ["tool_calls"]
    assert {c["model"] for c in answer.chunks} == {"model-b"} and outcomes(answer)[-1] == ("b", "ok")


@pytest.mark.parametrize("script", ["ok?tools=1&together=1", "ok?tools=2", "ok?tools=2&split_args=1",
                                    "ok?tools=2&done=0"])
def test_calls_that_are_held_pass_byte_for_byte(two, script):
    from client import chat
    p, a, b = two(script, GOOD)
    direct = chat(a.port, "model-a", stream=True)
    answer = p.chat(stream=True, **TOOLS)
    assert answer.body.startswith(direct.body) and answer.done == 1 and b.attempts == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_call_of_any_provider_starts_anew(two, kind):
    """Google's calls come whole; who is cut behind the first of two has not told the second one."""
    empty = "canonical?gap=0&text=none&tools=2"
    p, a, b = two(empty + "&cut=1", empty, more={"A": {"type": kind}, "B": {"type": kind}})
    answer = p.chat(stream=True, **TOOLS)
    assert calls(answer) == CALLS[2] and finish(answer) == ["tool_calls"]
    assert outcomes(answer)[-1] == ("b", "ok")


@pytest.mark.parametrize("kind, tools, cut", [("openai", 1, 4), ("anthropic", 1, 2), ("gemini", 2, 1)])
def test_behind_text_a_cut_call_needs_the_same_answer_once_more(two, kind, tools, cut):
    script = f"{GOOD}&tools={tools}"
    p, a, b = two(f"{script}&cut={N_WORDS + cut}", script, more={"A": {"type": kind}})
    answer = p.chat(stream=True, **TOOLS)
    check_whole(answer)
    assert calls(answer) == CALLS[tools] and finish(answer) == ["tool_calls"]
    assert ways(b) == ["plain"] and [s["way"] for s in seams(answer)] == ["align"]
    assert answer.text == TEXT


def test_a_cut_call_is_never_replaced_by_more_prose(two):
    """Also where the client wants answers carried on though it has tools: asked by a turn, the second
    one would go on with its text and make no call."""
    script = f"{GOOD}&tools=1"
    p, a, b = two(f"{script}&cut={N_WORDS + 2}", f"{script}&turn=repeats", stream={"midstream": "continue"})
    answer = p.chat(stream=True, **TOOLS)
    check_whole(answer)
    assert ways(b) == ["plain"] and calls(answer) == CALLS[1]


def test_what_is_no_text_is_neither_carried_on_nor_repeated(two):
    p, a, b = two("replay", GOOD)
    picture = {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    a.recording = [stream_event(picture), b'data: {"error":{"message":"crashed","code":500}}\n\n']
    answer = p.chat(stream=True)
    assert answer.end == "aborted" and "crashed" in answer.error["message"] and b.attempts == []


@pytest.mark.parametrize("kind, cut", [("openai", 1), ("openai", 3), ("anthropic", 1), ("anthropic", 2),
                                       ("gemini", 1)])
def test_a_call_that_was_cut_leaves_no_trace_in_the_one_that_is_made_anew(two, kind, cut):
    """Whatever the first target's words had to be made of: one start for each call, counted from 0."""
    tools = 2 if kind == "gemini" else 1
    script = f"{GOOD}&tools={tools}"
    p, a, b = two(f"{script}&cut={N_WORDS + cut}", script, more={"A": {"type": kind}, "B": {"type": kind}})
    answer = p.chat(stream=True, **TOOLS)
    check_whole(answer)
    deltas = [d for c in answer.chunks for x in c.get("choices", []) for d in x["delta"].get("tool_calls", [])]
    assert sorted(d["index"] for d in deltas if d.get("id")) == list(range(tools))
    assert {d["index"] for d in deltas} == set(range(tools)) and calls(answer) == CALLS[tools]


@pytest.mark.parametrize("done", [0, 1])
def test_calls_of_who_keeps_the_connection_open_are_whole(two, done):
    p, a, b = two(f"ok?tools=1&hold=5000&done={done}", GOOD)
    answer = p.chat(stream=True, **TOOLS)
    assert calls(answer) == CALLS[1] and finish(answer) == ["tool_calls"] and answer.done == 1
    assert b.attempts == []


@pytest.mark.parametrize("text", [[], ["Let me see. "]])
def test_calls_that_have_gone_out_are_followed_by_nobody(two, text):
    """They are complete with the finish reason, and the client acts on them: what fails behind it is told."""
    p, a, b = two("replay", GOOD)
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    a.recording = [*(stream_event({"content": t}) for t in text), stream_event({"tool_calls": [call]}),
                   stream_event({}, "tool_calls"), b'data: {"error":{"message":"crashed","code":500}}\n\n']
    answer = p.chat(stream=True)
    assert calls(answer) == [("f", {})] and answer.text == "".join(text)
    assert answer.end == "aborted" and "crashed" in answer.error["message"] and b.attempts == []


def test_text_in_the_event_that_begins_a_call_is_held_with_it(two):
    """It never went out, so who goes on has to say it."""
    p, a, b = two("replay", "replay")
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    a.recording = [stream_event({"content": "Let me see. "}),
                   stream_event({"content": "One moment.", "tool_calls": [call]})]
    b.recording = [stream_event({"content": "Let me see. "}), stream_event({"content": "One moment."}),
                   stream_event({}, "stop"), b"data: [DONE]\n\n"]
    answer = p.chat(stream=True, **TOOLS)
    assert answer.text == "Let me see. One moment." and finish(answer) == ["stop"] and answer.done == 1
    assert [s["way"] for s in seams(answer)] == ["align"] and calls(answer) == []


@pytest.mark.parametrize("other", [GOOD + "&text=other&tools=1", "ok?tools=1", GOOD + "&text=other"])
def test_behind_text_another_answer_is_a_true_error(two, other):
    """What the client has was never followed by that call."""
    p, a, b = two(f"{GOOD}&tools=1&cut={N_WORDS + 4}", other)
    answer = p.chat(stream=True, **TOOLS)
    check_error_end(answer, TEXT)
    assert calls(answer) == [] and set(ways(b)) == {"plain"}


def test_text_that_was_cut_may_be_gone_on_with_by_text_and_a_call(two):
    p, a, b = two(CUT, GOOD + "&tools=1")
    answer = p.chat(stream=True, **TOOLS)
    check_whole(answer)
    assert calls(answer) == CALLS[1] and ways(b) == ["plain"]


def test_a_call_in_place_of_the_rest_of_a_sentence_is_an_error(two):
    p, a, b = two(CUT, "ok?tools=1")
    answer = p.chat(stream=True, **TOOLS)
    check_error_end(answer, SENT)
    assert calls(answer) == []


@pytest.mark.parametrize("cut", [2, 12])
def test_calls_that_are_passed_on_as_they_come_cannot_be_taken_back(two, cut):
    empty = "canonical?gap=0&text=none&tools=1"
    p, a, b = two(f"{empty}&cut={cut}", empty, stream={"tool_calls": "stream"})
    answer = p.chat(stream=True, **TOOLS)
    check_error_end(answer, "")
    assert b"look_up_0" in answer.body and b.attempts == []


def test_a_whole_call_without_its_end_is_not_given_to_the_client(two):
    """All arguments were there, but nobody said that this was all."""
    p, a, b = two("replay", "ok?tools=2")
    head = [{"role": "assistant", "content": None}, {"tool_calls": [{"index": 0, **bodies.tool_calls(1)[0]}]}]
    a.recording = [b"data: " + bodies.dump(bodies.chunk("model-a", d)) + b"\n\n" for d in head]
    answer = p.chat(stream=True, **TOOLS)
    assert calls(answer) == CALLS[2]
    assert outcomes(answer) == [("a", "truncated"), ("b", "ok")]


def test_without_another_target_a_cut_call_is_an_error_with_its_status(two):
    p, a = two("cut?tools=1&how=eof", failover={"max_attempts": 1, "per_target": 1})
    answer = p.chat(stream=True, **TOOLS)
    assert answer.status == 502 and "look_up_0" not in answer.body.decode()


@pytest.mark.parametrize("second", [GOOD + "&text=none&tools=2&cut=9", "status?code=503"])
def test_a_third_gives_the_calls_when_the_second_fails_too(two, second):
    p, a, b, c = two("canonical?gap=0&text=none&tools=2&cut=9", second, "ok?tools=2", breaker=CALM)
    answer = p.chat(stream=True, **TOOLS)
    assert calls(answer) == CALLS[2] and [t for t, _ in outcomes(answer)][-1] == "c"


def test_a_silence_inside_a_call_is_given_the_time_of_calls(two):
    """Some providers make all arguments before they send one."""
    script = "canonical?gap=0&text=none&tools=1&stall=3&silent=2500"
    p, a, b = two(script, "ok?tools=1", timeouts={"idle": "2s", "idle_tools": "15s"}, failover=DEFAULT)
    answer = p.chat(stream=True, **TOOLS)
    assert calls(answer) == CALLS[1]
    assert 2.4 < answer.seconds < 12, "waited for the first one, which then was cut"
