"""After the first output: the content so far, then the truth about the end."""
import json

import pytest

from client import in_time, wait_for
from faultd import bodies, story

TEXT = "A: word1 word2"


def check_error_end(answer, text=TEXT):
    """Content so far, one error event in band, no [DONE], an aborted connection."""
    assert answer.status == 200
    assert answer.end == "aborted"
    assert answer.done == 0
    assert "".join(c["delta"].get("content") or "" for chunk in answer.chunks
                   for c in chunk.get("choices", [])) == text
    errors = [c for c in answer.chunks if "error" in c]
    assert len(errors) == 1 and errors[0] is not None
    assert answer.chunks[-1] == errors[0]
    assert errors[0]["error"]["message"]
    finishes = [c["choices"][0].get("finish_reason") for c in answer.chunks if c.get("choices")]
    assert not any(f in ("stop", "tool_calls", "length") for f in finishes)


@pytest.mark.tsan
@pytest.mark.parametrize("how", ["eof", "clean", "rst", "stall", "error", "error_done",
                                 "finish_error", "malformed", "mid_event", "mid_field", "mid_utf8",
                                 "done", "comments"])
def test_a_stream_that_breaks_after_output_ends_in_an_error(upstream, holdfast, how):
    a, b = upstream("A", default=f"cut?after=3&how={how}"), upstream("B")
    p = holdfast(a, b, hasty="a" if how in ("stall", "comments") else "")
    answer = p.chat(stream=True, headers={"x-holdfast-midstream": "error"})
    check_error_end(answer)
    assert len(a.attempts) == 1 and b.attempts == [], "nothing is sent again after output"


@pytest.mark.parametrize("how", ["eof", "rst", "done", "clean"])
def test_a_tool_call_cut_in_its_arguments_is_never_completed(upstream, holdfast, how):
    a, b = upstream("A", default=f"cut?tools=1&how={how}"), upstream("B")
    answer = holdfast(a, b, stream={"tool_calls": "stream"}).chat(stream=True)
    check_error_end(answer, text="")
    assert b.attempts == []


@pytest.mark.parametrize("how", ["eof", "clean", "rst", "done", "stall", "error"])
def test_a_tool_call_that_was_cut_never_reached_the_client(upstream, holdfast, how):
    """It is held until it is complete, so the next target's answer is all that there is."""
    a, b = upstream("A", default=f"cut?tools=1&how={how}"), upstream("B")
    answer = holdfast(a, b, hasty="a" if how == "stall" else "").chat(stream=True)
    assert answer.end == "complete" and answer.text.startswith("B:") and answer.done == 1
    assert b"tool_calls" not in answer.body
    assert answer.trail[0][1] != "ok" and answer.trail[1][1] == "ok"


def test_what_does_not_fit_is_a_true_error(upstream, holdfast):
    a, b = upstream("A", default="cut?after=3"), upstream("B")
    p = holdfast(a, b)
    answer = p.chat(stream=True)
    check_error_end(answer)
    assert "truncated" in answer.error["message"] and "seam_mismatch" in answer.error["message"]
    assert p.metric("holdfast_attempts_total", outcome="seam_mismatch") == 1
    assert b"holdfast seam" not in answer.body, "nobody went on"
    assert p.metric("holdfast_midstream_total", result="error") == 1


def test_who_takes_no_prefill_is_asked_in_another_way_and_not_again(upstream, holdfast):
    a = upstream("A", default="canonical?cut=20")
    b = upstream("B", default="canonical?prefill=refused&turn=repeats")
    p = holdfast(a, {"type": "openai", "base_url": b.base_url, "carry_on": "prefill"},
                 failover={"max_attempts": 4, "per_target": 2})
    for refused in (1, 1):
        answer = p.chat(stream=True)
        assert answer.text == story.TEXT and answer.done == 1
        assert p.metric("holdfast_attempts_total", outcome="carry_refused") == refused
    assert b": holdfast seam from=a/model-a to=b/model-b reason=truncated way=turn" in answer.body
    assert p.metric("holdfast_midstream_total", result="continued") == 2


def test_who_goes_on_without_a_parameter_is_asked_in_the_same_way(upstream, holdfast):
    a = upstream("A", default="canonical?cut=20")
    b = upstream("B", queue=["preset?name=no_temperature"], default="canonical?turn=repeats")
    p = holdfast(a, b, failover={"max_attempts": 4, "per_target": 2})
    answer = p.chat(stream=True, temperature=0.3)
    assert answer.text == story.TEXT and answer.done == 1
    assert [x.json.get("temperature") for x in b.attempts] == [0.3, None]
    assert b.attempts[0].json["messages"] == b.attempts[1].json["messages"]
    assert p.metric("holdfast_attempts_total", outcome="carry_refused") == 0


def test_a_400_to_the_same_request_is_no_refusal_to_go_on(upstream, holdfast):
    """Asked anew, in the client's own words: it is the request that is wrong, for whomever."""
    a, c = upstream("A", default="canonical?cut=20"), upstream("C", default="canonical?turn=repeats")
    b = upstream("B", default="status?code=400")
    p = holdfast(a, {"type": "openai", "base_url": b.base_url, "carry_on": "align"}, c)
    answer = p.chat(stream=True)
    assert answer.end == "aborted" and len(b.attempts) == 1 and c.attempts == []
    assert p.metric("holdfast_attempts_total", outcome="carry_refused") == 0
    assert p.metric("holdfast_attempts_total", outcome="bad_request") == 1


def test_a_refusal_that_does_not_speak_of_prefill_is_not_remembered(upstream, holdfast):
    a = upstream("A", default="canonical?cut=20")
    b = upstream("B", queue=["status?code=400"], default="canonical?turn=repeats")
    p = holdfast(a, {"type": "openai", "base_url": b.base_url, "carry_on": "prefill"},
                 failover={"max_attempts": 4, "per_target": 2})
    for way in (b" way=turn ", b" way=prefill "):
        answer = p.chat(stream=True)
        assert answer.text == story.TEXT and way in answer.body
    assert p.metric("holdfast_attempts_total", outcome="carry_refused") == 1


@pytest.mark.parametrize("how", ["eof", "stall", "error"])
def test_an_answer_that_is_held_to_its_end_fails_unseen(upstream, holdfast, how):
    a, b = upstream("A", default=f"cut?after=3&how={how}"), upstream("B")
    p = holdfast(a, b, stream={"commit": "full"}, hasty="a" if how == "stall" else "")
    answer = p.chat(stream=True)
    assert answer.end == "complete" and answer.text.startswith("B:") and answer.done == 1
    assert b"holdfast seam" not in answer.body and [t[1] == "ok" for t in answer.trail] == [False, True]


def test_an_answer_that_is_held_to_its_end_may_be_long(upstream, holdfast):
    a, b = upstream("A", default="ok?big=400000"), upstream("B")
    answer = holdfast(a, b, stream={"commit": "full"}).chat(stream=True)
    assert answer.done == 1 and answer.text.startswith("A:") and len(answer.text) > 400000


@pytest.mark.parametrize("held", [3, 2])
def test_a_window_holds_so_many_pieces(upstream, holdfast, held):
    """Three come before the cut: all of them are held, or the third one sends them on their way."""
    a, b = upstream("A", default="cut?after=3"), upstream("B")
    stream = {"commit": "window", "window_tokens": held, "window_time": "30s", "midstream": "error"}
    answer = holdfast(a, b, stream=stream).chat(stream=True)
    if held == 2:
        check_error_end(answer)
    else:
        assert answer.end == "complete" and answer.text.startswith("B:") and answer.done == 1


@pytest.mark.parametrize("time, seams", [("200ms", 1), ("30s", 0)])
def test_a_window_ends_by_its_time(upstream, holdfast, time, seams):
    a, b = upstream("A", default="canonical?gap=150&cut=20"), upstream("B", default="canonical?turn=repeats")
    answer = holdfast(a, b, stream={"commit": "window", "window_tokens": 1000, "window_time": time}).chat(stream=True)
    assert answer.text == story.TEXT and answer.done == 1
    assert answer.body.count(b": holdfast seam ") == seams


def test_the_provider_s_own_error_message_is_told(upstream, holdfast):
    answer = holdfast(upstream("A", default="cut?how=error")).chat(
        stream=True, headers={"x-holdfast-midstream": "error"})
    assert "The model crashed" in answer.error["message"]


@pytest.mark.parametrize("script", [
    "ok", "ok?usage=absent", "ok?usage=finish", "ok?crlf=1", "ok?space=0", "ok?comments=1",
    "ok?bytewise=1", "ok?framing=close", "ok?trailing=1", "ok?big=2097152", "ok?tokens=2000",
    "ok?tools=1", "ok?tools=3", "ok?tools=2&together=1", "ok?tools=2&split_args=1",
    "ok?gap=60&tokens=12"])
def test_a_complete_stream_passes_whole(upstream, holdfast, script):
    """Byte for byte: what the upstream sends without the proxy is what comes out of it."""
    from client import chat
    a, b = upstream("A", default=script), upstream("B")
    direct = chat(a.port, "model-a", stream=True)
    answer = holdfast(a, b).chat(stream=True)
    assert answer.status == 200 and answer.end == "complete" and answer.done == 1
    assert answer.body == direct.body
    assert b.attempts == []


# -- one event that cannot be read ----------------------------------------------------------------
WORDS = "A: word1 word2 word3 word4"


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
def test_one_unreadable_event_does_not_break_off_prose(upstream, holdfast, kind):
    a = upstream("A", default="garbled")
    p = holdfast({"type": kind, "base_url": a.base_url, "api_key": "sk-x"})
    answer = p.chat(stream=True)
    assert answer.end == "complete" and answer.done == 1 and answer.error is None
    assert answer.text == WORDS
    assert b"\n\n: an event of the provider could not be read and was left out\n\n" in answer.body
    wait_for(lambda: "could not be read and was left out" in p.stderr)
    assert p.metric("holdfast_attempts_total", outcome="ok") == 1


@pytest.mark.parametrize("script, fields", [
    ("garbled?n=2", {}), ("garbled?delta=1", {}), ("garbled", {"response_format": {"type": "json_object"}}),
    ("garbled", {"tools": [{"type": "function", "function": {"name": "f"}}]})])
def test_a_second_unreadable_event_or_one_in_data_is_an_error(upstream, holdfast, script, fields):
    a, b = upstream("A", default=script), upstream("B")
    answer = holdfast(a, b).chat(stream=True, headers={"x-holdfast-midstream": "error"}, **fields)
    check_error_end(answer, text="A: word1" + " word2" * ("n=2" in script))
    assert b.attempts == []


def test_an_unreadable_event_before_any_output_moves_on(upstream, holdfast):
    a, b = upstream("A", default="garbled?n=0&first=1"), upstream("B")
    answer = holdfast(a, b).chat(stream=True)
    assert answer.text.startswith("B:") and answer.trail[0][1].startswith("malformed")


def test_a_missing_done_is_added(upstream, holdfast):
    a = upstream("A", default="ok?done=0")
    answer = holdfast(a).chat(stream=True)
    assert answer.end == "complete" and answer.done == 1 and answer.data[-1] == "[DONE]"
    assert answer.text == "A: word1 word2 word3 word4" and answer.error is None


@pytest.mark.parametrize("done", [0, 1])
def test_a_finished_stream_whose_connection_stays_open_is_finalised(upstream, holdfast, done):
    a = upstream("A", default=f"ok?hold=30000&done={done}")
    answer = holdfast(a).chat(stream=True)
    assert answer.end == "complete" and answer.done == 1
    assert answer.seconds < 10


def test_nothing_after_done_is_relayed(upstream, holdfast):
    a = upstream("A", default="ok?after_done=SURPLUS")
    answer = holdfast(a).chat(stream=True)
    assert answer.end == "complete" and b"SURPLUS" not in answer.body
    assert answer.data[-1] == "[DONE]"


def test_done_without_a_finish_reason_is_a_cut(upstream, holdfast):
    a = upstream("A", default="ok?finish=0&usage=absent")
    answer = holdfast(a).chat(stream=True, headers={"x-holdfast-midstream": "error"})
    check_error_end(answer, "A: word1 word2 word3 word4")


def test_tokens_come_as_they_are_made(upstream, holdfast):
    """Each token is on the client's side before the next one was made."""
    a = upstream("A", default="ok?gap=80&tokens=6")
    answer = holdfast(a).chat(stream=True)
    times = [t for t, _ in answer.pieces]
    assert len(times) >= 6 and times[-1] - times[0] > 0.3
    assert answer.header("cache-control") == "no-cache"
    assert answer.header("content-encoding") is None


def test_output_of_every_kind_commits(upstream, holdfast):
    """Reasoning, a refusal and a tool call are output as text is: nothing is sent again."""
    for delta in ({"reasoning_content": "Hm."}, {"refusal": "No."},
                  {"tool_calls": bodies.tool_calls(1)}):
        text = b"data: " + bodies.dump(bodies.chunk("model-a", delta)) + b"\n\n"
        a, b = upstream("A", default="replay"), upstream("B")
        a.recording = [text]
        answer = holdfast(a, b, stream={"midstream": "error", "tool_calls": "stream"}).chat(stream=True)
        assert answer.end == "aborted" and b.attempts == []
        assert json.loads(answer.data[0])["choices"][0]["delta"] == delta


def test_a_finish_reason_repeated_passes_untouched(upstream, holdfast):
    one = bodies.dump(bodies.chunk("model-a", {"content": "hi"}))
    fin = bodies.dump(bodies.chunk("model-a", {"content": ""}, "stop"))
    text = b"".join(b"data: " + e + b"\n\n" for e in (one, fin, fin, b"[DONE]"))
    a = upstream("A", default="replay")
    a.recording = [text]
    answer = holdfast(a).chat(stream=True)
    assert answer.body == text and answer.end == "complete"


def test_one_of_two_choices_without_its_end_is_a_cut(upstream, holdfast):
    def choice(i, delta, finish=None):
        c = bodies.chunk("model-a", delta, finish)
        c["choices"][0]["index"] = i
        return b"data: " + bodies.dump(c) + b"\n\n"
    a = upstream("A", default="replay")
    a.recording = [choice(0, {"content": "x"}), choice(1, {"content": "y"}),
                   choice(0, {}, "stop")]
    answer = holdfast(a).chat(stream=True, n=2, headers={"x-holdfast-midstream": "error"})
    assert answer.end == "aborted" and answer.done == 0 and answer.error


HEARTBEAT = {"stream": {"heartbeat_after": "1s"},
             "timeouts": {"first_token": "2s"}}


def test_a_heartbeat_is_a_comment_and_the_next_target_still_answers(upstream, holdfast):
    a, b = upstream("A", default="hang"), upstream("B")
    answer = in_time(lambda: holdfast(a, b, **HEARTBEAT).chat(stream=True), 0.8, 1.4,
                     lambda x: x.pieces[0][0])
    assert answer.body.startswith(b":")
    assert answer.text == "B: word1 word2 word3 word4"
    assert answer.end == "complete" and answer.done == 1


def test_a_translated_stream_outlives_a_large_request(upstream, holdfast):
    a = upstream("A", default="ok?tokens=20&gap=10")
    claude = {"type": "anthropic", "base_url": a.base_url.removesuffix("/v1"), "api_key": "sk-a"}
    p = holdfast(claude, routes=[{"model": "*", "targets": ["a"]}])
    answer = p.chat("claude-sonnet-4-5", True,
                    messages=[{"role": "user", "content": "x" * 300000}])
    assert answer.done == 1 and {c["model"] for c in answer.chunks} == {"claude-sonnet-4-5"}


def test_after_a_heartbeat_comments_say_who_answers_and_what_was_dropped(upstream, holdfast):
    a, b = upstream("A", default="hang"), upstream("B")
    claude = {"type": "anthropic", "base_url": b.base_url.removesuffix("/v1"), "api_key": "sk-b"}
    routes = [{"model": "*", "targets": ["a/gpt-4o", "b/claude-sonnet-4-5"]}]
    answer = holdfast(a, claude, routes=routes, **HEARTBEAT).chat(stream=True, seed=4)
    assert answer.text == "B: word1 word2 word3 word4" and answer.done == 1
    lines = answer.body.decode().split("\n")
    assert ": x-holdfast-provider: b" in lines and ": x-holdfast-dropped: seed" in lines
    assert any(x.startswith(": x-holdfast-trail: a/gpt-4o=first_token_timeout") for x in lines)


def test_after_a_heartbeat_the_error_stands_in_the_stream(upstream, holdfast):
    answer = holdfast(upstream("A", default="hang"), **HEARTBEAT).chat(stream=True)
    check_error_end(answer, text="")


def test_before_the_heartbeat_not_even_a_status_line_goes_out(upstream, holdfast):
    a = upstream("A", default="bad_stream?kind=role&end=stall")
    answer = holdfast(a, timeouts={"first_token": "800ms"}).chat(stream=True)
    assert answer.status == 504 and answer.header("content-type").startswith("application/json")


def test_who_broke_an_answer_is_asked_behind_the_others_when_its_conversation_comes_again(upstream, holdfast):
    a, b = upstream("A", default="cut?after=3"), upstream("B")
    p = holdfast(a, b, stream={"midstream": "error"})
    first = p.chat(stream=True, headers={"x-session-id": "one"})
    assert first.end == "aborted" and first.text.startswith("A:")
    again = p.chat(stream=True, headers={"x-session-id": "one"})
    assert again.text.startswith("B:") and again.done == 1
    other = p.chat(stream=True, prompt_cache_key="two")
    assert other.text.startswith("A:")
    assert p.chat(stream=True, prompt_cache_key="two").text.startswith("B:")
