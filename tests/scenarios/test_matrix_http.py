"""What a provider may answer over HTTP: the rows H of the fault matrix as whole stories.

Each symptom with its label, scope and client answer is a row of test_taxonomy.py; here is what
takes more than one request or more than one answer. Rows shown elsewhere:

  H03 H06 H07 H09  heads that lie          test_taxonomy.py E09, E11, E12; test_pool.py leftovers
  H08  too long, too short                 test_failover.py wrong_length
  H10 H11 H15  500, short 429              test_taxonomy.py E29, E27; 500 for ever here
  H12 H13 H21  CDN pages, overload, 403    test_taxonomy.py E30, E31, E20 to E22
  H16  Retry-After in all its forms        test_errors.py; Google's own here
  H19  a long burst of 401                 its rest of 30 s is longer than a test; target_test.c
  H20  one of two keys is refused          test_taxonomy.py E19
  H23 to H29                               test_taxonomy.py E15 to E17, E22, E25, E33, E34
  H34  a head, then comments for ever      test_timers.py, test_taxonomy.py E14
"""
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from client import in_time, wait_for
from faultd import bodies, voices
from test_taxonomy import NO_HEDGE, TOUCHY, TWICE, outcomes, tried
from test_wire import serve

PATIENT = {"first_token": "20s", "answer": "20s"}


@pytest.mark.tsan
@pytest.mark.parametrize("script", ["rst_before", "fin_before", "fin_in_head"])
def test_h01_h02_a_connection_lost_once(upstream, holdfast, script):
    a, b = upstream("A", queue=[script]), upstream("B")
    answer = holdfast(a, b, failover=TWICE).chat()
    assert outcomes(answer) == [("a/model-a", "reset"), ("a/model-a", "ok")]
    assert len(a.attempts) == 2 and b.attempts == []


@pytest.mark.parametrize("code", [599, 600, 999])
def test_h04_statuses_nobody_has_heard_of(upstream, holdfast, code):
    a, b = upstream("A", default=f"status?code={code}"), upstream("B")
    assert holdfast(a, b).chat().text.startswith("B:")


def peak_memory(proxy):
    """Bytes, the most that it ever had."""
    with open(f"/proc/{proxy.process.pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1]) * 1024


@pytest.mark.parametrize("script", ["huge_head", "bad200?kind=gzip_bomb"])
def test_h05_h31_floods_do_not_fill_the_memory(upstream, holdfast, script):
    """600 KiB of head, or 20 MiB out of a small gzip, again and again: neither kept nor unpacked."""
    a, b = upstream("A", default=script), upstream("B")
    p = holdfast(a, b, breaker=TOUCHY | {"consecutive": 1000})
    p.chat()
    before = peak_memory(p)
    for _ in range(8):
        assert p.chat().text.startswith("B:")
    assert peak_memory(p) - before < 80 << 20, "half of what was sent; sanitizers free late"
    assert len(a.attempts) == 9


def test_h11_a_500_for_ever_is_asked_a_few_times_and_then_not(upstream, holdfast):
    a, b = upstream("A", default="status?code=500"), upstream("B")
    p = holdfast(a, b, failover=TWICE, breaker=TOUCHY | {"consecutive": 5})
    answers = [p.chat() for _ in range(20)]
    assert all(x.text.startswith("B:") for x in answers)
    assert max(len(tried(x, "a/model-a")) for x in answers) <= 2
    assert len(a.attempts) == 5


@pytest.mark.parametrize("code", [503, 429, 529])
def test_h14_a_target_that_names_a_time_is_left_alone_until_then(upstream, holdfast, code):
    a = upstream("A", queue=[f"status?code={code}&retry_after=120"])
    b = upstream("B")
    p = holdfast(a, b, failover=TWICE)
    assert all(p.chat().text.startswith("B:") for _ in range(6))
    assert len(a.attempts) == 1


def test_h16_google_s_own_way_to_name_a_time(upstream, holdfast):
    a = upstream("A", default="replay?status=429&content_type=application/json")
    a.recording = [bodies.dump({"error": {
        "code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Resource exhausted, retry later.",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}]}})]
    p = holdfast({"type": "gemini", "base_url": a.base_url.removesuffix("/v1"), "api_key": "k"})
    answer = p.chat()
    assert answer.status == 429 and 16 <= int(answer.header("retry-after")) <= 19
    assert p.chat().status in (429, 503) and len(a.attempts) == 1


def test_h17_a_429_without_a_time_is_not_hammered(upstream, holdfast):
    a, b = upstream("A", default="status?code=429"), upstream("B")
    p = holdfast(a, b, failover=TWICE)
    started = time.monotonic()
    while time.monotonic() - started < 2.5:
        assert p.chat().text.startswith("B:")
    assert len(a.attempts) <= 3, "it rests for 1 s, then for longer"


def test_h18_an_account_without_quota_is_left_alone(upstream, holdfast):
    a, b = upstream("A", default="preset?name=quota"), upstream("B")
    p = holdfast(a, b, failover=TWICE)
    assert all(p.chat().text.startswith("B:") for _ in range(6))
    assert len(a.attempts) == 1 and p.breakers() == set()


def test_h22_a_model_that_nobody_has_any_more(upstream, holdfast):
    a, b = upstream("A", default="status?code=404"), upstream("B", default="status?code=404")
    p = holdfast(a, b, failover=TWICE)
    answer = p.chat()
    assert answer.status == 404 and answer.error["code"] == "model_not_found"
    assert answer.header("x-should-retry") == "false"
    assert p.chat().status == 404, "the reason stays the same while they rest"


@pytest.mark.parametrize("size,who", [(900 << 10, "A"), (1100 << 10, "B")])
def test_h30_the_largest_answer(upstream, holdfast, size, who):
    a, b = upstream("A", default="replay?content_type=application/json"), upstream("B")
    a.recording = [bodies.dump(bodies.completion("m", "A:" + "x" * size, 1))]
    answer = holdfast(a, b, limits={"answer_body": "1MiB"}, timeouts=PATIENT).chat()
    assert answer.text.startswith(who + ":")
    if who == "B":
        assert outcomes(answer)[0] == ("a/model-a", "answer_too_big")


# -- slow is not dead --------------------------------------------------------------------------
@pytest.mark.tsan
@pytest.mark.parametrize("stream", [False, True])
def test_h32_no_answer_at_all_is_hedged(upstream, holdfast, stream):
    a, b = upstream("A", default="hang"), upstream("B")
    proxies = []

    def ask():
        proxies.append(holdfast(a, b, hedge={"after": "300ms"}, timeouts=PATIENT))
        return proxies[-1].chat(stream=stream)
    answer = in_time(ask, 0.25, 0.9)
    assert outcomes(answer) == [("a/model-a", "slow"), ("b/model-b", "ok")]
    assert answer.header("x-holdfast-attempts") == "2"
    wait_for(lambda: a.attempts[-1].ended in ("peer", "peer_reset"))
    wait_for(lambda: proxies[-1].in_flight() == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_h33_a_late_first_token_loses_to_the_hedge(upstream, holdfast, stream):
    a, b = upstream("A", default="ok?first=9000"), upstream("B")
    answer = in_time(lambda: holdfast(a, b, hedge={"after": "300ms"}, timeouts=PATIENT).chat(
        stream=stream), 0.25, 0.9)
    assert answer.text == "B: word1 word2 word3 word4" and b"A:" not in answer.body


@pytest.mark.tsan
@pytest.mark.parametrize("stream", [False, True])
def test_h33_the_first_one_may_win_all_the_same(upstream, holdfast, stream):
    """The hedge is dropped then, and the one who came too late is not blamed."""
    a, b = upstream("A", default="ok?first=1500"), upstream("B", default="ok?first=15000")
    p = holdfast(a, b, hedge={"after": "300ms"}, timeouts=PATIENT,
                 breaker=TOUCHY | {"consecutive": 1})
    answer = p.chat(stream=stream)
    assert answer.text == "A: word1 word2 word3 word4" and b"B:" not in answer.body
    assert 1.5 <= answer.seconds < 10
    wait_for(lambda: b.attempts[0].ended in ("peer", "peer_reset"))
    wait_for(lambda: p.metric("holdfast_attempts_total", provider="b", outcome="hedge_lost") == 1)
    assert p.breakers() == set()


def test_h33_a_hedge_that_fails_harms_nobody(upstream, holdfast):
    a, b = upstream("A", default="ok?first=1500"), upstream("B", default="status?code=503")
    answer = holdfast(a, b, hedge={"after": "300ms"}, timeouts=PATIENT).chat()
    assert answer.text.startswith("A:") and len(a.attempts) == len(b.attempts) == 1


def test_h33_without_hedges_it_is_waited_for(upstream, holdfast):
    a, b = upstream("A", default="ok?first=900"), upstream("B")
    answer = holdfast(a, b, hedge=NO_HEDGE, timeouts=PATIENT).chat(stream=True)
    assert answer.text.startswith("A:") and b.attempts == []


def test_h32_a_target_that_went_silent_is_left_by_all_without_a_hedge_for_each(upstream, holdfast):
    """Only the few hedges that are always granted, yet nobody waits for the end of the time limit;
    who comes later does not wait at all."""
    a, b = upstream("A", default="hang"), upstream("B")
    p = holdfast(a, b, hedge={"after": "500ms", "floor": 2, "max_ratio": 0}, timeouts=PATIENT)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: p.chat(stream=True), range(10)))
    assert all(x.text.startswith("B:") and x.seconds < 10 for x in answers)
    assert len(a.attempts) <= 10 and len(b.attempts) == 10
    seen = len(a.attempts)
    assert all(p.chat(stream=True).text.startswith("B:") for _ in range(3))
    assert len(a.attempts) == seen, "it is not even asked"


PINNED = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-123"}}]}]
LARGE = [{"role": "user", "content": "x" * (140 << 10)}]


@pytest.mark.parametrize("messages", [PINNED, LARGE], ids=["pinned", "large"])
def test_h33_what_lives_at_one_provider_or_is_large_has_no_second_call(upstream, holdfast, messages):
    a, b = upstream("A", default="ok?first=900"), upstream("B")
    p = holdfast(a, b, hedge={"after": "300ms"}, timeouts=PATIENT)
    assert p.chat(messages=messages).text.startswith("A:") and b.attempts == []


def test_h32_the_first_request_after_an_outage_does_not_wait_for_a_dead_target(upstream, holdfast):
    """The probe of an open breaker has a second target beside it after 2 s, whatever was spent."""
    a, b = upstream("A", default="hang"), upstream("B")

    def ask():
        a.queue("status?code=500")
        p = holdfast(a, b, hedge={"after": "15s", "floor": 0, "max_ratio": 0}, timeouts=PATIENT,
                     breaker=TOUCHY | {"consecutive": 1, "open_base": "300ms", "open_cap": "300ms"})
        assert p.chat().text.startswith("B:") and p.breakers() == {("model", "a/model-a")}
        time.sleep(0.35)
        return p.chat()
    answer = in_time(ask, 1.8, 2.6)
    assert outcomes(answer) == [("a/model-a", "slow"), ("b/model-b", "ok")]


def test_h32_a_target_that_was_silent_is_asked_last_for_a_while(upstream, holdfast):
    """No breaker is open yet; the next ones need not find out for themselves."""
    a, b = upstream("A", queue=["hang"]), upstream("B")
    p = holdfast(a, b, hedge=NO_HEDGE, routes=[{"model": "*", "targets": [
        {"target": "a/model-a", "first_token": "1s"}, "b/model-b"]}])
    assert outcomes(p.chat()) == [("a/model-a", "first_token_timeout"), ("b/model-b", "ok")]
    assert all(p.chat().text.startswith("B:") for _ in range(3)) and p.breakers() == set()
    b.default = "status?code=503"
    assert p.chat().text.startswith("A:"), "last, and not never"
    b.default = "ok"
    assert p.chat().text.startswith("A:"), "it has given output again"


# -- what a good answer says of the next one -----------------------------------------------------
@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_a_key_whose_allowance_is_used_up_rests_without_a_429(upstream, holdfast, what):
    spent = f"ok?head=x-ratelimit-remaining-{what}: 0|x-ratelimit-reset-{what}: 4s"
    a, b = upstream("A", queue=[spent]), upstream("B")
    p = holdfast(a, b)
    assert p.chat().text.startswith("A:")
    assert p.chat().text.startswith("B:") and p.chat(stream=True).text.startswith("B:")
    wait_for(lambda: p.chat().text.startswith("A:"), every=0.1)  # its allowance is there again
    assert p.breakers() == set()


def test_the_other_key_takes_over_from_one_whose_allowance_is_used_up(upstream, holdfast):
    spent = "ok?head=x-ratelimit-remaining-requests: 0|x-ratelimit-reset-requests: 6m0s"
    a, b = upstream("A", queue=[spent]), upstream("B")
    p = holdfast({"type": "openai", "base_url": a.base_url, "keys": ["sk-one", "sk-two"]}, b)
    assert all(p.chat().text.startswith("A:") for _ in range(4))
    used = [x.header("authorization") for x in a.attempts]
    assert len(set(used)) == 2 and used.count(used[0]) == 1


def test_claude_s_own_headers_of_a_used_up_allowance(upstream, holdfast):
    def last_request_of_claude(x):
        reset = datetime.now(timezone.utc) + timedelta(seconds=30)
        whole = next(voices.anthropic(x, ["A:"], 0, ""))
        x.answer(200, bodies.dump(whole), headers=[
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", reset.strftime("%Y-%m-%dT%H:%M:%SZ"))])
    a, b = upstream("A"), upstream("B")
    serve(a, last_request_of_claude)
    p = holdfast({"type": "anthropic", "base_url": a.base_url.removesuffix("/v1"),
                  "api_key": "sk-a"}, b)
    assert p.chat().text.startswith("A:") and p.chat().text.startswith("B:")
    assert len(a.attempts) == 1
