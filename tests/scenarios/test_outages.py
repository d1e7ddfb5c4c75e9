"""Two outages of bench/outages in short: the whole program among clients that retry like the SDKs do."""
import sys

import pytest

from conftest import BINARY, ROOT

sys.path.insert(0, str(ROOT / "bench"))

import replay  # noqa: E402


def check_nothing_is_wrong(score):
    assert (score.hangs, score.truncated, score.wrong) == (0, 0, 0), score
    assert score.books == []  # attempts in the metrics = calls at the providers


@pytest.mark.parametrize("name", ["r1", "r1-hang"])
def test_the_primary_goes_and_its_callers_do_not_notice(name, figure):
    score = replay.run(name, seconds=30, rate=6, binary=BINARY).holdfast
    figure(f"{name} in short: {score.good} of {score.offered} answered, "
           f"{score.wasted:.2f} wasted calls per answer, failed over after {score.fail_over_s:.1f} s")
    assert score.goodput >= 99.9 and score.wasted <= 0.15
    assert score.fail_over_s <= (1 if name == "r1" else 9)
    check_nothing_is_wrong(score)


def test_when_all_fall_over_in_turn_what_is_left_is_used(figure):
    score = replay.run("r3", seconds=30, rate=9, binary=BINARY).holdfast
    figure(f"r3 in short: {score.good} of {score.offered} answered, {score.of_possible:.0f} % of what "
           f"was possible, {score.wasted:.2f} wasted calls per answer")
    assert score.of_possible >= 80 and score.wasted <= 0.5
    check_nothing_is_wrong(score)
