"""stream.commit: how much of an answer is there before the client gets its beginning. What has not gone
out can fail without a trace."""
import json

import pytest

from client import wait_for
from faultd import story
from test_carry_on import CUT, GOOD, SENT, TEXT, WORDS, check_whole, seams, two, ways  # noqa: F401
from test_streams import check_error_end

SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}
FULL = {"stream": {"commit": "full"}}
SLOW = {"first_token": "15s", "idle": "15s"}


def models(answer):
    return {c["model"] for c in answer.chunks}


# -- structured output -----------------------------------------------------------------------------
def test_structured_output_is_only_made_anew(two):
    """A grammar's state cannot be given to another model."""
    p, a, b = two(CUT, GOOD + "&turn=repeats")
    answer = p.chat(stream=True, **SCHEMA)
    check_whole(answer)
    assert ways(b) == ["plain"] and [s["way"] for s in seams(answer)] == ["align"]
    assert b.attempts[0].json["response_format"] == SCHEMA["response_format"]


def test_structured_output_in_other_words_is_a_true_error(two):
    p, a, b = two(CUT, GOOD + "&text=other", stream={"midstream": "continue"})
    check_error_end(p.chat(stream=True, **SCHEMA), SENT)
    assert ways(b) == ["plain"]


# -- full ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fields", [{}, SCHEMA, {"n": 2}, {"logprobs": True}])
@pytest.mark.parametrize("how", ["eof", "stall", "error"])
def test_what_is_held_whole_is_replaced_unseen(two, fields, how):
    other = story.text_of("other")
    p, a, b = two(f"{GOOD}&cut=50&how={how}", GOOD + "&text=other", **FULL)
    if "n" in fields:  # our provider gives one answer only
        b.default = f"{GOOD}&cut=50&how=clean"
        answer = p.chat(stream=True, **fields)
        assert answer.status >= 500
        return
    answer = p.chat(stream=True, **fields)
    check_whole(answer, other)
    assert models(answer) == {"model-b"} and seams(answer) == [] and ways(b) == ["plain"]
    assert [(t[0], o) for t, o, _ in answer.trail][-1] == ("b", "ok")
    assert answer.header("x-holdfast-provider") == "b"
    assert len(a.attempts) == (2 if how == "error" else 1), "an error is asked again, as any other"
    assert p.metric("holdfast_midstream_total") == 0


def test_when_all_break_what_is_held_whole_is_an_error_with_its_status(two):
    p, a, b = two(GOOD + "&cut=50", GOOD + "&cut=50", **FULL)
    answer = p.chat(stream=True)
    assert answer.status == 502 and answer.error["code"] == "truncated"
    assert "A proxy" not in answer.body.decode()


def test_what_is_held_whole_passes_byte_for_byte(two):
    from client import chat
    p, a, b = two(GOOD + "&thinks=x&tools=2", GOOD, **FULL)
    direct = chat(a.port, "model-a", stream=True)
    assert p.chat(stream=True).body == direct.body


def test_what_is_held_is_silent_but_for_heartbeats(two):
    p, a, b = two("canonical?gap=30", GOOD, timeouts=SLOW, stream={"commit": "full", "heartbeat_after": "1s"})
    answer = p.chat(stream=True)
    check_whole(answer)
    assert answer.body.startswith(b": keep-alive\n\n")
    first_word = answer.body.index(b'"content":"A"')
    assert next(t for t, n in answer.pieces if n > first_word) > 1.5


def test_a_silence_within_what_is_held_moves_on(two):
    p, a, b = two(GOOD + "&stall=30", GOOD, **FULL)
    answer = p.chat(stream=True)
    check_whole(answer)
    assert models(answer) == {"model-b"} and [o for _, o, _ in answer.trail] == ["idle_timeout", "ok"]


# -- window ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("cut, seen", [(3, False), (5, False), (6, True), (30, True)])
def test_a_window_of_words_hides_a_break_within_it(two, cut, seen):
    p, a, b = two(f"{GOOD}&cut={cut}", GOOD, timeouts=SLOW,
                  stream={"commit": "window", "window_tokens": 5, "window_time": "5s"})
    answer = p.chat(stream=True)
    if seen and answer.error is not None:  # so few words that nobody can go on behind them
        check_error_end(answer, "".join(WORDS[:cut]))
        return
    check_whole(answer)
    assert models(answer) == ({"model-a", "model-b"} if seen else {"model-b"})
    assert len(seams(answer)) == seen


@pytest.mark.parametrize("first, seen", [("300ms", True), ("15s", False)])
def test_a_window_of_time_hides_a_break_within_it(two, first, seen):
    """Thirty words in 3 s are fewer than the window's; its time decides."""
    p, a, b = two("canonical?gap=100&cut=30", GOOD, timeouts=SLOW,
                  stream={"commit": "window", "window_tokens": 1000, "window_time": first})
    answer = p.chat(stream=True)
    check_whole(answer)
    assert models(answer) == ({"model-a", "model-b"} if seen else {"model-b"})
    assert len(seams(answer)) == seen


def test_a_window_s_time_passes_also_while_nothing_comes(two):
    p, a, b = two("canonical?gap=0&stall=3&silent=4000", GOOD, timeouts=SLOW,
                  stream={"commit": "window", "window_tokens": 10, "window_time": "200ms"})
    answer = p.chat(stream=True)
    start = answer.body.index(b'"content":"A"')
    assert next(t for t, n in answer.pieces if n > start) < 3
    check_whole(answer)
    assert len(seams(answer)) == 1


def test_an_answer_shorter_than_the_window_goes_out_at_its_end(two):
    p, a, b = two("ok", GOOD, stream={"commit": "window", "window_tokens": 100, "window_time": "30s"})
    answer = p.chat(stream=True)
    assert answer.text == "A: word1 word2 word3 word4" and answer.done == 1
    assert answer.seconds < 10 and b.attempts == []


def test_an_answer_that_is_not_streamed_is_whole_or_another_one(two):
    p, a, b = two("cut?how=eof", GOOD)
    answer = p.chat(stream=False)
    assert answer.status == 200 and answer.text == TEXT and json.loads(answer.body)["model"] == "model-b"


def test_a_client_that_leaves_while_all_is_held_ends_the_call(two):
    from client import Raw, chat_body, request_bytes
    p, a, b = two("canonical?gap=100", GOOD, **FULL)
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=True)))
        wait_for(lambda: a.attempts and a.attempts[0].sent > 1000)
    wait_for(lambda: a.attempts[0].ended in ("peer", "peer_reset"))
    assert b.attempts == []
