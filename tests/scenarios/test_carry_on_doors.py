"""Answers that are carried on, as clients of each dialect see them: test_carry_on.py tells the story of
chat completions, here are the other doors, and providers of all four dialects behind each."""
import json
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

import test_door_anthropic as messages
import test_door_gemini as google
import test_door_responses as responses
from client import Raw, request_bytes
from faultd import story
from test_carry_on import CUT, DEFAULT, GOOD, SENT, TEXT, ways
from test_conformance import CALM

KINDS = ("openai", "responses", "anthropic", "gemini")
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses",
         "google": "/v1beta/models/{}:streamGenerateContent?alt=sse"}
BODIES = {"chat": {"messages": messages.HELLO}, "messages": {"messages": messages.HELLO, "max_tokens": 999},
          "responses": {"input": "hello"}, "google": google.HELLO}
HEADERS = messages.VERSION | {"x-goog-api-key": "any"}


def account(kind, server, way):
    return {"type": "openai" if kind == "responses" else kind, "base_url": server.base_url, "api_key": "sk-x",
            "carry_on": way, **({"dialect": "responses"} if kind == "responses" else {})}


def ask(port, door, model):
    """A streamed answer."""
    body = BODIES[door] | ({} if door == "google" else {"model": model, "stream": True})
    with Raw(port, timeout=30) as c:
        c.send(request_bytes("POST", PATHS[door].format(model), json.dumps(body).encode(), HEADERS))
        return c.answer()


def whole_text(door, answer):
    """The text of a complete answer, read as strictly as this door's own tests do."""
    assert (answer.status, answer.end) == (200, "complete"), answer.body[-500:]
    if door == "chat":
        assert answer.done == 1 and answer.error is None
        return answer.text
    if door == "messages":
        message = messages.message_of(answer)
        assert message["stop_reason"] == "end_turn" and len(message["content"]) == 1
        return messages.text_of(message)
    if door == "responses":
        response = responses.response_of(answer)
        assert responses.order_of(responses.events_of(answer)) == responses.OF_TEXT
        assert response["status"] == "completed" and response["usage"]["output_tokens"] > 0
        return responses.text_of(response)
    found = google.fragments(answer)
    assert google.finish_of(found) == ["STOP"] and len({f["responseId"] for f in found}) == 1
    return google.text_of(found)


def broken_text(door, answer):
    """The text before a true error: told in this dialect, as the last thing, and the connection breaks."""
    assert (answer.status, answer.end) == (200, "aborted"), answer.body[-500:]
    if door == "chat":
        assert answer.done == 0 and "error" in answer.chunks[-1]
        return answer.text
    if door == "messages":
        events = messages.events(answer)
        assert events[-1][0] == "error" and all(n not in ("message_delta", "message_stop") for n, _ in events)
        return "".join(d["delta"].get("text", "") for n, d in events if n == "content_block_delta")
    if door == "responses":
        events = responses.events_of(answer)
        assert events[-1][0] == "response.failed" and all(n != "response.completed" for n, _ in events)
        return "".join(d["delta"] for n, d in events if n == "response.output_text.delta")
    found = google.fragments(answer)
    assert "error" in found[-1] and google.finish_of(found) == []
    return google.text_of(found)


PAIRS = [(x, y) for x in KINDS for y in KINDS]


def start(holdfast, a, b, way, routes):
    """The proxy before providers of each kind at both; routes: (name, (kind, model), (kind, model))."""
    names = {f"{k}{n}": account(k, u, way) for k in KINDS for n, u in ((1, a), (2, b))}
    return holdfast(
        a, providers=names, failover=DEFAULT, breaker=CALM, retry_budget={"ratio": 1, "capacity": 100000},
        timeouts={"first_token": "20s", "idle": "20s", "total": "60s"},
        routes=[{"model": name, "targets": [f"{x[0]}1/{x[1]}", f"{y[0]}2/{y[1]}"]} for name, x, y in routes])


def of_pairs():
    return [(f"{x}-{y}", (x, "first"), (y, "second")) for x, y in PAIRS]


@pytest.mark.parametrize("way", ["prefill", "turn", "align"])
@pytest.mark.parametrize("door", PATHS)
def test_each_door_reads_what_two_providers_made(upstream, holdfast, door, way):
    a, b = upstream("A", default=CUT), upstream("B", default=GOOD + "&turn=repeats")
    p = start(holdfast, a, b, way, of_pairs())
    for x, y in PAIRS:
        b.clear_log()
        answer = ask(p.port, door, f"{x}-{y}")
        assert whole_text(door, answer) == TEXT, (x, y)
        assert ways(b) == ["plain" if way == "align" else way], (x, y)
        assert (b"\n: holdfast seam from=" in answer.body) == (door != "google"), "it has no comments"


@pytest.mark.parametrize("door", PATHS)
def test_each_door_tells_the_true_error_where_nobody_can_go_on(upstream, holdfast, door):
    a, b = upstream("A", default=CUT), upstream("B", default=GOOD + "&text=other")
    p = start(holdfast, a, b, "turn", of_pairs())
    for x, y in PAIRS:
        answer = ask(p.port, door, f"{x}-{y}")
        assert broken_text(door, answer) == SENT, (x, y)


def case_of(seed):
    """(text, scripts of the first and of the second): cut at some byte."""
    chance = random.Random(f"door {seed}")
    which = f"{seed}/{chance.choice((1, 3, 10))}"
    text, size = story.text_of(which), chance.choice([0, 5, 40])
    length = sum(len(p.encode()) + 150 for p in story.pieces(text, size))
    known = f"canonical?gap=0&text={which}"
    return (text, f"{known}&size={size}&bytes={chance.randrange(1, length)}",
            f"{known}&size={chance.choice([0, 9])}" + chance.choice(["", "&turn=repeats", "&turn=quotes"]))


@pytest.mark.parametrize("door", PATHS)
def test_cut_at_any_byte_each_door_gets_the_exact_text_or_the_true_error(upstream, holdfast, door):
    cases = [case_of(f"{door}{i}") for i in range(64)]
    a = upstream("A", models={f"first-{i}": c[1] for i, c in enumerate(cases)})
    b = upstream("B", models={f"second-{i}": c[2] for i, c in enumerate(cases)})
    kinds = [PAIRS[i % len(PAIRS)] for i in range(len(cases))]
    p = start(holdfast, a, b, "turn", [(f"case-{i}", (x, f"first-{i}"), (y, f"second-{i}"))
                                       for i, (x, y) in enumerate(kinds)])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: ask(p.port, door, f"case-{i}"), range(len(cases))))
    whole = 0
    for (text, *scripts), kind, answer in zip(cases, kinds, answers):
        if answer.end == "complete":
            assert whole_text(door, answer) == text, (kind, scripts)
            whole += 1
        else:
            assert text.startswith(broken_text(door, answer))
    assert whole > 0.9 * len(cases)
