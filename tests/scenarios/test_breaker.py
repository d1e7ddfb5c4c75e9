"""A dead target is left alone, tried again by one request, and only its own faults count."""
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from test_taxonomy import NO_HEDGE

BREAKER = {"consecutive": 5, "window": "10s", "min_calls": 100, "failure_rate": 0.5,
           "open_base": "400ms", "open_cap": "400ms"}
LONG = BREAKER | {"open_base": "60s", "open_cap": "60s"}


@pytest.mark.tsan
@pytest.mark.parametrize("script", ["status?code=500", "status?code=503", "fin_before",
                                    "bad200?kind=html", "bad_stream?kind=role&end=eof"])
def test_five_failures_in_a_row_open_it(upstream, holdfast, script):
    a, b = upstream("A", default=script), upstream("B")
    p = holdfast(a, b, breaker=LONG)
    for _ in range(10):
        assert p.chat(stream="stream" in script).text.startswith("B:")
    assert len(a.attempts) == 5 and len(b.attempts) == 10
    assert p.metric("holdfast_breaker_state") > 0


def test_refused_connections_open_it_too(upstream, holdfast):
    a, b = upstream("A", accept_default="close"), upstream("B")
    p = holdfast(a, b, breaker=LONG)
    for _ in range(10):
        assert p.chat().text.startswith("B:")
    assert len(a.connections) == 5


def test_a_success_between_starts_the_count_anew(upstream, holdfast):
    four = ["status?code=500"] * 4
    a, b = upstream("A", queue=[*four, "ok", *four, "ok"]), upstream("B")
    p = holdfast(a, b, breaker=LONG)
    for _ in range(10):
        p.chat()
    assert len(a.attempts) == 10


@pytest.mark.tsan
def test_one_probe_under_many_callers(upstream, holdfast):
    """As many as B is given at once: with more, one a second that finds no room may look at A too."""
    a, b = upstream("A", queue=["status?code=500"] * 5, default="held"), upstream("B")
    p = holdfast(a, b, breaker=BREAKER, hedge=NO_HEDGE)
    for _ in range(6):
        p.chat()
    assert len(a.attempts) == 5
    time.sleep(0.5)  # longer than open_cap: the next caller may probe
    with ThreadPoolExecutor(18) as pool:
        answers = [pool.submit(p.chat) for _ in range(18)]
        wait_for(lambda: sum(x.done() for x in answers) == 17)
        assert all(x.result().text.startswith("B:") for x in answers if x.done())
        assert len(a.attempts) == 6
        a.release()
    assert all(x.result().status == 200 for x in answers)
    assert sum(x.result().text.startswith("A:") for x in answers) == 1
    assert len(a.attempts) == 6


def test_a_probe_that_fails_opens_it_again(upstream, holdfast):
    a, b = upstream("A", default="status?code=500"), upstream("B")
    p = holdfast(a, b, breaker=BREAKER)
    for _ in range(6):
        p.chat()
    time.sleep(0.5)
    started = time.monotonic()
    for _ in range(3):
        assert p.chat().text.startswith("B:")
    probes = len(a.attempts) - 5
    assert 1 <= probes <= 1 + (time.monotonic() - started) / 0.2, "200 ms apart at the least"


def test_a_target_that_is_well_again_gets_its_work_back(upstream, holdfast):
    a, b = upstream("A", queue=["status?code=500"] * 5), upstream("B")
    p = holdfast(a, b, breaker=BREAKER)
    for _ in range(6):
        p.chat()
    time.sleep(0.5)
    wait_for(lambda: all(p.chat().text.startswith("A:") for _ in range(3)))


@pytest.mark.parametrize("script", ["status?code=400", "status?code=422",
                                    "preset?name=content_policy", "preset?name=context_length"])
def test_the_caller_s_mistakes_do_not_count(upstream, holdfast, script):
    a, b = upstream("A", queue=[script] * 12), upstream("B")
    p = holdfast(a, b, breaker=LONG)
    for _ in range(12):
        assert p.chat().status in (400, 422)
    assert p.chat().text.startswith("A:") and b.attempts == []


def test_neutral_outcomes_do_not_end_a_streak(upstream, holdfast):
    a = upstream("A", queue=["status?code=500"] * 4 + ["status?code=400", "status?code=500"])
    b = upstream("B")
    p = holdfast(a, b, breaker=LONG)
    for _ in range(8):
        p.chat()
    assert len(a.attempts) == 6


@pytest.mark.tsan
def test_clients_that_leave_do_not_count(upstream, holdfast):
    a, b = upstream("A", queue=["hang"] * 12), upstream("B")
    p = holdfast(a, b, breaker=LONG, timeouts={"first_token": "5s", "answer": "5s"})
    for n in range(12):
        with Raw(p.port) as c:
            c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
            wait_for(lambda: len(a.attempts) == n + 1)
    wait_for(lambda: all(x.ended for x in a.attempts))
    assert p.chat().text.startswith("A:") and b.attempts == []


def test_failover_off(upstream, holdfast):
    a, b = upstream("A", default="status?code=503"), upstream("B")
    answer = holdfast(a, b).chat(headers={"x-holdfast-failover": "off"})
    assert answer.status == 503 and b.attempts == [] and len(a.attempts) == 1


def test_a_sole_target_is_not_benched_by_one_failure(upstream, holdfast):
    a = upstream("A", queue=["status?code=500"])
    p = holdfast(a)
    p.chat()
    assert p.chat().status == 200


def test_all_open_answers_at_once_and_says_when(upstream, holdfast):
    a = upstream("A", default="status?code=500")
    p = holdfast(a, breaker=LONG)
    for _ in range(5):
        p.chat()
    answer = p.chat()
    assert answer.status in (502, 503) and answer.seconds < 5
    if answer.header("x-holdfast-attempts") in (None, "0"):
        assert answer.status == 503 and int(answer.header("retry-after")) >= 1


def test_the_state_of_one_model_says_nothing_of_another(upstream, holdfast):
    """Server errors of one model do not bench the account's other models."""
    a = upstream("A")
    p = holdfast(a, breaker=LONG, routes=[{"model": "bad", "targets": ["a/fault:status"]},
                                          {"model": "*", "targets": ["a/good"]}])
    for _ in range(7):
        p.chat("bad")
    assert p.chat("m").status == 200
