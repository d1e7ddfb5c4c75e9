"""Many requests while something fails: the rows L of the fault matrix, in seconds.

Nothing here depends on how fast the machine is: what is compared is counted, and where it matters who
is under way, the upstream holds its answers until the test lets them go. What a share comes to in the
long run is for limiter_test.c, target_test.c and the simulator, whose clock is a number.

L08, where batch work gives way to people, is not there yet; the queue that both would wait in is.
L09's connections are 2000 instead of 10000, for the descriptors of this process.
"""
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from client import Raw, wait_for
from faultd import closed_port
from test_taxonomy import NO_HEDGE, TOUCHY, TWICE, outcomes

pytestmark = pytest.mark.alone

NEVER = {"consecutive": 1000, "min_calls": 100000}
ONCE = {"max_attempts": 4, "per_target": 1}


def come_again(proxy, model="m", times=100):
    """What a client does that is refused for want of room: it waits a little and asks again."""
    refused = []
    for _ in range(times):
        answer = proxy.chat(model)
        if answer.status == 200:
            return answer, refused
        refused.append(answer)
        time.sleep(0.1)
    return answer, refused


@contextmanager
def crowd(proxy, clients, model="m"):
    """Clients that ask one after the other as long as the block runs; gives the list of answers."""
    answers, over = [], threading.Event()

    def client():
        while not over.is_set():
            answers.append(proxy.chat(model))
            if answers[-1].status != 200:
                over.wait(0.1)
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for t in threads:
        t.start()
    try:
        yield answers
    finally:
        over.set()
        for t in threads:
            t.join()


def good(answers):
    return [x for x in answers if x.status == 200]


def served_by(answer):
    return answer.header("x-holdfast-provider") if answer.status == 200 else None


def refused_well(answer):
    """Come again; and when, where nobody was asked and so nobody could have said it. A 502 only from
    a dead target that was looked at while the others were full, and then with the queue's time."""
    asked = answer.header("x-holdfast-attempts") != "0"
    queued = outcomes(answer)[-1] == ("request", "queue_full")
    return (answer.status in (429, 503, 502 if asked and queued else 503) and
            answer.header("x-should-retry") == "true" and
            (asked and not queued or int(answer.header("retry-after")) >= 1))


def refusals(answers):
    """What was not answered, and how often."""
    return Counter((x.status, str(outcomes(x))) for x in answers if x.status != 200)


def limit_of(proxy, target):
    """How many may be under way at once there; 0: there is no limit."""
    return proxy.metric("holdfast_concurrency_limit", target=target)


def under_way(up):
    return sum(x.ended is None for x in list(up.attempts))


def learn_limit(pool, proxy, target, n, model="m"):
    """Asks for more than the target takes until the proxy knows it."""
    def known():
        list(pool.map(lambda _: proxy.chat(model), range(3)))
        return limit_of(proxy, target) == n
    wait_for(known, timeout=30)


@pytest.mark.tsan
def test_l01_one_provider_down_does_not_drown_the_others(upstream, holdfast, figure):
    """The domino: A refuses connections, B and C take four at a time, three times as many come."""
    port, keep = closed_port()
    b = upstream("B", default="limited?n=4&first=100")
    c = upstream("C", default="limited?n=4&first=100")
    p = holdfast(f"http://127.0.0.1:{port}/v1", b, c, failover=TWICE, hedge=NO_HEDGE,
                 overload={"queue_max_wait": "1s"})
    started = time.monotonic()
    with ThreadPoolExecutor(24) as pool:
        served = list(pool.map(lambda _: come_again(p), range(240)))
    seconds = time.monotonic() - started
    answers = [x for answer, refused in served for x in (answer, *refused)]
    calls = b.attempts + c.attempts
    figure(f"domino: 240 answered in {seconds:.1f} s, {len(answers) - 240} refused, "
           f"{len(calls) / 240 - 1:.2f} wasted calls each")
    assert all(x.status == 200 or refused_well(x) for x in answers), refusals(answers)
    assert len(good(answers)) == 240
    late = sorted(calls, key=lambda x: x.at)[len(calls) // 2:]
    lost = sum(x.status != 200 for x in late)
    assert lost < 0.5 * len(late), "they have learnt by then how many go"
    assert max(x.seconds for x in answers) < 10, "a second in the queue, and not all of the time"
    del keep


def test_l02_everybody_overloaded_is_told_and_not_hammered(upstream, holdfast):
    a, b = upstream("A", default="status?code=503"), upstream("B", default="status?code=529")
    p = holdfast(a, b, failover=ONCE, hedge=NO_HEDGE, breaker=TOUCHY | {"consecutive": 3})
    answers, started = [], time.monotonic()
    while (seconds := time.monotonic() - started) < 3:
        answers.append(p.chat())
    assert all(x.status == 503 and x.header("x-should-retry") == "true" for x in answers)
    assert all(refused_well(x) for x in answers if x.header("x-holdfast-attempts") == "0")
    assert len(a.attempts) + len(b.attempts) <= 6 + seconds + 1, "three each, then one a second"
    a.default = b.default = "ok"
    wait_for(lambda: p.chat().status == 200)


def test_l03_a_target_that_is_back_gets_its_load_without_falling_again(upstream, holdfast):
    a, b = upstream("A", default="status?code=500"), upstream("B", default="ok?first=20")
    p = holdfast(a, b, hedge=NO_HEDGE, breaker=TOUCHY | {"consecutive": 5, "open_base": "300ms",
                                                         "open_cap": "300ms"})
    with crowd(p, 12) as answers:
        wait_for(lambda: p.breakers())
        a.default = "limited?n=30&first=20"
        wait_for(lambda: sum(served_by(x) == "a" for x in answers[-100:]) > 90)
    assert len(good(answers)) == len(answers), refusals(answers)
    assert all(x.status == 200 for x in a.attempts if x.script == "limited")
    assert p.breakers() == set()


def test_l04_a_target_that_flaps_costs_nobody_an_answer(upstream, holdfast):
    """Three times down for most of a second, and up until it is seen; one request looks in between."""
    a, b = upstream("A"), upstream("B")
    p = holdfast(a, b, hedge=NO_HEDGE, breaker=TOUCHY | {"consecutive": 3, "open_base": "400ms",
                                                         "open_cap": "400ms"})
    most = 0
    with crowd(p, 4) as answers:
        for _ in range(3):
            started, a.default = time.monotonic(), "status?code=500"
            time.sleep(0.7)
            a.default, before = "ok", len(answers)
            # Three failures, what was under way beside them, then probes 200 to 400 ms apart.
            most += 3 + 4 + 1 + (time.monotonic() - started) / 0.2
            wait_for(lambda: any(served_by(x) == "a" for x in answers[before:]))
    assert len(good(answers)) == len(answers), refusals(answers)
    lost = sum(x.status == 500 for x in a.attempts)
    assert 3 <= lost <= most, (lost, most)


def test_l05_a_brown_out_turns_the_order_without_an_error(upstream, holdfast):
    a, b = upstream("A", default="ok?first=20"), upstream("B", default="ok?first=20")
    p = holdfast(a, b, hedge=NO_HEDGE)
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda _: p.chat(stream=True), range(60)))
        assert {served_by(x) for x in first} == {"a"}
        usual = sorted(x.seconds for x in first)[30]
        a.default = f"ok?first={max(400, int(6000 * usual))}"
        answers = list(pool.map(lambda _: p.chat(stream=True), range(60)))
        late = list(pool.map(lambda _: p.chat(stream=True), range(20)))
    assert all(x.status == 200 for x in first + answers + late)
    assert sum(served_by(x) == "b" for x in late) >= 18, "one in five seconds looks at A"
    assert all(len(x.trail) == 1 for x in answers + late), "nobody paid for it with a second call"
    assert p.breakers() == set()


def test_l06_one_in_twenty_fails_and_nobody_notices(upstream, holdfast, figure):
    a, b = upstream("A", default="flaky?percent=5&seed=7"), upstream("B")
    p = holdfast(a, b, failover=TWICE, hedge=NO_HEDGE)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: p.chat(), range(400)))
    waste = (len(a.attempts) + len(b.attempts)) / len(good(answers)) - 1
    figure(f"5 % random 500s: {len(good(answers))} of 400 answered, {waste:.3f} wasted calls each")
    assert len(good(answers)) == 400
    assert 0 < waste <= 0.07
    assert p.breakers() == set()


def test_l07_every_second_fails_and_the_budget_holds(upstream, holdfast):
    """Nothing else is left to ask; still there are few more calls than requests."""
    a = upstream("A", default="flaky?percent=50&seed=3")
    p = holdfast(a, failover=TWICE, hedge=NO_HEDGE, breaker=NEVER)
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: p.chat(), range(200)))
    by_time = (time.monotonic() - started) / 10  # a token is a gift of each ten seconds
    assert len(a.attempts) <= 200 * 1.2 + 10 + by_time
    assert len(good(answers)) >= 80
    assert all(x.status in (200, 502) for x in answers)


def test_the_queue_ends_in_a_503_with_a_time(upstream, holdfast):
    """One target with two places, both taken for as long as it pleases; others wait, not for long."""
    a = upstream("A", default="limited?n=2&held=1")
    p = holdfast(a, failover=ONCE, hedge=NO_HEDGE, overload={"queue_max_wait": "500ms"})
    with ThreadPoolExecutor(8) as pool:
        inside = [pool.submit(p.chat) for _ in range(2)]
        wait_for(lambda: under_way(a) == 2)
        learn_limit(pool, p, "a/model-a", 2)
        in_vain = list(pool.map(lambda _: p.chat(), range(6)))
        assert all(outcomes(x)[-1] == ("request", "queue_full") for x in in_vain), refusals(in_vain)
        assert all(x.status == 503 and refused_well(x) for x in in_vain)
        assert all(0.45 < x.seconds < 5 for x in in_vain)
        a.release()
        assert [x.result().status for x in inside] == [200, 200]
        assert p.chat().status == 200

    def waits():
        return {x["id"]: x.get("queue_ms", 0) for x in p.log_lines() if x["msg"] == "exchange"}
    ids = {x.header("x-request-id") for x in in_vain}
    wait_for(lambda: ids <= waits().keys())
    assert all(450 < waits()[i] < 5000 for i in ids)
    wait_for(lambda: p.in_flight() == 0)


@pytest.mark.tsan
def test_many_waiters_are_all_served_in_the_end(upstream, holdfast, figure):
    """Twelve at once, again and again, for a target that takes three."""
    a = upstream("A", default="limited?n=3&first=60")
    p = holdfast(a, failover=TWICE, hedge=NO_HEDGE)
    with ThreadPoolExecutor(12) as pool:
        served = list(pool.map(lambda _: come_again(p), range(120)))
    refused = [x for _, again in served for x in again]
    figure(f"twelve for three places: 120 answered by {len(a.attempts)} calls, "
           f"{len(refused)} refused, nobody more than {max(len(x) for _, x in served)} times")
    assert all(answer.status == 200 for answer, _ in served)
    assert all(refused_well(x) for x in refused)
    assert len(a.attempts) < 2 * 120


def test_l09_idle_connections_cost_little_and_hold_up_nobody(upstream, holdfast):
    p = holdfast(upstream("A"))

    def resident():
        with open(f"/proc/{p.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1])
    p.chat()
    before = resident()
    idle = [Raw(p.port) for _ in range(2000)]
    assert min(p.chat().seconds for _ in range(10)) < 0.5
    assert (resident() - before) / len(idle) < 24, "KiB a connection"
    for c in idle:
        c.sock.close()


def test_l10_work_from_elsewhere_leaves_room_for_home(upstream, holdfast, figure):
    """A is down and its crowd comes to B, which has eight places. Alone it could fill them all; half
    of them are kept for those at home, and there is no time in which they are not."""
    a, b = upstream("A", default="status?code=503"), upstream("B", default="limited?n=8&held=1")
    p = holdfast(a, b, hedge=NO_HEDGE, breaker=TOUCHY | {"consecutive": 3}, failover=ONCE,
                 overload={"queue_max_wait": "500ms"},
                 routes=[{"model": "home", "targets": ["b/x"]},
                         {"model": "m", "targets": [["a/x"], ["b/x"]]}])
    with ThreadPoolExecutor(40) as pool:
        first = [pool.submit(p.chat, "home") for _ in range(8)]
        wait_for(lambda: under_way(b) == 8)
        learn_limit(pool, p, "b/x", 8, "home")
        b.release()
        assert all(x.result().status == 200 for x in first)
        assert all(p.chat("m").status == 200 for _ in range(4))
        assert ("model", "a/x") in p.breakers()
        b.hold()
        away = [pool.submit(p.chat, "m") for _ in range(24)]
        wait_for(lambda: sum(x.done() for x in away) == 20)
        assert under_way(b) == 4, "half of eight"
        home = [pool.submit(p.chat, "home") for _ in range(8)]
        wait_for(lambda: under_way(b) == 8)
        wait_for(lambda: sum(x.done() for x in home) == 4)
        b.release()
        away, home = [x.result() for x in away], [x.result() for x in home]
    figure(f"reserve: {len(good(home))} of 8 places belong to those at home")
    assert len(good(away)) == len(good(home)) == 4
    assert all(x.status == 200 or refused_well(x) for x in away + home), refusals(away + home)
    assert any(("b/x", "saturated") in outcomes(x) for x in away)
    told = [int(x.header("retry-after") or 0) for x in away if x.status != 200]
    assert max(told) <= 10, "B has room in a moment; when A may be asked again is not the point"
