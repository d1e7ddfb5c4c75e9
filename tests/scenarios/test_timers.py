"""Four timers, each on its own and within 250 ms; and the deadline over all of them."""
import pytest

from client import in_time, wait_for
from faultd import blackhole

CASES = {  # name: (which timer, options of A)
    "never accepts": ("connect", None),
    "handshake never ends": ("tls", {"tls": "silent"}),
    "accepts and says nothing": ("first_token", {"accept_default": "silent"}),
    "reads and says nothing": ("first_token", {"default": "hang"}),
    "headers only": ("first_token", {"default": "head_then_stall"}),
    "preamble then silence": ("first_token", {"default": "bad_stream?kind=role&end=stall"}),
    "comments only": ("first_token", {"default": "bad_stream?kind=comments&end=forever"}),
    "preamble again and again": ("first_token", {"default": "bad_stream?kind=role&end=forever"}),
    "100 Continue for ever": ("first_token", {"default": "continue_flood?n=1"}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_timer_before_output_moves_on_in_time(upstream, holdfast, name):
    timer, options = CASES[name]
    b, keep = upstream("B"), None
    if options is None:
        port, keep = blackhole()
        a = f"http://127.0.0.1:{port}/v1"
    else:
        a = upstream("A", **options)
    times = {"connect": "3s", "tls": "3s", "first_token": "3s", "answer": "3s", timer: "700ms"}
    targets = [{"target": "a/model-a", **times}, "b/model-b"]

    def ask():
        return holdfast(a, b, routes=[{"model": "*", "targets": targets}]).chat(stream=True)
    answer = in_time(ask, 0.45, 0.95)
    assert answer.text.startswith("B:")
    assert 450 <= answer.trail[0][2] <= 950, answer.trail
    del keep


@pytest.mark.parametrize("script", ["hang", "head_then_stall", "cut?how=stall"])
def test_a_unary_answer_that_does_not_come(upstream, holdfast, script):
    a, b = upstream("A", default=script), upstream("B")
    times = {"first_token": "700ms", "answer": "700ms", "idle": "700ms"}
    targets = [{"target": "a/model-a", **times}, "b/model-b"]

    def ask():
        return holdfast(a, b, routes=[{"model": "*", "targets": targets}]).chat()
    assert in_time(ask, 0.45, 0.95).text.startswith("B:")


@pytest.mark.parametrize("how", ["stall", "comments"])
def test_the_idle_timer_ends_a_stream_that_fell_silent(upstream, holdfast, how):
    a = upstream("A", default=f"cut?after=3&how={how}")
    p = holdfast(a, timeouts={"idle": "700ms"}, breaker={"consecutive": 1000})

    def ask():
        return p.chat(stream=True, headers={"x-holdfast-midstream": "error"})
    answer = in_time(ask, 0.45, 1.0, lambda x: x.seconds - x.pieces[0][0])
    assert answer.end == "aborted" and answer.error


def test_slow_but_steady_is_not_idle(upstream, holdfast):
    """Many times the idle limit in all, never between two tokens."""
    a = upstream("A", default="ok?gap=200&tokens=25")
    answer = holdfast(a, timeouts={"idle": "2s", "first_token": "2s"}).chat(stream=True)
    assert answer.end == "complete" and answer.seconds > 4


def test_a_first_token_just_in_time(upstream, holdfast):
    a, b = upstream("A", default="ok?first=1000"), upstream("B")
    answer = holdfast(a, b, timeouts={"first_token": "3s"}).chat(stream=True)
    assert answer.text.startswith("A:") and b.attempts == []


@pytest.mark.parametrize("stream", [False, True])
def test_the_total_deadline_covers_all_attempts(upstream, holdfast, stream):
    ups = [upstream(n, default="hang") for n in "ABC"]

    def ask():
        return holdfast(*ups, timeouts={"first_token": "600ms", "answer": "600ms",
                                        "total": "1s"}).chat(stream=stream)
    answer = in_time(ask, 0.75, 1.25)
    assert answer.status == 504 and answer.error["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_client_s_own_deadline(upstream, holdfast, stream):
    a = upstream("A", default="hang")
    p = holdfast(a)
    answer = in_time(lambda: p.chat(stream=stream, headers={"x-holdfast-timeout-ms": "600"}),
                     0.35, 0.85)
    assert answer.status == 504
    wait_for(lambda: a.attempts[0].ended in ("peer", "peer_reset"))


def test_the_deadline_also_ends_a_stream_that_never_ends(upstream, holdfast):
    a = upstream("A", default="ok?gap=50&tokens=1000")
    p = holdfast(a, timeouts={"total": "1s"})
    answer = in_time(lambda: p.chat(stream=True), 0.75, 1.25)
    assert answer.end == "aborted" and answer.done == 0 and answer.error


@pytest.mark.parametrize("value", ["abc", "-5", "0", "1e9", ""])
def test_a_deadline_that_is_no_number_is_refused_or_ignored_never_obeyed(upstream, holdfast, value):
    answer = holdfast(upstream("A")).chat(headers={"x-holdfast-timeout-ms": value})
    assert answer.status in (200, 400)
    if answer.status == 400:
        assert "x-holdfast-timeout-ms" in answer.error["message"]
