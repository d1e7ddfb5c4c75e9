"""The sixteen faults of the public Failover Bench, rebuilt, with short times: what the caller got, and
what the provider saw of it. bench/failover plays the same ones at their full times.

bench/replay/sixteen.py says what each fault is and judges as the public benchmark does. The tests are
stricter: about the events of the stream, the numbers of attempts, and what stood in them.
"""
import functools
import json
import sys

import pytest

from client import Answer, Stillness, wait_for
from conftest import ROOT
from faultd import story

pytestmark = pytest.mark.alone

sys.path.insert(0, str(ROOT / "bench"))

from replay import sixteen  # noqa: E402
from replay.sixteen import SHORT  # noqa: E402


class Stage:
    """The provider with its faults, the program before it, and the plays."""

    def __init__(self, holdfast):
        self.holdfast, self.wall = holdfast, None
        self.begin()

    def begin(self):
        """Everything anew."""
        self.end()
        self.wall = sixteen.wall_of(SHORT)
        self.proxy = self.holdfast(config=sixteen.configuration(SHORT, self.wall))

    def end(self):
        if self.wall:
            self.wall.stop()

    def play(self, name):
        return sixteen.play(sixteen.SCENARIOS[name], SHORT, self.proxy.port, self.wall)

    def left(self, model):
        """How the last attempt at a model ended."""
        return [a.ended for a in self.wall.attempts if a.json["model"] == model][-1]


@pytest.fixture
def stage(holdfast):
    stage = Stage(holdfast)
    yield stage
    stage.end()


def in_time(play):
    """The short times of these faults leave no room for a machine that stands still: a play that fails
    while it did is played again, twice at most."""
    @functools.wraps(play)
    def played(stage, **how):
        for last in (False, False, True):
            with Stillness() as still:
                try:
                    return play(stage, **how)
                except AssertionError:
                    if last or still.most() < 0.1:
                        raise
            stage.begin()
    return played


def check_passed(view, primary, fallback):
    assert sixteen.judge(view) == ("pass", ""), [(c.outcome, c.why) for c in view.calls]
    assert (len(view.primary), len(view.fallback)) in [(primary, n) for n in (
        fallback if isinstance(fallback, range) else [fallback])]


def check_stream(call, by):
    """One whole answer in the shape of one: a start, an end, usage once, and nothing was held back."""
    answer, choices = call.answer, [c for e in call.events for c in e["choices"]]
    assert (answer.status, answer.end, answer.done) == (200, "complete", 1)
    assert answer.data[-1] == "[DONE]" and answer.error is None
    assert answer.text == story.TEXT
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
    assert sum("role" in c["delta"] for c in choices) == 1
    assert len({e["id"] for e in call.events}) == 1
    assert call.model == by and len([e for e in call.events if e.get("usage")]) == 1
    assert len(answer.pieces) > 12, "words come as they are made"
    return call.usage["completion_tokens"]


def check_answer(view, by, primary, fallback):
    """Somebody alone gave the whole answer; others were asked so often, in the caller's words."""
    check_passed(view, primary, fallback)
    assert check_stream(view.calls[0], by) == 60, "the tokens of the one who answered, no others"
    assert {e["model"] for e in view.calls[0].events} == {by}
    assert all(without_model(b) == without_model(view.bodies[0]) for b in view.bodies)
    assert view.bodies[0]["messages"] == sixteen.PROMPT


def check_carried_on(view, fallback=1):
    """Two gave the answer, and the text shows no seam. Each was asked the caller's question first."""
    check_passed(view, 1, fallback)
    call, s = view.calls[0], view.scenario
    assert check_stream(call, s.stand_in) >= 20
    assert call.events[0]["model"] == s.model, "the beginning was the primary's"
    assert call.first < 0.5
    assert all(b["messages"][:1] == sixteen.PROMPT for b in view.bodies)
    assert all(b["stream_options"] == {"include_usage": True} for b in view.bodies)


def without_model(body):
    return {k: v for k, v in body.items() if k != "model"}


@in_time
def test_s01_a_short_rate_limit_is_waited_out(stage):
    view = stage.play("S01")
    check_answer(view, "s01-primary", 2, 0)
    assert 1.0 <= view.gap < 1.5


@in_time
def test_s02_a_lasting_rate_limit_is_not_hammered(stage):
    view = stage.play("S02")
    check_answer(view, "s02-fallback", 1, 1)
    assert view.calls[0].first < 0.5


@in_time
def test_s03_a_single_500_is_asked_again(stage):
    view = stage.play("S03")
    check_answer(view, "s03-primary", 2, 0)
    assert 0.09 <= view.gap < 0.6


@in_time
def test_s04_an_overloaded_provider_is_left_at_once(stage):
    view = stage.play("S04")
    check_answer(view, "s04-fallback", 1, 1)
    assert view.calls[0].first < 0.5


@in_time
def test_s05_a_reset_before_the_head_is_asked_again(stage):
    check_answer(stage.play("S05"), "s05-primary", 2, 0)


@in_time
def test_s06_a_provider_that_never_answers_is_asked_once_and_left(stage):
    view = stage.play("S06")
    check_answer(view, "s06-fallback", 1, 1)
    assert 0.7 < view.calls[0].first < 2
    assert view.primary[0][1] is None
    wait_for(lambda: stage.left("s06-primary") in ("peer", "peer_reset"))


@in_time
def test_s07_who_is_slow_to_begin_is_overtaken(stage):
    view = stage.play("S07")
    check_answer(view, "s07-fallback", 1, 1)
    assert 0.7 < view.calls[0].first < 2
    wait_for(lambda: stage.left("s07-primary") in ("peer", "peer_reset"))


@pytest.mark.parametrize("fallback", ["canonical", "canonical?turn=repeats", "canonical?prefill=refused"])
@in_time
def test_s08_a_cut_stream_is_carried_on(stage, fallback):
    stage.wall.models["s08-fallback"] = fallback
    check_carried_on(stage.play("S08"), range(1, 3))


@in_time
def test_s09_a_stream_that_falls_silent_is_carried_on(stage):
    view = stage.play("S09")
    check_carried_on(view)
    assert 0.7 < view.calls[0].took < 2
    assert stage.left("s09-primary") in ("peer", "peer_reset"), "who fell silent is not left open"


@in_time
def test_s10_half_an_event_leaves_no_hole(stage):
    """Nobody can know what stood in its other half, so the answer is carried on, not patched."""
    check_carried_on(stage.play("S10"))


@in_time
def test_s11_a_missing_done_is_added_without_waiting_for_it(stage):
    view = stage.play("S11")
    check_answer(view, "s11-primary", 1, 0)
    assert view.calls[0].took < 1.5


@in_time
def test_s12_a_prompt_that_is_too_long_goes_to_a_larger_window_only(stage):
    view = stage.play("S12")
    check_answer(view, "s12-fallback", 1, 1)


@in_time
def test_s13_a_refusal_is_the_caller_s_to_read(stage):
    view = stage.play("S13")
    check_passed(view, 1, 0)
    answer = view.calls[0].answer
    assert answer.status == 400 and answer.error["code"] == "content_policy_violation"
    assert "safety system" in answer.error["message"]
    assert answer.header("x-should-retry") == "false"


@pytest.mark.parametrize("turn", ["restarts", "repeats"])
@in_time
def test_s14_a_fallback_that_takes_no_prefill_carries_on_all_the_same(stage, turn):
    stage.wall.models["s14-fallback"] += f"&turn={turn}"
    view = stage.play("S14")
    check_carried_on(view, range(1, 3))
    assert "prefill" not in view.calls[0].answer.body.decode()


@in_time
def test_s15_an_outage_is_seen_by_the_provider_only(stage):
    view = stage.play("S15")
    assert sixteen.judge(view) == ("pass", ""), [(c.outcome, c.why) for c in view.calls]
    assert len(view.calls) == 20 and len(view.in_outage) >= 12
    for call in view.calls:
        assert check_stream(call, call.model) == 60 and call.first < 1
    times = [t for t, _ in view.primary]
    assert times[5] - times[4] > 0.39, "five in a row open the breaker"
    assert view.early(SHORT.down) <= 13, "then probes, one in 400 ms at most"
    assert view.calls[-1].model == "s15-primary"


@in_time
def test_s16_who_answered_is_named_and_nobody_else_is_charged(stage):
    view = stage.play("S16")
    check_answer(view, "s16-fallback", 1, 1)
    assert view.calls[0].answer.header("x-holdfast-model") == "s16-fallback"
    assert stage.proxy.metric("holdfast_tokens_total", provider="primary") == 0
    assert stage.proxy.metric("holdfast_tokens_total", model="s16-fallback", kind="output") == 60


# -- the judge -------------------------------------------------------------------------------------
WORDS = story.pieces(story.TEXT)
CUT, TWICE = WORDS[:40], WORDS[:40] + WORDS[39:]


def an_answer(words, *ends, end="complete", status=200):
    events = [{"choices": [{"delta": {"content": w}, "finish_reason": None}]} for w in words]
    lines = [json.dumps(e) for e in events] + [e if isinstance(e, str) else json.dumps(e) for e in ends]
    return Answer(status, "", "HTTP/1.1", [], "".join(f"data: {x}\n\n" for x in lines).encode(), end)


STOP = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
ERROR = {"error": {"message": "it broke"}}


@pytest.mark.parametrize("answer, outcome", [
    (an_answer(WORDS, STOP, "[DONE]"), "answer"), (an_answer(WORDS, STOP), "answer"),
    (an_answer(WORDS, "{half", STOP, "[DONE]"), "answer"), (an_answer(CUT, STOP, "[DONE]"), "cut"),
    (an_answer(CUT, "[DONE]"), "cut"), (an_answer(CUT), "cut"), (an_answer([]), "cut"),
    (an_answer(TWICE, STOP, "[DONE]"), "wrong"), (an_answer(TWICE, ERROR, end="aborted"), "wrong"),
    (an_answer(WORDS, STOP, STOP, "[DONE]"), "wrong"), (an_answer(WORDS, "[DONE]"), "wrong"),
    (an_answer(WORDS, STOP, "[DONE]", "[DONE]"), "wrong"), (an_answer(CUT, ERROR, end="aborted"), "error"),
    (an_answer(CUT, ERROR, "[DONE]"), "error"), (an_answer(CUT, end="aborted"), "error"),
    (an_answer(WORDS, end="timeout"), "hang"), (an_answer(WORDS, status=502), "wrong")])
def test_only_the_whole_text_with_one_end_is_an_answer(answer, outcome):
    assert sixteen.verdict_on(answer)[0] == outcome


def test_a_buffered_answer_is_no_pass(stage):
    """What the suite promises of streaming: an answer that comes in one piece is noticed."""
    view = stage.play("S04")
    view.calls[0].answer.pieces[:] = view.calls[0].answer.pieces[-1:]
    assert sixteen.judge(view) == ("partial", "not so: words come as they are made")
