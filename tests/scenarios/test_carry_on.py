"""An answer that broke after its first words is carried on by another target: the whole text, once,
with one end; or the words so far and a true error. Never anything between.

All upstreams know story.TEXT by heart, so that what two of them have said can be checked to the byte.
"""
import json
import random
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from conftest import provider
from faultd import story
from faultd.voices import THOUGHT
from test_conformance import CALM
from test_streams import check_error_end

TEXT = story.TEXT
WORDS = story.pieces(TEXT)
GOOD = "canonical?gap=0"
CUT = GOOD + "&cut=20"
SENT = "".join(WORDS[:20])
DEFAULT = {"max_attempts": 4, "per_target": 2}
KINDS = ("openai", "anthropic", "gemini")
SILENT = re.compile("hang|stall|comments")


def check_whole(answer, text=TEXT):
    """One answer as any other: a start, the text, an end."""
    assert (answer.status, answer.end, answer.done) == (200, "complete", 1), answer.body[-500:]
    assert answer.error is None and answer.data[-1] == "[DONE]"
    choices = [c for chunk in answer.chunks for c in chunk.get("choices", [])]
    assert answer.text == text
    assert len([c["finish_reason"] for c in choices if c["finish_reason"]]) == 1
    assert sum("role" in c["delta"] for c in choices) == 1
    assert len({(c["id"], c["created"]) for c in answer.chunks}) == 1


def seams(answer):
    """What the comments at the seams say."""
    lines = re.findall(r"^: holdfast seam (.*)$", answer.body.decode(), re.M)
    return [dict(x.split("=", 1) for x in line.split(" ")) for line in lines]


def ways(upstream):
    """How it was asked each time."""
    found = []
    for a in upstream.attempts:
        said = story.turns(a.json)
        found.append("prefill" if said[-1][0] == "assistant" else
                     "turn" if len(said) > 1 and said[-2][0] == "assistant" else "plain")
    return found


def reasoning(answer):
    return "".join(c["delta"].get("reasoning_content") or ""
                   for chunk in answer.chunks for c in chunk.get("choices", []))


@pytest.fixture
def two(upstream, holdfast):
    """two(script of A, of B, ...) -> (proxy, A, B, ...), with the attempts that are the default. more:
    {name: {...}} of what else is configured for a provider."""
    def start(*scripts, **parts):
        servers = [upstream(n, default=s) for n, s in zip("ABCDEFG", scripts)]
        parts.setdefault("failover", DEFAULT)
        if "timeouts" not in parts:
            parts["hasty"] = "".join(n for n, s in zip("abcdefg", scripts) if SILENT.search(s))
        more = parts.pop("more", {})
        return holdfast(*(provider(s, **more.get(s.name, {})) for s in servers), **parts), *servers
    return start


# -- what breaks -----------------------------------------------------------------------------------
@pytest.mark.tsan
@pytest.mark.parametrize("how", ["eof", "clean", "rst", "stall", "comments", "error", "error_done",
                                 "finish_error", "malformed", "mid_event", "mid_field", "mid_utf8",
                                 "done"])
def test_whatever_breaks_it_it_goes_on(two, how):
    p, a, b = two(f"{CUT}&how={how}", GOOD)
    answer = p.chat(stream=True)
    check_whole(answer)
    assert (len(a.attempts), len(b.attempts)) == (1, 1)
    assert [s["at"] for s in seams(answer)] == [str(len(SENT.encode()))]


@pytest.mark.parametrize("way", ["prefill", "turn", "align"])
def test_each_provider_carries_on_each_other_s_answer(upstream, holdfast, way):
    """One door, three dialects behind it, in every pair and order."""
    a, b = upstream("A", default=CUT), upstream("B", default=GOOD + "&turn=repeats")
    names = {f"{k}{n}": {"type": k, "base_url": u.base_url, "api_key": "sk-x", "carry_on": way}
             for k in KINDS for n, u in (("1", a), ("2", b))}
    pairs = [(x, y) for x in KINDS for y in KINDS]
    p = holdfast(a, providers=names, failover=DEFAULT, breaker=CALM,
                 retry_budget={"capacity": 100}, routes=[
        {"model": f"{x}-{y}", "targets": [f"{x}1/first", f"{y}2/second"]} for x, y in pairs])
    for pair in pairs:
        b.clear_log()
        answer = p.chat("-".join(pair), True, stream_options={"include_usage": True})
        check_whole(answer)
        assert ways(b) == ["plain" if way == "align" else way], pair
        assert [s["way"] for s in seams(answer)] == [way], pair
        assert [c["model"] for c in answer.chunks][::len(answer.chunks) - 1] == ["first", "second"]


@pytest.mark.parametrize("second", [GOOD + "&cut=40", GOOD + "&cut=40&how=stall", "status?code=503",
                                    "fin_before", "hang", "bad_stream?kind=error", "preset?name=quota",
                                    "bad_stream?kind=role&end=eof"])
def test_when_the_second_fails_too_a_third_carries_on(two, second):
    p, a, b, c = two(CUT, second, GOOD)
    answer = p.chat(stream=True)
    check_whole(answer)
    assert len(a.attempts) == 1 and len(b.attempts) >= 1 and len(c.attempts) == 1
    if "stall" in second:
        assert [s["to"][0] for s in seams(answer)] == ["b", "c"]
    elif "cut" not in second:  # words and their end may come at once, and then none of them went out
        assert [s["to"][0] for s in seams(answer)] == ["c"]


def test_when_all_fail_the_error_tells_of_what_broke_first(two):
    p, a, b = two(CUT, "status?code=503", failover={"max_attempts": 4, "per_target": 1})
    answer = p.chat(stream=True)
    check_error_end(answer, SENT)
    message = answer.error["message"]
    assert message.startswith("a/model-a: ") and "b/model-b=overloaded:503" in message
    assert answer.error["code"] == "stream_interrupted"
    assert p.metric("holdfast_midstream_total", result="error") == 1


@pytest.mark.parametrize("refusal", ["preset?name=content_policy", "preset?name=context_length"])
def test_a_refusal_of_who_should_carry_on_never_shows(two, refusal):
    p, a, b, c = two(CUT, refusal, GOOD)
    answer = p.chat(stream=True)
    check_whole(answer) if answer.error is None else check_error_end(answer, SENT)
    assert "safety" not in answer.body.decode() and "maximum context" not in answer.body.decode()


# -- how it is asked -------------------------------------------------------------------------------
@pytest.mark.parametrize("script", ["&turn=repeats", "&turn=quotes", "&turn=restarts"])
def test_a_turn_may_be_answered_in_several_ways(two, script):
    p, a, b = two(CUT, GOOD + script)
    check_whole(p.chat(stream=True))
    assert ways(b) == ["turn", "plain"] if "quotes" in script else ["turn"]


@pytest.mark.parametrize("script", ["&prefill=ignored", "&echo=30", "&echo=0"])
def test_a_prefill_may_be_answered_in_several_ways(two, script):
    """Or the next way is asked for: nothing shows of one that cannot be joined."""
    p, a, b = two(CUT, GOOD + script, more={"B": {"carry_on": "prefill"}})
    check_whole(p.chat(stream=True))
    assert ways(b)[0] == "prefill"


@pytest.mark.tsan
def test_a_second_answer_in_other_words_is_a_true_error(two):
    p, a, b = two(CUT, GOOD + "&text=other")
    answer = p.chat(stream=True)
    check_error_end(answer, SENT)
    assert ways(b) == ["turn", "plain"], "both ways were tried"
    assert p.metric("holdfast_attempts_total", outcome="seam_mismatch") == 2
    assert p.metric("holdfast_midstream_total", result="error") == 1
    assert "Good days" not in answer.body.decode()


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_ends_before_it_fits_was_never_there(two, kind):
    """It is so short that only its end tells: no anchor comes any more."""
    p, a, b = two(CUT, "ok", more={"B": {"type": kind}}, failover=DEFAULT | {"per_target": 1})
    answer = p.chat(stream=True)
    check_error_end(answer, SENT)
    assert seams(answer) == [] and "seam_mismatch" in answer.error["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_stream_goes_on_under_its_own_id(two, kind):
    p, a, b = two(CUT, GOOD, more={"B": {"type": kind}})
    answer = p.chat(stream=True)
    check_whole(answer)
    assert {c["id"] for c in answer.chunks} == {answer.chunks[0]["id"]}
    assert (answer.chunks[0]["model"], answer.chunks[-1]["model"]) == ("model-a", "model-b")
    roles = [c["delta"]["role"] for chunk in answer.chunks for c in chunk["choices"] if "role" in c["delta"]]
    assert roles == ["assistant"]


def test_nothing_is_asked_twice_of_who_answers_in_other_words(two):
    p, a, b, c = two(CUT, GOOD + "&text=other", GOOD)
    check_whole(p.chat(stream=True))
    assert (len(b.attempts), len(c.attempts)) == (1, 1), "the next target goes first"


def test_a_single_target_carries_its_own_answer_on(two):
    p, a = two(GOOD)
    a.queue(CUT)
    answer = p.chat(stream=True)
    check_whole(answer)
    assert ways(a) == ["plain", "turn"] and seams(answer)[0]["from"] == seams(answer)[0]["to"]


# -- whether it may be -----------------------------------------------------------------------------
@pytest.mark.parametrize("fields", [{"n": 2}, {"logprobs": True}, {"audio": {"voice": "x", "format": "wav"}}])
def test_what_cannot_be_joined_is_not_tried(two, fields):
    p, a, b = two(CUT, GOOD)
    check_error_end(p.chat(stream=True, **fields), SENT)
    assert len(a.attempts) == 1 and b.attempts == []


TOOLS = {"tools": [{"type": "function", "function": {"name": "look_up_0"}}]}


@pytest.mark.parametrize("configured", ["auto", "continue", "error"])
def test_the_configuration_says_how_far_it_goes_and_the_header_goes_before_it(two, configured):
    p, a, b = two(CUT, GOOD, stream={"midstream": configured}, breaker=CALM)
    for header in (None, "auto", "continue", "error"):
        b.clear_log()
        answer = p.chat(stream=True, headers={"x-holdfast-midstream": header} if header else {}, **TOOLS)
        mode = header or configured
        check_error_end(answer, SENT) if mode == "error" else check_whole(answer)
        assert ways(b) == {"auto": ["plain"], "continue": ["turn"], "error": []}[mode], (configured, header)


@pytest.mark.parametrize("parts, headers", [
    ({"failover": {"max_attempts": 1, "per_target": 1}}, {}),
    ({"retry_budget": {"ratio": 0, "capacity": 0}}, {}),
    ({}, {"x-holdfast-failover": "off"}),
    ({"stream": {"seam_memory": "0KiB"}}, {}),
])
def test_limits_hold_at_a_seam_too(two, parts, headers):
    p, a, b = two(CUT, GOOD, **parts)
    check_error_end(p.chat(stream=True, headers=headers), SENT)
    assert len(a.attempts) == 1 and b.attempts == []


def test_no_more_attempts_are_made_than_allowed(two):
    p, *servers = two(CUT, *["status?code=503"] * 4, failover={"max_attempts": 3, "per_target": 2})
    check_error_end(p.chat(stream=True), SENT)
    assert sum(len(s.attempts) for s in servers) == 3


def test_who_is_not_to_carry_on_is_passed_over(two):
    p, a, b, c = two(CUT, GOOD, GOOD, more={"B": {"carry_on": "off"}})
    check_whole(p.chat(stream=True))
    assert b.attempts == [] and len(c.attempts) == 1


@pytest.mark.parametrize("left", [False, True])
def test_nobody_is_asked_to_go_on_when_the_time_is_nearly_over(two, left):
    p, a, b = two(CUT + "&first=700", GOOD, timeouts={"first_token": "5s", "idle": "5s"})
    answer = p.chat(stream=True, headers={"x-holdfast-timeout-ms": "5000" if left else "1000"})
    check_whole(answer) if left else check_error_end(answer, SENT)
    assert len(b.attempts) == left


# -- long answers ----------------------------------------------------------------------------------
def test_a_long_answer_is_gone_on_with_but_not_made_anew(two):
    """From 4,000 characters on, unless the client wants it so."""
    long = GOOD + "&text=7/200&size=64"
    text = story.text_of("7/200")
    assert len(text) > 5000
    p, a, b = two(long + "&cut=70", long + "&turn=repeats", breaker=CALM)
    check_whole(p.chat(stream=True), text)
    assert ways(b) == ["turn"]
    structured = {"response_format": {"type": "json_object"}}
    check_error_end(p.chat(stream=True, **structured), text[:70 * 64])
    assert ways(b) == ["turn"], "it could only be made anew"
    check_whole(p.chat(stream=True, headers={"x-holdfast-midstream": "continue"}, **structured), text)
    assert ways(b) == ["turn", "plain"]


def test_a_text_over_seam_memory_ends_in_the_true_error(two):
    long = GOOD + "&text=7/200&size=64"
    p, a, b = two(long + "&cut=70", long, stream={"seam_memory": "4KiB"})
    check_error_end(p.chat(stream=True), story.text_of("7/200")[:70 * 64])
    assert b.attempts == []


# -- reasoning -------------------------------------------------------------------------------------
def test_reasoning_alone_starts_anew_behind_an_empty_line(two):
    p, a, b = two(GOOD + "&thinks=x&cut=2", GOOD + "&thinks=x")
    answer = p.chat(stream=True)
    check_whole(answer)
    assert reasoning(answer) == "".join(story.pieces(THOUGHT)[:2]) + "\n\n" + THOUGHT
    assert ways(b) == ["plain"] and [s["at"] for s in seams(answer)] == ["0"]


def test_who_goes_on_behind_reasoning_may_have_none(two):
    p, a, b = two(GOOD + "&thinks=x&cut=2", GOOD)
    answer = p.chat(stream=True)
    check_whole(answer)
    assert reasoning(answer) == "".join(story.pieces(THOUGHT)[:2])


def test_reasoning_is_not_told_again_once_there_is_text(two):
    p, a, b = two(GOOD + "&thinks=x&cut=20", GOOD + "&thinks=x")
    answer = p.chat(stream=True)
    check_whole(answer)
    assert reasoning(answer) == THOUGHT


@pytest.mark.parametrize("cut", [2, 20])
def test_signed_reasoning_cannot_be_gone_on_with(two, cut):
    """Nobody but who signed it could take it back."""
    p, a, b = two(f"{GOOD}&thinks=c2lnbmVk&cut={cut}", GOOD, more={"A": {"type": "anthropic"}})
    answer = p.chat(stream=True)
    check_error_end(answer, "".join(WORDS[:cut - 2]))
    assert reasoning(answer) == THOUGHT and b.attempts == []


# -- the client ------------------------------------------------------------------------------------
ASK = request_bytes("POST", "/v1/chat/completions", chat_body(stream=True))


def test_silence_between_cut_and_seam_is_filled_with_comments(two):
    p, a, b = two(CUT, GOOD + "&first=2600", stream={"heartbeat_after": "1s"})
    answer = p.chat(stream=True)
    check_whole(answer)
    before, _, behind = answer.body.partition(b": holdfast seam")
    assert b": keep-alive\n\n" in before and b"keep-alive" not in behind


def test_a_client_that_leaves_before_the_seam_takes_the_second_call_with_it(two):
    p, a, b = two(CUT, "hang", timeouts={"first_token": "25s"})
    with Raw(p.port) as c:
        c.send(ASK)
        wait_for(lambda: b.attempts)
    wait_for(lambda: b.attempts[0].ended in ("peer", "peer_reset"))
    wait_for(lambda: p.metric("holdfast_requests_total", outcome="client_gone") == 1)
    assert p.metric("holdfast_in_flight") == 0


def test_a_slow_reader_holds_up_who_carries_on(two):
    long = "canonical?gap=0&text=3/400/1000&size=16384"
    text = story.text_of("3/400/1000")
    p, a, b = two(long + "&cut=1", long + "&turn=repeats",
                  timeouts={"idle": "2s", "total": "90s"})
    with Raw(p.port, timeout=60) as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        c.send(ASK)
        wait_for(lambda: b.attempts and b.attempts[0].sent)
        seen = -1
        while seen != b.attempts[0].sent:  # until nothing moves any more, for longer than `idle`
            seen = b.attempts[0].sent
            time.sleep(2.2)
        assert 0 < seen < len(text.encode()), "what is not read is not fetched"
        answer = c.answer(timeout=60)
    assert answer.end == "complete" and answer.body.endswith(b"\n\ndata: [DONE]\n\n")
    assert answer.text == text


@pytest.mark.parametrize("patience, whole", [("15s", True), ("300ms", False)])
def test_a_program_that_stops_lets_a_seam_be_made(two, patience, whole):
    p, a, b = two(CUT, GOOD + f"&first={1000 if whole else 9000}",
                  drain={"delay": "10ms", "timeout": patience})
    with Raw(p.port) as c:
        c.send(ASK)
        wait_for(lambda: b.attempts)
        p.process.send_signal(signal.SIGTERM)
        answer = c.answer()
    check_whole(answer) if whole else check_error_end(answer, SENT)
    assert p.wait() == 0


# -- what is told of it ----------------------------------------------------------------------------
def test_a_seam_is_told_in_comment_log_metrics_and_usage(two):
    p, a, b = two(CUT, GOOD + "&turn=repeats")
    answer = p.chat(stream=True, stream_options={"include_usage": True}, headers={"x-request-id": "seam-1"})
    check_whole(answer)
    sent = len(SENT.encode())
    assert seams(answer) == [{"from": "a/model-a", "to": "b/model-b", "reason": "truncated", "way": "turn",
                              "at": str(sent), "output_tokens": f"~{sent // 4}"}]
    models = [c["model"] for c in answer.chunks]
    assert models == sorted(models) and set(models) == {"model-a", "model-b"}
    assert answer.header("x-holdfast-provider") == "a" and answer.header("x-holdfast-attempts") == "1"

    said = b.attempts[0].json
    assert said["stream_options"] == {"include_usage": True}
    output = len(story.pieces(story.answer_to(said, "repeats")))
    usage = [c["usage"] for c in answer.chunks if c.get("usage")]
    assert [(u["prompt_tokens"], u["completion_tokens"]) for u in usage] == [(11, sent // 4 + output)]

    line, = wait_for(lambda: [r for r in p.log_lines() if r.get("id") == "seam-1"])
    assert line["outcome"] == "ok" and line["provider"] == "b"
    assert [(t["target"], t["outcome"]) for t in line["attempts"]] == [
        ("a/model-a", "truncated"), ("b/model-b", "ok")]
    assert line["output_tokens"] == sent // 4 + output

    assert p.metric("holdfast_midstream_total", result="continued") == 1
    assert p.metric("holdfast_midstream_total") == 1
    assert p.metric("holdfast_failovers_total", reason="truncated") == 1
    assert p.metric("holdfast_attempts_total", provider="a", outcome="truncated") == 1
    assert p.metric("holdfast_attempts_total", provider="b", outcome="ok") == 1
    assert p.metric("holdfast_tokens_total", provider="b", kind="output") == output


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_the_tokens_of_a_broken_answer_are_counted_as_far_as_they_are_known(two, kind):
    """Anthropic names them at the end; what its first event says is no count of what came."""
    p, a, b = two(CUT, GOOD, more={"A": {"type": kind}})
    answer = p.chat(stream=True, max_tokens=100, stream_options={"include_usage": True})
    check_whole(answer)
    usage = next(c["usage"] for c in answer.chunks if c.get("usage"))
    assert usage["prompt_tokens"] == 22 and usage["completion_tokens"] >= 20 + 60
    assert b.attempts[0].json["max_tokens"] <= 80
    assert [p.metric("holdfast_tokens_total", provider=n, kind="input") for n in "ab"] == [11, 11]


def test_at_two_seams_each_token_is_counted_once(two):
    prefill = {"carry_on": "prefill"}
    p, a, b, c = two(CUT, GOOD + "&cut=35", GOOD, more={"B": prefill, "C": prefill})
    answer = p.chat(stream=True, stream_options={"include_usage": True})
    check_whole(answer)
    assert [s["way"] for s in seams(answer)] == ["prefill"] * 2
    usage = next(x["usage"] for x in answer.chunks if x.get("usage"))
    assert usage["prompt_tokens"] == 11 and 60 <= usage["completion_tokens"] <= len(TEXT.encode()) // 4


def test_a_restart_counts_as_aligned(two):
    p, a, b = two(CUT, GOOD)
    answer = p.chat(stream=True)
    assert [s["way"] for s in seams(answer)] == ["align"]
    assert p.metric("holdfast_midstream_total", result="aligned") == 1


# -- many ------------------------------------------------------------------------------------------
@pytest.mark.tsan
def test_two_workers_carry_many_answers_on_at_once(two):
    p, a, b, c = two("canonical?gap=1&cut=20", "canonical?gap=1&cut=40", "canonical?gap=1", workers=2,
                     breaker=CALM, retry_budget={"ratio": 1, "capacity": 1000},
                     timeouts={"first_token": "5s", "idle": "5s"})
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: p.chat(stream=True), range(48)))
    for answer in answers:
        check_whole(answer)
        assert [s["to"] for s in seams(answer)] in (["b/model-b", "c/model-c"], ["c/model-c"])
    assert p.metric("holdfast_midstream_total", result="error") == 0
    assert p.metric("holdfast_in_flight") == 0


# -- at random -------------------------------------------------------------------------------------
GOES_ON = ["", "&turn=repeats", "&turn=quotes", "&prefill=ignored", "&prefill=refused&turn=repeats", "&echo=30"]


@dataclass
class Case:
    """A text, in pieces, cut at some byte of the stream's body; and what the fallback makes of it."""
    text: str
    first: str
    second: str
    cooperative: bool
    way: str
    voices: tuple


def case_of(seed):
    """Every third fallback is of no use: it has its own words, as far as anybody could see that. One that
    is known to take a beginning in may go on with it in its own words."""
    chance = random.Random(f"carry on {seed}")
    which = chance.choice(["story", f"{seed}/{chance.choice((1, 2, 5, 20))}"])
    text = story.text_of(which)
    size = chance.choice([0, 0, 3, 7, 40, 500])
    voices = tuple(chance.choice(KINDS) for _ in "12")
    length = sum(len(p.encode()) + 150 for p in story.pieces(text, size))
    good = chance.random() < 0.67
    how = chance.choice(GOES_ON)
    way = chance.choice(["prefill", "turn", "align"])
    if way == "prefill" and not good:
        how = "&prefill=refused"
    other = which if good else chance.choice(["other", f"{seed}x/5"])
    return Case(text, f"canonical?gap=0&text={which}&size={size}&bytes={chance.randrange(1, length)}",
                f"canonical?gap=0&text={other}&size={chance.choice([0, 5, 64])}{how}",
                good, way, voices)


N_CASES, N_AT_ONCE = 300, 8


def test_cut_at_any_byte_the_text_is_exact_or_the_error_true(upstream, holdfast, figure):
    cases = [case_of(seed) for seed in range(N_CASES)]
    a = upstream("A", models={f"first-{i}": c.first for i, c in enumerate(cases)})
    b = upstream("B", models={f"second-{i}": c.second for i, c in enumerate(cases)})
    names = {f"{kind}-{way}-{n}": {"type": kind, "base_url": u.base_url, "api_key": "sk-x", "carry_on": way}
             for kind in KINDS for way in ("prefill", "turn", "align") for n, u in (("1", a), ("2", b))}
    p = holdfast(a, providers=names, failover=DEFAULT, breaker=CALM,
                 retry_budget={"ratio": 1, "capacity": 100000},
                 timeouts={"connect": "5s", "first_token": "20s", "idle": "20s", "total": "60s"},
                 routes=[{"model": f"case-{i}", "targets": [f"{c.voices[0]}-{c.way}-1/first-{i}",
                                                            f"{c.voices[1]}-{c.way}-2/second-{i}"]}
                         for i, c in enumerate(cases)])
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        answers = list(pool.map(lambda i: p.chat(f"case-{i}", True, timeout=60), range(N_CASES)))
    kept = 0
    for i, (c, answer) in enumerate(zip(cases, answers)):
        if not seams(answer) and answer.error is None:  # nobody's words but those of one
            check_whole(answer, c.text if {m["model"] for m in answer.chunks} == {f"first-{i}"} else
                        story.text_of(c.second.split("text=")[1].split("&")[0]))
        elif answer.error is None:
            check_whole(answer, c.text)
        else:
            assert answer.status == 200, (i, c, answer.body)
            assert c.text.startswith(answer.text) and answer.end == "aborted" and answer.done == 0, (i, c)
        kept += c.cooperative and answer.error is None
    good = sum(c.cooperative for c in cases)
    figure(f"carried on: {kept} of {good} answers whose second target knew the text")
    assert kept > 0.9 * good
