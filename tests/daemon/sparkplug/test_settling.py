"""A result counts as arrived when its session outlived it by long enough, and not a moment earlier."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.sparkplug.settling import Settling


def test_what_is_young_is_not_settled():
    settling = Settling(65.0)
    settling.sent(1, 100.0)
    settling.sent(2, 130.0)
    assert settling.settled(164.9) == []
    assert settling.settled(165.0) == [1]
    assert settling.settled(165.0) == []
    assert settling.settled(195.0) == [2]


def test_a_broken_session_settles_nothing():
    settling = Settling(65.0)
    settling.sent(1, 100.0)
    settling.forget()
    assert settling.settled(1000.0) == []
    assert settling.all() == []


@given(st.lists(st.floats(0, 50), max_size=30), st.floats(0, 100))
def test_everything_is_settled_once_in_the_order_it_was_sent(waits, settle_s):
    settling, now, settled = Settling(settle_s), 0.0, []
    sent = {}
    for number, wait in enumerate(waits):
        now += wait
        settling.sent(number, now)
        sent[number] = now
        done = settling.settled(now)
        assert all(now - sent[each] >= settle_s for each in done)
        settled += done
    assert len(settling) == len(waits) - len(settled)
    assert settled + settling.all() == list(range(len(waits)))
