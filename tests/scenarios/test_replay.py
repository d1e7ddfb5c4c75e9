"""Clients who lose their own connection: a retry finds the answer, a stream goes on where it was.

The rows C06 and C07 of the fault matrix.
"""
import hashlib
import re
import time
from urllib.parse import quote

import pytest

from client import Raw, chat_body, http_get, request_bytes, wait_for
from faultd import bodies, scripts

PATIENT = {"first_token": "20s", "answer": "20s", "idle": "20s", "total": "30s"}
RESUME = {"resume": "on"}
KEY = {"Idempotency-Key": "7f0d-try"}
PATH = "/v1/chat/completions"
LONG = "ok?big=100000&body=" + quote(bodies.dump(bodies.completion("m", "x" * 100001, 9)).decode())


def ask(proxy, headers=KEY, stream=True, **body):
    """A connection on which the request has been sent."""
    c = Raw(proxy.port)
    c.send(request_bytes("POST", PATH, chat_body(stream=stream, **body), headers))
    return c


def resume(proxy, stream, last=None, headers=()):
    c = Raw(proxy.port)
    c.send(request_bytes("GET", f"/v1/streams/{stream}",
                         headers=dict(headers) | ({"Last-Event-ID": last} if last else {})))
    return c


def see(c, text):
    wait_for(lambda: text in c.buffer or not c.fill(c.sent_at + 30))
    assert text in c.buffer, c.buffer


def kept(proxy):
    return proxy.metric("holdfast_kept_answers")


def ids_of(body):
    return re.findall(rb"^id: ([0-9a-f]{32}-\d+)$", body, re.M)


def without_ids(body):
    return re.sub(rb"^id: [0-9a-f]{32}-\d+\n", b"", body, flags=re.M)


def same_but_for_the_id(a, b):
    """Status, body, and every header line, in order."""
    mine = [h for h in a.headers if h[0] not in ("x-request-id", "content-length")]
    his = [h for h in b.headers if h[0] not in ("x-request-id", "content-length",
                                                "x-holdfast-replayed")]
    assert b.header("x-holdfast-replayed") == "true" and a.header("x-holdfast-replayed") is None
    assert (a.status, a.body, mine) == (b.status, b.body, his)
    assert [k for k, _ in b.headers].count("x-request-id") == 1
    assert a.header("x-request-id") != b.header("x-request-id")


# -- the same key ------------------------------------------------------------------------------
@pytest.mark.tsan
@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_after_the_end_gets_the_same_answer(upstream, holdfast, stream):
    a = upstream("A", default="ok?head=x-ratelimit-limit-tokens: 5")
    p = holdfast(a)
    first, second = p.chat(stream=stream, headers=KEY), p.chat(stream=stream, headers=KEY)
    assert first.text.startswith("A:") and first.header("x-ratelimit-limit-tokens") == "5"
    same_but_for_the_id(first, second)
    assert second.end == "complete" and len(a.attempts) == 1
    assert p.metric("holdfast_replays_total", by="key") == 1
    assert p.metric("holdfast_requests_total", outcome="ok") == 2
    wait_for(lambda: p.stderr.count('"exchange"') == 2)
    before, line = (x for x in p.log_lines() if x["msg"] == "exchange")
    assert (line["replayed"], line["outcome"], line["attempts"]) == ("key", "ok", [])
    assert line["answer_bytes"] == len(first.body) and "replayed" not in before


@pytest.mark.tsan
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stream", [False, True])
def test_c07_many_at_once_are_one_call(upstream, holdfast, stream, workers):
    a = upstream("A", default="ok?first=300&gap=20&tokens=12")
    p = holdfast(a, timeouts=PATIENT, workers=workers)
    clients = [ask(p, stream=stream) for _ in range(8)]
    answers = [c.answer() for c in clients]
    assert len(a.attempts) == 1
    assert [x.header("x-holdfast-replayed") for x in answers].count(None) == 1
    assert all(x.end == "complete" and x.body == answers[0].body for x in answers)
    assert answers[0].text == "A:" + "".join(f" word{i}" for i in range(1, 12))


@pytest.mark.tsan
@pytest.mark.parametrize("workers", [1, 2])
def test_a_retry_joins_the_running_stream_and_follows_it_live(upstream, holdfast, workers):
    a = upstream("A", default="ok?gap=300&tokens=12")
    p = holdfast(a, timeouts=PATIENT, workers=workers)
    with ask(p) as first:
        see(first, b"word2")
        second = ask(p).answer()
        whole = first.answer()
    same_but_for_the_id(whole, second)
    times = [t for t, _ in second.pieces]
    assert len(times) > 4 and times[-1] > times[0] + 1, "as it comes, not at the end"
    assert len(a.attempts) == 1


@pytest.mark.tsan
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_dies_and_comes_back_finds_its_answer(upstream, holdfast, stream):
    a = upstream("A", default="ok?first=300&gap=30&tokens=10")
    p = holdfast(a, timeouts=PATIENT)
    with ask(p, stream=stream):
        wait_for(lambda: a.attempts)
    answer = p.chat(stream=stream, headers=KEY)
    assert answer.text.startswith("A:") and answer.end == "complete"
    assert answer.header("x-holdfast-replayed") == "true"
    assert len(a.attempts) == 1 and a.attempts[0].ended not in ("peer", "peer_reset")


def test_it_goes_on_in_the_middle_of_a_stream_too_and_a_slow_client_held_nothing_back(upstream,
                                                                                     holdfast):
    """40 MiB would be held back for a client that does not read; for nobody they are not."""
    a = upstream("A", default="replay")
    a.recording = [scripts.event(bodies.chunk("model-a", {"content": "x" * 65536}))] * 400 + [
        scripts.event(bodies.chunk("model-a", {}, "stop")), scripts.event(scripts.DONE)]
    p = holdfast(a, timeouts=PATIENT, replay={"answer": "64MiB", "memory": "100MiB"})
    with ask(p):
        seen = -1
        wait_for(lambda: a.attempts)
        while seen != a.attempts[0].sent:  # until nothing moves any more
            seen = a.attempts[0].sent
            time.sleep(0.3)
        assert seen < len(b"".join(a.recording))
    answer = p.chat(stream=True, headers=KEY)
    assert answer.body == b"".join(a.recording) and len(a.attempts) == 1


@pytest.mark.tsan
@pytest.mark.parametrize("stream", [False, True])
def test_a_large_kept_answer_reaches_a_slow_reader_whole(upstream, holdfast, stream):
    a = upstream("A", default="replay")
    a.recording = [scripts.event(bodies.chunk("model-a", {"content": "x" * 65536}))] * 400 + [
        scripts.event(bodies.chunk("model-a", {}, "stop")), scripts.event(scripts.DONE)]
    if not stream:
        a.recording = [bodies.dump(bodies.completion("m", "x" * 13000000, 9))]
        a.default = "replay?content_type=application/json"
    p = holdfast(a, timeouts=PATIENT, replay={"answer": "64MiB", "memory": "100MiB"},
                 limits={"answer_body": "1MiB" if stream else "64MiB"})
    first = p.chat(stream=stream, headers=KEY)
    with ask(p, stream=stream) as c:
        time.sleep(0.5)  # what fits into the kernel's buffers is there, and then nothing moves
        second = c.answer()
    assert second.body == first.body and second.end == "complete" and len(a.attempts) == 1


def test_without_a_key_nothing_is_kept(upstream, holdfast):
    a = upstream("A", default="hang")
    p = holdfast(a, timeouts=PATIENT)
    with ask(p, headers=()):
        wait_for(lambda: a.attempts)
        assert kept(p) == 0
    wait_for(lambda: a.attempts[0].ended in ("peer", "peer_reset"))


def test_c07_another_request_with_the_key_is_refused(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a)
    p.chat(headers=KEY)
    for other in (p.chat(headers=KEY, temperature=0.5), p.chat(headers=KEY, stream=True)):
        assert other.status == 422 and other.error["code"] == "idempotency_key_reused"
        assert other.header("x-should-retry") == "false"
    assert p.chat(headers={"Idempotency-Key": "another"}).status == 200
    assert len(a.attempts) == 2


def test_a_key_is_a_client_s_own(upstream, holdfast):
    a = upstream("A")
    clients = [{"name": n, "key_sha256": hashlib.sha256(n.encode()).hexdigest()} for n in "xy"]
    p = holdfast(a, clients=clients, routes=[{"model": "*", "targets": ["a/x"]}])
    p.probe = None  # it has no key
    for name in ("x", "y"):
        mine = KEY | {"Authorization": f"Bearer {name}"}
        assert p.chat(headers=mine).header("x-holdfast-replayed") is None
        assert p.chat(headers=mine).header("x-holdfast-replayed") == "true"
    assert len(a.attempts) == 2


def test_where_no_keys_are_asked_for_those_who_show_different_ones_stay_apart(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a)
    for shown in ({}, {"x-api-key": "one"}, {"Authorization": "Bearer two"}):
        assert p.chat(headers=KEY | shown).header("x-holdfast-replayed") is None
    assert p.chat(headers=KEY | {"x-api-key": "two"}).header("x-holdfast-replayed") == "true"
    assert len(a.attempts) == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", ["status?code=500", "status?code=400", "cut?after=3&how=eof"])
def test_a_failed_answer_is_not_kept(upstream, holdfast, stream, script):
    a = upstream("A", queue=[script], default="ok")
    p = holdfast(a, failover={"max_attempts": 1, "per_target": 1}, stream={"midstream": "error"})
    first = p.chat(stream=stream, headers=KEY)
    assert first.error and kept(p) == 0
    second = p.chat(stream=stream, headers=KEY)
    assert second.text.startswith("A:") and second.header("x-holdfast-replayed") is None
    assert len(a.attempts) == 2


@pytest.mark.parametrize("stream,script,status,end", [
    (True, "cut?after=3&how=stall", 200, "aborted"), (True, "hang", 504, "complete"),
    (False, "hang", 504, "complete")])
def test_who_waits_for_an_answer_that_fails_gets_the_failure(upstream, holdfast, stream, script,
                                                             status, end):
    a = upstream("A", queue=[script], default="ok")
    p = holdfast(a, failover={"max_attempts": 1, "per_target": 1}, stream={"midstream": "error"},
                 timeouts={"first_token": "1500ms", "answer": "1500ms", "idle": "1500ms"})
    clients = [ask(p, stream=stream) for _ in range(3)]
    answers = [c.answer() for c in clients]
    assert len(a.attempts) == 1
    for x in answers:
        assert (x.status, x.end, x.body) == (status, end, answers[0].body) and x.error
    wait_for(lambda: kept(p) == 0)
    assert p.chat(stream=stream, headers=KEY).text.startswith("A:")


@pytest.mark.tsan
def test_after_its_time_a_key_is_new(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a, replay={"ttl": "3s"})
    p.chat(headers=KEY)
    assert kept(p) == 1 and p.status()["kept_answers"] == 1
    wait_for(lambda: kept(p) == 0)
    assert p.metric("holdfast_kept_answer_bytes") == 0
    assert p.chat(headers=KEY).header("x-holdfast-replayed") is None
    assert len(a.attempts) == 2


@pytest.mark.tsan
def test_a_generation_that_nobody_comes_back_for_ends(upstream, holdfast):
    a = upstream("A", default="hang")
    p = holdfast(a, timeouts=PATIENT, replay={"ttl": "3s"})
    with ask(p):
        wait_for(lambda: a.attempts)
    time.sleep(0.3)
    assert not a.attempts[0].ended
    wait_for(lambda: a.attempts[0].ended in ("peer", "peer_reset"))
    wait_for(lambda: p.in_flight() == 0 and kept(p) == 0)
    assert p.metric("holdfast_requests_total", outcome="client_gone") == 1


def test_an_answer_longer_than_what_is_kept_still_reaches_its_client_and_is_not_found(upstream,
                                                                                     holdfast):
    a = upstream("A", default=LONG)
    p = holdfast(a, replay={"answer": "64KiB"})
    for stream in (False, True):
        for _ in range(2):
            answer = p.chat(stream=stream, headers={"Idempotency-Key": f"k{stream}"})
            assert answer.end == "complete" and len(answer.text) > 100000
            assert answer.header("x-holdfast-replayed") is None
    assert len(a.attempts) == 4 and kept(p) == 0


def test_all_together_stay_below_the_cap_and_the_oldest_make_room(upstream, holdfast):
    a = upstream("A", default=LONG)
    p = holdfast(a, replay={"memory": "1MiB"})
    for n in range(20):
        p.chat(headers={"Idempotency-Key": f"k{n}"})
        assert 0 < p.metric("holdfast_kept_answer_bytes") <= 1 << 20
    assert p.chat(headers={"Idempotency-Key": "k19"}).header("x-holdfast-replayed") == "true"
    assert p.chat(headers={"Idempotency-Key": "k0"}).header("x-holdfast-replayed") is None
    assert len(a.attempts) == 21


def test_it_can_be_switched_off(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a, replay={"memory": "off"})
    for _ in range(2):
        assert p.chat(headers=KEY).header("x-holdfast-replayed") is None
    assert len(a.attempts) == 2 and kept(p) == 0


def test_providers_do_not_see_the_key(upstream, holdfast):
    a = upstream("A")
    holdfast(a).chat(headers=KEY)
    assert a.attempts[0].header("idempotency-key") is None


def test_a_key_without_measure_is_refused(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a)
    assert p.chat(headers={"Idempotency-Key": "k" * 255}).status == 200
    answer = p.chat(headers={"Idempotency-Key": "k" * 256})
    assert answer.status == 400 and answer.error["param"] == "Idempotency-Key"


# -- streams that are taken up again -----------------------------------------------------------
@pytest.mark.tsan
@pytest.mark.parametrize("workers", [1, 2])
def test_c06_behind_every_event_the_rest_makes_the_stream_whole(upstream, holdfast, workers):
    a = upstream("A", default="ok?tokens=6")
    p = holdfast(a, stream=RESUME, workers=workers)
    whole = p.chat(stream=True)
    stream, ids = whole.header("x-holdfast-stream"), ids_of(whole.body)
    assert len(ids) == len(whole.data) and whole.text.startswith("A: word1")
    assert ids == [f"{stream}-{n}".encode() for n in range(1, len(ids) + 1)]
    for last in [None, *ids]:
        rest = resume(p, stream, last.decode() if last else None).answer()
        at = whole.body.index(last) if last else 0
        got = whole.body[:whole.body.index(b"\n\n", at) + 2] if last else b""
        assert (rest.status, got + rest.body, rest.end) == (200, whole.body, "complete")
        assert rest.header("content-type") == "text/event-stream"
    assert len(a.attempts) == 1
    assert p.metric("holdfast_replays_total", by="stream") == len(ids) + 1


def test_but_for_the_ids_the_bytes_are_untouched(upstream, holdfast):
    a = upstream("A", default="ok?tokens=4&space=0&crlf=1")
    p, plain = holdfast(a, stream=RESUME), holdfast(a)
    assert without_ids(p.chat(stream=True).body) == plain.chat(stream=True).body
    assert plain.chat(stream=True).header("x-holdfast-stream") is None


@pytest.mark.tsan
@pytest.mark.parametrize("workers", [1, 2])
def test_c06_a_cut_connection_goes_on_live(upstream, holdfast, workers):
    a = upstream("A", default="ok?gap=200&tokens=15")
    p = holdfast(a, timeouts=PATIENT, stream=RESUME, workers=workers)
    with ask(p, headers=()) as c:
        see(c, b"word4")
        stream = re.search(rb"x-holdfast-stream: (\w+)", c.buffer)[1].decode()
        last = ids_of(c.buffer)[-1].decode()
    rest = resume(p, stream, last).answer()
    assert rest.end == "complete" and rest.done == 1
    assert rest.pieces[-1][0] - rest.pieces[0][0] > 0.3, "as it comes"
    number = int(last.rpartition("-")[2])
    assert ids_of(rest.body)[0] == f"{stream}-{number + 1}".encode()
    assert rest.text.endswith("word14") and len(a.attempts) == 1


def test_several_cuts_one_after_the_other(upstream, holdfast):
    a = upstream("A", default="ok?gap=40&tokens=20")
    p = holdfast(a, timeouts=PATIENT, stream=RESUME)
    with ask(p, headers=()) as c:
        see(c, b"word2")
        stream = re.search(rb"x-holdfast-stream: (\w+)", c.buffer)[1].decode()
        last = ids_of(c.buffer)[-1].decode()
    for word in (b"word7", b"word12"):
        with resume(p, stream, last) as c:
            see(c, word)
            last = ids_of(c.buffer)[-1].decode()
    rest = resume(p, stream, last).answer()
    assert rest.text.endswith("word19") and rest.done == 1 and len(a.attempts) == 1


def test_c06_what_is_not_there_is_gone(upstream, holdfast):
    a = upstream("A", queue=["ok?big=300000", "ok", "cut?after=3&how=eof"])
    p = holdfast(a, stream=RESUME | {"midstream": "error"}, replay={"ttl": "6s", "answer": "64KiB"})
    long, short, broken = p.chat(stream=True), p.chat(stream=True), p.chat(stream=True)
    assert long.done == 1 and broken.end == "aborted"

    def gone(stream, last):
        answer = resume(p, stream, last).answer()
        return (answer.status, answer.error["code"]) == (410, "stream_gone")
    stream = long.header("x-holdfast-stream")
    assert gone(stream, None) and gone(stream, f"{stream}-1"), "a gap"
    assert resume(p, stream, ids_of(long.body)[-2].decode()).answer().done == 1, "its last part"
    stream = short.header("x-holdfast-stream")
    assert gone(stream, f"{stream}-99"), "an event that never was"
    assert gone("0123456789abcdef" * 2, None), "unknown"
    stream = broken.header("x-holdfast-stream")
    assert gone(stream, f"{stream}-1"), "it has ended in an error"
    wait_for(lambda: kept(p) == 0)
    stream = short.header("x-holdfast-stream")
    assert gone(stream, f"{stream}-1"), "over its time"


def test_c06_another_client_s_stream_is_not_found(upstream, holdfast):
    a = upstream("A")
    clients = [{"name": n, "key_sha256": hashlib.sha256(n.encode()).hexdigest()} for n in "xy"]
    p = holdfast(a, clients=clients, stream=RESUME)
    p.probe = None
    x, y = ({"Authorization": f"Bearer {n}"} for n in "xy")
    stream = p.chat(stream=True, headers=x).header("x-holdfast-stream")
    assert resume(p, stream, None, x).answer().status == 200
    assert resume(p, stream, None, {"x-api-key": "x"}).answer().status == 200
    answer = resume(p, stream, f"{stream}-1", y).answer()
    assert answer.status == 404 and answer.error["code"] == "not_found"
    assert resume(p, stream).answer().status == 401


@pytest.mark.parametrize("stream,last", [
    ("abc", None), ("g" * 32, None), ("0" * 33, None), ("0" * 32 + "/x", None),
    ("0" * 32, "7"), ("0" * 32, "1" * 32 + "-7"), ("0" * 32, "0" * 32 + "-"),
    ("0" * 32, "0" * 32 + "--1"), ("0" * 32, "0" * 32 + "-99999999999999999999999")])
def test_what_is_no_id_is_a_bad_request(upstream, holdfast, stream, last):
    p = holdfast(upstream("A"), stream=RESUME)
    assert resume(p, stream, last).answer().status == 400


def test_streams_cannot_be_taken_up_again_unless_that_is_switched_on(upstream, holdfast):
    a = upstream("A", default="ok?gap=50&tokens=200")
    p = holdfast(a, timeouts=PATIENT)
    with ask(p, headers=()) as c:
        see(c, b"word2")
        assert b"x-holdfast-stream" not in c.buffer and not ids_of(c.buffer)
    wait_for(lambda: a.attempts[0].ended in ("peer", "peer_reset"))
    assert resume(p, "0" * 32).answer().status == 404
    assert http_get(p.port, "/v1/streams/" + "0" * 32, method="HEAD")[0] == 405


def test_a_key_and_a_stream_s_id_lead_to_the_same_answer(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a, stream=RESUME)
    first = p.chat(stream=True, headers=KEY)
    second = p.chat(stream=True, headers=KEY)
    same_but_for_the_id(first, second)
    stream = first.header("x-holdfast-stream")
    assert second.header("x-holdfast-stream") == stream
    assert resume(p, stream).answer().body == first.body
    assert len(a.attempts) == 1


def test_a_translated_stream_has_ids_too(upstream, holdfast):
    a = upstream("A")
    p = holdfast({"type": "anthropic", "base_url": a.base_url.removesuffix("/v1"), "api_key": "k"},
                 stream=RESUME)
    whole = p.chat(stream=True)
    ids = ids_of(whole.body)
    assert whole.text.startswith("A:") and len(ids) == len(whole.data)
    rest = resume(p, whole.header("x-holdfast-stream"), ids[1].decode()).answer()
    assert whole.body.endswith(rest.body) and len(rest.data) == len(ids) - 2


@pytest.mark.tsan
def test_a_stream_that_another_target_carries_on_can_be_taken_up_again_around_the_place(upstream,
                                                                                       holdfast):
    a, b = upstream("A", default="cut?after=4"), upstream("B", default="ok?gap=40")
    a.name = b.name = "A"  # they say the same
    p = holdfast(a, b, timeouts=PATIENT, stream=RESUME)
    with ask(p) as c:
        see(c, b"word1")
        stream = re.search(rb"x-holdfast-stream: (\w+)", c.buffer)[1].decode()
        whole = c.answer()
    assert whole.text == "A: word1 word2 word3 word4" and whole.done == 1 and len(b.attempts) == 1
    ids = ids_of(whole.body)
    assert ids == [f"{stream}-{n}".encode() for n in range(1, len(ids) + 1)]
    for last in ids:
        rest = resume(p, stream, last.decode()).answer()
        assert whole.body.endswith(rest.body) and rest.end == "complete"
        assert len(ids_of(rest.body)) == len(ids) - ids.index(last) - 1
    assert p.chat(stream=True, headers=KEY).body == whole.body and len(a.attempts) == 1


def test_comments_are_no_events(upstream, holdfast):
    """Once there is an id, an SDK takes a comment with an empty line behind it for an event."""
    a = upstream("A", default="ok?first=3000&comments=1")
    p = holdfast(a, timeouts=PATIENT, stream=RESUME | {"heartbeat_after": "1s"})
    answer = p.chat(stream=True)
    assert b": keep-alive\n" in answer.body and b"between" in answer.body
    for block in answer.body.split(b"\n\n"):
        assert not block or b"data:" in block, block
    assert answer.text.startswith("A: word1") and answer.done == 1


def test_the_python_sdk_reads_a_stream_with_ids(upstream, holdfast):
    openai = pytest.importorskip("openai", reason="the openai package is not installed")
    a = upstream("A", default="ok?first=3000&comments=1")
    p = holdfast(a, timeouts=PATIENT, stream=RESUME | {"heartbeat_after": "1s"})
    sdk = openai.OpenAI(base_url=f"http://127.0.0.1:{p.port}/v1", api_key="any", max_retries=0)
    got = list(sdk.chat.completions.create(model="m", stream=True,
                                           messages=[{"role": "user", "content": "hello"}]))
    assert "".join(c.choices[0].delta.content or "" for c in got
                   if c.choices) == "A: word1 word2 word3 word4"


# -- the end of the program --------------------------------------------------------------------
@pytest.mark.tsan
def test_answers_without_a_client_do_not_hold_up_the_end(upstream, holdfast):
    a = upstream("A", default="hang")
    p = holdfast(a, timeouts=PATIENT, workers=2)
    for n in range(4):
        with ask(p, {"Idempotency-Key": f"k{n}"}):
            wait_for(lambda: len(a.attempts) == n + 1)
    started = time.monotonic()
    p.stop()
    assert time.monotonic() - started < 8


@pytest.mark.tsan
def test_who_follows_at_the_end_of_the_program_gets_a_true_error(upstream, holdfast):
    a = upstream("A", default="ok?gap=100&tokens=200")
    p = holdfast(a, timeouts=PATIENT, workers=2, drain={"delay": "10ms", "timeout": "500ms"})
    with ask(p) as first:
        see(first, b"word2")
        followers = [ask(p) for _ in range(4)]
        for c in followers:
            see(c, b"word2")
        p.stop()
        for c in (first, *followers):
            answer = c.answer()
            assert answer.end == "aborted" and b"word2" in answer.body


@pytest.mark.tsan
def test_a_crowd_of_retries_and_leavers_on_several_workers(upstream, holdfast):
    a = upstream("A", default="ok?gap=10&tokens=30")
    p = holdfast(a, timeouts=PATIENT, workers=2, stream=RESUME)
    clients = []
    for n in range(40):
        clients.append((n, ask(p, {"Idempotency-Key": f"k{n % 5}"}, user=f"u{n % 5}")))
    for n, c in clients[::2]:
        c.sock.close()
    answers = [(n, c.answer()) for n, c in clients[1::2]]
    assert all(x.end == "complete" and x.done == 1 for _, x in answers)
    assert len(a.attempts) == 5
    for n in range(5):
        assert len({x.body for k, x in answers if k % 5 == n}) == 1
    assert len({x.header("x-holdfast-stream") for _, x in answers}) == 5
