"""When the engine process is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.engine_worker.restarts import RestartHistory, RestartPolicy

POLICY = RestartPolicy(first_s=0.5, max_s=10.0, start_attempts=3)


def test_delays_double_up_to_the_longest() -> None:
    history = RestartHistory(POLICY)
    delays = []
    for _ in range(8):
        history.ended(while_starting=False)
        delays.append(history.delay_s)
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_an_answer_makes_the_next_restart_quick_again() -> None:
    history = RestartHistory(POLICY)
    for _ in range(5):
        history.ended(while_starting=False)
    history.worked()
    history.ended(while_starting=False)
    assert history.delay_s == 0.5


def test_failed_starts_in_a_row_make_it_failed_until_it_loads() -> None:
    history = RestartHistory(POLICY)
    seen = []
    for _ in range(4):
        history.ended(while_starting=True)
        seen.append(history.failed)
    assert seen == [False, False, True, True]
    assert history.delay_s == 10.0
    history.loaded()
    assert not history.failed


def test_a_final_refusal_fails_at_once() -> None:
    history = RestartHistory(POLICY)
    history.ended(while_starting=True, final=True)
    assert history.failed
    history.loaded()
    assert not history.failed


@given(st.lists(st.sampled_from(["died", "died starting", "refused", "loaded", "worked"]), max_size=2000))
def test_the_delay_is_always_within_its_bounds(events: list[str]) -> None:
    history = RestartHistory(POLICY)
    for event in events:
        match event:
            case "loaded":
                history.loaded()
            case "worked":
                history.worked()
            case _:
                history.ended(while_starting=event != "died", final=event == "refused")
        assert POLICY.first_s <= history.delay_s <= POLICY.max_s
